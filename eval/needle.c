#include "needle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 16 };

static const char *const BARGES[KEYS] = {
    "Calliope", "Meridian", "Patience", "Northern Light", "Kittiwake", "Harlequin",    "Tamarisk",  "Providence",
    "Wanderer", "Zephyr",   "Halcyon",  "Undine",         "Pelican",   "Evening Star", "Dauntless", "Marigold"};
static const char *const COOKS[KEYS] = {"Aunt Ottilie",    "Uncle Barnaby",    "Cousin Philippa",     "Madame Rosalba",
                                        "Captain Yorick",  "Sister Benedetta", "Grandmother Sunniva", "Baron Lucius",
                                        "Miss Carmichael", "Chef Anatole",     "Farmer Gudrun",       "Pilot Ezekiel",
                                        "Lady Winifred",   "Master Tobias",    "Judge Hortense",      "Nurse Apolline"};
static const char *const INGREDIENTS[KEYS] = {"saffron",  "juniper",  "nutmeg", "tarragon",   "molasses", "horseradish",
                                              "cardamom", "chestnut", "fennel", "rosewater",  "paprika",  "buttermilk",
                                              "aniseed",  "quince",   "thyme",  "elderflower"};
static const char *const GUILDS[KEYS] = {
    "lacemakers",  "beekeepers", "engravers", "coopers", "saddlers", "chandlers", "stonecutters", "weavers",
    "clockmakers", "printers",   "furriers",  "dyers",   "gilders",  "thatchers", "potters",      "cartographers"};
static const char *const INN_FIRST[KEYS] = {"Silver", "Laughing", "Crooked", "Sleeping", "Emerald", "Broken",
                                            "Merry",  "Wooden",   "Humble",  "Flying",   "Scarlet", "Lonely",
                                            "Jolly",  "Ivory",    "Dancing", "Thirsty"};
static const char *const INN_SECOND[KEYS] = {"Anchor", "Badger",   "Crown",   "Falcon",  "Griffin",  "Hound",
                                             "Kettle", "Lion",     "Mermaid", "Oak",     "Pheasant", "Rooster",
                                             "Sickle", "Tortoise", "Unicorn", "Windmill"};
static const char *const LOTS[KEYS] = {"walnut clock",   "marble bust",   "rosewood desk",  "porcelain vase",
                                       "oil portrait",   "brass sextant", "velvet curtain", "crystal decanter",
                                       "ebony flute",    "silver tureen", "Persian carpet", "mahogany harp",
                                       "coral necklace", "leaded window", "gilded mirror",  "globe of the stars"};
static const char *const LEDGERS[KEYS] = {"tax",    "harbour",  "salt",  "tobacco", "timber", "customs",
                                          "grain",  "wool",     "spice", "copper",  "silk",   "cider",
                                          "cattle", "lamp oil", "paper", "herring"};

void needle_digits(chance *d, int n, char *out) {
    for (int i = 0; i < n; i++) out[i] = (char)('0' + (i == 0 ? 1 + chance_below(d, 9) : chance_below(d, 10)));
    out[n] = '\0';
}

static void draw_uuid(chance *d, char *out) {
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof form; i++)
        out[i] = form[i] == 'x' ? "0123456789abcdef"[chance_below(d, 16)] : form[i];
}

/* key, value2: places in the lists, different for all facts of one call. */
static void write_fact(chance *d, needle_kind kind, size_t key, size_t other, needle_fact *f) {
    switch (kind) {
    case NEEDLE_HULL:
        snprintf(f->key, NEEDLE_TEXT, "%s", BARGES[key]);
        needle_digits(d, 7, f->value);
        snprintf(f->sentence, NEEDLE_TEXT, "The barge %s has hull number %.16s.", f->key, f->value);
        snprintf(f->question, NEEDLE_TEXT, "Which hull number does the barge %s have?", f->key);
        break;
    case NEEDLE_INGREDIENT:
        snprintf(f->key, NEEDLE_TEXT, "%s", COOKS[key]);
        snprintf(f->value, NEEDLE_TEXT, "%s", INGREDIENTS[other]);
        snprintf(f->sentence, NEEDLE_TEXT, "The secret ingredient of %s is %s.", COOKS[key], INGREDIENTS[other]);
        snprintf(f->question, NEEDLE_TEXT, "What is the secret ingredient of %s?", COOKS[key]);
        break;
    case NEEDLE_INN:
        snprintf(f->key, NEEDLE_TEXT, "%s", GUILDS[key]);
        snprintf(f->value, NEEDLE_TEXT, "%s %s", INN_FIRST[other], INN_SECOND[chance_below(d, KEYS)]);
        snprintf(f->sentence, NEEDLE_TEXT, "The guild of the %s meets at the inn called %.64s.", GUILDS[key], f->value);
        snprintf(f->question, NEEDLE_TEXT, "At which inn does the guild of the %s meet?", GUILDS[key]);
        break;
    case NEEDLE_PRICE:
        snprintf(f->key, NEEDLE_TEXT, "%s", LOTS[key]);
        needle_digits(d, 5, f->value);
        snprintf(f->sentence, NEEDLE_TEXT, "At the auction the %s fetched %.16s guilders.", LOTS[key], f->value);
        snprintf(f->question, NEEDLE_TEXT, "How many guilders did the %s fetch at the auction?", LOTS[key]);
        break;
    default:
        snprintf(f->key, NEEDLE_TEXT, "%s", LEDGERS[key]);
        draw_uuid(d, f->value);
        snprintf(f->sentence, NEEDLE_TEXT, "The seal on the %s ledger reads %.64s.", LEDGERS[key], f->value);
        snprintf(f->question, NEEDLE_TEXT, "What does the seal on the %s ledger read?", LEDGERS[key]);
    }
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
