/* ollama: Ollama's API: POST /api/chat and /api/generate as dialects, and what clients ask about models. */
#ifndef JUDGEQ_SERVER_OLLAMA_H
#define JUDGEQ_SERVER_OLLAMA_H

#include "dialect.h"

/* Dialects' `inner`. */
json_t *ollama_inner_chat(const fields *f);
json_t *ollama_inner_generate(const fields *f);
/* The fields of a request that are no prompt, in the inner form. */
json_t *ollama_inner_options(const fields *f);
/* The fields of a prompt's request that are not done. */
void ollama_refuse_others(const fields *f);

/* "2026-11-28T14:05:51.123456Z". */
enum { OLLAMA_TIME = 32 };
void ollama_time(char out[OLLAMA_TIME], int64_t seconds, long nanoseconds);

extern const dialect ollama_chat_dialect, ollama_generate_dialect;

#endif
