#include "model_keys.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"

#define READ(key)                                                                                                      \
    { .suffix = (key), .use = KEY_READ }
#define HARMLESS(key)                                                                                                  \
    { .suffix = (key), .use = KEY_HARMLESS }
#define ONLY(key, a, b)                                                                                                \
    {                                                                                                                  \
        .suffix = (key), .use = KEY_NUMBER, .neutral = {(a), (b) }                                                     \
    }
#define LIKE(key, a, what)                                                                                             \
    { .suffix = (key), .use = KEY_NUMBER, .neutral = {(a), (a)}, .like = (what) }
#define NEVER(key)                                                                                                     \
    {                                                                                                                  \
        .suffix = (key), .use = KEY_NUMBER, .neutral = { NAN, NAN }                                                    \
    }
#define TEXT(key, a, b)                                                                                                \
    {                                                                                                                  \
        .suffix = (key), .use = KEY_TEXT, .text = {(a), (b) }                                                          \
    }

/* Every key of an architecture in libllama's list (LLM_KV_NAMES), in its order. Neutral are the values with which
 * libllama computes nothing else than without the key, and those that it writes itself into models that have no use for
 * the key (llama_model_save_to_file). A dense model has no use for what is said about experts. */
static const model_key keys[] = {
    HARMLESS("vocab_size"),
    READ("context_length"),
    READ("embedding_length"),
    LIKE("embedding_length_out", 0, KEY_LIKE_EMBEDDING),
    ONLY("embedding_length_per_layer_input", 0, 0),
    ONLY("features_length", 0, 0),
    READ("block_count"),
    ONLY("leading_dense_block_count", 0, 0),
    ONLY("attn_res.block_size", 0, 0),
    ONLY("activation.situ_beta", 0, 1),
    ONLY("activation.situ_linear_beta", 0, 0),
    READ("feed_forward_length"),
    ONLY("expert_feed_forward_length", 0, 0),
    ONLY("expert_shared_feed_forward_length", 0, 0),
    ONLY("expert_chunk_feed_forward_length", 0, 0),
    ONLY("swiglu_clamp_exp", 0, 0),
    ONLY("swiglu_clamp_shexp", 0, 0),
    ONLY("use_parallel_residual", 0, 0),
    TEXT("tensor_data_layout", "reference", "Meta AI original pth"),
    ONLY("expert_count", 0, 0),
    ONLY("expert_used_count", 0, 0),
    ONLY("expert_shared_count", 0, 0),
    ONLY("expert_group_count", 0, 0),
    ONLY("expert_group_used_count", 0, 0),
    ONLY("expert_weights_scale", 0, 1),
    ONLY("expert_weights_norm", 0, 0),
    ONLY("expert_latent_length", 0, 0),
    ONLY("expert_gating_func", 0, 0),
    ONLY("expert_group_scale", 0, 0.05),
    ONLY("experts_per_group", 0, 0),
    ONLY("moe_every_n_layers", 0, 0),
    ONLY("moe_latent_size", 0, 0),
    ONLY("nextn_predict_layers", 0, 0),
    ONLY("n_deepstack_layers", 0, 0),
    ONLY("deepstack_mapping", -1, -1),
    TEXT("hidden_activation", "silu", "swish"),
    ONLY("pooling_type", 0, -1),
    ONLY("logit_scale", 0, 1),
    HARMLESS("decoder_start_token_id"),
    ONLY("decoder_block_count", 0, 0),
    ONLY("attn_logit_softcapping", 0, 0),
    ONLY("router_logit_softcapping", 0, 0),
    ONLY("final_logit_softcapping", 0, 0),
    ONLY("swin_norm", 0, 0),
    ONLY("rescale_every_n_layers", 0, 0),
    ONLY("time_mix_extra_dim", 0, 0),
    ONLY("time_decay_extra_dim", 0, 0),
    ONLY("residual_scale", 0, 1),
    ONLY("embedding_scale", 0, 1),
    ONLY("adapters.count", 0, 0),
    NEVER("adapters.token_ids_activate"),
    NEVER("adapters.token_ids_substitute"),
    ONLY("adapters.lora_rank", 0, 0),
    ONLY("adapters.router_gain", 0, 0),
    ONLY("token_shift_count", 0, 2),
    ONLY("interleave_moe_layer_step", 0, 0),
    ONLY("full_attention_interval", 0, 0),
    ONLY("num_loops", 0, 1),
    ONLY("skip_loop_final_norm", 0, 0),
    ONLY("hrm.layers_per_stack", 0, 0),
    ONLY("hrm.h_cycles", 0, 0),
    ONLY("hrm.l_cycles", 0, 0),
    ONLY("hrm.prefix_lm", 0, 0),
    READ("attention.head_count"),
    READ("attention.head_count_kv"),
    ONLY("attention.max_alibi_bias", 0, 0),
    ONLY("attention.clamp_kqv", 0, 0),
    READ("attention.key_length"),
    READ("attention.value_length"),
    LIKE("attention.layer_norm_epsilon", 0, KEY_LIKE_EPSILON),
    READ("attention.layer_norm_rms_epsilon"),
    ONLY("attention.group_norm_epsilon", 0, 0),
    ONLY("attention.group_norm_groups", 0, 0),
    ONLY("attention.causal", 1, 1),
    ONLY("attention.q_lora_rank", 0, 0),
    ONLY("attention.kv_lora_rank", 0, 0),
    ONLY("attention.decay_lora_rank", 0, 0),
    ONLY("attention.iclr_lora_rank", 0, 0),
    ONLY("attention.value_residual_mix_lora_rank", 0, 0),
    ONLY("attention.gate_lora_rank", 0, 0),
    ONLY("attention.relative_buckets_count", 0, 0),
    ONLY("attention.sliding_window", 0, 0),
    ONLY("attention.sliding_window_pattern", 0, 1),
    ONLY("attention.rope_pattern", 1, 1),
    LIKE("attention.scale", 0, KEY_LIKE_ATTENTION_SCALE),
    ONLY("attention.output_scale", 0, 1),
    ONLY("attention.value_scale", 0, 1),
    ONLY("attention.temperature_length", 0, 0),
    ONLY("attention.temperature_scale", 0, 0),
    ONLY("attention.key_length_mla", 0, 0),
    ONLY("attention.value_length_mla", 0, 0),
    LIKE("attention.key_length_swa", 0, KEY_LIKE_HEAD_DIM),
    LIKE("attention.value_length_swa", 0, KEY_LIKE_HEAD_DIM),
    ONLY("attention.key_length_mla_swa", 0, 0),
    ONLY("attention.value_length_mla_swa", 0, 0),
    ONLY("attention.kv_lora_rank_swa", 0, 0),
    ONLY("attention.indexer.head_count", 0, 0),
    ONLY("attention.indexer.key_length", 0, 0),
    ONLY("attention.indexer.top_k", 0, 0),
    ONLY("attention.indexer.block_size", 0, 0),
    ONLY("attention.indexer.local_blocks", 0, 0),
    ONLY("attention.indexer.types", 0, 0),
    ONLY("attention.indexer.kpool", 0, 0),
    ONLY("attention.indexer.kpool_select_tail", 0, 0),
    ONLY("attention.output_group_count", 0, 0),
    ONLY("attention.output_lora_rank", 0, 0),
    ONLY("attention.compress_rope_freq_base", 0, 0),
    ONLY("attention.compress_ratios", 0, 0),
    ONLY("attention.shared_kv_layers", 0, 0),
    ONLY("attention.recurrent_layers", 0, 0),
    ONLY("hyper_connection.count", 0, 0),
    ONLY("hyper_connection.sinkhorn_iterations", 0, 0),
    ONLY("hyper_connection.epsilon", 0, 0),
    ONLY("hyper_connection.magnitude", 0, 0),
    ONLY("hyper_connection.low_rank", 0, 0),
    NEVER("ple.layers"),
    ONLY("ple.ngram_size", 0, 0),
    ONLY("ple.heads_per_ngram", 0, 0),
    ONLY("ple.conv_kernel", 0, 0),
    NEVER("ple.layer_multipliers"),
    NEVER("ple.head_offsets"),
    NEVER("ple.head_vocab_sizes"),
    ONLY("ple.eos_token_id", 0, 0),
    ONLY("ple.image_token_id", 0, 0),
    ONLY("hash_layer_count", 0, 0),
    READ("rope.dimension_count"),
    LIKE("rope.dimension_count_swa", 0, KEY_LIKE_HEAD_DIM),
    ONLY("rope.dimension_sections", 0, 0),
    READ("rope.freq_base"),
    LIKE("rope.freq_base_swa", 10000, KEY_LIKE_ROPE_BASE),
    READ("rope.scale_linear"),
    READ("rope.scaling.type"),
    READ("rope.scaling.factor"),
    ONLY("rope.scaling.alpha", 0, 1),
    READ("rope.scaling.attn_factor"),
    READ("rope.scaling.original_context_length"),
    HARMLESS("rope.scaling.finetuned"),
    ONLY("rope.scaling.yarn_log_multiplier", 0, 0),
    LIKE("rope.scaling.yarn_ext_factor", -1, KEY_LIKE_EXT_FACTOR),
    ONLY("rope.scaling.yarn_attn_factor", 1, 1),
    ONLY("rope.scaling.yarn_beta_fast", 32, 32),
    ONLY("rope.scaling.yarn_beta_slow", 1, 1),
    ONLY("ssm.conv_kernel", 0, 0),
    ONLY("ssm.inner_size", 0, 0),
    ONLY("ssm.state_size", 0, 0),
    ONLY("ssm.time_step_rank", 0, 0),
    ONLY("ssm.group_count", 0, 0),
    ONLY("ssm.dt_b_c_rms", 0, 0),
    ONLY("kda.head_dim", 0, 0),
    ONLY("kda.safe_gate", 0, 0),
    ONLY("kda.gate_lower_bound", 0, 0),
    ONLY("wkv.head_size", 0, 0),
    ONLY("posnet.embedding_length", 0, 0),
    ONLY("posnet.block_count", 0, 0),
    ONLY("convnext.embedding_length", 0, 0),
    ONLY("convnext.block_count", 0, 0),
    NEVER("classifier.output_labels"),
    ONLY("classifier.pooling_type", 0, -1),
    NEVER("target_layers"),
    ONLY("target_hidden_size", 0, 0),
    ONLY("norm_before_residual", 0, 0),
    ONLY("norm_before_fc", 0, 0),
    ONLY("block_size", 0, 0),
    ONLY("conv_kernel_size", 0, 0),
    ONLY("conv_group_size", 0, 0),
    ONLY("selector_rank", 0, 0),
    ONLY("selector_top_k", 0, 0),
    ONLY("shortconv.l_cache", 0, 0),
    ONLY("dense_2_feat_in", 0, 0),
    ONLY("dense_2_feat_out", 0, 0),
    ONLY("dense_3_feat_in", 0, 0),
    ONLY("dense_3_feat_out", 0, 0),
};

const model_key *model_key_at(size_t index) {
    return index < sizeof keys / sizeof *keys ? &keys[index] : NULL;
}

static const model_key *find_key(const char *suffix) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].suffix, suffix) == 0) return &keys[i];
    }
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static size_t count_values(const struct gguf_context *gguf, int64_t id) {
    return gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY ? gguf_get_arr_n(gguf, id) : 1;
}

static enum gguf_type value_type(const struct gguf_context *gguf, int64_t id) {
    const enum gguf_type type = gguf_get_kv_type(gguf, id);
    return type == GGUF_TYPE_ARRAY ? gguf_get_arr_type(gguf, id) : type;
}

/* Number i of a key that holds numbers or booleans. */
static double number_at(const struct gguf_context *gguf, int64_t id, size_t i) {
    const bool array = gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY;
    const void *data = array ? gguf_get_arr_data(gguf, id) : gguf_get_val_data(gguf, id);
    switch (value_type(gguf, id)) {
    case GGUF_TYPE_UINT8:
        return ((const uint8_t *)data)[i];
    case GGUF_TYPE_INT8:
    case GGUF_TYPE_BOOL:
        return ((const int8_t *)data)[i];
    case GGUF_TYPE_UINT16:
        return ((const uint16_t *)data)[i];
    case GGUF_TYPE_INT16:
        return ((const int16_t *)data)[i];
    case GGUF_TYPE_UINT32: /* libllama writes its -1, "not set", as that */
        return ((const uint32_t *)data)[i] == UINT32_MAX ? -1.0 : (double)((const uint32_t *)data)[i];
    case GGUF_TYPE_INT32:
        return ((const int32_t *)data)[i];
    case GGUF_TYPE_UINT64:
        return (double)((const uint64_t *)data)[i];
    case GGUF_TYPE_INT64:
        return (double)((const int64_t *)data)[i];
    case GGUF_TYPE_FLOAT32:
        return (double)((const float *)data)[i];
    case GGUF_TYPE_FLOAT64:
        return ((const double *)data)[i];
    default:
        return NAN;
    }
}

static double like_value(const judgeq_model *model, model_key_like like) {
    switch (like) {
    case KEY_LIKE_HEAD_DIM:
        return model->info.head_dim;
    case KEY_LIKE_EMBEDDING:
        return model->info.n_embd;
    case KEY_LIKE_ATTENTION_SCALE:
        return 1 / sqrt(model->info.head_dim);
    case KEY_LIKE_EPSILON:
        return (double)model->norm_epsilon;
    case KEY_LIKE_ROPE_BASE:
        return (double)model->rope.base;
    case KEY_LIKE_EXT_FACTOR:
        return (double)model->rope.ext_factor;
    default:
        return NAN;
    }
}

/* Files hold floats, and round what they were given. */
static bool same(double a, double b) {
    return fabs(a - b) <= 1e-6 * fabs(b);
}

static bool is_neutral_number(const judgeq_model *model, const model_key *key, double value) {
    return same(value, key->neutral[0]) || same(value, key->neutral[1]) ||
           (key->like != KEY_LIKE_NOTHING && same(value, like_value(model, key->like)));
}

static bool is_neutral(const judgeq_model *model, const model_key *key, int64_t id) {
    const struct gguf_context *gguf = model->file.gguf;
    const enum gguf_type type = value_type(gguf, id);
    if (key->use == KEY_READ || key->use == KEY_HARMLESS) return true;
    if (gguf_get_kv_type(gguf, id) == GGUF_TYPE_STRING) {
        const char *text = gguf_get_val_str(gguf, id);
        return key->use == KEY_TEXT && (strcmp(text, key->text[0]) == 0 || strcmp(text, key->text[1]) == 0);
    }
    const size_t n = count_values(gguf, id);
    for (size_t i = 0; i < n; i++) {
        if (key->use == KEY_TEXT || type == GGUF_TYPE_STRING) return false;
        if (!is_neutral_number(model, key, number_at(gguf, id, i))) return false;
    }
    return true;
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

typedef struct phrase {
    char text[96];
} phrase;

static phrase say_value(const judgeq_model *model, int64_t id) {
    const struct gguf_context *gguf = model->file.gguf;
    phrase p;
    if (gguf_get_kv_type(gguf, id) == GGUF_TYPE_STRING) {
        snprintf(p.text, sizeof p.text, "\"%.*s\"", VISIBLE_FIT(gguf_get_val_str(gguf, id), 64));
    } else if (gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY) {
        snprintf(p.text, sizeof p.text, "an array of %zu %s", gguf_get_arr_n(gguf, id),
                 gguf_type_name(gguf_get_arr_type(gguf, id)));
    } else if (gguf_get_kv_type(gguf, id) == GGUF_TYPE_BOOL) {
        snprintf(p.text, sizeof p.text, "%s", gguf_get_val_bool(gguf, id) ? "true" : "false");
    } else {
        snprintf(p.text, sizeof p.text, "%.9g", number_at(gguf, id, 0));
    }
    return p;
}

/* " (it computes with 0 or 0.25)", or nothing where no value would do. */
static phrase say_neutral(const judgeq_model *model, const model_key *key) {
    phrase p = {{0}};
    if (key->use == KEY_TEXT) {
        snprintf(p.text, sizeof p.text, " (it computes \"%s\" or \"%s\")", key->text[0], key->text[1]);
        return p;
    }
    const double other = key->like == KEY_LIKE_NOTHING ? key->neutral[1] : like_value(model, key->like);
    if (isnan(key->neutral[0])) return p;
    if (same(key->neutral[0], other)) {
        snprintf(p.text, sizeof p.text, " (it computes with %.9g)", other);
    } else {
        snprintf(p.text, sizeof p.text, " (it computes with %.9g or %.9g)", key->neutral[0], other);
    }
    return p;
}

static judgeq_status check_key(judgeq_model *model, const char *suffix, int64_t id, judgeq_error *error) {
    const model_key *key = find_key(suffix);
    const char *name = gguf_get_key(model->file.gguf, id);
    if (!key) {
        model->unknown_keys[model->info.n_unknown_keys++] = name;
        return JUDGEQ_OK;
    }
    if (is_neutral(model, key, id)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: %.*s is %s, which judgeq does not compute%s",
                     model->file.path, VISIBLE_FIT(name, 96), say_value(model, id).text, say_neutral(model, key).text);
}

judgeq_status model_keys_check(judgeq_model *model, judgeq_error *error) {
    const struct gguf_context *gguf = model->file.gguf;
    const int64_t n = gguf_get_n_kv(gguf);
    const size_t length = strlen(model->info.architecture);
    model->unknown_keys = malloc(((size_t)n + 1) * sizeof *model->unknown_keys);
    if (!model->unknown_keys) return error_memory(error, "a model's keys");
    model->info.unknown_keys = model->unknown_keys;
    judgeq_status status = JUDGEQ_OK;
    for (int64_t id = 0; status == JUDGEQ_OK && id < n; id++) {
        const char *name = gguf_get_key(gguf, id);
        if (strncmp(name, model->info.architecture, length) != 0 || name[length] != '.') continue;
        status = check_key(model, name + length + 1, id, error);
    }
    return status;
}
