#include "metric.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "matches.h"
#include "overlap.h"
#include "unicode.h"

/* One answer and one reference; classes: all classes, or NULL. NaN without memory. */
typedef double (*compare)(const char *answer, const char *reference, const json_t *classes);

struct metric {
    const char *name;
    compare compare;
    bool mean; /* over the references; otherwise the best of them */
};

/* RULER's string_match: the reference is a part of the answer, in any case. */
static double contains(const char *answer, const char *reference, const json_t *classes) {
    (void)classes;
    char *in = unicode_lower(answer), *part = unicode_lower(reference);
    const double found = in && part ? strstr(in, part) != NULL : NAN;
    free(in);
    free(part);
    return found;
}

/* Metrics without classes. */
#define WITHOUT_CLASSES(name, call)                                                                                    \
    static double name(const char *answer, const char *reference, const json_t *classes) {                             \
        (void)classes;                                                                                                 \
        return call;                                                                                                   \
    }
WITHOUT_CLASSES(f1, overlap_f1(answer, reference))
WITHOUT_CLASSES(f1_zh, overlap_f1_zh(answer, reference))
WITHOUT_CLASSES(rouge_l, overlap_rouge_l(answer, reference))
WITHOUT_CLASSES(rouge_l_zh, overlap_rouge_l_zh(answer, reference))
WITHOUT_CLASSES(count, matches_count(answer, reference))
WITHOUT_CLASSES(retrieval, matches_retrieval(answer, reference, "Paragraph "))
WITHOUT_CLASSES(retrieval_zh, matches_retrieval(answer, reference, "\u6bb5\u843d"))
WITHOUT_CLASSES(code, matches_code(answer, reference))

static const metric METRICS[] = {
    {"all", contains, true},
    {"any", contains, false},
    {"f1", f1, false},
    {"f1_zh", f1_zh, false},
    {"rouge_l", rouge_l, false},
    {"rouge_l_zh", rouge_l_zh, false},
    {"classification", matches_classification, false},
    {"retrieval", retrieval, false},
    {"retrieval_zh", retrieval_zh, false},
    {"count", count, false},
    {"code", code, false},
};

const metric *metric_find(const char *name) {
    for (size_t i = 0; i < sizeof METRICS / sizeof METRICS[0]; i++) {
        if (strcmp(METRICS[i].name, name) == 0) return &METRICS[i];
    }
    return NULL;
}

const char *metric_name(const metric *m) {
    return m->name;
}

double metric_score(const metric *m, const char *answer, const json_t *references, const json_t *classes) {
    double sum = 0, best = 0;
    const size_t n = json_array_size(references);
    for (size_t i = 0; i < n; i++) {
        const double score = m->compare(answer, json_string_value(json_array_get(references, i)), classes);
        if (isnan(score)) return score;
        sum += score;
        best = score > best ? score : best;
    }
    return m->mean ? sum / (double)n : best;
}
