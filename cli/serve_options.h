/* serve_options: the command line of `judgeq serve`. */
#ifndef JUDGEQ_CLI_SERVE_OPTIONS_H
#define JUDGEQ_CLI_SERVE_OPTIONS_H

#include "run_options.h"
#include "serve_keys.h"

enum { SERVE_ORIGINS_MOST = 16, SERVE_NAMES_MOST = 16 };

typedef struct serve_options {
    options run; /* the model, the method, and what answers are like where a request says nothing */
    const char *alias, *context_folder, *key_file;
    const char *host;
    int32_t port;
    serve_keys keys;
    const char *origin[SERVE_ORIGINS_MOST]; /* [n_origins] */
    size_t n_origins;
    const char *name[SERVE_NAMES_MOST]; /* [n_names], of this machine */
    size_t n_names;
    size_t kv_bytes, cache_bytes, body_bytes; /* the first two: 0: chosen, all that is free */
    size_t context_bytes;                     /* 0: clients only use contexts */
    int32_t n_parallel, n_queue, n_connections;
    double timeout_s, ping_s, drain_s;
} serve_options;

/* The exit status: 0, or another after a message. *out is to be freed in any case. */
int serve_options_read(int argc, char **argv, serve_options *out);
void serve_options_free(serve_options *o);

#endif
