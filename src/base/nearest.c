#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { LENGTH_MOST = 63, PREFIX_LEAST = 3 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool same(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Damerau and Levenshtein's distance, where a letter is edited once (optimal string alignment). Neither text is longer
 * than LENGTH_MOST. */
static size_t distance(const char *a, const char *b) {
    const size_t n_a = strlen(a), n_b = strlen(b);
    size_t d[LENGTH_MOST + 1][LENGTH_MOST + 1];
    for (size_t i = 0; i <= n_a; i++) {
        for (size_t k = 0; k <= n_b; k++) {
            if (i == 0 || k == 0) {
                d[i][k] = i + k;
                continue;
            }
            d[i][k] = least(d[i - 1][k - 1] + !same(a[i - 1], b[k - 1]), 1 + least(d[i - 1][k], d[i][k - 1]));
            const bool swapped = i > 1 && k > 1 && same(a[i - 1], b[k - 2]) && same(a[i - 2], b[k - 1]);
            if (swapped) d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
        }
    }
    return d[n_a][n_b];
}

void nearest_try(nearest *near, const char *name) {
    const size_t n_word = strlen(near->word), n_name = strlen(name), n = n_word > n_name ? n_word : n_name;
    if (n_word == 0 || n > LENGTH_MOST) return;
    const bool begins = n_word >= PREFIX_LEAST && strncasecmp(name, near->word, n_word) == 0;
    const size_t far = begins ? 1 : distance(near->word, name);
    if (far > 1 + n / 3 || far == n || (near->name && far >= near->distance)) return;
    near->name = name;
    near->distance = far;
}
