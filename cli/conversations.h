/* conversations: what a record of OpenAI's or ShareGPT's form asks a model. */
#ifndef JUDGEQ_CLI_CONVERSATIONS_H
#define JUDGEQ_CLI_CONVERSATIONS_H

#include <jansson.h>

/* Appends to `messages` {"role", "content"} for every turn up to the user's last one; a "system" or "system_prompt"
 * beside the turns comes first, unless the turns begin with a system message. Returns what is wrong with the record, or
 * NULL. */
const char *conversation_take(const json_t *record, json_t *messages);

#endif
