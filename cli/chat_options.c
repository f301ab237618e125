#include "chat_options.h"

#include <getopt.h>

#include "answer_options.h"
#include "commands.h"
#include "values.h"

enum { ROWS_MOST = 1024, TOKENS = 1024 };

const command_option chat_rows[] = {
    ROWS(options_model),
    ROWS(options_answer),
    {"budget", 0, INTO(options, session.rows), .least = 1, .most = INT32_MAX / 2},
    {0},
};

int chat_options_read(int argc, char **argv, options *o) {
    *o = options_default();
    o->n_tokens = TOKENS;
    const int status = command_line_read("chat", chat_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    if (optind < argc) {
        return usage_wrong("chat",
                           "what is \"%s\"? A conversation is typed, or read from standard input, a turn a line",
                           argv[optind]);
    }
    const int wrong = answer_options_check(o, "chat");
    return wrong != 0 ? wrong : options_write_policy(o, "chat", "judge-later");
}

int32_t chat_options_rows(const options *o, const judgeq_model *model) {
    const int32_t n_ctx = o->session.n_ctx > 0 ? o->session.n_ctx : judgeq_model_get_info(model)->n_ctx_train;
    return n_ctx / 2 > ROWS_MOST ? ROWS_MOST : n_ctx > 1 ? n_ctx / 2 : 1;
}
