#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

enum { BY_SIGNAL = 128 }; /* above it, a shell's status of what a signal has ended */

static volatile sig_atomic_t catching, keeping, seen;

static void note(int number) {
    if (!catching || (seen && number == SIGINT && !keeping)) _exit(BY_SIGNAL + number);
    if (seen != SIGTERM) seen = number;
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

void interrupt_keep(void) {
    keeping = catching = 1;
}

bool interrupt_take(void) {
    const bool pressed = seen == SIGINT;
    if (pressed) seen = 0;
    return pressed;
}

bool interrupt_seen(void) {
    return seen != 0;
}

int interrupt_status(void) {
    return BY_SIGNAL + seen;
}
