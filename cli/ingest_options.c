#include "ingest_options.h"

#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "values.h"

#define wrong(...) usage_wrong("ingest", __VA_ARGS__)

const command_option ingest_rows[] = {
    ROWS_OF(ingest_options, run, options_model),
    ROWS_OF(ingest_options, run, options_evict),
    ROWS_OF(ingest_options, run, options_budget),
    {"chat", 0, INTO(ingest_options, run.chat)},
    {"raw", 0, INTO(ingest_options, run.raw)},
    {"chunk", 0, INTO(ingest_options, run.session.chunk), .least = 1, .most = INT32_MAX / 2},
    {"output", 'o', INTO(ingest_options, output), .value = COMMAND_FILE},
    {0},
};

/* By whatever names. */
static bool same_file(const char *a, const char *b) {
    struct stat first, second;
    if (strcmp(a, b) == 0) return true;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

int ingest_options_read(int argc, char **argv, ingest_options *o) {
    *o = (ingest_options){.run = options_default()};
    int status = command_line_read("ingest", ingest_rows, argc, argv, o);
    if (status != 0 || o->run.help) return status;
    o->file = argv + optind;
    o->n_file = argc - optind;
    if (o->n_file == 0) return wrong("which document? judgeq ingest --budget 512 FILE... -o DOCUMENT.kv");
    if (!o->output) return wrong("where to? -o DOCUMENT.kv");
    for (int i = 0; i < o->n_file; i++) {
        if (same_file(o->file[i], o->output)) return wrong("-o \"%s\" is one of the documents", o->output);
    }
    status = options_check_shared(&o->run, "ingest");
    if (status != 0) return status;
    return options_write_policy(&o->run, "ingest", options_preset(&o->run, "judge-later"));
}

void ingest_options_free(ingest_options *o) {
    options_free(&o->run);
}
