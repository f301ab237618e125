/* fuzzywuzzy's ratio over difflib's matching blocks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "overlap.h"
#include "unicode.h"

enum { POPULAR_LEAST = 200 };

typedef struct matcher {
    const uint32_t *a, *b; /* [n_a], [n_b] */
    size_t n_a, n_b;
    bool *popular;  /* [n_b]: b's character matches nothing by itself */
    size_t *length; /* [n_b + 1], of the match that ends at b[j - 1] and the current character of a */
    size_t *before; /* the same for the character before */
} matcher;

typedef struct block {
    size_t a, b, n;
} block;

static int by_value(const void *x, const void *y) {
    const uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* Characters that are more than one in a hundred of a long b. */
static bool find_popular(matcher *m) {
    if (m->n_b < POPULAR_LEAST) return true;
    uint32_t *sorted = malloc(m->n_b * sizeof *sorted);
    if (!sorted) return false;
    memcpy(sorted, m->b, m->n_b * sizeof *sorted);
    qsort(sorted, m->n_b, sizeof *sorted, by_value);
    for (size_t j = 0; j < m->n_b; j++) {
        const uint32_t *first = bsearch(&m->b[j], sorted, m->n_b, sizeof *sorted, by_value), *last = first;
        while (first > sorted && first[-1] == *first) first--;
        while (last < sorted + m->n_b && *last == *first) last++;
        m->popular[j] = (size_t)(last - first) > m->n_b / 100 + 1;
    }
    free(sorted);
    return true;
}

/* The longest match of a[a0..a1) and b[b0..b1); of equal ones the earliest in a, then in b. Popular characters only
 * lengthen a match that others began. */
static block longest_match(matcher *m, size_t a0, size_t a1, size_t b0, size_t b1) {
    block best = {a0, b0, 0};
    memset(m->before, 0, (m->n_b + 1) * sizeof *m->before);
    for (size_t i = a0; i < a1; i++) {
        memset(m->length, 0, (m->n_b + 1) * sizeof *m->length);
        for (size_t j = b0; j < b1; j++) {
            if (m->a[i] != m->b[j] || m->popular[j]) continue;
            const size_t n = m->length[j + 1] = m->before[j] + 1;
            if (n > best.n) best = (block){i + 1 - n, j + 1 - n, n};
        }
        size_t *swap = m->before;
        m->before = m->length;
        m->length = swap;
    }
    while (best.a > a0 && best.b > b0 && m->a[best.a - 1] == m->b[best.b - 1]) {
        best.a--;
        best.b--;
        best.n++;
    }
    while (best.a + best.n < a1 && best.b + best.n < b1 && m->a[best.a + best.n] == m->b[best.b + best.n]) best.n++;
    return best;
}

/* Characters in matching blocks of a[a0..a1) and b[b0..b1): the longest one's, and those before and after it. The
 * stack is as deep as blocks nest: at most the shorter text's length. */
static size_t matching(matcher *m, size_t a0, size_t a1, size_t b0, size_t b1) { // NOLINT(misc-no-recursion)
    if (a0 >= a1 || b0 >= b1) return 0;
    const block best = longest_match(m, a0, a1, b0, b1);
    if (best.n == 0) return 0;
    return best.n + matching(m, a0, best.a, b0, best.b) + matching(m, best.a + best.n, a1, best.b + best.n, b1);
}

/* 0 to 100, rounded half to even, as Python does. */
static double percent(matcher *m) {
    m->popular = calloc(m->n_b + 1, sizeof *m->popular);
    m->length = calloc(m->n_b + 1, sizeof *m->length);
    m->before = calloc(m->n_b + 1, sizeof *m->before);
    double out = NAN;
    if (m->popular && m->length && m->before && find_popular(m)) {
        const double same = (double)matching(m, 0, m->n_a, 0, m->n_b);
        out = nearbyint(100 * (2.0 * same / (double)(m->n_a + m->n_b)));
    }
    free(m->popular);
    free(m->length);
    free(m->before);
    return out;
}

double overlap_ratio(const char *answer, const char *reference) {
    if (strcmp(answer, reference) == 0) return 1;
    if (!*answer || !*reference) return 0;
    matcher m = {0};
    uint32_t *a = unicode_points(answer, &m.n_a), *b = unicode_points(reference, &m.n_b);
    m.a = a;
    m.b = b;
    const double ratio = a && b ? percent(&m) / 100 : NAN;
    free(a);
    free(b);
    return ratio;
}
