/* fuzz_request: whatever a client sends as the body of a request, it is refused by a fault with a status, a type and a
 * message, or becomes requests to the worker that make sense. The first byte chooses the endpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "judgeq.h"
#include "server/anthropic.h"
#include "server/ollama.h"
#include "server/openai.h"
#include "server/openai_responses.h"
#include "tiny_model.h"

static service all;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_request: %s\n", what);
    abort();
}

static void make_service(void) {
    char path[64];
    tiny_spec spec;
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    require(tiny_spec_find("bpe-smollm", &spec), "no such spec");
    snprintf(path, sizeof path, "/tmp/fuzz_request.%ld.gguf", (long)getpid());
    require(tiny_model_write(&spec, path) == 0, "cannot write a model");
    require(judgeq_model_load(path, &model, &error) == JUDGEQ_OK, error.message);
    unlink(path);
    char folder[] = "/tmp/fuzz_request.XXXXXX"; /* without contexts */
    contexts *none = NULL;
    require(mkdtemp(folder) != NULL, "cannot make a folder");
    const contexts_params in_folder = {.folder = folder, .model = model};
    require(contexts_new(&in_folder, &none, &error) == JUDGEQ_OK, error.message);
    rmdir(folder);
    all = (service){.model = model,
                    .name = "tiny",
                    .policy = "full",
                    .n_ctx = judgeq_model_get_info(model)->n_ctx_train,
                    .contexts = none,
                    .n_answer = 16,
                    .sampler = {.top_p = 1}};
}

static void check_ask(const ask *a) {
    require(a->n >= 1 && a->n <= ASK_ANSWERS_MOST, "a number of answers");
    require(a->n_answer >= 0 && a->n_answer <= all.n_ctx, "a length");
    require(a->n_stop <= ASK_STOPS_MOST + ASK_PLAN_STOPS_MOST, "too many stop texts");
    for (size_t i = 0; i < a->n_stop; i++) require(a->stop[i] && a->stop[i][0], "an empty stop text");
    require(a->logprobs >= -1 && a->logprobs <= ASK_TOP_LOGPROBS_MOST, "log-probabilities");
    require(a->rows >= 0 && a->share >= 0 && a->share <= 1 && (a->rows == 0 || a->share == 0), "a budget");
    require(!a->context, "a context that does not exist");
    judgeq_sampler *sampler = NULL;
    judgeq_error error = {0};
    require(judgeq_sampler_new(&a->sampler, &sampler, &error) == JUDGEQ_OK, error.message);
    judgeq_sampler_free(sampler);
}

static void check_prompt(const ask *a, const exchange_prompt *prompt) {
    const int32_t n_vocab = judgeq_model_get_info(all.model)->n_vocab;
    const worker_request request = ask_request(a, prompt->tokens, prompt->n, a->n - 1);
    for (size_t i = 0; i < request.n_tokens; i++) {
        require(request.tokens[i] >= 0 && request.tokens[i] < n_vocab, "a token that is none");
    }
}

static void check_fault(const reply_fault *fault) {
    require(fault->status >= 400 && fault->status < 500 && fault->type && fault->message[0],
            "a fault that says nothing");
    json_t *json = reply_fault_json(fault, "/folder/model.gguf");
    require(json != NULL, "a fault that is no JSON");
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!all.model) make_service();
    if (size < 1) return 0;
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompts = NULL;
    size_t n = 0;
    bool good = false;
    json_t *body = fields_parse((const char *)data + 1, size - 1, 10000, &fault);
    const dialect *chats[8] = {
        [0] = &openai_chat_dialect, [2] = &anthropic_dialect,       [3] = &openai_responses_dialect,
        [4] = &ollama_chat_dialect, [6] = &ollama_generate_dialect, [7] = &openai_responses_dialect};
    const dialect *chat = chats[data[0] % 8];
    if (body && chat) { /* 1 and 5 are what the corpora of completions begin with */
        n = 1;
        prompts = calloc(1, sizeof *prompts);
        require(prompts != NULL, "no memory");
        good = dialect_read(&all, chat, body, &a, prompts, &fault);
    } else if (body) {
        good = openai_completions_read(&all, body, &a, &prompts, &n, &fault);
    }
    require(good == (fault.status == 0), "neither a fault nor a request");
    if (good)
        check_ask(&a);
    else
        check_fault(&fault);
    for (size_t i = 0; good && i < n; i++) check_prompt(&a, &prompts[i]);
    exchange_prompts_free(prompts, n);
    ask_free(&a);
    json_decref(body);
    return 0;
}
