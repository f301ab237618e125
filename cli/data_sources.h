/* data_sources: prompts for a training set, from folders of text and from files of conversations. Whatever cannot be
 * read is reported with its file and line, counted, and left out. */
#ifndef JUDGEQ_CLI_DATA_SOURCES_H
#define JUDGEQ_CLI_DATA_SOURCES_H

#include <jansson.h>

#include "chance.h"
#include "judgeq.h"

typedef struct data_sources_params {
    char *const *source; /* [n_source]: "PATH" or "PATH:WEIGHT" */
    int n_source;
    int32_t min_tokens, max_tokens; /* of a passage's prompt, about */
    double retrieval;               /* share of the passages that facts are hidden in, 0 .. 1 */
    uint64_t seed;
} data_sources_params;

enum { DATA_PASSED_NAMED = 3 };

typedef struct data_sources {
    const judgeq_model *model;
    const data_sources_params *params;
    chance random;
    json_t *prompts;          /* array of arrays of {"role", "content"}: what the model shall answer. Where facts are
                                 hidden, the message has "answers" too: what a right answer names, an array */
    json_t *group;            /* while it reads: the prompts of one source, in `prompts` form */
    size_t n_files, n_broken; /* files read; files, lines and conversations left out */
    size_t n_reports;         /* messages about them, those that were not written too */
    size_t n_passed;          /* files in folders whose names say that they are nothing to read */
    char passed[256];         /* the first names of them, DATA_PASSED_NAMED at most */
} data_sources;

/* Every beginning of the prompts holds the sources by their weights, a source without one counting 1; where none has
 * one, by how many prompts they have. The order is the seed's. Keeps params. False where memory ran out;
 * data_sources_free in any case. */
bool data_sources_read(data_sources *sources, const judgeq_model *model, const data_sources_params *params);
void data_sources_free(data_sources *sources);

/* False where a fact was asked for, and the response names none that would be right: what the model looked at then is
 * not what it should have looked at. */
bool data_sources_answered(const json_t *prompt, const char *response);

/* 64 bits that change with any prompt. */
uint64_t data_sources_hash(const data_sources *sources);

#endif
