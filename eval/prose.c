#include "prose.h"

#include <stdio.h>
#include <string.h>

typedef struct pool {
    const char *name;
    const char *const *word; /* ends with NULL */
} pool;

static const pool POOLS[] = {
    {"who", (const char *const[]){"the lock keeper", "the widow Tessel", "old Brannigan", "the ferryman's niece",
                                  "the tanner", "young Ostler", "the night porter", "the organist", "Doctor Hale",
                                  "the glassblower", "the innkeeper", "the schoolmistress", "the bargeman's wife",
                                  "the apprentice", "the map seller", "the bell ringer", NULL}},
    {"where", (const char *const[]){"under the arches", "behind the granary", "on the towpath", "at the upper lock",
                                    "in the fish market", "by the weigh house", "along the dyke", "near the rope yard",
                                    "outside the chapel", "on the drawbridge", "in the boat shed", NULL}},
    {"thing",
     (const char *const[]){"a coil of tarred rope", "a basket of eels", "a cracked mirror", "a sack of meal",
                           "a roll of sailcloth", "a birdcage without a door", "a keg of nails", "a bundle of reeds",
                           "a copper basin", "a pair of oars", "a wheel without spokes", NULL}},
    {"sky", (const char *const[]){"a grey drizzle", "the first frost", "a warm south wind", "thunder far away",
                                  "a low orange sun", "fog as thick as wool", "a clear cold sky", NULL}},
    {"when",
     (const char *const[]){"before sunrise", "towards evening", "at low water", "after the bells", "on market day",
                           "in the small hours", "once the lamps were lit", "around noon", NULL}},
    {"how", (const char *const[]){"without a word", "with great patience", "in a hurry", "as if nothing had happened",
                                  "rather clumsily", "with both hands", "for the sake of peace", NULL}},
    {"beast", (const char *const[]){"a heron", "the ferry's cat", "two swans", "a lame mule", "a flock of starlings",
                                    "an otter", "the miller's donkey", NULL}},
    {"meal", (const char *const[]){"pea soup", "fried dumplings", "a cold pie", "stewed pears", "black bread and curds",
                                   "a pot of mussels", NULL}},
};
enum { N_POOLS = sizeof POOLS / sizeof POOLS[0] };

static const char *const TEMPLATES[] = {
    "{when} {who} carried {thing} across the bridge {how}.",
    "{beast} had settled {where}, and nobody cared to disturb it.",
    "There was {sky}, so the barges stayed where they were.",
    "{who} said that the water had been higher in other years.",
    "{who} and {who} disagreed about the price of {thing}.",
    "People waited {where} until the gates were opened.",
    "{when} one could smell {meal} all the way down the quay.",
    "{who} found {thing} {where} and took it home {how}.",
    "The paint on the shutters had begun to peel, and {who} noticed it first.",
    "{who} sat {where} and mended a net {how}.",
    "Nothing came down the canal that day but {thing} and some leaves.",
    "{beast} crossed the lane {when} and vanished {where}.",
    "The lamps went out one after another, for there was {sky}.",
    "{who} owed {who} a favour and returned it {how}.",
    "For supper there was {meal}, and those who came late had none.",
    "Two planks were missing {where}, which made the crossing awkward.",
    "{who} told the story of the drowned bell again, and again it ended differently.",
    "{when} the market women packed their baskets and complained about {sky}.",
    "The children had hidden {thing} {where} and forgotten about it.",
    "{who} asked for {meal} and paid with {thing}.",
    "A boat with a patched sail lay {where}, and {who} watched it {how}.",
    "{who} swept the steps {when}, as on every other day.",
    "It was said that {beast} brings luck to whoever sees it {when}.",
    "The pump squeaked so loudly that {who} could not sleep.",
    "{who} hung the washing {where} in spite of {sky}.",
    "Somebody had left {thing} on the bench, and {who} looked after it.",
    "The ice was too thin to walk on and too thick to row through.",
    "{who} played three tunes {where} and then went home {how}.",
    "{when} the water turned brown, and {who} shook a worried head.",
    "A letter came for {who}, but it was only about {thing}.",
    "The roof of the granary leaked again, right above {thing}.",
    "{beast} stole part of {meal} from the table of {who}.",
    "The path {where} was strewn with straw against the mud.",
    "{who} counted the steps of the tower and lost count {when}.",
    "After {sky} the whole quay smelled of wet rope.",
    "{who} borrowed {thing} from {who} and gave it back {how}.",
    "Nobody could say why the gate {where} had been painted twice.",
};
enum { N_TEMPLATES = sizeof TEMPLATES / sizeof TEMPLATES[0] };

/* The word for "{name}" at `slot`; *end is after it. */
static const char *word_of(chance *d, const char *slot, const char **end) {
    const char *close = strchr(slot, '}');
    *end = close + 1;
    for (size_t i = 0; i < N_POOLS; i++) {
        const size_t n = strlen(POOLS[i].name);
        if (n != (size_t)(close - slot - 1) || memcmp(POOLS[i].name, slot + 1, n) != 0) continue;
        size_t count = 0;
        while (POOLS[i].word[count]) count++;
        return POOLS[i].word[chance_below(d, count)];
    }
    return "";
}

const char *prose_add(chance *d, const char *last, text_buffer *out) {
    const char *template = TEMPLATES[chance_below(d, N_TEMPLATES)];
    while (template == last) template = TEMPLATES[chance_below(d, N_TEMPLATES)];
    const size_t start = out->length;
    for (const char *at = template; *at;) {
        if (*at == '{') {
            const char *word = word_of(d, at, &at);
            text_print(out, "%s", word);
        } else {
            text_add(out, at++, 1);
        }
    }
    if (out->bytes && out->length > start && out->bytes[start] >= 'a' && out->bytes[start] <= 'z') {
        out->bytes[start] = (char)(out->bytes[start] - 'a' + 'A');
    }
    return template;
}
