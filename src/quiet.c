#include "quiet.h"

#include <pthread.h>

#include "llama.h"

static void log_nowhere(enum ggml_log_level level, const char *text, void *data) {
    (void)level;
    (void)text;
    (void)data;
}

static void silence(void) {
    llama_log_set(log_nowhere, NULL); /* sets ggml's logger too */
}

void quiet_ggml_log(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence);
}
