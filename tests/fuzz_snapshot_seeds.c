/* Writes the corpus that fuzz_snapshot starts from into the folder argv[1]: sessions of every type, and of policies
 * that store different parts. */
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz_snapshot.h"
#include "tiny_model.h"

enum { N_PROMPT = 24, N_DECODE = 5, N_TURN = 3, BUDGET = 8, SLACK = 6 };

typedef struct seed {
    const char *name, *policy;
    judgeq_kv_type kv_type;
    bool plain, defer, trimmed;
    int32_t n_ctx; /* of an unbounded session, which reads more than that; 0: bounded */
} seed;

static const seed seeds[] = {
    {"full", "full", JUDGEQ_KV_F16, true, false, false, 0},
    {"window", "snapkv,probe=window:4,keep=recent:2", JUDGEQ_KV_F32, false, false, false, 0},
    {"sums", "h2o,allocate=ada:0,keep=none", JUDGEQ_KV_F16, false, false, false, 0},
    {"soft", "judge", JUDGEQ_KV_Q8_0, false, false, false, 0},
    {"ahead", "judge-laq,probe=soft+lookahead:3@judge:2x", JUDGEQ_KV_Q4_0, false, true, false, 0},
    {"trimmed", "streaming", JUDGEQ_KV_Q8_0, true, false, true, 0},
    {"unbounded", "snapkv,probe=window:4,keep=recent:2", JUDGEQ_KV_Q4_0, false, false, false, 48},
};

static judgeq_status write_seed(const fuzz_world *world, const seed *s, const char *path, judgeq_error *error) {
    int32_t token[N_PROMPT];
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = world->judge;
    params.budget = BUDGET;
    params.slack = SLACK;
    params.n_threads = 1;
    params.kv_type = s->kv_type;
    params.plain_weights = s->plain;
    params.defer = s->defer;
    params.unbounded = s->n_ctx > 0;
    params.n_ctx = s->n_ctx;
    tiny_prompt(1, judgeq_model_get_info(world->model)->n_vocab, token, N_PROMPT);
    judgeq_status status = judgeq_policy_parse(s->policy, &policy, error);
    params.policy = policy;
    if (status == JUDGEQ_OK) status = judgeq_session_new(world->model, &params, &session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, token, N_PROMPT, error);
    for (int i = 0; status == JUDGEQ_OK && i < N_TURN && s->n_ctx > 0; i++) {
        status = judgeq_session_read(session, token, N_PROMPT, error);
    }
    for (int i = 0; status == JUDGEQ_OK && i < N_DECODE; i++) status = judgeq_session_decode(session, token[i], error);
    if (status == JUDGEQ_OK && s->trimmed) status = judgeq_session_trim(session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_save(session, path, error);
    judgeq_session_free(session);
    judgeq_policy_free(policy);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_snapshot_seeds FOLDER\n");
        return 2;
    }
    mkdir(argv[1], 0777);
    fuzz_world world;
    judgeq_error error = {0};
    judgeq_status status = fuzz_world_new(&world) == 0 ? JUDGEQ_OK : JUDGEQ_ERROR_IO;
    for (size_t i = 0; status == JUDGEQ_OK && i < sizeof seeds / sizeof *seeds; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], seeds[i].name);
        status = write_seed(&world, &seeds[i], path, &error);
    }
    fuzz_world_free(&world);
    if (status != JUDGEQ_OK) fprintf(stderr, "%s\n", error.message);
    return status == JUDGEQ_OK ? 0 : 1;
}
