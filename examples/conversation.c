/* A conversation in 256 rows per layer and KV head, however long it gets: a turn on each line of standard input. */
#include <judgeq.h>
#include <stdio.h>
#include <string.h>

enum { TURNS = 100, TEXT = 1024 };
static judgeq_model *model;
static judgeq_session *session;
static judgeq_error error;

/* What the template puts after the first `seen` bytes, which the session has read, onto what the session holds. */
static judgeq_status ask(const judgeq_message *message, size_t n, size_t *seen) {
    const judgeq_chat_params params = {.skip = *seen};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    char *text = NULL;
    judgeq_status status = judgeq_chat_tokens(model, message, n, &params, &tokens, &n_tokens, &error);
    if (status == JUDGEQ_OK) status = judgeq_session_read(session, tokens, n_tokens, &error);
    if (status == JUDGEQ_OK) status = judgeq_chat_text(model, message, n, NULL, &text, &error);
    if (status == JUDGEQ_OK) *seen = strlen(text);
    judgeq_free(tokens);
    judgeq_free(text);
    return status;
}

static judgeq_status answer(char *text) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t length = 0; status == JUDGEQ_OK && length < TEXT - 256;) {
        const float *logits = judgeq_session_logits(session);
        int32_t best = 0;
        for (int32_t i = 1; i < judgeq_model_get_info(model)->n_vocab; i++) best = logits[i] > logits[best] ? i : best;
        if (judgeq_token_ends(model, best)) break; /* the next turn begins with it */
        for (int32_t n = judgeq_token_text(model, best, text + length, 255); n > 0; n--) putchar(text[length++]);
        status = judgeq_session_decode(session, best, &error);
    }
    return puts("") == EOF ? JUDGEQ_ERROR_IO : status;
}

int main(int argc, char **argv) {
    static char text[TURNS][TEXT]; /* the user's and the model's in turn */
    judgeq_message message[TURNS];
    judgeq_policy *policy = NULL;
    judgeq_session_params params = {.budget = 256, .unbounded = true};
    judgeq_status status = judgeq_model_load(argc == 2 ? argv[1] : "model.gguf", &model, &error);
    if (status == JUDGEQ_OK) status = judgeq_policy_parse("snapkv,probe=window:16,keep=recent:16", &policy, &error);
    params.policy = policy;
    if (status == JUDGEQ_OK) status = judgeq_session_new(model, &params, &session, &error);
    for (size_t n = 0, seen = 0; status == JUDGEQ_OK && n < TURNS && fgets(text[n], TEXT, stdin); n += 2) {
        message[n] = (judgeq_message){"user", text[n]};
        message[n + 1] = (judgeq_message){"assistant", text[n + 1]};
        status = ask(message, n + 1, &seen);
        if (status == JUDGEQ_OK) status = answer(text[n + 1]);
        seen += strlen(text[n + 1]);
    }
    if (status != JUDGEQ_OK) fprintf(stderr, "%s\n", error.message);
    judgeq_session_free(session);
    judgeq_policy_free(policy);
    judgeq_model_free(model);
    return status == JUDGEQ_OK ? 0 : 1;
}
