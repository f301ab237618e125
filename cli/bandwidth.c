#include "bandwidth.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Numbers of each of the three arrays; passes over them. */
enum { N_NUMBER = 12 << 20, N_PASS = 4, LANES = 8 };

/* One thread's part of the arrays, [n]. */
typedef struct part {
    double *a, *b, *c;
    size_t n;
    uint64_t sum;
} part;

/* Additions of whole numbers, which may be reordered: the compiler uses its widest registers. */
static void *read_array(part *p, const double *array) {
    uint64_t lane[LANES] = {0}, block[LANES];
    for (size_t i = 0; i + LANES <= p->n; i += LANES) {
        memcpy(block, array + i, sizeof block);
        for (int k = 0; k < LANES; k++) lane[k] += block[k];
    }
    for (int k = 0; k < LANES; k++) p->sum += lane[k];
    return NULL;
}

static void *read_all(void *data) {
    part *p = data;
    read_array(p, p->a);
    read_array(p, p->b);
    return read_array(p, p->c);
}

static void *triad(void *data) {
    const part *p = data;
    double *restrict a = p->a;
    const double *restrict b = p->b, *restrict c = p->c;
    for (size_t i = 0; i < p->n; i++) a[i] = b[i] + 3.0 * c[i];
    return NULL;
}

/* Every thread writes its part, so that the memory is near the core that the thread runs on. */
static void *fill(void *data) {
    const part *p = data;
    for (size_t i = 0; i < p->n; i++) {
        p->a[i] = 0;
        p->b[i] = 1;
        p->c[i] = (double)i;
    }
    return NULL;
}

/* Seconds of `work` in n threads; negative where one cannot be started. */
static double pass(part *parts, pthread_t *thread, int32_t n, void *(*work)(void *)) {
    int32_t started = 0;
    const double start = clock_seconds();
    while (started < n && pthread_create(&thread[started], NULL, work, &parts[started]) == 0) started++;
    for (int32_t i = 0; i < started; i++) pthread_join(thread[i], NULL);
    return started == n ? clock_seconds() - start : -1;
}

static double best(part *parts, pthread_t *thread, int32_t n, void *(*work)(void *)) {
    double least = -1;
    for (int i = 0; i < N_PASS; i++) {
        const double seconds = pass(parts, thread, n, work);
        if (seconds < 0) return -1;
        if (least < 0 || seconds < least) least = seconds;
    }
    return least;
}

bool bandwidth_measure(int32_t n_threads, bandwidth *out) {
    const size_t n = (size_t)n_threads, share = N_NUMBER / n;
    double *number = malloc(3 * (size_t)N_NUMBER * sizeof *number);
    part *parts = calloc(n, sizeof *parts);
    pthread_t *thread = calloc(n, sizeof *thread);
    double read_s = -1, triad_s = -1;
    if (number && parts && thread) {
        for (size_t i = 0; i < n; i++) {
            double *first = number + i * share;
            parts[i] = (part){.a = first, .b = first + N_NUMBER, .c = first + 2 * (size_t)N_NUMBER, .n = share};
        }
        if (pass(parts, thread, n_threads, fill) >= 0) read_s = best(parts, thread, n_threads, read_all);
        if (read_s > 0) triad_s = best(parts, thread, n_threads, triad);
    }
    volatile uint64_t seen = 0; /* or nothing would have to be read */
    for (size_t i = 0; parts && i < n; i++) seen += parts[i].sum;
    const double bytes = 3.0 * (double)(share * n) * sizeof *number;
    free(number);
    free(parts);
    free(thread);
    if (triad_s <= 0) return false;
    *out = (bandwidth){.read = bytes / read_s, .triad = bytes / triad_s};
    return true;
}
