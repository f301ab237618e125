#include "contexts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "job.h"

struct context_file {
    contexts *all;
    char name[CONTEXT_NAME_MOST + 1], *path;
    int n_users;    /* requests; of a file that is not there: one that will write it */
    int n_held;     /* by calls of ours, for which the file may go */
    size_t writing; /* bytes of a file that is being written */
    bool there;     /* as of the last look */
    struct stat at; /* the file's, where it is there */
    struct timespec used;
    bool known;           /* what follows is of this file, and stays so until it is another */
    bool ours, deletable; /* it was read as a session's, so that it may leave; or is a damaged one, perhaps */
    judgeq_status status;
    judgeq_error error;
    judgeq_snapshot_info info;
};

struct contexts {
    contexts_params params;
    char *folder;
    int descriptor; /* the folder's, locked while we keep it; or -1 */
    pthread_mutex_t lock;
    context_file **file; /* [n] of room */
    size_t n, room;
};

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* A number at the beginning of a text; 0: there is none. *end: what follows it. */
static long number_at(const char *text, const char **end) {
    char *after = NULL;
    *end = text;
    if (*text < '0' || *text > '9') return 0;
    const long number = strtol(text, &after, 10);
    *end = after;
    return number;
}

/* The process of a name as file_write_atomic makes them, NAME.tmp.PID.N; 0: it is none. */
static long writer_of(const char *name) {
    static const char mark[] = ".tmp.";
    const char *last = NULL, *rest, *end;
    for (const char *at = name; (at = strstr(at, mark)); at++) last = at + strlen(mark);
    const long pid = last ? number_at(last, &rest) : 0;
    if (pid <= 0 || *rest != '.') return 0;
    (void)number_at(rest + 1, &end);
    return end > rest + 1 && *end == '\0' ? pid : 0;
}

bool contexts_is_name(const char *name) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t n = strlen(name);
    return n > 0 && n <= CONTEXT_NAME_MOST && name[0] != '.' && strspn(name, plain) == n && writer_of(name) == 0;
}

size_t contexts_bytes_most(const contexts *all) {
    return all->params.bytes;
}

const char *contexts_folder(const contexts *all) {
    return all->folder;
}

const char *context_file_name(const context_file *file) {
    return file->name;
}

const char *context_file_path(const context_file *file) {
    return file->path;
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

static void file_free(context_file *file) {
    if (!file) return;
    free(file->path);
    free(file);
}

/* Under the lock, as is all up to the next heading. */
static context_file *find(const contexts *all, const char *name) {
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->file[i]->name, name) == 0) return all->file[i];
    }
    return NULL;
}

static context_file *add(contexts *all, const char *name) {
    if (all->n == all->room) {
        const size_t room = 2 * all->room + 16;
        context_file **larger = realloc((void *)all->file, room * sizeof(context_file *));
        if (!larger) return NULL;
        all->file = larger;
        all->room = room;
    }
    context_file *file = calloc(1, sizeof *file);
    if (!file) return NULL;
    file->all = all;
    snprintf(file->name, sizeof file->name, "%s", name);
    if (asprintf(&file->path, "%s%s", all->folder, name) < 0) {
        free(file);
        return NULL;
    }
    return all->file[all->n++] = file;
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool earlier(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Looks for a file, which it may not have seen before. NULL: there is none. */
static context_file *look(contexts *all, const char *name) {
    struct stat now;
    context_file *file = find(all, name);
    char *path = NULL;
    if (!file && asprintf(&path, "%s%s", all->folder, name) < 0) return NULL;
    const bool there = stat(file ? file->path : path, &now) == 0 && S_ISREG(now.st_mode);
    free(path);
    if (!file && there) file = add(all, name);
    if (!file) return NULL;
    if (there && !same_file(&now, &file->at)) {
        file->known = false;
        file->used = earlier(&now.st_atim, &now.st_mtim) ? now.st_mtim : now.st_atim;
    }
    file->there = there;
    if (there) file->at = now;
    return there ? file : NULL;
}

static void forget_missing(contexts *all) {
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        context_file *file = all->file[i];
        if (file->there || file->n_users > 0 || file->n_held > 0)
            all->file[n++] = file;
        else
            file_free(file);
    }
    all->n = n;
}

static bool look_at_all(contexts *all) {
    DIR *folder = opendir(all->folder);
    if (!folder) return false;
    for (size_t i = 0; i < all->n; i++) all->file[i]->there = false;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (contexts_is_name(entry->d_name)) look(all, entry->d_name);
    }
    closedir(folder);
    forget_missing(all);
    return true;
}

/* So that it outlives us; where that cannot be written, it does not. */
static void note_use(const context_file *file) {
    const struct timespec times[] = {file->used, {.tv_nsec = UTIME_OMIT}};
    (void)!utimensat(AT_FDCWD, file->path, times, 0);
}

static size_t bytes_of_all(const contexts *all) {
    size_t bytes = 0;
    for (size_t i = 0; i < all->n; i++) {
        const context_file *file = all->file[i];
        bytes += file->there ? (size_t)file->at.st_size : file->writing;
    }
    return bytes;
}

/* ---- what it holds ----------------------------------------------------------------------------------------------- */

/* A file that was not read as a session's may be one that somebody is copying here, a model too: it goes where a client
 * deletes it by its name, and never by itself. */
static bool may_be_deleted(const char *path, judgeq_status status) {
    const bool damaged = status == JUDGEQ_ERROR_FORMAT || status == JUDGEQ_ERROR_NUMERIC;
    return status == JUDGEQ_OK || (damaged && job_is_gguf(path));
}

/* Reads a file that somebody holds, unless it is known; without the lock. It stays unknown where it was replaced in the
 * meantime, or another try may end in another way. */
static void learn(context_file *file) {
    contexts *all = file->all;
    pthread_mutex_lock(&all->lock);
    const bool known = file->known;
    const struct stat before = file->at;
    pthread_mutex_unlock(&all->lock);
    if (known) return;
    judgeq_snapshot_info info;
    judgeq_error error = {0};
    judgeq_status status = job_read_context(file->path, &info, NULL, &error);
    const bool ours = status == JUDGEQ_OK, deletable = may_be_deleted(file->path, status);
    const bool lasts = status != JUDGEQ_ERROR_MEMORY && status != JUDGEQ_ERROR_IO;
    if (status == JUDGEQ_OK &&
        strcmp(info.file_fingerprint, judgeq_model_get_info(all->params.model)->file_fingerprint) != 0) {
        status = error_set(&error, JUDGEQ_ERROR_MISMATCH, "%s: was read by another model, or another quantisation: %s",
                           file->path, info.model_name);
    }
    pthread_mutex_lock(&all->lock);
    look(all, file->name);
    if (!file->known) { /* nobody else has read it */
        file->known = lasts && file->there && same_file(&before, &file->at);
        file->ours = ours;
        file->deletable = deletable;
        file->status = status;
        file->error = error;
        file->info = info;
    }
    note_use(file); /* reading it was no use */
    pthread_mutex_unlock(&all->lock);
}

/* Holds all files, and reads those that it does not know: malloced [*n], for release_all. NULL without memory, or where
 * the folder cannot be read. */
static context_file **hold_all(contexts *all, size_t *n) {
    pthread_mutex_lock(&all->lock);
    const bool looked = look_at_all(all);
    context_file **held = looked ? calloc(all->n + 1, sizeof(context_file *)) : NULL;
    *n = 0;
    for (size_t i = 0; held && i < all->n; i++) {
        if (!all->file[i]->there) continue;
        held[(*n)++] = all->file[i];
        all->file[i]->n_held++;
    }
    pthread_mutex_unlock(&all->lock);
    for (size_t i = 0; i < *n; i++) learn(held[i]);
    return held;
}

static void release_all(contexts *all, context_file **held, size_t n) {
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < n; i++) held[i]->n_held--;
    pthread_mutex_unlock(&all->lock);
    free((void *)held);
}

/* ---- use --------------------------------------------------------------------------------------------------------- */

context_file *contexts_use(contexts *all, const char *name) {
    if (!contexts_is_name(name)) return NULL;
    pthread_mutex_lock(&all->lock);
    context_file *file = look(all, name);
    if (file) {
        file->n_users++;
        clock_gettime(CLOCK_REALTIME, &file->used);
        note_use(file);
    }
    pthread_mutex_unlock(&all->lock);
    return file;
}

/* A folder, a pipe or a link that leads nowhere has its name as well as a file. */
static bool is_taken(const context_file *file) {
    struct stat now;
    return lstat(file->path, &now) == 0;
}

context_file *contexts_claim(contexts *all, const char *name) {
    pthread_mutex_lock(&all->lock);
    context_file *file = find(all, name);
    if (!file) file = add(all, name);
    if (file && (is_taken(file) || file->n_users > 0)) file = NULL;
    if (file) file->n_users++;
    pthread_mutex_unlock(&all->lock);
    return file;
}

void contexts_release(context_file *file) {
    if (!file) return;
    contexts *all = file->all;
    pthread_mutex_lock(&all->lock);
    file->n_users--;
    forget_missing(all);
    pthread_mutex_unlock(&all->lock);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* Under the lock, as is what follows. The file that leaves next: the one that was not used for longest. NULL: none. */
static context_file *next_to_leave(const contexts *all) {
    context_file *next = NULL;
    for (size_t i = 0; i < all->n; i++) {
        context_file *file = all->file[i];
        if (!file->there || !file->known || !file->ours || file->n_users > 0) continue;
        if (!next || earlier(&file->used, &next->used)) next = file;
    }
    return next;
}

static size_t bytes_that_may_leave(const contexts *all) {
    size_t bytes = 0;
    for (size_t i = 0; i < all->n; i++) {
        const context_file *file = all->file[i];
        if (file->there && file->known && file->ours && file->n_users == 0) bytes += (size_t)file->at.st_size;
    }
    return bytes;
}

static contexts_status drop(context_file *file, judgeq_error *error) {
    if (unlink(file->path) != 0 && errno != ENOENT) {
        error_write(error, JUDGEQ_ERROR_IO, "%s: cannot be removed: %s", file->path, strerror(errno));
        return CONTEXTS_FAILED;
    }
    file->there = false;
    return CONTEXTS_OK;
}

/* Files leave until `size` bytes more are within the limit; none where that cannot be. */
static contexts_status make_room(contexts *all, size_t size, judgeq_error *error) {
    const size_t most = all->params.bytes, held = bytes_of_all(all), may_leave = bytes_that_may_leave(all);
    contexts_status status = CONTEXTS_OK;
    if (held - may_leave + size > most) {
        error_write(error, JUDGEQ_ERROR_LIMIT,
                    "the context has %zu bytes, and --context-bytes is %zu, of which %zu are in use by requests or no "
                    "contexts: ask again later",
                    size, most, held - may_leave);
        return CONTEXTS_IN_USE;
    }
    while (status == CONTEXTS_OK && bytes_of_all(all) + size > most) {
        context_file *file = next_to_leave(all);
        if (!file) break; /* cannot be */
        notes_add(all->params.notes, "the context %s, %zu bytes, leaves for another", file->name,
                  (size_t)file->at.st_size);
        status = drop(file, error);
    }
    return status;
}

/* Without the lock. */
contexts_status contexts_write(context_file *file, const void *bytes, size_t size, judgeq_error *error) {
    contexts *all = file->all;
    if (size > all->params.bytes) {
        error_write(error, JUDGEQ_ERROR_LIMIT,
                    "the context has %zu bytes, and --context-bytes is %zu: use a smaller budget or a shorter document",
                    size, all->params.bytes);
        return CONTEXTS_TOO_LARGE;
    }
    size_t n = 0;
    context_file **held = hold_all(all, &n);
    pthread_mutex_lock(&all->lock);
    look_at_all(all);
    /* nobody here has this name, but judgeq ingest or cp may have written it meanwhile */
    contexts_status status = is_taken(file) ? CONTEXTS_EXISTS : make_room(all, size, error);
    if (status == CONTEXTS_OK) file->writing = size;
    pthread_mutex_unlock(&all->lock);
    if (held) release_all(all, held, n);
    if (status != CONTEXTS_OK) return status;
    if (file_write_atomic(file->path, bytes, size, error) != JUDGEQ_OK) status = CONTEXTS_FAILED;
    pthread_mutex_lock(&all->lock);
    file->writing = 0;
    look(all, file->name);
    pthread_mutex_unlock(&all->lock);
    return status;
}

contexts_status contexts_remove(contexts *all, const char *name, judgeq_error *error) {
    contexts_status status = CONTEXTS_OK;
    size_t n = 0;
    context_file **held = hold_all(all, &n);
    pthread_mutex_lock(&all->lock);
    context_file *file = contexts_is_name(name) ? look(all, name) : NULL;
    if (!file) {
        status = CONTEXTS_NONE;
    } else if (file->n_users > 0) {
        status = CONTEXTS_IN_USE;
    } else if (!file->known || !file->deletable) {
        status = CONTEXTS_NOT_OURS;
    } else {
        status = drop(file, error);
    }
    pthread_mutex_unlock(&all->lock);
    if (held) release_all(all, held, n);
    return status;
}

/* ---- what can be asked ------------------------------------------------------------------------------------------- */

static context_info info_of(const context_file *file) {
    context_info info = {.bytes = (size_t)file->at.st_size,
                         .created = file->at.st_mtim.tv_sec,
                         .used = file->used.tv_sec,
                         .n_users = file->n_users,
                         .status = file->status,
                         .error = file->error,
                         .snapshot = file->info};
    memcpy(info.name, file->name, sizeof info.name);
    return info;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const context_info *)a)->name, ((const context_info *)b)->name);
}

context_info *contexts_list(contexts *all, size_t *n) {
    context_file **held = hold_all(all, n);
    context_info *list = held ? calloc(*n + 1, sizeof *list) : NULL;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; list && i < *n; i++) list[i] = info_of(held[i]);
    pthread_mutex_unlock(&all->lock);
    if (held) release_all(all, held, *n);
    if (list) qsort(list, *n, sizeof *list, by_name);
    return list;
}

bool contexts_get(contexts *all, const char *name, context_info *out) {
    pthread_mutex_lock(&all->lock);
    context_file *file = contexts_is_name(name) ? look(all, name) : NULL;
    if (file) file->n_held++;
    pthread_mutex_unlock(&all->lock);
    if (!file) return false;
    learn(file);
    pthread_mutex_lock(&all->lock);
    *out = info_of(file);
    file->n_held--;
    pthread_mutex_unlock(&all->lock);
    return true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Files that a process was writing when it was killed. */
static void remove_half_written(const contexts *all) {
    DIR *folder = opendir(all->folder);
    if (!folder) return;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const long pid = writer_of(entry->d_name);
        if (pid == 0 || (pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))) continue;
        if (unlinkat(all->descriptor, entry->d_name, 0) != 0) continue;
        notes_add(all->params.notes, "%s, which was half written, is removed", entry->d_name);
    }
    closedir(folder);
}

static judgeq_status keep_folder(contexts *all, judgeq_error *error) {
    all->descriptor = open(all->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all->descriptor >= 0 && flock(all->descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return error_set(error, JUDGEQ_ERROR_IO,
                         "%s: another server keeps this folder within its --context-bytes: give this one another "
                         "folder, or leave --context-bytes out, and it only reads it",
                         all->folder);
    }
    remove_half_written(all);
    size_t n = 0;
    context_file **held = hold_all(all, &n);
    pthread_mutex_lock(&all->lock);
    const contexts_status status = make_room(all, 0, error);
    pthread_mutex_unlock(&all->lock);
    if (held) release_all(all, held, n);
    return status == CONTEXTS_OK || status == CONTEXTS_IN_USE ? JUDGEQ_OK : JUDGEQ_ERROR_IO;
}

static judgeq_status check_folder(const contexts *all, judgeq_error *error) {
    struct stat now;
    if (stat(all->folder, &now) != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "%s: %s: mkdir makes a folder for contexts", all->folder,
                         strerror(errno));
    }
    if (!S_ISDIR(now.st_mode)) return error_set(error, JUDGEQ_ERROR_IO, "%s: is no folder", all->folder);
    return all->params.bytes > 0 ? file_check_folder(all->folder, error) : JUDGEQ_OK;
}

judgeq_status contexts_new(const contexts_params *params, contexts **out, judgeq_error *error) {
    contexts *all = calloc(1, sizeof *all);
    *out = NULL;
    if (!all || pthread_mutex_init(&all->lock, NULL) != 0) {
        free(all);
        return error_memory(error, "contexts");
    }
    all->params = *params;
    all->descriptor = -1;
    if (asprintf(&all->folder, "%s/", params->folder) < 0) all->folder = NULL;
    judgeq_status status = all->folder ? check_folder(all, error) : error_memory(error, "contexts");
    if (status == JUDGEQ_OK && params->bytes > 0) status = keep_folder(all, error);
    if (status == JUDGEQ_OK)
        *out = all;
    else
        contexts_free(all);
    return status;
}

void contexts_free(contexts *all) {
    if (!all) return;
    for (size_t i = 0; i < all->n; i++) file_free(all->file[i]);
    free((void *)all->file);
    if (all->descriptor >= 0) close(all->descriptor);
    pthread_mutex_destroy(&all->lock);
    free(all->folder);
    free(all);
}
