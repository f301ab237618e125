/* guard: the calls of ggml and libllama that may throw or abort, as C functions: the place where every
 * exception stops, for nothing above it may see one. The library's C++ is guard.cpp and the guard_*.cpp beside it.
 * ggml's aborts become exceptions on the way, by its abort callback; what an application has set there before gets
 * those that are not ours. */
#ifndef JUDGEQ_SRC_GUARD_H
#define JUDGEQ_SRC_GUARD_H

#include "llama.h"

#include "judgeq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs code of ours that calls ggml or libllama. What they throw, and what ggml would end the process for, becomes
 * MEMORY where an allocation failed, otherwise BACKEND; "out of memory for WHAT". `call` must own nothing when it calls
 * them, since it is left there. Objects of ggml's that were being changed can then neither be used nor freed. */
judgeq_status guard_call(void (*call)(void *data), void *data, const char *what, judgeq_error *error);

/* The vocabulary alone, from a file's keys, which stay the caller's and may be freed afterwards. No device is asked.
 * NULL in *out without an error: libllama refused it, and logged why. */
judgeq_status guard_load_vocabulary(struct gguf_context *keys, struct llama_model **out, judgeq_error *error);

/* llama_tokenize without tokens around the text: *n is its result, which is negative where there is not room enough. */
judgeq_status guard_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, int32_t *ids,
                             int32_t room, bool control, int32_t *n, judgeq_error *error);

/* ---- chat templates, by libllama-common's Jinja engine ----------------------------------------------------------- */

/* A template, compiled. */
typedef struct guard_chat guard_chat;

/* Fails with UNSUPPORTED and the engine's own words where it is no template that the engine knows. */
judgeq_status guard_chat_new(const char *source, guard_chat **out, judgeq_error *error);
void guard_chat_free(guard_chat *chat);

typedef struct guard_chat_variable {
    const char *name, *text;
} guard_chat_variable;

typedef struct guard_chat_input {
    const judgeq_message *messages;
    size_t n_messages;
    bool typed;      /* contents are lists of parts, [{"type": "text", "text": ...}] */
    bool generation; /* the opening of the assistant's turn comes last */
    judgeq_think think;
    int64_t now; /* what the template's clock shows, in seconds since 1970; 0: the time that it is */
    const guard_chat_variable *variables; /* bos_token and so on */
    size_t n_variables;
} guard_chat_input;

typedef struct guard_chat_text {
    char *text; /* [length], terminated */
    size_t length;
    unsigned char *input; /* [length], 1: the byte comes from a message's content */
} guard_chat_text;

/* Fails with UNSUPPORTED and the template's own words where it refuses the messages. */
judgeq_status guard_chat_render(const guard_chat *chat, const guard_chat_input *input, guard_chat_text *out,
                                judgeq_error *error);
void guard_chat_text_free(guard_chat_text *text);

#ifdef __cplusplus
}
#endif

#endif
