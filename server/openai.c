#include "openai.h"

/* Values in a request's JSON beside the tokens of a prompt. */
enum { VALUES_MOST = 200000, TOKENS_MOST = 1 << 22 };

json_t *openai_body(const http_request *request, reply_fault *fault) {
    const service *s = http_data(request);
    size_t n = 0;
    const char *text = http_body(request, &n);
    const int32_t n_tokens = s->n_ctx < TOKENS_MOST ? s->n_ctx : TOKENS_MOST;
    return fields_parse(text, n, (size_t)n_tokens + VALUES_MOST, fault);
}

static json_t *head(const exchange *e, const char *object) {
    return json_pack("{s:s, s:s, s:I, s:s, s:s+}", "id", e->id, "object", object, "created", (json_int_t)e->created,
                     "model", e->service->name, "system_fingerprint", "judgeq-", judgeq_version());
}

json_t *openai_chunk(const exchange *e, const char *object, json_t *choice) {
    json_t *chunk = head(e, object), *choices = json_array();
    if (choice) json_array_append_new(choices, choice);
    json_object_set_new(chunk, "choices", choices);
    if (e->ask.include_usage) json_object_set_new(chunk, "usage", json_null());
    return chunk;
}

void openai_stream_end(exchange *e, const char *object) {
    if (e->ask.include_usage) {
        json_t *chunk = openai_chunk(e, object, NULL);
        json_object_set_new(chunk, "usage", exchange_usage(e));
        exchange_send(e, chunk);
    }
    text_print(&e->out, "data: [DONE]\n\n");
}

void openai_stream_fail(exchange *e) {
    exchange_send(e, reply_fault_json(&e->fault, e->service->model_path));
}

json_t *openai_answer(const exchange *e, const char *object, json_t *choices) {
    json_t *answer = head(e, object);
    json_object_set_new(answer, "choices", choices);
    json_object_set_new(answer, "usage", exchange_usage(e));
    json_object_set_new(answer, "judgeq", exchange_kept(e, &e->answer[0]));
    return answer;
}

void openai_add_choice(const exchange *e, json_t *choices, json_t *choice, const exchange_answer *a) {
    if (e->n_answer > 1) json_object_set_new(choice, "judgeq", exchange_kept(e, a));
    json_array_append_new(choices, choice);
}

json_t *openai_chat_logprobs(const json_t *logprobs) {
    return logprobs ? json_pack("{s:O, s:n}", "content", (json_t *)logprobs, "refusal") : json_null();
}
