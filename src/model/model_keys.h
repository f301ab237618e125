/* model_keys: which keys of an architecture change what is computed. libllama knows some 170 of them, most of one
 * architecture each; those that judgeq does not compute must have the value with which they do nothing. */
#ifndef JUDGEQ_SRC_MODEL_KEYS_H
#define JUDGEQ_SRC_MODEL_KEYS_H

#include "model.h"

typedef enum model_key_use {
    KEY_READ,     /* by the loader, which checks it */
    KEY_HARMLESS, /* it says something, and changes nothing */
    KEY_NUMBER,   /* must have a neutral value, and an array of numbers nothing else; NaN is none */
    KEY_TEXT      /* must be one of two texts */
} model_key_use;

/* What else is neutral: what the model has anyway. */
typedef enum model_key_like {
    KEY_LIKE_NOTHING,
    KEY_LIKE_HEAD_DIM,
    KEY_LIKE_EMBEDDING,
    KEY_LIKE_ATTENTION_SCALE,
    KEY_LIKE_EPSILON,
    KEY_LIKE_ROPE_BASE,
    KEY_LIKE_EXT_FACTOR
} model_key_like;

typedef struct model_key {
    const char *suffix; /* after the architecture's name and "." */
    model_key_use use;
    double neutral[2];
    model_key_like like;
    const char *text[2];
} model_key;

/* The table; NULL past the last. */
const model_key *model_key_at(size_t index);

/* Once the shape and the rotation are known: refuses, by name, a key with a value that would be left out of the
 * computation. A key of the architecture that libllama does not know either is left alone, as libllama does: logits
 * stay libllama's, and a file that runs there is not turned away for a remark in it. It is listed in
 * model->info.unknown_keys. */
judgeq_status model_keys_check(judgeq_model *model, judgeq_error *error);

#endif
