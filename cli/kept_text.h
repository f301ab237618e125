/* kept_text: the kept tokens on the prompt's text, for a terminal or as plain text. */
#ifndef JUDGEQ_CLI_KEPT_TEXT_H
#define JUDGEQ_CLI_KEPT_TEXT_H

#include "kept.h"

typedef enum kept_colours {
    KEPT_PLAIN,     /* a line of marks under each line of text */
    KEPT_256,       /* the text on colours of the 256 of most terminals */
    KEPT_TRUECOLOUR /* on any colour */
} kept_colours;

/* What standard output takes: colours on a terminal only, and not with NO_COLOR. */
kept_colours kept_colours_of_stdout(void);

/* On standard output, for every policy and budget: a heading, a legend, and the text, each token by the share of layers
 * and KV heads that keep it. layer, head: of that one only; -1: of all. False where memory ran out; whether the stream
 * took it all is for the caller to ask. */
bool kept_text_print(const kept *kept, kept_colours colours, int32_t layer, int32_t head);

#endif
