#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "continuation.h"
#include "eight.h"
#include "unknown.h"
#include "words.h"

enum {
    NOISE = 1,    /* its haystack is noise */
    DEPTH = 2,    /* there is a single place to speak of */
    LIST = 4,     /* a unit is a word, and fewer than a handful make no list */
    APART = 8,    /* not one of "own" */
    TEXT = 16,    /* EIGHT samples in a row ask about one text */
    UNKNOWN = 32, /* what is asked is not known when rows are dropped */
    SAME = 64,    /* the texts are those of eight_facts */
    MANY = 128,   /* EIGHT questions in a sample */
};

struct task {
    const char *name, *summary;
    void (*build)(builder *b); /* NULL: continuation_make */
    int32_t n_tokens;          /* of an answer */
    unsigned flags;
};

/* ---- parts of samples -------------------------------------------------------------------------------------------- */

/* The text, and a question at its end. before: the question's first words, which no record needs. */
static void ask(builder *b, text_buffer *text, const char *before, const char *question) {
    text_print(text, "\n\n%s%s", before, question);
    builder_add_message(b, text);
    builder_set_question(b, question);
}

static const char FROM_ABOVE[] = "Answer from the text above. ";

/* A document that hides n facts, and what is asked about it. */
static void ask_below(builder *b, const needle_fact *fact, size_t n, const char *question) {
    needle_place place[NEEDLES_MOST];
    text_buffer t = {0};
    needle_document(b->haystack, b->n_unit, place, builder_spread(b, fact, n, place), &t);
    ask(b, &t, FROM_ABOVE, question);
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static void build_single(builder *b) {
    needle_fact fact;
    needle_draw(&b->facts, builder_kind(b), 1, &fact);
    ask_below(b, &fact, 1, fact.question);
    builder_add_reference(b, fact.value);
}

static void build_uuid(builder *b) {
    needle_fact fact;
    needle_draw(&b->facts, NEEDLE_SEAL, 1, &fact);
    ask_below(b, &fact, 1, fact.question);
    builder_add_reference(b, fact.value);
}

static void build_multi_key(builder *b) {
    needle_fact fact[4];
    needle_draw(&b->facts, builder_kind(b), 4, fact);
    ask_below(b, fact, 4, fact[0].question);
    builder_add_reference(b, fact[0].value);
}

static void build_multi_value(builder *b) {
    needle_fact fact[3];
    eight_draw_berths(b, fact);
    ask_below(b, fact, 3, fact[0].question);
    eight_expect_berths(b, fact, b->out->references);
    eight_begin_berths(b, fact);
}

static void build_multi_query(builder *b) {
    needle_fact fact[3];
    char question[4 * NEEDLE_TEXT];
    needle_draw(&b->facts, NEEDLE_HULL, 3, fact);
    snprintf(question, sizeof question, "Which hull numbers do the barges %s, %s and %s have?", fact[0].key,
             fact[1].key, fact[2].key);
    ask_below(b, fact, 3, question);
    snprintf(question, sizeof question, "The hull numbers of the barges %s, %s and %s are", fact[0].key, fact[1].key,
             fact[2].key);
    builder_begin_answer(b, question);
    for (int i = 0; i < 3; i++) builder_add_reference(b, fact[i].value);
}

/* A chain of four names for one number, and a chain of two for another. */
static void build_variables(builder *b) {
    const char *name[WORDS_NAMES];
    char number[2][8];
    needle_fact fact[6];
    needle_place place[6];
    char question[NEEDLE_TEXT];
    text_buffer t = {0};
    words_names(&b->facts, name);
    for (int i = 0; i < 2; i++) needle_digits(&b->facts, 5, number[i]);
    for (int i = 0; i < 6; i++) {
        const bool first = i == 0 || i == 4;
        if (first) snprintf(fact[i].sentence, NEEDLE_TEXT, "Chest %s holds %s coins.", name[i], number[i / 4]);
        if (!first) {
            snprintf(fact[i].sentence, NEEDLE_TEXT, "Chest %s holds as many coins as chest %s.", name[i], name[i - 1]);
        }
        place[i] = (needle_place){(i % 4 + (i < 4 ? chance_share(&b->facts) : 0.5 + chance_share(&b->facts))) / 4,
                                  fact[i].sentence};
    }
    needle_document(b->haystack, b->n_unit, place, 6, &t);
    snprintf(question, sizeof question, "Which four chests hold %s coins?", number[0]);
    ask(b, &t, FROM_ABOVE, question);
    builder_begin_answer(b, "The four chests are");
    for (int i = 0; i < 4; i++) builder_add_reference(b, name[i]);
}

/* The list is in *text; its n words that are asked for are the references. */
static void ask_for_words(builder *b, text_buffer *text, const char *question, const char *answer,
                          const char *const *word, int n) {
    ask(b, text, "", question);
    builder_begin_answer(b, answer);
    for (int i = 0; i < n; i++) builder_add_reference(b, word[i]);
}

static void build_common_words(builder *b) {
    text_buffer t = {0};
    const char *common[WORDS_COMMON];
    text_print(&t, "A list of words follows. A few of them come up again and again, all the others only rarely.\n\n");
    words_common(&b->facts, b->n_unit, common, &t);
    ask_for_words(b, &t, "Which 5 words come up most often in the list above?", "The words that come up most often are",
                  common, WORDS_COMMON);
}

static void build_frequent_words(builder *b) {
    text_buffer t = {0};
    char coded[WORDS_FREQUENT][WORDS_CODED];
    text_print(&t, "The following message is written in a secret language.\n\n");
    words_frequent(&b->facts, b->n_unit, coded, &t);
    const char *const frequent[WORDS_FREQUENT] = {coded[0], coded[1], coded[2]};
    ask_for_words(b, &t, "Which 3 words occur most often in the message above?", "The words that occur most often are",
                  frequent, WORDS_FREQUENT);
}

static void build_question_first(builder *b) {
    needle_fact fact;
    needle_place place;
    text_buffer t = {0};
    needle_draw(&b->facts, builder_kind(b), 1, &fact);
    text_print(&t, "I have a question about a text: %s I will send you the text now.", fact.question);
    builder_add_message(b, &t);
    text_print(&t, "I will read it and answer your question.");
    builder_add_message(b, &t);
    needle_document(b->haystack, b->n_unit, &place, builder_spread(b, &fact, 1, &place), &t);
    text_print(&t, "\n\nThat was the text. What is the answer to my question?");
    builder_add_message(b, &t);
    builder_set_question(b, fact.question);
    builder_add_reference(b, fact.value);
}

/* The second question is not known when the rows are chosen; only its answer counts. */
static void build_two_questions(builder *b) {
    needle_fact fact[2];
    needle_draw(&b->facts, builder_kind(b), 1, &fact[1]);
    needle_draw(&b->facts, (needle_kind)((builder_kind(b) + 1) % NEEDLE_KINDS), 1, &fact[0]);
    ask_below(b, fact, 2, fact[0].question);
    char again[2 * NEEDLE_TEXT];
    snprintf(again, sizeof again, "Now another question about the text. %s", fact[1].question);
    builder_add_follow_up(b, again);
    builder_add_reference(b, fact[1].value);
    b->out->last_answer = true;
}

/* The text comes in two messages, then three questions, of which the first is known when the rows are chosen. */
static void build_multi_turn(builder *b) {
    needle_fact fact[3];
    needle_place place[3];
    text_buffer t = {0};
    for (int i = 0; i < 3; i++)
        needle_draw(&b->facts, (needle_kind)((builder_kind(b) + i) % NEEDLE_KINDS), 1, &fact[i]);
    builder_spread(b, fact, 3, place);
    text_print(&t, "I will send you a text in two parts. This is the first part.\n\n");
    needle_document(b->haystack, b->n_unit / 2, place, 1, &t);
    builder_add_message(b, &t);
    text_print(&t, "Thank you. I have read the first part.");
    builder_add_message(b, &t);
    text_print(&t, "This is the second part.\n\n");
    b->haystack.draw = chance_from("second part", b->request->seed, (uint64_t)b->request->index);
    b->haystack.next += (size_t)b->n_unit;
    needle_document(b->haystack, b->n_unit - b->n_unit / 2, place + 1, 2, &t);
    ask(b, &t, "Answer from the text. ", fact[0].question);
    for (int i = 1; i < 3; i++) builder_add_follow_up(b, fact[i].question);
    for (int i = 0; i < 3; i++) builder_add_reference(b, fact[i].value);
}

/* The questions stand at even steps in random order. */
static void build_eight(builder *b) {
    const size_t asked = (size_t)b->request->index % EIGHT;
    eight e;
    size_t order[EIGHT];
    needle_place place[NEEDLES_MOST];
    text_buffer t = {0};
    eight_draw(b, &e);
    eight_shuffle(b, order);
    const size_t n = eight_places(b, &e, order, 0, EIGHT, place);
    b->out->depth = place[e.first[asked]].depth;
    needle_document(b->haystack, b->n_unit, place, n, &t);
    ask(b, &t, FROM_ABOVE, eight_question(&e, asked));
    eight_expect(b, &e, asked, b->out->references);
    if (asked == EIGHT_BERTHS) eight_begin_berths(b, &e.fact[e.first[asked]]);
}

static const task TASKS[] = {
    {"needle_noise", "a fact among a few dull sentences, over and over", build_single, 32, NOISE | DEPTH},
    {"needle_text", "a fact in a long text", build_single, 32, DEPTH},
    {"needle_uuid", "a UUID in a long text", build_uuid, 48, DEPTH},
    {"multi_key", "a fact among three of the same form about other things", build_multi_key, 32, DEPTH},
    {"multi_value", "three facts about one thing, far apart", build_multi_value, 48, 0},
    {"multi_query", "three facts, asked for in one question", build_multi_query, 64, 0},
    {"variable_tracking", "four names for one number, each defined by the one before", build_variables, 48, 0},
    {"common_words", "the words that come up most often in a list", build_common_words, 48, LIST},
    {"frequent_words", "the words that occur most often in a coded message", build_frequent_words, 48, LIST},
    {"question_first", "a fact in a long text, with the question before the text", build_question_first, 32, DEPTH},
    {"two_questions", "two facts; the second is asked for after eviction, and only it counts", build_two_questions, 32,
     0},
    {"multi_turn", "a text in two messages and three questions, two of them asked after eviction", build_multi_turn, 32,
     0},
    {"eight_facts", "eight facts of eight kinds in one text; eight samples ask for one each", build_eight, 48,
     APART | TEXT},
    {"ingested", "the eight facts of one text, read as by judgeq ingest; then each is asked for", unknown_ingested, 32,
     APART | UNKNOWN | SAME | MANY},
    {"two_documents", "the eight facts in two texts, read one after the other; then each is asked for",
     unknown_two_documents, 32, APART | UNKNOWN | MANY},
    {"turn_ten", "a fact in a conversation's first turn, asked for in the tenth", unknown_turn_ten, 32,
     APART | UNKNOWN},
    {"continuation", "a real text's next tokens: negative log-likelihood, not a score; needs --text", NULL,
     CONTINUATION, APART},
};
enum { N_TASKS = sizeof TASKS / sizeof TASKS[0] };

/* ---- the whole --------------------------------------------------------------------------------------------------- */

const task *task_at(size_t index) {
    return index < N_TASKS ? &TASKS[index] : NULL;
}

const task *task_find(const char *name) {
    for (size_t i = 0; i < N_TASKS; i++) {
        if (strcmp(name, TASKS[i].name) == 0) return &TASKS[i];
    }
    return NULL;
}

const char *task_name(const task *t) {
    return t->name;
}

const char *task_summary(const task *t) {
    return t->summary;
}

int32_t task_tokens(const task *t) {
    return t->n_tokens;
}

int32_t task_answers(const task *t) {
    return (t->flags & MANY) ? EIGHT : 1;
}

bool task_is_own(const task *t) {
    return !(t->flags & APART);
}

bool task_is_unknown(const task *t) {
    return (t->flags & UNKNOWN) != 0;
}

/* Multiples of the golden ratio modulo 1 leave no gap, however many there are, and fall into step with nothing. */
static double depth_of(const task_request *r) {
    if (!isnan(r->depth)) return r->depth;
    return 0.05 + 0.9 * fmod(0.5 + r->index * 0.6180339887498949, 1);
}

/* About one text. */
static int32_t questions(const task *t) {
    return (t->flags & TEXT) ? EIGHT : 1;
}

/* The sample with n_unit units. */
static judgeq_status build(const task_request *r, int32_t n_unit, sample *out, judgeq_error *error) {
    const task *t = r->task;
    const bool unknown = task_is_unknown(t);
    char seed[128];
    builder b = {.request = r, .n_unit = n_unit, .depth = depth_of(r), .out = out};
    const uint64_t text = (uint64_t)(r->index / questions(t));
    const char *texts = (t->flags & SAME) ? "eight_facts" : t->name;
    snprintf(seed, sizeof seed, "%s/%d", texts, r->length);
    b.facts = chance_from(seed, r->seed, text);
    snprintf(seed, sizeof seed, "haystack/%s/%d", texts, r->length);
    b.haystack = haystack_from(r->source, (t->flags & NOISE) != 0, chance_from(seed, r->seed, text));
    *out = (sample){.task = strdup(t->name),
                    .family = r->family,
                    .metric = metric_find("all"),
                    .length = r->length,
                    .depth = (t->flags & DEPTH) ? b.depth : NAN,
                    .seed = r->seed,
                    .index = r->index,
                    .messages = json_array(),
                    .follow_ups = json_array(),
                    .references = json_array(),
                    .parts = unknown ? json_array() : NULL,
                    .given = unknown ? json_array() : NULL,
                    .asked = unknown ? json_array() : NULL,
                    .chat = true,
                    .n_tokens = t->n_tokens};
    t->build(&b);
    if (!b.failed && out->task) return JUDGEQ_OK;
    sample_free(out);
    return error_memory(error, "a sample");
}

/* Tokens with n_unit units; below 0 on failure. */
static int64_t count(const task_request *r, int32_t n_unit, judgeq_error *error) {
    sample s;
    if (build(r, n_unit, &s, error) != JUDGEQ_OK) return -1;
    const int64_t n = r->count(r->count_data, &s, error);
    sample_free(&s);
    return n;
}

static int32_t least_units(const task *t) {
    return (t->flags & LIST) ? 40 : 2;
}

/* Fewer units, until every question about the text fits after it: they all have the same text. */
static judgeq_status fit_others(const task_request *r, int32_t *n_unit, judgeq_error *error) {
    task_request other = *r;
    const int32_t n = questions(r->task), least = least_units(r->task);
    for (int32_t i = 0; n > 1 && i < n; i++) {
        other.index = r->index - r->index % n + i;
        for (bool fits = false; !fits && *n_unit > least; *n_unit -= !fits) {
            const int64_t n_token = count(&other, *n_unit, error);
            if (n_token < 0) return error->code;
            fits = n_token <= r->length;
        }
    }
    return JUDGEQ_OK;
}

/* The most units that fit. */
static judgeq_status fit(const task_request *r, int32_t *n_unit, judgeq_error *error) {
    int32_t low = least_units(r->task), high = 2 * r->length; /* a unit has more than half a token */
    const int64_t shortest = count(r, low, error);
    if (shortest < 0) return error->code;
    const judgeq_status status = task_check_shortest(r, shortest, error);
    if (status != JUDGEQ_OK) return status;
    while (low + 1 < high) {
        const int32_t middle = low + (high - low) / 2;
        const int64_t n = count(r, middle, error);
        if (n < 0) return error->code;
        *(n <= r->length ? &low : &high) = middle;
    }
    *n_unit = low;
    return fit_others(r, n_unit, error);
}

judgeq_status task_check_shortest(const task_request *r, int64_t n_token, judgeq_error *error) {
    if (n_token <= r->length) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_LIMIT, "task %s: the shortest prompt has %lld tokens, --length is %d",
                     r->task->name, (long long)n_token, r->length);
}

char *task_key(const task *t, sample_family family, int32_t length, double depth, uint64_t seed, int32_t index) {
    text_buffer key = {0};
    if (family == SAMPLE_GRID) text_print(&key, "grid/");
    text_print(&key, "%s/%d/", t->name, length);
    if (family == SAMPLE_GRID) text_print(&key, "%g/", depth);
    text_print(&key, "%llu/%d", (unsigned long long)seed, index);
    return text_take(&key);
}

/* The sample with n_unit units, and its key. */
static judgeq_status build_with_key(const task_request *r, int32_t n_unit, sample *out, judgeq_error *error) {
    const judgeq_status status = r->task->build ? build(r, n_unit, out, error) : continuation_make(r, out, error);
    if (status != JUDGEQ_OK) return status;
    out->key = task_key(r->task, r->family, r->length, r->depth, r->seed, r->index);
    if (out->key) return JUDGEQ_OK;
    sample_free(out);
    return error_memory(error, "a sample");
}

judgeq_status task_make_shortest(const task_request *r, sample *out, judgeq_error *error) {
    return build_with_key(r, least_units(r->task), out, error);
}

judgeq_status task_make(const task_request *r, sample *out, judgeq_error *error) {
    int32_t n_unit = 0;
    judgeq_error own = {0};
    *out = (sample){0};
    judgeq_status status = r->task->build ? fit(r, &n_unit, &own) : JUDGEQ_OK;
    if (status == JUDGEQ_OK) status = build_with_key(r, n_unit, out, &own);
    if (error) *error = own;
    return status;
}
