#include "stack.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

typedef struct work {
    void (*call)(void *data);
    void *data;
} work;

static void *run(void *pointer) {
    const work *w = pointer;
    w->call(w->data);
    return NULL;
}

/* The error number of what failed, or 0. */
static int run_on(void *lowest, size_t size, work *w) {
    pthread_attr_t attributes;
    pthread_t thread;
    int reason = pthread_attr_init(&attributes);
    if (reason != 0) return reason;
    reason = pthread_attr_setstack(&attributes, lowest, size);
    if (reason == 0) reason = pthread_create(&thread, &attributes, run, w);
    if (reason == 0) reason = pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return reason;
}

judgeq_status stack_call(size_t size, void (*call)(void *data), void *data, judgeq_error *error) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t mapped = (size + page - 1) / page * page + page; /* the lowest page stops an overflow */
    char *lowest =
        mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (lowest == MAP_FAILED) {
        return error_set(error, JUDGEQ_ERROR_MEMORY, "out of memory for a stack of %zu bytes", size);
    }
    work w = {call, data};
    mprotect(lowest, page, PROT_NONE);
    const int reason = run_on(lowest + page, mapped - page, &w);
    munmap(lowest, mapped);
    if (reason == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_MEMORY, "cannot start a thread with a stack of %zu bytes: %s", size,
                     strerror(reason));
}
