/* example: what one prompt and its response teach. One pass of the frozen model over both gives the constants (the
 * prompt's keys and values) and the targets (what the response's rows attend to). */
#ifndef JUDGEQ_SRC_TRAIN_EXAMPLE_H
#define JUDGEQ_SRC_TRAIN_EXAMPLE_H

#include "engine/cache.h"
#include "judgeq.h"

typedef struct example {
    int32_t n_layer, n_head, n_prompt;
    cache_layer *layer; /* [n_layer]: the prompt's rows, and room for the soft tokens' */
    float *target;      /* [n_layer, n_head, n_prompt]: mean or maximum of the response's rows' attention, as it is */
    cache_meter meter;  /* bytes of `layer` */
} example;

/* One without rows: `layer` zeroed, `target` zero. */
judgeq_status example_new(int32_t n_layer, int32_t n_head, int32_t n_prompt, example **out, judgeq_error *error);
void example_free(example *e);

/* The tokens that an example is made of. */
typedef struct example_text {
    const int32_t *prompt, *response;
    const unsigned char *answer; /* [n_response], 1 for those that the model wrote; NULL: all */
    size_t n_prompt, n_response;
} example_text;

/* Reads prompt and response. The response's rows are those of every token but the last, which the model never reads
 * when it answers; a response of one token has that one row. params: kv_type, n_threads, chunk, n_ctx and progress
 * count. n_soft: rows to leave room for. */
judgeq_status example_read(const judgeq_model *model, const judgeq_session_params *params, judgeq_target target,
                           const example_text *text, int32_t n_soft, example **out, judgeq_error *error);

/* Rows of a response that are targets. */
int32_t example_rows(int32_t n_response);
/* The example of a session that has read the prompt and been watched while it decoded the response's rows. The
 * session's rows become the example's: it can only be freed. The targets are means. */
judgeq_status example_take(const judgeq_model *model, judgeq_session *session, int32_t n_soft, example **out,
                           judgeq_error *error);
/* example_take of such a session: what online training sees. Differs from example_read as decoding differs from
 * prefill, in rounding. */
judgeq_status example_answer(const judgeq_model *model, const judgeq_session_params *params, const int32_t *prompt,
                             size_t n_prompt, const int32_t *response, size_t n_response, int32_t n_soft, example **out,
                             judgeq_error *error);

#endif
