#include "eight.h"

#include <stdio.h>
#include <string.h>

void eight_draw_berths(builder *b, needle_fact fact[3]) {
    static const char *const line[] = {"Halberd", "Petrel", "Blue Riband", "Castellan", "Oriel", "Sandpiper"};
    const char *name = line[chance_below(&b->facts, sizeof line / sizeof line[0])];
    for (int i = 0; i < 3; i++) {
        needle_digits(&b->facts, 4, fact[i].value);
        snprintf(fact[i].key, NEEDLE_TEXT, "%s", name);
        snprintf(fact[i].sentence, NEEDLE_TEXT, "One berth of the %s line is berth %.8s.", name, fact[i].value);
        snprintf(fact[i].question, NEEDLE_TEXT, "Which three berths does the %s line have?", name);
    }
}

void eight_expect_berths(builder *b, const needle_fact fact[3], json_t *references) {
    for (int i = 0; i < 3; i++) builder_add(b, references, fact[i].value);
}

void eight_begin_berths(builder *b, const needle_fact fact[3]) {
    char beginning[2 * NEEDLE_TEXT];
    snprintf(beginning, sizeof beginning, "The three berths of the %s line are", fact[0].key);
    builder_begin_answer(b, beginning);
}

void eight_draw(builder *b, eight *e) {
    static const struct {
        needle_kind kind;
        size_t n;
    } single[] = {{NEEDLE_PRICE, 1},    {NEEDLE_HOME, 1},       {NEEDLE_INN, 1},   {NEEDLE_EVENT, 1},
                  {NEEDLE_SPECIMEN, 1}, {NEEDLE_INGREDIENT, 1}, {NEEDLE_LOCKER, 4}};
    size_t n = 0;
    for (size_t i = 0; i < EIGHT - 1; n += single[i++].n) {
        e->first[i] = n;
        needle_draw(&b->facts, single[i].kind, single[i].n, &e->fact[n]);
    }
    e->first[EIGHT_BERTHS] = n;
    eight_draw_berths(b, &e->fact[n]);
    e->first[EIGHT] = n + 3;
}

void eight_shuffle(builder *b, size_t order[EIGHT]) {
    for (size_t i = 0; i < EIGHT; i++) order[i] = i;
    chance_shuffle(&b->facts, order, EIGHT, sizeof *order);
}

size_t eight_places(builder *b, const eight *e, const size_t order[EIGHT], size_t first, size_t end,
                    needle_place *place) {
    size_t n = 0;
    for (size_t i = 0; i < EIGHT; i++) {
        if (order[i] < first || order[i] >= end) continue;
        b->depth = ((double)(order[i] - first) + 0.5) / (double)(end - first);
        n += builder_spread(b, &e->fact[e->first[i]], e->first[i + 1] - e->first[i], place + n);
    }
    return n;
}

const char *eight_question(const eight *e, size_t question) {
    return e->fact[e->first[question]].question;
}

void eight_expect(builder *b, const eight *e, size_t question, json_t *references) {
    enum { EVENT = 3 };
    const needle_fact *fact = &e->fact[e->first[question]];
    char words[NEEDLE_TEXT], *rest = words;
    snprintf(words, sizeof words, "%s", fact->value);
    if (question == EIGHT_BERTHS) {
        eight_expect_berths(b, fact, references);
    } else if (question == EVENT) {
        for (char *word; (word = strtok_r(rest, " ", &rest));) builder_add(b, references, word);
    } else {
        builder_add(b, references, words);
    }
}
