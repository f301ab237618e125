#include "check.h"
#include "base/visible.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PATH_MOST = 128 };

typedef enum kind { TEXT, NUMBER, INTEGER, OBJECT, ARRAY, SCALARS } kind;

/* What a value is to be. `inside`: of an object its fields, of an array what each element is. */
typedef struct field {
    const char *name; /* NULL for an array's element, and after the last field */
    kind kind;
    double low, high;
    const struct field *inside;
    bool needed;
} field;

typedef struct reason {
    char *words;
    size_t size;
} reason;

__attribute__((format(printf, 2, 3))) static bool wrong(const reason *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->words, r->size, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- what the files are to be ------------------------------------------------------------------------------------ */

/* Numbers, unlike integers, may be off by a rounding. They stay far from where sums of them, or a script's integers,
 * lose their meaning. */
#define COUNT(name)                                                                                                    \
    { name, INTEGER, 0, INT32_MAX, NULL, false }
#define BYTES(name)                                                                                                    \
    { name, INTEGER, 0, 0x1p53, NULL, false }
#define SECONDS(name)                                                                                                  \
    { name, NUMBER, 0, 1e12, NULL, false }
#define SHARE(name)                                                                                                    \
    { name, NUMBER, 0, 1, NULL, false }
#define WORDS(name)                                                                                                    \
    { name, TEXT, 0, 0, NULL, false }
#define PARTS(name, kind, inside)                                                                                      \
    { name, kind, 0, 0, inside, false }
#define NEEDED(name, kind, inside)                                                                                     \
    { name, kind, 0, 0, inside, true }
#define END                                                                                                            \
    { NULL, TEXT, 0, 0, NULL, false }

static const field A_TEXT = {NULL, TEXT, 0, 0, NULL, true};
static const field A_COUNT = {NULL, INTEGER, 0, INT32_MAX, NULL, true};
static const field A_SHARE = SHARE(NULL);
static const field SHARES = PARTS(NULL, ARRAY, &A_SHARE);

static const field LAYERS[] = {PARTS("hit_rate", ARRAY, &A_SHARE), PARTS("mass_kept", ARRAY, &A_SHARE), END};
static const field HEADS[] = {PARTS("hit_rate", ARRAY, &SHARES), PARTS("mass_kept", ARRAY, &SHARES), END};

static const field RESULT_FIELDS[] = {NEEDED("policy", TEXT, NULL),
                                      WORDS("policy_text"),
                                      WORDS("kv_type"),
                                      WORDS("budget"),
                                      COUNT("rows"),
                                      SHARE("score"),
                                      PARTS("scores", ARRAY, &A_SHARE),
                                      WORDS("answer"),
                                      COUNT("completion_tokens"),
                                      BYTES("kv_bytes_held"),
                                      BYTES("kv_bytes_peak"),
                                      SECONDS("decode_s"),
                                      {"decode_tokens_per_s", NUMBER, 0, 1e100, NULL, false},
                                      SHARE("hit_rate"),
                                      SHARE("mass_kept"),
                                      {"kl", NUMBER, 0, 1e100, NULL, false},
                                      {"perplexity", NUMBER, 0, 1e100, NULL, false},
                                      {"nll", NUMBER, 0, 1e100, NULL, false},
                                      PARTS("layers", OBJECT, LAYERS),
                                      PARTS("heads", OBJECT, HEADS),
                                      END};
static const field A_RESULT = NEEDED(NULL, OBJECT, RESULT_FIELDS);

static const field LINE_FIELDS[] = {NEEDED("key", TEXT, NULL),
                                    WORDS("task"),
                                    WORDS("family"),
                                    WORDS("metric"),
                                    {"length", INTEGER, 1, INT32_MAX, NULL, false},
                                    WORDS("length_group"),
                                    {"depth", NUMBER, 0, 1, NULL, false},
                                    {"seed", INTEGER, 0, 0x1p63, NULL, false},
                                    COUNT("index"),
                                    COUNT("prompt_tokens"),
                                    BYTES("kv_bytes_full"),
                                    SECONDS("prefill_s"),
                                    WORDS("question"),
                                    PARTS("references", ARRAY, &A_TEXT),
                                    NEEDED("results", ARRAY, &A_RESULT),
                                    PARTS("prompt", ARRAY, &A_COUNT),
                                    PARTS("messages", ARRAY, &A_TEXT),
                                    PARTS("parts", ARRAY, &A_TEXT),
                                    PARTS("given", ARRAY, &A_TEXT),
                                    PARTS("follow_ups", ARRAY, &A_TEXT),
                                    END};
static const field LINE = NEEDED(NULL, OBJECT, LINE_FIELDS);

static const field MODEL[] = {WORDS("name"), WORDS("fingerprint"), WORDS("path"), END};
static const field JUDGE[] = {WORDS("origin"), WORDS("fingerprint"), WORDS("hash"), END};
static const field POLICY_FIELDS[] = {NEEDED("policy", TEXT, NULL), WORDS("policy_text"), END};
static const field A_POLICY = NEEDED(NULL, OBJECT, POLICY_FIELDS);
static const field LEFT_OUT_FIELDS[] = {WORDS("key"), WORDS("task"), WORDS("reason"), END};
static const field A_LEFT_OUT = NEEDED(NULL, OBJECT, LEFT_OUT_FIELDS);

static const field RUN_FIELDS[] = {WORDS("version"),
                                   WORDS("command"),
                                   PARTS("model", OBJECT, MODEL),
                                   PARTS("judge", OBJECT, JUDGE),
                                   NEEDED("policies", ARRAY, &A_POLICY),
                                   NEEDED("budgets", ARRAY, &A_TEXT),
                                   PARTS("settings", SCALARS, NULL),
                                   PARTS("tasks", ARRAY, &A_TEXT),
                                   PARTS("lengths", ARRAY, &A_COUNT),
                                   COUNT("samples"),
                                   {"seed", INTEGER, 0, 0x1p63, NULL, false},
                                   PARTS("left_out", ARRAY, &A_LEFT_OUT),
                                   WORDS("started"),
                                   END};
static const field RUN = NEEDED(NULL, OBJECT, RUN_FIELDS);

/* ---- a value ----------------------------------------------------------------------------------------------------- */

static bool check_value(const field *f, const json_t *value, const char *path, const reason *r);

static bool check_number(const field *f, const json_t *value, const char *path, const reason *r) {
    const double number = json_number_value(value), slack = f->kind == NUMBER ? 1e-3 : 0;
    const bool fits = f->kind == INTEGER ? json_is_integer(value) : json_is_number(value);
    if (fits && isfinite(number) && number >= f->low - slack && number <= f->high + slack) return true;
    return wrong(r, "%s: expected %s from %g to %g", path, f->kind == INTEGER ? "an integer" : "a number", f->low,
                 f->high);
}

static bool check_fields(const field *f, const json_t *value, const char *path, // NOLINT(misc-no-recursion)
                         const reason *r) {
    if (!json_is_object(value)) return wrong(r, "%s: expected an object", *path ? path : "the whole");
    for (const field *one = f->inside; one->name; one++) {
        char inner[PATH_MOST];
        snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", one->name);
        if (!check_value(one, json_object_get(value, one->name), inner, r)) return false;
    }
    return true;
}

static bool check_elements(const field *f, const json_t *value, const char *path, // NOLINT(misc-no-recursion)
                           const reason *r) {
    if (!json_is_array(value)) return wrong(r, "%s: expected an array", path);
    for (size_t i = 0; i < json_array_size(value); i++) {
        char inner[PATH_MOST];
        snprintf(inner, sizeof inner, "%.100s[%zu]", path, i);
        if (!check_value(f->inside, json_array_get(value, i), inner, r)) return false;
    }
    return true;
}

static bool check_scalars(const json_t *value, const char *path, const reason *r) {
    const char *name;
    json_t *one;
    if (!json_is_object(value)) return wrong(r, "%s: expected an object", path);
    json_object_foreach((json_t *)value, name, one) {
        if (json_is_object(one) || json_is_array(one)) {
            return wrong(r, "%s.%.*s: expected a text, a number, true, false or null", path, VISIBLE_FIT(name, 60));
        }
    }
    return true;
}

static bool check_value(const field *f, const json_t *value, const char *path, // NOLINT(misc-no-recursion)
                        const reason *r) {
    if (!value || json_is_null(value)) return f->needed ? wrong(r, "%s: is missing", path) : true;
    switch (f->kind) {
    case TEXT:
        return json_is_string(value) ? true : wrong(r, "%s: expected a text", path);
    case NUMBER:
    case INTEGER:
        return check_number(f, value, path, r);
    case OBJECT:
        return check_fields(f, value, path, r);
    case ARRAY:
        return check_elements(f, value, path, r);
    case SCALARS:
        return check_scalars(value, path, r);
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool check_run(const json_t *run, char *words, size_t size) {
    const reason r = {words, size};
    if (!check_value(&RUN, run, "", &r)) return false;
    const json_t *policies = json_object_get(run, "policies");
    if (strcmp(text_of(json_array_get(policies, 0), "policy"), "full") != 0) {
        return wrong(&r, "policies: expected the full cache first");
    }
    return true;
}

/* Where policy and budget of a result are those that eval writes: the full cache, then every policy with every budget;
 * one that keeps everything has none. */
static bool is_arm(const json_t *run, const json_t *policy, size_t budget, const json_t *result) {
    const json_t *named = json_object_get(result, "budget");
    const bool all = strcmp(text_of(policy, "policy_text"), "full") == 0;
    if (strcmp(text_of(result, "policy"), text_of(policy, "policy")) != 0) return false;
    if (all) return !json_is_string(named);
    return json_is_string(named) && json_equal(named, json_array_get(json_object_get(run, "budgets"), budget));
}

static bool has_arms(const json_t *run, const json_t *results) {
    const json_t *policies = json_object_get(run, "policies"), *first = json_array_get(results, 0);
    const size_t n_budget = json_array_size(json_object_get(run, "budgets"));
    size_t at = 1;
    if (strcmp(text_of(first, "policy"), "full") != 0 || json_is_string(json_object_get(first, "budget"))) return false;
    for (size_t p = 1; p < json_array_size(policies); p++) {
        const json_t *policy = json_array_get(policies, p);
        const size_t n = strcmp(text_of(policy, "policy_text"), "full") == 0 ? 1 : n_budget;
        for (size_t b = 0; b < n; b++) {
            if (!is_arm(run, policy, b, json_array_get(results, at++))) return false;
        }
    }
    return at == json_array_size(results);
}

bool check_line(const json_t *run, const json_t *line, char *words, size_t size) {
    const reason r = {words, size};
    if (!check_value(&LINE, line, "", &r)) return false;
    return has_arms(run, json_object_get(line, "results"))
               ? true
               : wrong(&r, "results: are not those of the run's policies and budgets");
}
