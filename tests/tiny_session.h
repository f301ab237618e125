/* tiny_session: sessions of tiny models. */
#ifndef JUDGEQ_TESTS_TINY_SESSION_H
#define JUDGEQ_TESTS_TINY_SESSION_H

#include "check.h"

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

#endif
