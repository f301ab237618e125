#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

enum { BY_SIGNAL = 128 }; /* above it, a shell's status of what a signal has ended */

static volatile sig_atomic_t catching, seen;

static void note(int number) {
    if (!catching || (seen && number == SIGINT)) _exit(BY_SIGNAL + number);
    seen = number;
}

void interrupt_end(void) {
    struct sigaction action = {.sa_handler = note};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void interrupt_catch(void) {
    catching = 1;
}

bool interrupt_seen(void) {
    return seen != 0;
}

int interrupt_status(void) {
    return BY_SIGNAL + seen;
}
