/* values: what follows an option, read strictly, and the message and exit status of wrong usage. */
#ifndef JUDGEQ_CLI_VALUES_H
#define JUDGEQ_CLI_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "judgeq.h"

/* Nothing but digits: no sign, space or base. */
bool value_integer(const char *text, int64_t low, int64_t high, int64_t *out);
/* No infinity, NaN or hexadecimal number. The program sets no locale: the decimal point is a point. */
bool value_number(const char *text, double low, double high, double *out);
/* "256" is rows, 1 or more, and a fraction of 0; "12.5%" is no rows and a fraction, above 0 and up to 1. */
bool value_budget(const char *text, int32_t *rows, float *fraction);
/* As judgeq_kv_type_name writes it. */
bool value_kv_type(const char *text, judgeq_kv_type *out);

/* Prints "judgeq: COMMAND: MESSAGE; see judgeq COMMAND --help"; the exit status of wrong usage. */
__attribute__((format(printf, 2, 3))) int usage_wrong(const char *command, const char *format, ...);
/* The same for a value that is no whole number within its bounds, or no budget. */
int usage_wrong_integer(const char *command, const char *option, const char *text, int64_t low, int64_t high);
/* The same for a value that is none of `all`; near: what may have been meant, or NULL. */
int usage_wrong_choice(const char *command, const char *option, const char *text, const char *all, const char *near);
int usage_wrong_kv_type(const char *command, const char *option, const char *text);
int usage_wrong_budget(const char *command, const char *option, const char *text);

#endif
