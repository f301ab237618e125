#include "fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json_bound.h"

json_t *fields_parse(const char *text, size_t n, size_t n_values, reply_fault *fault) {
    const json_extent found = json_bound_measure(text, n);
    json_error_t wrong;
    if (n == 0) {
        reply_wrong(fault, NULL, "the request has no body: expected a JSON object");
        return NULL;
    }
    if (found.depth > FIELDS_DEPTH) {
        reply_wrong(fault, NULL, "the request's JSON is nested %zu deep: up to %d is accepted", found.depth,
                    FIELDS_DEPTH);
        return NULL;
    }
    if (found.n_values > n_values) {
        reply_wrong(fault, NULL, "the request's JSON has more than %zu values", n_values);
        return NULL;
    }
    json_t *json = json_loadb(text, n, 0, &wrong);
    if (!json && json_error_code(&wrong) == json_error_null_character) {
        reply_wrong(fault, NULL, "line %d, column %d: a text with U+0000, which cannot be read: leave it out",
                    wrong.line, wrong.column);
    } else if (!json) {
        reply_wrong(fault, NULL, "the request's body is no JSON: line %d, column %d: %s", wrong.line, wrong.column,
                    wrong.text);
    } else if (!json_is_object(json)) {
        reply_wrong(fault, NULL, "the request's body is no JSON object");
        json_decref(json);
        json = NULL;
    }
    return json;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

json_t *fields_get(const fields *f, const char *name) {
    json_t *value = f->object && f->fault->status == 0 ? json_object_get(f->object, name) : NULL;
    return json_is_null(value) ? NULL : value;
}

bool fields_wrong(const fields *f, const char *name, const char *format, ...) {
    char what[400], full[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(full, sizeof full, "%s%s", f->within, name);
    return reply_wrong(f->fault, full, "%s: %s", full, what);
}

void fields_bool(const fields *f, const char *name, bool *out) {
    const json_t *value = fields_get(f, name);
    if (!value) return;
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else
        fields_wrong(f, name, "expected true or false");
}

void fields_int32(const fields *f, const char *name, int32_t least, int32_t most, int32_t *out) {
    const json_t *value = fields_get(f, name);
    if (!value) return;
    /* some clients write 1.0 */
    const double number = json_number_value(value);
    if (json_is_number(value) && number >= least && number <= most && number == floor(number))
        *out = (int32_t)number;
    else
        fields_wrong(f, name, "expected a whole number from %d to %d", least, most);
}

void fields_float(const fields *f, const char *name, double from, double to, float *out) {
    const json_t *value = fields_get(f, name);
    if (!value) return;
    const double number = json_number_value(value);
    if (json_is_number(value) && number >= from && number <= to)
        *out = (float)number;
    else
        fields_wrong(f, name, "expected a number from %g to %g", from, to);
}

void fields_text(const fields *f, const char *name, const char **out) {
    const json_t *value = fields_get(f, name);
    if (!value) return;
    if (json_is_string(value))
        *out = json_string_value(value);
    else
        fields_wrong(f, name, "expected a text");
}

fields fields_object(const fields *f, const char *name) {
    const json_t *value = fields_get(f, name);
    if (value && !json_is_object(value)) {
        fields_wrong(f, name, "expected an object");
        value = NULL;
    }
    return (fields){.object = value, .within = f->within, .fault = f->fault};
}

const json_t *fields_array(const fields *f, const char *name) {
    const json_t *value = fields_get(f, name);
    if (value && !json_is_array(value)) {
        fields_wrong(f, name, "expected an array");
        value = NULL;
    }
    return value;
}
