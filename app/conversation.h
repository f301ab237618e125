/* conversation: turns of a user and a model on one session. The chat template renders the whole conversation for every
 * turn, and the session reads what is new in it:
 *
 *     status = conversation_init(&c, model, &params, error);
 *     if (status == JUDGEQ_OK) status = conversation_use(&c, &session_params, error);
 *     for each turn:
 *         status = conversation_ask(&c, text, error);
 *         ... a generation from c.session's logits, which decodes on it ...
 *         status = conversation_answer(&c, &generation, error);
 *     conversation_free(&c);
 *
 * The session remembers what its policy keeps. The conversation keeps all tokens, so that it can be read again: with
 * another budget or policy, or up to an earlier turn. */
#ifndef JUDGEQ_APP_CONVERSATION_H
#define JUDGEQ_APP_CONVERSATION_H

#include "generation.h"
#include "judgeq.h"
#include "notes.h"

typedef struct conversation_params {
    const char *system; /* a system message, or NULL; copied by conversation_init, the first message from there on */
    const char *template_text; /* Jinja; NULL: the model's own */
    bool no_think;             /* tell the template that the model shall answer without thinking first */
    int32_t n_ctx; /* tokens that the context holds: session_choices_length; 0: what the model was trained for */
    notes notes;   /* what the template does otherwise than one may think */
} conversation_params;

typedef struct conversation {
    const judgeq_model *model;
    conversation_params params;
    bool plain;                           /* there is no template that can be used: texts are read as they are */
    judgeq_session_params session_params; /* what sessions are made with */
    judgeq_session *session;
    judgeq_message *message; /* [n_message]: the system message, if any; then the user and the assistant in turn */
    size_t n_message, message_capacity;
    int32_t *token; /* [n_token], the sequence. The session has seen the first of them, and reads the rest next */
    size_t n_token, token_capacity;
    size_t *turn; /* [n_turn], where in it the user's turns begin */
    size_t n_turn, turn_capacity;
    char *document;    /* what was read of the next turn, with a blank line at its end; or NULL */
    size_t turn_begin; /* where in `token` the next turn begins */
    /* While something is read: what a failure goes back to. */
    size_t n_token_before;
    int64_t n_seen_before;
    char *document_before;
    bool asking;      /* a turn: its message is the last one */
    bool documenting; /* a document */
    char *rendered;   /* the last rendering, and the answer after it; or NULL */
    bool noted;       /* that earlier turns are rendered differently */
} conversation;

/* Fails with UNSUPPORTED where there is no template for a system message. *c is to be freed in any case. */
judgeq_status conversation_init(conversation *c, const judgeq_model *model, const conversation_params *params,
                                judgeq_error *error);
void conversation_free(conversation *c);

/* Goes on with a session that is made with these parameters, which c copies; what they point to must live as long. What
 * was said so far is read again with the next turn. On failure the session is the one before. */
judgeq_status conversation_use(conversation *c, const judgeq_session_params *params, judgeq_error *error);

/* Reads the user's turn. The logits are then those of the answer's first token. After a failure everything is as it
 * was, but the session may have to read the conversation again with the next turn. Fails with LIMIT where the turn does
 * not fit into the context, CANCELLED where the session's progress says so. */
judgeq_status conversation_ask(conversation *c, const char *text, judgeq_error *error);
/* The same in steps, between which other sessions of the engine can decode. *n_tokens: to be read. After an error, or
 * once it is abandoned, everything is as it was. */
judgeq_status conversation_ask_begin(conversation *c, const char *text, size_t *n_tokens, judgeq_error *error);
judgeq_status conversation_ask_step(conversation *c, bool *done, judgeq_error *error);
void conversation_ask_abandon(conversation *c);

/* The answer to the turn that was read: the generation's text and tokens. Where decoding has failed, `failed`, the
 * session is made anew. */
judgeq_status conversation_answer(conversation *c, const generation *g, bool failed, judgeq_error *error);

/* Begins to read a document, which becomes the beginning of the next turn; conversation_ask_step does the rest. */
judgeq_status conversation_document_begin(conversation *c, const char *text, size_t *n_tokens, judgeq_error *error);

/* Begins to read what the session has not seen, where it has seen nothing: after conversation_use or _undo. *n_tokens
 * 0: there is nothing to do. conversation_ask_step does the rest. */
judgeq_status conversation_catch_up_begin(conversation *c, size_t *n_tokens, judgeq_error *error);

/* Takes the document that waits for its question away, or else the last turn with its answer. Rows that were evicted
 * since then cannot come back, so the session is made anew, and reads what is left with the next turn: that takes as
 * long as a prompt of these tokens, and no memory until then. ARGUMENT where there is nothing. */
judgeq_status conversation_undo(conversation *c, judgeq_error *error);
/* Takes everything but the system message away. */
judgeq_status conversation_reset(conversation *c, judgeq_error *error);

/* 1 where the first message is the system's. */
size_t conversation_first_turn(const conversation *c);
/* Tokens of the sequence that the session has seen. */
size_t conversation_seen(const conversation *c);

#endif
