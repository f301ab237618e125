#include "fixture.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int fixture_folder_new(char *path, size_t size) {
    const char *parent = getenv("TMPDIR");
    int length = snprintf(path, size, "%s/judgeq-test-XXXXXX", parent && *parent ? parent : "/tmp");
    return length > 0 && (size_t)length < size && mkdtemp(path) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

int fixture_folder_remove(const char *path) {
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : -1;
}

char fixture_folder[256], fixture_model[512];

int fixture_set_up(void **state) {
    (void)state;
    const int failed = fixture_folder_new(fixture_folder, sizeof fixture_folder);
    snprintf(fixture_model, sizeof fixture_model, "%s/model.gguf", fixture_folder);
    return failed;
}

int fixture_tear_down(void **state) {
    (void)state;
    return fixture_folder_remove(fixture_folder);
}

const char *path_in(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    return path;
}

char *fixture_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *bytes = NULL;
    long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (end >= 0 && fseek(file, 0, SEEK_SET) == 0) bytes = malloc((size_t)end + 1);
    if (bytes && fread(bytes, 1, (size_t)end, file) != (size_t)end) {
        free(bytes);
        bytes = NULL;
    }
    if (bytes) {
        bytes[end] = 0;
        *size = (size_t)end;
    }
    fclose(file);
    return bytes;
}

int fixture_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    bool written = fwrite(bytes, 1, size, file) == size;
    return fclose(file) == 0 && written ? 0 : -1;
}

double fixture_max_difference(const float *a, const float *b, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        double difference = fabs((double)a[i] - (double)b[i]);
        if (difference > largest) largest = difference;
    }
    return largest;
}

double fixture_mean_difference(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)a[i] - (double)b[i]);
    return sum / (double)n;
}

double fixture_relative(const float *a, const float *b, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

int32_t fixture_best(const float *logits, int32_t n) {
    int32_t b = 0;
    for (int32_t i = 1; i < n; i++) b = logits[i] > logits[b] ? i : b;
    return b;
}

double fixture_deviation(const float *a, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i])) return NAN;
        sum += a[i];
        squares += (double)a[i] * a[i];
    }
    double mean = sum / (double)n;
    return sqrt(fmax(0, squares / (double)n - mean * mean));
}
