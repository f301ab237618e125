#include "data_sources.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/visible.h"
#include "conversations.h"
#include "cuts.h"
#include "data_facts.h"
#include "files.h"
#include "json_loose.h"
#include "say.h"
#include "unicode.h"

enum { REPORTS_MOST = 20, SAMPLE_BYTES = 1 << 16, CUT_WITHIN = 300 };

/* What the model is asked about a passage. None of them is a template of the evaluation. */
static const char *const INSTRUCTIONS[] = {
    "Summarise the text in a few sentences.",
    "What is the main point of the text?",
    "List the most important facts in the text.",
    "Which names, numbers and places does the text mention?",
    "Explain the text to someone who knows nothing about its subject.",
    "What would a reader want to know next, and why?",
    "Quote the sentence that matters most, and say why it does.",
    "Write three questions that the text answers, with the answers.",
    "Give the text a title and explain the choice.",
    "What does the text advise against, and what does it recommend?",
    "Describe, step by step, what the text says one should do.",
    "Repeat the first and the last sentence of the text.",
};
enum { N_INSTRUCTIONS = sizeof INSTRUCTIONS / sizeof INSTRUCTIONS[0] };

/* One thing to say of a source; no more than a screen is. */
__attribute__((format(printf, 2, 3))) static void report(data_sources *s, const char *format, ...) {
    if (s->n_reports++ >= REPORTS_MOST) return;
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) >= 0) say("%s", message);
    va_end(arguments);
    free(message);
    if (s->n_reports == REPORTS_MOST) say("more of this kind is not named");
}

#define leave_out(s, format, ...) ((s)->n_broken++, report((s), "left out: " format, __VA_ARGS__))

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Bytes per token in the beginning of a text. */
static double bytes_per_token(const data_sources *s, const char *text, size_t size) {
    int32_t *tokens = NULL;
    size_t n = 0;
    size_t sample = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
    while (sample < size && sample > 1 && ((unsigned char)text[sample] & 0xc0) == 0x80) sample--; /* whole characters */
    if (judgeq_tokenize(s->model, text, sample, JUDGEQ_TEXT_PLAIN, &tokens, &n, NULL) != JUDGEQ_OK || n == 0) return 1;
    judgeq_free(tokens);
    return (double)sample / (double)n;
}

/* Where a passage that should end at `end` does: after a line, a sentence of a script without spaces, a word, or at
 * least a whole character. */
static size_t passage_end(const char *text, size_t size, size_t end) {
    if (end >= size) return size;
    const size_t stop = end + CUT_WITHIN < size ? end + CUT_WITHIN : size;
    for (size_t i = end; i < stop; i++) {
        if (text[i] == '\n') return i + 1;
    }
    for (size_t i = end; i < stop; i++) {
        const size_t n = cuts_wide_stop(text, size, i);
        if (n > 0) return i + n;
    }
    for (size_t i = end; i < stop; i++) {
        if (text[i] == ' ') return i + 1;
    }
    return cuts_character(text, size, end);
}

/* An instruction before or after the passage. */
static char *instruct(data_sources *s, const char *text, size_t n) {
    const char *instruction = INSTRUCTIONS[chance_below(&s->random, N_INSTRUCTIONS)];
    char *message = NULL;
    const int length = chance_below(&s->random, 2) == 0 ? asprintf(&message, "%s\n\n%.*s", instruction, (int)n, text)
                                                        : asprintf(&message, "%.*s\n\n%s", (int)n, text, instruction);
    return length < 0 ? NULL : message;
}

/* A passage with what is asked about it, as the user's only message; or with questions for later. */
static bool add_passage(data_sources *s, const char *text, size_t n) {
    const data_sources_params *p = s->params;
    const bool hides = chance_share(&s->random) < p->retrieval;
    const bool later = hides && p->later > 0 && chance_share(&s->random) < p->later;
    json_t *asked = hides ? json_array() : NULL;
    char *content = later   ? data_facts_hide_all(&s->random, text, n, asked)
                    : hides ? data_facts_hide(&s->random, text, n, asked)
                            : instruct(s, text, n);
    json_t *message = content ? json_pack("{s:s, s:s}", "role", "user", "content", content) : NULL;
    bool added = message != NULL;
    if (added && hides) added = json_object_set(message, later ? "later" : "answers", asked) == 0;
    if (added) added = json_array_append_new(s->group, json_pack("[O]", message)) == 0;
    json_decref(asked);
    json_decref(message);
    free(content);
    return added;
}

bool data_sources_answered(const json_t *asked, const char *response) {
    const json_t *answers = json_object_get(asked, "answers");
    bool named = !answers;
    for (size_t i = 0; !named && i < json_array_size(answers); i++) {
        named = strstr(response, json_string_value(json_array_get(answers, i))) != NULL;
    }
    return named;
}

const json_t *data_sources_later(const json_t *prompt) {
    return json_object_get(json_array_get(prompt, 0), "later");
}

/* Tokens of a passage: as many between 300 and 600 as between 600 and 1200. */
static double draw_length(data_sources *s) {
    const double shortest = s->params->min_tokens, longest = s->params->max_tokens;
    return shortest * pow(longest / shortest, chance_share(&s->random));
}

/* Cuts a text into passages of lengths drawn between the limits; a short rest is dropped. */
static bool add_text(data_sources *s, const char *path, const char *text, size_t size) {
    size_t first;
    if (unicode_broken(text, size, &first) > 0) {
        leave_out(s, "%s: is not UTF-8 text from byte %zu on; iconv converts texts", path, first + 1);
        return true;
    }
    const double ratio = bytes_per_token(s, text, size);
    s->n_files++;
    for (size_t start = 0, end; start < size; start = end) {
        end = passage_end(text, size, start + (size_t)(draw_length(s) * ratio) + 1);
        if ((double)(end - start) < s->params->min_tokens * ratio && start > 0) break;
        if (!add_passage(s, text + start, end - start)) return false;
    }
    return true;
}

/* ---- conversations ----------------------------------------------------------------------------------------------- */

/* text[0..size) is a record; number: of the line or element, from 1. */
static bool add_record(data_sources *s, const char *path, size_t number, char *text, size_t size) {
    json_error_t reason;
    const size_t n_mended = json_loose_mend(text, size);
    json_t *record = json_loadb(text, size, 0, &reason), *messages = json_array();
    const char *wrong = record ? conversation_take(record, messages) : NULL;
    bool added = true;
    if (!record)
        leave_out(s, "%s:%zu: not JSON: %s", path, number, reason.text);
    else if (wrong)
        leave_out(s, "%s:%zu: %s", path, number, wrong);
    else
        added = json_array_append(s->group, messages) == 0;
    if (record && !wrong && n_mended > 0) {
        report(s, "%s:%zu: %zu escape%s for no character (half of one, or \\u0000): read as U+FFFD", path, number,
               n_mended, n_mended > 1 ? "s" : "");
    }
    json_decref(messages);
    json_decref(record);
    return added;
}

static bool is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!strchr(" \t\r", text[i])) return false;
    }
    return true;
}

/* Whether records are printed over several lines: the first line holds nothing but the brace that opens one. */
static bool is_spread(const char *text, size_t size) {
    const char *stop = memchr(text, '\n', size);
    return stop && text[0] == '{' && is_blank(text + 1, (size_t)(stop - text - 1));
}

/* Where the record at `text` ends, at a line's end or at the whole's. */
static char *record_end(char *text, char *end, bool spread) {
    char *stop = spread ? memmem(text, (size_t)(end - text), "\n{", 2) : memchr(text, '\n', (size_t)(end - text));
    return stop ? stop : end;
}

/* A record after the other: one per line, or as they are printed to be read. */
static bool add_lines(data_sources *s, const char *path, char *text, size_t size) {
    const bool spread = is_spread(text, size);
    size_t number = 0;
    bool added = true;
    s->n_files++;
    for (char *next, *end = text + size; added && text < end; text = next) {
        char *stop = record_end(text, end, spread);
        next = stop < end ? stop + 1 : end;
        number++;
        const size_t length = (size_t)(stop - text);
        if (!is_blank(text, length)) added = add_record(s, path, number, text, length);
    }
    return added;
}

/* An array of conversations, as ShareGPT's files are, or lines of them: endings of names are mixed up. */
static bool add_conversations(data_sources *s, const char *path, char *text, size_t size) {
    json_elements elements;
    size_t number = 0;
    bool added = true;
    if (!json_elements_begin(&elements, text, size)) return add_lines(s, path, text, size);
    s->n_files++;
    while (added && json_elements_next(&elements)) {
        added = add_record(s, path, ++number, text + elements.begin, elements.end - elements.begin);
    }
    if (added && !json_elements_whole(&elements)) {
        leave_out(s, "%s: the array of conversations does not end with the file", path);
    }
    return added;
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

enum { KIND_UNKNOWN, KIND_TEXT, KIND_CONVERSATIONS };

static int kind_of(const char *path) {
    static const struct {
        const char *ending;
        int kind;
    } endings[] = {{".txt", KIND_TEXT},
                   {".md", KIND_TEXT},
                   {".markdown", KIND_TEXT},
                   {".json", KIND_CONVERSATIONS},
                   {".jsonl", KIND_CONVERSATIONS}};
    const char *name = strrchr(path, '/'), *ending = strrchr(name ? name : path, '.');
    for (size_t i = 0; ending && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcasecmp(ending, endings[i].ending) == 0) return endings[i].kind;
    }
    return KIND_UNKNOWN;
}

static bool add_file(data_sources *s, const char *path) {
    judgeq_error error = {0};
    char *text = NULL;
    bool added = true;
    if (files_read_text(path, &text, &error) != JUDGEQ_OK) {
        leave_out(s, "%s", error.message);
        return true;
    }
    const size_t size = strlen(text);
    const int kind = kind_of(path);
    if (size == 0)
        leave_out(s, "%s: is empty", path);
    else if (kind == KIND_CONVERSATIONS)
        added = add_conversations(s, path, text, size);
    else
        added = add_text(s, path, text, size);
    free(text);
    return added;
}

/* A folder may hold anything; the source itself should be what can be read. */
typedef struct path_walk {
    data_sources *sources;
    const char *root;
} path_walk;

static void pass_over(data_sources *s, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t used = strlen(s->passed);
    if (s->n_passed++ < DATA_PASSED_NAMED)
        snprintf(s->passed + used, sizeof s->passed - used, "%s%.*s", used > 0 ? ", " : "", VISIBLE_FIT(name, 80));
}

static bool take_file(void *data, const char *path) {
    const path_walk *walk = data;
    if (kind_of(path) != KIND_UNKNOWN) return add_file(walk->sources, path);
    if (strcmp(path, walk->root) == 0)
        leave_out(walk->sources, "%s: does not end in .txt, .md, .markdown, .json or .jsonl", path);
    else
        pass_over(walk->sources, path);
    return true;
}

static bool take_other(void *data, const char *path, const char *why, int reason) {
    const path_walk *walk = data;
    (void)reason;
    leave_out(walk->sources, "%s: %s", path, why);
    return true;
}

/* A file, or a folder's files of known endings, with its folders' files. */
static bool add_path(data_sources *s, const char *path) {
    path_walk walk = {s, path};
    const files_visitor visitor = {.file = take_file, .other = take_other, .data = &walk};
    return files_walk(path, &visitor);
}

/* ---- the mix ----------------------------------------------------------------------------------------------------- */

/* The prompts of one source, in an order that the seed decides, and how often it is drawn from. */
typedef struct group {
    json_t *prompts;
    size_t next;
    double weight; /* 0: none was given */
} group;

/* "PATH:WEIGHT", unless a file has that very name. *path is the caller's. False where memory ran out. */
static bool split_weight(const char *source, char **path, double *weight) {
    const char *colon = strrchr(source, ':');
    struct stat status;
    char *end = NULL;
    *weight = 0;
    size_t length = strlen(source);
    if (colon && stat(source, &status) != 0) {
        const double value = strtod(colon + 1, &end);
        if (end != colon + 1 && *end == '\0' && isfinite(value) && value > 0) {
            *weight = value;
            length = (size_t)(colon - source);
        }
    }
    *path = strndup(source, length);
    return *path != NULL;
}

static void shuffle(data_sources *s, json_t *array) {
    for (size_t i = json_array_size(array); i > 1; i--) {
        const size_t k = chance_below(&s->random, i);
        json_t *last = json_incref(json_array_get(array, i - 1));
        json_array_set(array, i - 1, json_array_get(array, k));
        json_array_set_new(array, k, last);
    }
}

static bool read_group(data_sources *s, const char *source, group *out) {
    char *path = NULL;
    out->prompts = s->group = json_array();
    const bool read = out->prompts && split_weight(source, &path, &out->weight) && add_path(s, path);
    free(path);
    if (read) shuffle(s, out->prompts);
    return read;
}

/* Draws from the groups by their weights until all are empty. */
static bool mix(data_sources *s, group *groups, int n) {
    bool weighted = false, added = true;
    for (int i = 0; i < n; i++) weighted = weighted || groups[i].weight > 0;
    for (int i = 0; i < n; i++) {
        if (groups[i].weight == 0) groups[i].weight = weighted ? 1 : (double)json_array_size(groups[i].prompts);
    }
    while (added) {
        double sum = 0;
        int chosen = -1;
        for (int i = 0; i < n; i++) sum += groups[i].next < json_array_size(groups[i].prompts) ? groups[i].weight : 0;
        double rest = chance_share(&s->random) * sum;
        for (int i = 0; i < n && rest >= 0; i++) {
            if (groups[i].next == json_array_size(groups[i].prompts)) continue;
            rest -= groups[i].weight;
            chosen = i;
        }
        if (chosen < 0) break;
        added = json_array_append(s->prompts, json_array_get(groups[chosen].prompts, groups[chosen].next++)) == 0;
    }
    return added;
}

bool data_sources_read(data_sources *s, const judgeq_model *model, const data_sources_params *params) {
    *s = (data_sources){.model = model, .params = params, .random = {params->seed}, .prompts = json_array()};
    group *groups = calloc((size_t)params->n_source, sizeof *groups);
    bool read = s->prompts && groups;
    for (int i = 0; read && i < params->n_source; i++) read = read_group(s, params->source[i], &groups[i]);
    if (read) read = mix(s, groups, params->n_source);
    for (int i = 0; groups && i < params->n_source; i++) json_decref(groups[i].prompts);
    free(groups);
    s->group = NULL;
    return read;
}

void data_sources_free(data_sources *s) {
    json_decref(s->prompts);
    s->prompts = NULL;
}

/* FNV-1a, with a byte that ends the text. */
static uint64_t hash_text(uint64_t hash, const char *text) {
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return (hash ^ 0xff) * 0x100000001b3u;
}

/* Over the messages, and the questions that come later. */
uint64_t data_sources_hash(const data_sources *s) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < json_array_size(s->prompts); i++) {
        const json_t *messages = json_array_get(s->prompts, i), *later = data_sources_later(messages);
        for (size_t m = 0; m < json_array_size(messages); m++) {
            hash = hash_text(hash, json_string_value(json_object_get(json_array_get(messages, m), "content")));
        }
        for (size_t q = 0; q < json_array_size(later); q++) {
            hash = hash_text(hash, json_string_value(json_object_get(json_array_get(later, q), "question")));
        }
    }
    return hash;
}
