/* commands: the subcommands of judgeq. Each takes its own arguments (argv[0] is the subcommand's name) and returns the
 * exit status (exit_status.h). */
#ifndef JUDGEQ_CLI_COMMANDS_H
#define JUDGEQ_CLI_COMMANDS_H

#include "command_line.h"

typedef struct subcommand {
    const char *name; /* NULL ends the table */
    int (*run)(int argc, char **argv);
    const char *summary; /* one line */
    const command_option *options;
    const char *const *operands; /* words that can follow, up to NULL; or NULL */
    command_value operand;       /* what else can */
} subcommand;

/* In the order of judgeq --help. */
extern const subcommand subcommands[];

int cmd_run(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_judge(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_kept(int argc, char **argv); /* inspect --kept */
int cmd_policies(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_rpc_server(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_data(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_ingest(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_completion(int argc, char **argv);

/* Their options. */
extern const command_option run_rows[], chat_rows[], ingest_rows[], judge_rows[], inspect_rows[], kept_rows[],
    policies_rows[], bench_rows[], eval_rows[], rpc_server_rows[], report_rows[], data_rows[], train_rows[],
    completion_rows[], serve_rows[];

#endif
