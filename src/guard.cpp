#include "guard.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>

extern "C" {
#include "error.h"
}

#include "ggml.h"

/* ---- ggml's aborts ----------------------------------------------------------------------------------------------- */

/* Guarded calls that this thread is in: others' aborts are theirs. */
static thread_local int depth;

/* What ggml would have ended the process for. */
struct aborted : std::exception {
    explicit aborted(const char *message) : memory(errno == ENOMEM) {
        snprintf(text, sizeof text, "%s", message);
    }
    const char *what() const noexcept override {
        return text;
    }
    bool memory; /* an allocation had failed before */
    char text[200];
};

static ggml_abort_callback_t callback_before;

static void on_abort(const char *message) {
    if (depth > 0) throw aborted(message);
    if (callback_before) {
        callback_before(message);
    } else {
        fprintf(stderr, "%s\n", message); /* as ggml does, which then ends the process */
    }
}

static void catch_aborts() {
    static const bool caught = (callback_before = ggml_set_abort_callback(on_abort), true);
    (void)caught;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

struct within {
    within() {
        depth++;
    }
    ~within() {
        depth--;
    }
};

/* Runs calls of ggml and libllama; what they throw or abort on becomes an error that says what was tried. */
template <typename Call> static judgeq_status guarded(judgeq_error *error, const char *what, Call call) {
    try {
        catch_aborts();
        within guard;
        errno = 0;
        call();
        return JUDGEQ_OK;
    } catch (const std::bad_alloc &) {
        return error_memory(error, what);
    } catch (const aborted &thrown) {
        if (thrown.memory) return error_memory(error, what);
        return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml failed at %s: %s", what, thrown.text);
    } catch (const std::exception &thrown) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s: %s", what, thrown.what());
    } catch (...) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s", what);
    }
}

/* ggml takes some small blocks without a look at whether it got them. Where there is room for this one, which is given
 * back at once, there is for those. */
static bool room_for_small_blocks() {
    enum { ROOM = 64 << 10 };
    void *volatile room = malloc(ROOM); /* volatile: or the compiler leaves it out */
    free(room);
    return room != nullptr;
}

judgeq_status guard_call(void (*call)(void *data), void *data, const char *what, judgeq_error *error) {
    if (!room_for_small_blocks()) return error_memory(error, what);
    return guarded(error, what, [&] { call(data); });
}

judgeq_status guard_load_vocabulary(struct gguf_context *keys, struct llama_model **out, judgeq_error *error) {
    *out = nullptr;
    const judgeq_status status = guarded(error, "loading the vocabulary", [&] {
        ggml_backend_dev_t none[] = {nullptr};
        llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        params.devices = none;
        *out = llama_model_init_from_user(keys, nullptr, nullptr, params);
    });
    /* libllama catches what is thrown in there, and only logs it */
    if (status == JUDGEQ_OK && !*out && errno == ENOMEM) return error_memory(error, "loading the vocabulary");
    return status;
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
