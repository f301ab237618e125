/* fixture: what the tests share: a temporary folder, whole files, distances between arrays. */
#ifndef JUDGEQ_TESTS_FIXTURE_H
#define JUDGEQ_TESTS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A folder for tests to write into, and the name of a model in it. */
extern char fixture_folder[256], fixture_model[512];
/* Makes and removes it: the form of cmocka's set-up and tear-down. 0 or -1. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);
/* A path in the folder, until the next call. */
const char *path_in(const char *name);

/* Makes an empty folder under TMPDIR or /tmp and writes its path. 0 or -1. */
int fixture_folder_new(char *path, size_t size);
/* Removes the folder with everything in it. 0 or -1. */
int fixture_folder_remove(const char *path);

/* The whole file, with a zero byte after it; NULL where it cannot be read. The caller frees it. */
char *fixture_read(const char *path, size_t *size);
/* 0 or -1. */
int fixture_write(const char *path, const void *bytes, size_t size);

/* Largest |a - b|; infinity where one of them is not a finite number. */
double fixture_max_difference(const float *a, const float *b, size_t n);
double fixture_mean_difference(const float *a, const float *b, size_t n);
/* |a - b| / |b| */
double fixture_relative(const float *a, const float *b, size_t n);
/* The place of the largest, the first of equal ones. */
int32_t fixture_best(const float *logits, int32_t n);
/* The population's standard deviation; NaN where a value is not finite. */
double fixture_deviation(const float *a, size_t n);

#endif
