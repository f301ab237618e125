/* ollama_info: what Ollama's clients ask about models, of which there is one. */
#include <stdio.h>
#include <string.h>

#include "ollama.h"
#include "openai.h"

static json_t *details_json(const service *s) {
    const judgeq_model_info *info = judgeq_model_get_info(s->model);
    char type[32] = "";
    for (size_t i = 0; info->weight_type[i] && i + 1 < sizeof type; i++) {
        const char c = info->weight_type[i];
        type[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf", "family",
                     info->architecture, "families", info->architecture, "parameter_size", "", "quantization_level",
                     type);
}

static json_t *model_json(const service *s) {
    const judgeq_model_info *info = judgeq_model_get_info(s->model);
    char at[OLLAMA_TIME];
    ollama_time(at, s->started_at, 0);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", s->name, "model", s->name, "modified_at", at, "size",
                     (json_int_t)info->file_bytes, "digest", info->file_fingerprint, "details", details_json(s));
}

void ollama_tags(http_request *request) {
    reply_json(request, 200, json_pack("{s:[o]}", "models", model_json(http_data(request))));
}

void ollama_version(http_request *request) {
    reply_json(request, 200, json_pack("{s:s}", "version", judgeq_version()));
}

/* The keys of its file that clients look at. */
static json_t *keys_json(const service *s) {
    const judgeq_model_info *info = judgeq_model_get_info(s->model);
    const struct {
        const char *name;
        int32_t value;
    } numbers[] = {{"context_length", s->n_ctx},           {"embedding_length", info->n_embd},
                   {"block_count", info->n_layer},         {"feed_forward_length", info->n_ff},
                   {"attention.head_count", info->n_head}, {"attention.head_count_kv", info->n_head_kv},
                   {"vocab_size", info->n_vocab}};
    json_t *keys = json_pack("{s:s, s:s}", "general.architecture", info->architecture, "general.name", info->name);
    for (size_t i = 0; keys && i < sizeof numbers / sizeof *numbers; i++) {
        char name[128];
        snprintf(name, sizeof name, "%.60s.%s", info->architecture, numbers[i].name);
        json_object_set_new(keys, name, json_integer(numbers[i].value));
    }
    return keys;
}

void ollama_show(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    char at[OLLAMA_TIME];
    json_t *body = openai_body(request, &fault);
    json_decref(body);
    if (fault.status != 0) {
        reply_error(request, &fault);
        return;
    }
    ollama_time(at, s->started_at, 0);
    json_t *capabilities = json_pack("[s]", "completion");
    if (judgeq_model_get_info(s->model)->chat_template) json_array_append_new(capabilities, json_string("tools"));
    reply_json(request, 200,
               json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s}", "license", "", "modelfile", "", "parameters", "",
                         "template", "", "details", details_json(s), "model_info", keys_json(s), "capabilities",
                         capabilities, "modified_at", at));
}
