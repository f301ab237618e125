/* test_policy: the text form of policies, both ways, the messages for bad ones, and the presets against the table in
 * docs/policies. Expected values are written by hand. */
#include "policy/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static judgeq_policy read_good(const char *text) {
    judgeq_policy policy;
    judgeq_error error = {0, ""};
    if (policy_read(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    return policy;
}

static void assert_policy_equal(const judgeq_policy *a, const judgeq_policy *b) {
    assert_int_equal(a->keep_all, b->keep_all);
    assert_int_equal(a->random, b->random);
    assert_int_equal(a->probe.all, b->probe.all);
    assert_int_equal(a->probe.window, b->probe.window);
    assert_int_equal(a->probe.soft, b->probe.soft);
    assert_int_equal(a->probe.n_soft, b->probe.n_soft);
    assert_int_equal(a->probe.response, b->probe.response);
    assert_int_equal(a->probe.lookahead, b->probe.lookahead);
    assert_int_equal(a->probe.among, b->probe.among);
    assert_ptr_equal(a->probe.first, b->probe.first);
    assert_int_equal(a->reduce_rows, b->reduce_rows);
    assert_int_equal(a->reduce_heads, b->reduce_heads);
    assert_int_equal(a->smooth, b->smooth);
    assert_int_equal(a->smooth_width, b->smooth_width);
    assert_int_equal(a->allocate, b->allocate);
    assert_memory_equal(&a->pyramid_ratio, &b->pyramid_ratio, sizeof(float));
    assert_memory_equal(&a->ada_floor, &b->ada_floor, sizeof(float));
    assert_int_equal(a->keep_sink, b->keep_sink);
    assert_int_equal(a->keep_recent, b->keep_recent);
    assert_int_equal(a->keep_recent_percent, b->keep_recent_percent);
    assert_int_equal(a->keep_turn, b->keep_turn);
    assert_true(a->remember == b->remember);
    assert_string_equal(a->text, b->text);
}

static const struct {
    const char *text, *canonical;
} GOOD[] = {
    {"full", "full"},
    {"probe=none", "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=random", "probe=random,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=random,probe=none", "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=random,probe=all", "probe=all,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=window:1", "probe=last,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=window:65536", "probe=window:65536,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=soft:16+last", "probe=last+soft:16,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=response", "probe=response:64,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"keep=recent:8+sink:4,allocate=ada,smooth=avg:5,reduce=max,probe=soft",
     "probe=soft,reduce=max/max,smooth=avg:5,allocate=ada:0.2,keep=sink:4+recent:8"},
    {"probe=soft,reduce=max/mean", "probe=soft,reduce=max/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=soft,reduce=mean/max", "probe=soft,reduce=mean/max,smooth=none,allocate=uniform,keep=none"},
    {"probe=soft,smooth=max:1", "probe=soft,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=soft,smooth=max:63", "probe=soft,reduce=mean/mean,smooth=max:63,allocate=uniform,keep=none"},
    {"probe=soft,allocate=pyramid", "probe=soft,reduce=mean/mean,smooth=none,allocate=pyramid:20,keep=none"},
    {"probe=soft,allocate=pyramid:1", "probe=soft,reduce=mean/mean,smooth=none,allocate=pyramid:1,keep=none"},
    {"probe=soft,allocate=pyramid:99.9999",
     "probe=soft,reduce=mean/mean,smooth=none,allocate=pyramid:99.9999,keep=none"},
    {"probe=soft,allocate=pyramid:2.50", "probe=soft,reduce=mean/mean,smooth=none,allocate=pyramid:2.5,keep=none"},
    {"probe=soft,allocate=ada:0", "probe=soft,reduce=mean/mean,smooth=none,allocate=ada:0,keep=none"},
    {"probe=soft,allocate=ada:0.05", "probe=soft,reduce=mean/mean,smooth=none,allocate=ada:0.05,keep=none"},
    {"probe=soft,allocate=ada:0.0001", "probe=soft,reduce=mean/mean,smooth=none,allocate=ada:0.0001,keep=none"},
    {"probe=soft,allocate=ada:1", "probe=soft,reduce=mean/mean,smooth=none,allocate=ada:1,keep=none"},
    {"probe=soft,allocate=judge", "probe=soft,reduce=mean/mean,smooth=none,allocate=judge:0.2,keep=none"},
    {"judge,allocate=ada:0.5", "probe=soft,reduce=max/max,smooth=avg:7,allocate=ada:0.5,keep=recent:8"},
    {"judge-later", "probe=soft,reduce=judge,smooth=judge,allocate=judge:0.2,keep=recent:8,remember=0.8"},
    {"judge-later,remember=none", "probe=soft,reduce=judge,smooth=judge,allocate=judge:0.2,keep=recent:8"},
    {"snapkv,remember=1.0", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:32,remember=1"},
    {"probe=soft,remember=0.0001,remember=0", "probe=soft,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"judge-later,reduce=mean",
     "probe=soft,reduce=mean/mean,smooth=judge,allocate=judge:0.2,keep=recent:8,remember=0.8"},
    {"judge-later,smooth=avg:5", "probe=soft,reduce=judge,smooth=avg:5,allocate=judge:0.2,keep=recent:8,remember=0.8"},
    {"judge,allocate=judge:0.05,allocate=pyramid",
     "probe=soft,reduce=max/max,smooth=avg:7,allocate=pyramid:20,keep=recent:8"},
    {"probe=soft,allocate=ada:0.5,allocate=uniform",
     "probe=soft,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=none,keep=recent:100%+sink:4",
     "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=sink:4+recent:100%"},
    {"streaming,keep=turn:50%+recent:8+sink:4",
     "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=sink:4+recent:8+turn:50%"},
    {"streaming,keep=turn:100%", "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=turn:100%"},
    {"snapkv,keep=recent:8", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:8"},
    {"snapkv,keep=recent:50%,keep=sink:2",
     "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=sink:2"},
    {"judge,allocate=uniform,smooth=max:5", "probe=soft,reduce=max/max,smooth=max:5,allocate=uniform,keep=recent:8"},
    {"judge,probe=soft:8", "probe=soft:8,reduce=max/max,smooth=avg:7,allocate=judge:0.2,keep=recent:8"},
    {"laq++,reduce=max",
     "probe=window:8+lookahead:8@snapkv,reduce=max/max,smooth=max:7,allocate=uniform,keep=recent:8"},
    {"probe=again,reduce=max", "probe=again,reduce=max/max,smooth=none,allocate=uniform,keep=none"},
    {"probe=again:2048,reduce=max/mean", "probe=again,reduce=max/mean,smooth=none,allocate=uniform,keep=none"},
    {"kvzip,probe=again:16,smooth=avg:5", "probe=again:16,reduce=max/max,smooth=avg:5,allocate=ada:0,keep=sink:4"},
    {"judge,probe=again", "probe=again,reduce=max/max,smooth=avg:7,allocate=judge:0.2,keep=recent:8"},
    {"kvzip,probe=soft", "probe=soft,reduce=max/max,smooth=none,allocate=ada:0,keep=sink:4"},
    {"probe=lookahead:4@judge-paper",
     "probe=lookahead:4@judge-paper,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=lookahead:4@judge+all",
     "probe=all+lookahead:4@judge,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=lookahead:4@judge:2x+soft",
     "probe=soft+lookahead:4@judge:2x,reduce=mean/mean,smooth=none,allocate=uniform,keep=none"},
    {"probe=response:9+lookahead:512@streaming:64x+window:8+soft",
     "probe=window:8+soft+response:9+lookahead:512@streaming:64x,reduce=mean/"
     "mean,smooth=none,allocate=uniform,keep=none"},
};

static void good_texts_are_read_and_written_again(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        judgeq_policy policy = read_good(GOOD[i].text);
        assert_string_equal(judgeq_policy_text(&policy), GOOD[i].canonical);
        judgeq_policy again = read_good(GOOD[i].canonical);
        assert_policy_equal(&again, &policy);
    }
}

/* What the message must name: what is wrong, and something that would work. */
static const struct {
    const char *text, *fault, *help;
} BAD[] = {
    {"", "unknown preset \"\"", "judge-laq"},
    {"snapvk", "\"snapvk\"",
     "full, random, streaming, h2o, tova, snapkv, pyramidkv, adakv, laq, laq++, "
     "judge-paper, judge, judge-later, judge-laq, kvzip, oracle"},
    {"snapkv ", "\"snapkv \"", "snapkv"},
    {"full,keep=none", "keep=none", "another preset"},
    {"snapkv,", "\"\" is no choice", "probe, reduce, smooth, allocate, keep"},
    {"snapkv,full", "\"full\" is no choice", "key=value"},
    {"snapkv,pool=max:7", "pool=max:7", "smooth"},
    {"keep=recent:8", "names no probe", "probe=..."},
    {"probe=", "probe does not accept \"\"", "window:W"},
    {"probe=window", "\"window\"", "W 1..65536"},
    {"probe=window:0", "\"window:0\"", "W 1..65536"},
    {"probe=window:65537", "\"window:65537\"", "W 1..65536"},
    {"probe=window:8x", "\"window:8x\"", "window:W"},
    {"probe=window:+8", "\"window:\"", "window:W"},
    {"probe=window:-8", "\"window:-8\"", "window:W"},
    {"probe=window:99999999999999999999", "\"window:9999", "window:W"},
    {"probe=windows:8", "\"windows:8\"", "window:W"},
    {"probe=last:1", "\"last:1\"", "last"},
    {"probe=soft:", "\"soft:\"", "soft:N"},
    {"probe=soft:0", "\"soft:0\"", "N 1..1024"},
    {"probe=soft+soft", "\"soft\"", "each once"},
    {"probe=last+window:8", "\"window:8\"", "last or window:W"},
    {"probe=all+window:8", "\"window:8\"", "or all"},
    {"probe=window:8+all", "\"all\"", "or all"},
    {"probe=soft+", "\"\"", "joined by +"},
    {"probe=none+soft", "\"none\"", "none, random, or"},
    {"probe=again", "probe=again takes the maximum", "reduce=max"},
    {"snapkv,probe=again", "probe=again takes the maximum", "reduce=max"},
    {"kvzip,reduce=mean/max", "probe=again takes the maximum", "reduce=max"},
    {"probe=again+soft", "\"again+soft\"", "use again or again:N"},
    {"probe=window:8+again:64", "\"window:8+again:64\"", "use again or again:N"},
    {"probe=again+again", "\"again+again\"", "use again or again:N"},
    {"probe=again:15", "\"again:15\"", "N 16..65536"},
    {"probe=again:65537", "\"again:65537\"", "N 16..65536"},
    {"probe=again:", "\"again:\"", "N 16..65536"},
    {"probe=againn", "\"againn\"", "again or again:N"},
    {"probe=lookahead:8@kvzip", "from kvzip", "snapkv or judge"},
    {"probe=response:0", "\"response:0\"", "N 1..4096"},
    {"probe=lookahead", "\"lookahead\"", "lookahead:N@PRESET"},
    {"probe=lookahead:8", "\"8\"", "lookahead:N@PRESET"},
    {"probe=lookahead:0@judge", "\"0@judge\"", "N 1..512"},
    {"probe=lookahead:8@", "unknown preset \"\"", "snapkv"},
    {"probe=lookahead:8@judgement", "unknown preset \"judgement\"", "snapkv"},
    {"probe=lookahead:8@laq", "look ahead from laq", "snapkv"},
    {"probe=lookahead:8@laq++:4x", "look ahead from laq++", "snapkv"},
    {"probe=lookahead:8@judge-laq", "look ahead from judge-laq", "snapkv"},
    {"probe=lookahead:8@oracle", "look ahead from oracle", "snapkv"},
    {"probe=lookahead:8@full", "look ahead from full", "snapkv"},
    {"probe=lookahead:8@judge:4", "\"8@judge:4\"", "Mx"},
    {"probe=lookahead:8@judge:x", "\"8@judge:x\"", "Mx"},
    {"probe=lookahead:8@judge:65x", "\"8@judge:65x\"", "M 1..64"},
    {"probe=lookahead:8@judge:4x+", "\"\"", "joined by +"},
    {"probe=lookahead:8@judge+lookahead:4@snapkv", "\"4@snapkv\"", "each once"},
    {"judge,reduce=median", "reduce does not accept \"median\"", "mean, max"},
    {"judge,reduce=max/", "\"max/\"", "ROWS/HEADS"},
    {"judge,reduce=max/max/max", "\"max/max/max\"", "ROWS/HEADS"},
    {"judge,smooth=max", "smooth does not accept \"max\"", "max:K"},
    {"judge,smooth=max:4", "\"max:4\"", "K odd"},
    {"judge,smooth=max:65", "\"max:65\"", "1..63"},
    {"judge,smooth=none:3", "\"none:3\"", "none"},
    {"judge,smooth=gauss:3", "\"gauss:3\"", "avg:K"},
    {"judge,allocate=pyramid:0.5", "\"pyramid:0.5\"", "BETA 1..100"},
    {"judge,allocate=pyramid:100.1", "\"pyramid:100.1\"", "BETA 1..100"},
    {"judge,allocate=pyramid:", "\"pyramid:\"", "BETA"},
    {"judge,allocate=ada:1.5", "\"ada:1.5\"", "FLOOR 0..1"},
    {"judge,allocate=ada:.5", "\"ada:.5\"", "FLOOR 0..1"},
    {"judge,allocate=ada:0.", "\"ada:0.\"", "FLOOR 0..1"},
    {"judge,allocate=ada:0.12345", "\"ada:0.12345\"", "at most four digits"},
    {"judge,allocate=ada:0.00001", "\"ada:0.00001\"", "at most four digits"},
    {"judge,allocate=ada:1e-1", "\"ada:1e-1\"", "FLOOR"},
    {"judge,allocate=ada:nan", "\"ada:nan\"", "FLOOR"},
    {"judge,allocate=uniform:2", "\"uniform:2\"", "uniform"},
    {"judge,keep=", "keep does not accept \"\"", "sink:S"},
    {"judge,keep=sink", "\"sink\"", "sink:S"},
    {"judge,keep=sink:0", "\"sink:0\"", "1..1000000"},
    {"judge,keep=sink:5%", "\"sink:5%\"", "recent:P%"},
    {"judge,keep=recent:101%", "\"recent:101%\"", "P 1..100"},
    {"judge,keep=recent:%", "\"recent:%\"", "P 1..100"},
    {"judge,keep=recent:8+recent:4", "\"recent:4\"", "sink:S, recent:R"},
    {"judge,keep=turn:8", "\"turn:8\"", "turn:P%"},
    {"judge,keep=turn:101%", "\"turn:101%\"", "P 1..100"},
    {"judge,keep=turn:0%", "\"turn:0%\"", "P 1..100"},
    {"judge,keep=turn:5%+turn:5%", "\"turn:5%\"", "turn:P%"},
    {"judge,keep=none+sink:4", "\"none\"", "none, or"},
    {"snapkv,reduce=judge", "soft tokens", "probe=soft"},
    {"judge-later,probe=window:8", "soft tokens", "probe=soft"},
    {"snapkv,remember=1.1", "remember does not accept \"1.1\"", "none"},
    {"snapkv,remember=0.12345", "remember does not accept", "four digits"},
    {"h2o,remember=0.8", "remember is for scores by soft tokens, a window, or both", "remember=none"},
    {"judge-laq,remember=0.8", "remember is for scores by soft tokens, a window, or both", "remember=none"},
    {"kvzip,remember=1", "remember is for scores by soft tokens, a window, or both", "remember=none"},
    {"streaming,remember=1", "remember is for scores by soft tokens, a window, or both", "remember=none"},
};

static void bad_texts_are_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        judgeq_error error = {0, ""};
        judgeq_policy *policy = (judgeq_policy *)&error;
        assert_int_equal(judgeq_policy_parse(BAD[i].text, &policy, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_int_equal(error.code, JUDGEQ_ERROR_ARGUMENT);
        assert_null(policy);
        if (!strstr(error.message, BAD[i].fault))
            fail_msg("%s: \"%s\" not in: %s", BAD[i].text, BAD[i].fault, error.message);
        if (!strstr(error.message, BAD[i].help))
            fail_msg("%s: \"%s\" not in: %s", BAD[i].text, BAD[i].help, error.message);
        assert_true(strlen(error.message) < sizeof error.message - 1); /* not cut */
        assert_int_equal(judgeq_policy_parse(BAD[i].text, &policy, NULL), JUDGEQ_ERROR_ARGUMENT);
    }
    judgeq_policy *policy;
    assert_int_equal(judgeq_policy_parse(NULL, &policy, NULL), JUDGEQ_ERROR_ARGUMENT);
}

static void a_long_bad_text_leaves_room_for_the_help(void **state) {
    (void)state;
    char text[4096] = "judge,keep=";
    memset(text + strlen(text), 'x', sizeof text - strlen(text) - 1);
    text[sizeof text - 1] = 0;
    judgeq_error error;
    judgeq_policy *policy;
    assert_int_equal(judgeq_policy_parse(text, &policy, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "sink:S"));
}

static const struct {
    const char *name, *text;
    int32_t n_soft;
    bool needs_full_cache;
} PRESETS[] = {
    {"full", "full", 0, false},
    {"random", "probe=random,reduce=mean/mean,smooth=none,allocate=uniform,keep=none", 0, false},
    {"streaming", "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=sink:4+recent:100%", 0, false},
    {"h2o", "probe=all,reduce=mean/mean,smooth=none,allocate=uniform,keep=recent:50%", 0, false},
    {"tova", "probe=last,reduce=mean/mean,smooth=none,allocate=uniform,keep=none", 0, false},
    {"snapkv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:32", 0, false},
    {"pyramidkv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=pyramid:20,keep=recent:32", 0, false},
    {"adakv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=ada:0.2,keep=recent:32", 0, false},
    {"laq", "probe=lookahead:8@snapkv,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:8", 0, true},
    {"laq++", "probe=window:8+lookahead:8@snapkv,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:8", 0,
     true},
    {"judge-paper", "probe=soft,reduce=mean/mean,smooth=none,allocate=uniform,keep=none", -1, false},
    {"judge", NULL, -1, false}, /* its defaults are chosen by measurement */
    {"judge-later", NULL, -1, false},
    {"judge-laq", "probe=soft+lookahead:24@judge:4x,reduce=max/max,smooth=avg:7,allocate=ada:0.2,keep=recent:8", -1,
     false},
    {"kvzip", "probe=again,reduce=max/max,smooth=none,allocate=ada:0,keep=sink:4", 0, false},
    {"oracle", "probe=response:64,reduce=mean/mean,smooth=none,allocate=uniform,keep=none", 0, true},
};

static void presets_are_those_of_the_design(void **state) {
    (void)state;
    size_t n = sizeof PRESETS / sizeof PRESETS[0];
    assert_null(judgeq_preset_at(n));
    assert_null(judgeq_preset_at(SIZE_MAX));
    for (size_t i = 0; i < n; i++) {
        const judgeq_preset *preset = judgeq_preset_at(i);
        assert_string_equal(preset->name, PRESETS[i].name);
        assert_true(strlen(preset->source) > 0 && strlen(preset->summary) > 0);
        judgeq_policy *policy;
        assert_int_equal(judgeq_policy_parse(preset->name, &policy, NULL), JUDGEQ_OK);
        assert_string_equal(judgeq_policy_text(policy), preset->text); /* the texts in the table are canonical */
        if (PRESETS[i].text) assert_string_equal(preset->text, PRESETS[i].text);
        assert_int_equal(judgeq_policy_soft_tokens(policy), PRESETS[i].n_soft);
        assert_int_equal(judgeq_policy_needs_full_cache(policy), PRESETS[i].needs_full_cache);
        judgeq_policy_free(policy);
    }
    judgeq_policy_free(NULL);
}

/* Pages that say something else than the program would mislead. */
static void every_preset_has_a_page_with_its_choices(void **state) {
    (void)state;
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        const judgeq_preset *preset = judgeq_preset_at(i);
        char path[1024], page[8192], line[256], example[64];
        snprintf(path, sizeof path, "%s/../../docs/policies/%s.md", JUDGEQ_TEST_DATA, preset->name);
        FILE *file = fopen(path, "r");
        if (!file) fail_msg("%s is missing", path);
        page[fread(page, 1, sizeof page - 1, file)] = 0;
        fclose(file);
        snprintf(line, sizeof line, "\n    %s\n", preset->text);
        snprintf(example, sizeof example, "judgeq run --policy %s ", preset->name);
        if (!strstr(page, line)) fail_msg("%s does not say: %s", path, preset->text);
        if (!strstr(page, example)) fail_msg("%s has no example: %s", path, example);
    }
}

/* What a judge says replaces what is left to it, and nothing else. */
static void a_judge_has_choices_of_its_own(void **state) {
    (void)state;
    judgeq_error error;
    judgeq_policy later = read_good("judge-later"), own = read_good("judge-later,reduce=max/mean"),
                  other = read_good("snapkv");
    assert_true(later.reduce_rows == POLICY_MAX && later.reduce_heads == POLICY_MAX);
    assert_true(later.smooth == POLICY_SMOOTH_AVG && later.smooth_width == 7);
    judgeq_policy silent = later;
    assert_int_equal(policy_take_judge(&silent, "", &error), JUDGEQ_OK);
    assert_string_equal(silent.text,
                        "probe=soft,reduce=max/max,smooth=avg:7,allocate=judge:0.2,keep=recent:8,remember=0.8");
    assert_true(silent.reduce_rows == POLICY_MAX && silent.smooth_width == 7);
    assert_int_equal(policy_take_judge(&later, "reduce=mean/max,smooth=none", &error), JUDGEQ_OK);
    assert_true(later.reduce_rows == POLICY_MEAN && later.reduce_heads == POLICY_MAX);
    assert_true(later.smooth == POLICY_SMOOTH_NONE && later.smooth_width == 1);
    assert_string_equal(later.text,
                        "probe=soft,reduce=mean/max,smooth=none,allocate=judge:0.2,keep=recent:8,remember=0.8");
    assert_int_equal(policy_take_judge(&own, "reduce=mean,smooth=max:3", &error), JUDGEQ_OK);
    assert_true(own.reduce_rows == POLICY_MAX && own.reduce_heads == POLICY_MEAN);
    assert_true(own.smooth == POLICY_SMOOTH_MAX && own.smooth_width == 3);
    assert_int_equal(policy_take_judge(&other, "no choices", &error), JUDGEQ_OK); /* which nobody asks for */
    assert_int_equal(other.smooth_width, 7);
    static const char *const bad[] = {"reduce",    "smooth=avg:2",  "smooth=judge", "reduce=judge",
                                      "keep=none", "keep=recent:8", "snapkv",       "remember=1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        judgeq_policy policy = read_good("judge-later");
        assert_int_equal(policy_take_judge(&policy, bad[i], &error), JUDGEQ_ERROR_ARGUMENT);
        assert_true(policy.reduce_rows == POLICY_MAX && policy.smooth_width == 7);
    }
}

static void the_soft_tokens_are_the_policys_or_its_drafts(void **state) {
    (void)state;
    judgeq_policy policy = read_good("probe=soft:16");
    assert_int_equal(judgeq_policy_soft_tokens(&policy), 16);
    policy = read_good("probe=lookahead:8@judge");
    assert_int_equal(judgeq_policy_soft_tokens(&policy), -1);
    policy = read_good("probe=soft:16+lookahead:8@judge:4x");
    assert_int_equal(judgeq_policy_soft_tokens(&policy), -1);
    policy = read_good("probe=soft:16+lookahead:8@snapkv:4x");
    assert_int_equal(judgeq_policy_soft_tokens(&policy), 16);
    assert_false(judgeq_policy_needs_full_cache(&policy));
}

static void fractions_do_not_drift(void **state) {
    (void)state;
    for (int32_t parts = 0; parts <= POLICY_FRACTION_PARTS; parts++) {
        char text[64], expected[16], written[32];
        snprintf(text, sizeof text, "probe=soft,allocate=ada:%d.%04d", parts / 10000, parts % 10000);
        judgeq_policy policy = read_good(text);
        snprintf(expected, sizeof expected, "%.4f", parts / 10000.0); /* to strip of zeros: by hand */
        size_t length = strlen(expected);
        while (length > 1 && expected[length - 1] == '0') expected[--length] = 0;
        if (length > 1 && expected[length - 1] == '.') expected[--length] = 0;
        snprintf(written, sizeof written, "allocate=ada:%s,", expected);
        if (!strstr(policy.text, written)) fail_msg("%s is not in %s", written, policy.text);
        judgeq_policy again = read_good(policy.text);
        assert_policy_equal(&again, &policy);
    }
}

static void kept_rows_follow_the_budget(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t budget, sink, recent;
    } cases[] = {
        {"snapkv", 64, 0, 32},
        {"snapkv", 16, 0, 16}, /* cut to the budget */
        {"snapkv", 1, 0, 1},
        {"h2o", 64, 0, 32},
        {"h2o", 65, 0, 32},
        {"h2o", 201, 0, 100},
        {"h2o", 1, 0, 0},
        {"streaming", 64, 4, 60},
        {"streaming", 4, 4, 0},
        {"streaming", 3, 3, 0},
        {"streaming", 1, 1, 0},
        {"snapkv,keep=sink:4+recent:32", 35, 4, 31}, /* sinks first */
        {"snapkv,keep=sink:4+recent:32", 5, 4, 1},
        {"snapkv,keep=sink:4+recent:32", 2, 2, 0},
        {"tova", 64, 0, 0},
        {"probe=none,keep=sink:4+recent:50%", 6, 4, 2},
        {"probe=none,keep=recent:100%", INT32_MAX, 0, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judgeq_policy policy = read_good(cases[i].text);
        int32_t sink, recent;
        policy_keep_rows(&policy, cases[i].budget, &sink, &recent);
        assert_int_equal(sink, cases[i].sink);
        assert_int_equal(recent, cases[i].recent);
    }
}

static void the_longest_text_fits(void **state) {
    (void)state;
    judgeq_policy policy =
        read_good("probe=window:65536+soft:1024+response:4096+lookahead:512@pyramidkv:64x,reduce=mean,"
                  "smooth=max:63,allocate=pyramid:99.9999,keep=sink:1000000+recent:1000000+turn:100%");
    assert_string_equal(policy.text,
                        "probe=window:65536+soft:1024+response:4096+lookahead:512@pyramidkv:64x,reduce=mean/mean,"
                        "smooth=max:63,allocate=pyramid:99.9999,keep=sink:1000000+recent:1000000+turn:100%");
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(good_texts_are_read_and_written_again),
           cmocka_unit_test(bad_texts_are_refused_by_name), cmocka_unit_test(a_long_bad_text_leaves_room_for_the_help),
           cmocka_unit_test(presets_are_those_of_the_design),
           cmocka_unit_test(every_preset_has_a_page_with_its_choices), cmocka_unit_test(a_judge_has_choices_of_its_own),
           cmocka_unit_test(the_soft_tokens_are_the_policys_or_its_drafts), cmocka_unit_test(fractions_do_not_drift),
           cmocka_unit_test(kept_rows_follow_the_budget), cmocka_unit_test(the_longest_text_fits))
