/* reader: a session that reads tokens, and which of their rows score for its policy. */
#ifndef JUDGEQ_SRC_READER_H
#define JUDGEQ_SRC_READER_H

#include "state.h"

/* A policy's probes among the rows that are read: new rows, or soft rows after them; and their attention in the current
 * layer. */
typedef struct scorer {
    const judgeq_policy *policy;
    int32_t first[2], end[2]; /* rows [first, end): new rows, soft rows */
    bool active;
    score_map map; /* [n_head, rows held and new ones] */
} scorer;

/* scorer[0] scores for the session's policy, scorer[1] for the first policy of its lookahead. */
typedef struct reader {
    judgeq_session *session;
    scorer scorer[2];
    cache_layer *next; /* [n_layer], what stays of the layers that are done */
    score_map *sum;    /* [n_layer], the attention to it, for session->sum; or NULL */
} reader;

/* Of a read of n_new tokens with n_soft soft rows after them; `next` is left to the caller. */
judgeq_status reader_init(reader *r, judgeq_session *session, int32_t n_new, int32_t n_soft, judgeq_error *error);
/* Releases the maps. */
void reader_free(reader *r);

/* The rows [*first, *end) of the chunk [start, stop) that are probes of a scorer. No chunk has both new rows and soft
 * rows. */
bool scorer_overlap(const scorer *s, int32_t start, int32_t stop, int32_t *first, int32_t *end);

/* Maps for a layer of at most n_row rows per KV head. */
judgeq_status reader_start_layer(reader *r, int32_t index, int64_t n_row, judgeq_error *error);
/* Adds the attention [n_head of the run, rows from row0 on, n_key] that the chunk [start, stop) gave a run, whose heads
 * have n_row rows to score, to the maps of the scorers whose probes it has. data: the attention's numbers. */
void reader_add(reader *r, cache_run run, const struct ggml_tensor *attention, const float *data, int32_t row0,
                int32_t start, int32_t stop, int64_t n_row);
/* Counts the chunk's probes, once all runs were added. */
void reader_count(reader *r, int32_t start, int32_t stop);

/* Where no token is read, a window is that of the tokens decoded last: adds their attention. */
judgeq_status reader_add_window(reader *r, int32_t index, const cache_layer *staging, judgeq_error *error);

/* The session takes the sums over, once it has the layers. */
void reader_keep_sums(reader *r);

/* What stays of a layer, all of whose rows are in `staging` and scored: into r->next[index]. alone: nobody else reads,
 * so that `staging` may be taken whole, and is then zeroed. */
judgeq_status reader_retain(reader *r, int32_t index, cache_layer *staging, bool alone, judgeq_error *error);

#endif
