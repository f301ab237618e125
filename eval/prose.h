/* prose: sentences about an invented canal town, from templates. They hold no digits, no months and no places that
 * exist, so that whatever is hidden between them stands out only by what it says. */
#ifndef JUDGEQ_EVAL_PROSE_H
#define JUDGEQ_EVAL_PROSE_H

#include "base/text.h"
#include "chance.h"

/* Adds one sentence. last: what this returned before, so that no template comes twice running; NULL at first. */
const char *prose_add(chance *d, const char *last, text_buffer *out);

#endif
