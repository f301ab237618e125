/* device: ggml's devices beside the CPU, on this machine and, over RPC, on others; and a model's layers on them. */
#ifndef JUDGEQ_SRC_DEVICE_H
#define JUDGEQ_SRC_DEVICE_H

#include "model.h"

/* Copies the weights of the model's first layers, as many as params say, to its devices. */
judgeq_status device_place(judgeq_model *model, const judgeq_model_params *params, judgeq_error *error);

/* Releases those copies. */
void device_forget(judgeq_model *model);

#endif
