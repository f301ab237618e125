/* Reads a prompt, keeps 64 rows of it per layer and KV head, and writes the answer as it is decoded.
 *     cc first.c $(pkg-config --cflags --libs judgeq) -o first && ./first model.gguf "What is a lighthouse?" */
#include <judgeq.h>
#include <stdio.h>

/* The question in the model's chat template, read into the session. */
static judgeq_status ask(const judgeq_model *model, judgeq_session *session, const char *question,
                         judgeq_error *error) {
    const judgeq_message message = {"user", question};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    judgeq_status status = JUDGEQ_OK;
    if (status == JUDGEQ_OK) status = judgeq_chat_tokens(model, &message, 1, NULL, &tokens, &n_tokens, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, tokens, n_tokens, error);
    judgeq_free(tokens);
    return status;
}

static judgeq_status answer(const judgeq_model *model, judgeq_session *session, judgeq_error *error) {
    const judgeq_sampler_params greedy = {.temperature = 0};
    const int32_t n_vocab = judgeq_model_get_info(model)->n_vocab;
    judgeq_sampler *sampler = NULL;
    judgeq_status status = judgeq_sampler_new(&greedy, &sampler, error);
    for (int i = 0; status == JUDGEQ_OK && i < 128; i++) {
        char text[256];
        const int32_t token = judgeq_sampler_sample(sampler, judgeq_session_logits(session), n_vocab);
        if (token < 0 || judgeq_token_ends(model, token)) break;
        const int32_t length = judgeq_token_text(model, token, text, sizeof text);
        if (length > 0) fwrite(text, 1, (size_t)length, stdout);
        fflush(stdout);
        status = judgeq_session_decode(session, token, error);
    }
    judgeq_sampler_free(sampler);
    return status;
}

int main(int argc, char **argv) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = 64; /* rows per layer and KV head */
    judgeq_status status = argc == 3 ? judgeq_model_load(argv[1], &model, &error) : JUDGEQ_ERROR_ARGUMENT;
    if (status == JUDGEQ_OK) status = judgeq_policy_parse("snapkv", &policy, &error);
    params.policy = policy; /* with "judge", params.judge is needed too: judgeq_judge_load */
    if (status == JUDGEQ_OK) status = judgeq_session_new(model, &params, &session, &error);
    if (status == JUDGEQ_OK) status = ask(model, session, argv[2], &error);
    if (status == JUDGEQ_OK) status = answer(model, session, &error);
    if (status != JUDGEQ_OK)
        fprintf(stderr, "%s\n", *error.message ? error.message : "usage: first MODEL.gguf QUESTION");
    judgeq_session_free(session);
    judgeq_policy_free(policy);
    judgeq_model_free(model);
    return status == JUDGEQ_OK ? 0 : 1;
}
