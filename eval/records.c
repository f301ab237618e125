#include "records.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "base/visible.h"

/* What must be the same for lines of two runs to be compared. */
static const char *const IDENTITY[] = {"model", "judge", "policies", "budgets", "settings"};
enum { N_IDENTITY = sizeof IDENTITY / sizeof IDENTITY[0] };

/* "folder/name"; the caller's. */
static char *join(const char *folder, const char *name) {
    text_buffer t = {0};
    text_print(&t, "%s/%s", folder, name);
    return text_take(&t);
}

/* ---- run.json ---------------------------------------------------------------------------------------------------- */

/* A model that has moved is the same model. */
static json_t *identity_of(const json_t *run, const char *key) {
    json_t *value = json_deep_copy(json_object_get(run, key));
    if (strcmp(key, "model") == 0) json_object_del(value, "path");
    return value;
}

static judgeq_status check_identity(const char *path, const json_t *old, const json_t *run, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int i = 0; status == JUDGEQ_OK && i < N_IDENTITY; i++) {
        json_t *before = identity_of(old, IDENTITY[i]), *now = identity_of(run, IDENTITY[i]);
        if (!json_equal(before, now) && (before || now)) {
            status = error_set(error, JUDGEQ_ERROR_ARGUMENT,
                               "%s is of a run with another \"%s\"; name another folder with -o, or remove this one",
                               path, IDENTITY[i]);
        }
        json_decref(before);
        json_decref(now);
    }
    return status;
}

/* NULL without an error where the file is not there. */
static judgeq_status read_run(const char *path, json_t **out, judgeq_error *error) {
    json_error_t reason;
    struct stat status;
    *out = NULL;
    if (stat(path, &status) != 0) return JUDGEQ_OK;
    if (!S_ISREG(status.st_mode)) return error_set(error, JUDGEQ_ERROR_IO, "%s: is no regular file", path);
    *out = json_load_file(path, JSON_ALLOW_NUL, &reason);
    if (json_is_object(*out)) return JUDGEQ_OK;
    json_decref(*out);
    const bool other = *out != NULL;
    *out = NULL;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is not the description of a run: %.200s", path,
                     other ? "it is no object" : reason.text);
}

static judgeq_status write_run(const char *path, const json_t *run, judgeq_error *error) {
    char *bytes = json_dumps(run, JSON_INDENT(2));
    const judgeq_status status =
        bytes ? file_write_atomic(path, bytes, strlen(bytes), error) : error_memory(error, "run.json");
    free(bytes);
    return status;
}

/* The description of an earlier run is checked, if that run has left anything to compare; its start's date stays then.
 */
static judgeq_status settle_run(const char *path, json_t *run, bool has_lines, judgeq_error *error) {
    json_t *old = NULL;
    judgeq_status status = has_lines ? read_run(path, &old, error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK && old) status = check_identity(path, old, run, error);
    if (status == JUDGEQ_OK && old) json_object_set(run, "started", json_object_get(old, "started"));
    json_decref(old);
    return status == JUDGEQ_OK ? write_run(path, run, error) : status;
}

/* ---- samples.jsonl ----------------------------------------------------------------------------------------------- */

/* Notes a line that is no record. */
static judgeq_status note_damage(records *r, const char *path, size_t number, const char *reason, judgeq_error *error) {
    const char *slash = strrchr(path, '/');
    char place[64], words[256];
    snprintf(place, sizeof place, "%.40s:%zu", slash ? slash + 1 : path, number); /* a name of ours */
    visible_copy(reason, words, sizeof words);
    const bool noted = json_array_append_new(r->damaged, json_pack("{s:s, s:s}", "key", place, "reason", words)) == 0;
    return noted ? JUDGEQ_OK : error_memory(error, "samples");
}

static judgeq_status take_line(records *r, const char *path, const char *bytes, size_t n, size_t number,
                               judgeq_error *error) {
    json_error_t reason;
    if (bytes[strspn(bytes, " \t\r\n")] == '\0' && strlen(bytes) == n) return JUDGEQ_OK;
    json_t *line = json_loadb(bytes, n, JSON_ALLOW_NUL, &reason); /* models write zero bytes, too */
    const char *key = json_string_value(json_object_get(line, "key"));
    judgeq_status status = JUDGEQ_OK;
    if (!key || !json_is_array(json_object_get(line, "results"))) {
        status = note_damage(r, path, number, line ? "it lacks \"key\" or \"results\"" : reason.text, error);
    } else if (json_object_set(r->lines, key, line) != 0) {
        status = error_memory(error, "samples");
    }
    json_decref(line);
    return status;
}

/* Every whole line; *end: where the last one ends. */
static judgeq_status read_lines(records *r, const char *path, FILE *file, long *end, judgeq_error *error) {
    char *line = NULL;
    size_t room = 0, number = 0;
    judgeq_status status = JUDGEQ_OK;
    *end = 0;
    for (ssize_t n; status == JUDGEQ_OK && (n = getline(&line, &room, file)) > 0;) {
        if (line[n - 1] != '\n') break;
        status = take_line(r, path, line, (size_t)n, ++number, error);
        *end += n;
    }
    free(line);
    if (status == JUDGEQ_OK && ferror(file)) {
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
    }
    return status;
}

static judgeq_status read_file(records *r, const char *path, judgeq_error *error) {
    long end;
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return error_set(error, JUDGEQ_ERROR_IO, "%s: is no regular file", path);
    }
    FILE *file = fopen(path, "r");
    if (!file) return error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
    const judgeq_status status = read_lines(r, path, file, &end, error);
    fclose(file);
    return status;
}

/* Whether the file is one of eval's: another's must not be cut or added to. */
static bool is_own(const records *r) {
    char *run = join(r->folder, "run.json");
    const bool own = json_object_size(r->lines) > 0 || (run && access(run, F_OK) == 0);
    free(run);
    return own;
}

static judgeq_status open_lines(records *r, judgeq_error *error) {
    long end = 0;
    struct stat info;
    const bool there = stat(r->path, &info) == 0;
    if (there && !S_ISREG(info.st_mode)) {
        return error_set(error, JUDGEQ_ERROR_IO, "%s: is no regular file", r->path);
    }
    r->file = fopen(r->path, "a+");
    if (!r->file) return error_set(error, JUDGEQ_ERROR_IO, "%s: %s", r->path, strerror(errno));
    if (flock(fileno(r->file), LOCK_EX | LOCK_NB) != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "%s: another judgeq eval is writing there", r->path);
    }
    rewind(r->file);
    const judgeq_status status = read_lines(r, r->path, r->file, &end, error);
    if (status != JUDGEQ_OK) return status;
    if (there && info.st_size > 0 && !is_own(r)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: holds no sample of judgeq eval, and there is no run.json beside it; name another folder "
                         "with -o, or remove this file",
                         r->path);
    }
    clearerr(r->file);
    if (fseek(r->file, 0, SEEK_END) == 0 && (ftell(r->file) == end || ftruncate(fileno(r->file), end) == 0)) {
        return JUDGEQ_OK;
    }
    return error_set(error, JUDGEQ_ERROR_IO, "%s: %s", r->path, strerror(errno));
}

/* ---- several ranks ----------------------------------------------------------------------------------------------- */

/* samples.N.jsonl */
static int is_rank_file(const struct dirent *entry) {
    static const char begin[] = "samples.";
    if (strncmp(entry->d_name, begin, strlen(begin)) != 0) return 0;
    const char *number = entry->d_name + strlen(begin);
    const size_t n = strspn(number, "0123456789");
    return n > 0 && strcmp(number + n, ".jsonl") == 0;
}

/* Does something with the file of every other rank. */
static judgeq_status for_others(records *r, judgeq_status (*each)(records *r, const char *path, judgeq_error *error),
                                judgeq_error *error) {
    struct dirent **entry = NULL;
    const int n = scandir(r->folder, &entry, is_rank_file, alphasort);
    judgeq_status status = n < 0 ? error_set(error, JUDGEQ_ERROR_IO, "%s: %s", r->folder, strerror(errno)) : JUDGEQ_OK;
    for (int i = 0; i < n; i++) {
        char *path = status == JUDGEQ_OK ? join(r->folder, entry[i]->d_name) : NULL;
        if (status == JUDGEQ_OK) status = path ? each(r, path, error) : error_memory(error, "a run's records");
        free(path);
        free(entry[i]);
    }
    free((void *)entry);
    return status;
}

static judgeq_status note_file(records *r, const char *path, judgeq_error *error) {
    (void)path, (void)error;
    r->has_others = true;
    return JUDGEQ_OK;
}

/* Their lines, in memory. */
static judgeq_status read_others(records *r, judgeq_error *error) {
    return for_others(r, read_file, error);
}

static judgeq_status take_others(records *r, const records *others, judgeq_error *error) {
    const char *key;
    json_t *line;
    judgeq_status status = JUDGEQ_OK;
    json_object_foreach(others->lines, key, line) {
        if (status == JUDGEQ_OK && !records_have(r, key)) status = records_add(r, line, error);
    }
    return status;
}

static judgeq_status remove_file(records *r, const char *path, judgeq_error *error) {
    (void)r;
    return unlink(path) == 0 ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
}

judgeq_status records_gather(records *r, judgeq_error *error) {
    records others = {.lines = json_object(), .damaged = json_incref(r->damaged), .folder = r->folder};
    judgeq_status status = others.lines ? read_others(&others, error) : error_memory(error, "a run's records");
    if (status == JUDGEQ_OK) status = take_others(r, &others, error);
    if (status == JUDGEQ_OK) status = for_others(r, remove_file, error);
    json_decref(others.lines);
    json_decref(others.damaged);
    return status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static judgeq_status begin(const char *folder, records *out, char **run_path, judgeq_error *error) {
    *out = (records){.lines = json_object(),
                     .damaged = json_array(),
                     .folder = strdup(folder),
                     .path = join(folder, "samples.jsonl")};
    *run_path = join(folder, "run.json");
    return out->lines && out->damaged && out->folder && out->path && *run_path ? JUDGEQ_OK
                                                                               : error_memory(error, "a run's records");
}

judgeq_status records_open(const char *folder, json_t *run, records *out, judgeq_error *error) {
    char *run_path = NULL;
    judgeq_status status = begin(folder, out, &run_path, error);
    const bool made = status == JUDGEQ_OK && mkdir(folder, 0777) == 0;
    if (status == JUDGEQ_OK && !made && errno != EEXIST) {
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: %s", folder, strerror(errno));
    }
    out->run = json_incref(run);
    if (status == JUDGEQ_OK) status = open_lines(out, error);
    if (status == JUDGEQ_OK) status = for_others(out, note_file, error);
    if (status == JUDGEQ_OK)
        status = settle_run(run_path, run, out->has_others || json_object_size(out->lines) > 0, error);
    if (status == JUDGEQ_OK) status = records_gather(out, error);
    if (status != JUDGEQ_OK && made) { /* nothing was in it, and nothing is, unless a rank has left something */
        if (access(run_path, F_OK) != 0) unlink(out->path);
        rmdir(folder);
    }
    free(run_path);
    if (status != JUDGEQ_OK) records_close(out);
    return status;
}

/* run.json, and the lines of the first rank. */
static judgeq_status read_folder(records *r, const char *run_path, judgeq_error *error) {
    judgeq_status status = read_run(run_path, &r->run, error);
    if (status == JUDGEQ_OK && (!r->run || access(r->path, R_OK) != 0)) {
        status =
            error_set(error, JUDGEQ_ERROR_IO, "%s: holds no run of judgeq eval (run.json, samples.jsonl)", r->folder);
    }
    return status == JUDGEQ_OK ? read_file(r, r->path, error) : status;
}

judgeq_status records_join(const char *folder, json_t *run, int32_t rank, records *out, judgeq_error *error) {
    char *run_path = NULL, name[64];
    judgeq_status status = begin(folder, out, &run_path, error);
    if (status == JUDGEQ_OK) status = read_folder(out, run_path, error);
    if (status == JUDGEQ_OK) status = check_identity(run_path, out->run, run, error);
    snprintf(name, sizeof name, "samples.%d.jsonl", rank);
    free(out->path);
    out->path = join(folder, name);
    if (status == JUDGEQ_OK && !out->path) status = error_memory(error, "a run's records");
    if (status == JUDGEQ_OK) out->file = fopen(out->path, "a");
    if (status == JUDGEQ_OK && !out->file) {
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: %s", out->path, strerror(errno));
    }
    free(run_path);
    if (status != JUDGEQ_OK) records_close(out);
    return status;
}

judgeq_status records_read(const char *folder, records *out, judgeq_error *error) {
    char *run_path = NULL;
    judgeq_status status = begin(folder, out, &run_path, error);
    if (status == JUDGEQ_OK) status = read_folder(out, run_path, error);
    if (status == JUDGEQ_OK) status = read_others(out, error);
    free(run_path);
    if (status != JUDGEQ_OK) records_close(out);
    return status;
}

judgeq_status records_write_run(const records *r, judgeq_error *error) {
    char *path = join(r->folder, "run.json");
    const judgeq_status status = path ? write_run(path, r->run, error) : error_memory(error, "run.json");
    free(path);
    return status;
}

judgeq_status records_add(records *r, json_t *line, judgeq_error *error) {
    const char *key = json_string_value(json_object_get(line, "key"));
    char *bytes = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    char *whole = NULL;
    const int n = bytes ? asprintf(&whole, "%s\n", bytes) : -1;
    free(bytes);
    if (n < 0) return error_memory(error, "a sample's line");
    /* at once, so that a kill leaves a line that is cut off at most */
    const bool written = file_append(fileno(r->file), whole, (size_t)n) && fsync(fileno(r->file)) == 0;
    free(whole);
    if (!written) return error_set(error, JUDGEQ_ERROR_IO, "%s: %s", r->path, strerror(errno));
    return json_object_set(r->lines, key, line) == 0 ? JUDGEQ_OK : error_memory(error, "samples");
}

bool records_have(const records *r, const char *key) {
    return json_object_get(r->lines, key) != NULL;
}

void records_close(records *r) {
    if (r->file) fclose(r->file);
    json_decref(r->run);
    json_decref(r->lines);
    json_decref(r->damaged);
    free(r->folder);
    free(r->path);
    *r = (records){0};
}
