/* Every key that libllama knows of an architecture: the loader reads it, or it does nothing, or it is refused by name
 * unless its value does nothing. */
#include "judgeq.h"
#include "model/model_keys.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static const char *const path = fixture_model;

static const char *const families[] = {"llama", "qwen2", "qwen3", "smollm3"};

/* How a value is written: in the types that converters use. */
typedef enum written { AS_FLOAT, AS_INTEGER, AS_BOOLEAN, AS_FLOATS, AS_INTEGERS, WAYS } written;

static void set_number(struct gguf_context *gguf, const char *key, written as, double value) {
    const float numbers[2] = {(float)value, (float)value};
    const int32_t integers[2] = {(int32_t)value, (int32_t)value};
    switch (as) {
    case AS_FLOAT:
        gguf_set_val_f32(gguf, key, (float)value);
        return;
    case AS_INTEGER: /* -1 as libllama writes it */
        gguf_set_val_u32(gguf, key, (uint32_t)(int32_t)value);
        return;
    case AS_BOOLEAN:
        gguf_set_val_bool(gguf, key, value != 0);
        return;
    case AS_FLOATS:
        gguf_set_arr_data(gguf, key, GGUF_TYPE_FLOAT32, numbers, 2);
        return;
    default:
        gguf_set_arr_data(gguf, key, GGUF_TYPE_INT32, integers, 2);
        return;
    }
}

/* True where that value can be written so. */
static bool can_write(written as, double value) {
    return as == AS_BOOLEAN ? value == 0 || value == 1 : as == AS_FLOAT || as == AS_FLOATS || value == floor(value);
}

static judgeq_status load(const tiny_model *tiny, judgeq_error *error) {
    judgeq_model *model = NULL;
    assert_int_equal(tiny_model_save(tiny, path), 0);
    const judgeq_status status = judgeq_model_load(path, &model, error);
    judgeq_model_free(model);
    return status;
}

static void expect_loads(const tiny_model *tiny, const char *key) {
    judgeq_error error = {0};
    if (load(tiny, &error) != JUDGEQ_OK) fail_msg("%s: %s", key, error.message);
}

static void expect_refused(const tiny_model *tiny, const char *key) {
    judgeq_error error = {0};
    const judgeq_status status = load(tiny, &error);
    if (status != JUDGEQ_ERROR_UNSUPPORTED) fail_msg("%s: status %d, \"%s\"", key, status, error.message);
    if (!strstr(error.message, key) || !strstr(error.message, path)) fail_msg("%s: \"%s\"", key, error.message);
}

static tiny_model build(const char *name) {
    tiny_spec spec;
    tiny_model tiny;
    assert_true(tiny_spec_find(name, &spec));
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    return tiny;
}

/* What the spec has, by the meaning of the row. */
static double value_like(const tiny_spec *spec, model_key_like like) {
    switch (like) {
    case KEY_LIKE_HEAD_DIM:
        return spec->head_dim;
    case KEY_LIKE_EMBEDDING:
        return spec->n_embd;
    case KEY_LIKE_ATTENTION_SCALE:
        return 1 / sqrt(spec->head_dim);
    case KEY_LIKE_EPSILON:
        return 1e-5;
    case KEY_LIKE_ROPE_BASE:
        return spec->rope_freq_base != 0 ? (double)spec->rope_freq_base : 10000;
    case KEY_LIKE_EXT_FACTOR:
        return spec->rope_scaling && strcmp(spec->rope_scaling, "yarn") == 0;
    default:
        return NAN;
    }
}

static void check_number(tiny_model *tiny, const tiny_spec *spec, const char *key, const model_key *row) {
    const double neutral[] = {row->neutral[0], row->neutral[1], value_like(spec, row->like)};
    for (int i = 0; i < 3; i++) {
        for (written as = 0; !isnan(neutral[i]) && as < WAYS; as++) {
            if (!can_write(as, neutral[i])) continue;
            set_number(tiny->gguf, key, as, neutral[i]);
            expect_loads(tiny, key);
        }
    }
    for (written as = 0; as < WAYS; as++) {
        if (as == AS_BOOLEAN) continue;
        set_number(tiny->gguf, key, as, 7);
        expect_refused(tiny, key);
    }
    gguf_set_val_str(tiny->gguf, key, "other");
    expect_refused(tiny, key);
    gguf_set_val_f32(tiny->gguf, key, NAN);
    expect_refused(tiny, key);
}

static void check_text(tiny_model *tiny, const char *key, const model_key *row) {
    for (int i = 0; i < 2; i++) {
        gguf_set_val_str(tiny->gguf, key, row->text[i]);
        expect_loads(tiny, key);
    }
    gguf_set_val_str(tiny->gguf, key, "other");
    expect_refused(tiny, key);
    gguf_set_val_u32(tiny->gguf, key, 0);
    expect_refused(tiny, key);
}

static void check_row(const char *family, const model_key *row) {
    tiny_spec spec;
    char key[128];
    assert_true(tiny_spec_find(family, &spec));
    snprintf(key, sizeof key, "%s.%s", spec.architecture, row->suffix);
    tiny_model tiny = build(family);
    if (row->use == KEY_NUMBER) check_number(&tiny, &spec, key, row);
    if (row->use == KEY_TEXT) check_text(&tiny, key, row);
    if (row->use == KEY_HARMLESS) {
        gguf_set_val_u32(tiny.gguf, key, 7);
        expect_loads(&tiny, key);
    }
    tiny_model_free(&tiny);
}

static void test_every_key(void **state) {
    (void)state;
    size_t n = 0;
    for (const model_key *row; (row = model_key_at(n)); n++) check_row(families[n % 3], row);
    assert_true(n > 150);
}

/* Named one by one, not by the table: that each is in it. */
static void test_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *suffix;
        double value;
    } cases[] = {
        {"attention.scale", 0.5},
        {"attention.causal", 0},
        {"attention.clamp_kqv", 8},
        {"attention.layer_norm_epsilon", 1e-3},
        {"attention.max_alibi_bias", 8},
        {"attention.sliding_window", 64},
        {"attention.sliding_window_pattern", 2},
        {"attention.temperature_length", 8192},
        {"attention.temperature_scale", 0.1},
        {"attn_logit_softcapping", 50},
        {"embedding_scale", 12},
        {"expert_count", 8},
        {"expert_used_count", 2},
        {"expert_shared_count", 1},
        {"final_logit_softcapping", 30},
        {"logit_scale", 0.0625},
        {"nextn_predict_layers", 1},
        {"pooling_type", 1},
        {"residual_scale", 0.22},
        {"rope.dimension_sections", 16},
        {"rope.scaling.alpha", 1000},
        {"rope.scaling.yarn_attn_factor", 0.5},
        {"rope.scaling.yarn_beta_fast", 64},
        {"rope.scaling.yarn_beta_slow", 2},
        {"rope.scaling.yarn_ext_factor", 0.5},
        {"rope.scaling.yarn_log_multiplier", 0.1},
        {"use_parallel_residual", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t f = 0; f < 3; f++) {
            char key[128];
            tiny_model tiny = build(families[f]);
            snprintf(key, sizeof key, "%s.%s", families[f], cases[i].suffix);
            set_number(tiny.gguf, key, can_write(AS_BOOLEAN, cases[i].value) ? AS_BOOLEAN : AS_FLOAT, cases[i].value);
            expect_refused(&tiny, key);
            tiny_model_free(&tiny);
        }
    }
}

/* YaRN's own weight is 1 with YaRN and 0 without. */
static void test_neutral_depends_on_the_model(void **state) {
    (void)state;
    tiny_model tiny = build("yarn"), plain = build("llama");
    gguf_set_val_f32(tiny.gguf, "llama.rope.scaling.yarn_ext_factor", 1);
    expect_loads(&tiny, "yarn_ext_factor");
    gguf_set_val_f32(tiny.gguf, "llama.rope.scaling.yarn_ext_factor", 0);
    expect_refused(&tiny, "llama.rope.scaling.yarn_ext_factor");
    gguf_set_val_f32(plain.gguf, "llama.rope.scaling.yarn_ext_factor", 1);
    expect_refused(&plain, "llama.rope.scaling.yarn_ext_factor");
    gguf_set_val_f32(plain.gguf, "llama.rope.scaling.yarn_ext_factor", 0);
    expect_loads(&plain, "yarn_ext_factor");
    tiny_model_free(&tiny);
    tiny_model_free(&plain);
}

/* libllama does not know them either: they change nothing, there and here, and are named for who asks. */
static void test_unknown_keys(void **state) {
    (void)state;
    tiny_model tiny = build("llama");
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    gguf_set_val_u32(tiny.gguf, "llama.foo", 3);
    gguf_set_val_str(tiny.gguf, "llama.attention.remark", "none");
    gguf_set_val_u32(tiny.gguf, "llamas.logit_scale", 3); /* no key of this architecture */
    gguf_set_val_u32(tiny.gguf, "other.logit_scale", 3);
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_int_equal(info->n_unknown_keys, 2);
    assert_string_equal(info->unknown_keys[0], "llama.foo");
    assert_string_equal(info->unknown_keys[1], "llama.attention.remark");
    judgeq_model_free(model);
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_every_key), cmocka_unit_test(test_refused_by_name),
           cmocka_unit_test(test_neutral_depends_on_the_model), cmocka_unit_test(test_unknown_keys))
