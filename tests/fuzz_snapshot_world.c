#include "fuzz_snapshot.h"

#include <stdio.h>

#include "fixture.h"
#include "tiny_model.h"

enum { N_SOFT = 2, N_EMBD = 8 };

/* Small, so that files are: the fuzzer changes what they say. */
static int write_model(const char *path) {
    tiny_spec spec = tiny_spec_base();
    spec.name = "fuzz";
    spec.architecture = "qwen3";
    spec.vocabulary = TINY_VOCABULARY_BPE;
    spec.n_layer = 2;
    spec.n_embd = spec.n_ff = N_EMBD;
    spec.n_head = 4;
    spec.n_head_kv = 2;
    spec.head_dim = 32; /* which all KV types divide */
    spec.tied_output = true;
    return tiny_model_write(&spec, path);
}

int fuzz_world_new(fuzz_world *world) {
    char path[300];
    judgeq_error error;
    float soft[N_SOFT * N_EMBD];
    *world = (fuzz_world){0};
    for (int i = 0; i < N_SOFT * N_EMBD; i++) soft[i] = (float)(i % 5) - 2;
    if (fixture_folder_new(world->folder, sizeof world->folder) != 0) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", world->folder);
    if (write_model(path) != 0 || judgeq_model_load(path, &world->model, &error) != JUDGEQ_OK) return -1;
    const judgeq_judge_info info = {.n_depth = 1,
                                    .n_soft = N_SOFT,
                                    .n_embd = N_EMBD,
                                    .fingerprint = judgeq_model_get_info(world->model)->fingerprint};
    return judgeq_judge_new(soft, &info, &world->judge, &error) == JUDGEQ_OK ? 0 : -1;
}

void fuzz_world_free(fuzz_world *world) {
    judgeq_judge_free(world->judge);
    judgeq_model_free(world->model);
    fixture_folder_remove(world->folder);
}
