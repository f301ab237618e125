/* Which kernels compute here, in a line for people: judgeq bench says it with what it measures. */
#include <stdio.h>
#include <string.h>

#include "ggml-backend.h"

#include "base/error.h"
#include "base/text.h"
#include "cpu/dots.h"
#include "cpu/packed.h"
#include "cpu/product_kernel.h"
#include "cpu/product_pairs.h"

enum { PROBE = 256 }; /* rows and columns of a matrix that is made to ask for its kernel */

/* Those that multiply the copies of a long prompt's weights. */
static judgeq_status add_many(text_buffer *text, judgeq_error *error) {
    packed *probe;
    const judgeq_status status = packed_new(PROBE, PROBE, &probe, error);
    if (status != JUDGEQ_OK) return status;
    text_print(text, "many rows %s", probe ? "oneDNN " : product_pairs_available() ? "judgeq's own in BF16" : "ggml's");
    if (probe)
        text_print(text, "%s in %s", packed_kernel(probe), packed_type(probe) == GGML_TYPE_BF16 ? "BF16" : "F32");
    packed_free(probe);
    return JUDGEQ_OK;
}

static void add_ggml(text_buffer *text) {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t registry = device ? ggml_backend_dev_backend_reg(device) : NULL;
    ggml_backend_get_features_t features =
        registry ? (ggml_backend_get_features_t)ggml_backend_reg_get_proc_address(registry, "ggml_backend_get_features")
                 : NULL;
    text_print(text, "; ggml");
    for (const struct ggml_backend_feature *f = features ? features(registry) : NULL; f && f->name; f++) {
        if (strcmp(f->value, "1") == 0) text_print(text, " %s", f->name);
    }
}

judgeq_status judgeq_kernels(char **out, judgeq_error *error) {
    text_buffer text = {0};
    *out = NULL;
    const judgeq_status status = add_many(&text, error);
    const char *few = dots_instructions();
    text_print(&text, "; few rows %s", few ? few : "ggml's");
    text_print(&text, "; own operations %s%s", product_kernel_best()->name,
               product_pairs_available() ? " with BF16" : "");
    add_ggml(&text);
    *out = text_take(&text);
    if (status == JUDGEQ_OK && *out) return JUDGEQ_OK;
    judgeq_free(*out);
    *out = NULL;
    return status == JUDGEQ_OK ? error_memory(error, "the kernels' names") : status;
}
