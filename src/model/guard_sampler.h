/* guard_sampler: libllama's samplers and grammars, as C functions: nothing that they throw gets out. */
#ifndef JUDGEQ_SRC_GUARD_SAMPLER_H
#define JUDGEQ_SRC_GUARD_SAMPLER_H

#include "llama.h"

#include "judgeq.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct guard_sampler guard_sampler;

/* vocab: NULL where params have neither penalties nor a grammar. ARGUMENT, and the place, for a grammar that is none.
 */
judgeq_status guard_sampler_new(const struct llama_vocab *vocab, const judgeq_sampler_params *params,
                                guard_sampler **out, judgeq_error *error);
/* Accepts NULL. */
void guard_sampler_free(guard_sampler *sampler);

/* Draws among candidates [n_vocab] with these logits, and takes note of the token. */
judgeq_status guard_sampler_draw(guard_sampler *sampler, llama_token_data *candidates, const float *logits,
                                 int32_t n_vocab, int32_t *token, judgeq_error *error);
/* Takes note of a token that somebody else chose. */
judgeq_status guard_sampler_accept(guard_sampler *sampler, int32_t token, judgeq_error *error);
/* A new response begins: the grammar from its root, no token to repeat. The draw's random numbers go on. */
judgeq_status guard_sampler_restart(guard_sampler *sampler, judgeq_error *error);

/* *out: free(). `schema` is JSON of bounded depth. */
judgeq_status guard_schema_grammar(const char *schema, char **out, judgeq_error *error);

#ifdef __cplusplus
}
#endif

#endif
