#include "standard_input.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipe_writer.h"
#include "say.h"

/* Milliseconds. Programs that start others often leave them a pipe that nobody writes to and that never ends. */
enum { SILENCE = 1000, PATIENCE = 5000 };

/* False where nothing came, and no end. */
static bool wait_for(int milliseconds) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, milliseconds) != 0;
}

/* A loop of a shell, as in "while read", reads lines from the beginning of a file, and what follows is not for us. */
static bool is_fresh_file(const struct stat *status, bool quiet) {
    const off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
    if (at > 0 && at < status->st_size && !quiet) {
        say("standard input is a file that was read from before, and not taken for a document (-f - reads the rest of "
            "it)");
    }
    return at == 0 && status->st_size > 0;
}

static bool pipe_has_document(bool quiet) {
    if (wait_for(SILENCE)) return true;
    if (pipe_writer_is_there()) {
        standard_input_wait(quiet);
        return true;
    }
    if (!quiet) {
        say("waiting %d seconds for a document on standard input (< /dev/null says that there is none)",
            PATIENCE / 1000);
    }
    if (wait_for(PATIENCE)) return true;
    say("nothing came on standard input: answering without a document (-f - waits for one)");
    return false;
}

bool standard_input_has_document(bool quiet) {
    struct stat status;
    if (fstat(STDIN_FILENO, &status) != 0) return false;
    if (S_ISREG(status.st_mode)) return is_fresh_file(&status, quiet);
    return (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) && pipe_has_document(quiet);
}

void standard_input_wait(bool quiet) {
    if (wait_for(SILENCE)) return;
    if (!quiet) say("waiting for standard input");
    wait_for(-1);
}
