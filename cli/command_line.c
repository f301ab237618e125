#include "command_line.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "values.h"

enum { ROWS_MOST = 64, FIRST_NAME = 256 /* above every letter */ };

typedef struct reader {
    const char *command;
    size_t n;
    const command_option *row[ROWS_MOST];
    char *base[ROWS_MOST]; /* the struct of that row */
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

static int take_found(const reader *r, int option, int argc, char **argv) {
    if (option == ':') return usage_wrong(r->command, "%s needs a value", argv[optind - 1]);
    if (option == '?' && optopt > 0 && optopt < FIRST_NAME) {
        return usage_wrong(r->command, "unknown option -%c", optopt);
    }
    const size_t i = option == '?' ? r->n : find_row(r, option, argc, argv);
    const command_option *row = i < r->n ? r->row[i] : NULL;
    if (!row) return usage_wrong(r->command, "unknown option %s", argv[optind - 1]);
    if (row->kind != COMMAND_FLAG && !optarg) return usage_wrong(r->command, "%s needs a value", row->also);
    char name[64];
    if (row->letter)
        snprintf(name, sizeof name, "-%c", row->letter);
    else
        snprintf(name, sizeof name, "--%s", row->name);
    return take(&(command_given){r->command, name, optarg, row}, r->base[i] + row->at);
}

int command_line_read(const char *command, const command_option *table, int argc, char **argv, void *into) {
    reader r = {.command = command, .letters = ":"};
    add_rows(&r, table, into);
    opterr = 0;
    optind = 1;
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, r.letters, r.name, NULL)) != -1) {
        status = take_found(&r, option, argc, argv);
    }
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
    if (value_kv_type(given->value, place)) return 0;
    return usage_wrong(given->command, "%s \"%s\": expected f16, f32, q8_0 or q4_0", given->option, given->value);
}

int command_take_choice(const command_given *given, void *place) {
    const char *const *choices = given->row->choices;
    char all[256] = "";
    for (int i = 0; choices[i]; i++) {
        if (strcmp(given->value, choices[i]) == 0) {
            *(int *)place = i;
            return 0;
        }
        const size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i == 0 ? "" : choices[i + 1] ? ", " : " or ", choices[i]);
    }
    return usage_wrong(given->command, "%s \"%s\": expected %s", given->option, given->value, all);
}
