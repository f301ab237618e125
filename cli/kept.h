/* kept: which tokens of a prompt some policies keep at some budgets, all from one prefill. */
#ifndef JUDGEQ_CLI_KEPT_H
#define JUDGEQ_CLI_KEPT_H

#include <jansson.h>

#include "app/find_judge.h"
#include "app/text_stream.h"
#include "kept_options.h"

/* One policy at one budget. */
typedef struct kept_cut {
    const char *policy; /* as given */
    char *policy_text;  /* all choices */
    kept_budget budget;
    int32_t rows;            /* per layer and KV head, at most the prompt's length */
    judgeq_session *session; /* has the positions of the rows held */
} kept_cut;

typedef struct kept {
    char default_model[4096];
    const char *model_path;
    judge_found found; /* no judge where no policy asks for one */
    char *fallback;    /* the policy, where it takes the default's place */
    judgeq_model *model;
    char *prompt;
    int32_t *token; /* [n_token] */
    size_t n_token;
    text_stream text; /* of all tokens */
    size_t *text_end; /* [n_token], where in it each token's text ends: a token has the characters that it completes */
    kept_cut *cut;    /* [n_cut], policies in the order given, each with its budgets */
    size_t n_cut;
} kept;

/* Everything up to the rows kept. Fails after a message: the exit status. *out is to be freed in any case. */
int kept_make(const kept_options *options, kept *out);
void kept_free(kept *kept);

/* The texts of the tokens that are there: text and text_end. */
judgeq_status kept_read_texts(kept *kept, judgeq_error *error);

/* Everything as one object; docs/reports.md has its keys. NULL without memory. */
json_t *kept_json(const kept *kept);

#endif
