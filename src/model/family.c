#include "family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const model_family families[] = {
    {.name = "llama", .also = "mistral files too", .rope_mode = GGML_ROPE_TYPE_NORMAL, .rope_factors = true},
    {.name = "qwen2", .rope_mode = GGML_ROPE_TYPE_NEOX},
    {.name = "qwen3", .rope_mode = GGML_ROPE_TYPE_NEOX, .query_key_norms = true},
    {.name = "smollm3", .rope_mode = GGML_ROPE_TYPE_NORMAL, .rope_less = 4},
};

enum { N_FAMILIES = sizeof families / sizeof *families };

const family_vector family_vectors[MODEL_VECTORS] = {
    [MODEL_ATTENTION_NORM] = {"attn_norm", FAMILY_EMBD, false},
    [MODEL_FFN_NORM] = {"ffn_norm", FAMILY_EMBD, false},
    [MODEL_QUERY_NORM] = {"attn_q_norm", FAMILY_HEAD_DIM, true},
    [MODEL_KEY_NORM] = {"attn_k_norm", FAMILY_HEAD_DIM, true},
};

const family_matrix family_matrices[MODEL_MATRICES] = {
    [MODEL_QUERY] = {"attn_q", FAMILY_EMBD, FAMILY_QUERY}, [MODEL_KEY] = {"attn_k", FAMILY_EMBD, FAMILY_KV},
    [MODEL_VALUE] = {"attn_v", FAMILY_EMBD, FAMILY_KV},    [MODEL_OUTPUT] = {"attn_output", FAMILY_QUERY, FAMILY_EMBD},
    [MODEL_GATE] = {"ffn_gate", FAMILY_EMBD, FAMILY_FF},   [MODEL_UP] = {"ffn_up", FAMILY_EMBD, FAMILY_FF},
    [MODEL_DOWN] = {"ffn_down", FAMILY_FF, FAMILY_EMBD},
};

const model_family *family_find(const char *architecture) {
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i].name, architecture) == 0) return &families[i];
    }
    return NULL;
}

void family_list(char *text, size_t size) {
    size_t used = 0;
    *text = '\0';
    for (size_t i = 0; i < N_FAMILIES && used < size; i++) {
        const model_family *f = &families[i];
        used += (size_t)snprintf(text + used, size - used, "%s%s%s%s%s", i > 0 ? ", " : "", f->name,
                                 f->also ? " (" : "", f->also ? f->also : "", f->also ? ")" : "");
    }
}

int64_t family_length(const judgeq_model *model, family_size size) {
    const judgeq_model_info *info = &model->info;
    const int64_t length[] = {[FAMILY_EMBD] = info->n_embd,
                              [FAMILY_HEAD_DIM] = info->head_dim,
                              [FAMILY_QUERY] = (int64_t)info->n_head * info->head_dim,
                              [FAMILY_KV] = (int64_t)info->n_head_kv * info->head_dim,
                              [FAMILY_FF] = info->n_ff};
    return length[size];
}

void family_describe(const judgeq_model *model, int32_t index, model_layer *layer) {
    const judgeq_model_info *info = &model->info;
    const int32_t rope_less = model->family->rope_less;
    *layer = (model_layer){.n_head = info->n_head,
                           .n_head_kv = info->n_head_kv,
                           .head_dim = info->head_dim,
                           .scale = 1.0f / sqrtf((float)info->head_dim),
                           .norm_epsilon = model->norm_epsilon,
                           .rope = rope_less > 0 && (index + 1) % rope_less == 0 ? NULL : &model->rope};
}

void family_write(const judgeq_model *model, char *text, size_t size) {
    const model_layer *layer = &model->layer[0];
    const bool biases = layer->matrix[MODEL_QUERY].bias != NULL;
    char rope_less[48] = "";
    if (model->family->rope_less > 0) {
        snprintf(rope_less, sizeof rope_less, ", none in every %dth layer", model->family->rope_less);
    }
    snprintf(text, size, "attention to all rows (rope on %s%s%s%s), gated feed-forward (silu)",
             model->rope.mode == GGML_ROPE_TYPE_NEOX ? "halves" : "adjacent pairs", rope_less,
             layer->vector[MODEL_QUERY_NORM] ? ", query and key norms" : "", biases ? ", biases" : "");
}
