/* example_store: constants and targets of examples, made once and needed again in every epoch, in a file without a
 * name. The system keeps as much of it in memory as there is room for, and takes that memory back where it is needed.
 */
#ifndef JUDGEQ_SRC_TRAIN_EXAMPLE_STORE_H
#define JUDGEQ_SRC_TRAIN_EXAMPLE_STORE_H

#include "engine/graph.h"
#include "example.h"

typedef struct example_store {
    int file;           /* -1 or 0 (zeroed): there is none, and nothing is kept */
    size_t most, bytes; /* that examples may take, and take */
    int64_t end;        /* of the file */
    int64_t *offset;    /* [n]: of every example; -1: not kept */
    size_t n;
} example_store;

/* For at most most_bytes of examples, in a file that is made in `folder` and loses its name at once. folder NULL or
 * most_bytes 0: keeps nothing. IO where no file can be made there. */
judgeq_status example_store_init(example_store *store, const char *folder, size_t most_bytes, judgeq_error *error);
/* Accepts a zeroed store. */
void example_store_free(example_store *store);

/* Makes room for n examples; those that are there stay. */
judgeq_status example_store_grow(example_store *store, size_t n, judgeq_error *error);

/* Keeps a copy of example `index`, which the store has not. A store or a disk that is full keeps it not; that is no
 * failure. */
void example_store_put(example_store *store, size_t index, const example *e);
/* Forgets it, if it is there, and gives its place on the disk back. */
void example_store_drop(example_store *store, size_t index);

/* *out: the example, the caller's; NULL where the store has it not. `backend`: what shall hold its rows. */
judgeq_status example_store_take(const example_store *store, size_t index, ggml_backend_t backend, example **out,
                                 judgeq_error *error);

#endif
