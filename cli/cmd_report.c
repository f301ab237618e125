/* judgeq report: the results of an evaluation as a web page and pictures. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "command_line.h"
#include "commands.h"
#include "exit_status.h"
#include "report/gallery.h"
#include "report/page.h"
#include "say.h"
#include "values.h"

static const char HELP[] =
    "Usage: judgeq report DIR [OPTIONS]\n"
    "\n"
    "Shows what judgeq eval left in DIR: writes DIR/report.html, one page that needs no network, and the pictures in "
    "it as\n"
    "SVG and PNG files in DIR/pictures. A run that is not finished is shown as far as it is. Damaged records are left "
    "out and\n"
    "counted. Needs gnuplot.\n"
    "\n"
    "  -o, --output FILE  the page (default: DIR/report.html)\n"
    "      --pictures P   folder of the pictures (default: DIR/pictures)\n"
    "      --versus P     the policy that is tested against the others (default: the last one of the run)\n"
    "      --json         write the tables and the names of the pictures to standard output, as one JSON object\n"
    "      --quiet        nothing on standard error but errors\n"
    "  -h, --help         this text\n"
    "\n"
    "Example\n"
    "  judgeq eval needle_text --policies snapkv,judge --budgets 64,128 -o results\n"
    "  judgeq report results\n";

#define wrong(...) usage_wrong("report", __VA_ARGS__)

typedef struct report_options {
    bool help, json, quiet;
    const char *folder, *output, *pictures, *versus;
} report_options;

const command_option report_rows[] = {{"output", 'o', INTO(report_options, output), .value = COMMAND_FILE},
                                      {"pictures", 0, INTO(report_options, pictures), .value = COMMAND_FOLDER},
                                      {"versus", 0, INTO(report_options, versus), .value = COMMAND_POLICY},
                                      {"json", 0, INTO(report_options, json)},
                                      {"quiet", 0, INTO(report_options, quiet)},
                                      {"help", 'h', INTO(report_options, help)},
                                      {0}};

static int read_options(int argc, char **argv, report_options *o) {
    *o = (report_options){0};
    const int status = command_line_read("report", report_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    if (optind == argc) return wrong("which folder? The one that judgeq eval wrote to with -o");
    if (optind + 1 < argc) return wrong("one folder at a time, what is \"%s\"?", argv[optind + 1]);
    o->folder = argv[optind];
    return 0;
}

/* ---- what the page holds ----------------------------------------------------------------------------------------- */

/* A line without what no one reads there: the page would be several times as large. */
static json_t *short_line(const json_t *line) {
    json_t *copy = json_deep_copy(line), *result;
    size_t i;
    json_array_foreach(json_object_get(copy, "results"), i, result) {
        json_object_del(result, "layers");
        json_object_del(result, "heads");
        json_object_del(result, "policy_text");
    }
    return copy;
}

static json_t *samples_array(const results *r) {
    json_t *array = json_array();
    for (size_t i = 0; i < r->n_line; i++) {
        if (json_array_append_new(array, short_line(r->line[i])) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

/* Takes `pictures`. */
static json_t *page_object(const results *r, const report_options *o, json_t *pictures) {
    const char *policies = r->policy[r->n_policy - 1].name;
    return json_pack("{s:O, s:O, s:O, s:s, s:o, s:o}", "run", r->records.run, "summary", r->summary, "damaged",
                     r->damaged, "versus", o->versus ? o->versus : policies, "pictures", pictures, "samples",
                     samples_array(r));
}

/* The page's object without the answers and the drawings themselves. */
static bool print_json(const json_t *data, const char *folder) {
    json_t *files = json_array(), *one;
    size_t i;
    json_array_foreach(json_object_get(data, "pictures"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        json_array_append_new(files, json_sprintf("%s/%s.svg", folder, name));
        json_array_append_new(files, json_sprintf("%s/%s.png", folder, name));
    }
    json_t *object =
        json_pack("{s:O, s:O, s:O, s:o}", "run", json_object_get(data, "run"), "summary",
                  json_object_get(data, "summary"), "damaged", json_object_get(data, "damaged"), "pictures", files);
    const bool printed = object && say_json(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) && fflush(stdout) == 0;
    json_decref(object);
    return printed;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

typedef struct paths {
    char *output, *pictures; /* owned */
} paths;

static judgeq_status find_paths(const report_options *o, paths *out, judgeq_error *error) {
    const bool made =
        asprintf(&out->output, "%s%s", o->output ? o->output : o->folder, o->output ? "" : "/report.html") >= 0;
    const bool both = made && asprintf(&out->pictures, "%s%s", o->pictures ? o->pictures : o->folder,
                                       o->pictures ? "" : "/pictures") >= 0;
    return both ? JUDGEQ_OK : error_file(error, JUDGEQ_ERROR_MEMORY, o->folder, "out of memory");
}

static judgeq_status draw(const results *r, const char *folder, json_t **pictures, judgeq_error *error) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return error_file(error, JUDGEQ_ERROR_IO, folder, strerror(errno));
    gallery g = {0};
    gallery_add_accuracy(&g, r);
    gallery_add_frontier(&g, r);
    gallery_add_needles(&g, r);
    gallery_add_layers(&g, r);
    const judgeq_status status = gallery_draw(&g, folder, pictures, error);
    gallery_free(&g);
    return status;
}

static judgeq_status report(const report_options *o, const results *r, judgeq_error *error) {
    paths p = {0};
    json_t *pictures = NULL, *data = NULL;
    judgeq_status status = find_paths(o, &p, error);
    if (status == JUDGEQ_OK) status = file_check_output(p.output, error);
    if (status == JUDGEQ_OK) status = file_check_folder(p.pictures, error);
    if (status == JUDGEQ_OK) status = draw(r, p.pictures, &pictures, error);
    const size_t n = json_array_size(pictures);
    if (status == JUDGEQ_OK) {
        data = page_object(r, o, pictures);
        status = data ? page_write(&page_report, data, p.output, error)
                      : error_file(error, JUDGEQ_ERROR_MEMORY, p.output, "out of memory for the page");
    }
    if (status == JUDGEQ_OK && o->json && !print_json(data, p.pictures)) {
        status = error_file(error, JUDGEQ_ERROR_IO, "cannot write to standard output", strerror(errno));
    }
    if (status == JUDGEQ_OK && !o->quiet) {
        say("wrote %s, and %zu pictures in %s", p.output, n, p.pictures);
    }
    json_decref(data);
    free(p.output);
    free(p.pictures);
    return status;
}

/* The first few, and how many there are. */
static void say_damaged(const results *r) {
    enum { SAID = 3 };
    const size_t n = json_array_size(r->damaged);
    if (n == 0) return;
    say("left out %zu of %zu records, which are damaged:", n, n + r->n_line);
    for (size_t i = 0; i < n && i < SAID; i++) {
        const json_t *one = json_array_get(r->damaged, i);
        say("  %.*s: %s", VISIBLE_FIT(json_string_value(json_object_get(one, "key")), 100),
            json_string_value(json_object_get(one, "reason")));
    }
    if (n > SAID) say("  and %zu more: the page has them all", n - SAID);
}

int cmd_report(int argc, char **argv) {
    report_options o;
    const int usage = read_options(argc, argv, &o);
    if (usage != 0) return usage;
    if (o.help) {
        fputs(HELP, stdout);
        return 0;
    }
    results r;
    judgeq_error error = {0};
    judgeq_status status = results_load(o.folder, o.versus, &r, &error);
    if (status == JUDGEQ_OK) {
        if (!o.quiet) say_damaged(&r);
        status = report(&o, &r, &error);
        results_free(&r);
    }
    return exit_with(status, &error);
}
