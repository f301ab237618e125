#include "find_model.h"

#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/visible.h"

judgeq_status find_model(const char *named, char *room, size_t size, const char **path, judgeq_error *error) {
    *path = named;
    if (named) return JUDGEQ_OK;
    const bool known = judgeq_default_model_path(room, size);
    *path = room;
    if (known && access(room, F_OK) == 0) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_IO,
        "the default model is not there (%.*s): run tools/deps.sh or ./demo.sh in judgeq's source tree, which "
        "fetch it, or name a model with -m FILE",
        VISIBLE_FIT(known ? room : "no home folder", 300));
}

void find_model_notes(const judgeq_model *model, const char *path, notes to) {
    const char *warning;
    for (size_t i = 0; to.take && (warning = judgeq_model_warning_at(model, i)) != NULL; i++) {
        notes_add(to, "note: %s: libllama says: %s", path, warning);
    }
}
