/* chat: what the parts of `judgeq chat` share. */
#ifndef JUDGEQ_CLI_CHAT_H
#define JUDGEQ_CLI_CHAT_H

#include "app/conversation.h"
#include "app/find_judge.h"
#include "chat_options.h"
#include "line_editor.h"
#include "progress.h"

/* What decides which rows stay. */
typedef struct chat_method {
    judgeq_policy *policy;
    judge_found found;
    char *fallback; /* the policy's text, where it takes the default's place */
} chat_method;

typedef struct chat {
    options options; /* session.rows: the budget at hand */
    char default_model[4096];
    const char *model_path;
    judgeq_model *model;
    chat_method method;
    judgeq_engine *engine;
    judgeq_sampler *sampler;
    conversation talk;
    progress progress;
    line_editor *editor; /* NULL: lines of standard input */
    double load_s;
    int status; /* the exit status: without an editor, that of the first failure */
    bool ended;
} chat;

/* Of a new session, with this method and this budget. */
judgeq_session_params chat_session_params(chat *c, const chat_method *method, int32_t rows);
/* The policy that was parsed from `text`, with the judge that it needs. `by_default`: nobody named it, and without a
 * judge another one will do. On failure *method holds nothing. */
judgeq_status chat_method_find(chat *c, const char *text, bool by_default, chat_method *method, judgeq_error *error);
void chat_method_free(chat_method *method);

/* Reads what was begun, *n_tokens, with a bar. */
judgeq_status chat_read(chat *c, size_t n_tokens, judgeq_error *error);
/* What went wrong, and what would help; ends the conversation where it cannot go on. */
void chat_failed(chat *c, judgeq_status status, const judgeq_error *error);

/* A turn, and its answer. */
void chat_turn(chat *c, const char *text);
/* A line that begins with /. */
void chat_command(chat *c, char *line);
/* Rows that a KV head of a layer holds, the mean of all of them, rounded. */
int64_t chat_rows_held(const chat *c);

#endif
