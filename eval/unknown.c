#include "unknown.h"

#include <stdio.h>

#include "eight.h"

/* Adds a question, which takes its references. */
static void add_question(builder *b, const char *before, const char *question, json_t *references) {
    char words[2 * NEEDLE_TEXT];
    snprintf(words, sizeof words, "%s%s", before, question);
    size_t i;
    json_t *reference;
    json_array_foreach(references, i, reference) {
        if (json_array_append(b->out->references, reference) != 0) b->failed = true;
    }
    json_t *asked = json_pack("{s:s, s:s, s:o}", "words", words, "question", question, "references", references);
    if (!asked || json_array_append_new(b->out->asked, asked) != 0) b->failed = true;
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

static void ask_eight(builder *b, const eight *e) {
    for (size_t i = 0; i < EIGHT; i++) {
        json_t *references = json_array();
        eight_expect(b, e, i, references);
        add_question(b, "Answer from the text above. ", eight_question(e, i), references);
    }
}

/* A text of n_unit units, with the facts of eight_places. */
static void write_document(builder *b, const eight *e, const size_t order[EIGHT], size_t first, size_t end,
                           int32_t n_unit, text_buffer *out) {
    needle_place place[NEEDLES_MOST];
    const size_t n = eight_places(b, e, order, first, end, place);
    needle_document(b->haystack, n_unit, place, n, out);
}

void unknown_ingested(builder *b) {
    eight e;
    size_t order[EIGHT];
    text_buffer t = {0};
    eight_draw(b, &e);
    eight_shuffle(b, order);
    write_document(b, &e, order, 0, EIGHT, b->n_unit, &t);
    builder_add_message(b, &t);
    ask_eight(b, &e);
}

void unknown_two_documents(builder *b) {
    eight e;
    size_t order[EIGHT];
    text_buffer t = {0};
    const int32_t half = b->n_unit / 2;
    eight_draw(b, &e);
    eight_shuffle(b, order);
    write_document(b, &e, order, 0, EIGHT / 2, half, &t);
    builder_add_message(b, &t);
    b->haystack.draw = chance_from("second document", b->request->seed, (uint64_t)b->request->index);
    b->haystack.next += (size_t)half;
    write_document(b, &e, order, EIGHT / 2, EIGHT, b->n_unit - half, &t);
    builder_take(b, b->out->parts, &t);
    ask_eight(b, &e);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* What is said in turns 2 to 9, in an order of each sample's own. Nothing in it could be taken for a needle's value. */
static const struct {
    const char *question, *answer;
} TALK[] = {
    {"What is the capital of Norway?", "The capital of Norway is Oslo."},
    {"Which animal gives wool?", "Sheep give wool."},
    {"What do bees make?", "Bees make honey."},
    {"Which planet do we live on?", "We live on the Earth."},
    {"What is the opposite of hot?", "The opposite of hot is cold."},
    {"Which instrument has black and white keys?", "The piano has black and white keys."},
    {"What is ice made of?", "Ice is made of water."},
    {"Who wrote the play Hamlet?", "William Shakespeare wrote Hamlet."},
};
enum { N_TALK = sizeof TALK / sizeof TALK[0] };

/* A short question, and its answer with n sentences after it. */
static void add_talk(builder *b, size_t talk, int32_t n) {
    text_buffer t = {0};
    text_print(&t, "%s Then tell me more of your story.", TALK[talk].question);
    builder_take(b, b->out->follow_ups, &t);
    text_print(&t, "%s", TALK[talk].answer);
    for (int32_t i = 0; i < n; i++) haystack_add(&b->haystack, &t);
    builder_take(b, b->out->given, &t);
}

void unknown_turn_ten(builder *b) {
    static const char before[] = "Think of what I told you at first. ";
    needle_fact fact;
    size_t order[N_TALK];
    text_buffer t = {0};
    needle_draw(&b->facts, builder_kind(b), 1, &fact);
    for (size_t i = 0; i < N_TALK; i++) order[i] = i;
    chance_shuffle(&b->facts, order, N_TALK, sizeof *order);
    text_print(&t, "Please remember this, I will ask you later. %s", fact.sentence);
    builder_add_message(b, &t);
    builder_add(b, b->out->given, "Thank you, I will remember it.");
    b->haystack.started = true; /* an answer comes before its first sentence */
    for (int32_t i = 0; i < N_TALK; i++) {
        add_talk(b, order[i], b->n_unit * (i + 1) / N_TALK - b->n_unit * i / N_TALK);
    }
    text_print(&t, "%s%s", before, fact.question);
    builder_take(b, b->out->follow_ups, &t);
    json_t *references = json_pack("[s]", fact.value);
    add_question(b, before, fact.question, references);
}
