#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A message of one user, as tokens. */
typedef struct rendering {
    int32_t *token; /* judgeq_free */
    size_t n;
} rendering;

static judgeq_status render(const judgeq_model *model, const prompt_params *params, const char *system,
                            const char *text, rendering *out, judgeq_error *error) {
    const judgeq_message messages[] = {{"system", system}, {"user", text}};
    const size_t skip = system ? 0 : 1;
    *out = (rendering){0};
    return prompt_tokenize(model, params, messages + skip, 2 - skip, &out->token, &out->n, error);
}

static size_t same_begin(const rendering *a, const rendering *b, size_t most) {
    size_t n = 0;
    while (n < most && n < a->n && n < b->n && a->token[n] == b->token[n]) n++;
    return n;
}

static size_t same_end(const rendering *a, const rendering *b, size_t most) {
    size_t n = 0;
    while (n < most && n < a->n && n < b->n && a->token[a->n - 1 - n] == b->token[b->n - 1 - n]) n++;
    return n;
}

/* Two short messages show what a template puts before and after a text: all that they have in common. */
static const char ONE[] = "k", OTHER[] = "7";

/* The real text's rendering has the notes. */
static prompt_params quietly(const prompt_params *params) {
    prompt_params quiet = *params;
    quiet.notes = (notes){0};
    return quiet;
}

typedef struct frame {
    size_t before, after; /* tokens */
} frame;

static judgeq_status find_frame(const judgeq_model *model, const prompt_params *params, const char *system, frame *out,
                                judgeq_error *error) {
    rendering one = {0}, other = {0};
    const prompt_params quiet = quietly(params);
    judgeq_status status = render(model, &quiet, system, ONE, &one, error);
    if (status == JUDGEQ_OK) status = render(model, &quiet, system, OTHER, &other, error);
    if (status == JUDGEQ_OK) {
        out->before = same_begin(&one, &other, one.n);
        const size_t n = one.n < other.n ? one.n : other.n;
        out->after = same_end(&one, &other, n - out->before);
    }
    judgeq_free(one.token);
    judgeq_free(other.token);
    return status;
}

/* Tokens [first, end) of a rendering, whose array they become. */
static void cut(rendering *r, size_t first, size_t end, int32_t **tokens, size_t *n_tokens) {
    memmove(r->token, r->token + first, (end - first) * sizeof *r->token);
    *tokens = r->token;
    *n_tokens = end - first;
}

judgeq_status context_document_tokens(const judgeq_model *model, const prompt_params *params, const char *system,
                                      const char *text, int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    rendering all = {0};
    frame around = {0};
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = render(model, params, system, text, &all, error);
    if (status == JUDGEQ_OK) status = find_frame(model, params, system, &around, error);
    if (status == JUDGEQ_OK && all.n <= around.before + around.after) {
        status = error_set(error, JUDGEQ_ERROR_ARGUMENT, "the document is empty");
    }
    if (status != JUDGEQ_OK) {
        judgeq_free(all.token);
        return status;
    }
    cut(&all, 0, all.n - around.after, tokens, n_tokens);
    return JUDGEQ_OK;
}

/* A short document, a blank line and the text. *first: where the blank line begins. */
static judgeq_status render_after(const judgeq_model *model, const prompt_params *params, const char *text,
                                  rendering *out, size_t *first, judgeq_error *error) {
    rendering bare = {0};
    const prompt_params quiet = quietly(params);
    char *all = NULL;
    if (asprintf(&all, "%s\n\n%s", ONE, text) < 0) return error_memory(error, "a question");
    judgeq_status status = render(model, params, NULL, all, out, error);
    free(all);
    /* what a template puts after a text may begin as the question does, with an end of a line */
    if (status == JUDGEQ_OK) status = context_document_tokens(model, &quiet, NULL, ONE, &bare.token, &bare.n, error);
    *first = status == JUDGEQ_OK ? same_begin(out, &bare, bare.n) : 0;
    judgeq_free(bare.token);
    return status;
}

judgeq_status context_more_tokens(const judgeq_model *model, const prompt_params *params, const char *text,
                                  int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    rendering all = {0};
    frame around = {0};
    size_t first = 0;
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = render_after(model, params, text, &all, &first, error);
    if (status == JUDGEQ_OK) status = find_frame(model, params, NULL, &around, error);
    if (status == JUDGEQ_OK && all.n <= first + around.after) {
        status = error_set(error, JUDGEQ_ERROR_ARGUMENT, "the document is empty");
    }
    if (status != JUDGEQ_OK) {
        judgeq_free(all.token);
        return status;
    }
    cut(&all, first, all.n - around.after, tokens, n_tokens);
    return JUDGEQ_OK;
}

judgeq_status context_question_tokens(const judgeq_model *model, const prompt_params *params, const char *question,
                                      int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    rendering all = {0};
    size_t first = 0;
    *tokens = NULL;
    *n_tokens = 0;
    const judgeq_status status = render_after(model, params, question, &all, &first, error);
    if (status != JUDGEQ_OK) {
        judgeq_free(all.token);
        return status;
    }
    cut(&all, first, all.n, tokens, n_tokens);
    return JUDGEQ_OK;
}

/* A question, an answer, and the next question; in the form that a single message would have. */
static judgeq_status render_turns(const judgeq_model *model, const prompt_params *params, const char *answer,
                                  const char *question, rendering *out, judgeq_error *error) {
    const judgeq_message messages[] = {{"user", ONE}, {"assistant", answer}, {"user", question}};
    prompt_params settled = *params;
    *out = (rendering){0};
    if (params->format == PROMPT_AUTO) {
        const judgeq_status status = prompt_check_template(model, NULL, NULL);
        settled.format = status == JUDGEQ_ERROR_UNSUPPORTED ? PROMPT_PLAIN : PROMPT_CHAT;
    }
    return prompt_tokenize(model, &settled, messages, 3, &out->token, &out->n, error);
}

judgeq_status context_next_tokens(const judgeq_model *model, const prompt_params *params, const char *question,
                                  int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    rendering one = {0}, other = {0};
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = render_turns(model, params, ONE, question, &one, error);
    if (status == JUDGEQ_OK) status = render_turns(model, params, OTHER, question, &other, error);
    const size_t n = one.n < other.n ? one.n : other.n;
    const size_t after = status == JUDGEQ_OK ? same_end(&one, &other, n) : 0;
    if (status == JUDGEQ_OK && after == n) {
        status =
            error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "the chat template leaves the answers before a question out");
    }
    judgeq_free(other.token);
    if (status != JUDGEQ_OK) {
        judgeq_free(one.token);
        return status;
    }
    cut(&one, one.n - after, one.n, tokens, n_tokens);
    return JUDGEQ_OK;
}
