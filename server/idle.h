/* idle: sessions that wait for somebody to go on with them, trimmed. The worker's thread alone uses them. */
#ifndef JUDGEQ_SERVER_IDLE_H
#define JUDGEQ_SERVER_IDLE_H

#include "judgeq.h"

typedef struct idle_session {
    judgeq_session *session;
    char *key;  /* only jobs of this key go on with it */
    int64_t id; /* of the job that left it */
    size_t bytes;
    int64_t used;    /* by the store's count */
    bool superseded; /* another one goes on from all of its tokens */
} idle_session;

/* Zeroed: empty. */
typedef struct idle_store {
    idle_session *item; /* [n] */
    size_t n, room;
    size_t bytes; /* of all */
    int64_t n_used;
} idle_store;

void idle_free(idle_store *store);

/* The session of this key that shares the most tokens with tokens[n], from the first on, and can be cut to what it
 * shares: all n only where it ends there and has logits, since otherwise something has to be read. *common: how many.
 * NULL: there is none. */
idle_session *idle_find(idle_store *store, const char *key, const int32_t *tokens, size_t n, size_t *common);
/* Counts it as the last one used. */
void idle_use(idle_store *store, idle_session *item);

/* Trims a session and takes it, on success only. */
judgeq_status idle_add(idle_store *store, const char *key, int64_t id, judgeq_session *session, judgeq_error *error);
/* The same for a session that keeps its logits, and is of use only to who asks the same again or goes on otherwise: it
 * is superseded from the beginning. */
judgeq_status idle_add_prompt(idle_store *store, const char *key, int64_t id, judgeq_session *session,
                              judgeq_error *error);
/* Takes one of its sessions out of the store. */
judgeq_session *idle_take(idle_store *store, judgeq_session *session);

/* Frees the next one: superseded ones before others (only_superseded: no others), and of these the one that was not
 * used for longest; but not `spared` (or NULL), whose place may change. False where there is none. */
bool idle_drop(idle_store *store, bool only_superseded, judgeq_session *spared);
/* Bytes of those that idle_drop would free. */
size_t idle_droppable(const idle_store *store, bool only_superseded, const judgeq_session *spared);

#endif
