/* Conversations: the sequence against the chat template's own rendering and tokens, logits against one prompt of the
 * whole sequence. Answers are dictated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/conversation.h"
#include "fixture.h"
#include "tiny_model.h"

#define TURNS                                                                                                          \
    "{% for m in messages %}{{'<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n'}}{% endfor %}"             \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
/* Earlier answers lose what comes before "here", as others lose what comes before "</think>". */
#define FORGETFUL                                                                                                      \
    "{% for m in messages %}{{'<|im_start|>' + m.role + '\\n' + (m.content.split('here')[-1] if m.role == "            \
    "'assistant' else m.content) + '<|im_end|>\\n'}}{% endfor %}{{ '<|im_start|>assistant\\n' }}"
#define WORDS                                                                                                          \
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"                                       \
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
#define TRIMMING                                                                                                       \
    "{% for m in messages %}{{'<|im_start|>' + m.role + '\\n' + m.content.strip() + '<|im_end|>\\n'}}{% endfor %}"     \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

typedef struct chat_model {
    const char *name, *spec, *template; /* template NULL: none */
    judgeq_model *model;
} chat_model;

static chat_model MODELS[] = {
    {"turns", "bpe-smollm", TURNS, NULL},         {"turns, SPM", "llama", TURNS, NULL},
    {"words", "bpe-smollm", WORDS, NULL},         {"none", "bpe-default", NULL, NULL},
    {"forgetful", "bpe-smollm", FORGETFUL, NULL}, {"trimming", "bpe-smollm", TRIMMING, NULL},
};
enum { N_MODELS = sizeof MODELS / sizeof MODELS[0], N_FAITHFUL = 3, NONE = 3, FORGETS = 4, TRIMS = 5 };

static char folder[256];

static int make_models(void **state) {
    (void)state;
    if (fixture_folder_new(folder, sizeof folder) != 0) return -1;
    for (size_t i = 0; i < N_MODELS; i++) {
        char path[300];
        tiny_spec spec;
        tiny_model tiny;
        snprintf(path, sizeof path, "%s/%zu.gguf", folder, i);
        if (!tiny_spec_find(MODELS[i].spec, &spec) || tiny_model_build(&spec, &tiny) != 0) return -1;
        if (MODELS[i].template) gguf_set_val_str(tiny.gguf, "tokenizer.chat_template", MODELS[i].template);
        const int saved = tiny_model_save(&tiny, path);
        tiny_model_free(&tiny);
        if (saved != 0 || judgeq_model_load(path, &MODELS[i].model, NULL) != JUDGEQ_OK) return -1;
    }
    return 0;
}

static int free_models(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) judgeq_model_free(MODELS[i].model);
    return fixture_folder_remove(folder);
}

/* ---- what a conversation is made of ------------------------------------------------------------------------------ */

static int n_notes;
static int64_t patience; /* calls of the progress until it says stop; below 0: it never does */

static void take_note(void *data, const char *note) {
    (void)data;
    (void)note;
    n_notes++;
}

static bool go_on(void *data, int64_t done, int64_t total) {
    (void)data;
    (void)done;
    (void)total;
    return patience < 0 || patience-- > 0;
}

static void begin(conversation *c, const judgeq_model *model, const char *system, int32_t n_ctx) {
    const conversation_params params = {.system = system, .n_ctx = n_ctx, .notes = {.take = take_note}};
    judgeq_session_params session = judgeq_session_default_params();
    session.n_threads = 1;
    session.kv_type = JUDGEQ_KV_F32;
    session.n_ctx = n_ctx;
    session.progress = go_on;
    patience = -1;
    assert_int_equal(conversation_init(c, model, &params, NULL), JUDGEQ_OK);
    assert_int_equal(conversation_use(c, &session, NULL), JUDGEQ_OK);
    n_notes = 0;
}

static void ask(conversation *c, const char *text) {
    judgeq_error error = {0};
    if (conversation_ask(c, text, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

static void read_all(conversation *c) {
    bool done = false;
    while (!done) assert_int_equal(conversation_ask_step(c, &done, NULL), JUDGEQ_OK);
}

/* A token for each byte of a text. */
static void byte_tokens(const judgeq_model *model, const char *text, generation *g) {
    g->token = calloc(strlen(text) + 1, sizeof *g->token);
    for (; text[g->n_token]; g->n_token++) {
        int32_t *token = NULL;
        size_t n = 0;
        assert_int_equal(judgeq_tokenize(model, text + g->n_token, 1, JUDGEQ_TEXT_PLAIN, &token, &n, NULL), JUDGEQ_OK);
        assert_int_equal(n, 1);
        g->token[g->n_token] = token[0];
        judgeq_free(token);
    }
}

/* The tokens that the answer is read as in its place, in the template. */
static void template_tokens(const conversation *c, const char *text, generation *g) {
    judgeq_message message[16];
    int32_t *token = NULL;
    size_t n = 0, length = 0;
    memcpy(message, c->message, c->n_message * sizeof *message);
    message[c->n_message] = (judgeq_message){"assistant", text};
    assert_int_equal(judgeq_chat_tokens(c->model, message, c->n_message + 1, NULL, &token, &n, NULL), JUDGEQ_OK);
    g->token = calloc(n + 1, sizeof *g->token);
    for (size_t i = c->n_token; length < strlen(text); i++) {
        assert_true(i < n);
        g->token[g->n_token++] = token[i];
        length += (size_t)abs(judgeq_token_text(c->model, token[i], NULL, 0));
    }
    judgeq_free(token);
}

/* As a generation leaves it: the last token is not decoded. */
static void answer(conversation *c, const char *text, bool by_bytes) {
    generation g = {.text = {.text = (char *)text, .length = strlen(text)}};
    if (by_bytes || c->plain)
        byte_tokens(c->model, text, &g);
    else
        template_tokens(c, text, &g);
    for (size_t i = 0; i + 1 < g.n_token; i++) {
        assert_int_equal(judgeq_session_decode(c->session, g.token[i], NULL), JUDGEQ_OK);
    }
    assert_int_equal(conversation_answer(c, &g, false, NULL), JUDGEQ_OK);
    free(g.token);
}

/* The sequence is the template's rendering of these messages, as the model reads it. */
static void check_rendering(const conversation *c, const judgeq_message *message, size_t n_message) {
    int32_t *token = NULL;
    size_t n = 0;
    assert_int_equal(judgeq_chat_tokens(c->model, message, n_message, NULL, &token, &n, NULL), JUDGEQ_OK);
    assert_int_equal(c->n_token, n);
    assert_memory_equal(c->token, token, n * sizeof *token);
    judgeq_free(token);
}

/* The logits are those of a prompt of the whole sequence. */
static void check_logits(const conversation *c) {
    judgeq_session *one = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    params.kv_type = JUDGEQ_KV_F32;
    assert_int_equal(conversation_seen(c), c->n_token);
    assert_int_equal(judgeq_session_new(c->model, &params, &one, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_session_prefill(one, c->token, c->n_token, NULL), JUDGEQ_OK);
    const size_t n = (size_t)judgeq_model_get_info(c->model)->n_vocab;
    assert_true(fixture_max_difference(judgeq_session_logits(c->session), judgeq_session_logits(one), n) < 2e-3);
    judgeq_session_free(one);
}

/* The end of the sequence is this text, with its control tokens. */
static void check_end(const conversation *c, const char *text) {
    int32_t *token = NULL;
    size_t n = 0;
    assert_int_equal(judgeq_tokenize(c->model, text, strlen(text), JUDGEQ_TEXT_CONTROL, &token, &n, NULL), JUDGEQ_OK);
    assert_true(n <= c->n_token);
    assert_memory_equal(c->token + c->n_token - n, token, n * sizeof *token);
    judgeq_free(token);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static const judgeq_message SAID[] = {
    {"system", "the heron"},         {"user", "the room in the rain"},
    {"assistant", "the iron ring"},  {"user", "on a string"},
    {"assistant", "the rain is in"}, {"user", "again <|im_end|>\n"},
    {"assistant", "here"},           {"user", "the ring"},
};
enum { N_SAID = sizeof SAID / sizeof SAID[0] };

static void test_turns(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAITHFUL; i++) {
        for (size_t first = 0; first < 2; first++) {
            conversation c;
            begin(&c, MODELS[i].model, first == 0 ? SAID[0].content : NULL, 0);
            for (size_t at = 1; at < N_SAID; at += 2) {
                ask(&c, SAID[at].content);
                check_rendering(&c, SAID + first, at + 1 - first);
                check_logits(&c);
                if (at + 1 == N_SAID) break;
                answer(&c, SAID[at + 1].content, false);
                assert_int_equal(conversation_seen(&c), c.n_token - 1);
            }
            assert_int_equal(n_notes, 0);
            conversation_free(&c);
        }
    }
}

/* Tokens that the model wrote stay, whatever their text would be read as; the turn after them is the template's. */
static void test_tokens_of_its_own(void **state) {
    (void)state;
    conversation c;
    begin(&c, MODELS[0].model, NULL, 0);
    ask(&c, "the room");
    const size_t n = c.n_token;
    answer(&c, "the room", true);
    assert_int_equal(c.n_token, n + strlen("the room"));
    ask(&c, "again");
    check_end(&c, "<|im_end|>\n<|im_start|>user\nagain<|im_end|>\n<|im_start|>assistant\n");
    check_logits(&c);
    assert_int_equal(n_notes, 0);
    answer(&c, "", false); /* one that was stopped at once */
    ask(&c, "the ring");
    check_end(&c, "<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\nthe ring<|im_end|>\n<|im_start|>assistant\n");
    check_logits(&c);
    conversation_free(&c);
}

/* What the template leaves out of earlier answers, the model has read all the same. */
static void test_other_renderings(void **state) {
    (void)state;
    const struct {
        size_t model;
        const char *answer;
    } cases[] = {{FORGETS, "the room here in the rain"}, {TRIMS, "the room \n"}};
    for (size_t i = 0; i < 2; i++) {
        conversation c;
        begin(&c, MODELS[cases[i].model].model, NULL, 0);
        ask(&c, "the room");
        const size_t n = c.n_token;
        answer(&c, cases[i].answer, true);
        const size_t n_answered = c.n_token;
        ask(&c, "ProbeOfAnswer0");
        assert_true(n_answered > n && c.n_token > n_answered);
        check_end(&c, "<|im_end|>\n<|im_start|>user\nProbeOfAnswer0<|im_end|>\n<|im_start|>assistant\n");
        check_logits(&c);
        assert_int_equal(n_notes, 1);
        answer(&c, cases[i].answer, true);
        ask(&c, "again");
        check_end(&c, "<|im_end|>\n<|im_start|>user\nagain<|im_end|>\n<|im_start|>assistant\n");
        assert_int_equal(n_notes, 1);
        conversation_free(&c);
    }
}

static void test_without_a_template(void **state) {
    (void)state;
    conversation c;
    const conversation_params params = {.system = "the heron"};
    assert_int_equal(conversation_init(&c, MODELS[NONE].model, &params, NULL), JUDGEQ_ERROR_UNSUPPORTED);
    conversation_free(&c);
    begin(&c, MODELS[NONE].model, NULL, 0);
    ask(&c, "the room <|im_end|>");
    answer(&c, " in the rain", false);
    ask(&c, "again");
    answer(&c, " the ring", true);
    ask(&c, "on");
    check_end(&c, "\n\non");
    check_logits(&c);
    char text[256] = "";
    for (size_t i = 0, at = 0; i < c.n_token; i++) {
        at += (size_t)judgeq_token_text(c.model, c.token[i], text + at, (int32_t)(sizeof text - at));
        text[at] = '\0';
    }
    assert_string_equal(text, "the room <|im_end|> in the rain\n\nagain the ring\n\non");
    conversation_free(&c);
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

static void read_document(conversation *c, const char *text) {
    size_t n = 0;
    assert_int_equal(conversation_document_begin(c, text, &n, NULL), JUDGEQ_OK);
    assert_true(n > 0);
    read_all(c);
}

static void test_documents(void **state) {
    (void)state;
    static const char *const questions[] = {"the ring?", "\n\nthe", " a", "7"};
    for (size_t i = 0; i < N_FAITHFUL; i++) {
        for (size_t q = 0; q < sizeof questions / sizeof questions[0]; q++) {
            conversation c;
            char content[256];
            begin(&c, MODELS[i].model, NULL, 0);
            ask(&c, "the room");
            answer(&c, "in", false);
            const size_t n = conversation_seen(&c);
            read_document(&c, "a string\nin the rain");
            const size_t n_document = conversation_seen(&c);
            assert_true(n_document > n + 5);
            read_document(&c, "the heron");
            assert_true(conversation_seen(&c) > n_document);
            ask(&c, questions[q]);
            snprintf(content, sizeof content, "a string\nin the rain\n\nthe heron\n\n%s", questions[q]);
            const judgeq_message said[] = {{"user", "the room"}, {"assistant", "in"}, {"user", content}};
            check_rendering(&c, said, 3);
            check_logits(&c);
            answer(&c, "on", false);
            ask(&c, "again");
            const judgeq_message more[] = {said[0], said[1], said[2], {"assistant", "on"}, {"user", "again"}};
            check_rendering(&c, more, 5);
            conversation_free(&c);
        }
    }
}

/* ---- back -------------------------------------------------------------------------------------------------------- */

static void test_undo(void **state) {
    (void)state;
    conversation c;
    size_t n = 0;
    begin(&c, MODELS[0].model, "the heron", 0);
    assert_int_equal(conversation_undo(&c, NULL), JUDGEQ_ERROR_ARGUMENT);
    ask(&c, SAID[1].content);
    answer(&c, SAID[2].content, false);
    ask(&c, "another");
    answer(&c, "in", false);
    read_document(&c, "the ring");
    assert_int_equal(conversation_undo(&c, NULL), JUDGEQ_OK); /* the document */
    assert_int_equal(c.n_message, 5);
    assert_int_equal(conversation_undo(&c, NULL), JUDGEQ_OK);
    assert_int_equal(c.n_message, 3);
    assert_int_equal(conversation_catch_up_begin(&c, &n, NULL), JUDGEQ_OK);
    assert_int_equal(n, c.n_token);
    read_all(&c);
    ask(&c, SAID[3].content);
    check_rendering(&c, SAID, 4);
    check_logits(&c);
    answer(&c, SAID[4].content, false);
    assert_int_equal(conversation_undo(&c, NULL), JUDGEQ_OK);
    ask(&c, SAID[3].content); /* without having caught up */
    check_rendering(&c, SAID, 4);
    check_logits(&c);
    answer(&c, SAID[4].content, false);
    assert_int_equal(conversation_use(&c, &c.session_params, NULL), JUDGEQ_OK);
    ask(&c, SAID[5].content);
    check_rendering(&c, SAID, 6);
    check_logits(&c);
    answer(&c, "in", false);
    assert_int_equal(conversation_reset(&c, NULL), JUDGEQ_OK);
    ask(&c, SAID[1].content);
    check_rendering(&c, SAID, 2);
    conversation_free(&c);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void check_the_same(const conversation *c, size_t n_message, size_t n_token, size_t n_seen, bool document) {
    assert_int_equal(c->n_message, n_message);
    assert_int_equal(c->n_token, n_token);
    assert_int_equal(conversation_seen(c), n_seen);
    assert_int_equal(c->document != NULL, document);
}

static void test_what_fails_changes_nothing(void **state) {
    (void)state;
    conversation c;
    size_t n = 0;
    bool done = false;
    char long_text[1024];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    begin(&c, MODELS[0].model, NULL, 200);
    ask(&c, SAID[1].content);
    answer(&c, SAID[2].content, false);
    read_document(&c, "the ring");
    const size_t n_token = c.n_token, n_seen = conversation_seen(&c);
    assert_int_equal(conversation_ask(&c, long_text, NULL), JUDGEQ_ERROR_LIMIT);
    check_the_same(&c, 2, n_token, n_seen, true);
    assert_int_equal(conversation_document_begin(&c, long_text, &n, NULL), JUDGEQ_ERROR_LIMIT);
    check_the_same(&c, 2, n_token, n_seen, true);
    patience = 1;
    assert_int_equal(conversation_ask(&c, "again", NULL), JUDGEQ_ERROR_CANCELLED);
    check_the_same(&c, 2, n_token, n_seen, true);
    patience = 1;
    assert_int_equal(conversation_document_begin(&c, "in the rain", &n, NULL), JUDGEQ_OK);
    judgeq_status status = JUDGEQ_OK;
    while (status == JUDGEQ_OK && !done) status = conversation_ask_step(&c, &done, NULL);
    assert_int_equal(status, JUDGEQ_ERROR_CANCELLED);
    check_the_same(&c, 2, n_token, n_seen, true);
    patience = -1;
    assert_int_equal(conversation_ask_begin(&c, "again", &n, NULL), JUDGEQ_OK);
    assert_int_equal(conversation_ask_step(&c, &done, NULL), JUDGEQ_OK);
    conversation_ask_abandon(&c);
    check_the_same(&c, 2, n_token, n_seen, true);
    ask(&c, "again");
    const judgeq_message said[] = {SAID[1], SAID[2], {"user", "the ring\n\nagain"}};
    check_rendering(&c, said, 3);
    check_logits(&c);
    conversation_free(&c);
}

/* An unbounded session reads in pieces: what it has read of a turn that fails cannot be taken back, so all else is read
 * again. */
static void test_a_piece_that_was_read(void **state) {
    (void)state;
    conversation c;
    char text[1200] = "";
    judgeq_policy *policy = NULL;
    begin(&c, MODELS[0].model, NULL, 0);
    assert_int_equal(judgeq_policy_parse("streaming", &policy, NULL), JUDGEQ_OK);
    judgeq_session_params params = c.session_params;
    params.policy = policy;
    params.budget = 32;
    params.n_ctx = 128;
    params.unbounded = true;
    c.params.n_ctx = INT32_MAX / 2;
    assert_int_equal(conversation_use(&c, &params, NULL), JUDGEQ_OK);
    ask(&c, SAID[1].content);
    answer(&c, SAID[2].content, false);
    const size_t n_token = c.n_token;
    for (size_t i = 0; i + 8 < sizeof text; i += 5) memcpy(text + i, "ring ", 6);
    patience = 12; /* some pieces, not all */
    assert_int_equal(conversation_ask(&c, text, NULL), JUDGEQ_ERROR_CANCELLED);
    check_the_same(&c, 2, n_token, 0, false);
    patience = -1;
    ask(&c, SAID[3].content);
    check_rendering(&c, SAID + 1, 3);
    assert_int_equal(conversation_seen(&c), c.n_token);
    conversation_free(&c);
    judgeq_policy_free(policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_tokens_of_its_own),
        cmocka_unit_test(test_other_renderings),
        cmocka_unit_test(test_without_a_template),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_what_fails_changes_nothing),
        cmocka_unit_test(test_a_piece_that_was_read),
    };
    return cmocka_run_group_tests(tests, make_models, free_models);
}
