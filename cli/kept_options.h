/* kept_options: the command line of `judgeq inspect --kept`, read into one struct. */
#ifndef JUDGEQ_CLI_KEPT_OPTIONS_H
#define JUDGEQ_CLI_KEPT_OPTIONS_H

#include "run_options.h"

enum { KEPT_POLICIES_MOST = 16, KEPT_BUDGETS_MOST = 32 };

typedef struct kept_budget {
    char text[24]; /* as given: "64", "5%" */
    int32_t rows;  /* 0: fraction */
    float fraction;
} kept_budget;

typedef struct kept_options {
    bool kept;                             /* what makes it this command */
    options run;                           /* model, judge, prompt and how it is read, as for judgeq run */
    const char *given[KEPT_POLICIES_MOST]; /* after --policy */
    char *policy[KEPT_POLICIES_MOST];      /* with the choices after it. Owned */
    size_t n_policy;
    bool by_default; /* none was given: there is one */
    kept_budget budget[KEPT_BUDGETS_MOST];
    size_t n_budget;     /* 0: none given */
    int32_t layer, head; /* the one to show, or -1: all of them */
    const char *html;    /* file to write, or NULL */
} kept_options;

/* The exit status: 0, or 2 after a message. */
int kept_options_read(int argc, char **argv, kept_options *out);
void kept_options_free(kept_options *o);

#endif
