/* commands: the subcommands of judgeq. Each takes its own arguments (argv[0] is the subcommand's name) and returns the
 * exit status: 0 success, 1 failure, 2 wrong usage. */
#ifndef JUDGEQ_CLI_COMMANDS_H
#define JUDGEQ_CLI_COMMANDS_H

int cmd_run(int argc, char **argv);
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

#endif
