/* Writes the corpus that fuzz_gguf starts from into the folder argv[1]: a judge file and tiny models. */
#include <stdio.h>
#include <sys/stat.h>

#include "judgeq.h"
#include "tiny_judge.h"
#include "tiny_model.h"

static bool write_judge(const char *path) {
    static const float soft[2 * 4] = {1, -2, 3, -4, 5, -6, 7, -8};
    const judgeq_judge_info info = tiny_judge_info(2, 4);
    judgeq_judge *judge;
    judgeq_error error;
    bool ok = judgeq_judge_new(soft, &info, &judge, &error) == JUDGEQ_OK &&
              judgeq_judge_save(judge, path, &error) == JUDGEQ_OK;
    judgeq_judge_free(judge);
    if (!ok) fprintf(stderr, "%s\n", error.message);
    return ok;
}

/* As small as the architecture allows: the fuzzer changes the header, not the weights. */
static bool write_model(const char *path, const char *architecture, tiny_vocabulary vocabulary) {
    tiny_spec spec = tiny_spec_base();
    spec.name = architecture;
    spec.architecture = architecture;
    spec.vocabulary = vocabulary;
    spec.n_layer = 1;
    spec.n_embd = spec.n_ff = 8;
    spec.n_head = spec.n_head_kv = 1;
    spec.head_dim = 8;
    spec.tied_output = true;
    return tiny_model_write(&spec, path) == 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_gguf_seeds FOLDER\n");
        return 2;
    }
    mkdir(argv[1], 0777);
    static const struct {
        const char *architecture;
        tiny_vocabulary vocabulary;
    } models[] = {{"llama", TINY_VOCABULARY_SPM},
                  {"qwen2", TINY_VOCABULARY_BPE},
                  {"qwen3", TINY_VOCABULARY_BPE},
                  {"smollm3", TINY_VOCABULARY_BPE}};
    char path[4096];
    snprintf(path, sizeof path, "%s/judge.gguf", argv[1]);
    bool ok = write_judge(path);
    for (size_t i = 0; ok && i < sizeof models / sizeof models[0]; i++) {
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], models[i].architecture);
        ok = write_model(path, models[i].architecture, models[i].vocabulary);
    }
    return ok ? 0 : 1;
}
