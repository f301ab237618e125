#include "continuation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "chance.h"

/* More than a token has in most texts; what a stretch has too much is not read. */
enum { BYTES_PER_TOKEN = 8 };

/* The beginning of the line after `from`, or of the text. */
static size_t line_after(const char *text, size_t from) {
    const char *end = from > 0 ? strchr(text + from, '\n') : NULL;
    return end ? (size_t)(end - text) + 1 : 0;
}

judgeq_status continuation_make(const task_request *r, sample *out, judgeq_error *error) {
    *out = (sample){0};
    if (!r->text) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "task continuation needs a text: --text FILE");
    const size_t n = strlen(r->text), most = ((size_t)r->length + CONTINUATION) * BYTES_PER_TOKEN;
    chance d = chance_from("continuation", r->seed, (uint64_t)r->index);
    const size_t start = n > most ? line_after(r->text, chance_below(&d, n - most)) : 0;
    size_t end = n - start < most ? n : start + most;
    while (((unsigned char)r->text[end] & 0xc0) == 0x80) end--; /* not within a character */
    char *stretch = strndup(r->text + start, end - start);
    *out = (sample){.task = strdup(task_name(r->task)),
                    .family = r->family,
                    .metric = metric_find("all"),
                    .length = r->length,
                    .depth = NAN,
                    .seed = r->seed,
                    .index = r->index,
                    .messages = stretch ? json_pack("[s]", stretch) : NULL,
                    .follow_ups = json_array(),
                    .references = json_array(),
                    .question = strdup(""),
                    .continues = true,
                    .n_tokens = CONTINUATION};
    free(stretch);
    if (out->task && out->messages && out->question) return JUDGEQ_OK;
    sample_free(out);
    return error_memory(error, "a sample");
}
