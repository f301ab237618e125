#include "logprobs.h"

#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"

/* ln of the sum of exp(logit): what is subtracted from a logit. */
static double log_total(const float *logits, int32_t n) {
    float most = logits[0];
    for (int32_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}

static json_t *byte_array(const char *bytes, int32_t n) {
    json_t *array = json_array();
    for (int32_t i = 0; array && i < n; i++) json_array_append_new(array, json_integer((unsigned char)bytes[i]));
    return array;
}

/* {token, logprob, bytes}; NULL without memory. */
static json_t *token_object(const judgeq_model *model, int32_t token, double logprob) {
    int32_t n = judgeq_token_text(model, token, NULL, 0);
    n = n < 0 ? -n : n;
    char *bytes = malloc((size_t)n + 1);
    if (!bytes) return NULL;
    judgeq_token_text(model, token, bytes, n);
    size_t length = 0;
    char *text = utf8_repaired(bytes, (size_t)n, &length);
    json_t *object =
        text ? json_pack("{s:s%, s:f, s:o}", "token", text, length, "logprob", logprob, "bytes", byte_array(bytes, n))
             : NULL;
    free(text);
    free(bytes);
    return object;
}

/* The k likeliest tokens, the likeliest first, and the lower id first of two alike. best [k]; the number found. */
static int32_t find_best(const float *logits, int32_t n, int32_t *best, int32_t k) {
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++) {
        if (found == k && (k == 0 || logits[i] <= logits[best[k - 1]])) continue;
        int32_t at = found < k ? found++ : k - 1;
        for (; at > 0 && logits[i] > logits[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = i;
    }
    return found;
}

bool logprobs_append(json_t *array, const judgeq_model *model, const float *logits, int32_t token, int32_t k) {
    const int32_t n_vocab = judgeq_model_get_info(model)->n_vocab;
    const double total = log_total(logits, n_vocab);
    int32_t *best = calloc((size_t)k + 1, sizeof *best);
    json_t *object = token_object(model, token, logits[token] - total), *top = json_array();
    bool done = best && object && top;
    const int32_t n = done ? find_best(logits, n_vocab, best, k) : 0;
    for (int32_t i = 0; done && i < n; i++) {
        done = json_array_append_new(top, token_object(model, best[i], logits[best[i]] - total)) == 0;
    }
    free(best);
    done = done && json_object_set(object, "top_logprobs", top) == 0 && json_array_append(array, object) == 0;
    json_decref(top);
    json_decref(object);
    return done;
}
