/* scratch: memory that is given back all at once. What runs out is remembered: one check at the end suffices. */
#ifndef JUDGEQ_REPORT_SCRATCH_H
#define JUDGEQ_REPORT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct scratch {
    struct scratch_block *last;
    bool failed;
} scratch;

/* n zeroed items of `size` bytes; NULL, and `failed`, without memory. */
void *scratch_take(scratch *memory, size_t n, size_t size);
/* A text; "" without memory. */
__attribute__((format(printf, 2, 3))) const char *scratch_print(scratch *memory, const char *format, ...);
void scratch_free(scratch *memory);

#endif
