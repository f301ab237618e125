/* benchmark: samples of the field's official files: RULER's generated lines, LongBench's folder. */
#ifndef JUDGEQ_EVAL_BENCHMARK_H
#define JUDGEQ_EVAL_BENCHMARK_H

#include "sample.h"

typedef struct benchmark {
    sample_family family;
    char *name; /* of the task */
    const metric *metric;
    int32_t n_tokens; /* of an answer */
    int32_t cut_to;   /* tokens of a prompt before its middle is cut out; 0: never */
    bool chat, first_line;
    char *template; /* with {fields} of the line; NULL: the line's `input` as it is */
    json_t *lines;  /* array of objects */
} benchmark;

typedef struct benchmarks {
    benchmark *benchmark; /* [n] */
    size_t n;
} benchmarks;

/* Adds RULER's files: a .jsonl file, or a folder of TASK/validation.jsonl. A task whose name begins with "qa" counts
 * any reference, the others all. */
judgeq_status benchmarks_add_ruler(benchmarks *all, const char *path, judgeq_error *error);
/* Adds LongBench's tasks: its folder, with data/ and config/, or one .jsonl file with config/ beside it or beside its
 * folder. cut_to: as LongBench's max_length. */
judgeq_status benchmarks_add_longbench(benchmarks *all, const char *path, int32_t cut_to, judgeq_error *error);
void benchmarks_free(benchmarks *all);

/* "ruler/TASK/INDEX-HASH", the hash over the line; the caller's: free(). NULL without memory. */
char *benchmark_key(const benchmark *b, size_t index);
/* A guess by the bytes of the line. */
int32_t benchmark_prompt_tokens(const benchmark *b, size_t index);
judgeq_status benchmark_sample(const benchmark *b, size_t index, sample *out, judgeq_error *error);

#endif
