/* contexts_upload: how what a job has read becomes a context, whatever has asked for it. */
#ifndef JUDGEQ_SERVER_CONTEXTS_UPLOAD_H
#define JUDGEQ_SERVER_CONTEXTS_UPLOAD_H

#include "exchange.h"

/* What never fits is not read first: bytes of the rows alone of a file of so many tokens, and those of the context that
 * they follow. */
bool contexts_fits(const service *s, const ask *a, size_t n_tokens, reply_fault *fault);
/* Writes the file e->ask.made of what the first job has saved, in the client's thread, so that no disk keeps the worker
 * waiting. False, and a fault, where it cannot. */
bool contexts_store(exchange *e);

#endif
