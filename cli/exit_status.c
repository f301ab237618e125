#include "exit_status.h"

#include <stdlib.h>

#include "interrupt.h"
#include "say.h"

int exit_status(judgeq_status status) {
    if (status == JUDGEQ_OK) return EXIT_SUCCESS;
    if (status == JUDGEQ_ERROR_CANCELLED && interrupt_seen()) return interrupt_status();
    return status == JUDGEQ_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_FAILURE;
}

int exit_with(judgeq_status status, const judgeq_error *error) {
    if (status != JUDGEQ_OK) say("%s", error->message);
    return exit_status(status);
}
