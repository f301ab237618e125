/* conversations: what a record asks a model: of OpenAI's form, ShareGPT's, or of an instruction's. */
#ifndef JUDGEQ_CLI_CONVERSATIONS_H
#define JUDGEQ_CLI_CONVERSATIONS_H

#include <jansson.h>

/* Turns are an array "messages", "conversations", "conversation", "prompt" or "data" of {"role" or "from", "content",
 * "value" or "text"}, or of texts, the user's first; or the one turn of "instruction" or "prompt" with "input" or
 * "context", after the pairs of "history".
 * Appends to `messages` {"role", "content"} for every turn up to the user's last one; a "system" or "system_prompt"
 * beside the turns comes first, unless the turns begin with a system message. Returns what is wrong with the record, or
 * NULL. */
const char *conversation_take(const json_t *record, json_t *messages);

#endif
