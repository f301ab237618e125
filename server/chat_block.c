#include "chat_block.h"

#include <stdlib.h>

chat_block *chat_blocks_last(const chat_blocks *all, chat_kind kind, size_t call) {
    chat_block *last = all->n > 0 ? &all->block[all->n - 1] : NULL;
    const bool same = last && last->kind == kind && (kind != CHAT_CALL || last->call == call);
    return same ? last : NULL;
}

chat_block *chat_blocks_add(chat_blocks *all, chat_kind kind, size_t call) {
    chat_block *more = realloc(all->block, (all->n + 1) * sizeof *more);
    if (!more) {
        all->failed = true;
        return NULL;
    }
    all->block = more;
    all->n_calls += kind == CHAT_CALL;
    more[all->n] = (chat_block){.kind = kind, .index = all->n, .call = call};
    return &more[all->n++];
}

const char *chat_block_text(const chat_block *b) {
    return b->text.bytes ? b->text.bytes : "";
}

void chat_blocks_free(chat_blocks *all) {
    judgeq_reply_free(all->reply);
    for (size_t i = 0; i < all->n; i++) {
        free(all->block[i].id);
        free(all->block[i].name);
        text_free(&all->block[i].text);
    }
    free(all->block);
    *all = (chat_blocks){0};
}
