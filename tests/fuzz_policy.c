/* fuzz_policy: whatever the text, the parser refuses it with a message or gives a policy whose canonical text is read
 * as the same policy, and whose questions can be asked. */
#include "policy/policy.h"
#include "policy/select.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    judgeq_policy *policy = NULL, *again = NULL;
    judgeq_error error = {0, ""};
    if (judgeq_policy_parse(text, &policy, &error) != JUDGEQ_OK) {
        if (policy || !error.message[0]) abort();
        free(text);
        return 0;
    }
    if (judgeq_policy_parse(judgeq_policy_text(policy), &again, &error) != JUDGEQ_OK) abort();
    if (strcmp(judgeq_policy_text(policy), judgeq_policy_text(again)) != 0) abort();
    if (judgeq_policy_soft_tokens(policy) != judgeq_policy_soft_tokens(again)) abort();
    if (judgeq_policy_needs_full_cache(policy) != judgeq_policy_needs_full_cache(again)) abort();
    int32_t budgets[7];
    select_layer_budgets(policy, NULL, 7, 64, 1000, budgets);
    int64_t sum = 0;
    for (int i = 0; i < 7; i++) sum += budgets[i];
    if (sum != INT64_C(7) * 64) abort();
    judgeq_policy_free(policy);
    judgeq_policy_free(again);
    free(text);
    return 0;
}
