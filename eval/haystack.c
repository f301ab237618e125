#include "haystack.h"

#include <string.h>

#include "prose.h"

/* Nothing in them could be taken for an answer. */
static const char *const NOISE[] = {
    "The kettle is on the stove.",       "Snow lies on the roof.",       "A dog sleeps by the door.",
    "The road goes up and comes down.",  "Clouds pass over the valley.", "Somebody hums in the next room.",
    "The clock ticks as it always did.", "Water runs under the bridge.",
};
enum { N_NOISE = sizeof NOISE / sizeof NOISE[0] };

haystack haystack_from(const haystack_source *source, bool noise, chance d) {
    haystack h = {.source = source && source->n_sentence > 0 ? source : NULL, .noise = noise, .draw = d, .breaks = d};
    h.next = noise ? 0 : h.source ? chance_below(&h.draw, h.source->n_sentence) : 0;
    return h;
}

/* Paragraphs of four to seven sentences. */
static void separate(haystack *h, text_buffer *out) {
    if (!h->started) {
        h->started = true;
    } else if (h->until_break > 0 || h->noise) {
        text_print(out, " ");
    } else {
        text_print(out, "\n\n");
    }
    if (h->until_break-- == 0) h->until_break = 3 + (int)chance_below(&h->breaks, 4);
}

void haystack_hide(haystack *h, text_buffer *out, const char *sentence) {
    separate(h, out);
    text_print(out, "%s", sentence);
}

void haystack_add(haystack *h, text_buffer *out) {
    separate(h, out);
    if (h->noise) {
        text_print(out, "%s", NOISE[h->next++ % N_NOISE]);
    } else if (h->source) {
        text_print(out, "%s", h->source->sentence[h->next++ % h->source->n_sentence]);
    } else {
        h->last = prose_add(&h->draw, h->last, out);
    }
}
