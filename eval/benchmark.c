#include "benchmark.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "files.h"
#include "json_loose.h"
#include "python_list.h"

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* Also what Python writes and jansson refuses. */
static judgeq_status take_line(benchmark *b, char *line, json_int_t place, judgeq_error *error) {
    json_error_t reason;
    json_t *object = json_loads(line, 0, &reason);
    if (!object) {
        json_loose_mend(line, strlen(line));
        object = json_loads(line, 0, &reason);
    }
    judgeq_status status = JUDGEQ_OK;
    if (!json_is_object(object)) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s:%lld: %s%.200s", b->path, (long long)place,
                           object ? "is JSON, but no object" : "not JSON: ", object ? "" : reason.text);
    } else if (json_array_append(b->lines, object) != 0 || json_array_append_new(b->places, json_integer(place)) != 0) {
        status = error_memory(error, b->path);
    }
    json_decref(object);
    return status;
}

judgeq_status benchmark_read_lines(benchmark *b, judgeq_error *error) {
    char *bytes = NULL;
    b->lines = json_array();
    b->places = json_array();
    judgeq_status status =
        b->lines && b->places && b->path ? files_read_utf8(b->path, &bytes, error) : error_memory(error, "a benchmark");
    json_int_t place = 0;
    for (char *line, *rest = bytes; status == JUDGEQ_OK && (line = strsep(&rest, "\n"));) {
        place++;
        if (line[strspn(line, " \t\r\f\v")] != '\0') status = take_line(b, line, place, error);
    }
    free(bytes);
    if (status == JUDGEQ_OK && json_array_size(b->lines) == 0) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: holds no sample", b->path);
    }
    return status;
}

judgeq_status benchmarks_take(benchmarks *all, benchmark *b, judgeq_error *error) {
    benchmark *larger = realloc(all->benchmark, (all->n + 1) * sizeof *larger);
    if (!larger) {
        benchmark_free(b);
        return error_memory(error, "a benchmark");
    }
    all->benchmark = larger;
    all->benchmark[all->n++] = *b;
    return JUDGEQ_OK;
}

void benchmark_free(benchmark *b) {
    free(b->name);
    free(b->template);
    free(b->path);
    json_decref(b->lines);
    json_decref(b->places);
    *b = (benchmark){0};
}

void benchmarks_free(benchmarks *all) {
    for (size_t i = 0; i < all->n; i++) benchmark_free(&all->benchmark[i]);
    free(all->benchmark);
    *all = (benchmarks){0};
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

char *benchmark_key(const benchmark *b, size_t index) {
    char *line = json_dumps(json_array_get(b->lines, index), JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = line; c && *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    text_buffer key = {0};
    text_print(&key, "%s/%s/%zu-%08x", sample_family_name(b->family), b->name, index, (unsigned)(hash >> 32));
    key.failed = key.failed || !line;
    free(line);
    return text_take(&key);
}

char *benchmark_place(const benchmark *b, size_t index) {
    text_buffer t = {0};
    text_print(&t, "%s:%lld", b->path, (long long)json_integer_value(json_array_get(b->places, index)));
    return text_take(&t);
}

/* A template with {fields}, as Python's str.format fills it; {{ and }} are braces. The caller's; NULL without memory.
 */
static char *fill(const char *template, const json_t *line) {
    text_buffer t = {0};
    for (const char *at = template; *at;) {
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        if (at[0] == at[1] && (*at == '{' || *at == '}')) {
            text_add(&t, at, 1);
            at += 2;
        } else if (close) {
            char name[64] = "";
            if ((size_t)(close - at) <= sizeof name) memcpy(name, at + 1, (size_t)(close - at - 1));
            const char *value = json_string_value(json_object_get(line, name));
            text_print(&t, "%s", value ? value : "");
            at = close + 1;
        } else {
            text_add(&t, at++, 1);
        }
    }
    return text_take(&t);
}

/* An array of texts, a text, or a list as Python prints it; the caller's. NULL: none of these, or empty. */
static json_t *texts_of(const json_t *value) {
    json_t *texts = NULL;
    if (json_is_array(value)) texts = json_deep_copy(value);
    if (json_is_string(value)) {
        texts = python_list_parse(json_string_value(value));
        if (!texts) texts = json_pack("[O]", value);
    }
    bool good = json_array_size(texts) > 0;
    for (size_t i = 0; i < json_array_size(texts); i++) good = good && json_is_string(json_array_get(texts, i));
    if (good) return texts;
    json_decref(texts);
    return NULL;
}

/* What a line lacks to be a sample, or NULL. */
static const char *lack_of(const benchmark *b, const json_t *line) {
    const bool ruler = b->family == SAMPLE_RULER;
    const char *text = json_string_value(json_object_get(line, ruler ? "input" : "context"));
    const json_t *wanted = json_object_get(line, ruler ? "outputs" : "answers");
    if (!text || !wanted) return ruler ? "has no \"input\" or no \"outputs\"" : "has no \"context\" or no \"answers\"";
    if (!*text) return ruler ? "\"input\" is empty" : "\"context\" is empty";
    if (json_is_array(wanted) && json_array_size(wanted) == 0)
        return ruler ? "\"outputs\" is empty" : "\"answers\" is empty";
    if (b->by_length && !json_is_number(json_object_get(line, "length")))
        return "has no \"length\", by which LongBench-E scores";
    return NULL;
}

/* RULER's generator has put such an input into a template already: length_w_model_temp counts the template that is yet
 * to come, and is `length` where none is. */
static bool is_whole_prompt(const json_t *line) {
    const json_t *length = json_object_get(line, "length"), *with = json_object_get(line, "length_w_model_temp");
    return !json_is_string(json_object_get(line, "answer_prefix")) ||
           (json_is_integer(length) && json_equal(length, with));
}

/* The prompt, and what is read after it. */
static judgeq_status fill_prompt(const benchmark *b, const json_t *line, sample *out, judgeq_error *error) {
    const bool ruler = b->family == SAMPLE_RULER;
    const char *prefix = ruler ? json_string_value(json_object_get(line, "answer_prefix")) : NULL;
    const char *input = json_string_value(json_object_get(line, "input"));
    char *prompt = b->template ? fill(b->template, line) : strdup(input);
    if (prefix) out->answer_prefix = strdup(prefix);
    if (!ruler && input && *input) out->question = strdup(input);
    if (ruler) out->prefix_follows = true;
    out->whole = ruler && is_whole_prompt(line);
    if (out->whole) out->chat = false;
    if (prompt) out->messages = json_pack("[s]", prompt);
    free(prompt);
    out->follow_ups = json_array();
    const bool filled = out->messages && out->follow_ups && (!prefix || out->answer_prefix);
    return filled ? JUDGEQ_OK : error_memory(error, "a sample");
}

/* scorer_e of LongBench's eval.py. */
static const char *length_group(const json_t *line) {
    const double length = json_number_value(json_object_get(line, "length"));
    return length < 4000 ? "0-4k" : length < 8000 ? "4-8k" : "8k+";
}

static judgeq_status fill_sample(const benchmark *b, size_t index, sample *out, judgeq_error *error) {
    const json_t *line = json_array_get(b->lines, index);
    const char *wanted = b->family == SAMPLE_RULER ? "outputs" : "answers", *lack = lack_of(b, line);
    const long long place = json_integer_value(json_array_get(b->places, index));
    if (lack) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s:%lld: %s", b->path, place, lack);
    out->references = texts_of(json_object_get(line, wanted));
    out->classes = texts_of(json_object_get(line, "all_classes"));
    if (b->by_length) out->length_group = length_group(line);
    if (!out->references) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s:%lld: \"%s\" is no list of texts", b->path, place, wanted);
    }
    return fill_prompt(b, line, out, error);
}

int32_t benchmark_prompt_tokens(const benchmark *b, size_t index) {
    enum { BYTES_PER_TOKEN = 4 };
    const json_t *line = json_array_get(b->lines, index);
    const size_t n =
        (json_string_length(json_object_get(line, "input")) + json_string_length(json_object_get(line, "context"))) /
        BYTES_PER_TOKEN;
    const size_t most = b->cut_to > 0 ? (size_t)b->cut_to : INT32_MAX;
    return (int32_t)(n < most ? n : most);
}

judgeq_status benchmark_sample(const benchmark *b, size_t index, sample *out, judgeq_error *error) {
    *out = (sample){.key = benchmark_key(b, index),
                    .task = strdup(b->name),
                    .family = b->family,
                    .metric = b->metric,
                    .length = b->length,
                    .depth = NAN,
                    .index = (int32_t)index,
                    .chat = b->chat,
                    .first_line = b->first_line,
                    .n_tokens = b->n_tokens,
                    .cut_to = b->cut_to};
    judgeq_status status = out->key && out->task ? fill_sample(b, index, out, error) : error_memory(error, "a sample");
    if (status != JUDGEQ_OK) sample_free(out);
    return status;
}
