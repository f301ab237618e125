#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static bool write_all(int descriptor, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(descriptor, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written == 0) errno = ENOSPC; /* no error, and no byte */
        if (written <= 0) return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* Creates TARGET.tmp.PID.N, a name that nobody has. *name is the caller's. Returns the descriptor, or -1. */
static int create_temporary(const char *target, char **name) {
    static atomic_uint counter;
    *name = NULL;
    for (int attempt = 0; attempt < 100; attempt++) {
        free(*name);
        if (asprintf(name, "%s.tmp.%ld.%u", target, (long)getpid(), atomic_fetch_add(&counter, 1)) < 0) {
            *name = NULL;
            errno = ENOMEM;
            return -1;
        }
        int descriptor = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST) return descriptor;
    }
    return -1;
}

/* Makes a rename last through a power cut. A folder that cannot be opened or synced (not all file systems can) is no
 * error, since the new file is already in its place; a failing disk is. */
static bool sync_folder(const char *target) {
    const char *slash = strrchr(target, '/');
    char *folder = slash ? strndup(target, (size_t)(slash - target) + 1) : strdup(".");
    if (!folder) return true;
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (descriptor < 0) return true;
    bool failed = fsync(descriptor) != 0 && errno == EIO;
    close(descriptor);
    if (failed) errno = EIO;
    return !failed;
}

static bool fill(int descriptor, const struct stat *old, const void *data, size_t size) {
    if (old && fchmod(descriptor, old->st_mode & 0777) != 0) return false;
    return write_all(descriptor, data, size) && fsync(descriptor) == 0;
}

/* Signals that would end the program between the temporary file and its end wait until the file is in its place. */
static void hold_signals(sigset_t *before) {
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) sigaddset(&set, ending[i]);
    pthread_sigmask(SIG_BLOCK, &set, before);
}

static judgeq_status no_temporary(const char *path, judgeq_error *error) {
    const judgeq_status code = errno == ENOMEM ? JUDGEQ_ERROR_MEMORY : JUDGEQ_ERROR_IO;
    return error_set(error, code, "%s: cannot create a file in its folder: %s", path, strerror(errno));
}

/* Writes all of a temporary file, syncs it and gives it its name; false, with errno, where it is gone again. */
static bool finish_temporary(int descriptor, const char *temporary, const char *target, const struct stat *old,
                             const void *data, size_t size) {
    bool ok = fill(descriptor, old, data, size);
    int reason = errno;
    if (close(descriptor) != 0 && ok) { /* network file systems report a full disk here */
        ok = false;
        reason = errno;
    }
    if (ok && rename(temporary, target) != 0) {
        ok = false;
        reason = errno;
    }
    if (!ok) unlink(temporary);
    errno = reason;
    return ok;
}

/* Writes beside `target` and renames over it; `old` is the status of the file there, or NULL. */
static judgeq_status replace_file(const char *path, const char *target, const struct stat *old, const void *data,
                                  size_t size, judgeq_error *error) {
    char *temporary;
    sigset_t before;
    hold_signals(&before);
    int descriptor = create_temporary(target, &temporary);
    judgeq_status status = descriptor < 0 ? no_temporary(path, error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK && !finish_temporary(descriptor, temporary, target, old, data, size))
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write %zu bytes: %s; %s", path, size, strerror(errno),
                           old ? "the old file is unchanged" : "nothing was written");
    if (status == JUDGEQ_OK && !sync_folder(target))
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: written, but its folder could not be synced: %s", path,
                           strerror(errno));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(temporary);
    return status;
}

/* Nothing is written: the folder takes a file, and gives it back. */
static judgeq_status try_file(const char *path, const char *target, judgeq_error *error) {
    char *temporary;
    sigset_t before;
    hold_signals(&before);
    const int descriptor = create_temporary(target, &temporary);
    const judgeq_status status = descriptor < 0 ? no_temporary(path, error) : JUDGEQ_OK;
    if (descriptor >= 0) {
        unlink(temporary);
        close(descriptor);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(temporary);
    return status;
}

static judgeq_status check_old(const char *path, const char *target, struct stat *old, judgeq_error *error) {
    if (stat(target, old) != 0) return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (S_ISREG(old->st_mode)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "%s: is %s, not a regular file, and only such a file can be replaced",
                     path, S_ISDIR(old->st_mode) ? "a folder" : "something else");
}

/* Where a file of that name goes: through links to the file itself, so that a link stays a link, and /dev/stdout is not
 * replaced by a file. *target: the file that is there, the caller's, or NULL. */
static judgeq_status find_target(const char *path, char **target, struct stat *old, judgeq_error *error) {
    *target = realpath(path, NULL);
    if (!*target && errno == ENOENT) return JUDGEQ_OK;
    if (!*target)
        return error_set(error, errno == ENOMEM ? JUDGEQ_ERROR_MEMORY : JUDGEQ_ERROR_IO, "%s: cannot write: %s", path,
                         strerror(errno));
    return check_old(path, *target, old, error);
}

judgeq_status file_write_atomic(const char *path, const void *data, size_t size, judgeq_error *error) {
    struct stat old;
    char *target;
    judgeq_status status = find_target(path, &target, &old, error);
    if (status == JUDGEQ_OK)
        status = replace_file(path, target ? target : path, target ? &old : NULL, data, size, error);
    free(target);
    return status;
}

judgeq_status file_check_output(const char *path, judgeq_error *error) {
    struct stat old;
    char *target;
    judgeq_status status = find_target(path, &target, &old, error);
    if (status == JUDGEQ_OK) status = try_file(path, target ? target : path, error);
    free(target);
    return status;
}

judgeq_status file_check_log(const char *path, judgeq_error *error) {
    struct stat old;
    if (stat(path, &old) != 0 || S_ISREG(old.st_mode) || S_ISDIR(old.st_mode)) return file_check_output(path, error);
    if (access(path, W_OK) == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
}

judgeq_status file_check_folder(const char *path, judgeq_error *error) {
    struct stat old;
    if (stat(path, &old) != 0) return file_check_output(path, error);
    if (!S_ISDIR(old.st_mode)) return error_set(error, JUDGEQ_ERROR_IO, "%s: is there and no folder", path);
    char *within = NULL;
    if (asprintf(&within, "%s/judgeq", path) < 0) return error_memory(error, path);
    const judgeq_status status = try_file(path, within, error);
    free(within);
    return status;
}

/* ---- appending --------------------------------------------------------------------------------------------------- */

bool file_append(int descriptor, const void *data, size_t size) {
    const off_t end = lseek(descriptor, 0, SEEK_END); /* -1: a pipe, of which nothing can be taken back */
    if (write_all(descriptor, data, size)) return true;
    const int reason = errno;
    if (end >= 0) (void)!ftruncate(descriptor, end);
    errno = reason;
    return false;
}
