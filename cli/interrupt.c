#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

enum { BY_SIGNAL = 128 }; /* above it, a shell's status of what a signal has ended */

static volatile sig_atomic_t catching, keeping, seen, hung_up;

static void note(int number) {
    if (!catching || (seen && number == SIGINT && !keeping)) _exit(BY_SIGNAL + number);
    if (seen != SIGTERM) seen = number;
}

static void handle(int flags) {
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void interrupt_end(void) {
    handle(SA_RESTART); /* stdio gives up a write that a signal breaks off, and loses what it had buffered */
}

void interrupt_break_calls(bool on) {
    handle(on ? 0 : SA_RESTART);
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

static void note_hangup(int number) {
    (void)number;
    hung_up = 1;
}

void interrupt_catch_hangup(void) {
    struct sigaction action = {.sa_handler = note_hangup, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGHUP, &action, NULL);
}

bool interrupt_take_hangup(void) {
    if (!hung_up) return false;
    hung_up = 0; /* one that comes only now is not lost: what it asks for is about to be done */
    return true;
}

bool interrupt_seen(void) {
    return seen != 0;
}

int interrupt_status(void) {
    return BY_SIGNAL + seen;
}
