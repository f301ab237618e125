/* trainer: the state of a training run. trainer.c takes steps and measures, trainer_start.c sets up what depends on the
 * seed, trainer_stream.c chooses examples of a set that grows, checkpoint.c writes the state and reads it. */
#ifndef JUDGEQ_SRC_TRAIN_TRAINER_H
#define JUDGEQ_SRC_TRAIN_TRAINER_H

#include "adamw.h"
#include "example_store.h"
#include "gradient.h"
#include "training_set.h"

struct judgeq_trainer {
    const judgeq_model *model;
    const judgeq_training_set *set;
    judgeq_trainer_params params; /* without the start's pointers, which are the caller's */
    gradient gradient;
    adamw optimiser;
    size_t n_value;     /* of the soft tokens */
    float *soft;        /* [n_soft, n_embd] */
    float *part;        /* [n_soft, n_embd]: gradient of one example */
    double *sum;        /* [n_value + TRAINER_COUNTS]: of the step's examples, and what is counted beside it */
    float *mean;        /* [n_soft, n_embd]: gradient of a step */
    float *map, *slope; /* [map_room]: [n_layer, n_head, n_prompt] of an example */
    float *weighed;     /* [map_room]: its target, if values weigh */
    size_t map_room;
    size_t *train, *held; /* [n_train], [n_held]: indices of examples, ascending */
    size_t *order;        /* [n_train]: `train` in the order of epoch order_epoch */
    size_t n_train, n_held;
    int64_t order_epoch;   /* -1: none yet */
    int64_t step, n_steps; /* done, in all */
    example_store store;
    judgeq_measures measures; /* the last; n_examples 0: none */
    double *layer_count;      /* [n_layer + 1], of the judge at the last step: layers.h; 0 before. Then failed ranks */
    int64_t done, total;      /* examples of the call under way, for the progress */
};

/* What ranks add up beside the gradient. */
enum { TRAINER_LOSS, TRAINER_EXAMPLES, TRAINER_SKIPPED, TRAINER_FAILED, TRAINER_COUNTS };

/* Streams of random numbers, so that no choice depends on how many numbers another one drew. */
typedef enum trainer_stream {
    TRAINER_STREAM_TOKENS = 1,
    TRAINER_STREAM_SPLIT = 2,
    TRAINER_STREAM_ORDER = 3,
    TRAINER_STREAM_REPLAY = 4
} trainer_stream;
/* A state that such a stream starts from: splitmix_next. */
uint64_t trainer_seed(const judgeq_trainer *trainer, trainer_stream stream);

/* Layers that the soft tokens have vectors for. */
int32_t trainer_depth(const judgeq_trainer *trainer);

/* Fills soft; vectors for further layers start from zero, which changes nothing. */
judgeq_status trainer_start_soft(judgeq_trainer *trainer, const judgeq_trainer_params *params, judgeq_error *error);
/* Parts the examples into train and held. */
judgeq_status trainer_split(judgeq_trainer *trainer, judgeq_error *error);
/* Puts train into the order of an epoch. */
void trainer_shuffle(judgeq_trainer *trainer, int64_t epoch);

/* Whether the set grows while the judge is trained. */
bool trainer_streams(const judgeq_trainer *trainer);
/* Fills held for such a set, n_held and n_train. */
void trainer_stream_split(judgeq_trainer *trainer);
/* order [n_accumulate]: the examples of the step to come. Forgets what no later step takes. */
void trainer_stream_order(judgeq_trainer *trainer);

#endif
