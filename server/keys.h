/* keys: the keys of which a client has to name one, and which may be replaced while others ask. */
#ifndef JUDGEQ_SERVER_KEYS_H
#define JUDGEQ_SERVER_KEYS_H

#include <pthread.h>
#include <stdbool.h>

#include "judgeq.h"

typedef struct keys {
    pthread_mutex_t lock;
    char **key; /* [n] */
    size_t n;
} keys;

/* Empty; false without memory. */
bool keys_init(keys *all);
void keys_free(keys *all);
/* Puts copies of these in the place of those that there were. */
judgeq_status keys_use(keys *all, const char *const *key, size_t n, judgeq_error *error);
/* Whether `given`, or NULL, is one of them, or there are none. The time it takes depends on its length only. */
bool keys_fit(keys *all, const char *given);

#endif
