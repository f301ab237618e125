/* devices: on which devices a model's layers are computed, of this machine and of others. */
#ifndef JUDGEQ_APP_DEVICES_H
#define JUDGEQ_APP_DEVICES_H

#include "judgeq.h"

typedef struct devices {
    const char *names;   /* with "," between them, or NULL */
    const char *servers; /* "host:port" of other machines, with "," between them, or NULL */
    int32_t seconds;     /* that one of them may leave a question unanswered; 0: the library's */
    int32_t n_offload;   /* layers that go to the devices; below 0: all, where there are any */
    /* Ends the process with this message, in whatever thread, once a server is gone: ggml would abort it. Nothing can
     * be freed, because that would ask the server again. NULL: ggml aborts. */
    void (*lost)(const char *message);
} devices;

/* Connects to the servers. */
judgeq_status devices_connect(const devices *d, judgeq_error *error);

/* Loads a model for its devices: without any, for the CPU. */
judgeq_status devices_load_model(const devices *d, const char *path, judgeq_model **out, judgeq_error *error);

#endif
