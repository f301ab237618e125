/* chat_plan: the plan of a chat's answer out of a request: template, tools, the form that the answer has to have. */
#ifndef JUDGEQ_SERVER_CHAT_PLAN_H
#define JUDGEQ_SERVER_CHAT_PLAN_H

#include "ask.h"
#include "chat_prompt.h"

/* Makes a->plan, and adds what it asks of sampler and stop texts. `m` are the messages of f's object, read already;
 * with a context, the first of them begins with the stand-in of a document. closed: the prompt ends with them. NULL
 * after a fault. */
const judgeq_chat_plan_info *chat_plan_make(const service *s, const fields *f, const chat_messages *m, bool closed,
                                            ask *a);

/* Whether f's object asks for something that only a plan does. */
bool chat_plan_needed(const fields *f);

#endif
