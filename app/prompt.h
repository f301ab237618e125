/* prompt: messages as the tokens that a model reads. */
#ifndef JUDGEQ_APP_PROMPT_H
#define JUDGEQ_APP_PROMPT_H

#include "judgeq.h"
#include "notes.h"

typedef enum prompt_format {
    PROMPT_AUTO = 0, /* in the model's chat template; a single message as it is where there is none that can be used */
    PROMPT_CHAT,     /* in the chat template */
    PROMPT_PLAIN,    /* as it is: control tokens that are written out in it are text */
    PROMPT_RAW,      /* as it is: control tokens that are written out in it are control tokens */
} prompt_format;

typedef struct prompt_params {
    prompt_format format;
    const char *template_text; /* Jinja; NULL: the model's own */
    bool no_think;             /* tell the template that the model shall answer without thinking first */
    int32_t n_ctx;             /* tokens that the context holds; 0: what the model was trained for */
    notes notes;               /* why a prompt is read as it is; that no_think changes nothing */
} prompt_params;

/* Whether the chat template, NULL: the model's own, can be used: UNSUPPORTED, and why, where it cannot. */
judgeq_status prompt_check_template(const judgeq_model *model, const char *template_text, judgeq_error *error);

/* A note where the template renders these messages alike with thinking and without it, so that no_think has no effect.
 */
judgeq_status prompt_note_think(const judgeq_model *model, const prompt_params *params, const judgeq_message *messages,
                                size_t n, judgeq_error *error);

/* What is read as it is has a blank line between messages. *tokens: judgeq_free. UNSUPPORTED where the chat template
 * refuses the messages, LIMIT where no context holds them. */
judgeq_status prompt_tokenize(const judgeq_model *model, const prompt_params *params, const judgeq_message *messages,
                              size_t n_messages, int32_t **tokens, size_t *n_tokens, judgeq_error *error);

/* Fails with LIMIT where the prompt does not fit the context, and says what would; a note where it is longer than what
 * the model was trained for. n_response: tokens that may follow. */
judgeq_status prompt_check_length(const judgeq_model *model, const prompt_params *params, size_t n_tokens,
                                  int32_t n_response, judgeq_error *error);

#endif
