/* file_map: files as read-only mappings, and what becomes of a mapping whose file loses a part. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "file.h"

/* ---- what the handler knows -------------------------------------------------------------------------------------- */

/* A mapping, in a list that only grows: the handler may walk it at any moment, in any thread. An entry is used again
 * when its mapping is gone; `version` is odd while it changes. */
typedef struct file_watch {
    atomic_bool taken;
    atomic_uint version;
    _Atomic(uintptr_t) begin, end; /* 0, 0: none */
    atomic_bool lost;              /* a page could not be read, and is zeros now */
    struct file_watch *next;
} file_watch;

static _Atomic(file_watch *) watches;

static void watch_set(file_watch *watch, uintptr_t begin, uintptr_t end) {
    atomic_fetch_add(&watch->version, 1);
    atomic_store(&watch->begin, begin);
    atomic_store(&watch->end, end);
    atomic_fetch_add(&watch->version, 1);
}

/* NULL: no memory. */
static file_watch *watch_take(void) {
    for (file_watch *watch = atomic_load(&watches); watch; watch = watch->next) {
        bool free_before = false;
        if (atomic_compare_exchange_strong(&watch->taken, &free_before, true)) return watch;
    }
    file_watch *watch = calloc(1, sizeof *watch);
    if (!watch) return NULL;
    atomic_store(&watch->taken, true);
    watch->next = atomic_load(&watches);
    while (!atomic_compare_exchange_weak(&watches, &watch->next, watch)) continue;
    return watch;
}

static void watch_drop(file_watch *watch) {
    watch_set(watch, 0, 0);
    atomic_store(&watch->lost, false);
    atomic_store(&watch->taken, false);
}

/* The end of the mapping that holds the address; 0: none does. An entry that changes meanwhile is another mapping's. */
static uintptr_t watch_find(uintptr_t address, file_watch **out) {
    for (file_watch *watch = atomic_load(&watches); watch; watch = watch->next) {
        const unsigned version = atomic_load(&watch->version);
        const uintptr_t begin = atomic_load(&watch->begin), end = atomic_load(&watch->end);
        if (version % 2 != 0 || version != atomic_load(&watch->version)) continue;
        if (address < begin || address >= end) continue;
        *out = watch;
        return end;
    }
    return 0;
}

/* ---- SIGBUS ------------------------------------------------------------------------------------------------------ */

static struct sigaction before;
static long page_size;

/* The signal is none of ours: what was there before gets it. */
static void pass_on(int number, siginfo_t *info, void *context) {
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else { /* a fault comes again when the handler returns; a signal that was sent has to be sent again */
        signal(number, SIG_DFL);
        if (info->si_code <= 0) raise(number);
    }
}

/* Zeros in the place of what is missing, so that the thread can go on to where the mapping is checked. The pages after
 * it are replaced too: a file that grows again is not the file that was opened. Async-signal-safe: atomics and one
 * system call. */
static void replace_pages(int number, siginfo_t *info, void *context) {
    const int reason = errno;
    const uintptr_t address = (uintptr_t)info->si_addr, page = address - address % (uintptr_t)page_size;
    file_watch *watch = NULL;
    const uintptr_t end = info->si_code > 0 ? watch_find(address, &watch) : 0;
    if (end > 0 && mmap((void *)page, end - page, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                       MAP_FAILED) { // NOLINT(performance-no-int-to-ptr)
        atomic_store(&watch->lost, true);
    } else {
        pass_on(number, info, context);
    }
    errno = reason;
}

void judgeq_guard_mappings(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction action = {.sa_sigaction = replace_pages, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    page_size = sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, NULL, &now);
    if (now.sa_sigaction != replace_pages) {
        before = now; /* known before the first signal can come */
        sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

static judgeq_status check_kind(const struct stat *status, const char *path, judgeq_error *error) {
    if (S_ISDIR(status->st_mode)) return error_set(error, JUDGEQ_ERROR_IO, "%s: is a folder, not a file", path);
    if (!S_ISREG(status->st_mode))
        return error_set(error, JUDGEQ_ERROR_IO, "%s: is a device or pipe; a regular file is needed", path);
    if (status->st_size == 0) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is empty (0 bytes)", path);
    return JUDGEQ_OK;
}

static judgeq_status map_descriptor(int descriptor, const char *path, file_mapping *map, judgeq_error *error) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    const judgeq_status kind = check_kind(&status, path, error);
    if (kind != JUDGEQ_OK) return kind;
    const size_t size = (size_t)status.st_size;
    file_watch *watch = watch_take();
    if (!watch) return error_memory(error, path);
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) {
        const int reason = errno;
        watch_drop(watch);
        return error_set(error, reason == ENOMEM ? JUDGEQ_ERROR_MEMORY : JUDGEQ_ERROR_IO, "%s: cannot map: %s", path,
                         strerror(reason));
    }
    watch_set(watch, (uintptr_t)data, (uintptr_t)data + size);
    *map = (file_mapping){.data = data, .size = size, .descriptor = descriptor, .watch = watch};
    return JUDGEQ_OK;
}

judgeq_status file_map(const char *path, file_mapping *map, judgeq_error *error) {
    *map = (file_mapping){0};
    /* Without O_NONBLOCK, opening a named pipe would wait for its writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    judgeq_status status = map_descriptor(descriptor, path, map, error);
    if (status != JUDGEQ_OK) close(descriptor);
    return status;
}

judgeq_status file_check(const char *path, const file_mapping *map, judgeq_status status, judgeq_error *error) {
    struct stat now;
    if (fstat(map->descriptor, &now) == 0 && (size_t)now.st_size < map->size)
        return error_set(error, JUDGEQ_ERROR_IO,
                         "%s: has become shorter while it was in use (%zu of %zu bytes are left); start again when it "
                         "is whole",
                         path, (size_t)now.st_size, map->size);
    if (atomic_load(&map->watch->lost))
        return error_set(error, JUDGEQ_ERROR_IO,
                         "%s: a part of it was missing or could not be read while it was in use; start again when it "
                         "is whole",
                         path);
    return status;
}

void file_unmap(file_mapping *map) {
    if (map->data) {
        watch_drop(map->watch);
        munmap((void *)map->data, map->size);
        close(map->descriptor);
    }
    *map = (file_mapping){0};
}
