#include "guard.h"

#include <exception>
#include <memory>
#include <new>

extern "C" {
#include "error.h"
}

/* Runs a call of libllama; what it throws becomes an error that says what was tried. */
template <typename Call> static judgeq_status guarded(judgeq_error *error, const char *what, Call call) {
    try {
        call();
        return JUDGEQ_OK;
    } catch (const std::bad_alloc &) {
        return error_memory(error, what);
    } catch (const std::exception &thrown) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s: %s", what, thrown.what());
    } catch (...) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s", what);
    }
}

judgeq_status guard_load_vocabulary(struct gguf_context *keys, struct llama_model **out, judgeq_error *error) {
    *out = nullptr;
    return guarded(error, "loading the vocabulary", [&] {
        ggml_backend_dev_t none[] = {nullptr};
        llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        params.devices = none;
        *out = llama_model_init_from_user(keys, nullptr, nullptr, params);
    });
}

judgeq_status guard_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, int32_t *ids,
                             int32_t room, bool control, int32_t *n, judgeq_error *error) {
    *n = 0;
    return guarded(error, "tokenising a text",
                   [&] { *n = llama_tokenize(vocab, text, length, ids, room, false, control); });
}

/* ---- samplers ---------------------------------------------------------------------------------------------------- */

using sampler_owner = std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)>;

static void add(llama_sampler *chain, llama_sampler *sampler) {
    sampler_owner owner(sampler, llama_sampler_free);
    llama_sampler_chain_add(chain, sampler);
    owner.release();
}

/* Order as in llama.cpp's own programs: cut the tail first, then heat what is left. */
static void add_samplers(llama_sampler *chain, const judgeq_sampler_params *params) {
    if (params->temperature <= 0.0f) {
        add(chain, llama_sampler_init_greedy());
        return;
    }
    if (params->top_k > 0) add(chain, llama_sampler_init_top_k(params->top_k));
    if (params->top_p < 1.0f) add(chain, llama_sampler_init_top_p(params->top_p, 1));
    if (params->min_p > 0.0f) add(chain, llama_sampler_init_min_p(params->min_p, 1));
    add(chain, llama_sampler_init_temp(params->temperature));
    add(chain, llama_sampler_init_dist(params->seed));
}

judgeq_status guard_new_samplers(const judgeq_sampler_params *params, struct llama_sampler **out, judgeq_error *error) {
    *out = nullptr;
    return guarded(error, "making a sampler", [&] {
        sampler_owner chain(llama_sampler_chain_init(llama_sampler_chain_default_params()), llama_sampler_free);
        add_samplers(chain.get(), params);
        *out = chain.release();
    });
}

judgeq_status guard_apply_samplers(struct llama_sampler *chain, llama_token_data_array *candidates,
                                   judgeq_error *error) {
    return guarded(error, "sampling", [&] { llama_sampler_apply(chain, candidates); });
}
