#include "json_bound.h"

#include <jansson.h>

#include "error.h"

/* The byte after the string that begins at text[at]; n where it has no end. */
static size_t after_string(const char *text, size_t n, size_t at) {
    for (at++; at < n && text[at] != '"'; at++) {
        if (text[at] == '\\') at++;
    }
    return at < n ? at + 1 : n;
}

json_extent json_bound_measure(const char *text, size_t length) {
    json_extent found = {0, 1};
    size_t depth = 0;
    for (size_t i = 0; i < length;) {
        const char c = text[i];
        if (c == '"') {
            i = after_string(text, length, i);
            continue;
        }
        if (c == '[' || c == '{') depth++;
        if ((c == ']' || c == '}') && depth > 0) depth--;
        if (c == ',' || c == '[' || c == '{') found.n_values++;
        if (depth > found.depth) found.depth = depth;
        i++;
    }
    return found;
}

judgeq_status json_bound_check(const char *text, size_t length, const char *what, judgeq_error *error) {
    if (length > JSON_BOUND_BYTES) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: it has %zu bytes, expected %d at most", what, length,
                         JSON_BOUND_BYTES);
    }
    if (json_bound_measure(text, length).depth > JSON_BOUND_DEPTH) {
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
