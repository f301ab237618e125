#include "prompt.h"

#include "session_choices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static size_t context_of(const judgeq_model *model, const prompt_params *params) {
    return (size_t)(params->n_ctx > 0 ? params->n_ctx : judgeq_model_get_info(model)->n_ctx_train);
}

/* ---- as it is ---------------------------------------------------------------------------------------------------- */

/* The caller's; NULL without memory. */
static char *join(const judgeq_message *message, size_t n) {
    size_t length = 1;
    for (size_t i = 0; i < n; i++) length += strlen(message[i].content) + 2;
    char *text = calloc(length, 1), *end = text;
    for (size_t i = 0; text && i < n; i++) end += sprintf(end, "%s%s", i > 0 ? "\n\n" : "", message[i].content);
    return text;
}

static judgeq_status tokenize_as_it_is(const judgeq_model *model, const prompt_params *params,
                                       const judgeq_message *messages, size_t n_messages, int32_t **tokens,
                                       size_t *n_tokens, judgeq_error *error) {
    const unsigned control = params->format == PROMPT_RAW ? JUDGEQ_TEXT_CONTROL : JUDGEQ_TEXT_PLAIN;
    char *text = join(messages, n_messages);
    if (!text) return error_memory(error, "a prompt");
    const judgeq_status status = judgeq_tokenize_for(model, (int32_t)context_of(model, params), text, strlen(text),
                                                     JUDGEQ_TEXT_BEGIN | control, tokens, n_tokens, error);
    free(text);
    return status;
}

/* ---- in the chat template ---------------------------------------------------------------------------------------- */

judgeq_status prompt_check_template(const judgeq_model *model, const char *template_text, judgeq_error *error) {
    const judgeq_chat_params params = {.template_text = template_text};
    const judgeq_message message = {"user", "x"};
    char *text = NULL;
    const judgeq_status status = judgeq_chat_text(model, &message, 1, &params, &text, error);
    judgeq_free(text);
    return status;
}

judgeq_status prompt_note_think(const judgeq_model *model, const prompt_params *params, const judgeq_message *messages,
                                size_t n, judgeq_error *error) {
    const judgeq_chat_params think[] = {{.template_text = params->template_text, .think = JUDGEQ_THINK_ON},
                                        {.template_text = params->template_text, .think = JUDGEQ_THINK_OFF}};
    char *text[2] = {NULL, NULL};
    judgeq_status status = judgeq_chat_text(model, messages, n, &think[0], &text[0], error);
    if (status == JUDGEQ_OK) status = judgeq_chat_text(model, messages, n, &think[1], &text[1], error);
    if (status == JUDGEQ_OK && strcmp(text[0], text[1]) == 0) {
        notes_add(params->notes, "--no-think changes nothing: the model's chat template has no switch for thinking");
    }
    judgeq_free(text[0]);
    judgeq_free(text[1]);
    return status;
}

static judgeq_status tokenize_chat(const judgeq_model *model, const prompt_params *params,
                                   const judgeq_message *messages, size_t n_messages, int32_t **tokens,
                                   size_t *n_tokens, judgeq_error *error) {
    const judgeq_chat_params chat = {.template_text = params->template_text,
                                     .think = params->no_think ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT,
                                     .n_ctx = params->n_ctx};
    const judgeq_status status = judgeq_chat_tokens(model, messages, n_messages, &chat, tokens, n_tokens, error);
    if (status != JUDGEQ_OK || !params->no_think || !params->notes.take) return status;
    return prompt_note_think(model, params, messages, n_messages, error);
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

judgeq_status prompt_tokenize(const judgeq_model *model, const prompt_params *params, const judgeq_message *messages,
                              size_t n_messages, int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    const bool chat = params->format == PROMPT_AUTO || params->format == PROMPT_CHAT;
    *tokens = NULL;
    *n_tokens = 0;
    if (chat) {
        const judgeq_status status = tokenize_chat(model, params, messages, n_messages, tokens, n_tokens, error);
        const bool insists = params->format == PROMPT_CHAT || n_messages > 1;
        if (status != JUDGEQ_ERROR_UNSUPPORTED || insists) return status;
        notes_add(params->notes, "the prompt is read as it is: %s", error->message);
    }
    return tokenize_as_it_is(model, params, messages, n_messages, tokens, n_tokens, error);
}

judgeq_status prompt_check_length(const judgeq_model *model, const prompt_params *params, size_t n_tokens,
                                  int32_t n_response, judgeq_error *error) {
    const int32_t n_trained = judgeq_model_get_info(model)->n_ctx_train;
    const size_t n_ctx = context_of(model, params), wanted = n_tokens + (size_t)n_response;
    const bool beyond = n_tokens > (size_t)n_trained;
    if (n_tokens <= n_ctx) {
        if (beyond && params->n_ctx != SESSION_ANY_LENGTH) {
            notes_add(params->notes,
                      "the prompt has %zu tokens, and the model was trained for %d: expect worse answers", n_tokens,
                      n_trained);
        }
        return JUDGEQ_OK;
    }
    char response[64] = "", worse[96] = "";
    if (n_response > 0) snprintf(response, sizeof response, " and for %d of the response (-n)", n_response);
    if (beyond) snprintf(worse, sizeof worse, "; beyond what it was trained for, a model answers worse");
    return error_set(error, JUDGEQ_ERROR_LIMIT,
                     "the prompt has %zu tokens, the context holds %zu (the model was trained for %d): --ctx %zu makes "
                     "room for them%s%s",
                     n_tokens, n_ctx, n_trained, wanted, response, worse);
}
