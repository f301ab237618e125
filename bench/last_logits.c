/* last_logits: what the model says after prompts, for bench/distance.py: logits as F32, a row of [n_vocab] for each
 * prompt, on standard output.
 *
 *   last_logits MODEL TOKENS THREADS FIRST:N...      prompts: tokens [FIRST, FIRST + N) of a file of int32
 */
#include <judgeq.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

static judgeq_status write_logits(const judgeq_model *model, int32_t n_threads, const int32_t *tokens, size_t n,
                                  judgeq_error *error) {
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_session *session = NULL;
    params.n_threads = n_threads;
    judgeq_status status = judgeq_session_new(model, &params, &session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, tokens, n, error);
    if (status == JUDGEQ_OK) {
        fwrite(judgeq_session_logits(session), sizeof(float), (size_t)judgeq_model_get_info(model)->n_vocab, stdout);
    }
    judgeq_session_free(session);
    return status;
}

int main(int argc, char **argv) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    file_mapping map = {0};
    if (argc < 5) {
        fputs("last_logits: MODEL TOKENS THREADS FIRST:N...\n", stderr);
        return 2;
    }
    judgeq_status status = judgeq_model_load(argv[1], &model, &error);
    if (status == JUDGEQ_OK) status = file_map(argv[2], &map, &error);
    for (int i = 4; status == JUDGEQ_OK && i < argc; i++) {
        char *colon = NULL;
        const size_t first = strtoull(argv[i], &colon, 10), n = *colon ? strtoull(colon + 1, NULL, 10) : 0;
        const size_t all = map.size / sizeof(int32_t);
        if (n == 0 || first > all || n > all - first) {
            fprintf(stderr, "last_logits: %s: no such tokens\n", argv[i]);
            return 2;
        }
        status = write_logits(model, (int32_t)strtol(argv[3], NULL, 10), (const int32_t *)map.data + first, n, &error);
    }
    if (status != JUDGEQ_OK) fprintf(stderr, "last_logits: %s\n", error.message);
    file_unmap(&map);
    judgeq_model_free(model);
    return status == JUDGEQ_OK && fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
