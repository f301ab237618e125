/* judgeq policies: the presets, for people and for machines. */
#include "command_line.h"
#include "commands.h"
#include "judgeq.h"
#include "say.h"
#include "values.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char HELP[] =
    "Usage: judgeq policies [--json]\n"
    "\n"
    "Lists the eviction policies that --policy knows by name: each with its paper, what it keeps, and its choices.\n"
    "Any choice can be replaced: --policy snapkv --keep recent:8, or --policy snapkv,keep=recent:8.\n"
    "\n"
    "  --json      one JSON array of objects: name, source, summary, text, soft_tokens (0: needs no judge, -1: as "
    "many\n"
    "              as the judge has), needs_full_cache (every layer's full KV is held at once)\n"
    "  -h, --help  this text\n";

static void print_table(void) {
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        const judgeq_preset *preset = judgeq_preset_at(i);
        judgeq_policy *policy;
        const bool known = judgeq_policy_parse(preset->name, &policy, NULL) == JUDGEQ_OK;
        printf("%s%-10s  %s\n%12s%s\n", i ? "\n" : "", preset->name, preset->source, "", preset->summary);
        if (known && judgeq_policy_needs_full_cache(policy)) {
            printf("%12severy layer's full KV is held at once before anything is evicted\n", "");
        }
        printf("%12s%s\n", "", preset->text);
        judgeq_policy_free(policy);
    }
}

static json_t *preset_object(const judgeq_preset *preset) {
    judgeq_policy *policy;
    if (judgeq_policy_parse(preset->name, &policy, NULL) != JUDGEQ_OK) return NULL;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b}", "name", preset->name, "source", preset->source,
                               "summary", preset->summary, "text", judgeq_policy_text(policy), "soft_tokens",
                               (int)judgeq_policy_soft_tokens(policy), "needs_full_cache",
                               (int)judgeq_policy_needs_full_cache(policy));
    judgeq_policy_free(policy);
    return object;
}

/* False without memory, or where stdout takes no more. */
static bool print_json(void) {
    json_t *presets = json_array();
    bool made = presets != NULL;
    for (size_t i = 0; made && judgeq_preset_at(i); i++) {
        made = json_array_append_new(presets, preset_object(judgeq_preset_at(i))) == 0;
    }
    bool printed = made && say_json(presets, JSON_INDENT(2));
    json_decref(presets);
    return printed;
}

typedef struct policies_options {
    bool help, json;
} policies_options;

const command_option policies_rows[] = {
    {"json", 0, INTO(policies_options, json)}, {"help", 'h', INTO(policies_options, help)}, {0}};

int cmd_policies(int argc, char **argv) {
    policies_options o = {0};
    const int usage = command_line_read("policies", policies_rows, argc, argv, &o);
    if (usage != 0) return usage;
    if (o.help) {
        fputs(HELP, stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (optind < argc) return usage_wrong("policies", "it takes --json or --help, not \"%s\"", argv[optind]);
    bool printed = true;
    if (o.json)
        printed = print_json();
    else
        print_table();
    if (printed && fflush(stdout) == 0 && !ferror(stdout)) return 0;
    say("policies: cannot write the list: %s", strerror(errno));
    return 1;
}
