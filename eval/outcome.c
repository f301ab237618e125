#include "outcome.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

void outcome_begin(outcome *o, const judgeq_session *session) {
    judgeq_session_get_stats(session, &o->before);
}

static void add_stats(outcome *o, const judgeq_session *session) {
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    o->bytes_held += stats.kv_bytes_held;
    if (stats.kv_bytes_peak > o->bytes_peak) o->bytes_peak = stats.kv_bytes_peak;
    if (stats.kv_bytes_full > o->bytes_full) o->bytes_full = stats.kv_bytes_full;
    o->decode_s += stats.decode_s - o->before.decode_s;
    o->n_decoded += stats.n_decoded - o->before.n_decoded;
    o->n_answer++;
}

judgeq_status outcome_add(outcome *o, const sample *s, const json_t *references, const answer *a, judgeq_error *error) {
    size_t n = 0;
    char *words = answer_scored(a, &n);
    if (!words) return error_memory(error, "an answer");
    if (json_array_size(o->scores) > 0) text_print(&o->said, "\n");
    text_add(&o->said, words, n);
    for (size_t i = 0; i < n; i++) {
        if (words[i] == '\0') words[i] = '\n'; /* as RULER's scripts have it; metrics read terminated texts */
    }
    const double score = metric_score(s->metric, words, references, s->classes);
    free(words);
    if (!o->scores) o->scores = json_array();
    const bool added = !isnan(score) && json_array_append_new(o->scores, json_real(score)) == 0;
    if (!added || o->said.failed) return error_memory(error, "an answer");
    o->n_token += a->n_token;
    add_stats(o, a->session);
    return JUDGEQ_OK;
}

void outcome_note(outcome *o, const judgeq_session *session, size_t n_token) {
    o->n_token += n_token;
    add_stats(o, session);
}

double outcome_score(const outcome *o) {
    const size_t n = json_array_size(o->scores);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += json_real_value(json_array_get(o->scores, i));
    return n > 0 ? sum / (double)n : NAN;
}

void outcome_free(outcome *o) {
    text_free(&o->said);
    json_decref(o->scores);
    *o = (outcome){0};
}
