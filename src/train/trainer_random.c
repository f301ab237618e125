/* The random numbers of a training run: all of them follow from its seed. */
#include "base/splitmix.h"
#include "trainer.h"

uint64_t trainer_seed(const judgeq_trainer *trainer, trainer_stream stream) {
    uint64_t state = trainer->params.seed;
    return splitmix_next(&state) + (uint64_t)stream;
}
