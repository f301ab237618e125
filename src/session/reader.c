#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "bound.h"
#include "rescore.h"
#include "second.h"

/* ---- probes ------------------------------------------------------------------------------------------------------ */

static scorer scorer_of(const judgeq_policy *policy, int32_t n_new, int32_t n_soft) {
    const policy_probe *probe = &policy->probe;
    const bool by_rows = probe->all || probe->window > 0;
    scorer s = {.policy = policy};
    const int32_t rows = probe->all || probe->window > n_new ? n_new : probe->window;
    s.first[0] = n_new - rows;
    s.end[0] = n_new;
    s.first[1] = n_new;
    s.end[1] = n_new + (!probe->soft ? 0 : probe->n_soft > 0 && probe->n_soft < n_soft ? probe->n_soft : n_soft);
    s.active = !policy->keep_all && (by_rows || s.end[1] > s.first[1] || probe->again);
    return s;
}

judgeq_status reader_init(reader *r, judgeq_session *session, int32_t n_new, int32_t n_soft, judgeq_error *error) {
    r->session = session;
    r->scorer[0] = scorer_of(&session->policy, n_new, n_soft);
    if (session->policy.probe.first) r->scorer[1] = scorer_of(&session->first_policy, n_new, n_soft);
    const size_t n_layer = (size_t)session->model->info.n_layer;
    if (session->sum && !(r->sum = calloc(n_layer, sizeof *r->sum))) return error_memory(error, "summed attention");
    if (second_wanted(session) && !(r->second = calloc(n_layer, sizeof *r->second))) {
        return error_memory(error, "the rows of the next choice");
    }
    return JUDGEQ_OK;
}

void reader_read_again(reader *r, int32_t first, int32_t end) {
    r->scorer[0].first[2] = first;
    r->scorer[0].end[2] = end;
}

void reader_free(reader *r) {
    for (int i = 0; i < 2; i++) score_map_free(&r->scorer[i].map);
    score_maps_free(r->sum, r->session->model->info.n_layer);
    second_free(r->second, r->session->model->info.n_layer);
}

void reader_hand_over(reader *r) {
    second_set(r->session, r->second);
    r->second = NULL;
    if (!r->sum) return;
    score_maps_free(r->session->sum, r->session->model->info.n_layer);
    r->session->sum = r->sum;
    r->sum = NULL;
}

bool scorer_overlap(const scorer *s, int32_t start, int32_t stop, int32_t *first, int32_t *end) {
    for (int i = 0; s->active && i < 3; i++) {
        *first = s->first[i] > start ? s->first[i] : start;
        *end = s->end[i] < stop ? s->end[i] : stop;
        if (*first < *end) return true;
    }
    return false;
}

/* What the rows held have received so far, as the beginning of a map of more rows. */
static void take_sum(score_map *map, const score_map *sum) {
    const int64_t n = sum->n_row < map->n_row ? sum->n_row : map->n_row;
    for (int32_t h = 0; sum->value && h < map->n_head; h++) {
        memcpy(score_map_head(map, h), score_map_head(sum, h), (size_t)n * sizeof *map->value);
    }
    map->n_probe = sum->n_probe;
}

judgeq_status reader_start_layer(reader *r, int32_t index, int64_t n_row, judgeq_error *error) {
    const judgeq_model_info *info = &r->session->model->info;
    judgeq_status status = JUDGEQ_OK;
    for (int i = 0; status == JUDGEQ_OK && i < 2; i++) {
        scorer *s = &r->scorer[i];
        score_map_free(&s->map);
        if (!s->active) continue;
        status = score_map_init(&s->map, info->n_head, info->n_head_kv, n_row, s->policy->reduce_rows, error);
    }
    if (status == JUDGEQ_OK && r->sum && r->session->policy.remember == 0)
        take_sum(&r->scorer[0].map, &r->session->sum[index]);
    return status;
}

judgeq_status reader_add_window(reader *r, int32_t index, const cache_layer *staging, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int i = 0; status == JUDGEQ_OK && i < 2; i++) {
        scorer *s = &r->scorer[i];
        if (!s->active || s->policy->probe.all) continue;
        status = bound_score(r->session, index, staging, s->policy->probe.window, &s->map, error);
    }
    return status;
}

/* Of a head's first n_row rows, those before a position. */
static int64_t rows_before(const cache_head *head, int64_t n_row, int32_t position) {
    int64_t low = 0, high = n_row;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (head->position[middle] < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A row that is read again shares its attention out among its piece, the second reading so far, and what was there
 * before all that is read again, or the first rows that the policy keeps. */
static void add_again(scorer *s, const reader_part *part) {
    const again_piece *piece = part->piece;
    const int32_t group = s->map.n_head / s->map.n_head_kv;
    const int32_t before = piece->from > s->policy->keep_sink ? piece->from : s->policy->keep_sink;
    for (int32_t h = 0; h < part->run.n_head; h++) {
        const cache_head *head = &part->staging->head[part->run.first_head + h];
        const score_among among = {.before =
                                       rows_before(head, part->n_row, before < piece->first ? before : piece->first),
                                   .first = rows_before(head, part->n_row, piece->first),
                                   .end = rows_before(head, part->n_row, piece->end),
                                   .own = part->n_row,
                                   .stop = part->run.n_row};
        score_map of_head = score_map_part(&s->map, part->run.first_head + h, 1);
        score_map_add_among(&of_head, part->attention + (int64_t)h * group * part->n_query * part->n_key,
                            part->stop - part->row0, part->n_key, part->n_query * part->n_key, among);
    }
}

static bool counts(const judgeq_session *session, int32_t row) {
    return !session->counted || row < session->counted_from || session->counted[row - session->counted_from];
}

/* The end of the rows from `first` on that all count; *first becomes the first of them. */
static int32_t run_of_counted(const judgeq_session *session, int32_t *first, int32_t end) {
    while (*first < end && !counts(session, *first)) ++*first;
    int32_t stop = *first;
    while (stop < end && counts(session, stop)) stop++;
    return stop;
}

void reader_add(reader *r, reader_part part) {
    const double clock = clock_seconds();
    const int64_t n_row = part.n_key < part.n_row ? part.n_key : part.n_row;
    for (int i = 0; i < 2; i++) {
        scorer *s = &r->scorer[i];
        int32_t first, end;
        if (!scorer_overlap(s, part.start, part.stop, &first, &end)) continue;
        if (part.piece) {
            add_again(s, &part);
            continue;
        }
        score_map of_run = score_map_part(&s->map, part.run.first_head, part.run.n_head);
        for (int32_t stop; (stop = run_of_counted(r->session, &first, end)) > first; first = stop) {
            score_map_add(&of_run, part.attention + (int64_t)(first - part.row0) * part.n_key, stop - first, part.n_key,
                          part.n_key * part.n_query, 0, n_row);
        }
    }
    r->session->stats.score_s += clock_seconds() - clock;
}

void reader_count(reader *r, int32_t start, int32_t stop) {
    for (int i = 0; i < 2; i++) {
        int32_t first, end;
        if (!scorer_overlap(&r->scorer[i], start, stop, &first, &end)) continue;
        for (int32_t last; (last = run_of_counted(r->session, &first, end)) > first; first = last) {
            score_map_counts(&r->scorer[i].map, last - first);
        }
    }
}

/* ---- what stays of a layer --------------------------------------------------------------------------------------- */

/* Candidates a lookahead chooses among: M x budget, or all rows. */
static int32_t first_budget(const judgeq_session *session, int32_t index) {
    const int64_t among = session->policy.probe.among > 0 ? session->policy.probe.among : 1;
    const int64_t rows = among * session->layer_budget[index];
    return rows > session->n_prompt ? session->n_prompt : (int32_t)rows;
}

/* The type of what a read leaves of a layer: policies that look ahead have yet to choose, and do so among floats. */
static enum ggml_type left_type(const judgeq_session *session) {
    return session_looks_ahead(session) ? session_read_type(session) : session->kv_type;
}

/* All of the layer: the staging itself for a reader that is alone, a copy otherwise. */
static judgeq_status take_all(reader *r, int32_t index, cache_layer *staging, bool alone, judgeq_error *error) {
    judgeq_session *session = r->session;
    if (!alone || left_type(session) != staging->type) {
        return rescore_gather(session, index, staging, NULL, left_type(session), &r->next[index], error);
    }
    r->next[index] = *staging;
    r->next[index].meter = &session->meter;
    *staging = (cache_layer){0};
    return JUDGEQ_OK;
}

/* A scorer's scores; none where it has no probe. */
static judgeq_status score(reader *r, const scorer *s, int32_t index, const cache_layer *staging, score_map *out,
                           judgeq_error *error) {
    return rescore_score(r->session, s->policy, s->active ? &s->map : NULL, staging, index, out, error);
}

/* What is kept of the scores, for the choices to come: the attention of the policy's own probes, for a lookahead or
 * for those that add it up; or the scores. */
static judgeq_status take_scores(reader *r, int32_t index, const score_map *scores, const select_kept *kept,
                                 score_map *prior, judgeq_error *error) {
    const scorer *own = &r->scorer[0];
    if (r->sum) prior = &r->sum[index];
    if (!prior || !own->active) return JUDGEQ_OK;
    if (r->session->policy.remember > 0) return rescore_remember(scores, kept, prior, error);
    return rescore_take(&own->map, kept, prior, error);
}

/* The rows that a scorer's policy keeps, and, if prior is not NULL, the attention of the policy's own probes to them.
 */
static judgeq_status take_kept(reader *r, scorer *s, int32_t index, int32_t budget, const cache_layer *staging,
                               score_map *prior, judgeq_error *error) {
    judgeq_session *session = r->session;
    select_kept kept = {0};
    score_map scores;
    judgeq_status status = score(r, s, index, staging, &scores, error);
    if (status == JUDGEQ_OK) {
        status = rescore_select(session, s->policy, &scores, staging, index, budget, &kept,
                                second_budget(session, index), r->second ? &r->second[index] : NULL, error);
    }
    if (status == JUDGEQ_OK) status = take_scores(r, index, &scores, &kept, prior, error);
    if (status == JUDGEQ_OK) {
        status = rescore_gather(session, index, staging, &kept, left_type(session), &r->next[index], error);
    }
    score_map_free(&scores);
    select_kept_free(&kept);
    return status;
}

/* Keeps all of a layer, for a policy that looks ahead over the full cache, and notes which rows its first policy, if it
 * has one, would keep. */
static judgeq_status take_full(reader *r, int32_t index, cache_layer *staging, bool alone, judgeq_error *error) {
    judgeq_session *session = r->session;
    scorer *first = &r->scorer[1];
    score_map scores = {0};
    judgeq_status status = JUDGEQ_OK;
    if (first->policy) {
        status = score(r, first, index, staging, &scores, error);
        if (status == JUDGEQ_OK) {
            status = rescore_select(session, first->policy, &scores, staging, index, first_budget(session, index),
                                    &session->first_kept[index], 0, NULL, error);
        }
        score_map_free(&scores);
    }
    if (status == JUDGEQ_OK) status = take_all(r, index, staging, alone, error);
    session->prior[index] = r->scorer[0].map;
    r->scorer[0].map = (score_map){0};
    return status;
}

judgeq_status reader_retain(reader *r, int32_t index, cache_layer *staging, bool alone, judgeq_error *error) {
    judgeq_session *session = r->session;
    scorer *own = &r->scorer[0], *first = &r->scorer[1];
    if (own->active && session->score_hook) session->score_hook(session->score_hook_data, index, &own->map);
    if (session->policy.keep_all) return take_all(r, index, staging, alone, error);
    if (!session_looks_ahead(session)) {
        return take_kept(r, own, index, session->layer_budget[index], staging, NULL, error);
    }
    if (judgeq_policy_needs_full_cache(&session->policy)) return take_full(r, index, staging, alone, error);
    return take_kept(r, first, index, first_budget(session, index), staging, &session->prior[index], error);
}
