/* data_sources: prompts for a training set, from folders of text and from files of conversations. Whatever cannot be
 * read is reported with its file and line, counted, and left out. */
#ifndef JUDGEQ_CLI_DATA_SOURCES_H
#define JUDGEQ_CLI_DATA_SOURCES_H

#include <jansson.h>

#include "judgeq.h"

typedef struct data_sources {
    const judgeq_model *model;
    int32_t min_tokens, max_tokens; /* of a passage's prompt, about */
    uint64_t random;                /* state */
    json_t *prompts;                /* array of arrays of {"role", "content"}: what the model shall answer */
    size_t n_files, n_broken;       /* files read; files, lines and conversations left out */
} data_sources;

/* The prompts come in an order that the seed decides. False where memory ran out; data_sources_free in any case. */
bool data_sources_read(data_sources *sources, const judgeq_model *model, char *const *path, int n_path,
                       int32_t min_tokens, int32_t max_tokens, uint64_t seed);
void data_sources_free(data_sources *sources);

/* 64 bits that change with any prompt. */
uint64_t data_sources_hash(const data_sources *sources);

#endif
