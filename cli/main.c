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

static const char HELP_BEGINNING[] = "Usage: judgeq COMMAND [OPTIONS]\n"
                                     "\n"
                                     "Runs language models in a fixed amount of KV cache.\n"
                                     "\n"
                                     "Commands\n";
static const char HELP_END[] = "\n"
                               "judgeq COMMAND --help explains a command, judgeq --version prints the version.\n"
                               "\n"
                               "Example\n"
                               "  judgeq run -f report.txt -p \"Who signed the report?\" --budget 5%\n";

static void print_help(void) {
    fputs(HELP_BEGINNING, stdout);
    for (const subcommand *c = subcommands; c->name; c++) printf("  %-10s  %s\n", c->name, c->summary);
    fputs(HELP_END, stdout);
}

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
    const char *best = subcommands[0].name;
    size_t most = 0;
    for (const subcommand *c = subcommands; c->name; c++) {
        size_t same = 0;
        while (name[same] && name[same] == c->name[same]) same++;
        if (same > most) {
            most = same;
            best = c->name;
        }
    }
    return best;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        say("which command? run, policies, judge, data, train, eval, bench, report, inspect, rpc-server or completion; "
            "see "
            "judgeq --help");
        return 2;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("judgeq %s\n", judgeq_version());
        return 0;
    }
    for (const subcommand *c = subcommands; c->name; c++) {
        if (strcmp(argv[1], c->name) == 0) return c->run(argc - 1, argv + 1);
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
