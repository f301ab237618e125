/* own_scale: the factor of attention's products, which a layer's description says, with an operation of ours that needs
 * it. ggml keeps GGML_MAX_OP_PARAMS bytes of parameters with every tensor; its custom operations use the first 24. */
#ifndef JUDGEQ_SRC_OWN_SCALE_H
#define JUDGEQ_SRC_OWN_SCALE_H

#include <string.h>

#include "ggml.h"

enum { OWN_SCALE_AT = GGML_MAX_OP_PARAMS - (int)sizeof(float) };
_Static_assert(OWN_SCALE_AT >= 32, "ggml's custom operations need their part of the parameters");

static inline void own_scale_set(struct ggml_tensor *tensor, float scale) {
    memcpy((char *)tensor->op_params + OWN_SCALE_AT, &scale, sizeof scale);
}

static inline float own_scale(const struct ggml_tensor *tensor) {
    float scale;
    memcpy(&scale, (const char *)tensor->op_params + OWN_SCALE_AT, sizeof scale);
    return scale;
}

#endif
