/* files: what a folder holds, once each. */
#include <errno.h>
#include <fts.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files.h"

/* A file by what it is, not by its name. */
typedef struct identity {
    dev_t device;
    ino_t number;
} identity;

static int compare_identities(const void *a, const void *b) {
    const identity *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

typedef enum first_seen { SEEN_FIRST, SEEN_BEFORE, SEEN_NO_MEMORY } first_seen;

static first_seen see(void **seen, const struct stat *status) {
    identity *new = malloc(sizeof *new);
    if (!new) return SEEN_NO_MEMORY;
    *new = (identity){status->st_dev, status->st_ino};
    identity **found = (identity **)tsearch(new, seen, compare_identities);
    if (found && *found == new) return SEEN_FIRST;
    free(new);
    return found ? SEEN_BEFORE : SEEN_NO_MEMORY;
}

static const char *kind_of(mode_t mode) {
    return S_ISFIFO(mode)   ? "is a pipe, not a regular file"
           : S_ISSOCK(mode) ? "is a socket, not a regular file"
                            : "is a device, not a regular file";
}

/* One entry; folders are opened by fts_read after it. False ends the walk. */
static bool visit(FTS *walk, FTSENT *at, void **seen, const files_visitor *v) {
    if (at->fts_level > FTS_ROOTLEVEL && at->fts_name[0] == '.') {
        fts_set(walk, at, FTS_SKIP);
        return true;
    }
    switch (at->fts_info) {
    case FTS_D:
    case FTS_F: {
        const first_seen when = see(seen, at->fts_statp);
        if (when == SEEN_BEFORE) fts_set(walk, at, FTS_SKIP);
        if (when != SEEN_FIRST) return when == SEEN_BEFORE;
        return at->fts_info == FTS_D || v->file(v->data, at->fts_path);
    }
    case FTS_DEFAULT:
        return v->other(v->data, at->fts_path, kind_of(at->fts_statp->st_mode), 0);
    case FTS_SLNONE:
        return v->other(v->data, at->fts_path, "is a link to nothing", 0);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return v->other(v->data, at->fts_path, strerror(at->fts_errno), at->fts_errno);
    default: /* a folder once more, or after its files */
        return true;
    }
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

bool files_walk(const char *path, const files_visitor *visitor) {
    char *const roots[] = {(char *)path, NULL};
    void *seen = NULL;
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
    if (!walk) return errno != ENOMEM && visitor->other(visitor->data, path, strerror(errno), errno);
    bool going = true;
    errno = 0;
    for (FTSENT *at; going && (at = fts_read(walk)); errno = 0) going = visit(walk, at, &seen, visitor);
    if (going && errno != 0) going = errno != ENOMEM && visitor->other(visitor->data, path, strerror(errno), errno);
    fts_close(walk);
    tdestroy(seen, free);
    return going;
}
