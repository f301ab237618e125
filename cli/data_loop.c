#include "data_loop.h"

#include <string.h>

size_t data_cut_loop(const int32_t *token, size_t n) {
    for (size_t at = 0; at + DATA_LOOP + DATA_LOOP <= n; at++) {
        if (memcmp(token + at, token + n - DATA_LOOP, DATA_LOOP * sizeof *token) == 0) return n - DATA_LOOP;
    }
    return n;
}
