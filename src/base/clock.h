/* clock: seconds on a clock that only goes forward. */
#ifndef JUDGEQ_SRC_CLOCK_H
#define JUDGEQ_SRC_CLOCK_H

double clock_seconds(void);

#endif
