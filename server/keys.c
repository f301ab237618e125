#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

bool keys_init(keys *all) {
    all->key = NULL;
    all->n = 0;
    return pthread_mutex_init(&all->lock, NULL) == 0;
}

static void free_copies(char **key, size_t n) {
    for (size_t i = 0; key && i < n; i++) free(key[i]);
    free((void *)key);
}

void keys_free(keys *all) {
    free_copies(all->key, all->n);
    pthread_mutex_destroy(&all->lock);
}

judgeq_status keys_use(keys *all, const char *const *key, size_t n, judgeq_error *error) {
    char **copy = calloc(n + 1, sizeof *copy);
    size_t n_copy = 0;
    while (copy && n_copy < n && (copy[n_copy] = strdup(key[n_copy]))) n_copy++;
    if (!copy || n_copy < n) {
        free_copies(copy, n_copy);
        return error_memory(error, "keys");
    }
    pthread_mutex_lock(&all->lock);
    char **former = all->key;
    const size_t n_former = all->n;
    all->key = copy;
    all->n = n;
    pthread_mutex_unlock(&all->lock);
    free_copies(former, n_former);
    return JUDGEQ_OK;
}

static bool same(const char *key, const char *given, size_t n) {
    const size_t n_key = strlen(key);
    volatile unsigned char differ = n != n_key;
    for (size_t i = 0; i < n; i++) differ |= (unsigned char)(given[i] ^ key[n_key > 0 ? i % n_key : 0]);
    return !differ;
}

bool keys_fit(keys *all, const char *given) {
    pthread_mutex_lock(&all->lock);
    bool found = all->n == 0;
    for (size_t i = 0; given && i < all->n; i++) found |= same(all->key[i], given, strlen(given));
    pthread_mutex_unlock(&all->lock);
    return found;
}
