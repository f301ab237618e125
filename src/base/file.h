/* file: whole files in and out: read-only mappings (file_map.c), and atomic writing (file.c). */
#ifndef JUDGEQ_SRC_FILE_H
#define JUDGEQ_SRC_FILE_H

#include "judgeq.h"

/* The bytes of a file, read only. */
typedef struct file_mapping {
    const unsigned char *data;
    size_t size;
    int descriptor;           /* of the file, to ask for its size */
    struct file_watch *watch; /* what judgeq_guard_mappings' handler knows of the mapping */
} file_mapping;

/* Maps a whole regular file; empty files are refused. The mapping follows the file if another program overwrites it in
 * place. A file that is cut short while mapped raises SIGBUS where it is read, unless judgeq_guard_mappings was called:
 * write files by renaming, as file_write_atomic does. */
judgeq_status file_map(const char *path, file_mapping *map, judgeq_error *error);
/* To be asked before and after reading: `status`, which came of what was done so far, unless the file is at fault: it
 * is shorter than it was, or a part of it could not be read. Then IO, whatever was concluded from its bytes. */
judgeq_status file_check(const char *path, const file_mapping *map, judgeq_status status, judgeq_error *error);
/* Accepts a zeroed mapping, and zeroes it. */
void file_unmap(file_mapping *map);

/* Writes to a temporary name in the same folder, syncs, renames and syncs the folder: a kill or a full disk at any
 * moment leaves the old file or the new one, never a part. An existing file's permissions are kept. */
judgeq_status file_write_atomic(const char *path, const void *data, size_t size, judgeq_error *error);
/* Whether file_write_atomic could write there, tried with an empty file that is removed again: to be asked before long
 * work whose result goes there. */
judgeq_status file_check_output(const char *path, judgeq_error *error);
/* The same for a file that is appended to, which may be a device or pipe. */
judgeq_status file_check_log(const char *path, judgeq_error *error);
/* The same for files in a folder that is made if it is missing. */
judgeq_status file_check_folder(const char *path, judgeq_error *error);

/* Appends to an open file: all of the bytes or, where that fails (false, errno), none. */
bool file_append(int descriptor, const void *data, size_t size);

#endif
