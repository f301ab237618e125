#include "training_set.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "model/fingerprint.h"

static const char HEADER_KEY[] = "judgeq_data";
enum { FORMAT_VERSION = 1, FIRST_ROOM = 1024 };

/* ---- one line ---------------------------------------------------------------------------------------------------- */

static judgeq_status line_error(judgeq_error *error, const judgeq_training_set *set, int64_t line, const char *what) {
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s:%lld: %s", set->path, (long long)line, what);
}

/* Room for n more tokens. */
static bool reserve_tokens(judgeq_training_set *set, size_t n) {
    const size_t needed = (size_t)set->info.n_tokens + n;
    if (needed <= set->token_room) return true;
    size_t room = set->token_room ? set->token_room : FIRST_ROOM;
    while (room < needed) room *= 2;
    int32_t *token = realloc(set->token, room * sizeof *token);
    if (!token) return false;
    set->token = token;
    unsigned char *answer = realloc(set->answer, room);
    if (!answer) return false;
    set->answer = answer;
    set->token_room = room;
    return true;
}

static bool reserve_example(judgeq_training_set *set) {
    if (set->info.n_examples < set->example_room) return true;
    const size_t room = set->example_room ? 2 * set->example_room : FIRST_ROOM;
    set_example *example = realloc(set->example, room * sizeof *example);
    if (!example) return false;
    set->example = example;
    set->example_room = room;
    return true;
}

/* Reads an array of token ids into out [room]. Returns how many; -1: one is not in the vocabulary, or too many. */
static int64_t take_tokens(const json_t *array, const judgeq_model_info *model, int32_t *out, size_t room) {
    const size_t n = json_array_size(array);
    if (!json_is_array(array) || n == 0 || n > room) return -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(array, i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= model->n_vocab) return -1;
        out[i] = (int32_t)value;
    }
    return (int64_t)n;
}

/* Marks the parts [first, n] of a response that are the model's, all where there is no list of them. False: a part is
 * not within the response. */
static bool take_answers(const json_t *parts, unsigned char *answer, size_t n_response) {
    size_t i;
    json_t *part;
    memset(answer, !parts, n_response);
    if (parts && !json_is_array(parts)) return false;
    json_array_foreach(parts, i, part) {
        const json_t *first = json_array_get(part, 0), *count = json_array_get(part, 1);
        const json_int_t at = json_is_integer(first) ? json_integer_value(first) : -1;
        const json_int_t n = json_is_integer(count) ? json_integer_value(count) : -1;
        if (at < 0 || n < 0 || at > (json_int_t)n_response || n > (json_int_t)n_response - at) return false;
        memset(answer + at, 1, (size_t)n);
    }
    return true;
}

/* Adds a line's example. FORMAT where it holds none; anything else is fatal. */
static judgeq_status take_example(judgeq_training_set *set, const judgeq_model_info *model, const json_t *object,
                                  int64_t line, judgeq_error *error) {
    const size_t most = (size_t)model->n_ctx_train;
    const json_t *prompt = json_object_get(object, "prompt"), *response = json_object_get(object, "response");
    const size_t needed = json_array_size(prompt) + json_array_size(response); /* a context may be millions long */
    if (needed > most) {
        return line_error(error, set, line, "prompt and response are longer than the model's context");
    }
    if (!reserve_tokens(set, needed + 1) || !reserve_example(set)) return error_memory(error, "a training set");
    int32_t *token = set->token + set->info.n_tokens;
    const int64_t n_prompt = take_tokens(prompt, model, token, needed);
    if (n_prompt < 0) return line_error(error, set, line, "\"prompt\" is not an array of the vocabulary's token ids");
    const int64_t n_response = take_tokens(response, model, token + n_prompt, needed - (size_t)n_prompt);
    if (n_response < 0)
        return line_error(error, set, line, "\"response\" is not an array of the vocabulary's token ids");
    unsigned char *answer = set->answer + set->info.n_tokens;
    memset(answer, 0, (size_t)n_prompt);
    if (!take_answers(json_object_get(object, "answers"), answer + n_prompt, (size_t)n_response)) {
        return line_error(error, set, line, "\"answers\" is not an array of [first, number] within the response");
    }
    set->example[set->info.n_examples++] = (set_example){.first = (size_t)set->info.n_tokens,
                                                         .n_prompt = (int32_t)n_prompt,
                                                         .n_response = (int32_t)n_response,
                                                         .line = line};
    set->info.n_tokens += n_prompt + n_response;
    return JUDGEQ_OK;
}

static judgeq_status check_header(const judgeq_training_set *set, const judgeq_model_info *model, const json_t *object,
                                  judgeq_error *error) {
    const json_t *version = json_object_get(object, HEADER_KEY);
    if (!json_is_integer(version)) {
        return line_error(error, set, 1,
                          "not a training set: its first line lacks \"judgeq_data\"; judgeq data makes one");
    }
    if (json_integer_value(version) != FORMAT_VERSION) {
        return line_error(error, set, 1, "a training set of another format version; this judgeq reads 1");
    }
    const char *fingerprint = json_string_value(json_object_get(object, "model_fingerprint"));
    if (!fingerprint) return line_error(error, set, 1, "\"model_fingerprint\" is missing");
    /* older sets have the file's */
    if (strcmp(fingerprint, model->fingerprint) == 0 || strcmp(fingerprint, model->file_fingerprint) == 0)
        return JUDGEQ_OK;
    const char *name = json_string_value(json_object_get(object, "model_name"));
    return error_set(error, JUDGEQ_ERROR_MISMATCH,
                     "%s: made with model \"%.*s\" (fingerprint %.*s), not with \"%.*s\" (fingerprint %.32s): token "
                     "ids and responses are that model's own",
                     set->path, VISIBLE_FIT(name ? name : "", 64), VISIBLE_FIT(fingerprint, 32),
                     VISIBLE_FIT(model->name, 64), model->fingerprint);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static judgeq_status read_line(judgeq_training_set *set, const judgeq_model_info *model, const char *text, size_t n,
                               int64_t line, judgeq_error *error) {
    json_error_t reason;
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &reason);
    judgeq_status status;
    if (!object) {
        status =
            error_set(error, JUDGEQ_ERROR_FORMAT, "%s:%lld: not JSON: %.200s", set->path, (long long)line, reason.text);
    } else if (line == 1) {
        status = check_header(set, model, object, error);
    } else {
        status = take_example(set, model, object, line, error);
    }
    json_decref(object);
    return status;
}

static judgeq_status read_lines(judgeq_training_set *set, const judgeq_model_info *model, const char *text, size_t size,
                                judgeq_error *error) {
    int64_t line = 0;
    for (const char *end = text + size, *next; text < end; text = next) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const size_t n = (size_t)((stop ? stop : end) - text);
        next = stop ? stop + 1 : end;
        line++;
        judgeq_error own = {0};
        const judgeq_status status = read_line(set, model, text, n, line, &own);
        if (status == JUDGEQ_OK) continue;
        if (status != JUDGEQ_ERROR_FORMAT || line == 1) return error_set(error, status, "%s", own.message);
        if (set->info.n_broken++ == 0) memcpy(set->broken, own.message, sizeof set->broken);
    }
    return JUDGEQ_OK;
}

judgeq_status judgeq_training_set_load(const char *path, const judgeq_model *model, judgeq_training_set **out,
                                       judgeq_error *error) {
    *out = NULL;
    file_mapping file;
    judgeq_status status = file_map(path, &file, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_training_set *set = calloc(1, sizeof *set);
    if (set) set->path = strdup(path);
    if (!set || !set->path) {
        status = error_memory(error, "a training set");
    } else {
        set->info.broken = set->broken;
        set->info.hash = set->hash;
        fingerprint_bytes(file.data, file.size, set->hash);
        status = read_lines(set, judgeq_model_get_info(model), (const char *)file.data, file.size, error);
    }
    if (status == JUDGEQ_OK && set->info.n_examples == 0) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: holds no example%s%s", path,
                           set->info.n_broken ? "; the first broken line: " : "", set->broken);
    }
    status = file_check(path, &file, status, error);
    file_unmap(&file);
    if (status == JUDGEQ_OK) {
        *out = set;
    } else {
        judgeq_training_set_free(set);
    }
    return status;
}

judgeq_status judgeq_training_set_new(const char *name, const char *hash, judgeq_training_set **out,
                                      judgeq_error *error) {
    *out = NULL;
    judgeq_training_set *set = calloc(1, sizeof *set);
    if (set) set->path = strdup(name);
    if (!set || !set->path) {
        free(set);
        return error_memory(error, "a training set");
    }
    set->info.broken = set->broken;
    set->info.hash = set->hash;
    snprintf(set->hash, sizeof set->hash, "%s", hash);
    *out = set;
    return JUDGEQ_OK;
}

judgeq_status judgeq_training_set_add(judgeq_training_set *set, const int32_t *prompt, size_t n_prompt,
                                      const int32_t *response, size_t n_response, judgeq_error *error) {
    if (n_prompt == 0 || n_response == 0 || n_prompt > INT32_MAX || n_response > INT32_MAX) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: an example of %zu + %zu tokens", set->path, n_prompt,
                         n_response);
    }
    if (!reserve_tokens(set, n_prompt + n_response) || !reserve_example(set)) {
        return error_memory(error, "a training set");
    }
    const size_t first = (size_t)set->info.n_tokens;
    memcpy(set->token + first, prompt, n_prompt * sizeof *prompt);
    memcpy(set->token + first + n_prompt, response, n_response * sizeof *response);
    memset(set->answer + first, 0, n_prompt);
    memset(set->answer + first + n_prompt, 1, n_response);
    set->info.n_tokens += (int64_t)(n_prompt + n_response);
    set->example[set->info.n_examples] = (set_example){.first = first,
                                                       .n_prompt = (int32_t)n_prompt,
                                                       .n_response = (int32_t)n_response,
                                                       .line = (int64_t)set->info.n_examples + 2};
    set->info.n_examples++;
    return JUDGEQ_OK;
}

void judgeq_training_set_free(judgeq_training_set *set) {
    if (!set) return;
    free(set->path);
    free(set->example);
    free(set->token);
    free(set->answer);
    free(set);
}

const judgeq_training_set_info *judgeq_training_set_get_info(const judgeq_training_set *set) {
    return &set->info;
}
