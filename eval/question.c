#include "question.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static bool is_blank(char c) {
    return strchr(" \t\r\n", c) != NULL;
}

/* Adds what is asked, without the space around it. */
static void add_line(text_buffer *t, const char *words) {
    while (*words && is_blank(*words)) words++;
    size_t n = strlen(words);
    while (n > 0 && is_blank(words[n - 1])) n--;
    if (t->length > 0) text_add(t, "\n", 1);
    text_add(t, words, n);
}

/* From a whole character on. */
static const char *last_bytes(const char *words, size_t n, size_t most) {
    const char *from = words + n - most;
    while (((unsigned char)*from & 0xc0) == 0x80) from++;
    return from;
}

static void add_turns(text_buffer *t, const sample *s) {
    const size_t n_message = json_array_size(s->messages);
    add_line(t, s->question ? s->question : json_string_value(json_array_get(s->messages, n_message - 1)));
    for (size_t i = 0; i < json_array_size(s->follow_ups); i++) {
        add_line(t, json_string_value(json_array_get(s->follow_ups, i)));
    }
}

char *question_of(const sample *s) {
    text_buffer all = {0}, cut = {0};
    if (!s->asked) add_turns(&all, s);
    for (size_t i = 0; i < json_array_size(s->asked); i++) {
        add_line(&all, json_string_value(json_object_get(json_array_get(s->asked, i), "question")));
    }
    if (all.failed || all.length <= QUESTION_MOST) return text_take(&all);
    text_print(&cut, "\u2026%s", last_bytes(all.bytes, all.length, QUESTION_MOST));
    text_free(&all);
    return text_take(&cut);
}
