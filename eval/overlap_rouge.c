/* ROUGE-L as PyPI's rouge 1.0.1 counts it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "overlap.h"
#include "segment.h"
#include "unicode.h"

/* Sentences of numbered words: equal words have equal numbers. */
typedef struct sentences {
    char *bytes;    /* the text, cut at full stops */
    uint32_t *word; /* of all sentences, [n_word] */
    size_t n_word;
    size_t *end; /* [n_sentence], in `word` */
    size_t n_sentence;
} sentences;

typedef struct dictionary {
    unicode_word *word; /* [n] */
    size_t n, capacity;
} dictionary;

/* Texts have a few hundred words: a linear search does. */
static uint32_t number_of(dictionary *d, unicode_word w, bool *failed) {
    for (size_t i = 0; i < d->n; i++) {
        if (unicode_same(d->word[i], w)) return (uint32_t)i;
    }
    if (d->n == d->capacity) {
        const size_t capacity = d->capacity ? 2 * d->capacity : 256;
        unicode_word *larger = realloc(d->word, capacity * sizeof *larger);
        *failed = *failed || !larger;
        if (!larger) return 0;
        d->word = larger;
        d->capacity = capacity;
    }
    d->word[d->n] = w;
    return (uint32_t)d->n++;
}

static void sentences_free(sentences *s) {
    free(s->bytes);
    free(s->word);
    free(s->end);
}

/* A sentence without words is one empty word, as " ".join([]).split(" ") has it. */
static bool add_sentence(sentences *s, const char *sentence, dictionary *d) {
    size_t n = 0;
    bool failed = false;
    unicode_word *word = unicode_split(sentence, &n);
    if (!word) return false;
    for (size_t i = 0; i < n; i++) s->word[s->n_word++] = number_of(d, word[i], &failed);
    if (n == 0) s->word[s->n_word++] = number_of(d, (unicode_word){"", 0}, &failed);
    s->end[s->n_sentence++] = s->n_word;
    free(word);
    return !failed;
}

static bool sentences_init(const char *text, dictionary *d, sentences *out) {
    const size_t n = strlen(text);
    *out = (sentences){
        .bytes = strdup(text), .word = malloc((n + 1) * sizeof *out->word), .end = malloc((n + 1) * sizeof *out->end)};
    bool done = out->bytes && out->word && out->end;
    char *rest = out->bytes;
    for (char *at; done && (at = strsep(&rest, "."));) {
        if (*at) done = add_sentence(out, at, d);
    }
    return done; // NOLINT(clang-analyzer-unix.Malloc): out->bytes, which sentences_free frees
}

/* Marks, in `common`, the words of a longest common subsequence of x[n] and y[m]; of several, the one that the
 * package's walk back through its table meets. table: [n + 1, m + 1] */
static void mark_lcs(const uint32_t *x, size_t n, const uint32_t *y, size_t m, uint32_t *table, bool *common) {
    const size_t width = m + 1;
    memset(table, 0, width * sizeof *table);
    for (size_t i = 1; i <= n; i++) {
        table[i * width] = 0;
        for (size_t j = 1; j <= m; j++) {
            const uint32_t up = table[(i - 1) * width + j], left = table[i * width + j - 1];
            table[i * width + j] = x[i - 1] == y[j - 1] ? table[(i - 1) * width + j - 1] + 1 : up > left ? up : left;
        }
    }
    for (size_t i = n, j = m; i > 0 && j > 0;) {
        if (x[i - 1] == y[j - 1]) {
            common[x[i - 1]] = true;
            i--;
            j--;
        } else if (table[(i - 1) * width + j] > table[i * width + j - 1]) {
            i--;
        } else {
            j--;
        }
    }
}

static size_t count(const bool *mark, size_t n) {
    size_t marked = 0;
    for (size_t i = 0; i < n; i++) marked += mark[i];
    return marked;
}

static size_t distinct(const sentences *s, bool *mark, size_t n_mark) {
    memset(mark, 0, n_mark * sizeof *mark);
    for (size_t i = 0; i < s->n_word; i++) mark[s->word[i]] = true;
    return count(mark, n_mark);
}

/* Words in the union of the longest common subsequences of all pairs of sentences. */
static size_t common_words(const sentences *a, const sentences *b, uint32_t *table, bool *mark, size_t n_mark) {
    memset(mark, 0, n_mark * sizeof *mark);
    for (size_t i = 0; i < b->n_sentence; i++) {
        const size_t first = i > 0 ? b->end[i - 1] : 0;
        for (size_t k = 0; k < a->n_sentence; k++) {
            const size_t start = k > 0 ? a->end[k - 1] : 0;
            mark_lcs(b->word + first, b->end[i] - first, a->word + start, a->end[k] - start, table, mark);
        }
    }
    return count(mark, n_mark);
}

static double score(const sentences *a, const sentences *b, size_t n_words) {
    if (a->n_sentence == 0 || b->n_sentence == 0) return 0; /* where the package raises, LongBench counts nothing */
    uint32_t *table = malloc((a->n_word + 1) * (b->n_word + 1) * sizeof *table);
    bool *mark = malloc(n_words * sizeof *mark);
    double f = NAN;
    if (table && mark) {
        const double same = (double)common_words(a, b, table, mark, n_words);
        const double precision = same / (double)distinct(a, mark, n_words);
        const double recall = same / (double)distinct(b, mark, n_words);
        f = 2 * (precision * recall / (precision + recall + 1e-8));
    }
    free(table);
    free(mark);
    return f;
}

double overlap_rouge_l(const char *answer, const char *reference) {
    dictionary d = {0};
    sentences a, b;
    const bool has_a = sentences_init(answer, &d, &a), has_b = sentences_init(reference, &d, &b);
    const double f = has_a && has_b ? score(&a, &b, d.n) : NAN;
    sentences_free(&a);
    sentences_free(&b);
    free(d.word);
    return f;
}

double overlap_rouge_l_zh(const char *answer, const char *reference) {
    char *a = segment_chinese(answer), *b = segment_chinese(reference);
    const double f = a && b ? overlap_rouge_l(a, b) : NAN;
    free(a);
    free(b);
    return f;
}
