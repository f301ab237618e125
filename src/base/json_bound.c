#include "json_bound.h"

#include <jansson.h>

#include "error.h"

/* The deepest nesting of brackets that are not in a string. */
static size_t depth_of(const char *text, size_t length) {
    size_t depth = 0, most = 0;
    bool string = false;
    for (size_t i = 0; i < length; i++) {
        if (string && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            string = !string;
        } else if (!string && (text[i] == '[' || text[i] == '{')) {
            if (++depth > most) most = depth;
        } else if (!string && (text[i] == ']' || text[i] == '}') && depth > 0) {
            depth--;
        }
    }
    return most;
}

judgeq_status json_bound_check(const char *text, size_t length, const char *what, judgeq_error *error) {
    if (length > JSON_BOUND_BYTES) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: it has %zu bytes, expected %d at most", what, length,
                         JSON_BOUND_BYTES);
    }
    if (depth_of(text, length) > JSON_BOUND_DEPTH) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: it is nested more than %d deep", what, JSON_BOUND_DEPTH);
    }
    json_error_t fault;
    json_t *parsed = json_loadb(text, length, JSON_DECODE_ANY, &fault);
    if (!parsed && json_error_code(&fault) == json_error_out_of_memory) return error_memory(error, what);
    if (!parsed) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: no JSON: line %d, column %d: %s", what, fault.line,
                         fault.column, fault.text);
    }
    json_decref(parsed);
    return JUDGEQ_OK;
}
