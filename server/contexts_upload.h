/* contexts_upload: how what a job has read becomes a context, whatever has asked for it. */
#ifndef JUDGEQ_SERVER_CONTEXTS_UPLOAD_H
#define JUDGEQ_SERVER_CONTEXTS_UPLOAD_H

#include "exchange.h"

/* What never fits is not read first: bytes of the rows alone that a file of so many tokens has. */
bool contexts_fits(const service *s, const ask *a, size_t n_tokens, reply_fault *fault);
/* Writes the file e->ask.file of what the first job has saved, in the client's thread, so that no disk keeps the worker
 * waiting. False, and a fault, where it cannot. */
bool contexts_store(exchange *e);

#endif
