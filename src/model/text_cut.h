/* text_cut: where SentencePiece's text can be cut and its tokens stay the same. libllama's time grows with the square
 * of the characters that are not in the vocabulary, so that a text with many of them is tokenised in pieces. */
#ifndef JUDGEQ_SRC_TEXT_CUT_H
#define JUDGEQ_SRC_TEXT_CUT_H

#include <stdbool.h>
#include <stddef.h>

#include "llama.h"

#include "judgeq.h"

typedef struct text_cut {
    unsigned char *known;   /* a bit per character: it is in a token's text; NULL: no text is cut */
    bool ends_special[256]; /* last bytes of the tokens that are looked for in a text before anything else */
    size_t n_prefix;        /* tokens of the space that libllama puts before a text */
} text_cut;

/* Of a SentencePiece vocabulary that has a token for every byte. */
judgeq_status text_cut_learn(const struct llama_vocab *vocab, text_cut *cut, judgeq_error *error);
void text_cut_forget(text_cut *cut);

/* Bytes of the first piece of valid UTF-8 text[0..length), length > 0. The next piece begins with a character that is
 * not in the vocabulary: the first n_prefix of its tokens are not the text's. */
size_t text_cut_piece(const text_cut *cut, const char *text, size_t length);

#endif
