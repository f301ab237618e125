#include "guard.h"

#include <exception>
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

judgeq_status guard_load_vocabulary(const char *path, struct llama_model **out, judgeq_error *error) {
    *out = nullptr;
    return guarded(error, "loading the vocabulary", [&] {
        llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        *out = llama_model_load_from_file(path, params);
    });
}

judgeq_status guard_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, int32_t *ids,
                             int32_t room, bool add_special, bool parse_special, int32_t *n, judgeq_error *error) {
    *n = 0;
    return guarded(error, "tokenising a text",
                   [&] { *n = llama_tokenize(vocab, text, length, ids, room, add_special, parse_special); });
}
