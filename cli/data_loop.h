/* data_loop: where a response begins to repeat itself. Small models fall into loops, and a loop attends to itself, not
 * to the prompt. */
#ifndef JUDGEQ_CLI_DATA_LOOP_H
#define JUDGEQ_CLI_DATA_LOOP_H

#include <jansson.h>
#include <stdbool.h>

/* Shorter runs come again in good answers: "... will be held in Graz. ... will be held in Lyon." */
enum { DATA_LOOP = 16 };

/* Whether the last DATA_LOOP of the tokens (an array of integers) stand before them too; if so, they are cut off. */
bool data_cut_loop(json_t *tokens);

#endif
