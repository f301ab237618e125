/* gnuplot: runs the gnuplot program, which draws all charts. */
#ifndef JUDGEQ_PLOT_GNUPLOT_H
#define JUDGEQ_PLOT_GNUPLOT_H

#include "judgeq.h"

/* Runs script[0..length), which sets a terminal and no output. *picture [*size] is what it draws, terminated; the
 * caller's: free(). No shell is between, and no start-up file of the user is read. Fails with UNSUPPORTED where gnuplot
 * is not installed, and with BACKEND and gnuplot's own words where it refuses the script. */
judgeq_status gnuplot_draw(const char *script, size_t length, char **picture, size_t *size, judgeq_error *error);

#endif
