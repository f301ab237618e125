#include "tiny_judge.h"

#include <stdlib.h>

judgeq_judge_info tiny_judge_info(int32_t n_soft, int32_t n_embd) {
    return (judgeq_judge_info){.n_depth = 1,
                               .n_soft = n_soft,
                               .n_embd = n_embd,
                               .fingerprint = "0123456789abcdef0123456789abcdef",
                               .model_name = "a model",
                               .weight_type = "q4_1",
                               .origin = "made for a test",
                               .loss = "kl",
                               .data_hash = "0badcafe",
                               .steps = 600,
                               .heldout_loss = 0.25f,
                               .heldout_hit_rate = 0.75f};
}

judgeq_judge *tiny_judge(const judgeq_model *model, int32_t n_depth, int32_t n_soft) {
    judgeq_judge_info info = tiny_judge_info(n_soft, judgeq_model_get_info(model)->n_embd);
    info.n_depth = n_depth;
    info.fingerprint = judgeq_model_get_info(model)->fingerprint;
    const size_t n = (size_t)n_depth * (size_t)n_soft * (size_t)info.n_embd;
    float *soft = malloc(n * sizeof *soft);
    judgeq_judge *judge = NULL;
    for (size_t i = 0; soft && i < n; i++) soft[i] = (float)(i * 7919 % 1000) / 1000 - 0.5f;
    if (soft) judgeq_judge_new(soft, &info, &judge, NULL);
    free(soft);
    return judge;
}

judgeq_judge *tiny_judge_sharing(const judgeq_judge *judge, const float *share, int32_t n) {
    judgeq_judge_info about = *judgeq_judge_get_info(judge);
    judgeq_judge *out = NULL;
    about.layer_share = share;
    about.n_layer_share = n;
    return judgeq_judge_new(judgeq_judge_soft_tokens(judge), &about, &out, NULL) == JUDGEQ_OK ? out : NULL;
}
