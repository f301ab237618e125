/* serve_keys: the keys that clients of `judgeq serve` have to name. */
#ifndef JUDGEQ_CLI_SERVE_KEYS_H
#define JUDGEQ_CLI_SERVE_KEYS_H

#include <stddef.h>

enum { SERVE_KEYS_MOST = 64 };

typedef struct serve_keys {
    const char *key[SERVE_KEYS_MOST]; /* [n], of which the first n_given are the command line's */
    size_t n, n_given;
    char *text; /* what the file's keys point into. Owned */
} serve_keys;

/* Puts the keys of a file in the place of those that a file had before: a key a line; empty lines and those that begin
 * with # are none. On failure, after a message, all stays as it was. The exit status. */
int serve_keys_read(serve_keys *keys, const char *path);
void serve_keys_free(serve_keys *keys);

#endif
