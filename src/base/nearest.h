/* nearest: the name that a mistyped word was meant for. */
#ifndef JUDGEQ_SRC_NEAREST_H
#define JUDGEQ_SRC_NEAREST_H

#include <stddef.h>

/*     nearest near = {.word = given};
 *     while (more) nearest_try(&near, name);
 *     near.name, or NULL where none is near. Of equally near ones the first. */
typedef struct nearest {
    const char *word;
    const char *name;
    size_t distance; /* of name from word */
} nearest;

/* A name is near if a third of its letters and one more, at most, are inserted, left out, replaced or in their
 * neighbour's place, whatever their case; or if it begins with the word. */
void nearest_try(nearest *near, const char *name);

#endif
