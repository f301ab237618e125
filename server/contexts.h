/* contexts: documents that were read once, as files of sessions in a folder, which clients name in their requests. Any
 * thread may call this. The folder is what there is: files that judgeq ingest writes into it count as well, and what a
 * client has uploaded is a file like theirs. A file's access time is the time of its last use, so that it outlives us.
 */
#ifndef JUDGEQ_SERVER_CONTEXTS_H
#define JUDGEQ_SERVER_CONTEXTS_H

#include "app/notes.h"
#include "judgeq.h"

enum { CONTEXT_NAME_MOST = 128 };

typedef struct contexts contexts;
typedef struct context_file context_file;

typedef struct contexts_params {
    const char *folder;
    size_t bytes; /* of all files together, at most; 0: clients add none and delete none */
    const judgeq_model *model;
    notes notes;
} contexts_params;

/* Everything but the model and the notes' data is copied. With `bytes` the folder is this process's: what a killed one
 * has left half written is removed, and files leave, those first that were not used for longest, until the rest is
 * within `bytes`. Only files that can be read as a session's leave so: others go where a client deletes them. */
judgeq_status contexts_new(const contexts_params *params, contexts **out, judgeq_error *error);
/* Accepts NULL. */
void contexts_free(contexts *all);

/* Letters, digits, ".", "_" and "-", of which the first is no "."; and not the name of a file that is being written. */
bool contexts_is_name(const char *name);
/* 0: nothing can be uploaded. */
size_t contexts_bytes_most(const contexts *all);

/* With a "/" at its end: what messages begin with, and is nobody's business. */
const char *contexts_folder(const contexts *all);

/* The file of this name, which stays until it is released, and was just used. NULL: there is none. */
context_file *contexts_use(contexts *all, const char *name);
/* A name that no file has, for one that will be written; it is nobody else's until it is released. NULL: it is taken.
 */
context_file *contexts_claim(contexts *all, const char *name);
/* Accepts NULL. */
void contexts_release(context_file *file);
const char *context_file_name(const context_file *file);
const char *context_file_path(const context_file *file);

typedef enum contexts_status {
    CONTEXTS_OK = 0,
    CONTEXTS_NONE,      /* no file of this name */
    CONTEXTS_NOT_OURS,  /* it is no session's, not even a damaged one */
    CONTEXTS_EXISTS,    /* somebody else has written it meanwhile */
    CONTEXTS_IN_USE,    /* by requests: later, perhaps */
    CONTEXTS_TOO_LARGE, /* alone */
    CONTEXTS_FAILED
} contexts_status;

/* Writes the file of a name that was claimed, whole or not at all. Others leave for it, but none that is in use. */
contexts_status contexts_write(context_file *file, const void *bytes, size_t size, judgeq_error *error);
contexts_status contexts_remove(contexts *all, const char *name, judgeq_error *error);

/* What is known of a file. */
typedef struct context_info {
    char name[CONTEXT_NAME_MOST + 1];
    size_t bytes;
    int64_t created, used; /* seconds since 1970 */
    int n_users;           /* requests that run, or wait */
    judgeq_status status;  /* OK: it can be used; otherwise `error` says why not, with the file's path */
    judgeq_error error;
    judgeq_snapshot_info snapshot; /* zeroed where the file cannot be read */
} context_info;

/* All files, by name: malloced [*n]; NULL without memory, or where the folder cannot be read. */
context_info *contexts_list(contexts *all, size_t *n);
/* One file, which alone is read. False: there is none, or no memory. */
bool contexts_get(contexts *all, const char *name, context_info *out);

#endif
