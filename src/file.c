#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static judgeq_status map_descriptor(int descriptor, const char *path, file_mapping *map, judgeq_error *error) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode)) return error_set(error, JUDGEQ_ERROR_IO, "%s: is a folder, not a file", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, JUDGEQ_ERROR_IO, "%s: is a device or pipe; a regular file is needed", path);
    if (status.st_size == 0) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is empty (0 bytes)", path);

    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot map: %s", path, strerror(errno));
    map->data = data;
    map->size = (size_t)status.st_size;
    return JUDGEQ_OK;
}

judgeq_status file_map(const char *path, file_mapping *map, judgeq_error *error) {
    *map = (file_mapping){0};
    /* Without O_NONBLOCK, opening a named pipe would wait for its writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    judgeq_status status = map_descriptor(descriptor, path, map, error);
    close(descriptor);
    return status;
}

void file_unmap(file_mapping *map) {
    if (map->data) munmap((void *)map->data, map->size);
    *map = (file_mapping){0};
}

static bool write_all(int descriptor, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(descriptor, data, size);
        if (written < 0) {
            if (errno == EINTR) continue;
            return false;
        }
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

/* Writes beside `target` and renames over it; `old` is the status of the file there, or NULL. */
static judgeq_status replace_file(const char *path, const char *target, const struct stat *old, const void *data,
                                  size_t size, judgeq_error *error) {
    char *temporary;
    int descriptor = create_temporary(target, &temporary);
    if (descriptor < 0) {
        judgeq_status status =
            error_set(error, JUDGEQ_ERROR_IO, "%s: cannot create a file in its folder: %s", path, strerror(errno));
        free(temporary);
        return status;
    }

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
    free(temporary);
    if (!ok)
        return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write %zu bytes: %s; %s", path, size, strerror(reason),
                         old ? "the old file is unchanged" : "nothing was written");
    if (!sync_folder(target))
        return error_set(error, JUDGEQ_ERROR_IO, "%s: written, but its folder could not be synced: %s", path,
                         strerror(errno));
    return JUDGEQ_OK;
}

judgeq_status file_write_atomic(const char *path, const void *data, size_t size, judgeq_error *error) {
    /* Through links to the file itself: a link stays a link, and /dev/stdout is not replaced by a file. */
    char *target = realpath(path, NULL);
    if (!target && errno != ENOENT)
        return error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (!target) return replace_file(path, path, NULL, data, size, error);

    struct stat old;
    judgeq_status status;
    if (stat(target, &old) != 0)
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    else if (!S_ISREG(old.st_mode))
        status =
            error_set(error, JUDGEQ_ERROR_IO, "%s: is not a regular file, and only such a file can be replaced", path);
    else
        status = replace_file(path, target, &old, data, size, error);
    free(target);
    return status;
}
