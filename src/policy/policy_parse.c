/* policy_parse: reads a policy's text form. docs/policies/README.md has the grammar. */
#include "base/error.h"
#include "base/nearest.h"
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds of the numbers; the texts in CHOICES repeat them. */
enum {
    WINDOW_MAX = 65536,
    SOFT_MAX = 1024,
    RESPONSE_MAX = 4096,
    RESPONSE_DEFAULT = 64,
    LOOKAHEAD_MAX = 512,
    AGAIN_MIN = 16,
    AGAIN_MAX = 65536,
    AMONG_MAX = 64,
    KEEP_MAX = 1000000
};

static const float PYRAMID_DEFAULT = 20.0f, ADA_DEFAULT = 0.2f;

/* A part of the text being read; not terminated. */
typedef struct slice {
    const char *at;
    size_t length;
} slice;

static slice slice_from(slice text, size_t start) {
    return (slice){text.at + start, text.length - start};
}

static bool slice_is(slice text, const char *word) {
    return text.length == strlen(word) && memcmp(text.at, word, text.length) == 0;
}

static bool slice_starts(slice text, const char *word) {
    return text.length >= strlen(word) && memcmp(text.at, word, strlen(word)) == 0;
}

/* The part of *rest before `separator`, or all of it; *rest goes on after the separator. True if there was one. */
static bool slice_cut(slice *rest, char separator, slice *part) {
    const char *found = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
    size_t length = found ? (size_t)(found - rest->at) : rest->length;
    *part = (slice){rest->at, length};
    *rest = slice_from(*rest, found ? length + 1 : length);
    return found != NULL;
}

/* Digits only, low..high. */
static bool read_count(slice text, int32_t low, int32_t high, int32_t *out) {
    int64_t value = 0;
    if (text.length == 0) return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return false;
        value = value * 10 + (text.at[i] - '0');
        if (value > high) return false;
    }
    *out = (int32_t)value;
    return value >= low;
}

/* "20", "0.2": digits with at most four after a point, low..high. Not strtof, which depends on the locale. */
static bool read_fraction(slice text, int32_t low, int32_t high, float *out) {
    slice whole;
    bool pointed = slice_cut(&text, '.', &whole);
    int32_t units, rest = 0, scale = POLICY_FRACTION_PARTS;
    if (!read_count(whole, 0, high, &units) || (pointed && !read_count(text, 0, POLICY_FRACTION_PARTS, &rest)) ||
        text.length > 4) {
        return false;
    }
    for (size_t i = 0; i < text.length; i++) scale /= 10;
    int32_t parts = units * POLICY_FRACTION_PARTS + rest * scale;
    *out = (float)parts / POLICY_FRACTION_PARTS;
    return parts >= low * POLICY_FRACTION_PARTS && parts <= high * POLICY_FRACTION_PARTS;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

typedef struct choice {
    const char *key;
    judgeq_status (*read)(slice value, judgeq_policy *policy, judgeq_error *error);
    const char *accepted;
} choice;

enum { CHOICE_PROBE, CHOICE_REDUCE, CHOICE_SMOOTH, CHOICE_ALLOCATE, CHOICE_KEEP, CHOICE_REMEMBER, N_CHOICES };
static const choice CHOICES[N_CHOICES];

/* For %.*s: texts from outside are cut, so that the rest of the message is always there. */
static int shown(slice text) {
    return (int)(text.length < 60 ? text.length : 60);
}

static judgeq_status refuse(int index, slice part, judgeq_error *error) {
    const choice *at = &CHOICES[index];
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "policy: %s does not accept \"%.*s\"; accepted: %s", at->key,
                     shown(part), part.at, at->accepted);
}

/* Ends in the list of presets. */
static judgeq_status refuse_preset(const char *what, slice name, judgeq_error *error) {
    char names[256] = "", word[32], meant[64] = "";
    size_t length = 0;
    snprintf(word, sizeof word, "%.*s", shown(name), name.at);
    nearest near = {.word = word};
    for (size_t i = 0; judgeq_preset_at(i) && length < sizeof names; i++) {
        nearest_try(&near, judgeq_preset_at(i)->name);
        int n = snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", judgeq_preset_at(i)->name);
        length += n > 0 ? (size_t)n : 0;
    }
    if (near.name) snprintf(meant, sizeof meant, " (did you mean %s?)", near.name);
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "policy: %s \"%.*s\"%s; presets: %s", what, shown(name), name.at,
                     meant, names);
}

static const judgeq_preset *preset_named(slice name) {
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        if (slice_is(name, judgeq_preset_at(i)->name)) return judgeq_preset_at(i);
    }
    return NULL;
}

/* ---- probe ------------------------------------------------------------------------------------------------------- */

/* The preset that `text` begins with, where nothing, a + or a : follows; the longest, because "laq" may be followed
 * by "++" of the name "laq++" as well as by a further probe. */
static const judgeq_preset *preset_at_start(slice text) {
    const judgeq_preset *best = NULL;
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        const judgeq_preset *preset = judgeq_preset_at(i);
        size_t length = strlen(preset->name);
        bool ends = length == text.length || (length < text.length && strchr("+:", text.at[length]));
        if (ends && slice_starts(text, preset->name) && (!best || length > strlen(best->name))) best = preset;
    }
    return best;
}

/* full, response, lookahead and again cost what a lookahead's cheap first cache is there to save. */
static bool preset_can_go_first(const judgeq_preset *preset) {
    return strcmp(preset->text, "full") != 0 && !strstr(preset->text, "response:") &&
           !strstr(preset->text, "lookahead:") && !strstr(preset->text, "again");
}

/* Reads "N@PRESET[:Mx]" from the start of *rest. */
static judgeq_status read_lookahead(slice *rest, policy_probe *probe, judgeq_error *error) {
    slice whole = *rest, count, part;
    if (probe->lookahead || !slice_cut(rest, '@', &count) || !read_count(count, 1, LOOKAHEAD_MAX, &probe->lookahead)) {
        return refuse(CHOICE_PROBE, whole, error);
    }
    probe->first = preset_at_start(*rest);
    if (!probe->first) return refuse_preset("lookahead from the unknown preset", *rest, error);
    if (!preset_can_go_first(probe->first)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy: probe cannot look ahead from %s: the preset after @ must itself evict, without "
                         "lookahead, response or again (snapkv or judge, for example)",
                         probe->first->name);
    }
    *rest = slice_from(*rest, strlen(probe->first->name));
    if (!slice_starts(*rest, ":")) return JUDGEQ_OK;
    *rest = slice_from(*rest, 1);
    bool another = slice_cut(rest, '+', &part);
    if (part.length < 2 || part.at[part.length - 1] != 'x' ||
        !read_count((slice){part.at, part.length - 1}, 1, AMONG_MAX, &probe->among)) {
        return refuse(CHOICE_PROBE, whole, error);
    }
    if (another) *rest = (slice){rest->at - 1, rest->length + 1}; /* the + is the caller's */
    return JUDGEQ_OK;
}

/* "NAME" or "NAME:COUNT"; without a count *count is `missing`. */
static bool read_counted(slice part, const char *name, int32_t high, int32_t missing, int32_t *count) {
    slice word, rest = part;
    bool counted = slice_cut(&rest, ':', &word);
    if (!slice_is(word, name)) return false;
    *count = missing;
    return counted ? read_count(rest, 1, high, count) : missing >= 0;
}

/* One probe other than lookahead; false where it is unknown, malformed or there already. */
static bool read_probe_part(slice part, policy_probe *probe) {
    if (slice_is(part, "all")) {
        if (probe->all || probe->window) return false;
        probe->all = true;
        return true;
    }
    if (slice_is(part, "last") || slice_starts(part, "window")) {
        if (probe->all || probe->window) return false;
        if (slice_is(part, "last")) probe->window = 1;
        return probe->window || read_counted(part, "window", WINDOW_MAX, -1, &probe->window);
    }
    if (slice_starts(part, "soft")) {
        if (probe->soft) return false;
        probe->soft = true;
        return read_counted(part, "soft", SOFT_MAX, 0, &probe->n_soft);
    }
    return !probe->response && read_counted(part, "response", RESPONSE_MAX, RESPONSE_DEFAULT, &probe->response);
}

/* "again" or "again:N": all of the value, because the scores of other probes are of another kind: a second reading
 * shares its attention out within a piece. */
static judgeq_status read_again(slice value, judgeq_policy *policy, judgeq_error *error) {
    int32_t rows = 0;
    slice rest = value, part;
    if (slice_cut(&rest, '+', &part)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy: probe again scores alone, but \"%.*s\" joins it to others: use again or again:N",
                         shown(value), value.at);
    }
    if (!read_counted(value, "again", AGAIN_MAX, POLICY_AGAIN_DEFAULT, &rows) || rows < AGAIN_MIN) {
        return refuse(CHOICE_PROBE, value, error);
    }
    policy->probe = (policy_probe){.again = rows};
    return JUDGEQ_OK;
}

/* Whether one of the probes that are joined by + is again. */
static bool names_again(slice value) {
    slice part;
    for (bool more = true; more;) {
        more = slice_cut(&value, '+', &part);
        if (slice_is(part, "again") || slice_starts(part, "again:")) return true;
    }
    return false;
}

static judgeq_status read_probe(slice value, judgeq_policy *policy, judgeq_error *error) {
    policy_probe probe = {0};
    if (names_again(value)) {
        policy->random = false;
        return read_again(value, policy, error);
    }
    policy->random = slice_is(value, "random");
    slice rest = value;
    bool more = !policy->random && !slice_is(value, "none");
    while (more) {
        if (slice_starts(rest, "lookahead:")) {
            rest = slice_from(rest, strlen("lookahead:"));
            judgeq_status status = read_lookahead(&rest, &probe, error);
            if (status != JUDGEQ_OK) return status;
            more = slice_starts(rest, "+");
            rest = slice_from(rest, more);
        } else {
            slice part;
            more = slice_cut(&rest, '+', &part);
            if (!read_probe_part(part, &probe)) return refuse(CHOICE_PROBE, part, error);
        }
    }
    policy->probe = probe;
    return JUDGEQ_OK;
}

/* ---- the other choices ------------------------------------------------------------------------------------------- */

static bool read_reduction(slice word, policy_reduce *out) {
    *out = slice_is(word, "max") ? POLICY_MAX : POLICY_MEAN;
    return slice_is(word, "max") || slice_is(word, "mean");
}

/* What a judge's scores are reduced and smoothed by where it does not say: docs/policies/judge.md. */
static const policy_reduce JUDGE_REDUCE = POLICY_MAX;
static const policy_smooth JUDGE_SMOOTH = POLICY_SMOOTH_AVG;
enum { JUDGE_SMOOTH_WIDTH = 7 };

static judgeq_status read_reduce(slice value, judgeq_policy *policy, judgeq_error *error) {
    slice rows, heads = value;
    policy->reduce_by_judge = slice_is(value, "judge");
    if (policy->reduce_by_judge) {
        policy->reduce_rows = policy->reduce_heads = JUDGE_REDUCE;
        return JUDGEQ_OK;
    }
    if (!slice_cut(&heads, '/', &rows)) heads = rows;
    if (!read_reduction(rows, &policy->reduce_rows) || !read_reduction(heads, &policy->reduce_heads)) {
        return refuse(CHOICE_REDUCE, value, error);
    }
    return JUDGEQ_OK;
}

static judgeq_status read_smooth(slice value, judgeq_policy *policy, judgeq_error *error) {
    slice rest = value, name;
    policy->smooth = POLICY_SMOOTH_NONE;
    policy->smooth_width = 1;
    policy->smooth_by_judge = slice_is(value, "judge");
    if (policy->smooth_by_judge) {
        policy->smooth = JUDGE_SMOOTH;
        policy->smooth_width = JUDGE_SMOOTH_WIDTH;
        return JUDGEQ_OK;
    }
    if (slice_is(value, "none")) return JUDGEQ_OK;
    if (!slice_cut(&rest, ':', &name) || !(slice_is(name, "max") || slice_is(name, "avg")) ||
        !read_count(rest, 1, POLICY_SMOOTH_WIDTH_MAX, &policy->smooth_width) || policy->smooth_width % 2 == 0) {
        return refuse(CHOICE_SMOOTH, value, error);
    }
    if (policy->smooth_width > 1) policy->smooth = slice_is(name, "max") ? POLICY_SMOOTH_MAX : POLICY_SMOOTH_AVG;
    return JUDGEQ_OK;
}

static judgeq_status read_allocate(slice value, judgeq_policy *policy, judgeq_error *error) {
    slice rest = value, name;
    bool numbered = slice_cut(&rest, ':', &name);
    policy->pyramid_ratio = PYRAMID_DEFAULT;
    policy->ada_floor = ADA_DEFAULT;
    policy->layers_by_judge = slice_is(name, "judge");
    if (slice_is(value, "uniform")) {
        policy->allocate = POLICY_UNIFORM;
    } else if (slice_is(name, "pyramid") && (!numbered || read_fraction(rest, 1, 100, &policy->pyramid_ratio))) {
        policy->allocate = POLICY_PYRAMID;
    } else if ((slice_is(name, "ada") || policy->layers_by_judge) &&
               (!numbered || read_fraction(rest, 0, 1, &policy->ada_floor))) {
        policy->allocate = POLICY_ADA;
    } else {
        return refuse(CHOICE_ALLOCATE, value, error);
    }
    return JUDGEQ_OK;
}

static judgeq_status read_keep(slice value, judgeq_policy *policy, judgeq_error *error) {
    slice rest = value;
    bool more = !slice_is(value, "none");
    policy->keep_sink = policy->keep_recent = policy->keep_turn = 0;
    policy->keep_recent_percent = false;
    while (more) {
        slice part, name;
        more = slice_cut(&rest, '+', &part);
        slice number = part;
        slice_cut(&number, ':', &name);
        bool percent = number.length && number.at[number.length - 1] == '%';
        if (slice_is(name, "sink") && !policy->keep_sink) {
            if (!read_count(number, 1, KEEP_MAX, &policy->keep_sink)) return refuse(CHOICE_KEEP, part, error);
        } else if (slice_is(name, "recent") && !policy->keep_recent) {
            policy->keep_recent_percent = percent;
            number.length -= percent;
            if (!read_count(number, 1, percent ? 100 : KEEP_MAX, &policy->keep_recent)) {
                return refuse(CHOICE_KEEP, part, error);
            }
        } else if (slice_is(name, "turn") && !policy->keep_turn && percent) {
            number.length--;
            if (!read_count(number, 1, 100, &policy->keep_turn)) return refuse(CHOICE_KEEP, part, error);
        } else {
            return refuse(CHOICE_KEEP, part, error);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status read_remember(slice value, judgeq_policy *policy, judgeq_error *error) {
    policy->remember = 0;
    if (slice_is(value, "none") || read_fraction(value, 0, 1, &policy->remember)) return JUDGEQ_OK;
    return refuse(CHOICE_REMEMBER, value, error);
}

static const choice CHOICES[N_CHOICES] = {
    [CHOICE_PROBE] = {"probe", read_probe,
                      "none, random, or, joined by +, each once: last or window:W (W "
                      "1..65536) or all, soft or soft:N "
                      "(N 1..1024), response or response:N (N 1..4096), lookahead:N@PRESET or lookahead:N@PRESET:Mx "
                      "(N 1..512, M 1..64); or again or again:N (N 16..65536) alone"},
    [CHOICE_REDUCE] = {"reduce", read_reduce, "mean, max, judge, or ROWS/HEADS, each of them mean or max"},
    [CHOICE_SMOOTH] = {"smooth", read_smooth, "none, max:K, avg:K (K odd, 1..63), judge"},
    [CHOICE_ALLOCATE] = {"allocate", read_allocate,
                         "uniform, pyramid or pyramid:BETA (BETA 1..100), ada or ada:FLOOR, judge or judge:FLOOR "
                         "(FLOOR 0..1), at most four digits after the point"},
    [CHOICE_KEEP] = {"keep", read_keep,
                     "none, or, joined by +: sink:S, recent:R or recent:P%, turn:P% (S, R 1..1000000, P 1..100)"},
    [CHOICE_REMEMBER] = {"remember", read_remember, "none, or SHARE (0..1), at most four digits after the point"},
};

/* ---- policy ------------------------------------------------------------------------------------------------------ */

/* "key=value,key=value". *named: bits by choice, of the keys that are there. */
static judgeq_status read_choices(slice text, judgeq_policy *policy, unsigned *named, judgeq_error *error) {
    bool more = true;
    *named = 0;
    while (more) {
        slice part, key;
        more = slice_cut(&text, ',', &part);
        slice value = part;
        bool assigned = slice_cut(&value, '=', &key);
        int index = 0;
        while (index < N_CHOICES && !slice_is(key, CHOICES[index].key)) index++;
        if (!assigned || index == N_CHOICES) {
            return error_set(
                error, JUDGEQ_ERROR_ARGUMENT,
                "policy: \"%.*s\" is no choice; write key=value with one of the keys probe, reduce, smooth, "
                "allocate, keep, remember",
                shown(part), part.at);
        }
        judgeq_status status = CHOICES[index].read(value, policy, error);
        if (status != JUDGEQ_OK) return status;
        *named |= 1u << index;
    }
    return JUDGEQ_OK;
}

static judgeq_status read_policy(slice text, judgeq_policy *policy, judgeq_error *error) {
    slice rest = text, first;
    unsigned named;
    bool more = slice_cut(&rest, ',', &first);
    if (first.length && memchr(first.at, '=', first.length)) {
        judgeq_status status = read_choices(text, policy, &named, error);
        if (status != JUDGEQ_OK || named >> CHOICE_PROBE & 1) return status;
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy: \"%.*s\" names no probe; begin with a preset (snapkv,...) or add probe=...",
                         shown(text), text.at);
    }
    const judgeq_preset *preset = preset_named(first);
    if (!preset) return refuse_preset("unknown preset", first, error);
    policy->keep_all = strcmp(preset->text, "full") == 0;
    if (policy->keep_all && more) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy: full keeps every row and has no choices, but \"%.*s\" follows; begin with another "
                         "preset or with probe=...",
                         shown(rest), rest.at);
    }
    judgeq_status status = JUDGEQ_OK;
    if (!policy->keep_all) status = read_choices((slice){preset->text, strlen(preset->text)}, policy, &named, error);
    if (status == JUDGEQ_OK && more) status = read_choices(rest, policy, &named, error);
    return status;
}

/* Reduce and smooth, and nothing else. */
static judgeq_status read_own_choices(const char *choices, judgeq_policy *said, judgeq_error *error) {
    const unsigned own = 1u << CHOICE_REDUCE | 1u << CHOICE_SMOOTH;
    unsigned named;
    said->reduce_by_judge = said->smooth_by_judge = false;
    judgeq_status status = read_choices((slice){choices, strlen(choices)}, said, &named, error);
    if (status != JUDGEQ_OK) return status;
    if ((named & ~own) == 0 && !said->reduce_by_judge && !said->smooth_by_judge) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "policy: only reduce and smooth are a judge's own choices, without the value judge");
}

judgeq_status policy_take_judge(judgeq_policy *policy, const char *choices, judgeq_error *error) {
    judgeq_policy said = *policy;
    if (!policy->reduce_by_judge && !policy->smooth_by_judge) return JUDGEQ_OK;
    const judgeq_status status = choices[0] ? read_own_choices(choices, &said, error) : JUDGEQ_OK;
    if (status != JUDGEQ_OK) return status;
    if (policy->reduce_by_judge) {
        policy->reduce_rows = said.reduce_rows;
        policy->reduce_heads = said.reduce_heads;
    }
    if (policy->smooth_by_judge) {
        policy->smooth = said.smooth;
        policy->smooth_width = said.smooth_width;
    }
    policy->reduce_by_judge = policy->smooth_by_judge = false;
    policy_write_text(policy);
    return JUDGEQ_OK;
}

/* Sums over all rows and second readings remember by themselves; a lookahead is of its moment. */
static bool can_remember(const policy_probe *probe) {
    return (probe->soft || probe->window > 0) && !probe->all && !probe->response && !probe->lookahead;
}

/* What no single choice can tell. */
static judgeq_status check_choices(const judgeq_policy *policy, judgeq_error *error) {
    if ((policy->reduce_by_judge || policy->smooth_by_judge) && !policy->probe.soft) {
        return error_set(
            error, JUDGEQ_ERROR_ARGUMENT,
            "policy: reduce=judge and smooth=judge are for scores by a judge's soft tokens: add probe=soft, or "
            "say how to reduce and smooth");
    }
    if (policy->remember > 0 && !can_remember(&policy->probe)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy: remember is for scores by soft tokens, a window, or both, and not with all, again, "
                         "response or lookahead: add remember=none");
    }
    if (!policy->probe.again || policy->reduce_rows == POLICY_MAX) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "policy: probe=again takes the maximum over the rows of its second reading, of which every piece "
                     "has another number, not their mean: add reduce=max or reduce=max/mean");
}

judgeq_status policy_read(const char *text, judgeq_policy *policy, judgeq_error *error) {
    if (!text) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "policy: no text given; try judge or snapkv");
    memset(policy, 0, sizeof *policy);
    policy->smooth_width = 1;
    policy->pyramid_ratio = PYRAMID_DEFAULT;
    policy->ada_floor = ADA_DEFAULT;
    judgeq_status status = read_policy((slice){text, strlen(text)}, policy, error);
    if (status == JUDGEQ_OK) status = check_choices(policy, error);
    if (status == JUDGEQ_OK) policy_write_text(policy);
    return status;
}

judgeq_status judgeq_policy_parse(const char *text, judgeq_policy **out, judgeq_error *error) {
    *out = NULL;
    judgeq_policy *policy = malloc(sizeof *policy);
    if (!policy) return error_memory(error, "a policy");
    judgeq_status status = policy_read(text, policy, error);
    if (status == JUDGEQ_OK)
        *out = policy;
    else
        judgeq_policy_free(policy);
    return status;
}

int32_t judgeq_policy_soft_tokens(const judgeq_policy *policy) {
    const policy_probe *probe = &policy->probe;
    int32_t own = !probe->soft ? 0 : probe->n_soft == 0 ? -1 : probe->n_soft;
    int32_t first = 0;
    judgeq_policy other; /* a lookahead's first policy may need the judge where the policy itself does not */
    if (probe->first && policy_read(probe->first->text, &other, NULL) == JUDGEQ_OK) {
        first = judgeq_policy_soft_tokens(&other);
    }
    if (own < 0 || first < 0) return -1;
    return own > first ? own : first;
}
