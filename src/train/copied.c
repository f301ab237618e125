#include "copied.h"

#include <stdbool.h>
#include <string.h>

/* Tokens that are looked for together, and places that are a few: a number's digits are everywhere, but not a number.
 */
enum { GRAM = 3, PLACES = 6 };

static size_t places(const int32_t *in, size_t n_in, const int32_t *gram, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i + n <= n_in; i++) count += memcmp(in + i, gram, n * sizeof *gram) == 0;
    return count;
}

/* Places in the prompt of the longest gram that ends with response[i] and stands there; 0: not even the token does. */
static size_t places_of_longest(const int32_t *prompt, size_t n_prompt, const int32_t *response, size_t i) {
    for (size_t n = GRAM < i + 1 ? GRAM : i + 1; n > 0; n--) {
        const size_t found = places(prompt, n_prompt, response + i + 1 - n, n);
        if (found > 0) return found;
    }
    return 0;
}

static bool is_answer(const unsigned char *answer, size_t i) {
    return !answer || answer[i];
}

/* The tokens before an answer, back to the one before it: [*first, end). */
static size_t question_before(const unsigned char *answer, size_t i, size_t *first) {
    size_t end = i;
    while (end > 0 && is_answer(answer, end - 1)) end--;
    for (*first = end; *first > 0 && !is_answer(answer, *first - 1);) --*first;
    return end;
}

static bool is_copied(const int32_t *prompt, size_t n_prompt, const int32_t *response, const unsigned char *answer,
                      size_t i) {
    size_t first;
    const size_t end = question_before(answer, i, &first);
    if (places(response + first, end - first, response + i, 1) > 0) return false;
    const size_t found = places_of_longest(prompt, n_prompt, response, i);
    return found > 0 && found <= PLACES;
}

size_t copied_rows(const int32_t *prompt, size_t n_prompt, const int32_t *response, const unsigned char *answer,
                   size_t n_response, unsigned char *row) {
    const size_t n = n_response > 1 ? n_response - 1 : 1;
    size_t n_copied = 0, n_answer = 0;
    memset(row, 0, n);
    for (size_t i = 1; i < n_response; i++) {
        if (!is_answer(answer, i)) continue;
        row[i - 1] = is_copied(prompt, n_prompt, response, answer, i);
        n_copied += row[i - 1];
    }
    for (size_t i = 1; n_copied == 0 && i < n_response; i++) n_answer += row[i - 1] = is_answer(answer, i);
    if (n_copied + n_answer > 0) return n_copied + n_answer;
    memset(row, 1, n);
    return n;
}
