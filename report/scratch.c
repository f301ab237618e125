#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct scratch_block {
    struct scratch_block *before;
    max_align_t bytes[];
} scratch_block;

void *scratch_take(scratch *memory, size_t n, size_t size) {
    const bool fits = size == 0 || n <= (SIZE_MAX - sizeof(scratch_block)) / size;
    scratch_block *block = fits ? calloc(1, sizeof *block + n * size) : NULL;
    if (!block) {
        memory->failed = true;
        return NULL;
    }
    block->before = memory->last;
    memory->last = block;
    return block->bytes;
}

const char *scratch_print(scratch *memory, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length >= 0 ? scratch_take(memory, (size_t)length + 1, 1) : NULL;
    if (!text) return "";
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

void scratch_free(scratch *memory) {
    while (memory->last) {
        scratch_block *block = memory->last;
        memory->last = block->before;
        free(block);
    }
}
