#include "find_judge.h"
#include "base/error.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/visible.h"
#include "fallback.h"

/* What the build says: the judges folder of the source tree, and the installed one as seen from the program's own
 * folder, so that an installed tree can be moved. */
#if !defined(JUDGEQ_SOURCE_JUDGES) || !defined(JUDGEQ_JUDGES_FROM_PROGRAM)
#error "CMake defines JUDGEQ_SOURCE_JUDGES and JUDGEQ_JUDGES_FROM_PROGRAM"
#endif

static judgeq_status load(const judge_search *search, const char *path, judge_found *found, judgeq_error *error) {
    const judgeq_status status = judgeq_judge_load(path, search->model, &found->judge, error);
    if (status != JUDGEQ_OK) return status;
    found->path = strdup(path);
    return found->path ? JUDGEQ_OK : error_memory(error, "a judge's path");
}

/* ---- beside the model -------------------------------------------------------------------------------------------- */

/* MODEL.judge.gguf of MODEL.gguf. False where it is too long for a path. */
static bool path_beside(const char *model_path, char path[PATH_MAX]) {
    static const char ending[] = ".gguf";
    const size_t length = strlen(model_path), n = strlen(ending);
    const bool ends = length > n && strcmp(model_path + length - n, ending) == 0;
    const int written = snprintf(path, PATH_MAX, "%.*s.judge.gguf", (int)(ends ? length - n : length), model_path);
    return written > 0 && written < PATH_MAX;
}

/* Somebody put it there: one that cannot be used is an error. */
static judgeq_status try_beside(const judge_search *search, judge_found *found, judgeq_error *error) {
    char path[PATH_MAX];
    struct stat entry;
    if (!path_beside(search->model_path, path) || lstat(path, &entry) != 0) return JUDGEQ_OK;
    judgeq_error reason = {0};
    const judgeq_status status = load(search, path, found, &reason);
    if (status == JUDGEQ_OK) return JUDGEQ_OK;
    return error_set(error, status, "%.400s; it is beside the model: move it away, or name a judge with --judge FILE",
                     reason.message);
}

/* ---- in the judges folders --------------------------------------------------------------------------------------- */

static int is_judge_name(const struct dirent *entry) {
    const char *ending = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && ending && strcmp(ending, ".gguf") == 0;
}

/* Those of other models, and files of other kinds, are passed over; damaged ones too, with a note. */
static void try_one(const judge_search *search, const char *path, judge_found *found) {
    judgeq_error reason = {0};
    const judgeq_status status = load(search, path, found, &reason);
    const bool other = status == JUDGEQ_ERROR_MISMATCH || status == JUDGEQ_ERROR_UNSUPPORTED;
    if (status != JUDGEQ_OK && !other) notes_add(search->notes, "note: passed over: %s", reason.message);
}

/* Every .gguf file, in the order of their names. */
static void try_folder(const judge_search *search, const char *folder, judge_found *found) {
    struct dirent **entry = NULL;
    const int n = scandir(folder, &entry, is_judge_name, alphasort);
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (!found->judge && asprintf(&path, "%s/%s", folder, entry[i]->d_name) >= 0) {
            try_one(search, path, found);
            free(path);
        }
        free(entry[i]);
    }
    free((void *)entry);
}

/* The installed judges folder; false where it cannot be told. */
static bool installed_folder(char *folder, size_t size) {
    char program[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = '\0';
    char *name = strrchr(program, '/');
    if (!name) return false;
    *name = '\0';
    const int written = snprintf(folder, size, "%s/%s", program, JUDGEQ_JUDGES_FROM_PROGRAM);
    return written > 0 && (size_t)written < size;
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

static judgeq_status look(const judge_search *search, judge_found *found, judgeq_error *error) {
    char installed[PATH_MAX];
    const judgeq_status status = try_beside(search, found, error);
    if (status != JUDGEQ_OK || found->judge) return status;
    if (installed_folder(installed, sizeof installed)) try_folder(search, installed, found);
    if (!found->judge) try_folder(search, JUDGEQ_SOURCE_JUDGES, found);
    return JUDGEQ_OK;
}

static judgeq_status refuse(const judgeq_model_info *model, judgeq_error *error) {
    return error_set(
        error, JUDGEQ_ERROR_IO,
        "the policy needs a judge for %.*s (fingerprint %s), and there is none beside the model or among the "
        "judges that come with judgeq; name one with --judge FILE, or use another policy: --policy snapkv",
        VISIBLE_FIT(*model->name ? model->name : "this model", 100), model->fingerprint);
}

static judgeq_status fall_back(const judge_search *search, judge_found *found, judgeq_error *error) {
    char beside[PATH_MAX];
    if (!search->by_default) return refuse(judgeq_model_get_info(search->model), error);
    found->fallback = true;
    if (search->notes.take && path_beside(search->model_path, beside)) {
        fallback_note(search->model, search->model_path, beside, search->notes);
    }
    return JUDGEQ_OK;
}

static void note_weights(const judge_search *search, const judge_found *found) {
    const char *trained = judgeq_judge_get_info(found->judge)->weight_type;
    const char *here = judgeq_model_get_info(search->model)->weight_type;
    if (!*trained || strcmp(trained, here) == 0) return;
    notes_add(search->notes, "note: %s: trained with the %s weights of this model, which has %s here", found->path,
              trained, here);
}

judgeq_status find_judge(const judge_search *search, judgeq_policy *const *policy, size_t n, judge_found *found,
                         judgeq_error *error) {
    bool wanted = false;
    *found = (judge_found){0};
    for (size_t i = 0; i < n; i++) wanted = wanted || judgeq_policy_soft_tokens(policy[i]) != 0;
    judgeq_status status = JUDGEQ_OK;
    if (search->named) {
        status = load(search, search->named, found, error);
    } else if (wanted) {
        status = look(search, found, error);
    }
    if (status != JUDGEQ_OK) return status;
    if (wanted && !found->judge) return fall_back(search, found, error);
    if (wanted) {
        note_weights(search, found);
    } else {
        judge_found_free(found);
    }
    return JUDGEQ_OK;
}

void judge_found_free(judge_found *found) {
    judgeq_judge_free(found->judge);
    free(found->path);
    *found = (judge_found){0};
}
