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
    double later;                   /* share of these that are asked for later, 0 .. 1 */
    uint64_t seed;
} data_sources_params;

enum { DATA_PASSED_NAMED = 3 };

typedef struct data_sources {
    const judgeq_model *model;
    const data_sources_params *params;
    chance random;
    json_t *prompts;          /* array of arrays of {"role", "content"}: what the model shall answer. Where facts are
                                 hidden, the message has "answers" too: what a right answer names, an array; or
                                 "later", an array of {"question", "answers"}, and no question in it */
    json_t *group;            /* while it reads: the prompts of one source, in `prompts` form */
    size_t n_files, n_broken; /* files read; files, lines and conversations left out */
    size_t n_reports;         /* messages about them, those that were not written too */
    size_t n_passed;          /* files in folders whose names say that they are nothing to read */
    char passed[256];         /* the first names of them, DATA_PASSED_NAMED at most */
} data_sources;

/* Reads all prompts. Any prefix of the list mixes the sources in proportion to their weights; a source without a weight
 * counts 1. Where no source has a weight, they are mixed in proportion to their numbers of prompts. The seed decides
 * the order. `params` must outlive `sources`. Returns false where memory ran out; call data_sources_free in any case.
 */
bool data_sources_read(data_sources *sources, const judgeq_model *model, const data_sources_params *params);
void data_sources_free(data_sources *sources);

/* False where `asked`, a message or one of its later questions, has "answers" and the response names none of them: then
 * the model did not attend to the rows that a judge should learn to keep. */
bool data_sources_answered(const json_t *asked, const char *response);
/* The questions that come later than a prompt, or NULL. */
const json_t *data_sources_later(const json_t *prompt);

/* 64 bits that change with any prompt. */
uint64_t data_sources_hash(const data_sources *sources);

#endif
