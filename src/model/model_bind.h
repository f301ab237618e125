/* model_bind: a file's tensors as a model's weights: their shapes and types are checked, each must have its place. */
#ifndef JUDGEQ_SRC_MODEL_BIND_H
#define JUDGEQ_SRC_MODEL_BIND_H

#include "model.h"

/* What an architecture's tensors are, beside those that all have. */
typedef struct model_tensors {
    bool rope_factors, query_key_norm;
} model_tensors;

/* Binds every tensor of model->file, once the model's shape is known, and adds up what they take. */
judgeq_status model_bind(judgeq_model *model, model_tensors tensors, judgeq_error *error);
/* Releases it. */
void model_unbind(judgeq_model *model);

#endif
