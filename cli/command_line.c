#include "command_line.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "habits.h"
#include "judgeq.h"
#include "say.h"
#include "values.h"

enum { ROWS_MOST = 64, FIRST_NAME = 256 /* above every letter */ };

typedef struct reader {
    const char *command;
    size_t n;
    const command_option *row[ROWS_MOST];
    char *base[ROWS_MOST]; /* the struct of that row */
    bool given[ROWS_MOST];
    struct option name[ROWS_MOST + 1];
    char letters[2 * ROWS_MOST + 2];
} reader;

static void add_rows(reader *r, const command_option *table, void *into) {
    for (const command_option *row = table; row->name; row++) {
        if (row->kind == COMMAND_TABLE) {
            add_rows(r, row->table, (char *)into + row->at);
            continue;
        }
        assert(r->n < ROWS_MOST);
        const bool valued = row->kind != COMMAND_FLAG;
        r->row[r->n] = row;
        r->base[r->n] = into;
        r->name[r->n] = (struct option){row->name, valued, NULL, FIRST_NAME + (int)r->n};
        r->n++;
        if (!row->letter) continue;
        const size_t used = strlen(r->letters);
        r->letters[used] = row->letter;
        if (valued) r->letters[used + 1] = ':';
    }
}

static int take_whole(const command_given *given, int64_t *out) {
    const command_option *row = given->row;
    if (value_integer(given->value, row->least, row->most, out)) return 0;
    return usage_wrong_integer(given->command, given->option, given->value, row->least, row->most);
}

static int take_number(const command_given *given, double *out) {
    const command_option *row = given->row;
    if (value_number(given->value, row->from, row->to, out)) return 0;
    return usage_wrong(given->command, "%s \"%s\": expected a number from %g to %g", given->option, given->value,
                       row->from, row->to);
}

static int take(const command_given *given, void *place) {
    const command_kind kind = given->row->kind;
    int64_t whole = 0;
    double number = 0;
    int status = 0;
    if (kind == COMMAND_INT32 || kind == COMMAND_UINT32 || kind == COMMAND_UINT64) status = take_whole(given, &whole);
    if (kind == COMMAND_FLOAT || kind == COMMAND_DOUBLE) status = take_number(given, &number);
    if (status != 0) return status;
    switch (kind) {
    case COMMAND_FLAG:
        *(bool *)place = true;
        return 0;
    case COMMAND_TEXT:
        *(const char **)place = given->value;
        return 0;
    case COMMAND_INT32:
        *(int32_t *)place = (int32_t)whole;
        return 0;
    case COMMAND_UINT32:
        *(uint32_t *)place = (uint32_t)whole;
        return 0;
    case COMMAND_UINT64:
        *(uint64_t *)place = (uint64_t)whole;
        return 0;
    case COMMAND_FLOAT:
        *(float *)place = (float)number;
        return 0;
    case COMMAND_DOUBLE:
        *(double *)place = number;
        return 0;
    default:
        return given->row->take(given, place);
    }
}

/* The row of what getopt_long found, after a look at the spellings that it does not know. */
static size_t find_row(const reader *r, int option, int argc, char **argv) {
    const char *given = argv[optind - 1];
    for (size_t i = 0; i < r->n; i++) {
        const char *also = r->row[i]->also;
        if (!also || strcmp(given, also) != 0 || optarg != given + 2)
            continue; /* "-ngl", read as -n with the value "gl" */
        optarg = optind < argc ? argv[optind] : NULL;
        optind += optind < argc;
        return i;
    }
    if (option >= FIRST_NAME) return (size_t)(option - FIRST_NAME);
    size_t i = 0;
    while (i < r->n && r->row[i]->letter != option) i++;
    return i;
}

/* ---- what is no option of the command ------------------------------------------------------------------------------
 */

/* The row of a long name, up to a "="; n where there is none. */
static size_t row_named(const reader *r, const char *name) {
    const size_t n = strcspn(name, "=");
    size_t i = 0;
    while (i < r->n && (strlen(r->row[i]->name) != n || strncmp(r->row[i]->name, name, n) != 0)) i++;
    return i;
}

/* "-n, --tokens", "--temp" */
static const char *spelling(const command_option *row, char *text, size_t size) {
    if (row->letter)
        snprintf(text, size, "-%c, --%s", row->letter, row->name);
    else
        snprintf(text, size, "--%s", row->name);
    return text;
}

/* Whether the command knows "-x", "-xVALUE" with a spelling of its own, or "--name". */
static bool is_own(const reader *r, const char *given) {
    if (given[1] == '-') return row_named(r, given + 2) < r->n;
    for (size_t i = 0; i < r->n; i++) {
        const command_option *row = r->row[i];
        if (row->also && strcmp(row->also, given) == 0) return true;
        if (row->letter == given[1] && given[2] == '\0') return true;
    }
    return false;
}

/* What has another name here, or another number of dashes: read letter by letter, it would mean something else. */
static int check_spelling(const reader *r, const char *given) {
    char text[64];
    if (is_own(r, given)) return 0;
    const habit *h = habit_of_option(given);
    const size_t i = h && h->here ? row_named(r, h->here) : r->n;
    const int n = (int)strcspn(given, "=");
    if (i < r->n) {
        return usage_wrong(r->command, "%.*s: write %s%s%s", n, given, spelling(r->row[i], text, sizeof text),
                           h->advice ? "; " : "", h->advice ? h->advice : "");
    }
    if (h && !h->here) return usage_wrong(r->command, "%.*s: %s", n, given, h->advice);
    if (given[1] == '-' || given[2] == '\0' || row_named(r, given + 1) == r->n) return 0;
    return usage_wrong(r->command, "%.*s: write -%.*s, with two dashes", n, given, n, given);
}

/* The next argument that getopt_long will read as options. */
static const char *next_options(int argc, char **argv) {
    int i = optind;
    while (i < argc && (argv[i][0] != '-' || !argv[i][1])) i++;
    return i < argc && strcmp(argv[i], "--") != 0 ? argv[i] : NULL;
}

/* Names that begin as `given` does: "--temp, --threads"; how many. */
static int list_abbreviated(const reader *r, const char *given, char *text, size_t size) {
    int count = 0;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < r->n && used < size; i++) {
        if (strncmp(r->row[i]->name, given, strlen(given)) != 0) continue;
        used += (size_t)snprintf(text + used, size - used, "%s--%s", count++ ? ", " : "", r->row[i]->name);
    }
    return count;
}

static int refuse_long(const reader *r, const char *given) {
    char name[64], all[256];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(given + 2, "="), given + 2);
    if (list_abbreviated(r, name, all, sizeof all) > 1) {
        return usage_wrong(r->command, "--%s could be any of %s", name, all);
    }
    nearest near = {.word = name};
    for (size_t i = 0; i < r->n; i++) nearest_try(&near, r->row[i]->name);
    if (!near.name) return usage_wrong(r->command, "unknown option --%s", name);
    return usage_wrong(r->command, "unknown option --%s; did you mean --%s?", name, near.name);
}

static int refuse(const reader *r, const char *given) {
    if (optopt >= FIRST_NAME) {
        return usage_wrong(r->command, "--%s takes no value", r->row[optopt - FIRST_NAME]->name);
    }
    return optopt > 0 ? usage_wrong(r->command, "unknown option -%c", optopt) : refuse_long(r, given);
}

/* ---- the options ---------------------------------------------------------------------------------------------------
 */

static int take_found(reader *r, int option, int argc, char **argv) {
    if (option == ':') return usage_wrong(r->command, "%s needs a value", argv[optind - 1]);
    if (option == '?') return refuse(r, argv[optind - 1]);
    const size_t i = find_row(r, option, argc, argv);
    const command_option *row = r->row[i];
    if (!row) return refuse_long(r, argv[optind - 1]);
    if (row->kind != COMMAND_FLAG && !optarg) return usage_wrong(r->command, "%s needs a value", row->also);
    char name[64];
    if (r->given[i] && row->kind != COMMAND_FLAG && !row->adds_up) {
        return usage_wrong(r->command, "%s is given twice: one value is all it takes",
                           spelling(row, name, sizeof name));
    }
    r->given[i] = true;
    if (row->letter)
        snprintf(name, sizeof name, "-%c", row->letter);
    else
        snprintf(name, sizeof name, "--%s", row->name);
    return take(&(command_given){r->command, name, optarg, row}, r->base[i] + row->at);
}

/* What every command takes. */
typedef struct common_options {
    bool verbose;
} common_options;

const command_option command_common_rows[] = {{"verbose", 'v', INTO(common_options, verbose)}, {0}};

static void show_log(void *data, judgeq_log_level level, const char *line) {
    (void)data;
    (void)level;
    say("%s", line);
}

int command_line_read(const char *command, const command_option *table, int argc, char **argv, void *into) {
    reader r = {.command = command, .letters = ":"};
    common_options common = {0};
    add_rows(&r, table, into);
    add_rows(&r, command_common_rows, &common);
    opterr = 0;
    optind = 1;
    int status = 0;
    while (status == 0) {
        const char *next = next_options(argc, argv);
        status = next ? check_spelling(&r, next) : 0;
        if (status != 0) break;
        const int option = getopt_long(argc, argv, r.letters, r.name, NULL);
        if (option == -1) break;
        status = take_found(&r, option, argc, argv);
    }
    if (common.verbose) judgeq_set_log(show_log, NULL);
    return status;
}

/* ---- values of kinds of their own -------------------------------------------------------------------------------- */

const char *command_next_part(const char *at, char *part, size_t n_part) {
    const size_t n = strcspn(at, ",");
    snprintf(part, n_part, "%.*s", (int)n, n < n_part ? at : "");
    return at[n] ? at + n + 1 : NULL;
}

int command_take_list(const command_given *given, void *place) {
    command_list *list = place;
    char part[32];
    bool good = true;
    list->n = 0;
    for (const char *at = given->value; good && at;) {
        int64_t value = 0;
        at = command_next_part(at, part, sizeof part);
        good = list->n < COMMAND_LIST_MOST && value_integer(part, given->row->least, given->row->most, &value);
        if (good) list->value[list->n++] = (int32_t)value;
    }
    if (good) return 0;
    return usage_wrong(
        given->command, "%s \"%s\": expected a whole number from %lld to %lld, or up to %d of them with commas between",
        given->option, given->value, (long long)given->row->least, (long long)given->row->most, COMMAND_LIST_MOST);
}

int command_take_mib(const command_given *given, void *place) {
    int64_t mib = 0;
    const int status = take_whole(given, &mib);
    if (status == 0) *(size_t *)place = (size_t)mib << 20;
    return status;
}

int command_take_kv_type(const command_given *given, void *place) {
    return value_kv_type(given->value, place) ? 0 : usage_wrong_kv_type(given->command, given->option, given->value);
}

int command_take_slack(const command_given *given, void *place) {
    int64_t rows = JUDGEQ_SLACK_NONE;
    if (strcmp(given->value, "none") != 0 && !value_integer(given->value, 1, INT32_MAX / 2, &rows)) {
        return usage_wrong(given->command, "%s \"%s\": expected a whole number of rows, at least 1, or none",
                           given->option, given->value);
    }
    *(int32_t *)place = (int32_t)rows;
    return 0;
}

int command_take_choice(const command_given *given, void *place) {
    const char *const *choices = given->row->choices;
    char all[256] = "";
    nearest near = {.word = given->value};
    for (int i = 0; choices[i]; i++) {
        nearest_try(&near, choices[i]);
        if (strcmp(given->value, choices[i]) == 0) {
            *(int *)place = i;
            return 0;
        }
        const size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i == 0 ? "" : choices[i + 1] ? ", " : " or ", choices[i]);
    }
    return usage_wrong_choice(given->command, given->option, given->value, all, near.name);
}
