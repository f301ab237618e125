/* fuzz_plan: whatever is asked for and whatever a model writes: a plan or a message, and never the end of the process.
 * The input is text with a byte 0 between its parts: messages, tools, schema, template, and what the model wrote; the
 * first byte chooses the template (the last stands for the part), the choice of tools, and thinking. Where a part is
 * empty, a good one takes its place, so that the others are reached. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "judgeq.h"
#include "tiny_model.h"

enum { PARTS = 5, LONGEST = 1 << 14 };
enum { MESSAGES, TOOLS, SCHEMA, TEMPLATE, ANSWER };

static judgeq_model *model;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_plan: %s\n", what);
    abort();
}

static void make_model(void) {
    char path[64];
    tiny_spec spec = tiny_spec_base();
    judgeq_error error = {0};
    spec.n_layer = 1;
    spec.vocabulary = TINY_VOCABULARY_BPE;
    spec.chat_template = true;
    snprintf(path, sizeof path, "/tmp/fuzz_plan.%ld.gguf", (long)getpid());
    require(tiny_model_write(&spec, path) == 0, "cannot write a model");
    require(judgeq_model_load(path, &model, &error) == JUDGEQ_OK, error.message);
    unlink(path);
}

/* One with calls and thoughts in tags, one with calls as plain JSON, and the input's own. */
static const char *const TEMPLATES[] = {"{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content "
                                        "%}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% "
                                        "endif %}{{ m.content }}{% for c in m.tool_calls %}<tool_call>\n{\"name\": "
                                        "\"{{ c.function.name }}\", \"arguments\": {{ "
                                        "c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% "
                                        "endfor %}{{ tools | tojson if tools }}{% if "
                                        "add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
                                        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls "
                                        "%}{\"name\": \"{{ c.function.name }}\", "
                                        "\"parameters\": {{ c.function.arguments | tojson }}}{% endfor %}<|im_end|>{% "
                                        "endfor %}{{ tools | tojson if tools }}",
                                        NULL, NULL};

static void read_answer(const judgeq_chat_plan *plan, const char *text) {
    const size_t length = strlen(text);
    judgeq_reply *before = NULL, *reply = NULL;
    for (size_t n = length / 4; n <= length; n += length / 4 + 1) {
        judgeq_reply_delta *deltas = NULL;
        size_t n_deltas = 0;
        if (judgeq_chat_plan_parse(plan, text, n, n < length, "f", &reply, NULL) != JUDGEQ_OK) continue;
        for (size_t i = 0; i < reply->n_calls; i++) require(strlen(reply->calls[i].id) > 0, "a call without an id");
        if (judgeq_reply_deltas(before, reply, &deltas, &n_deltas, NULL) == JUDGEQ_OK) judgeq_free(deltas);
        judgeq_reply_free(before);
        before = reply;
    }
    judgeq_reply_free(before);
}

static void try_grammar(const judgeq_chat_plan_info *info) {
    judgeq_sampler *sampler = NULL;
    const judgeq_sampler_params params = {.grammar = &info->grammar, .model = model};
    if (!info->grammar.text || judgeq_sampler_new(&params, &sampler, NULL) != JUDGEQ_OK) return;
    float *logits = calloc((size_t)judgeq_model_get_info(model)->n_vocab, sizeof *logits);
    for (int i = 0; logits && i < 8; i++) {
        int32_t token;
        if (judgeq_sampler_draw(sampler, logits, judgeq_model_get_info(model)->n_vocab, &token, NULL) != JUDGEQ_OK)
            break;
        if (judgeq_token_ends(model, token)) break;
    }
    free(logits);
    judgeq_sampler_free(sampler);
}

static void check(unsigned choice, const char *const *part) {
    static const char *const choices[] = {"auto", "required", "none",
                                          "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}"};
    const char *own = *part[TEMPLATE] ? part[TEMPLATE] : NULL;
    const judgeq_chat_plan_params params = {
        .messages = *part[MESSAGES] ? part[MESSAGES] : "[{\"role\": \"user\", \"content\": \"a\"}]",
        .tools =
            *part[TOOLS]
                ? part[TOOLS]
                : "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", "
                  "\"properties\": {\"x\": {\"type\": \"string\"}}}}}]",
        .tool_choice = choices[choice / 4 % 4],
        .json_schema = *part[SCHEMA] ? part[SCHEMA] : NULL,
        .template_text = TEMPLATES[choice % 4] ? TEMPLATES[choice % 4] : own,
        .think = (judgeq_think)(choice / 16 % 3),
        .parallel_tool_calls = choice / 64 % 2,
        .now = 1735689600};
    judgeq_chat_plan *plan = NULL;
    char *grammar = NULL;
    if (*part[SCHEMA] && judgeq_json_schema_grammar(part[SCHEMA], &grammar, NULL) == JUDGEQ_OK) judgeq_free(grammar);
    if (judgeq_chat_plan_new(model, &params, &plan, NULL) != JUDGEQ_OK) return;
    const judgeq_chat_plan_info *info = judgeq_chat_plan_get_info(plan);
    for (size_t i = 0; i < info->n_tokens; i++) {
        require(info->tokens[i] >= 0 && info->tokens[i] < judgeq_model_get_info(model)->n_vocab, "no token");
    }
    try_grammar(info);
    read_answer(plan, part[ANSWER]);
    judgeq_chat_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > LONGEST) return 0;
    if (!model) make_model();
    char *text = malloc(size);
    require(text != NULL, "no memory");
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    const char *part[PARTS];
    const char *at = text;
    for (int i = 0; i < PARTS; i++) {
        part[i] = at;
        const size_t n = strlen(at);
        if (at + n < text + size - 1)
            at += n + 1;
        else
            at = text + size - 1;
    }
    check(data[0], part);
    free(text);
    return 0;
}
