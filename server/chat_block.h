/* chat_block: an answer in a chat as a list of blocks, in the order in which they came: thoughts, texts, tool calls. */
#ifndef JUDGEQ_SERVER_CHAT_BLOCK_H
#define JUDGEQ_SERVER_CHAT_BLOCK_H

#include "base/text.h"
#include "judgeq.h"

typedef enum chat_kind { CHAT_THOUGHTS, CHAT_TEXT, CHAT_CALL } chat_kind;

typedef struct chat_block {
    chat_kind kind;
    size_t index;      /* among all */
    size_t call;       /* CHAT_CALL: among the calls */
    char *id, *name;   /* CHAT_CALL: or NULL. Owned */
    text_buffer text;  /* so far; CHAT_CALL: the arguments, JSON */
    bool told, closed; /* the client knows that there is one, and that no more of it comes */
} chat_block;

typedef struct chat_blocks {
    judgeq_reply *reply; /* as it was read last; or NULL */
    chat_block *block;   /* [n] */
    size_t n, n_calls;
    bool failed; /* no memory */
} chat_blocks;

/* The last block, where it is of that kind and, of CHAT_CALL, that call; otherwise NULL. */
chat_block *chat_blocks_last(const chat_blocks *all, chat_kind kind, size_t call);
/* A new one; NULL without memory. Moves the others. */
chat_block *chat_blocks_add(chat_blocks *all, chat_kind kind, size_t call);
/* "" for a block without text. */
const char *chat_block_text(const chat_block *b);
void chat_blocks_free(chat_blocks *all);

#endif
