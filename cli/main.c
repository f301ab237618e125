/* judgeq: the command. Finds the subcommand, and sees to what all of them need from the system. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "commands.h"
#include "exit_status.h"
#include "habits.h"
#include "interrupt.h"
#include "judgeq.h"
#include "say.h"

static const char HELP_BEGINNING[] = "Usage: judgeq COMMAND [OPTIONS]\n"
                                     "\n"
                                     "Runs language models in a fixed amount of KV cache.\n"
                                     "\n"
                                     "Commands\n";
static const char HELP_END[] =
    "\n"
    "judgeq COMMAND --help, or judgeq help COMMAND, explains a command; judgeq --version prints the version.\n"
    "Every command takes -v, --verbose: libllama's and ggml's log on standard error.\n"
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

static const subcommand *find_command(const char *name) {
    for (const subcommand *c = subcommands; c->name; c++) {
        if (strcmp(name, c->name) == 0) return c;
    }
    return NULL;
}

static int refuse_command(const char *name) {
    const habit *h = habit_of_command(name);
    nearest near = {.word = name};
    for (const subcommand *c = subcommands; c->name; c++) nearest_try(&near, c->name);
    const char *meant = h ? h->here : near.name;
    if (h && h->advice)
        say("unknown command \"%s\": %s; see judgeq --help", name, h->advice);
    else if (name[0] == '-')
        say("unknown option \"%s\" before a command: judgeq run %s? See judgeq --help", name, name);
    else if (strstr(name, ".gguf"))
        say("unknown command \"%s\"; did you mean judgeq run -m %s? See judgeq --help", name, name);
    else if (meant)
        say("unknown command \"%s\"; did you mean judgeq %s? See judgeq --help", name, meant);
    else
        say("unknown command \"%s\"; see judgeq --help", name);
    return EXIT_USAGE;
}

/* "judgeq help COMMAND" is "judgeq COMMAND --help". */
static int help(const char *name) {
    static char option[] = "--help";
    const subcommand *c = name ? find_command(name) : NULL;
    if (c) return c->run(2, (char *[]){option, option, NULL});
    if (name) return refuse_command(name);
    print_help();
    return EXIT_SUCCESS;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        say("which command? run, chat, policies, judge, data, train, eval, bench, report, inspect, rpc-server or "
            "completion; "
            "see judgeq --help");
        return EXIT_USAGE;
    }
    const char *first = argv[1];
    if (strcmp(first, "help") == 0) return help(argv[2]);
    if (strcmp(first, "-h") == 0 || strcmp(first, "--help") == 0) return help(NULL);
    if (strcmp(first, "--version") == 0) {
        printf("judgeq %s\n", judgeq_version());
        return EXIT_SUCCESS;
    }
    const subcommand *c = find_command(first);
    return c ? c->run(argc - 1, argv + 1) : refuse_command(first);
}

int main(int argc, char **argv) {
    hold_standard_streams();
    interrupt_end();
    signal(SIGPIPE, SIG_IGN); /* a write fails instead, and is reported */
    signal(SIGXFSZ, SIG_IGN); /* likewise, where a limit on files (ulimit -f) is reached */
    judgeq_guard_mappings();
    const int status = dispatch(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (status == 0) say("cannot write to standard output: %s", strerror(errno));
    return status != 0 ? status : EXIT_FAILURE;
}
