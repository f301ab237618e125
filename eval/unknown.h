/* unknown: tasks whose questions are not known when rows are dropped. */
#ifndef JUDGEQ_EVAL_UNKNOWN_H
#define JUDGEQ_EVAL_UNKNOWN_H

#include "builder.h"

/* A document with the eight facts, as judgeq ingest reads it, and the eight questions. */
void unknown_ingested(builder *b);
/* The same in two documents, read one after the other. */
void unknown_two_documents(builder *b);
/* A fact in the first turn of a conversation, asked for in the tenth. */
void unknown_turn_ten(builder *b);

#endif
