/* reader: a session that reads tokens, and which of their rows score for its policy. */
#ifndef JUDGEQ_SRC_READER_H
#define JUDGEQ_SRC_READER_H

#include "again.h"

/* A policy's probes among the rows that are read: new rows, soft rows after them, or rows of the second reading after
 * those; and their attention in the current layer. */
typedef struct scorer {
    const judgeq_policy *policy;
    int32_t first[3], end[3]; /* rows [first, end): new rows, soft rows, rows of the second reading */
    bool active;
    score_map map; /* [n_head, rows held and new ones] */
} scorer;

/* scorer[0] scores for the session's policy, scorer[1] for the first policy of its lookahead. */
typedef struct reader {
    judgeq_session *session;
    scorer scorer[2];
    cache_layer *next;   /* [n_layer], what stays of the layers that are done */
    score_map *sum;      /* [n_layer], the attention to it, for session->sum; or NULL */
    select_kept *second; /* [n_layer], for session->second; or NULL */
    bool again;          /* it reads a second time */
} reader;

/* Of a read of n_new tokens with n_soft soft rows after them; `next` is left to the caller. */
judgeq_status reader_init(reader *r, judgeq_session *session, int32_t n_new, int32_t n_soft, judgeq_error *error);
/* Where the session's policy reads again: rows [first, end) do so. */
void reader_read_again(reader *r, int32_t first, int32_t end);
/* Releases the maps. */
void reader_free(reader *r);

/* The rows [*first, *end) of the chunk [start, stop) that are probes of a scorer. No chunk has rows of several kinds.
 */
bool scorer_overlap(const scorer *s, int32_t start, int32_t stop, int32_t *first, int32_t *end);

/* Maps for a layer of at most n_row rows per KV head. */
judgeq_status reader_start_layer(reader *r, int32_t index, int64_t n_row, judgeq_error *error);
/* What a chunk gave a run of heads. */
typedef struct reader_part {
    const cache_layer *staging; /* of which the run is */
    cache_run run;
    const float *attention; /* [n_head of the run, n_query, n_key], of the chunk's rows from row0 on */
    int64_t n_query, n_key;
    int32_t row0, start, stop; /* the chunk's rows: [start, stop) */
    int64_t n_row;             /* rows of a head that are scored */
    const again_piece *piece;  /* that the chunk is of; or NULL */
} reader_part;

/* Adds a chunk's attention to the maps of the scorers whose probes it has. */
void reader_add(reader *r, reader_part part);
/* Counts the chunk's probes, once all runs were added. */
void reader_count(reader *r, int32_t start, int32_t stop);

/* Where no token is read, a window is that of the tokens decoded last: adds their attention. */
judgeq_status reader_add_window(reader *r, int32_t index, const cache_layer *staging, judgeq_error *error);

/* The session takes the sums and the next choice over, once it has the layers. */
void reader_hand_over(reader *r);

/* What stays of a layer, all of whose rows are in `staging` and scored: into r->next[index]. alone: nobody else reads,
 * so that `staging` may be taken whole, and is then zeroed. */
judgeq_status reader_retain(reader *r, int32_t index, cache_layer *staging, bool alone, judgeq_error *error);

#endif
