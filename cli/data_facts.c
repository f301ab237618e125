#include "data_facts.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuts.h"

/* ---- what facts are made of -------------------------------------------------------------------------------------- */

typedef enum value_kind {
    VALUE_NUMBER,    /* 48213 */
    VALUE_REFERENCE, /* KT-3391 */
    VALUE_HEX,       /* 9f03ac61 */
    VALUE_PERSON,
    VALUE_PLACE,
    VALUE_DAY,    /* 14 March */
    VALUE_CLOCK,  /* 17:45 */
    VALUE_AMOUNT, /* 3,412 crowns */
    VALUE_ANIMAL,
    VALUE_PHRASE,  /* maple-harbour */
    VALUE_LICENSE, /* KX7Q-22LM-9TPA-W4ZD */
    VALUE_DIGEST,  /* 16 to 32 hexadecimal digits */
    VALUE_PHONE,   /* 0161 555 4821 */
    VALUE_DATE,    /* March 14, 1987 */
    VALUE_TITLE,   /* The Lemon Ladder of Bilbao */
    VALUE_ADDRESS  /* 27 Orchard Lane, Leeds */
} value_kind;

/* In a statement, $k stands for what the fact is about and $v for what is said of it. In a question, $k alone. */
typedef struct shape {
    const char *statement[2];
    const char *question, *reverse; /* reverse: asks for $k by $v, or NULL */
    const char *several;            /* asks for all values of one $k, or NULL */
    const char *const *keys;        /* NULL-terminated; NULL: keys that look like each other, such as K31 */
    value_kind value;
} shape;

#define LIST(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

LIST(GIVEN, "Selma", "Tobias", "Yusuf", "Greta", "Anselm", "Lucia", "Henrik", "Odile", "Ravi", "Marta", "Silvio",
     "Wanda", "Isaac", "Noor", "Pavel", "Celia", "Dmitri", "Ruth", "Edgar", "Kiri", "Lorenzo", "Thea", "Malik",
     "Agnes");
LIST(FAMILY, "Okafor", "Berger", "Santini", "Novak", "Hale", "Whitlock", "Rasmussen", "Oduya", "Keller", "Marchetti",
     "Pryce", "Lund", "Abbasi", "Torres", "Vance", "Siddiqui", "Ferrand", "Mori", "Halloran", "Brooks");
LIST(PLACES, "Ghent", "Tampere", "Porto", "Leeds", "Graz", "Izmir", "Malmö", "Bilbao", "Split", "Cardiff", "Lyon",
     "Quito", "Nagoya", "Austin", "Perth", "Tbilisi", "Utrecht", "Salerno", "Halifax", "Mombasa", "Denver", "Cordoba");
LIST(MONTHS, "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
     "November", "December");
LIST(ANIMALS, "falcon", "badger", "lynx", "tortoise", "salmon", "raven", "hedgehog", "dolphin", "moose", "gecko",
     "pelican", "ferret", "bison", "cobra", "magpie", "walrus");
LIST(FIRST_WORDS, "maple", "granite", "orange", "winter", "paper", "cobalt", "thunder", "lemon", "shadow", "ivory",
     "desert", "lunar");
LIST(SECOND_WORDS, "harbour", "ladder", "orchard", "signal", "bridge", "falcon", "river", "engine", "mirror", "garden",
     "castle", "rocket");

LIST(CUSTOMERS, "bakery on Mill Street", "Northgate clinic", "harbour museum", "Linden school", "ferry company",
     "printing house", "village library", "tennis club", "observatory", "dairy cooperative", "steel works",
     "botanical garden");
LIST(TEAMS, "payroll team", "rescue squad", "editorial board", "translation desk", "night shift", "audit committee",
     "youth orchestra", "repair crew", "survey party", "planning office", "kitchen staff", "press department");
LIST(EVENTS, "annual meeting", "spring concert", "safety drill", "budget review", "book fair", "summer camp",
     "chess final", "harvest supper", "product launch", "alumni dinner", "coding workshop", "charity auction");
LIST(JOBS, "roof repair", "new heating", "bus rental", "stage lighting", "garden fence", "water pump",
     "network upgrade", "window cleaning", "piano tuning", "parking permit", "office carpet", "alarm system");
LIST(MACHINES, "backup server", "blue printer", "loading crane", "coffee machine", "test bench", "mail gateway",
     "label press", "freight elevator", "weather balloon", "plotter", "archive scanner", "solar charger");
LIST(LINES, "airport bus", "night train", "island ferry", "mountain tram", "school coach", "harbour shuttle",
     "express to the coast", "market bus", "valley train", "hospital shuttle", "museum boat", "campus tram");
LIST(SERVICES, "billing service", "image store", "search index", "mail relay", "login portal", "metrics collector",
     "map server", "chat bridge", "payment gateway", "video encoder", "task queue", "license checker");

LIST(STREETS, "Orchard", "Station", "Church", "Garden", "Castle", "River", "Market", "School", "Bridge", "Forest");

static const shape SHAPES[] = {
    {{"The invoice of the $k carries the reference $v.", "For the $k, the reference on the invoice reads $v."},
     "Which reference does the invoice of the $k carry?",
     "Whose invoice carries the reference $v?",
     "Which references do the invoices of the $k carry?",
     CUSTOMERS,
     VALUE_REFERENCE},
    {{"The $k can be reached on extension $v.", "Whoever needs the $k should dial extension $v."},
     "On which extension can the $k be reached?",
     "Who can be reached on extension $v?",
     "On which extensions can the $k be reached?",
     TEAMS,
     VALUE_NUMBER},
    {{"$v is in charge of the $k this year.", "This year the $k is led by $v."},
     "Who is in charge of the $k?",
     "What is $v in charge of?",
     NULL,
     TEAMS,
     VALUE_PERSON},
    {{"This time the $k will be held in $v.", "People are travelling to $v for the $k."},
     "Where will the $k be held?",
     "What will be held in $v?",
     "In which places will the $k be held?",
     EVENTS,
     VALUE_PLACE},
    {{"The $k was moved to $v.", "Everyone should note $v as the day of the $k."},
     "To which day was the $k moved?",
     "What was moved to $v?",
     NULL,
     EVENTS,
     VALUE_DAY},
    {{"We paid $v for the $k.", "In the end the $k came to $v."},
     "How much was paid for the $k?",
     "What cost $v?",
     NULL,
     JOBS,
     VALUE_AMOUNT},
    {{"The serial number of the $k is $v.", "A sticker on the $k shows the serial number $v."},
     "What is the serial number of the $k?",
     "Which machine has the serial number $v?",
     NULL,
     MACHINES,
     VALUE_NUMBER},
    {{"The last $k leaves at $v.", "On weekdays the $k departs at $v."},
     "When does the $k leave?",
     "What leaves at $v?",
     "At which times does the $k leave?",
     LINES,
     VALUE_CLOCK},
    {{"The access token of the $k starts with $v.", "Remember that $v is the token for the $k."},
     "What is the token of the $k?",
     "Which service has the token $v?",
     "What are the tokens of the $k?",
     SERVICES,
     VALUE_HEX},
    {{"The mascot of the $k is a $v.", "A $v was chosen as the mascot of the $k."},
     "What is the mascot of the $k?",
     "Whose mascot is a $v?",
     NULL,
     TEAMS,
     VALUE_ANIMAL},
    {{"The passphrase for the $k is $v.", "To unlock the $k, type $v."},
     "What is the passphrase for the $k?",
     "What does the passphrase $v unlock?",
     NULL,
     SERVICES,
     VALUE_PHRASE},
    {{"The spare part for the $k was ordered under number $v.", "Order $v is the spare part for the $k."},
     "Under which number was the spare part for the $k ordered?",
     "For which machine is the order $v?",
     "Under which numbers were spare parts for the $k ordered?",
     MACHINES,
     VALUE_REFERENCE},
    {{"$v did the $k.", "The $k was done by $v."},
     "Who did the $k?",
     "What did $v do?",
     "Which people did the $k?",
     JOBS,
     VALUE_PERSON},
    {{"The $k sent us a box with $v parcels.", "From the $k came a delivery of $v parcels."},
     "How many parcels came from the $k?",
     NULL,
     NULL,
     CUSTOMERS,
     VALUE_NUMBER},
    {{"The license of the $k is $v.", "We registered the $k with the license $v."},
     "Which license does the $k have?",
     "What is registered with the license $v?",
     NULL,
     SERVICES,
     VALUE_LICENSE},
    {{"The checksum of the $k is $v.", "For the $k a checksum of $v was computed."},
     "What is the checksum of the $k?",
     NULL,
     NULL,
     MACHINES,
     VALUE_DIGEST},
    {{"The $k has the telephone number $v.", "Call $v to speak to the $k."},
     "What is the telephone number of the $k?",
     "Whose telephone number is $v?",
     "What are the telephone numbers of the $k?",
     CUSTOMERS,
     VALUE_PHONE},
    {{"The contract for the $k was signed on $v.", "On $v we signed the contract for the $k."},
     "On what day was the contract for the $k signed?",
     "For what was a contract signed on $v?",
     NULL,
     JOBS,
     VALUE_DATE},
    {{"The motto of the $k is \"$v\".", "\"$v\" is what the $k chose as a motto."},
     "What is the motto of the $k?",
     "Whose motto is \"$v\"?",
     NULL,
     TEAMS,
     VALUE_TITLE},
    {{"The $k moved to $v.", "Letters for the $k should go to $v."},
     "What is the address of the $k?",
     "Who has the address $v?",
     NULL,
     CUSTOMERS,
     VALUE_ADDRESS},
    {{"Shelf $k holds the parcel with the number $v.", "The parcel with the number $v lies on shelf $k."},
     "What is the number of the parcel on shelf $k?",
     "On which shelf does the parcel with the number $v lie?",
     "What are the numbers of the parcels on shelf $k?",
     NULL,
     VALUE_NUMBER},
    {{"Room $k was given to $v.", "$v works in room $k."},
     "Who works in room $k?",
     "In which room does $v work?",
     NULL,
     NULL,
     VALUE_PERSON},
    {{"Sample $k has the fingerprint $v.", "The fingerprint $v was taken from sample $k."},
     "Which fingerprint does sample $k have?",
     "Which sample has the fingerprint $v?",
     NULL,
     NULL,
     VALUE_DIGEST},
    {{"Ticket $k was closed under the reference $v.", "See $v for the outcome of ticket $k."},
     "Under which reference was ticket $k closed?",
     "Which ticket was closed under the reference $v?",
     NULL,
     NULL,
     VALUE_REFERENCE},
    {{"Meter $k showed $v units.", "A reading of $v units was taken from meter $k."},
     "How many units did meter $k show?",
     "Which meter showed $v units?",
     "Which readings were taken from meter $k?",
     NULL,
     VALUE_NUMBER},
    {{"Copy $k of the program has the license $v.", "The license $v belongs to copy $k of the program."},
     "Which license does copy $k of the program have?",
     "Which copy of the program has the license $v?",
     NULL,
     NULL,
     VALUE_LICENSE},
    {{"For gate $k the password is $v.", "Say $v to pass gate $k."},
     "What is the password for gate $k?",
     "Which gate has the password $v?",
     NULL,
     NULL,
     VALUE_PHRASE},
    {{"Passenger $k sits beside $v.", "The seat next to passenger $k was given to $v."},
     "Who sits beside passenger $k?",
     "Beside which passenger does $v sit?",
     NULL,
     NULL,
     VALUE_PERSON},
};

LIST(ORDERS, "Answer from the text.", "Answer in one sentence, using the text.", "The text contains the answer.",
     "Look it up in the text.", "Reply with what the text says.", "Please be brief.");

enum {
    N_SHAPES = sizeof SHAPES / sizeof SHAPES[0],
    FACTS_MOST = 8,
    FACTS_LATER = 4,     /* at least, for questions that come later */
    SENTENCE_MOST = 600, /* bytes */
    ASKED_MOST = 3,
    KEYS = 12,
    KEY_SIZE = 64,
    VALUE_SIZE = 64
};

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

static const char *pick(chance *random, const char *const *list) {
    size_t n = 0;
    while (list[n]) n++;
    return list[chance_below(random, n)];
}

/* `n` characters drawn from `alphabet`, a dash after every `group` of them where that is not 0. */
static void draw_characters(chance *random, const char *alphabet, size_t n, size_t group, char *out) {
    const size_t letters = strlen(alphabet);
    for (size_t i = 0; i < n; i++) {
        if (group > 0 && i > 0 && i % group == 0) *out++ = '-';
        *out++ = alphabet[chance_below(random, letters)];
    }
    *out = 0;
}

static void draw_value(chance *random, value_kind kind, char *out) {
    const int digits = (int)chance_below(random, 9000) + 1000;
    switch (kind) {
    case VALUE_NUMBER:
        snprintf(out, VALUE_SIZE, "%zu",
                 chance_below(random, 2) ? 10000 + chance_below(random, 9990000) : (size_t)digits);
        break;
    case VALUE_REFERENCE:
        snprintf(out, VALUE_SIZE, "%c%c-%d", (int)('A' + chance_below(random, 26)),
                 (int)('A' + chance_below(random, 26)), digits);
        break;
    case VALUE_HEX:
        snprintf(out, VALUE_SIZE, "%08zx", chance_below(random, (size_t)1 << 32));
        break;
    case VALUE_PERSON:
        snprintf(out, VALUE_SIZE, "%s %s", pick(random, GIVEN), pick(random, FAMILY));
        break;
    case VALUE_PLACE:
        snprintf(out, VALUE_SIZE, "%s", pick(random, PLACES));
        break;
    case VALUE_DAY:
        snprintf(out, VALUE_SIZE, "%zu %s", 1 + chance_below(random, 28), pick(random, MONTHS));
        break;
    case VALUE_CLOCK:
        snprintf(out, VALUE_SIZE, "%02zu:%02zu", 5 + chance_below(random, 19), 5 * chance_below(random, 12));
        break;
    case VALUE_AMOUNT:
        snprintf(out, VALUE_SIZE, "%d,%03zu crowns", digits % 9 + 1, chance_below(random, 1000));
        break;
    case VALUE_ANIMAL:
        snprintf(out, VALUE_SIZE, "%s", pick(random, ANIMALS));
        break;
    case VALUE_PHRASE:
        snprintf(out, VALUE_SIZE, "%s-%s", pick(random, FIRST_WORDS), pick(random, SECOND_WORDS));
        break;
    case VALUE_LICENSE:
        draw_characters(random, "ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 16, 4, out);
        break;
    case VALUE_DIGEST:
        draw_characters(random, "0123456789abcdef", 16 + 8 * chance_below(random, 3), 0, out);
        break;
    case VALUE_PHONE:
        snprintf(out, VALUE_SIZE, "0%zu %zu %d", 100 + chance_below(random, 900), 100 + chance_below(random, 900),
                 digits);
        break;
    case VALUE_DATE:
        snprintf(out, VALUE_SIZE, "%s %zu, %zu", pick(random, MONTHS), 1 + chance_below(random, 28),
                 1950 + chance_below(random, 76));
        break;
    case VALUE_TITLE:
        snprintf(out, VALUE_SIZE, "The %s %s of %s", pick(random, FIRST_WORDS), pick(random, SECOND_WORDS),
                 pick(random, PLACES));
        break;
    case VALUE_ADDRESS:
        snprintf(out, VALUE_SIZE, "%zu %s Lane, %s", 1 + chance_below(random, 199), pick(random, STREETS),
                 pick(random, PLACES));
        break;
    }
}

/* ---- facts ------------------------------------------------------------------------------------------------------- */

typedef struct fact {
    const shape *shape;
    char key[KEY_SIZE];
    char value[VALUE_SIZE];
} fact;

/* What is hidden: `n` facts, of which the first n_asked are asked for. */
typedef struct facts {
    fact fact[FACTS_MOST];
    size_t n, n_asked;
    bool one_key; /* all that are asked for are values of one key */
    bool reverse; /* the key is asked for, by its value */
} facts;

static bool taken(const facts *f, const fact *candidate, bool same_key_allowed) {
    for (size_t i = 0; i < f->n && i < FACTS_MOST; i++) {
        const fact *other = &f->fact[i];
        if (strcmp(other->value, candidate->value) == 0) return true;
        if (!same_key_allowed && other->shape == candidate->shape && strcmp(other->key, candidate->key) == 0) {
            return true;
        }
    }
    return false;
}

/* `key` itself, or where that is NULL, one of the shape's. */
static void draw_key(chance *random, const shape *of, const char *key, char *out) {
    if (!key && !of->keys) {
        snprintf(out, KEY_SIZE, "%c%zu", (int)('A' + chance_below(random, 26)), 10 + chance_below(random, 90));
    } else {
        snprintf(out, KEY_SIZE, "%s", key ? key : of->keys[chance_below(random, KEYS)]);
    }
}

/* Adds a fact of a shape, with `key` or, where that is NULL, with one of its own. */
static void add_fact(facts *f, chance *random, const shape *of, const char *key) {
    fact candidate = {.shape = of};
    do {
        draw_key(random, of, key, candidate.key);
        draw_value(random, of->value, candidate.value);
    } while (taken(f, &candidate, key != NULL));
    f->fact[f->n++] = candidate;
}

/* One fact is asked for, or two or three of any kinds, or all values of one key; others of the same kind, or of any
 * kinds, stand beside them. */
static void draw_facts(facts *f, chance *random) {
    *f = (facts){0};
    const shape *of = &SHAPES[chance_below(random, N_SHAPES)];
    const size_t form = chance_below(random, 4), n_others = chance_below(random, FACTS_MOST - ASKED_MOST + 1);
    const bool alike = chance_below(random, 2) == 0;
    f->one_key = form == 0 && of->several;
    f->n_asked = f->one_key || form == 1 ? 2 + chance_below(random, ASKED_MOST - 1) : 1;
    add_fact(f, random, of, NULL);
    while (f->n < f->n_asked) {
        add_fact(f, random, alike || f->one_key ? of : &SHAPES[chance_below(random, N_SHAPES)],
                 f->one_key ? f->fact[0].key : NULL);
    }
    for (size_t i = 0; i < n_others; i++) {
        add_fact(f, random, alike ? of : &SHAPES[chance_below(random, N_SHAPES)], NULL);
    }
}

/* Facts that are asked for one by one: of one kind, or of any. */
static void draw_many(facts *f, chance *random) {
    *f = (facts){0};
    const shape *of = &SHAPES[chance_below(random, N_SHAPES)];
    const size_t n = FACTS_LATER + chance_below(random, FACTS_MOST - FACTS_LATER + 1);
    const bool alike = chance_below(random, 2) == 0;
    while (f->n < n) add_fact(f, random, alike ? of : &SHAPES[chance_below(random, N_SHAPES)], NULL);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* A template with its $k and $v filled in. */
static void put_template(FILE *out, const char *template, const fact *f) {
    for (const char *c = template; *c; c++) {
        if (c[0] == '$' && (c[1] == 'k' || c[1] == 'v')) {
            fputs(c[1] == 'k' ? f->key : f->value, out);
            c++;
        } else {
            fputc(*c, out);
        }
    }
}

/* Decides which way round is asked, too. */
static void put_question(FILE *out, facts *f, chance *random) {
    f->reverse = f->n_asked == 1 && f->fact[0].shape->reverse && chance_below(random, 5) == 0;
    const char *order = pick(random, ORDERS);
    const bool first = chance_below(random, 2) == 0;
    if (first) fprintf(out, "%s ", order);
    for (size_t i = 0; i < (f->one_key ? 1 : f->n_asked); i++) {
        const shape *of = f->fact[i].shape;
        if (i > 0) fputc(' ', out);
        put_template(out, f->one_key ? of->several : f->reverse ? of->reverse : of->question, &f->fact[i]);
    }
    if (!first) fprintf(out, " %s", order);
}

static bool add_answers(const facts *f, json_t *answers) {
    bool added = true;
    for (size_t i = 0; added && i < f->n_asked; i++) {
        const fact *at = &f->fact[i];
        added = json_array_append_new(answers, json_string(f->reverse ? at->key : at->value)) == 0;
    }
    return added;
}

/* The end of the sentence or line that ends at or after `from`; `length` where there is none. */
static size_t next_end(const char *passage, size_t length, size_t from) {
    for (size_t i = from; i + 1 < length; i++) {
        if (passage[i] == '\n' && i > 0) return i + 1;
        const size_t stop = cuts_stop(passage, length, i);
        if (stop > 0) return i + stop;
    }
    return length;
}

/* The same where sentences end soon; in texts without full stops, after a word or a character. */
static size_t sentence_end(const char *passage, size_t length, size_t from) {
    const size_t end = next_end(passage, length, from);
    if (end - from <= SENTENCE_MOST) return end;
    const char *space = memchr(passage + from, ' ', SENTENCE_MOST);
    return space ? (size_t)(space - passage) + 1 : cuts_character(passage, length, from);
}

static int compare_places(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void put_passage(FILE *out, const facts *f, chance *random, const char *passage, size_t length) {
    size_t place[FACTS_MOST], order[FACTS_MOST];
    for (size_t i = 0; i < f->n; i++) {
        place[i] = length > 0 ? sentence_end(passage, length, chance_below(random, length)) : 0;
        order[i] = i;
    }
    qsort(place, f->n, sizeof *place, compare_places);
    for (size_t i = f->n; i > 1; i--) {
        const size_t k = chance_below(random, i), last = order[i - 1];
        order[i - 1] = order[k];
        order[k] = last;
    }
    size_t done = 0;
    for (size_t i = 0; i < f->n; i++) {
        const fact *at = &f->fact[order[i]];
        fwrite(passage + done, 1, place[i] - done, out);
        done = place[i];
        put_template(out, at->shape->statement[chance_below(random, 2)], at);
        fputc(done > 0 && passage[done - 1] == '\n' ? '\n' : ' ', out);
    }
    fwrite(passage + done, 1, length - done, out);
}

/* What was written to a stream that open_memstream made; NULL, and freed, where that failed or `good` is not. */
static char *close_text(FILE *out, char **text, bool good) {
    const bool whole = !ferror(out) && good;
    if (fclose(out) == 0 && whole) return *text;
    free(*text);
    return NULL;
}

char *data_facts_hide(chance *random, const char *passage, size_t length, json_t *answers) {
    facts f;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    draw_facts(&f, random);
    const bool before = chance_below(random, 4) == 0;
    if (before) {
        put_question(out, &f, random);
        fputs("\n\n", out);
    }
    put_passage(out, &f, random, passage, length);
    if (!before) {
        fputs("\n\n", out);
        put_question(out, &f, random);
    }
    return close_text(out, &text, add_answers(&f, answers));
}

/* The question about one fact, as an object. */
static json_t *make_question(const fact *of, chance *random) {
    facts f = {.n = 1, .n_asked = 1};
    f.fact[0] = *of;
    char *text = NULL;
    size_t size = 0;
    json_t *answers = json_array();
    FILE *out = open_memstream(&text, &size);
    if (out) put_question(out, &f, random);
    char *question = out ? close_text(out, &text, add_answers(&f, answers)) : NULL;
    json_t *made = question ? json_pack("{s:s, s:O}", "question", question, "answers", answers) : NULL;
    json_decref(answers);
    free(question);
    return made;
}

char *data_facts_hide_all(chance *random, const char *passage, size_t length, json_t *questions) {
    facts f;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    draw_many(&f, random);
    put_passage(out, &f, random, passage, length);
    bool added = true;
    for (size_t i = 0; added && i < f.n; i++) {
        added = json_array_append_new(questions, make_question(&f.fact[i], random)) == 0;
    }
    return close_text(out, &text, added);
}
