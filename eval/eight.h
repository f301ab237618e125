/* eight: eight facts of eight kinds for one text, and what is asked about each. */
#ifndef JUDGEQ_EVAL_EIGHT_H
#define JUDGEQ_EVAL_EIGHT_H

#include "builder.h"

enum { EIGHT = 8, EIGHT_BERTHS = EIGHT - 1 }; /* questions; the one about three berths */

/* The facts, and which of them are the answer to which question. */
typedef struct eight {
    needle_fact fact[NEEDLES_MOST];
    size_t first[EIGHT + 1]; /* of each question; the last one's end */
} eight;

/* One fact of each kind, three berths of one line, and a locker among three others. */
void eight_draw(builder *b, eight *e);
/* The questions in random order. */
void eight_shuffle(builder *b, size_t order[EIGHT]);
/* The places of the questions of which order[question] is in [first, end), at even steps of a text: what answers one,
 * and what else belongs to it as in builder_spread. Returns how many. */
size_t eight_places(builder *b, const eight *e, const size_t order[EIGHT], size_t first, size_t end,
                    needle_place *place);
const char *eight_question(const eight *e, size_t question);
/* References of a question: the two words of a date by themselves, the three berths, or the value. */
void eight_expect(builder *b, const eight *e, size_t question, json_t *references);

/* Three facts about one thing, which is their key. */
void eight_draw_berths(builder *b, needle_fact fact[3]);
/* Their values are the references. */
void eight_expect_berths(builder *b, const needle_fact fact[3], json_t *references);
/* The beginning of the answer. */
void eight_begin_berths(builder *b, const needle_fact fact[3]);

#endif
