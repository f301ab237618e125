/* openai_compact: POST /v1/responses/compact. A conversation is read once, and what its policy keeps becomes a context,
 * which an item names that stands for the conversation from then on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "contexts_list.h"
#include "contexts_upload.h"
#include "openai.h"
#include "openai_responses.h"

static json_t *whole(exchange *e) {
    const exchange_answer *a = &e->answer[0];
    json_t *kept = exchange_kept(e, a);
    /* a compaction that this one begins with may leave for it */
    contexts_release(e->ask.file);
    e->ask.file = NULL;
    e->ask.context = NULL;
    if (!contexts_store(e)) {
        json_decref(kept);
        return NULL;
    }
    const char *number = e->id + strlen(e->shape->id);
    json_t *item = json_pack("{s:s, s:s+, s:s+}", "type", "compaction", "id", "cmp_", number, "encrypted_content",
                             OPENAI_COMPACTION, context_file_name(e->ask.made));
    return json_pack("{s:s, s:s, s:I, s:[o], s:o, s:o}", "id", e->id, "object", "response.compaction", "created_at",
                     (json_int_t)e->created, "output", item, "usage", openai_responses_usage(e, a), "judgeq", kept);
}

static const dialect COMPACT = {.shape = {.id = "resp_", .whole = whole},
                                .inner = openai_responses_inner,
                                .closed = true,
                                .names = openai_responses_names,
                                .n_names = N_OPENAI_RESPONSES_NAMES};

static bool prepare(http_request *request, ask *a, const exchange_prompt *prompt, reply_fault *fault) {
    const service *s = http_data(request);
    char name[48];
    a->stream = false;
    a->n_answer = 0;
    a->save = CONTEXT_TURNS;
    if (!contexts_fits(s, a, prompt->n, fault)) return false;
    snprintf(name, sizeof name, "compact-%016llx.kv", (unsigned long long)http_number(request));
    a->made = contexts_claim(s->contexts, name);
    return a->made || reply_wrong(fault, NULL, "no name is free for the context: ask again");
}

void openai_responses_compact(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    json_t *body = prompt && contexts_are_there(s, true, &fault) ? openai_body(request, &fault) : NULL;
    const bool good =
        body && dialect_read(s, &COMPACT, body, &a, prompt, &fault) && prepare(request, &a, prompt, &fault);
    json_decref(body);
    exchange_run(request, &COMPACT.shape, good, &a, prompt, 1, &fault);
}
