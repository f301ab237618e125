#include "kept_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "values.h"

#define wrong(...) usage_wrong("inspect", __VA_ARGS__)

static int take_policy(const command_given *given, void *place) {
    kept_options *o = place;
    if (o->n_policy == KEPT_POLICIES_MOST) return wrong("--policy can be given %d times", KEPT_POLICIES_MOST);
    o->given[o->n_policy++] = given->value;
    return 0;
}

/* "64" or "64,128,5%" */
static int take_budgets(const command_given *given, void *place) {
    kept_options *o = place;
    for (const char *at = given->value; at;) {
        if (o->n_budget == KEPT_BUDGETS_MOST) return wrong("--budget takes %d budgets", KEPT_BUDGETS_MOST);
        kept_budget *budget = &o->budget[o->n_budget++];
        at = command_next_part(at, budget->text, sizeof budget->text);
        if (!value_budget(budget->text, &budget->rows, &budget->fraction)) {
            return usage_wrong_budget(given->command, given->option, given->value);
        }
    }
    return 0;
}

const command_option kept_rows[] = {
    ROWS_OF(kept_options, run, options_shared),
    {"kept", 0, INTO(kept_options, kept)},
    {"policy", 0, TAKEN(take_policy), .value = COMMAND_POLICY, .adds_up = true},
    {"budget", 0, TAKEN(take_budgets), .adds_up = true},
    {"layer", 0, INTO(kept_options, layer), .most = INT32_MAX},
    {"head", 0, INTO(kept_options, head), .most = INT32_MAX},
    {"html", 0, INTO(kept_options, html), .value = COMMAND_FILE},
    {0},
};

/* The full cache beside others has no choices. */
static bool has_choices(const kept_options *o, size_t i) {
    return o->n_policy == 1 || strcmp(o->given[i], "full") != 0;
}

static int write_policies(kept_options *o) {
    char *more = NULL;
    int status = choices_text(&o->run.choices, "inspect", &more);
    for (size_t i = 0; status == 0 && i < o->n_policy; i++) {
        if (asprintf(&o->policy[i], "%s%s", o->given[i], has_choices(o, i) ? more : "") >= 0) continue;
        o->policy[i] = NULL;
        status = wrong("no memory for the policies");
    }
    free(more);
    return status;
}

int kept_options_read(int argc, char **argv, kept_options *o) {
    *o = (kept_options){.layer = -1, .head = -1};
    const int status = command_line_read("inspect", kept_rows, argc, argv, o);
    if (status != 0 || o->run.help) return status;
    if (optind < argc)
        return wrong("what is \"%s\"? With --kept, a model goes after -m, a file with text after -f", argv[optind]);
    o->by_default = o->n_policy == 0;
    if (o->by_default) o->given[o->n_policy++] = "judge";
    const int together = options_check_shared(&o->run, "inspect");
    return together != 0 ? together : write_policies(o);
}

void kept_options_free(kept_options *o) {
    for (size_t i = 0; i < o->n_policy; i++) free(o->policy[i]);
}
