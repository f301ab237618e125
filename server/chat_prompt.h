/* chat_prompt: the messages of a request, in the model's chat template, as tokens. */
#ifndef JUDGEQ_SERVER_CHAT_PROMPT_H
#define JUDGEQ_SERVER_CHAT_PROMPT_H

#include "fields.h"
#include "service.h"

typedef struct chat_message {
    judgeq_message text; /* its content is malloced */
    bool developer;      /* OpenAI's name of the role system */
    bool tools;          /* calls them, or has what one of them returned */
} chat_message;

typedef struct chat_messages {
    chat_message *message; /* [n] */
    size_t n;
    bool document; /* the first one begins with a document's stand-in */
    /* The last one is an answer that is to be gone on with: params.answer is its content. */
    bool goes_on;
    judgeq_chat_params params;
} chat_messages;

/* A field's fault goes to f->fault. The roles and contents of OpenAI's API; an answer that the last message begins is
 * gone on with. *out is to be freed in any case. */
void chat_messages_read(const service *s, const fields *f, chat_messages *out);
void chat_messages_free(chat_messages *m);

/* Lets a document's stand-in begin the first message, which is for the user to say. */
bool chat_messages_put_document(chat_messages *m, reply_fault *fault);
/* Takes it, and what the template has before it, from the messages' tokens [*n]: what follows a document that was read
 * before is left. */
bool chat_messages_cut_document(const service *s, const chat_messages *m, int32_t *tokens, size_t *n,
                                reply_fault *fault);

/* *tokens: judgeq_free. */
bool chat_messages_tokens(const service *s, const chat_messages *m, int32_t **tokens, size_t *n, reply_fault *fault);
/* Where a prompt was refused by its bytes, before there were tokens. */
void chat_prompt_too_long(const service *s, reply_fault *fault);
/* A text as it is, control tokens too; follows: not at the beginning of a sequence. *tokens: judgeq_free. */
bool chat_prompt_raw(const service *s, const json_t *text, bool follows, int32_t **tokens, size_t *n,
                     reply_fault *fault);
/* *text: judgeq_free. */
bool chat_messages_text(const service *s, const chat_messages *m, char **text, reply_fault *fault);

#endif
