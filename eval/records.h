/* records: a run's folder: run.json, and samples.jsonl with a line per finished sample (docs/evaluation.md). Of several
 * processes (ranks) that share a run, the first writes these, and the others samples.RANK.jsonl, until the first takes
 * their lines. */
#ifndef JUDGEQ_EVAL_RECORDS_H
#define JUDGEQ_EVAL_RECORDS_H

#include <jansson.h>
#include <stdio.h>

#include "judgeq.h"

typedef struct records {
    json_t *run;     /* the object of run.json */
    json_t *lines;   /* key -> line */
    json_t *damaged; /* {"key": the place "samples.jsonl:7", "reason"} of lines that are none */
    FILE *file;      /* samples.jsonl, locked, or another rank's; NULL for a folder that is only read */
    bool has_others; /* files of other ranks were there when it was opened */
    char *folder;
    char *path; /* the file's name, for messages */
} records;

/* Makes the folder if need be, reads the lines that are there, gathers those that ranks have left, and writes run.json.
 * Refuses, naming what differs, a folder with lines of a run that had another model, judge, policies, budgets or
 * settings: they could not be compared. A last line that was cut off is dropped, and one that is damaged is passed
 * over: its sample is asked anew. Takes a reference to `run`. Fails with IO where another run writes there. */
judgeq_status records_open(const char *folder, json_t *run, records *out, judgeq_error *error);
/* For a rank from 1 on, after the first has opened the folder: reads what is there, and writes to a file of its own. */
judgeq_status records_join(const char *folder, json_t *run, int32_t rank, records *out, judgeq_error *error);
/* For the first, when no other writes: takes the lines of the other ranks' files, and removes these. */
judgeq_status records_gather(records *records, judgeq_error *error);
/* Reads a folder without writing to it. */
judgeq_status records_read(const char *folder, records *out, judgeq_error *error);
/* run.json again, where its object has changed. */
judgeq_status records_write_run(const records *records, judgeq_error *error);
/* Writes and syncs a line, and takes a reference to it. */
judgeq_status records_add(records *records, json_t *line, judgeq_error *error);
bool records_have(const records *records, const char *key);
void records_close(records *records);

#endif
