#include "judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array_file.h"
#include "base/error.h"
#include "base/visible.h"
#include "fingerprint.h"

void judgeq_judge_free(judgeq_judge *judge) {
    if (!judge) return;
    free((void *)judge->info.fingerprint);
    free((void *)judge->info.model_name);
    free((void *)judge->info.weight_type);
    free((void *)judge->info.origin);
    free((void *)judge->info.loss);
    free((void *)judge->info.data_hash);
    free((void *)judge->info.choices);
    free((void *)judge->info.layer_share);
    free(judge->soft);
    free(judge);
}

const judgeq_judge_info *judgeq_judge_get_info(const judgeq_judge *judge) {
    return &judge->info;
}

const float *judgeq_judge_soft_tokens(const judgeq_judge *judge) {
    return judge->soft;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static bool is_fingerprint(const char *text) {
    return text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

static judgeq_status check_shares(const char *label, const judgeq_judge_info *info, judgeq_error *error) {
    double sum = 0;
    if (info->n_layer_share < 0 || (info->n_layer_share > 0 && !info->layer_share)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: shares of %d layers, but none is given", label,
                         info->n_layer_share);
    }
    for (int32_t i = 0; i < info->n_layer_share; i++) {
        const float share = info->layer_share[i];
        if (!(share >= 0 && share <= (float)info->n_layer_share)) { /* NaN as well */
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: layer %d has a share of %g; expected 0 to %d", label, i,
                             (double)share, info->n_layer_share);
        }
        sum += (double)share;
    }
    if (fabs(sum - info->n_layer_share) <= 1e-3 * info->n_layer_share) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: the shares of %d layers have a sum of %g; their mean must be 1",
                     label, info->n_layer_share, sum);
}

static judgeq_status check_info(const char *label, const judgeq_judge_info *info, judgeq_error *error) {
    if (info->n_depth < 1 || info->n_soft < 1 || info->n_embd < 1)
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: soft tokens of shape [%d, %d, %d]; all must be 1 or more",
                         label, info->n_depth, info->n_soft, info->n_embd);
    if (!is_fingerprint(info->fingerprint))
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "%s: the model's fingerprint must be 32 hexadecimal digits, not \"%.*s\"", label,
                         VISIBLE_FIT(info->fingerprint ? info->fingerprint : "", 40));
    if (info->steps < 0)
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: steps is %" PRId64 "; it must not be negative", label,
                         info->steps);
    if (isinf(info->heldout_loss))
        return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: the held-out loss is infinite; use NaN for unknown", label);
    if (info->heldout_loss < -1e-6f) /* both losses are sums of what is not negative, but for rounding */
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: the held-out loss is %g; it must not be negative", label,
                         (double)info->heldout_loss);
    if (info->heldout_hit_rate < 0 || info->heldout_hit_rate > 1)
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: the held-out hit rate is %g; it must be 0 to 1, or NaN",
                         label, (double)info->heldout_hit_rate);
    return check_shares(label, info, error);
}

size_t judge_size(const judgeq_judge_info *info) {
    return (size_t)info->n_depth * (size_t)info->n_soft * (size_t)info->n_embd;
}

static judgeq_status check_finite(const char *label, const float *soft, const judgeq_judge_info *info,
                                  judgeq_error *error) {
    const size_t n = judge_size(info), n_embd = (size_t)info->n_embd, n_soft = (size_t)info->n_soft;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(soft[i]))
            return error_set(error, JUDGEQ_ERROR_NUMERIC,
                             "%s: soft token %zu, element %zu of layer %zu is %s; finite numbers are needed", label,
                             i / n_embd % n_soft, i % n_embd, i / n_embd / n_soft, isnan(soft[i]) ? "NaN" : "infinite");
    return JUDGEQ_OK;
}

/* False: no memory. NULL is copied as "". */
static bool copy_text(const char **out, const char *text) {
    return (*out = strdup(text ? text : "")) != NULL;
}

static bool copy_shares(judgeq_judge_info *out, const judgeq_judge_info *from) {
    if (from->n_layer_share == 0) return true;
    const size_t bytes = (size_t)from->n_layer_share * sizeof *from->layer_share;
    float *copy = malloc(bytes);
    if (copy) memcpy(copy, from->layer_share, bytes);
    out->layer_share = copy;
    return copy != NULL;
}

judgeq_status judge_create(const char *label, const float *soft, const judgeq_judge_info *info, judgeq_judge **out,
                           judgeq_error *error) {
    *out = NULL;
    judgeq_status status = check_info(label, info, error);
    if (status == JUDGEQ_OK) status = check_finite(label, soft, info, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_judge *judge = calloc(1, sizeof *judge);
    if (!judge) return error_memory(error, "a judge");
    judge->info = *info;
    judgeq_judge_info *own = &judge->info;
    own->layer_share = NULL;
    own->fingerprint = own->model_name = own->weight_type = own->origin = own->loss = own->data_hash = own->choices =
        NULL;
    judge->version = JUDGE_FORMAT_VERSION;
    const size_t bytes = judge_size(info) * sizeof(float);
    judge->soft = malloc(bytes);
    if (!judge->soft || !copy_text(&own->fingerprint, info->fingerprint) ||
        !copy_text(&own->model_name, info->model_name) || !copy_text(&own->weight_type, info->weight_type) ||
        !copy_text(&own->origin, info->origin) || !copy_text(&own->loss, info->loss) ||
        !copy_text(&own->data_hash, info->data_hash) || !copy_text(&own->choices, info->choices) ||
        !copy_shares(own, info)) {
        judgeq_judge_free(judge);
        return error_memory(error, "a judge");
    }
    memcpy(judge->soft, soft, bytes);
    *out = judge;
    return JUDGEQ_OK;
}

judgeq_status judgeq_judge_new(const float *soft, const judgeq_judge_info *info, judgeq_judge **out,
                               judgeq_error *error) {
    return judge_create("judge", soft, info, out, error);
}

/* ---- whose it is ------------------------------------------------------------------------------------------------- */

static judgeq_status refuse_other(const char *label, const judgeq_judge_info *info, uint32_t version,
                                  const judgeq_model_info *model, judgeq_error *error) {
    const bool weights =
        version == JUDGE_FORMAT_VERSION && fingerprint_same_kind(info->fingerprint, model->fingerprint);
    const char *own = version == JUDGE_FORMAT_OF_FILE ? model->file_fingerprint : model->fingerprint;
    const char *hint = "load that model, or use a judge made for this one";
    if (weights) hint = "both have the same shape and vocabulary, but other weights: use a judge made for this model";
    if (version == JUDGE_FORMAT_OF_FILE)
        hint =
            "of format version 1, it fits one quantisation: judgeq judge import, with -m and the file that it was made "
            "for, makes it fit all";
    return error_set(error, JUDGEQ_ERROR_MISMATCH,
                     "%s: this judge belongs to model \"%.*s\" (fingerprint %.*s), not to \"%.*s\" (fingerprint "
                     "%.32s); %s",
                     label, VISIBLE_FIT(info->model_name ? info->model_name : "", 64),
                     VISIBLE_FIT(info->fingerprint, 32), VISIBLE_FIT(model->name, 64), own, hint);
}

judgeq_status judge_check_model(const char *label, const judgeq_judge_info *info, uint32_t version,
                                const judgeq_model_info *model, judgeq_error *error) {
    const char *own = version == JUDGE_FORMAT_OF_FILE ? model->file_fingerprint : model->fingerprint;
    if (strcmp(info->fingerprint, own) != 0) return refuse_other(label, info, version, model, error);
    if (info->n_embd != model->n_embd)
        return error_set(error, JUDGEQ_ERROR_MISMATCH,
                         "%s: soft tokens of %d elements for model \"%.*s\", whose embeddings have %d", label,
                         info->n_embd, VISIBLE_FIT(model->name, 64), model->n_embd);
    if (info->n_depth != 1 && info->n_depth != model->n_layer)
        return error_set(error, JUDGEQ_ERROR_MISMATCH, "%s: soft tokens for %d layers for model \"%.*s\", which has %d",
                         label, info->n_depth, VISIBLE_FIT(model->name, 64), model->n_layer);
    if (info->n_layer_share > 0 && info->n_layer_share != model->n_layer)
        return error_set(error, JUDGEQ_ERROR_MISMATCH, "%s: shares of %d layers for model \"%.*s\", which has %d",
                         label, info->n_layer_share, VISIBLE_FIT(model->name, 64), model->n_layer);
    return JUDGEQ_OK;
}

/* ---- import and export ------------------------------------------------------------------------------------------- */

static judgeq_status check_shape(const char *path, const array_file *array, const judgeq_model_info *model,
                                 judgeq_error *error) {
    if (array->n_dim != 2 && array->n_dim != 3)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: the array has %d dimensions; soft tokens are [n_soft, n_embd] or [n_layer, n_soft, "
                         "n_embd]",
                         path, array->n_dim);
    const int64_t *shape = array->shape + array->n_dim - 2; /* [n_soft, n_embd] */
    if (shape[1] != model->n_embd || shape[0] > INT32_MAX)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: the array ends in [%" PRId64 ", %" PRId64
                         "]; soft tokens for \"%.*s\" are [n_soft, %d], or "
                         "[%d, n_soft, %d]%s",
                         path, shape[0], shape[1], VISIBLE_FIT(model->name, 64), model->n_embd, model->n_layer,
                         model->n_embd, shape[0] == model->n_embd ? " (is it transposed?)" : "");
    if (array->n_dim == 3 && array->shape[0] != model->n_layer)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: the array has vectors for %" PRId64 " layers; \"%.*s\" has %d", path, array->shape[0],
                         VISIBLE_FIT(model->name, 64), model->n_layer);
    return JUDGEQ_OK;
}

static judgeq_status make_imported(const char *path, const array_file *array, const judgeq_model_info *model,
                                   judgeq_judge **out, judgeq_error *error) {
    judgeq_status status = check_shape(path, array, model, error);
    if (status != JUDGEQ_OK) return status;
    const char *slash = strrchr(path, '/');
    char origin[300] = "imported from ";
    strncat(origin, slash ? slash + 1 : path, sizeof origin - strlen(origin) - 1);
    judgeq_judge_info info = {.n_depth = array->n_dim == 3 ? (int32_t)array->shape[0] : 1,
                              .n_soft = (int32_t)array->shape[array->n_dim - 2],
                              .n_embd = model->n_embd,
                              .fingerprint = model->fingerprint,
                              .model_name = model->name,
                              .origin = origin,
                              .heldout_loss = NAN,
                              .heldout_hit_rate = NAN};
    return judge_create(path, array->data, &info, out, error);
}

/* False too where it cannot be read: whoever reads it next says why. */
static bool is_gguf(const char *path) {
    char magic[4] = "";
    FILE *file = fopen(path, "rbe");
    const size_t n = file ? fread(magic, 1, sizeof magic, file) : 0;
    if (file) fclose(file);
    return n == sizeof magic && memcmp(magic, "GGUF", sizeof magic) == 0;
}

judgeq_status judgeq_judge_import(const char *path, const char *tensor, const judgeq_model *model, judgeq_judge **out,
                                  judgeq_error *error) {
    *out = NULL;
    if (is_gguf(path)) return judgeq_judge_load(path, model, out, error);
    array_file array;
    judgeq_status status = array_file_read(path, tensor, &array, error);
    if (status == JUDGEQ_OK) status = make_imported(path, &array, judgeq_model_get_info(model), out, error);
    array_file_free(&array);
    return status;
}

judgeq_status judgeq_judge_export(const judgeq_judge *judge, const char *path, judgeq_error *error) {
    const int64_t shape[] = {judge->info.n_depth, judge->info.n_soft, judge->info.n_embd};
    const int flat = judge->info.n_depth == 1; /* as the arrays of others are */
    return array_file_write(path, JUDGE_TENSOR, shape + flat, 3 - flat, judge->soft, error);
}
