/* tiny_session: sessions of tiny models. */
#ifndef JUDGEQ_TESTS_TINY_SESSION_H
#define JUDGEQ_TESTS_TINY_SESSION_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fixture.h"
#include "tiny_judge.h"
#include "tiny_model.h"

/* A session with params and the policy of this text. The test fails where it cannot be made. */
static inline judgeq_session *tiny_session(const judgeq_model *model, const char *text, judgeq_session_params params) {
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    CHECK(judgeq_policy_parse(text, &policy, error));
    params.policy = policy;
    CHECK(judgeq_session_new(model, &params, &session, error));
    judgeq_policy_free(policy);
    return session;
}

/* Both hold the rows of the same positions, in every layer and head; otherwise the test fails, and says `what`. */
static inline void tiny_same_rows(const judgeq_model *model, const judgeq_session *a, const judgeq_session *b,
                                  const char *what) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n, m;
            const int32_t *x = judgeq_session_positions(a, l, h, &n), *y = judgeq_session_positions(b, l, h, &m);
            if (n != m || memcmp(x, y, n * sizeof *x) != 0) fail_msg("%s: layer %d, head %d keeps others", what, l, h);
        }
    }
}

/* The same logits, bit for bit, or both none. */
static inline void tiny_same_logits(const judgeq_model *model, const judgeq_session *a, const judgeq_session *b,
                                    const char *what) {
    const size_t size = (size_t)judgeq_model_get_info(model)->n_vocab * sizeof(float);
    const float *x = judgeq_session_logits(a), *y = judgeq_session_logits(b);
    if (!x != !y || (x && memcmp(x, y, size) != 0)) fail_msg("%s: other logits", what);
}

/* The same bytes. */
static inline void tiny_same_files(const char *a, const char *b, const char *what) {
    size_t n, m;
    char *x = fixture_read(a, &n), *y = fixture_read(b, &m);
    assert_non_null(x);
    assert_non_null(y);
    if (n != m) fail_msg("%s: the files have %zu and %zu bytes", what, n, m);
    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i]) fail_msg("%s: the files differ at byte %zu of %zu", what, i, n);
    }
    free(x);
    free(y);
}

/* The fixture's folder with a model of this name in tiny_specs.c, whose context is n_ctx. 0, or -1 where that fails,
 * for a group's set-up. */
static inline int tiny_set_up(void **state, const char *name, int32_t n_ctx, judgeq_model **model) {
    tiny_spec spec;
    if (!tiny_spec_find(name, &spec) || fixture_set_up(state) != 0) return -1;
    spec.n_ctx = n_ctx;
    if (tiny_model_write(&spec, fixture_model) != 0) return -1;
    return judgeq_model_load(fixture_model, model, NULL) == JUDGEQ_OK ? 0 : -1;
}

/* A judge of n_soft tokens for it, and tokens [n] to read: the end of a group's set-up. */
static inline int tiny_set_up_prompt(const judgeq_model *model, int32_t n_soft, judgeq_judge **judge, int32_t *token,
                                     int32_t n) {
    *judge = tiny_judge(model, 1, n_soft);
    tiny_prompt(5, judgeq_model_get_info(model)->n_vocab, token, n);
    return *judge ? 0 : -1;
}

static inline int tiny_tear_down(void **state, judgeq_model *model, judgeq_judge *judge) {
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

#endif
