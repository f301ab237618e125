/* file: whole files in and out: read-only mappings, and atomic writing. */
#ifndef JUDGEQ_SRC_FILE_H
#define JUDGEQ_SRC_FILE_H

#include "judgeq.h"

/* The bytes of a file, read only. */
typedef struct file_mapping {
    const unsigned char *data;
    size_t size;
} file_mapping;

/* Maps a whole regular file; empty files are refused. The mapping follows the file if another program overwrites it in
 * place, and a file that is cut short while mapped raises SIGBUS: write files by renaming, as file_write_atomic does.
 */
judgeq_status file_map(const char *path, file_mapping *map, judgeq_error *error);
/* Accepts a zeroed mapping, and zeroes it. */
void file_unmap(file_mapping *map);

/* Writes to a temporary name in the same folder, syncs, renames and syncs the folder: a kill or a full disk at any
 * moment leaves the old file or the new one, never a part. An existing file's permissions are kept. */
judgeq_status file_write_atomic(const char *path, const void *data, size_t size, judgeq_error *error);

#endif
