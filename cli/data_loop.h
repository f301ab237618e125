/* data_loop: where a response begins to repeat itself. Small models fall into loops, and a loop attends to itself, not
 * to the prompt. */
#ifndef JUDGEQ_CLI_DATA_LOOP_H
#define JUDGEQ_CLI_DATA_LOOP_H

#include <stddef.h>
#include <stdint.h>

/* Shorter runs come again in good answers: "... will be held in Graz. ... will be held in Lyon." */
enum { DATA_LOOP = 16 };

/* How many of token[0..n) are left where the last DATA_LOOP of them stand before them too, and are cut off; n where
 * they do not. */
size_t data_cut_loop(const int32_t *token, size_t n);

#endif
