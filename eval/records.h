/* records: a run's folder: run.json, and samples.jsonl with a line per finished sample (docs/evaluation.md). */
#ifndef JUDGEQ_EVAL_RECORDS_H
#define JUDGEQ_EVAL_RECORDS_H

#include <jansson.h>
#include <stdio.h>

#include "judgeq.h"

typedef struct records {
    json_t *run;   /* the object of run.json */
    json_t *lines; /* key -> line */
    FILE *file;    /* samples.jsonl, locked; NULL for a folder that is only read */
    char *path;    /* its name, for messages */
} records;

/* Makes the folder if need be, reads the lines that are there, and writes run.json. Refuses, naming what differs, a
 * folder whose run had another model, judge, policies, budgets or settings: its lines could not be compared. A line
 * that was cut off is dropped. Takes a reference to `run`. Fails with IO where another run writes there. */
judgeq_status records_open(const char *folder, json_t *run, records *out, judgeq_error *error);
/* Reads a folder without writing to it. */
judgeq_status records_read(const char *folder, records *out, judgeq_error *error);
/* Writes and syncs a line, and takes a reference to it. */
judgeq_status records_add(records *records, json_t *line, judgeq_error *error);
bool records_have(const records *records, const char *key);
void records_close(records *records);

#endif
