/* judge: trained soft tokens (Judge Q, section 3) as an immutable value, and the judge file: a GGUF file, described in
 * docs/judge-files.md. */
#ifndef JUDGEQ_SRC_JUDGE_H
#define JUDGEQ_SRC_JUDGE_H

#include "judgeq.h"

#define JUDGE_ARCHITECTURE "judgeq-judge" /* general.architecture of a judge file */
#define JUDGE_TENSOR "soft_tokens.weight" /* F32 [n_depth, n_soft, n_embd], or [n_soft, n_embd] */

#define JUDGE_SHARES "layer_shares" /* F32 [n_layer], where they are known */

/* Version 1 names its model by the file's fingerprint, version 2 by the model's. */
enum { JUDGE_FORMAT_OF_FILE = 1, JUDGE_FORMAT_VERSION = 2 };

#define JUDGE_KEY_FORMAT_VERSION "judgeq.format_version"
#define JUDGE_KEY_FINGERPRINT "judgeq.model.fingerprint"
#define JUDGE_KEY_MODEL_NAME "judgeq.model.name"
#define JUDGE_KEY_WEIGHT_TYPE "judgeq.model.weight_type"
#define JUDGE_KEY_ORIGIN "judgeq.origin"
#define JUDGE_KEY_CHOICES "judgeq.policy"
#define JUDGE_KEY_LOSS "judgeq.train.loss"
#define JUDGE_KEY_STEPS "judgeq.train.steps"
#define JUDGE_KEY_DATA_HASH "judgeq.train.data_hash"
#define JUDGE_KEY_HELDOUT_LOSS "judgeq.heldout.loss"
#define JUDGE_KEY_HELDOUT_HIT_RATE "judgeq.heldout.hit_rate"

struct judgeq_judge {
    judgeq_judge_info info; /* its texts are owned */
    float *soft;            /* [n_depth, n_soft, n_embd], owned */
    uint32_t version;       /* of the format, which says what info's fingerprint is */
};

/* n_depth * n_soft * n_embd */
size_t judge_size(const judgeq_judge_info *info);

/* judgeq_judge_new with the name that error messages start with: a file's path. */
judgeq_status judge_create(const char *label, const float *soft, const judgeq_judge_info *info, judgeq_judge **out,
                           judgeq_error *error);

/* MISMATCH where a judge with this info is not of this model. `label`: what the message starts with. */
judgeq_status judge_check_model(const char *label, const judgeq_judge_info *info, uint32_t version,
                                const judgeq_model_info *model, judgeq_error *error);

#endif
