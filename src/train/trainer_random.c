/* The random numbers of a training run: all of them follow from its seed. */
#include "trainer.h"

uint64_t trainer_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t trainer_seed(const judgeq_trainer *trainer, trainer_stream stream) {
    uint64_t state = trainer->params.seed;
    return trainer_random(&state) + (uint64_t)stream;
}
