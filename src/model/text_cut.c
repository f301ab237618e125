#include "text_cut.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "guard.h"

enum { CHARACTERS = 0x110000, UNKNOWN_IN_PIECE = 256 };

/* ---- what the vocabulary knows ----------------------------------------------------------------------------------- */

static bool is_known(const text_cut *cut, unsigned character) {
    return cut->known[character / 8] >> character % 8 & 1;
}

static void learn_text(text_cut *cut, const char *text) {
    const size_t n = strlen(text);
    for (size_t at = 0; at < n;) {
        unsigned character;
        at += utf8_decode(text + at, n - at, &character);
        cut->known[character / 8] |= (unsigned char)(1 << character % 8);
    }
}

/* False where a token could be found in the middle of a character, so that nothing is certain. */
static bool learn_tokens(const struct llama_vocab *vocab, text_cut *cut) {
    static const unsigned special = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
    learn_text(cut, " "); /* libllama writes it as U+2581 */
    for (llama_token id = 0; id < llama_vocab_n_tokens(vocab); id++) {
        const char *text = llama_vocab_get_text(vocab, id);
        const size_t n = strlen(text);
        const bool valid = utf8_valid(text, n);
        if (valid) learn_text(cut, text); /* others are no sequence of characters: no text has them */
        if (!((unsigned)llama_vocab_get_attr(vocab, id) & special)) continue;
        if (!valid) return false;
        if (n > 0) cut->ends_special[(unsigned char)text[n - 1]] = true;
    }
    return true;
}

/* A character of four bytes that is in no token has a token for each of its bytes; what is more comes before it. */
static judgeq_status count_prefix(const struct llama_vocab *vocab, text_cut *cut, judgeq_error *error) {
    unsigned c = 0x10FFFF;
    while (c >= 0x10000 && is_known(cut, c)) c--;
    if (c < 0x10000) {
        text_cut_forget(cut);
        return JUDGEQ_OK;
    }
    const char text[4] = {(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3F)), (char)(0x80 | (c >> 6 & 0x3F)),
                          (char)(0x80 | (c & 0x3F))};
    int32_t ids[16], n = 0;
    const judgeq_status status = guard_tokenize(vocab, text, 4, ids, 16, false, &n, error);
    cut->n_prefix = n > 4 ? (size_t)n - 4 : 0;
    return status;
}

judgeq_status text_cut_learn(const struct llama_vocab *vocab, text_cut *cut, judgeq_error *error) {
    *cut = (text_cut){.known = calloc(1, CHARACTERS / 8)};
    if (!cut->known) return error_memory(error, "the characters of a vocabulary");
    if (learn_tokens(vocab, cut)) return count_prefix(vocab, cut, error);
    text_cut_forget(cut);
    return JUDGEQ_OK;
}

void text_cut_forget(text_cut *cut) {
    free(cut->known);
    cut->known = NULL;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

/* No merge reaches over a character that is in no token. What ends before it must be text, too: libllama begins anew
 * after a control token, and takes white space after some. */
size_t text_cut_piece(const text_cut *cut, const char *text, size_t length) {
    size_t n_unknown = 0;
    for (size_t at = 0; cut->known && at < length;) {
        unsigned character;
        const size_t n = utf8_decode(text + at, length - at, &character);
        if (!is_known(cut, character) && n_unknown++ >= UNKNOWN_IN_PIECE) {
            const unsigned char before = (unsigned char)text[at - 1];
            if (!cut->ends_special[before] && !isspace(before)) return at;
        }
        at += n;
    }
    return length;
}
