#include "data_sources.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data_facts.h"

enum { REPORTS_MOST = 20, DEPTH_MOST = 32, SAMPLE_BYTES = 1 << 16, CUT_WITHIN = 300 };

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

/* One thing left out: said for the first ones, counted for all. */
__attribute__((format(printf, 2, 3))) static void leave_out(data_sources *s, const char *format, ...) {
    if (s->n_broken++ >= REPORTS_MOST) return;
    va_list arguments;
    fputs("judgeq: left out: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (s->n_broken == REPORTS_MOST) fputs("judgeq: more is left out without being named\n", stderr);
}

/* The file's bytes, terminated; NULL after it was left out. */
static char *read_file(data_sources *s, const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *bytes = NULL;
    size_t room = 0;
    *size = 0;
    while (file && !feof(file) && !ferror(file)) {
        if (*size + 1 >= room) {
            room = room ? 2 * room : SAMPLE_BYTES;
            char *larger = realloc(bytes, room);
            if (!larger) break;
            bytes = larger;
        }
        *size += fread(bytes + *size, 1, room - *size - 1, file);
    }
    const bool whole = file && feof(file) && !ferror(file);
    if (!whole) {
        leave_out(s, "%s: cannot be read: %s", path, strerror(errno));
        free(bytes);
        bytes = NULL;
    } else if (bytes) {
        bytes[*size] = '\0';
    }
    if (file) fclose(file);
    return bytes;
}

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

/* Where a passage that should end at `end` does: behind a line, a word, or at least a whole character. */
static size_t passage_end(const char *text, size_t size, size_t end) {
    if (end >= size) return size;
    const size_t stop = end + CUT_WITHIN < size ? end + CUT_WITHIN : size;
    for (size_t i = end; i < stop; i++) {
        if (text[i] == '\n') return i + 1;
    }
    for (size_t i = end; i < stop; i++) {
        if (text[i] == ' ') return i + 1;
    }
    while (end < size && ((unsigned char)text[end] & 0xc0) == 0x80) end++;
    return end;
}

/* An instruction before or after the passage. */
static char *instruct(data_sources *s, const char *text, size_t n) {
    const char *instruction = INSTRUCTIONS[chance_below(&s->random, N_INSTRUCTIONS)];
    char *message = NULL;
    const int length = chance_below(&s->random, 2) == 0 ? asprintf(&message, "%s\n\n%.*s", instruction, (int)n, text)
                                                        : asprintf(&message, "%.*s\n\n%s", (int)n, text, instruction);
    return length < 0 ? NULL : message;
}

/* A passage with what is asked about it, as the user's only message. */
static bool add_passage(data_sources *s, const char *text, size_t n) {
    json_t *answers = chance_share(&s->random) < s->params->retrieval ? json_array() : NULL;
    char *content = answers ? data_facts_hide(&s->random, text, n, answers) : instruct(s, text, n);
    json_t *message = content ? json_pack("{s:s, s:s}", "role", "user", "content", content) : NULL;
    bool added = message != NULL;
    if (added && answers) added = json_object_set(message, "answers", answers) == 0;
    if (added) added = json_array_append_new(s->group, json_pack("[O]", message)) == 0;
    json_decref(answers);
    json_decref(message);
    free(content);
    return added;
}

bool data_sources_answered(const json_t *prompt, const char *response) {
    const json_t *answers = json_object_get(json_array_get(prompt, 0), "answers");
    bool named = !answers;
    for (size_t i = 0; !named && i < json_array_size(answers); i++) {
        named = strstr(response, json_string_value(json_array_get(answers, i))) != NULL;
    }
    return named;
}

/* Tokens of a passage: as many between 300 and 600 as between 600 and 1200. */
static double draw_length(data_sources *s) {
    const double shortest = s->params->min_tokens, longest = s->params->max_tokens;
    return shortest * pow(longest / shortest, chance_share(&s->random));
}

/* Cuts a text into passages of lengths drawn between the limits; a short rest is dropped. */
static bool add_text(data_sources *s, const char *path, const char *text, size_t size) {
    json_t *checked = json_stringn(text, size);
    if (!checked || memchr(text, '\0', size)) {
        json_decref(checked);
        leave_out(s, "%s: is not UTF-8 text", path);
        return true;
    }
    json_decref(checked);
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

static const char *role_of(const json_t *turn) {
    static const char *const names[][2] = {{"human", "user"},        {"user", "user"},           {"gpt", "assistant"},
                                           {"chatgpt", "assistant"}, {"assistant", "assistant"}, {"system", "system"}};
    const char *name = json_string_value(json_object_get(turn, "role"));
    if (!name) name = json_string_value(json_object_get(turn, "from"));
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i][0]) == 0) return names[i][1];
    }
    return NULL;
}

static const char *content_of(const json_t *turn) {
    const char *content = json_string_value(json_object_get(turn, "content"));
    return content ? content : json_string_value(json_object_get(turn, "value"));
}

/* The turns up to the user's last one; what is wrong with them, or NULL. */
static const char *take_turns(const json_t *turns, json_t *messages) {
    size_t n = json_array_size(turns);
    if (!json_is_array(turns)) return "has neither \"messages\" nor \"conversations\"";
    while (n > 0) {
        const char *role = role_of(json_array_get(turns, n - 1));
        if (role && strcmp(role, "user") == 0) break;
        n--;
    }
    if (n == 0) return "has no turn of a user";
    for (size_t i = 0; i < n; i++) {
        const json_t *turn = json_array_get(turns, i);
        const char *role = role_of(turn), *content = content_of(turn);
        if (!role) return "has a turn of an unknown role";
        if (!content || !*content) return "has a turn without text";
        if (json_array_append_new(messages, json_pack("{s:s, s:s}", "role", role, "content", content)) != 0) {
            return "does not fit into memory";
        }
    }
    return NULL;
}

/* number: of the line or element, from 1. */
static bool add_conversation(data_sources *s, const char *path, size_t number, const json_t *object) {
    const json_t *turns = json_object_get(object, "messages");
    json_t *messages = json_array();
    const char *wrong = take_turns(turns ? turns : json_object_get(object, "conversations"), messages);
    if (!wrong) return json_array_append_new(s->group, messages) == 0;
    leave_out(s, "%s:%zu: %s", path, number, wrong);
    json_decref(messages);
    return true;
}

static bool add_lines(data_sources *s, const char *path, char *text, size_t size) {
    size_t number = 0;
    bool added = true;
    s->n_files++;
    for (char *next, *end = text + size; added && text < end; text = next) {
        char *stop = memchr(text, '\n', (size_t)(end - text));
        next = stop ? stop + 1 : end;
        number++;
        json_error_t reason;
        json_t *object = json_loadb(text, (size_t)((stop ? stop : end) - text), 0, &reason);
        if (object) {
            added = add_conversation(s, path, number, object);
        } else {
            leave_out(s, "%s:%zu: not JSON: %s", path, number, reason.text);
        }
        json_decref(object);
    }
    return added;
}

/* A JSON array of conversations, as ShareGPT files are. */
static bool add_array(data_sources *s, const char *path, const char *text, size_t size) {
    json_error_t reason;
    json_t *array = json_loadb(text, size, 0, &reason);
    bool added = true;
    if (!array) {
        leave_out(s, "%s:%d: not JSON: %s", path, reason.line, reason.text);
    } else if (!json_is_array(array)) {
        leave_out(s, "%s: not an array of conversations", path);
    } else {
        s->n_files++;
    }
    for (size_t i = 0; added && i < json_array_size(array); i++) {
        added = add_conversation(s, path, i + 1, json_array_get(array, i));
    }
    json_decref(array);
    return added;
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *ending) {
    const size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

static bool is_known(const char *path) {
    static const char *const endings[] = {".txt", ".md", ".markdown", ".json", ".jsonl"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (ends_with(path, endings[i])) return true;
    }
    return false;
}

static bool add_file(data_sources *s, const char *path) {
    size_t size = 0;
    if (!is_known(path)) {
        leave_out(s, "%s: does not end in .txt, .md, .markdown, .json or .jsonl", path);
        return true;
    }
    char *text = read_file(s, path, &size);
    if (!text) return true;
    bool added = true;
    if (size == 0) {
        leave_out(s, "%s: is empty", path);
    } else if (ends_with(path, ".jsonl")) {
        added = add_lines(s, path, text, size);
    } else if (ends_with(path, ".json")) {
        added = add_array(s, path, text, size);
    } else {
        added = add_text(s, path, text, size);
    }
    free(text);
    return added;
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* A file, or a folder's files of known endings in the order of their names, with its folders' files. */
static bool add_path(data_sources *s, const char *path, int depth) { // NOLINT(misc-no-recursion)
    struct stat status;
    if (stat(path, &status) != 0) {
        leave_out(s, "%s: %s", path, strerror(errno));
        return true;
    }
    if (!S_ISDIR(status.st_mode)) return depth > 0 && !is_known(path) ? true : add_file(s, path);
    struct dirent **entry = NULL;
    const int n = depth < DEPTH_MOST ? scandir(path, &entry, is_visible, alphasort) : -1;
    if (n < 0) leave_out(s, "%s: %s", path, depth < DEPTH_MOST ? strerror(errno) : "lies too deep");
    bool added = true;
    for (int i = 0; i < n; i++) {
        char *inner = NULL;
        if (added) added = asprintf(&inner, "%s/%s", path, entry[i]->d_name) >= 0;
        if (added) added = add_path(s, inner, depth + 1);
        free(inner);
        free(entry[i]);
    }
    free((void *)entry);
    return added;
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
    const bool read = out->prompts && split_weight(source, &path, &out->weight) && add_path(s, path, 0);
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

/* FNV-1a over the messages. */
uint64_t data_sources_hash(const data_sources *s) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < json_array_size(s->prompts); i++) {
        const json_t *messages = json_array_get(s->prompts, i);
        for (size_t m = 0; m < json_array_size(messages); m++) {
            const char *content = content_of(json_array_get(messages, m));
            for (const char *c = content; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
            hash = (hash ^ 0xff) * 0x100000001b3u;
        }
    }
    return hash;
}
