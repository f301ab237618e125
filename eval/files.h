/* files: whole texts in. */
#ifndef JUDGEQ_EVAL_FILES_H
#define JUDGEQ_EVAL_FILES_H

#include "judgeq.h"

/* All bytes of a file, terminated, the caller's: free(). Refuses a file with a zero byte. */
judgeq_status files_read_text(const char *path, char **out, judgeq_error *error);

#endif
