#include "needle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 16 };

/* Lists of KEYS names, with "|" between them. */
static const char BARGES[] = "Calliope|Meridian|Patience|Northern Light|Kittiwake|Harlequin|Tamarisk|Providence|"
                             "Wanderer|Zephyr|Halcyon|Undine|Pelican|Evening Star|Dauntless|Marigold";
static const char COOKS[] =
    "Aunt Ottilie|Uncle Barnaby|Cousin Philippa|Madame Rosalba|Captain Yorick|Sister Benedetta|Grandmother Sunniva|"
    "Baron Lucius|Miss Carmichael|Chef Anatole|Farmer Gudrun|Pilot Ezekiel|Lady Winifred|Master Tobias|Judge Hortense|"
    "Nurse Apolline";
static const char INGREDIENTS[] = "saffron|juniper|nutmeg|tarragon|molasses|horseradish|cardamom|chestnut|fennel|"
                                  "rosewater|paprika|buttermilk|aniseed|quince|thyme|elderflower";
static const char GUILDS[] = "lacemakers|beekeepers|engravers|coopers|saddlers|chandlers|stonecutters|weavers|"
                             "clockmakers|printers|furriers|dyers|gilders|thatchers|potters|cartographers";
static const char INN_FIRST[] = "Silver|Laughing|Crooked|Sleeping|Emerald|Broken|Merry|Wooden|Humble|Flying|Scarlet|"
                                "Lonely|Jolly|Ivory|Dancing|Thirsty";
static const char INN_SECOND[] = "Anchor|Badger|Crown|Falcon|Griffin|Hound|Kettle|Lion|Mermaid|Oak|Pheasant|Rooster|"
                                 "Sickle|Tortoise|Unicorn|Windmill";
static const char LOTS[] =
    "walnut clock|marble bust|rosewood desk|porcelain vase|oil portrait|brass sextant|velvet curtain|crystal decanter|"
    "ebony flute|silver tureen|Persian carpet|mahogany harp|coral necklace|leaded window|gilded mirror|"
    "globe of the stars";
static const char LEDGERS[] = "tax|harbour|salt|tobacco|timber|customs|grain|wool|spice|copper|silk|cider|cattle|"
                              "lamp oil|paper|herring";
static const char EVENTS[] =
    "mill fire|ice flood|theft of the crown|royal visit|balloon flight|tulip riot|great regatta|salt strike|"
    "opening of the tunnel|collapse of the tower|stranding of the whale|lighthouse fire|organ contest|census quarrel|"
    "launch of the steamer|siege of the fort";
static const char LOCKERS[] = "A31|B72|C58|D14|E93|F26|G47|H65|A86|B19|C24|D77|E42|F91|G13|H38";
static const char PEOPLE[] =
    "Amira Castellan|Bruno Haddad|Clemens Dvorak|Dorothea Brandt|Emil Kowalski|Fatima Adebayo|Goran Ivanova|"
    "Hanneke Jansen|Ines Ferreira|Jonas Lindqvist|Katya Moreau|Leopold Grunwald|Mireille Haddock|Nadia Ekdahl|"
    "Otto Jacobsen|Petra Novak";
static const char CITIES[] = "Lisbon|Nairobi|Osaka|Helsinki|Montevideo|Cracow|Toronto|Marseille|Bergen|Hanoi|Tunis|"
                             "Seville|Antwerp|Adelaide|Havana|Glasgow";
static const char SPECIMENS[] =
    "fossil fern|blue meteorite|whale tooth|amber beetle|bog oak|glass sponge|copper nugget|mammoth hair|"
    "petrified cone|coral fan|ammonite|trilobite|lava bomb|cave pearl|sea lily|shark jaw";
/* Neither March nor May: they are other words, too. Some come twice. */
static const char MONTHS[] = "January|February|April|June|July|August|September|October|November|December|January|"
                             "April|June|August|October|December";

/* How a kind says its facts and asks for them: what stands before, between and after key and value. */
static const struct {
    const char *keys, *before, *between, *after, *ask, *asked;
} FORMS[] = {
    [NEEDLE_HULL] = {BARGES, "The barge ", " has hull number ", ".", "Which hull number does the barge ", " have?"},
    [NEEDLE_INGREDIENT] = {COOKS, "The secret ingredient of ", " is ", ".", "What is the secret ingredient of ", "?"},
    [NEEDLE_INN] = {GUILDS, "The guild of the ", " meets at the inn called ", ".",
                    "At which inn does the guild of the ", " meet?"},
    [NEEDLE_PRICE] = {LOTS, "At the auction the ", " fetched ", " guilders.", "How many guilders did the ",
                      " fetch at the auction?"},
    [NEEDLE_SEAL] = {LEDGERS, "The seal on the ", " ledger reads ", ".", "What does the seal on the ", " ledger read?"},
    [NEEDLE_EVENT] = {EVENTS, "The ", " took place in ", ".", "In which month and year did the ", " take place?"},
    [NEEDLE_LOCKER] = {LOCKERS, "The key of locker ", " bears the number ", ".", "Which number does the key of locker ",
                       " bear?"},
    [NEEDLE_HOME] = {PEOPLE, "The home of ", " is in the city of ", ".", "In which city does ", " live?"},
    [NEEDLE_SPECIMEN] = {SPECIMENS, "The ", " is filed under the identifier ", ".", "What is the identifier of the ",
                         "?"},
};

/* Writes names[index] into out [NEEDLE_TEXT]. */
static void name_at(const char *names, size_t index, char *out) {
    for (; index > 0; index--) names = strchr(names, '|') + 1;
    snprintf(out, NEEDLE_TEXT, "%.*s", (int)strcspn(names, "|"), names);
}

void needle_digits(chance *d, int n, char *out) {
    for (int i = 0; i < n; i++) out[i] = (char)('0' + (i == 0 ? 1 + chance_below(d, 9) : chance_below(d, 10)));
    out[n] = '\0';
}

/* A hexadecimal digit for every x. */
static void draw_hexadecimal(chance *d, const char *form, char *out) {
    do *out++ = *form == 'x' ? "0123456789abcdef"[chance_below(d, 16)] : *form;
    while (*form++);
}

/* other: a place in a list, different for all facts of one call. */
static void draw_value(chance *d, needle_kind kind, size_t other, char *out) {
    char first[NEEDLE_TEXT], second[NEEDLE_TEXT];
    switch (kind) {
    case NEEDLE_HULL:
        needle_digits(d, 7, out);
        break;
    case NEEDLE_INGREDIENT:
        name_at(INGREDIENTS, other, out);
        break;
    case NEEDLE_INN:
        name_at(INN_FIRST, other, first);
        name_at(INN_SECOND, chance_below(d, KEYS), second);
        snprintf(out, NEEDLE_TEXT, "%.64s %.64s", first, second);
        break;
    case NEEDLE_EVENT:
        name_at(MONTHS, other, first);
        snprintf(out, NEEDLE_TEXT, "%.64s %zu", first, 1710 + chance_below(d, 180));
        break;
    case NEEDLE_SEAL:
        draw_hexadecimal(d, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", out);
        break;
    case NEEDLE_SPECIMEN:
        draw_hexadecimal(d, "xxxxxxxx-xxxx-xxxx", out);
        break;
    case NEEDLE_HOME:
        name_at(CITIES, other, out);
        break;
    default:
        needle_digits(d, 5, out);
    }
}

static void write_fact(chance *d, needle_kind kind, size_t key, size_t other, needle_fact *f) {
    name_at(FORMS[kind].keys, key, f->key);
    draw_value(d, kind, other, f->value);
    snprintf(f->sentence, NEEDLE_TEXT, "%s%.64s%s%.64s%s", FORMS[kind].before, f->key, FORMS[kind].between, f->value,
             FORMS[kind].after);
    snprintf(f->question, NEEDLE_TEXT, "%s%.64s%s", FORMS[kind].ask, f->key, FORMS[kind].asked);
}

void needle_draw(chance *d, needle_kind kind, size_t n, needle_fact *out) {
    size_t key[KEYS], other[KEYS];
    for (size_t i = 0; i < KEYS; i++) key[i] = other[i] = i;
    chance_shuffle(d, key, KEYS, sizeof *key);
    chance_shuffle(d, other, KEYS, sizeof *other);
    for (size_t i = 0; i < n; i++) write_fact(d, kind, key[i], other[i], &out[i]);
}

static int by_depth(const void *a, const void *b) {
    const double x = ((const needle_place *)a)->depth, y = ((const needle_place *)b)->depth;
    return (x > y) - (x < y);
}

void needle_document(haystack h, int32_t n_unit, needle_place *place, size_t n, text_buffer *out) {
    qsort(place, n, sizeof *place, by_depth);
    size_t hidden = 0;
    for (int32_t i = 0; i <= n_unit; i++) {
        while (hidden < n && place[hidden].depth * n_unit < i + 0.5) haystack_hide(&h, out, place[hidden++].sentence);
        if (i < n_unit) haystack_add(&h, out);
    }
}
