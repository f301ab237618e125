#include "builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void append(builder *b, json_t *array, char *bytes) {
    json_t *string = bytes ? json_string(bytes) : NULL;
    if (!string || json_array_append_new(array, string) != 0) b->failed = true;
    free(bytes);
}

void builder_take(builder *b, json_t *array, text_buffer *text) {
    append(b, array, text_take(text));
}

void builder_add(builder *b, json_t *array, const char *words) {
    append(b, array, strdup(words));
}

void builder_add_message(builder *b, text_buffer *text) {
    builder_take(b, b->out->messages, text);
}

void builder_add_follow_up(builder *b, const char *words) {
    builder_add(b, b->out->follow_ups, words);
}

void builder_add_reference(builder *b, const char *reference) {
    builder_add(b, b->out->references, reference);
}

void builder_set_question(builder *b, const char *words) {
    b->out->question = strdup(words);
    if (!b->out->question) b->failed = true;
}

void builder_begin_answer(builder *b, const char *words) {
    b->out->answer_prefix = strdup(words);
    if (!b->out->answer_prefix) b->failed = true;
}

size_t builder_spread(const builder *b, const needle_fact *fact, size_t n, needle_place *place) {
    for (size_t i = 0; i < n; i++) {
        place[i] = (needle_place){fmod(b->depth + (double)i / (double)n, 1), fact[i].sentence};
        if (i == 0) place[i].depth = b->depth;
    }
    return n;
}

needle_kind builder_kind(const builder *b) {
    return (needle_kind)(b->request->index % NEEDLE_KINDS);
}
