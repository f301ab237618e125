#include "idle.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void idle_free(idle_store *store) {
    for (size_t i = 0; i < store->n; i++) {
        judgeq_session_free(store->item[i].session);
        free(store->item[i].key);
    }
    free(store->item);
    *store = (idle_store){0};
}

/* ---- what is found ----------------------------------------------------------------------------------------------- */

static size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b) {
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

/* Tokens that a session can give to a job with tokens[n]. */
static size_t usable(const judgeq_session *session, const int32_t *tokens, size_t n) {
    size_t n_own;
    judgeq_stats stats;
    const int32_t *own = judgeq_session_tokens(session, &n_own);
    size_t common = common_prefix(own, n_own, tokens, n);
    if (common == n && (n_own > n || !judgeq_session_logits(session))) common--;
    judgeq_session_get_stats(session, &stats);
    return common < (size_t)stats.n_chosen ? 0 : common;
}

idle_session *idle_find(idle_store *store, const char *key, const int32_t *tokens, size_t n, size_t *common) {
    idle_session *best = NULL;
    *common = 0;
    for (size_t i = 0; i < store->n; i++) {
        if (strcmp(store->item[i].key, key) != 0) continue;
        const size_t same = usable(store->item[i].session, tokens, n);
        if (same <= *common) continue;
        best = &store->item[i];
        *common = same;
    }
    return best;
}

void idle_use(idle_store *store, idle_session *item) {
    item->used = ++store->n_used;
}

/* ---- what comes and goes ----------------------------------------------------------------------------------------- */

/* Those whose tokens all are the first of this session's. */
static void supersede(idle_store *store, const char *key, const judgeq_session *session) {
    size_t n, n_own;
    const int32_t *tokens = judgeq_session_tokens(session, &n);
    for (size_t i = 0; i < store->n; i++) {
        idle_session *item = &store->item[i];
        if (strcmp(item->key, key) != 0) continue;
        const int32_t *own = judgeq_session_tokens(item->session, &n_own);
        if (common_prefix(own, n_own, tokens, n) == n_own) item->superseded = true;
    }
}

static judgeq_status make_room(idle_store *store, judgeq_error *error) {
    if (store->n < store->room) return JUDGEQ_OK;
    const size_t room = 2 * store->room + 16;
    idle_session *larger = realloc(store->item, room * sizeof *larger);
    if (!larger) return error_memory(error, "idle sessions");
    store->item = larger;
    store->room = room;
    return JUDGEQ_OK;
}

static judgeq_status add(idle_store *store, const char *key, idle_session item, judgeq_error *error) {
    judgeq_stats stats;
    const judgeq_status status = make_room(store, error);
    if (status != JUDGEQ_OK) return status;
    item.key = strdup(key);
    if (!item.key) return error_memory(error, "idle sessions");
    judgeq_session_get_stats(item.session, &stats);
    item.bytes = stats.kv_bytes_allocated;
    item.used = ++store->n_used;
    store->bytes += item.bytes;
    store->item[store->n++] = item;
    return JUDGEQ_OK;
}

judgeq_status idle_add(idle_store *store, const char *key, int64_t id, judgeq_session *session, judgeq_error *error) {
    judgeq_status status = judgeq_session_trim(session, error);
    if (status != JUDGEQ_OK) return status;
    supersede(store, key, session);
    return add(store, key, (idle_session){.session = session, .id = id}, error);
}

judgeq_status idle_add_prompt(idle_store *store, const char *key, int64_t id, judgeq_session *session,
                              judgeq_error *error) {
    return add(store, key, (idle_session){.session = session, .id = id, .superseded = true}, error);
}

judgeq_session *idle_take(idle_store *store, judgeq_session *session) {
    for (size_t i = 0; i < store->n; i++) {
        idle_session *item = &store->item[i];
        if (item->session != session) continue;
        store->bytes -= item->bytes;
        free(item->key);
        *item = store->item[--store->n];
        break;
    }
    return session;
}

/* a leaves before b. */
static bool leaves_before(const idle_session *a, const idle_session *b) {
    return a->superseded != b->superseded ? a->superseded : a->used < b->used;
}

bool idle_drop(idle_store *store, bool only_superseded, judgeq_session *spared) {
    idle_session *first = NULL;
    for (size_t i = 0; i < store->n; i++) {
        idle_session *item = &store->item[i];
        if (item->session == spared || (only_superseded && !item->superseded)) continue;
        if (!first || leaves_before(item, first)) first = item;
    }
    if (!first) return false;
    judgeq_session_free(idle_take(store, first->session));
    return true;
}

size_t idle_droppable(const idle_store *store, bool only_superseded, const judgeq_session *spared) {
    size_t bytes = 0;
    for (size_t i = 0; i < store->n; i++) {
        const idle_session *item = &store->item[i];
        if (item->session != spared && (!only_superseded || item->superseded)) bytes += item->bytes;
    }
    return bytes;
}
