/* A response: where it ends, what of its text is given out and when, and which tokens its session is to decode. The
 * tokens are dictated by logits in which one is likelier than all others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/generation.h"
#include "fixture.h"
#include "tiny_model.h"

enum { FIRST_BYTE = 3 }; /* the token of byte 0 in the SPM vocabulary */

static char folder[256];
static judgeq_model *model;
static judgeq_sampler *greedy;
static int32_t end_token, start_token;

static int32_t control_token(const char *text) {
    int32_t *token = NULL;
    size_t n = 0;
    assert_int_equal(judgeq_tokenize(model, text, strlen(text), JUDGEQ_TEXT_CONTROL, &token, &n, NULL), JUDGEQ_OK);
    assert_int_equal(n, 1);
    const int32_t found = token[0];
    judgeq_free(token);
    return found;
}

static int make_model(void **state) {
    (void)state;
    char path[300];
    const tiny_spec spec = tiny_spec_base();
    const judgeq_sampler_params params = {.temperature = 0};
    if (fixture_folder_new(folder, sizeof folder) != 0) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    if (tiny_model_write(&spec, path) != 0 || judgeq_model_load(path, &model, NULL) != JUDGEQ_OK) return -1;
    end_token = control_token("<|im_end|>");
    start_token = control_token("<|im_start|>");
    return judgeq_sampler_new(&params, &greedy, NULL) == JUDGEQ_OK ? 0 : -1;
}

static int free_model(void **state) {
    (void)state;
    judgeq_sampler_free(greedy);
    judgeq_model_free(model);
    return fixture_folder_remove(folder);
}

/* ---- dictated responses ------------------------------------------------------------------------------------------ */

typedef enum last { NOTHING, END, START } last; /* a control token after the bytes */

typedef struct dictation {
    const char *name, *bytes; /* a token each */
    last last;
    const char *stop[3];
    int by; /* the number of the stop text that ends it, from 1 */
    int32_t n_tokens, n_ctx;
    size_t n_before, n_known;
    int go_on;          /* so many times */
    const char *pieces; /* of text, as they are given out, each with a | after it */
    generation_end end;
    size_t n_token, n_decoded;
    bool unread; /* the last token is for whoever reads on */
} dictation;

#define EAST "\xe6\x9d\xb1" /* U+6771 */
#define REPLACED "\xef\xbf\xbd"

/* 100 tokens in a context of 1000 where a case says nothing else. */
static const dictation DICTATIONS[] = {
    {"the model ends it", "abc", END, .pieces = "a|b|c|", .end = GENERATION_STOP, .n_token = 3, .n_decoded = 3},
    {"at once", "", END, .pieces = "", .end = GENERATION_STOP},
    {"as long as was asked for", "abc", .n_tokens = 2, .pieces = "a|b|", .end = GENERATION_LENGTH, .n_token = 2,
     .n_decoded = 1, .unread = true},
    {"nothing was asked for", "abc", .n_tokens = -1, .pieces = "", .end = GENERATION_LENGTH},
    {"the context is full", "abcd", .n_ctx = 10, .n_before = 8, .pieces = "a|b|", .end = GENERATION_CONTEXT,
     .n_token = 2, .n_decoded = 1, .unread = true},
    {"the context is full before it", "abcd", .n_ctx = 10, .n_before = 10, .pieces = "", .end = GENERATION_CONTEXT},
    {"what was asked for fills it", "abcd", .n_tokens = 2, .n_ctx = 10, .n_before = 8, .pieces = "a|b|",
     .end = GENERATION_LENGTH, .n_token = 2, .n_decoded = 1, .unread = true},
    {"the context that the model was trained for", "abcd", .n_ctx = -1, .n_before = 1022, .pieces = "a|b|",
     .end = GENERATION_CONTEXT, .n_token = 2, .n_decoded = 1, .unread = true},
    {"a stop text of several tokens", "ab STOP c", .stop = {"STOP"}, .by = 1, .pieces = "a|b| |",
     .end = GENERATION_STOP, .n_token = 7, .n_decoded = 6, .unread = true},
    {"what a stop text begins with", "SToSTOP", .stop = {"STOP"}, .by = 1, .pieces = "STo|", .end = GENERATION_STOP,
     .n_token = 7, .n_decoded = 6, .unread = true},
    {"a stop text within a beginning of it", "STSTOP", .stop = {"STOP"}, .by = 1, .pieces = "ST|",
     .end = GENERATION_STOP, .n_token = 6, .n_decoded = 5, .unread = true},
    {"the first of several stop texts", "axyzb", .stop = {"yz", "xyz", "b"}, .by = 2, .pieces = "a|",
     .end = GENERATION_STOP, .n_token = 4, .n_decoded = 3, .unread = true},
    {"no whole stop text", "abST", END, .stop = {"STOP"}, .pieces = "a|b|ST|", .end = GENERATION_STOP, .n_token = 4,
     .n_decoded = 4},
    {"no whole stop text at the limit", "abST", .n_tokens = 4, .stop = {"STOP"}, .pieces = "a|b|ST|",
     .end = GENERATION_LENGTH, .n_token = 4, .n_decoded = 3, .unread = true},
    {"a character of several tokens", "a" EAST "b", END, .pieces = "a|" EAST "|b|", .end = GENERATION_STOP,
     .n_token = 5, .n_decoded = 5},
    {"a broken character",
     "\xe6\x9d"
     "b\xff",
     END, .pieces = REPLACED "b|" REPLACED "|", .end = GENERATION_STOP, .n_token = 4, .n_decoded = 4},
    {"an unfinished character", "a\xe6\x9d", END, .pieces = "a|" REPLACED "|", .end = GENERATION_STOP, .n_token = 3,
     .n_decoded = 3},
    {"a stop text of a character", "a" EAST "b", .stop = {EAST}, .by = 1, .pieces = "a|", .end = GENERATION_STOP,
     .n_token = 4, .n_decoded = 3, .unread = true},
    {"a control token as a stop text", "ab", START, .stop = {"x", "<|im_start|>"}, .by = 2, .pieces = "a|b|",
     .end = GENERATION_STOP, .n_token = 2, .n_decoded = 2},
    {"a control token that nobody named", "a", START, .n_tokens = 2, .pieces = "a|", .end = GENERATION_LENGTH,
     .n_token = 2, .n_decoded = 1, .unread = true},
    {"cancelled", "abcd", .go_on = 1, .pieces = "a|b|", .end = GENERATION_CANCELLED, .n_token = 2, .n_decoded = 1,
     .unread = true},
    {"cancelled with text held back", "aSTcd", .stop = {"STOP"}, .go_on = 2, .pieces = "a|ST|",
     .end = GENERATION_CANCELLED, .n_token = 3, .n_decoded = 2, .unread = true},
    {"cancelled at the limit", "ab", .n_tokens = 2, .go_on = 1, .pieces = "a|b|", .end = GENERATION_CANCELLED,
     .n_token = 2, .n_decoded = 1, .unread = true},
    {"tokens that the session has read", "abcd", END, .n_known = 2, .pieces = "a|b|c|d|", .end = GENERATION_STOP,
     .n_token = 4, .n_decoded = 2},
    {"as many of them as were asked for", "abcd", .n_tokens = 2, .n_known = 3, .pieces = "a|b|",
     .end = GENERATION_LENGTH, .n_token = 2},
    {"the end among them", "a", END, .n_known = 2, .pieces = "a|", .end = GENERATION_STOP, .n_token = 1},
};

typedef struct listener {
    char pieces[256];
    int go_on;
} listener;

static judgeq_status listen(void *data, const char *bytes, size_t n, judgeq_error *error) {
    (void)error;
    listener *l = data;
    const size_t used = strlen(l->pieces);
    snprintf(l->pieces + used, sizeof l->pieces - used, "%.*s|", (int)n, bytes);
    return JUDGEQ_OK;
}

static bool go_on(void *data) {
    listener *l = data;
    return l->go_on-- > 0;
}

static size_t write_script(const dictation *d, int32_t *token) {
    size_t n = 0;
    for (const char *c = d->bytes; *c; c++) token[n++] = FIRST_BYTE + (unsigned char)*c;
    if (d->last != NOTHING) token[n++] = d->last == END ? end_token : start_token;
    return n;
}

/* The logits that dictate a token. */
static const float *dictate(int32_t token) {
    static float logits[1024];
    memset(logits, 0, sizeof logits);
    logits[token] = 10;
    return logits;
}

static void check(const dictation *d, const generation *g, const listener *l, const int32_t *script, size_t n_decoded) {
    if (strcmp(l->pieces, d->pieces) != 0) fail_msg("%s: the pieces are %s", d->name, l->pieces);
    if (g->end != d->end) fail_msg("%s: the end is %d", d->name, (int)g->end);
    if (g->n_token != d->n_token) fail_msg("%s: %zu tokens", d->name, g->n_token);
    if (n_decoded != d->n_decoded) fail_msg("%s: %zu tokens to decode", d->name, n_decoded);
    const bool ended = d->end == GENERATION_STOP && !d->unread;
    assert_ptr_equal(g->stopped_by, d->by > 0 ? d->stop[d->by - 1] : NULL);
    assert_memory_equal(g->token, script, g->n_token * sizeof *script);
    assert_int_equal(g->unread, d->unread ? script[g->n_token - 1] : -1);
    assert_int_equal(g->end_token, ended ? script[g->n_token] : -1);
    assert_true((g->ttft_s >= 0) == (g->n_token > 0 || ended));
    /* the text is all of the pieces */
    char text[sizeof l->pieces], *to = text;
    for (const char *c = l->pieces; *c; c++) {
        if (*c != '|') *to++ = *c;
    }
    *to = '\0';
    assert_string_equal(g->text.text, text);
}

static void test_dictated_responses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof DICTATIONS / sizeof *DICTATIONS; i++) {
        const dictation *d = &DICTATIONS[i];
        listener l = {.go_on = d->go_on};
        int32_t script[64], token = 0;
        const size_t n_script = write_script(d, script);
        size_t n_decoded = 0, n_stop = 0;
        while (n_stop < 3 && d->stop[n_stop]) n_stop++;
        const generation_params params = {.sampler = greedy,
                                          .stop = d->stop,
                                          .n_stop = n_stop,
                                          .n_tokens = d->n_tokens == 0  ? 100
                                                      : d->n_tokens < 0 ? 0
                                                                        : d->n_tokens,
                                          .n_ctx = d->n_ctx == 0  ? 1000
                                                   : d->n_ctx < 0 ? 0
                                                                  : d->n_ctx,
                                          .n_before = d->n_before,
                                          .known = script,
                                          .n_known = d->n_known,
                                          .logprobs = -1,
                                          .put = listen,
                                          .go_on = d->go_on > 0 ? go_on : NULL,
                                          .data = &l};
        generation g;
        assert_int_equal(generation_init(&g, model, &params, NULL), JUDGEQ_OK);
        for (size_t at = d->n_known; token >= 0; at++) {
            assert_int_equal(generation_next(&g, dictate(script[at < n_script ? at : 0]), &token, NULL), JUDGEQ_OK);
            if (token >= 0) assert_int_equal(token, script[at]);
            n_decoded += token >= 0;
        }
        assert_int_equal(generation_next(&g, dictate(script[0]), &token, NULL), JUDGEQ_OK); /* it stays ended */
        assert_int_equal(token, -1);
        assert_int_equal(generation_finish(&g, NULL), JUDGEQ_OK);
        check(d, &g, &l, script, n_decoded);
        generation_free(&g);
    }
}

/* ---- what else it does ------------------------------------------------------------------------------------------- */

static judgeq_status refuse(void *data, const char *bytes, size_t n, judgeq_error *error) {
    (void)data;
    (void)bytes;
    (void)n;
    snprintf(error->message, sizeof error->message, "nobody listens");
    return JUDGEQ_ERROR_IO;
}

/* Whoever takes the text may fail; then the response fails with that. */
static void test_refused_text(void **state) {
    (void)state;
    const generation_params params = {.sampler = greedy, .n_tokens = 9, .logprobs = -1, .put = refuse};
    judgeq_error error = {0};
    int32_t token;
    generation g;
    assert_int_equal(generation_init(&g, model, &params, &error), JUDGEQ_OK);
    assert_int_equal(generation_next(&g, dictate(FIRST_BYTE + 'a'), &token, &error), JUDGEQ_ERROR_IO);
    assert_string_equal(error.message, "nobody listens");
    assert_int_equal(token, -1);
    assert_int_equal(g.n_token, 1);
    generation_free(&g);
}

static void test_logprobs(void **state) {
    (void)state;
    const int32_t known[] = {FIRST_BYTE};
    generation_params params = {.sampler = greedy, .n_tokens = 3, .logprobs = 1};
    int32_t token;
    generation g;
    assert_int_equal(generation_init(&g, model, &params, NULL), JUDGEQ_OK);
    do {
        assert_int_equal(generation_next(&g, dictate(FIRST_BYTE + 'a'), &token, NULL), JUDGEQ_OK);
    } while (token >= 0);
    assert_int_equal(json_array_size(g.logprobs), 3);
    const json_t *first = json_array_get(g.logprobs, 0);
    assert_string_equal(json_string_value(json_object_get(first, "token")), "a");
    assert_int_equal(json_array_size(json_object_get(first, "top_logprobs")), 1);
    generation_free(&g);
    params.known = known;
    params.n_known = 1;
    assert_int_equal(generation_init(&g, model, &params, NULL), JUDGEQ_ERROR_ARGUMENT);
    generation_free(&g);
}

/* ---- many together ----------------------------------------------------------------------------------------------- */

enum { N_TOGETHER = 3, N_PROMPT = 40 };

static judgeq_session *read_prompt(uint64_t seed) {
    int32_t prompt[N_PROMPT];
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_session *session = NULL;
    params.n_threads = 1;
    tiny_prompt(seed, judgeq_model_get_info(model)->n_vocab, prompt, N_PROMPT);
    assert_int_equal(judgeq_session_new(model, &params, &session, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_session_prefill(session, prompt, N_PROMPT, NULL), JUDGEQ_OK);
    return session;
}

/* Responses that end at different steps get the tokens that each session gives alone. */
static void test_many_together(void **state) {
    (void)state;
    judgeq_session *session[N_TOGETHER], *going[N_TOGETHER];
    generation g[N_TOGETHER];
    int32_t token[N_TOGETHER];
    for (int i = 0; i < N_TOGETHER; i++) {
        const generation_params params = {
            .sampler = greedy, .n_tokens = 4 * (i + 1), .n_before = N_PROMPT, .logprobs = -1};
        session[i] = read_prompt((uint64_t)i);
        assert_int_equal(generation_init(&g[i], model, &params, NULL), JUDGEQ_OK);
    }
    for (size_t n = N_TOGETHER; n > 0;) {
        n = 0;
        for (int i = 0; i < N_TOGETHER; i++) {
            assert_int_equal(generation_next(&g[i], judgeq_session_logits(session[i]), &token[n], NULL), JUDGEQ_OK);
            if (token[n] >= 0) going[n++] = session[i];
        }
        if (n > 0) assert_int_equal(judgeq_session_decode_all(going, token, n, NULL), JUDGEQ_OK);
    }
    for (int i = 0; i < N_TOGETHER; i++) {
        judgeq_session *alone = read_prompt((uint64_t)i);
        assert_true(g[i].n_token > 0 || g[i].end == GENERATION_STOP);
        for (size_t t = 0; t < g[i].n_token; t++) {
            const float *logits = judgeq_session_logits(alone);
            assert_int_equal(judgeq_sampler_sample(greedy, logits, judgeq_model_get_info(model)->n_vocab),
                             g[i].token[t]);
            assert_int_equal(judgeq_session_decode(alone, g[i].token[t], NULL), JUDGEQ_OK);
        }
        if (g[i].end == GENERATION_LENGTH) assert_int_equal(g[i].n_token, 4 * (i + 1));
        judgeq_session_free(alone);
        judgeq_session_free(session[i]);
        generation_free(&g[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dictated_responses),
        cmocka_unit_test(test_refused_text),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_many_together),
    };
    return cmocka_run_group_tests(tests, make_model, free_model);
}
