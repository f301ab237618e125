/* conversation_file: a conversation as two files: its session's (judgeq_session_save), and beside it what was said. */
#ifndef JUDGEQ_APP_CONVERSATION_FILE_H
#define JUDGEQ_APP_CONVERSATION_FILE_H

#include "conversation.h"

/* Writes PATH, the session, and PATH.json: messages, tokens, turns. Each file is replaced whole. ARGUMENT where the
 * session has seen nothing (conversation_catch_up_begin). */
judgeq_status conversation_save(const conversation *c, const char *path, judgeq_error *error);

/* Goes on from such files, with `params` for the session's judge, engine and progress, and for sessions that are made
 * later. On failure, of judgeq_session_load or because the two files do not belong together, FORMAT, nothing is
 * changed.
 */
judgeq_status conversation_load(conversation *c, const judgeq_session_params *params, const char *path,
                                judgeq_error *error);

#endif
