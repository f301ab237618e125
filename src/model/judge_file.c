/* judge_file: reads and writes judge files (docs/judge-files.md). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "ggml.h"
#include "gguf.h"
#include "gguf_bytes.h"
#include "gguf_file.h"
#include "judge.h"

/* ---- load -------------------------------------------------------------------------------------------------------- */

static judgeq_status check_kind(const gguf_file *file, uint32_t *version, judgeq_error *error) {
    const char *architecture = ""; /* which a later part of a model in several files lacks */
    const gguf_need need = gguf_find_key(file->gguf, "split.no") < 0 ? GGUF_REQUIRED : GGUF_OPTIONAL;
    judgeq_status status = gguf_read_string(file, "general.architecture", need, &architecture, error);
    if (status != JUDGEQ_OK) return status;
    if (strcmp(architecture, JUDGE_ARCHITECTURE) != 0) /* UNSUPPORTED and nothing else: judgeq inspect relies on it */
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: not a judge file: its general.architecture is \"%.*s\", a judge's is \"%s\"", file->path,
                         VISIBLE_FIT(architecture, 64), JUDGE_ARCHITECTURE);
    status = gguf_read_u32(file, JUDGE_KEY_FORMAT_VERSION, GGUF_REQUIRED, version, error);
    if (status != JUDGEQ_OK) return status;
    if (*version < JUDGE_FORMAT_OF_FILE || *version > JUDGE_FORMAT_VERSION)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: judge file of format version %" PRIu32 "; this judgeq reads %d and %d", file->path,
                         *version, JUDGE_FORMAT_OF_FILE, JUDGE_FORMAT_VERSION);
    return JUDGEQ_OK;
}

/* Its texts are the file's. */
static judgeq_status read_info(const gguf_file *file, judgeq_judge_info *info, judgeq_error *error) {
    *info = (judgeq_judge_info){.heldout_loss = NAN, .heldout_hit_rate = NAN};
    const struct {
        const char *key;
        gguf_need need;
        const char **out;
    } texts[] = {{JUDGE_KEY_FINGERPRINT, GGUF_REQUIRED, &info->fingerprint},
                 {JUDGE_KEY_MODEL_NAME, GGUF_OPTIONAL, &info->model_name},
                 {JUDGE_KEY_WEIGHT_TYPE, GGUF_OPTIONAL, &info->weight_type},
                 {JUDGE_KEY_ORIGIN, GGUF_OPTIONAL, &info->origin},
                 {JUDGE_KEY_CHOICES, GGUF_OPTIONAL, &info->choices},
                 {JUDGE_KEY_LOSS, GGUF_OPTIONAL, &info->loss},
                 {JUDGE_KEY_DATA_HASH, GGUF_OPTIONAL, &info->data_hash}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        judgeq_status status = gguf_read_string(file, texts[i].key, texts[i].need, texts[i].out, error);
        if (status != JUDGEQ_OK) return status;
    }
    judgeq_status status = gguf_read_i64(file, JUDGE_KEY_STEPS, GGUF_OPTIONAL, &info->steps, error);
    if (status == JUDGEQ_OK)
        status = gguf_read_f32(file, JUDGE_KEY_HELDOUT_LOSS, GGUF_OPTIONAL, &info->heldout_loss, error);
    if (status == JUDGEQ_OK)
        status = gguf_read_f32(file, JUDGE_KEY_HELDOUT_HIT_RATE, GGUF_OPTIONAL, &info->heldout_hit_rate, error);
    return status;
}

/* Fills in info's shape. */
static judgeq_status find_soft_tokens(const gguf_file *file, judgeq_judge_info *info, const float **soft,
                                      judgeq_error *error) {
    const struct ggml_tensor *tensor = gguf_file_tensor(file, JUDGE_TENSOR);
    if (!tensor) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor \"%s\" is missing", file->path, JUDGE_TENSOR);
    if (tensor->type != GGML_TYPE_F32)
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor \"%s\" has type %s; it must be f32", file->path,
                         JUDGE_TENSOR, ggml_type_name(tensor->type));
    if (ggml_n_dims(tensor) > 3 || tensor->ne[0] > INT32_MAX || tensor->ne[1] > INT32_MAX || tensor->ne[2] > INT32_MAX)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: tensor \"%s\" is [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                         "]; it must be [n_soft, n_embd] or [n_layer, n_soft, n_embd]",
                         file->path, JUDGE_TENSOR, tensor->ne[3], tensor->ne[2], tensor->ne[1], tensor->ne[0]);
    *soft = gguf_file_data(file, tensor);
    if ((uintptr_t)*soft % sizeof(float) != 0) /* only with a general.alignment of 1 or 2 */
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor \"%s\" is not aligned to 4 bytes", file->path,
                         JUDGE_TENSOR);
    info->n_embd = (int32_t)tensor->ne[0];
    info->n_soft = (int32_t)tensor->ne[1];
    info->n_depth = (int32_t)tensor->ne[2];
    return JUDGEQ_OK;
}

/* Where they are known. */
static judgeq_status find_shares(const gguf_file *file, judgeq_judge_info *info, judgeq_error *error) {
    const struct ggml_tensor *tensor = gguf_file_tensor(file, JUDGE_SHARES);
    if (!tensor) return JUDGEQ_OK;
    const float *share = gguf_file_data(file, tensor);
    if (tensor->type != GGML_TYPE_F32 || ggml_n_dims(tensor) != 1 || tensor->ne[0] > INT32_MAX ||
        (uintptr_t)share % sizeof(float) != 0) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor \"%s\" must be f32 [n_layer], aligned to 4 bytes",
                         file->path, JUDGE_SHARES);
    }
    info->layer_share = share;
    info->n_layer_share = (int32_t)tensor->ne[0];
    return JUDGEQ_OK;
}

/* A judge of an older file, told by the model that it belongs to, becomes one of every quantisation. */
static void bind_to(const judgeq_model_info *model, uint32_t *version, judgeq_judge_info *info) {
    if (*version == JUDGE_FORMAT_VERSION) return;
    *version = JUDGE_FORMAT_VERSION;
    info->fingerprint = model->fingerprint;
    info->weight_type = model->weight_type;
}

static judgeq_status load_from(const gguf_file *file, const judgeq_model *model, judgeq_judge **out,
                               judgeq_error *error) {
    judgeq_judge_info info;
    const float *soft = NULL;
    uint32_t version = 0;
    const judgeq_model_info *wanted = model ? judgeq_model_get_info(model) : NULL;
    judgeq_status status = check_kind(file, &version, error);
    if (status == JUDGEQ_OK) status = read_info(file, &info, error);
    if (status == JUDGEQ_OK) status = find_soft_tokens(file, &info, &soft, error);
    if (status == JUDGEQ_OK) status = find_shares(file, &info, error);
    if (status == JUDGEQ_OK && wanted) status = judge_check_model(file->path, &info, version, wanted, error);
    if (status != JUDGEQ_OK) return status;
    if (wanted) bind_to(wanted, &version, &info);
    status = judge_create(file->path, soft, &info, out, error);
    if (status == JUDGEQ_OK) (*out)->version = version;
    if (status != JUDGEQ_ERROR_ARGUMENT) return status;
    if (error) error->code = JUDGEQ_ERROR_FORMAT; /* what is a wrong argument in memory is a wrong file here */
    return JUDGEQ_ERROR_FORMAT;
}

judgeq_status judgeq_judge_load(const char *path, const judgeq_model *model, judgeq_judge **out, judgeq_error *error) {
    *out = NULL;
    gguf_file file;
    judgeq_status status = gguf_open_checked(path, &file, error);
    if (status != JUDGEQ_OK) return status;
    status = file_check(path, &file.map, load_from(&file, model, out, error), error);
    gguf_file_close(&file);
    if (status == JUDGEQ_OK) return JUDGEQ_OK;
    judgeq_judge_free(*out);
    *out = NULL;
    return status;
}

/* ---- save -------------------------------------------------------------------------------------------------------- */

static void set_text(struct gguf_context *gguf, const char *key, const char *text) {
    if (text[0]) gguf_set_val_str(gguf, key, text);
}

static void set_keys(struct gguf_context *gguf, const void *owner) {
    const judgeq_judge *judge = owner;
    const judgeq_judge_info *info = &judge->info;
    gguf_set_val_str(gguf, "general.architecture", JUDGE_ARCHITECTURE);
    gguf_set_val_str(gguf, "general.type", "judge");
    gguf_set_val_u32(gguf, JUDGE_KEY_FORMAT_VERSION, judge->version);
    gguf_set_val_str(gguf, JUDGE_KEY_FINGERPRINT, info->fingerprint);
    set_text(gguf, JUDGE_KEY_MODEL_NAME, info->model_name);
    set_text(gguf, JUDGE_KEY_WEIGHT_TYPE, info->weight_type);
    set_text(gguf, JUDGE_KEY_ORIGIN, info->origin);
    set_text(gguf, JUDGE_KEY_CHOICES, info->choices);
    set_text(gguf, JUDGE_KEY_LOSS, info->loss);
    set_text(gguf, JUDGE_KEY_DATA_HASH, info->data_hash);
    if (info->steps > 0) gguf_set_val_u64(gguf, JUDGE_KEY_STEPS, (uint64_t)info->steps);
    if (!isnan(info->heldout_loss)) gguf_set_val_f32(gguf, JUDGE_KEY_HELDOUT_LOSS, info->heldout_loss);
    if (!isnan(info->heldout_hit_rate)) gguf_set_val_f32(gguf, JUDGE_KEY_HELDOUT_HIT_RATE, info->heldout_hit_rate);
}

judgeq_status judgeq_judge_save(const judgeq_judge *judge, const char *path, judgeq_error *error) {
    const judgeq_judge_info *info = &judge->info;
    const gguf_array array[] = {
        {.name = JUDGE_TENSOR,
         .type = GGML_TYPE_F32,
         .ne = {info->n_embd, info->n_soft, info->n_depth, 1},
         .data = judge->soft},
        {.name = JUDGE_SHARES, .type = GGML_TYPE_F32, .ne = {info->n_layer_share, 1, 1, 1}, .data = info->layer_share}};
    const gguf_content content = {.what = "a judge file",
                                  .set_keys = set_keys,
                                  .owner = judge,
                                  .array = array,
                                  .n_array = info->n_layer_share > 0 ? 2 : 1};
    return gguf_bytes_write(&content, path, error);
}
