#include "sample.h"

#include <stdlib.h>

void sample_free(sample *s) {
    free(s->key);
    free(s->task);
    free(s->answer_prefix);
    free(s->question);
    json_decref(s->messages);
    json_decref(s->follow_ups);
    json_decref(s->parts);
    json_decref(s->given);
    json_decref(s->asked);
    json_decref(s->references);
    json_decref(s->classes);
    *s = (sample){0};
}

const char *sample_family_name(sample_family family) {
    static const char *const name[] = {"own", "grid", "ruler", "longbench"};
    return name[family];
}
