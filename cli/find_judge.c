#include "find_judge.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the build says: the judges folder of the source tree, and the installed one as seen from the program's own
 * folder, so that an installed tree can be moved. */
#if !defined(JUDGEQ_SOURCE_JUDGES) || !defined(JUDGEQ_JUDGES_FROM_PROGRAM)
#error "CMake defines JUDGEQ_SOURCE_JUDGES and JUDGEQ_JUDGES_FROM_PROGRAM"
#endif

static bool try_path(const judgeq_model *model, const char *candidate, judgeq_judge **out, char **path) {
    if (judgeq_judge_load(candidate, model, out, NULL) != JUDGEQ_OK) return false;
    *path = strdup(candidate);
    if (*path) return true;
    judgeq_judge_free(*out);
    *out = NULL;
    return false;
}

static bool try_beside(const judgeq_model *model, const char *model_path, judgeq_judge **out, char **path) {
    static const char ending[] = ".gguf";
    const size_t length = strlen(model_path), n = strlen(ending);
    const bool ends = length > n && strcmp(model_path + length - n, ending) == 0;
    char candidate[PATH_MAX];
    const int stem = (int)(ends ? length - n : length);
    const int written = snprintf(candidate, sizeof candidate, "%.*s.judge.gguf", stem, model_path);
    if (written < 0 || (size_t)written >= sizeof candidate || access(candidate, R_OK) != 0) return false;
    return try_path(model, candidate, out, path);
}

static int is_judge_name(const struct dirent *entry) {
    const char *ending = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && ending && strcmp(ending, ".gguf") == 0;
}

/* Every .gguf file, in the order of their names; those of other models are passed over. */
static bool try_folder(const judgeq_model *model, const char *folder, judgeq_judge **out, char **path) {
    struct dirent **entry = NULL;
    const int n = scandir(folder, &entry, is_judge_name, alphasort);
    bool loaded = false;
    for (int i = 0; i < n; i++) {
        char *candidate = NULL;
        if (!loaded && asprintf(&candidate, "%s/%s", folder, entry[i]->d_name) >= 0) {
            loaded = try_path(model, candidate, out, path);
            free(candidate);
        }
        free(entry[i]);
    }
    free((void *)entry);
    return loaded;
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

static judgeq_status look(const judgeq_model *model, const char *model_path, judgeq_judge **out, char **path,
                          judgeq_error *error) {
    static const char source[] = JUDGEQ_SOURCE_JUDGES; /* "" in a package */
    char installed[PATH_MAX];
    if (try_beside(model, model_path, out, path)) return JUDGEQ_OK;
    if (installed_folder(installed, sizeof installed) && try_folder(model, installed, out, path)) return JUDGEQ_OK;
    if (*source && try_folder(model, source, out, path)) return JUDGEQ_OK;
    const char *name = judgeq_model_get_info(model)->name;
    error->code = JUDGEQ_ERROR_IO;
    snprintf(error->message, sizeof error->message,
             "the policy needs a judge for %.100s (fingerprint %s), and there is none beside the model or among the "
             "judges that come with judgeq; name one with --judge FILE, or use another policy: --policy snapkv",
             *name ? name : "this model", judgeq_model_get_info(model)->fingerprint);
    return JUDGEQ_ERROR_IO;
}

judgeq_status find_judge(judgeq_policy *const *policy, size_t n, const judgeq_model *model, const char *model_path,
                         const char *named, judgeq_judge **out, char **path, judgeq_error *error) {
    bool wanted = false;
    *out = NULL;
    *path = NULL;
    for (size_t i = 0; i < n; i++) wanted = wanted || judgeq_policy_soft_tokens(policy[i]) != 0;
    if (!wanted) return JUDGEQ_OK;
    return named ? judgeq_judge_load(named, model, out, error) : look(model, model_path, out, path, error);
}
