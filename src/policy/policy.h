/* policy: an eviction policy as a value: six choices, their text form, and the presets. No tensors here. policy.c has
 * the presets, writes the text form, and answers questions about a policy. policy_parse.c reads the text form; it also
 * says how many soft tokens a policy needs, since for that it has to read the text of the preset that a lookahead
 * starts from. */
#ifndef JUDGEQ_SRC_POLICY_H
#define JUDGEQ_SRC_POLICY_H

#include "judgeq.h"

/* Whose queries score the cache: any of these, joined. A count of 0 means that the probe is absent. */
typedef struct policy_probe {
    bool all;          /* every prompt row (H2O) */
    int32_t window;    /* the last `window` prompt rows; `last` is window:1 */
    bool soft;         /* the judge's soft tokens */
    int32_t n_soft;    /* how many of them; 0: as many as the judge has */
    int32_t again;     /* the prompt, read a second time in pieces of so many tokens (KVzip); alone, without others */
    int32_t response;  /* response tokens decoded from the full cache, at most (the oracle) */
    int32_t lookahead; /* pseudo tokens decoded from the rows that `first` keeps (LAQ) */
    int32_t among;     /* 0: their queries score the full cache; M: only that policy's own M x budget candidates */
    const judgeq_preset *first; /* NULL without lookahead; never a preset that itself looks ahead */
} policy_probe;

typedef enum policy_reduce { POLICY_MEAN, POLICY_MAX } policy_reduce;

typedef enum policy_smooth { POLICY_SMOOTH_NONE, POLICY_SMOOTH_MAX, POLICY_SMOOTH_AVG } policy_smooth;

typedef enum policy_allocate { POLICY_UNIFORM, POLICY_PYRAMID, POLICY_ADA } policy_allocate;

/* Tokens of a piece that is read again, unless the text says otherwise. */
enum { POLICY_AGAIN_DEFAULT = 2048 };

/* Widest smoothing, in positions. */
enum { POLICY_SMOOTH_WIDTH_MAX = 63 };

/* pyramid_ratio, ada_floor and remember are read with this many parts in one, so that integers can compute with them
 * exactly. */
enum { POLICY_FRACTION_PARTS = 10000 };

struct judgeq_policy {
    bool keep_all; /* `full`: nothing is evicted, the other choices do not matter */
    bool random; /* probe none, rows ranked by a seeded hash; without it probe none ranks by position (latest first) */
    policy_probe probe;
    policy_reduce reduce_rows;  /* over probe rows */
    policy_reduce reduce_heads; /* over the query heads of a KV head */
    policy_smooth smooth;
    int32_t smooth_width;                  /* odd; 1 where smooth is none */
    bool reduce_by_judge, smooth_by_judge; /* as the judge says; what stands above where it does not say */
    policy_allocate allocate;
    float pyramid_ratio; /* beta: the last layer's share is 1/beta of the mean layer's, 1..100 (PyramidKV, section 3) */
    float ada_floor;     /* share of the budget that every KV head has for certain, 0..1 (Ada-KV, section 3) */
    bool layers_by_judge; /* with ada: layers share out their rows as the judge says, and each keeps the floor */
    int32_t keep_sink;    /* first rows always kept, inside the budget */
    int32_t keep_recent; /* last rows always kept, inside the budget: a number, or per cent of the budget if the next is
                            set */
    bool keep_recent_percent;
    int32_t keep_turn; /* per cent of the budget that the best rows of the latest turn have for certain */
    float remember;    /* share of its last score that a row has at least when the policy chooses again, 0..1
                          (G-KV, arXiv 2512.00504) */
    char text[256];    /* canonical form */
};

/* judgeq_policy_parse into a policy of the caller's: nothing to free. */
judgeq_status policy_read(const char *text, judgeq_policy *policy, judgeq_error *error);

/* Takes what the policy leaves to the judge from the judge's own choices, "reduce=mean/mean,smooth=none" for example;
 * "" says nothing. The text form then names what was taken, so that a file that holds it means the same with another
 * judge. Fails with ARGUMENT where they are not choices of reduce and smooth. */
judgeq_status policy_take_judge(judgeq_policy *policy, const char *choices, judgeq_error *error);

/* True where no scores are needed: rows are ranked by position or at random. */
bool policy_ranks_without_scores(const judgeq_policy *policy);

/* Rows always kept under this budget: sink, cut to it, and recent, cut to what sink leaves of it. */
void policy_keep_rows(const judgeq_policy *policy, int32_t budget, int32_t *sink, int32_t *recent);

/* Writes the canonical form of the choices into policy->text. */
void policy_write_text(judgeq_policy *policy);

#endif
