/* find_model: the model file to work on. */
#ifndef JUDGEQ_APP_FIND_MODEL_H
#define JUDGEQ_APP_FIND_MODEL_H

#include <stddef.h>

#include "judgeq.h"
#include "notes.h"

/* *path becomes `named`, or, where that is NULL, the default model's path in room[0..size). Fails where there is none.
 */
judgeq_status find_model(const char *named, char *room, size_t size, const char **path, judgeq_error *error);

/* What is doubtful in a model that was loaded. */
void find_model_notes(const judgeq_model *model, const char *path, notes to);

#endif
