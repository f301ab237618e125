#include "data_options.h"

#include <stddef.h>

#include "values.h"

data_options data_options_default(void) {
    return (data_options){.n_tokens = 128,
                          .sampler = {.temperature = 0, .top_p = 1},
                          .sources = {.min_tokens = 300, .max_tokens = 900, .retrieval = 0.5}};
}

static int take_count(const char *command, const char *name, const char *value, int32_t low, int32_t *out) {
    return value_take_int32(command, name, value, low, 1 << 30, out);
}

static int take_number(const char *command, const char *name, const char *value, double high, double *out) {
    return value_take_number(command, name, value, 0, high, out);
}

static int take_float(const char *command, const char *name, const char *value, double high, float *out) {
    double number = *out;
    const int status = take_number(command, name, value, high, &number);
    *out = (float)number;
    return status;
}

int data_options_take(data_options *o, const char *command, int option, const char *value) {
    switch (option) {
    case 'n':
        return take_count(command, "-n", value, 1, &o->n_examples);
    case DATA_TOKENS:
        return take_count(command, "--tokens", value, 2, &o->n_tokens);
    case DATA_MIN:
        return take_count(command, "--min", value, 1, &o->sources.min_tokens);
    case DATA_MAX:
        return take_count(command, "--max", value, 1, &o->sources.max_tokens);
    case DATA_RETRIEVAL:
        return take_number(command, "--retrieval", value, 1, &o->sources.retrieval);
    case DATA_TEMP:
        return take_float(command, "--temp", value, 100, &o->sampler.temperature);
    case DATA_TOP_P:
        return take_float(command, "--top-p", value, 1, &o->sampler.top_p);
    default:
        return -1;
    }
}

int data_options_check(const data_options *o, const char *command) {
    if (o->sources.n_source == 0) return usage_wrong(command, "which sources? Folders or files are missing");
    if (o->sources.min_tokens > o->sources.max_tokens) return usage_wrong(command, "--min is more than --max");
    return 0;
}
