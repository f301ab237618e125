#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "needle.h"
#include "words.h"

/* A sample being made. A builder writes messages, follow-ups and references; the rest comes from the task. */
typedef struct builder {
    const task_request *request;
    int32_t n_unit; /* sentences, or words of a list */
    double depth;
    chance facts; /* the same for every n_unit */
    haystack haystack;
    sample *out;
    bool failed;
} builder;

enum { EIGHT = 8 }; /* questions about one text */

enum {
    NOISE = 1, /* its haystack is noise */
    DEPTH = 2, /* there is a single place to speak of */
    LIST = 4,  /* a unit is a word, and fewer than a handful make no list */
    APART = 8, /* not one of "own" */
    TEXT = 16, /* EIGHT samples in a row ask about one text */
};

struct task {
    const char *name, *summary;
    void (*build)(builder *b);
    int32_t n_tokens; /* of an answer */
    unsigned flags;
};

/* ---- parts of samples -------------------------------------------------------------------------------------------- */

static void append(builder *b, json_t *array, char *bytes) {
    json_t *string = bytes ? json_string(bytes) : NULL;
    if (!string || json_array_append_new(array, string) != 0) b->failed = true;
    free(bytes);
}

static void add_message(builder *b, text_buffer *t) {
    append(b, b->out->messages, text_take(t));
}

static void add_follow_up(builder *b, const char *words) {
    append(b, b->out->follow_ups, strdup(words));
}

/* What is asked, for readers of the results; follow-ups are there anyway. */
static void set_question(builder *b, const char *words) {
    b->out->question = strdup(words);
    if (!b->out->question) b->failed = true;
}

static void add_reference(builder *b, const char *reference) {
    append(b, b->out->references, strdup(reference));
}

/* Places of n sentences: the first at the sample's depth, the others in even steps, around the end to the beginning. */
static size_t spread(const builder *b, const needle_fact *fact, size_t n, needle_place *place) {
    for (size_t i = 0; i < n; i++) {
        place[i] = (needle_place){fmod(b->depth + (double)i / (double)n, 1), fact[i].sentence};
        if (i == 0) place[i].depth = b->depth;
    }
    return n;
}

/* How the answer begins, as in RULER's templates: a small model that is made to begin does not evade the question. */
static void begin_answer(builder *b, const char *words) {
    b->out->answer_prefix = strdup(words);
    if (!b->out->answer_prefix) b->failed = true;
}

/* The text, and a question at its end. before: the question's first words, which no record needs. */
static void ask(builder *b, text_buffer *text, const char *before, const char *question) {
    text_print(text, "\n\n%s%s", before, question);
    add_message(b, text);
    set_question(b, question);
}

static const char FROM_ABOVE[] = "Answer from the text above. ";

/* A document that hides n facts, and what is asked about it. */
static void ask_below(builder *b, const needle_fact *fact, size_t n, const char *question) {
    needle_place place[NEEDLES_MOST];
    text_buffer t = {0};
    needle_document(b->haystack, b->n_unit, place, spread(b, fact, n, place), &t);
    ask(b, &t, FROM_ABOVE, question);
}

/* A kind of fact that goes with the index, so that a few samples see them all. */
static needle_kind kind_of(const builder *b) {
    return (needle_kind)(b->request->index % NEEDLE_KINDS);
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static void build_single(builder *b) {
    needle_fact fact;
    needle_draw(&b->facts, kind_of(b), 1, &fact);
    ask_below(b, &fact, 1, fact.question);
    add_reference(b, fact.value);
}

static void build_uuid(builder *b) {
    needle_fact fact;
    needle_draw(&b->facts, NEEDLE_SEAL, 1, &fact);
    ask_below(b, &fact, 1, fact.question);
    add_reference(b, fact.value);
}

static void build_multi_key(builder *b) {
    needle_fact fact[4];
    needle_draw(&b->facts, kind_of(b), 4, fact);
    ask_below(b, fact, 4, fact[0].question);
    add_reference(b, fact[0].value);
}

/* Three facts about one thing, which is their key. */
static void draw_berths(builder *b, needle_fact fact[3]) {
    static const char *const line[] = {"Halberd", "Petrel", "Blue Riband", "Castellan", "Oriel", "Sandpiper"};
    const char *name = line[chance_below(&b->facts, sizeof line / sizeof line[0])];
    for (int i = 0; i < 3; i++) {
        needle_digits(&b->facts, 4, fact[i].value);
        snprintf(fact[i].key, NEEDLE_TEXT, "%s", name);
        snprintf(fact[i].sentence, NEEDLE_TEXT, "One berth of the %s line is berth %.8s.", name, fact[i].value);
        snprintf(fact[i].question, NEEDLE_TEXT, "Which three berths does the %s line have?", name);
    }
}

/* Their values are the references, and the answer is begun. */
static void expect_berths(builder *b, const needle_fact fact[3]) {
    char beginning[2 * NEEDLE_TEXT];
    for (int i = 0; i < 3; i++) add_reference(b, fact[i].value);
    snprintf(beginning, sizeof beginning, "The three berths of the %s line are", fact[0].key);
    begin_answer(b, beginning);
}

static void build_multi_value(builder *b) {
    needle_fact fact[3];
    draw_berths(b, fact);
    ask_below(b, fact, 3, fact[0].question);
    expect_berths(b, fact);
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
    begin_answer(b, question);
    for (int i = 0; i < 3; i++) add_reference(b, fact[i].value);
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
    begin_answer(b, "The four chests are");
    for (int i = 0; i < 4; i++) add_reference(b, name[i]);
}

/* The list is in *text; its n words that are asked for are the references. */
static void ask_for_words(builder *b, text_buffer *text, const char *question, const char *answer,
                          const char *const *word, int n) {
    ask(b, text, "", question);
    begin_answer(b, answer);
    for (int i = 0; i < n; i++) add_reference(b, word[i]);
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
    needle_draw(&b->facts, kind_of(b), 1, &fact);
    text_print(&t, "I have a question about a text: %s I will send you the text now.", fact.question);
    add_message(b, &t);
    text_print(&t, "I will read it and answer your question.");
    add_message(b, &t);
    needle_document(b->haystack, b->n_unit, &place, spread(b, &fact, 1, &place), &t);
    text_print(&t, "\n\nThat was the text. What is the answer to my question?");
    add_message(b, &t);
    set_question(b, fact.question);
    add_reference(b, fact.value);
}

/* The second question is not known when the rows are chosen; only its answer counts. */
static void build_two_questions(builder *b) {
    needle_fact fact[2];
    needle_draw(&b->facts, kind_of(b), 1, &fact[1]);
    needle_draw(&b->facts, (needle_kind)((kind_of(b) + 1) % NEEDLE_KINDS), 1, &fact[0]);
    ask_below(b, fact, 2, fact[0].question);
    char again[2 * NEEDLE_TEXT];
    snprintf(again, sizeof again, "Now another question about the text. %s", fact[1].question);
    add_follow_up(b, again);
    add_reference(b, fact[1].value);
    b->out->last_answer = true;
}

/* The text comes in two messages, then three questions, of which the first is known when the rows are chosen. */
static void build_multi_turn(builder *b) {
    needle_fact fact[3];
    needle_place place[3];
    text_buffer t = {0};
    for (int i = 0; i < 3; i++) needle_draw(&b->facts, (needle_kind)((kind_of(b) + i) % NEEDLE_KINDS), 1, &fact[i]);
    spread(b, fact, 3, place);
    text_print(&t, "I will send you a text in two parts. This is the first part.\n\n");
    needle_document(b->haystack, b->n_unit / 2, place, 1, &t);
    add_message(b, &t);
    text_print(&t, "Thank you. I have read the first part.");
    add_message(b, &t);
    text_print(&t, "This is the second part.\n\n");
    b->haystack.draw = chance_from("second part", b->request->seed, (uint64_t)b->request->index);
    b->haystack.next += (size_t)b->n_unit;
    needle_document(b->haystack, b->n_unit - b->n_unit / 2, place + 1, 2, &t);
    ask(b, &t, "Answer from the text. ", fact[0].question);
    for (int i = 1; i < 3; i++) add_follow_up(b, fact[i].question);
    for (int i = 0; i < 3; i++) add_reference(b, fact[i].value);
}

/* The facts of one text, and which of them are the answer to which question. */
typedef struct eight {
    needle_fact fact[NEEDLES_MOST];
    size_t first[EIGHT + 1]; /* of each question; the last one's end */
} eight;

/* One fact of each kind, three berths of one line, and a locker among three others. */
static void draw_eight(builder *b, eight *e) {
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
    e->first[EIGHT - 1] = n;
    draw_berths(b, &e->fact[n]);
    e->first[EIGHT] = n + 3;
}

/* Questions at even steps in random order; what else belongs to one follows as in spread(). */
static void place_eight(builder *b, const eight *e, size_t asked, needle_place *place) {
    size_t order[EIGHT];
    for (size_t i = 0; i < EIGHT; i++) order[i] = i;
    chance_shuffle(&b->facts, order, EIGHT, sizeof *order);
    for (size_t i = 0; i < EIGHT; i++) {
        b->depth = ((double)order[i] + 0.5) / EIGHT;
        spread(b, &e->fact[e->first[i]], e->first[i + 1] - e->first[i], &place[e->first[i]]);
        if (i == asked) b->out->depth = b->depth;
    }
}

/* References: the two words of a date by themselves, the three berths, or the value. */
static void expect_one(builder *b, const needle_fact *fact, size_t asked) {
    enum { EVENT = 3, BERTHS = EIGHT - 1 };
    char words[NEEDLE_TEXT], *rest = words;
    snprintf(words, sizeof words, "%s", fact->value);
    if (asked == BERTHS) {
        expect_berths(b, fact);
    } else if (asked == EVENT) {
        for (char *word; (word = strtok_r(rest, " ", &rest));) add_reference(b, word);
    } else {
        add_reference(b, words);
    }
}

static void build_eight(builder *b) {
    const size_t asked = (size_t)b->request->index % EIGHT;
    eight e;
    needle_place place[NEEDLES_MOST];
    text_buffer t = {0};
    draw_eight(b, &e);
    place_eight(b, &e, asked, place);
    needle_document(b->haystack, b->n_unit, place, e.first[EIGHT], &t);
    const needle_fact *fact = &e.fact[e.first[asked]];
    ask(b, &t, FROM_ABOVE, fact->question);
    expect_one(b, fact, asked);
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

bool task_is_own(const task *t) {
    return !(t->flags & APART);
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
    char seed[128];
    builder b = {.request = r, .n_unit = n_unit, .depth = depth_of(r), .out = out};
    const uint64_t text = (uint64_t)(r->index / questions(t));
    snprintf(seed, sizeof seed, "%s/%d", t->name, r->length);
    b.facts = chance_from(seed, r->seed, text);
    snprintf(seed, sizeof seed, "haystack/%s/%d", t->name, r->length);
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
    const judgeq_status status = build(r, n_unit, out, error);
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
    judgeq_status status = fit(r, &n_unit, &own);
    if (status == JUDGEQ_OK) status = build_with_key(r, n_unit, out, &own);
    if (error) *error = own;
    return status;
}
