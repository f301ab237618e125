/* fuzz_text: whatever the bytes, they become tokens of the vocabulary, and the same as libllama makes of them once they
 * are UTF-8. The first three bytes choose the vocabulary, the flags and how often the rest is repeated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "judgeq.h"
#include "model/model.h"
#include "tiny_model.h"

enum { N_MODEL = 10, LONGEST = 1 << 13, LONGEST_COMPARED = 2048 };

static judgeq_model *models[N_MODEL];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_text: %s\n", what);
    abort();
}

static judgeq_model *make_model(size_t index) {
    static const char *const pres[N_MODEL] = {NULL,           "smollm", "qwen2",  "llama-bpe",  "tekken",
                                              "deepseek-llm", "gpt-4o", "viking", "exaone-moe", "default"};
    char path[64];
    tiny_spec spec = tiny_spec_base();
    spec.n_layer = 1;
    spec.vocabulary = pres[index] ? TINY_VOCABULARY_BPE : TINY_VOCABULARY_SPM;
    spec.pre = pres[index];
    snprintf(path, sizeof path, "/tmp/fuzz_text.%ld.gguf", (long)getpid());
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    require(tiny_model_write(&spec, path) == 0, "cannot write a model");
    require(judgeq_model_load(path, &model, &error) == JUDGEQ_OK, error.message);
    unlink(path);
    return model;
}

/* libllama's own, without a beginning. */
static void compare(const judgeq_model *model, const char *text, size_t length, bool control, const int32_t *tokens,
                    size_t n) {
    int32_t *theirs = malloc((4 * length + 16) * sizeof *theirs);
    require(theirs != NULL, "no memory");
    const int32_t m = llama_tokenize(llama_model_get_vocab(model->vocabulary), text, (int32_t)length, theirs,
                                     (int32_t)(4 * length + 16), false, control);
    require(m == (int32_t)n && memcmp(tokens, theirs, n * sizeof *theirs) == 0, "libllama makes other tokens");
    free(theirs);
}

static void check(const judgeq_model *model, const char *text, size_t length, unsigned flags) {
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_error error = {0};
    const judgeq_status status = judgeq_tokenize_for(model, 0, text, length, flags, &tokens, &n, &error);
    require(status == JUDGEQ_OK, error.message);
    for (size_t i = 0; i < n; i++) {
        require(tokens[i] >= 0 && tokens[i] < judgeq_model_get_info(model)->n_vocab, "a token that is none");
    }
    char *valid = malloc(3 * length + 1);
    require(valid != NULL, "no memory");
    const size_t n_valid = utf8_repair(text, length, valid);
    require(utf8_valid(valid, n_valid), "what was repaired is not UTF-8");
    if (n_valid <= LONGEST_COMPARED && !(flags & JUDGEQ_TEXT_BEGIN)) {
        compare(model, valid, n_valid, (flags & JUDGEQ_TEXT_CONTROL) != 0, tokens, n);
    }
    free(valid);
    judgeq_free(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    const size_t index = data[0] % N_MODEL, length = size - 3;
    size_t times = (size_t)1 << data[2] % 15;
    while (times > 1 && times * length > LONGEST) times /= 2;
    if (!models[index]) models[index] = make_model(index);
    char *text = malloc(times * length + 1);
    require(text != NULL, "no memory");
    for (size_t i = 0; i < times; i++) memcpy(text + i * length, data + 3, length);
    check(models[index], text, times * length, data[1] % 4);
    free(text);
    return 0;
}
