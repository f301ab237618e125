/* judgeq: the command. Finds the subcommand, and sees to what all of them need from the system. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "judgeq.h"
#include "say.h"

static const char HELP[] = "Usage: judgeq COMMAND [OPTIONS]\n"
                           "\n"
                           "Runs language models in a fixed amount of KV cache.\n"
                           "\n"
                           "Commands\n"
                           "  run         read a prompt, keep a budget of rows in the KV cache, write the response\n"
                           "  policies    list the policies that choose the rows\n"
                           "  judge       make judge files from arrays of soft tokens, and arrays from judge files\n"
                           "  data        make a training set of prompts and the model's own responses\n"
                           "  train       train a judge for a model\n"
                           "  eval        compare policies and budgets on tasks, and say how many were solved\n"
                           "  bench       measure speed and memory, and how close they are to what the machine can do\n"
                           "  report      show the results of an evaluation as a web page and pictures\n"
                           "  inspect     say what is in a model or a judge file; show which tokens a policy keeps\n"
                           "  rpc-server  lend a device of this machine to judgeq run on another\n"
                           "\n"
                           "judgeq COMMAND --help explains a command, judgeq --version prints the version.\n"
                           "\n"
                           "Example\n"
                           "  judgeq run -f report.txt -p \"Who signed the report?\" --budget 5%\n";

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} command;

static const command COMMANDS[] = {
    {"run", cmd_run},     {"policies", cmd_policies},    {"judge", cmd_judge}, {"inspect", cmd_inspect},
    {"data", cmd_data},   {"train", cmd_train},          {"eval", cmd_eval},   {"report", cmd_report},
    {"bench", cmd_bench}, {"rpc-server", cmd_rpc_server}};

enum { N_COMMANDS = sizeof COMMANDS / sizeof COMMANDS[0] };

/* Standard streams that the caller has closed: a file opened later would take their place, and be written into.
 * Opened the wrong way round, they fail when they are used. */
static void hold_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* the lowest free number: fd */
        }
    }
}

/* The command that shares the most letters at its beginning; "run" where none does. */
static const char *nearest_command(const char *name) {
    const char *best = COMMANDS[0].name;
    size_t most = 0;
    for (int i = 0; i < N_COMMANDS; i++) {
        size_t same = 0;
        while (name[same] && name[same] == COMMANDS[i].name[same]) same++;
        if (same > most) {
            most = same;
            best = COMMANDS[i].name;
        }
    }
    return best;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        say("which command? run, policies, judge, data, train, eval, bench, report, inspect or rpc-server; see judgeq "
            "--help");
        return 2;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(HELP, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("judgeq %s\n", judgeq_version());
        return 0;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], COMMANDS[i].name) == 0) return COMMANDS[i].run(argc - 1, argv + 1);
    }
    say("unknown %s \"%s\"; did you mean judgeq %s? See judgeq --help", argv[1][0] == '-' ? "option" : "command",
        argv[1], nearest_command(argv[1]));
    return 2;
}

int main(int argc, char **argv) {
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a write fails instead, and is reported */
    const int status = dispatch(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (status == 0) say("cannot write to standard output: %s", strerror(errno));
    return status != 0 ? status : 1;
}
