/* Words of English and Chinese texts, and F1 over them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "base/text.h"
#include "overlap.h"
#include "segment.h"
#include "unicode.h"

static bool is_article(unicode_word w) {
    return unicode_same(w, (unicode_word){"a", 1}) || unicode_same(w, (unicode_word){"an", 2}) ||
           unicode_same(w, (unicode_word){"the", 3});
}

static bool is_ascii_punctuation(uint32_t point) {
    return point > 0 && point < 0x80 && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", (int)point) != NULL;
}

/* Adds a run of word characters, or a space if it is an article. */
static void add_run(text_buffer *out, const char *start, const char *end) {
    const unicode_word run = {start, (size_t)(end - start)};
    if (is_article(run)) {
        text_add(out, " ", 1);
    } else {
        text_add(out, run.bytes, run.n);
    }
}

/* Without the articles: runs of word characters, which other characters surround. */
static char *drop_articles(const char *text) {
    text_buffer out = {0};
    const char *start = text;
    ucs4_t point;
    for (const char *at = text, *next; (next = (const char *)u8_next(&point, (const uint8_t *)at)); at = next) {
        if (unicode_is_word(point)) continue;
        add_run(&out, start, at);
        text_add(&out, at, (size_t)(next - at));
        start = next;
    }
    add_run(&out, start, text + strlen(text));
    return text_take(&out);
}

/* In lower case and without the characters that `drop` names. */
static char *reduce(const char *text, bool (*drop)(uint32_t point)) {
    text_buffer out = {0};
    char *lower = unicode_lower(text);
    ucs4_t point;
    const uint8_t *next, *at = (const uint8_t *)lower;
    for (; lower && (next = u8_next(&point, at)); at = next) {
        if (!drop(point)) text_add(&out, (const char *)at, (size_t)(next - at));
    }
    out.failed = out.failed || !lower;
    free(lower);
    return text_take(&out);
}

static int by_bytes(const void *a, const void *b) {
    const unicode_word *x = a, *y = b;
    const int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* F1 of two bags of words. Sorts them. */
static double f1(unicode_word *a, size_t n_a, unicode_word *b, size_t n_b) {
    size_t same = 0;
    qsort(a, n_a, sizeof *a, by_bytes);
    qsort(b, n_b, sizeof *b, by_bytes);
    for (size_t i = 0, k = 0; i < n_a && k < n_b;) {
        const int order = by_bytes(&a[i], &b[k]);
        same += order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    if (same == 0) return 0;
    const double precision = (double)same / (double)n_a, recall = (double)same / (double)n_b;
    return 2 * precision * recall / (precision + recall);
}

static double f1_of_texts(const char *a, const char *b) {
    size_t n_a = 0, n_b = 0;
    unicode_word *words_a = a ? unicode_split(a, &n_a) : NULL, *words_b = b ? unicode_split(b, &n_b) : NULL;
    const double score = words_a && words_b ? f1(words_a, n_a, words_b, n_b) : NAN;
    free(words_a);
    free(words_b);
    return score;
}

static char *english(const char *text) {
    char *reduced = reduce(text, is_ascii_punctuation), *words = reduced ? drop_articles(reduced) : NULL;
    free(reduced);
    return words;
}

/* What LongBench drops from Chinese words, beside ASCII's. */
static bool is_punctuation(uint32_t point) {
    static const char chinese[] =
        "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜"
        "〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏";
    return is_ascii_punctuation(point) || (point >= 0x80 && u8_strchr((const uint8_t *)chinese, point) != NULL);
}

/* Words with spaces between them. Punctuation goes after they were cut: it is what cuts them. */
static char *chinese_words(const char *text) {
    char *words = segment_chinese(text), *reduced = words ? reduce(words, is_punctuation) : NULL;
    free(words);
    return reduced;
}

/* words: a text as words with spaces between them. */
static double f1_of_words(const char *answer, const char *reference, char *(*words)(const char *)) {
    char *a = words(answer), *b = words(reference);
    const double score = f1_of_texts(a, b);
    free(a);
    free(b);
    return score;
}

double overlap_f1(const char *answer, const char *reference) {
    return f1_of_words(answer, reference, english);
}

double overlap_f1_zh(const char *answer, const char *reference) {
    return f1_of_words(answer, reference, chinese_words);
}
