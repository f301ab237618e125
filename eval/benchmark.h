/* benchmark: samples of the field's official files: RULER's generated lines, LongBench's folder. */
#ifndef JUDGEQ_EVAL_BENCHMARK_H
#define JUDGEQ_EVAL_BENCHMARK_H

#include "sample.h"

typedef struct benchmark {
    sample_family family;
    char *name; /* of the task */
    const metric *metric;
    int32_t n_tokens; /* of an answer */
    int32_t length;   /* of a prompt in tokens, as the file's name says it; 0: it does not */
    int32_t cut_to;   /* tokens of a prompt before its middle is cut out; 0: never */
    bool chat, first_line;
    bool by_length; /* scored apart by the line's length, as LongBench-E is */
    char *template; /* with {fields} of the line; NULL: the line's `input` as it is */
    char *path;     /* of the file */
    json_t *lines;  /* array of objects */
    json_t *places; /* array of numbers: the file's line that each of them is, from 1 */
} benchmark;

typedef struct benchmarks {
    benchmark *benchmark; /* [n] */
    size_t n;
} benchmarks;

/* Adds RULER's files: a .jsonl file, or a folder of them or of TASK/validation.jsonl or TASK/validation_LENGTH.jsonl.
 * A task with "qa" in its name counts any reference, the others all. */
judgeq_status benchmarks_add_ruler(benchmarks *all, const char *path, judgeq_error *error);
/* Adds LongBench's tasks, LongBench-E's too: its folder, with data/ and config/, or one .jsonl file with config/ beside
 * it or beside its folder. cut_to: as LongBench's max_length. */
judgeq_status benchmarks_add_longbench(benchmarks *all, const char *path, int32_t cut_to, judgeq_error *error);
void benchmarks_free(benchmarks *all);

/* "ruler/TASK/INDEX-HASH", the hash over the line; the caller's: free(). NULL without memory. */
char *benchmark_key(const benchmark *b, size_t index);
/* "FILE:LINE", for messages; the caller's: free(). NULL without memory. */
char *benchmark_place(const benchmark *b, size_t index);
/* A guess by the bytes of the line. */
int32_t benchmark_prompt_tokens(const benchmark *b, size_t index);
/* Fails with FORMAT, naming file and line, where the line holds no sample: no prompt, no reference. */
judgeq_status benchmark_sample(const benchmark *b, size_t index, sample *out, judgeq_error *error);

/* ---- for readers of files ---- */

/* Every line of b->path that is not blank. Fails with FORMAT where one is no JSON object. */
judgeq_status benchmark_read_lines(benchmark *b, judgeq_error *error);
/* Takes b, also where it fails. */
judgeq_status benchmarks_take(benchmarks *all, benchmark *b, judgeq_error *error);
void benchmark_free(benchmark *b);

#endif
