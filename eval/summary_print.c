/* A run's summary as Markdown tables, aligned so that they can be read as they are. */
#include <math.h>
#include <string.h>

#include "summary.h"

static double part(const json_t *estimate, const char *key) {
    return json_number_value(json_object_get(estimate, key));
}

static const char *text_of(const json_t *object, const char *key, const char *missing) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : missing;
}

/* "83 (70-95)" in per cent. */
static void percent(const json_t *estimate, char *out, size_t size) {
    if (!json_is_object(estimate)) {
        snprintf(out, size, "-");
        return;
    }
    snprintf(out, size, "%.0f (%.0f-%.0f)", 100 * part(estimate, "mean"), 100 * part(estimate, "low"),
             100 * part(estimate, "high"));
}

static void plain(const json_t *estimate, char *out, size_t size) {
    if (!json_is_object(estimate)) {
        snprintf(out, size, "-");
        return;
    }
    snprintf(out, size, "%.3g (%.3g-%.3g)", part(estimate, "mean"), part(estimate, "low"), part(estimate, "high"));
}

/* ---- one table: a row per policy, a column per budget ------------------------------------------------------------ */

enum { CELL_WIDTH = 13, DIFFERENCE_WIDTH = 20, NATS_WIDTH = 26, P_WIDTH = 6 };

static int wider(int width, const char *text) {
    const int n = (int)strlen(text);
    return n > width ? n : width;
}

/* Of the column that holds `key` of the rows. */
static int column_width(const json_t *rows, const char *key, const char *title) {
    int width = (int)strlen(title);
    size_t i;
    const json_t *row;
    json_array_foreach((json_t *)rows, i, row) {
        width = wider(width, text_of(row, key, ""));
    }
    return width;
}

/* A table's line below the titles: "|----". */
static void print_rule(int width, FILE *file) {
    fputc('|', file);
    for (int i = 0; i < width + 2; i++) fputc('-', file);
}

static bool same(const json_t *a, const json_t *b, const char *key) {
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

/* The row of this row's policy with the budget of row `column`, or NULL. */
static const json_t *cell(const json_t *rows, const json_t *row, const json_t *column) {
    size_t i;
    const json_t *other;
    json_array_foreach((json_t *)rows, i, other) {
        if (same(other, row, "policy") && same(other, column, "budget")) return other;
    }
    return NULL;
}

/* The rows [first, end) of the first evicting policy are the columns. */
static size_t columns_end(const json_t *rows) {
    size_t end = 1;
    while (end < json_array_size(rows) && same(json_array_get(rows, 1), json_array_get(rows, end), "policy")) end++;
    return end;
}

static void print_table(const json_t *rows, const char *measure, void (*write)(const json_t *, char *, size_t),
                        FILE *file) {
    char text[64];
    const size_t n = json_array_size(rows), end = columns_end(rows);
    const int width = column_width(rows, "policy", "policy");
    fprintf(file, "| %-*s |", width, "policy");
    for (size_t c = 1; c < end; c++) {
        snprintf(text, sizeof text, "budget %.40s", text_of(json_array_get(rows, c), "budget", "none"));
        fprintf(file, " %-*s |", CELL_WIDTH, text);
    }
    if (end == 1) fprintf(file, " %-*s |", CELL_WIDTH, measure);
    fputc('\n', file);
    print_rule(width, file);
    for (size_t c = 1; c < end + (end == 1); c++) print_rule(CELL_WIDTH, file);
    fputs("|\n", file);
    for (size_t r = 0; r < n; r++) {
        const json_t *row = json_array_get(rows, r);
        if (r > 0 && same(row, json_array_get(rows, r - 1), "policy")) continue;
        fprintf(file, "| %-*s |", width, text_of(row, "policy", "?"));
        for (size_t c = 1; c < end + (end == 1); c++) {
            const json_t *at = r == 0 ? row : cell(rows, row, json_array_get(rows, c));
            write(json_object_get(at, measure), text, sizeof text);
            fprintf(file, " %-*s |", CELL_WIDTH, text);
        }
        fputc('\n', file);
    }
}

static bool has_measure(const json_t *rows, const char *measure) {
    return json_is_object(json_object_get(json_array_get(rows, 0), measure));
}

static void print_group(const json_t *group, FILE *file) {
    const json_t *rows = json_object_get(group, "rows"), *length = json_object_get(group, "length");
    const char *length_group = json_string_value(json_object_get(group, "length_group"));
    const long long samples = json_integer_value(json_object_get(group, "samples"));
    fprintf(file, "\n### %s", text_of(group, "task", "All tasks, each task and length with the same weight"));
    if (strcmp(text_of(group, "family", ""), "grid") == 0) fputs(", over all depths", file);
    if (json_is_integer(length)) fprintf(file, ", %lld tokens", (long long)json_integer_value(length));
    if (length_group) fprintf(file, ", %s words", length_group);
    const bool scored = has_measure(rows, "score") || !has_measure(rows, "nll");
    fprintf(file, ": %s, %lld sample%s, %.0f tokens on average\n\n",
            scored ? "score in %" : "negative log-likelihood, nats per token", samples, samples == 1 ? "" : "s",
            json_number_value(json_object_get(group, "prompt_tokens")));
    print_table(rows, scored ? "score" : "nll", scored ? percent : plain, file);
}

/* "1.90", or "-". */
static void write_number(const json_t *estimate, double scale, int digits, char *out, size_t size) {
    snprintf(out, size, "-");
    if (json_is_object(estimate)) snprintf(out, size, "%.*f", digits, part(estimate, "mean") * scale);
}

/* A row for each policy and budget: what an answer costs. */
static void print_costs(const json_t *rows, FILE *file) {
    enum { RIGHT = 7, MIB = 12, SHARE = 7, SPEED = 8 };
    static const double mib = 1.0 / (1 << 20);
    const json_t *row;
    const double full = part(json_object_get(json_array_get(rows, 0), "kv_bytes_held"), "mean");
    const int policy = column_width(rows, "policy", "policy"), budget = column_width(rows, "budget", "budget");
    const int widths[] = {policy, budget, RIGHT, MIB, SHARE, MIB, SPEED};
    char held[32], share[32], peak[32], speed[32];
    size_t i;
    fprintf(file, "| %-*s | %-*s | %-*s | KV held, MiB | of full | KV peak, MiB | tokens/s |\n", policy, "policy",
            budget, "budget", RIGHT, "right");
    for (size_t c = 0; c < sizeof widths / sizeof *widths; c++) print_rule(widths[c], file);
    fputs("|\n", file);
    json_array_foreach((json_t *)rows, i, row) {
        const json_t *bytes = json_object_get(row, "kv_bytes_held");
        write_number(bytes, mib, 2, held, sizeof held);
        write_number(bytes, 100 / full, 1, share, sizeof share);
        write_number(json_object_get(row, "kv_bytes_peak"), mib, 2, peak, sizeof peak);
        write_number(json_object_get(row, "decode_tokens_per_s"), 1, 0, speed, sizeof speed);
        fprintf(file, "| %-*s | %-*s | %*lld | %*s | %*s%% | %*s | %*s |\n", policy, text_of(row, "policy", "?"),
                budget, text_of(row, "budget", "all"), RIGHT,
                (long long)json_integer_value(json_object_get(row, "right")), MIB, held, SHARE - 1, share, MIB, peak,
                SPEED, speed);
    }
}

/* Of the first group: what tells policies apart beside their scores. */
static void print_details(const json_t *group, FILE *file) {
    static const struct {
        const char *measure, *title;
        void (*write)(const json_t *, char *, size_t);
    } tables[] = {{"hit_rate", "Critical KV hit rate in %", percent},
                  {"mass_kept", "Attention mass kept in %", percent},
                  {"kl", "KL divergence from the full cache, nats per token", plain},
                  {"perplexity", "Perplexity of the full cache's answer, or of the text that goes on", plain}};
    const json_t *rows = json_object_get(group, "rows");
    const char *where = json_is_string(json_object_get(group, "task")) ? "" : ", all tasks";
    if (has_measure(rows, "kv_bytes_held")) {
        const long long samples = json_integer_value(json_object_get(group, "samples"));
        if (has_measure(rows, "score"))
            fprintf(file, "\n### Right answers of %lld, memory and speed%s\n\n", samples, where);
        else
            fprintf(file, "\n### Memory and speed; nothing was asked\n\n");
        print_costs(rows, file);
    }
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (!has_measure(rows, tables[i].measure)) continue;
        fprintf(file, "\n### %s%s\n\n", tables[i].title, where);
        print_table(rows, tables[i].measure, tables[i].write, file);
    }
}

typedef struct column {
    const char *key, *title, *otherwise; /* what stands where a row has no such text */
} column;

/* Two columns, the difference with its interval, in numbers of so many digits after multiplication, and its p. */
static void print_differences(const json_t *rows, const column columns[2], double scale, int digits, int width,
                              FILE *file) {
    const int first = column_width(rows, columns[0].key, columns[0].title);
    const int second = column_width(rows, columns[1].key, columns[1].title);
    const int widths[] = {first, second, width, P_WIDTH};
    size_t i;
    const json_t *row;
    fprintf(file, "| %-*s | %-*s | %-*s | %-*s |\n", first, columns[0].title, second, columns[1].title, width,
            "difference", P_WIDTH, "p");
    for (i = 0; i < sizeof widths / sizeof *widths; i++) print_rule(widths[i], file);
    fputs("|\n", file);
    json_array_foreach((json_t *)rows, i, row) {
        const json_t *difference = json_object_get(row, "difference");
        char text[64] = "-";
        if (json_is_object(difference)) {
            snprintf(text, sizeof text, "%+.*f (%+.*f, %+.*f)", digits, scale * part(difference, "mean"), digits,
                     scale * part(difference, "low"), digits, scale * part(difference, "high"));
        }
        fprintf(file, "| %-*s | %-*s | %-*s | %.4f |\n", first, text_of(row, columns[0].key, columns[0].otherwise),
                second, text_of(row, columns[1].key, columns[1].otherwise), width, text,
                json_number_value(json_object_get(row, "p")));
    }
}

static void print_paired(const json_t *paired, FILE *file) {
    static const column columns[] = {{"budget", "budget", ""}, {"other", "against", "?"}};
    if (json_array_size(paired) == 0) return;
    fprintf(file, "\n### %s against the others: difference of scores in percentage points\n\n",
            text_of(json_array_get(paired, 0), "policy", "?"));
    print_differences(paired, columns, 100, 1, DIFFERENCE_WIDTH, file);
}

static void print_likelihood(const json_t *likelihood, FILE *file) {
    static const column columns[] = {{"policy", "policy", "?"}, {"budget", "budget", ""}};
    if (json_array_size(likelihood) == 0) return;
    fputs("\n### Negative log-likelihood, less the full cache's: nats per token\n\n", file);
    print_differences(likelihood, columns, 1, 4, NATS_WIDTH, file);
}

static void print_left_out(json_int_t n, FILE *file) {
    if (n == 0) return;
    fprintf(file, "\n%lld sample%s of files could not be asked and %s left out: run.json says which, and why.\n",
            (long long)n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
}

bool summary_print(const json_t *summary, FILE *file) {
    size_t i;
    const json_t *group, *groups = json_object_get(summary, "groups");
    json_array_foreach((json_t *)groups, i, group) {
        print_group(group, file);
    }
    if (json_array_size(groups) > 0) print_details(json_array_get(groups, 0), file);
    print_paired(json_object_get(summary, "paired"), file);
    print_likelihood(json_object_get(summary, "likelihood"), file);
    print_left_out(json_integer_value(json_object_get(summary, "left_out")), file);
    if (json_array_size(groups) > 0) {
        fputs("\nIn brackets: 95 % bootstrap intervals. p: how often chance alone gives a difference as large "
              "(sign-flip\n"
              "permutation test of the paired differences). A budget without % is rows per layer and KV head.\n",
              file);
    }
    return fflush(file) == 0 && !ferror(file);
}
