/* training_set: prompts and responses as token ids, from a file of JSON lines (docs/training.md). */
#ifndef JUDGEQ_SRC_TRAIN_TRAINING_SET_H
#define JUDGEQ_SRC_TRAIN_TRAINING_SET_H

#include "judgeq.h"

typedef struct set_example {
    size_t first; /* of its tokens */
    int32_t n_prompt, n_response;
    int64_t line; /* in the file, from 1 */
} set_example;

struct judgeq_training_set {
    judgeq_training_set_info info;
    char *path;
    set_example *example;  /* [info.n_examples] */
    int32_t *token;        /* [info.n_tokens]: prompt and response of every example, one after the other */
    unsigned char *answer; /* [info.n_tokens]: 1 for what the model wrote, of responses */
    char hash[33], broken[512];
    size_t example_room, token_room;
};

#endif
