/* run_report: what a run says about itself: one line for people, or one JSON object. */
#ifndef JUDGEQ_CLI_RUN_REPORT_H
#define JUDGEQ_CLI_RUN_REPORT_H

#include "app/generation.h"

/* What a run used. */
typedef struct report_source {
    const char *model_path, *judge_path; /* judge_path: NULL where no judge was used */
    const judgeq_policy *policy;
    double load_s;
    int64_t n_context; /* tokens of the prompt that were read before, by judgeq ingest */
} report_source;

/* On standard error: tokens, speeds, KV memory. */
void report_summary(const report_source *source, const judgeq_stats *stats, const generation *response);

/* All of it; NULL without memory. */
json_t *report_object(const report_source *source, const judgeq_stats *stats, const generation *response);
/* On standard output, one line. False, with errno set, where that fails. */
bool report_json(const report_source *source, const judgeq_stats *stats, const generation *response);

/* A document that was read and saved. */
typedef struct report_document {
    const char *path, *model_path, *judge_path; /* path: of the file; judge_path: NULL where no judge was used */
    judgeq_snapshot_info info;                  /* the file's */
    size_t kv_bytes_peak;                       /* while it was read */
    double read_s;
} report_document;

void report_ingest(const report_document *document);
/* As report_json. */
bool report_ingest_json(const report_document *document);

/* 0 where there is nothing to divide. */
double report_per_second(int64_t n, double seconds);
/* "12.3 MiB", in `text`. */
const char *report_megabytes(char *text, size_t size, size_t bytes);

#endif
