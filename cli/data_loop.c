#include "data_loop.h"

static bool same_run(const json_t *tokens, size_t a, size_t b) {
    for (size_t i = 0; i < DATA_LOOP; i++) {
        if (!json_equal(json_array_get(tokens, a + i), json_array_get(tokens, b + i))) return false;
    }
    return true;
}

bool data_cut_loop(json_t *tokens) {
    const size_t n = json_array_size(tokens);
    for (size_t at = 0; at + DATA_LOOP + DATA_LOOP <= n; at++) {
        if (!same_run(tokens, at, n - DATA_LOOP)) continue;
        for (size_t i = 1; i <= DATA_LOOP; i++) json_array_remove(tokens, n - i);
        return true;
    }
    return false;
}
