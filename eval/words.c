#include "words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const NAMES[WORDS_NAMES] = {"Juno",    "Vesta",   "Castor", "Rigel", "Altair",  "Mimosa",
                                               "Electra", "Orion",   "Lyra",   "Draco", "Phoenix", "Cygnus",
                                               "Vega",    "Perseus", "Selene", "Titan", "Nereid",  "Oberon",
                                               "Pallas",  "Hesper",  "Janus",  "Ariel", "Calypso", "Themis"};

static const char *const LIST[] = {
    "apron",   "arrow",  "attic",  "bacon",   "badge",   "bamboo",  "barrel", "beard",  "blanket", "bottle", "branch",
    "bridge",  "brush",  "button", "cabin",   "candle",  "canoe",   "carpet", "castle", "cellar",  "chalk",  "cherry",
    "chimney", "circus", "cloak",  "coffee",  "collar",  "comet",   "copper", "cotton", "cradle",  "cream",  "cricket",
    "crystal", "dagger", "daisy",  "desert",  "donkey",  "dragon",  "drum",   "eagle",  "elbow",   "engine", "fabric",
    "feather", "fiddle", "flame",  "forest",  "fossil",  "garden",  "ginger", "glove",  "grape",   "guitar", "hammer",
    "harvest", "helmet", "honey",  "iceberg", "island",  "jacket",  "jewel",  "jungle", "kettle",  "kitten", "ladder",
    "lemon",   "magnet", "maple",  "marble",  "meadow",  "mirror",  "monkey", "needle", "nephew",  "ocean",  "olive",
    "onion",   "orchid", "oven",   "parrot",  "pebble",  "pencil",  "pepper", "pillow", "pirate",  "planet", "pocket",
    "puzzle",  "rabbit", "ribbon", "river",   "rocket",  "saddle",  "salmon", "sandal", "shadow",  "shovel", "spider",
    "spoon",   "stable", "sugar",  "summit",  "temple",  "thunder", "ticket", "tiger",  "tunnel",  "turtle", "valley",
    "velvet",  "violin", "wagon",  "walnut",  "whistle", "window",  "winter", "wizard", "yogurt",  "zebra"};
enum { N_LIST = sizeof LIST / sizeof LIST[0] };

void words_names(chance *d, const char **out) {
    memcpy(out, NAMES, sizeof NAMES);
    chance_shuffle(d, out, WORDS_NAMES, sizeof *out);
}

/* Writes item[order[0..n)] with a number before each, or with a space between them. */
static void write_list(const char *const *item, size_t n, bool numbered, text_buffer *out) {
    for (size_t i = 0; i < n; i++) {
        if (numbered) text_print(out, "%s%zu. %s", i > 0 ? " " : "", i + 1, item[i]);
        if (!numbered) text_print(out, "%s%s", i > 0 ? " " : "", item[i]);
    }
}

void words_common(chance *d, int32_t n, const char *common[WORDS_COMMON], text_buffer *out) {
    const char *word[N_LIST];
    const size_t total = (size_t)n;
    const char **list = malloc((total + 1) * sizeof *list);
    out->failed = out->failed || !list;
    if (!list) return;
    memcpy(word, LIST, sizeof LIST);
    chance_shuffle(d, word, N_LIST, sizeof *word);
    memcpy(common, word, WORDS_COMMON * sizeof *common);
    for (size_t i = 0; i < total; i++) {
        const size_t rare = i / 2 % (N_LIST - WORDS_COMMON);
        list[i] = i % 2 == 0 ? common[i / 2 % WORDS_COMMON] : word[WORDS_COMMON + rare];
    }
    chance_shuffle(d, list, total, sizeof *list);
    write_list(list, total, true, out);
    free((void *)list);
}

static void invent(chance *d, char word[WORDS_CODED]) {
    for (int i = 0; i < 6; i++) {
        word[i] = i % 2 == 0 ? "bdfgklmnprstvz"[chance_below(d, 14)] : "aeiou"[chance_below(d, 5)];
    }
    word[6] = '\0';
}

/* n different words. */
static void invent_all(chance *d, int n, char (*word)[WORDS_CODED]) {
    for (int i = 0; i < n; i++) {
        bool again = true;
        while (again) {
            invent(d, word[i]);
            again = false;
            for (int k = 0; k < i; k++) again = again || strcmp(word[k], word[i]) == 0;
        }
    }
}

void words_frequent(chance *d, int32_t n, char frequent[WORDS_FREQUENT][WORDS_CODED], text_buffer *out) {
    enum { RANKS = 64 };
    char word[RANKS][WORDS_CODED];
    double sum = 0;
    size_t used = 0;
    const size_t total = (size_t)n;
    const char **list = malloc((total + 1) * sizeof *list);
    out->failed = out->failed || !list;
    if (!list) return;
    invent_all(d, RANKS, word);
    for (int r = 0; r < RANKS; r++) sum += 1.0 / ((r + 1) * (r + 1));
    for (int r = 0; r < RANKS && used < total; r++) {
        size_t times = (size_t)((double)total / (sum * (r + 1) * (r + 1)) + 0.5);
        for (times = times > 0 ? times : 1; times > 0 && used < total; times--) list[used++] = word[r];
    }
    while (used < total) list[used++] = word[0]; /* what rounding has left */
    chance_shuffle(d, list, total, sizeof *list);
    write_list(list, total, false, out);
    memcpy(frequent, word, WORDS_FREQUENT * sizeof *frequent);
    free((void *)list);
}
