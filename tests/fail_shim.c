/* fail_shim: a module for LD_PRELOAD that lets calls of the C library fail, one at a time, so that every failure can be
 * tested:
 *   FAIL_CALLS   which are counted, with commas: malloc (and whatever allocates), write, fsync, rename, open (that
 *                creates), close (of a file), truncate
 *   FAIL_AT      the number of the call that fails, from 1; 0: none
 *   FAIL_MODE    once; on: that call and all after it; short: it writes a half of its bytes, and succeeds
 *   FAIL_ERRNO   what errno becomes
 *   FAIL_REPORT  a file: the number of calls counted; who made the one that failed, a line for each frame of the
 *                stack: the object, and its exported symbol that stands before the address
 * Calls are counted while main() runs, and writes only to regular files. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own, under the names by which a replacement reaches them. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

typedef enum call {
    CALL_MALLOC,
    CALL_WRITE,
    CALL_FSYNC,
    CALL_RENAME,
    CALL_OPEN,
    CALL_CLOSE,
    CALL_TRUNCATE,
    N_CALL
} call;

static const char *const names[N_CALL] = {"malloc", "write", "fsync", "rename", "open", "close", "truncate"};

static bool counted[N_CALL], stay, shorten, running;
static long fail_at;
static int reason;
static atomic_long n_calls;

static void read_environment(void) {
    const char *calls = getenv("FAIL_CALLS"), *at = getenv("FAIL_AT"), *mode = getenv("FAIL_MODE");
    const char *number = getenv("FAIL_ERRNO");
    for (int i = 0; calls && i < N_CALL; i++) counted[i] = strstr(calls, names[i]) != NULL;
    fail_at = at ? strtol(at, NULL, 10) : 0;
    stay = mode && strcmp(mode, "on") == 0;
    shorten = mode && strcmp(mode, "short") == 0;
    reason = number ? (int)strtol(number, NULL, 10) : ENOMEM;
}

/* Without the C library's streams, which allocate. frame [n]: return addresses, from the call that failed outwards. */
static void report(void *const *frame, int n_frame) {
    const char *path = getenv("FAIL_REPORT");
    const int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    char text[4096];
    int n = snprintf(text, sizeof text, "%ld\n", atomic_load(&n_calls));
    for (int i = 0; i < n_frame && n < (int)sizeof text - 256; i++) {
        Dl_info info;
        if (dladdr(frame[i], &info) == 0) continue;
        const char *slash = strrchr(info.dli_fname, '/');
        n += snprintf(text + n, 256, "%.60s %.150s\n", slash ? slash + 1 : info.dli_fname,
                      info.dli_sname ? info.dli_sname : "?");
    }
    if (file >= 0) (void)!syscall(SYS_write, file, text, (size_t)n);
    syscall(SYS_close, file);
}

static void report_caller(void) {
    enum { FRAMES = 16, OURS = 3 };
    void *frame[FRAMES + OURS];
    const int n = backtrace(frame, FRAMES + OURS);
    if (n > OURS) report(frame + OURS, n - OURS);
}

/* Counts a call; true where it shall fail, with errno set. */
static __attribute__((noinline)) bool fails(call which) {
    if (!running || !counted[which]) return false;
    const long n = atomic_fetch_add(&n_calls, 1) + 1;
    if (fail_at == 0 || n < fail_at || (n > fail_at && !stay)) return false;
    if (n == fail_at) report_caller(); /* at once: what follows may be a crash */
    if (!shorten) errno = reason;
    return true;
}

/* ---- before and after main --------------------------------------------------------------------------------------- */

static int (*real_main)(int argc, char **argv, char **environment);

static int counted_main(int argc, char **argv, char **environment) {
    read_environment();
    unsetenv("LD_PRELOAD"); /* programs that it starts are left alone */
    void *frame[1];
    backtrace(frame, 1); /* the first call loads what it needs */
    running = true;
    const int status = real_main(argc, argv, environment);
    running = false;
    if (fail_at == 0) report(NULL, 0);
    return status;
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end);
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end) {
    typeof(&__libc_start_main) start;
    *(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main;
    return start(counted_main, argc, argv, init, fini, loader_fini, stack_end);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

void *malloc(size_t size) {
    return fails(CALL_MALLOC) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    return fails(CALL_MALLOC) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    return fails(CALL_MALLOC) ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    return fails(CALL_MALLOC) ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return fails(CALL_MALLOC) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (fails(CALL_MALLOC)) return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool is_file(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

/* Half of the bytes, and success. */
static bool halve(size_t *size) {
    if (shorten && *size > 1) *size /= 2;
    return shorten;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    if (is_file(descriptor) && fails(CALL_WRITE) && !halve(&size)) return -1;
    return syscall(SYS_write, descriptor, data, size);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t at) {
    if (fails(CALL_WRITE) && !halve(&size)) return -1;
    return syscall(SYS_pwrite64, descriptor, data, size, at);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t at) {
    return pwrite(descriptor, data, size, at);
}

/* Nothing is synced: a test need not wait for the disk. */
int fsync(int descriptor) {
    (void)descriptor;
    return fails(CALL_FSYNC) ? -1 : 0;
}

int rename(const char *from, const char *to) {
    return fails(CALL_RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (flags & O_CREAT && fails(CALL_OPEN)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int close(int descriptor) {
    const bool failed = is_file(descriptor) && fails(CALL_CLOSE);
    const int status = (int)syscall(SYS_close, descriptor);
    if (failed) errno = reason;
    return failed ? -1 : status;
}

int ftruncate(int descriptor, off_t size) {
    return fails(CALL_TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, descriptor, size);
}
