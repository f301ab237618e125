/* run_options: the command line of `judgeq run`, read into one struct; and of `judgeq chat`, as far as it is the same.
 */
#ifndef JUDGEQ_CLI_RUN_OPTIONS_H
#define JUDGEQ_CLI_RUN_OPTIONS_H

#include "app/devices.h"
#include "app/session_choices.h"
#include "choices.h"
#include "judgeq.h"

enum { OPTIONS_STOPS_MOST = 16, OPTIONS_LOGPROBS_MOST = 1000 };

typedef struct options {
    bool help;
    const char *model, *judge;
    const char *policy; /* as given, or NULL */
    choices choices;
    char *policy_text; /* policy and the choices, as judgeq_policy_parse reads them. Owned */
    bool budget_given;
    session_choices session; /* without the seed, which is the sampler's */

    const char *prompt, *file, *system;
    const char *context; /* a session's file, which holds what comes before the prompt; or NULL */
    bool chat, raw;      /* neither: chat where the model has a template */
    bool no_think;

    int32_t n_tokens; /* of the response, at most */
    judgeq_sampler_params sampler;
    const char *grammar, *json_schema; /* a file; a file or a schema. NULL: any answer */
    char *grammar_text;                /* of either. Owned */
    const char *chat_template;         /* a name or a file; NULL: the model's own */
    char *template_text;               /* of it. Owned */
    const char *stop[OPTIONS_STOPS_MOST];
    size_t n_stop;

    devices devices;
    int32_t logprobs; /* alternatives per token; -1: none asked for */
    bool json, quiet;
} options;

/* For the tables of other commands: the model and how it is read; with these, what judgeq inspect --kept has as well,
 * and whether that goes together; which rows stay; how a response comes about. */
extern const command_option options_model[], options_shared[], options_evict[], options_budget[], options_answer[];
int options_check_shared(const options *o, const char *command);

/* Nothing given. */
options options_default(void);
/* The default policy: `preset` where a budget or a choice speaks of eviction, and full otherwise. */
const char *options_preset(const options *o, const char *preset);
/* Writes policy_text: the policy as given, or else the preset; with the choices after it. The exit status. */
int options_write_policy(options *o, const char *command, const char *preset);

/* The exit status: 0, or 2 after a message. */
int options_read(int argc, char **argv, options *out);
void options_free(options *o);

#endif
