/* model_bind: a file's tensors as a model's weights: their shapes and types are checked, each must have its place. */
#ifndef JUDGEQ_SRC_MODEL_BIND_H
#define JUDGEQ_SRC_MODEL_BIND_H

#include "model.h"

/* Binds every tensor of model->file, once the model's shape is known, and adds up what they take. */
judgeq_status model_bind(judgeq_model *model, judgeq_error *error);
/* Releases it. */
void model_unbind(judgeq_model *model);

#endif
