/* The attention that scores the cache is the reference's: soft rows, the observation window, the response.
 *
 * tests/golden holds what PyTorch computed in F32 over the default model's dequantised weights. On an F32 copy of the
 * model ours is the same computation and must agree closely; on the file as it is, the prompt is read with 16-bit
 * copies of its weights, and what is decoded with activations of 8 bits, so it agrees as far as these go. */
#include "float_model.h"
#include "golden.h"
#include "policy/score.h"
#include "session/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { MAP = GOLDEN_HEADS * GOLDEN_PROMPT, MAPS = GOLDEN_LAYERS * MAP };

static char model_path[1024];

/* ---- maps
 * -------------------------------------------------------------------------------------------------------------- */

static void take_map(void *data, int32_t layer, const score_map *map) {
    float *maps = data;
    assert_int_equal(map->n_head, GOLDEN_HEADS);
    assert_int_equal(map->n_row, GOLDEN_PROMPT);
    for (int i = 0; i < MAP; i++) maps[layer * MAP + i] = map->value[i] / (float)map->n_probe;
}

/* The mean attention of a policy's probes to the golden prompt, [GOLDEN_LAYERS, GOLDEN_HEADS, GOLDEN_PROMPT]. */
static float *maps_of(const judgeq_model *model, const judgeq_judge *judge, const char *text, float *logits) {
    judgeq_error error = {0};
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_session_params params = judgeq_session_default_params();
    params.policy = policy;
    params.judge = judge;
    params.budget = GOLDEN_BUDGET;
    params.kv_type = JUDGEQ_KV_F32;
    params.n_threads = 1;
    params.chunk = 100; /* so that the window spans two chunks */
    if (judgeq_session_new(model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    float *maps = calloc(MAPS, sizeof *maps);
    session_on_scores(session, take_map, maps);
    int32_t *ids = golden_tokens("ids", GOLDEN_PROMPT);
    if (judgeq_session_prefill(session, ids, GOLDEN_PROMPT, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    memcpy(logits, judgeq_session_logits(session), GOLDEN_VOCAB * sizeof *logits);
    free(ids);
    judgeq_session_free(session);
    judgeq_policy_free(policy);
    return maps;
}

/* Mean over layers and KV heads, as the reference's hit_rate(): both maps' means over each GQA group. */
static double hit_rate(const float *maps, const float *target) {
    const int group = GOLDEN_HEADS / GOLDEN_HEADS_KV;
    double sum = 0;
    for (int i = 0; i < GOLDEN_LAYERS * GOLDEN_HEADS_KV; i++) {
        float ours[GOLDEN_PROMPT] = {0}, theirs[GOLDEN_PROMPT] = {0};
        for (int h = 0; h < group; h++) {
            for (int k = 0; k < GOLDEN_PROMPT; k++) {
                ours[k] += maps[(i * group + h) * GOLDEN_PROMPT + k];
                theirs[k] += target[(i * group + h) * GOLDEN_PROMPT + k];
            }
        }
        sum += score_hit_rate(ours, theirs, GOLDEN_PROMPT, GOLDEN_BUDGET);
    }
    return sum / (GOLDEN_LAYERS * GOLDEN_HEADS_KV);
}

typedef struct bounds {
    double map_most, map_mean, logits, hit_rate;
} bounds;

static void compare(const char *path, bounds allowed) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    judgeq_judge *judge = NULL;
    char soft[1024];
    golden_path("soft-kl.npy", soft, sizeof soft);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    if (judgeq_judge_import(soft, NULL, model, &judge, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    const struct {
        const char *golden, *policy, *hit;
    } maps[] = {
        {"window", "probe=window:32,reduce=mean", "hit_window"},
        {"judge", "probe=soft:32,reduce=mean", "hit_judge"},
        {"target", "probe=response:32,reduce=mean", NULL},
    };
    float *target = golden_floats("target", MAPS), *golden_logits = golden_floats("logits", GOLDEN_VOCAB);
    float *logits = malloc(GOLDEN_VOCAB * sizeof *logits);
    for (int i = 0; i < 3; i++) {
        float *golden = golden_floats(maps[i].golden, MAPS), *ours = maps_of(model, judge, maps[i].policy, logits);
        const double most = fixture_max_difference(ours, golden, MAPS);
        const double mean = fixture_mean_difference(ours, golden, MAPS);
        const double logit = fixture_max_difference(logits, golden_logits, GOLDEN_VOCAB);
        const double hit = hit_rate(ours, target), golden_hit = maps[i].hit ? golden_value(maps[i].hit) : 1.0;
        print_message("%-7s attention differs by %.2g at most, %.2g on average; logits by %.2g; hit rate %.4f (%.4f)\n",
                      maps[i].golden, most, mean, logit, hit, golden_hit);
        assert_true(most <= allowed.map_most);
        assert_true(mean <= allowed.map_mean);
        assert_true(logit <= allowed.logits);
        assert_true(fabs(hit - golden_hit) <= allowed.hit_rate);
        free(golden);
        free(ours);
    }
    free(target);
    free(golden_logits);
    free(logits);
    judgeq_judge_free(judge);
    judgeq_model_free(model);
}

/* The same target from the public calls: a full cache that is watched while it decodes PyTorch's response. */
static void test_watched(void **state) {
    (void)state;
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    judgeq_session *session = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/f32.gguf", fixture_folder);
    assert_int_equal(float_model_write(model_path, path), 0);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_session_params params = judgeq_session_default_params();
    params.kv_type = JUDGEQ_KV_F32;
    params.n_threads = 1;
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_OK);
    int32_t *ids = golden_tokens("ids", GOLDEN_PROMPT), *answer = golden_tokens("answer", GOLDEN_ANSWER);
    assert_int_equal(judgeq_session_prefill(session, ids, GOLDEN_PROMPT, &error), JUDGEQ_OK);
    assert_int_equal(judgeq_session_decode(session, answer[0], &error), JUDGEQ_OK);
    assert_int_equal(judgeq_session_watch(session, &error), JUDGEQ_OK);
    assert_int_equal(judgeq_session_rewind(session, 0, &error), JUDGEQ_OK);
    for (int i = 0; i + 1 < GOLDEN_ANSWER; i++) {
        assert_int_equal(judgeq_session_decode(session, answer[i], &error), JUDGEQ_OK);
    }
    float *target = golden_floats("target", MAPS), *ours = malloc(MAP * sizeof *ours);
    for (int l = 0; l < GOLDEN_LAYERS; l++) {
        int64_t n_tokens;
        const float *sum = judgeq_session_watched(session, l, &n_tokens);
        assert_int_equal(n_tokens, GOLDEN_ANSWER - 1);
        for (int i = 0; i < MAP; i++) ours[i] = sum[i] / (float)n_tokens;
        assert_true(fixture_max_difference(ours, target + (size_t)l * MAP, MAP) <= 1e-5);
    }
    free(target);
    free(ours);
    free(ids);
    free(answer);
    judgeq_session_free(session);
    judgeq_model_free(model);
}

static void test_float_weights(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/f32.gguf", fixture_folder);
    assert_int_equal(float_model_write(model_path, path), 0);
    compare(path, (bounds){.map_most = 1e-5, .map_mean = 1e-7, .logits = 1e-3, .hit_rate = 1e-3});
}

static void test_file_weights(void **state) {
    (void)state;
    compare(model_path, (bounds){.map_most = 0.02, .map_mean = 5e-5, .logits = 0.6, .hit_rate = 0.02});
}

int main(void) {
    if (!judgeq_default_model_path(model_path, sizeof model_path) || access(model_path, R_OK) != 0) {
        printf("skipped: no default model at %s\n", model_path);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_weights),
        cmocka_unit_test(test_file_weights),
        cmocka_unit_test(test_watched),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
