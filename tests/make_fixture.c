/* make_fixture: the tiny models and judges of the test kit, for tests that run the command:
 *   make_fixture model SPEC FILE [TENSOR]  a model (tiny_model.h has the specs); a NaN in TENSOR, if named
 *   make_fixture pre NAME FILE             a model with that pre-tokenizer; "": with none
 *   make_fixture endless SPEC FILE         a model that never ends a response, greedily
 *   make_fixture template SPEC FILE TEXT   a model whose chat template is TEXT
 *   make_fixture judge MODEL FILE          a judge of that model, 4 soft tokens
 *   make_fixture session MODEL JUDGE POLICY FILE   a session that has read 70 tokens and decoded 8, saved
 *   make_fixture resume MODEL JUDGE FILE TO        that session, loaded, 8 tokens later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judgeq.h"
#include "tiny_model.h"

static int fail(const char *what) {
    fprintf(stderr, "make_fixture: %s\n", what);
    return 1;
}

static int make_model(const char *name, const char *path, const char *damaged) {
    tiny_spec spec;
    tiny_model model;
    if (!tiny_spec_find(name, &spec)) return fail("no such spec");
    if (tiny_model_build(&spec, &model) != 0) return fail("cannot build the model");
    struct ggml_tensor *tensor = damaged ? ggml_get_tensor(model.context, damaged) : NULL;
    if (tensor && tensor->type == GGML_TYPE_F32) *(float *)tensor->data = NAN;
    const bool damaged_as_asked = !damaged || (tensor && tensor->type == GGML_TYPE_F32);
    const int status = damaged_as_asked ? tiny_model_save(&model, path) : -1;
    tiny_model_free(&model);
    return status == 0 ? 0 : fail("no such F32 tensor, or the file cannot be written");
}

static int make_pre(const char *pre, const char *path) {
    tiny_spec spec = tiny_spec_base();
    spec.vocabulary = TINY_VOCABULARY_BPE;
    spec.pre = pre;
    return tiny_model_write(&spec, path) == 0 ? 0 : fail("cannot write the model");
}

static int make_template(const char *name, const char *path, const char *text) {
    tiny_spec spec;
    tiny_model model;
    if (!tiny_spec_find(name, &spec)) return fail("no such spec");
    if (tiny_model_build(&spec, &model) != 0) return fail("cannot build the model");
    gguf_set_val_str(model.gguf, "tokenizer.chat_template", text);
    const int status = tiny_model_save(&model, path);
    tiny_model_free(&model);
    return status == 0 ? 0 : fail("the file cannot be written");
}

/* The logits of tokens that end a response become 0; the likeliest token's is far above that. */
static int silence_ends(const tiny_model *tiny, const judgeq_model *model) {
    struct ggml_tensor *output = ggml_get_tensor(tiny->context, "output.weight");
    if (!output || output->type != GGML_TYPE_F32) return -1;
    for (int32_t token = 0; token < judgeq_model_get_info(model)->n_vocab; token++) {
        if (judgeq_token_ends(model, token)) {
            memset((char *)output->data + (size_t)token * output->nb[1], 0, output->nb[1]);
        }
    }
    return 0;
}

static int make_endless(const char *name, const char *path) {
    tiny_spec spec;
    tiny_model tiny;
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    if (!tiny_spec_find(name, &spec)) return fail("no such spec");
    if (tiny_model_build(&spec, &tiny) != 0) return fail("cannot build the model");
    /* written twice: which tokens end a response is asked of the first file */
    bool made = tiny_model_save(&tiny, path) == 0 && judgeq_model_load(path, &model, &error) == JUDGEQ_OK &&
                silence_ends(&tiny, model) == 0;
    judgeq_model_free(model);
    made = made && tiny_model_save(&tiny, path) == 0;
    tiny_model_free(&tiny);
    return made ? 0 : fail("cannot make the model endless");
}

static int make_judge(const char *model_path, const char *path) {
    enum { N_SOFT = 4 };
    judgeq_model *model;
    judgeq_judge *judge = NULL;
    judgeq_error error;
    if (judgeq_model_load(model_path, &model, &error) != JUDGEQ_OK) return fail(error.message);
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const judgeq_judge_info about = {.n_depth = 1,
                                     .n_soft = N_SOFT,
                                     .n_embd = info->n_embd,
                                     .fingerprint = info->fingerprint,
                                     .model_name = info->name,
                                     .weight_type = info->weight_type,
                                     .origin = "a test",
                                     .loss = "",
                                     .data_hash = "",
                                     .heldout_loss = NAN,
                                     .heldout_hit_rate = NAN};
    float *soft = malloc((size_t)N_SOFT * (size_t)info->n_embd * sizeof *soft);
    judgeq_status status = soft ? JUDGEQ_OK : JUDGEQ_ERROR_MEMORY;
    for (int i = 0; soft && i < N_SOFT * info->n_embd; i++) soft[i] = sinf((float)(i * i % 1009));
    if (status == JUDGEQ_OK) status = judgeq_judge_new(soft, &about, &judge, &error);
    if (status == JUDGEQ_OK) status = judgeq_judge_save(judge, path, &error);
    free(soft);
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return status == JUDGEQ_OK ? 0 : fail(error.message);
}

static judgeq_status decode_and_save(judgeq_session *session, int32_t n_vocab, const char *path, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t i = 0; status == JUDGEQ_OK && i < 8; i++) {
        status = judgeq_session_decode(session, (31 * i + 7) % n_vocab, error);
    }
    return status == JUDGEQ_OK ? judgeq_session_save(session, path, error) : status;
}

/* policy NULL: a session of the file `from`. */
static judgeq_status go_on(const judgeq_model *model, const judgeq_judge *judge, const char *policy, const char *from,
                           const char *to, judgeq_error *error) {
    enum { N_PROMPT = 70 };
    const int32_t n_vocab = judgeq_model_get_info(model)->n_vocab;
    int32_t prompt[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++) prompt[i] = i * i % n_vocab;
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_policy *parsed = NULL;
    judgeq_session *session = NULL;
    params.judge = judge;
    params.n_threads = 1;
    params.budget = 16;
    params.slack = 5;
    judgeq_status status = policy ? judgeq_policy_parse(policy, &parsed, error) : JUDGEQ_OK;
    params.policy = parsed;
    if (status == JUDGEQ_OK) {
        status = policy ? judgeq_session_new(model, &params, &session, error)
                        : judgeq_session_load(model, &params, from, &session, error);
    }
    if (status == JUDGEQ_OK && policy) status = judgeq_session_prefill(session, prompt, N_PROMPT, error);
    if (status == JUDGEQ_OK) status = decode_and_save(session, n_vocab, to, error);
    judgeq_session_free(session);
    judgeq_policy_free(parsed);
    return status;
}

static int make_session(const char *model_path, const char *judge_path, const char *policy, const char *from,
                        const char *to) {
    judgeq_model *model;
    judgeq_judge *judge = NULL;
    judgeq_error error;
    judgeq_status status = judgeq_model_load(model_path, &model, &error);
    if (status == JUDGEQ_OK) status = judgeq_judge_load(judge_path, model, &judge, &error);
    if (status == JUDGEQ_OK) status = go_on(model, judge, policy, from, to, &error);
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return status == JUDGEQ_OK ? 0 : fail(error.message);
}

int main(int argc, char **argv) {
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "model") == 0) {
        return make_model(argv[2], argv[3], argc == 5 ? argv[4] : NULL);
    }
    if (argc == 4 && strcmp(argv[1], "pre") == 0) return make_pre(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "endless") == 0) return make_endless(argv[2], argv[3]);
    if (argc == 5 && strcmp(argv[1], "template") == 0) return make_template(argv[2], argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[1], "judge") == 0) return make_judge(argv[2], argv[3]);
    if (argc == 6 && strcmp(argv[1], "session") == 0) return make_session(argv[2], argv[3], argv[4], NULL, argv[5]);
    if (argc == 6 && strcmp(argv[1], "resume") == 0) return make_session(argv[2], argv[3], NULL, argv[4], argv[5]);
    return fail("usage: model SPEC FILE [TENSOR], pre NAME FILE, endless SPEC FILE, template SPEC FILE TEXT, judge "
                "MODEL FILE, session MODEL JUDGE POLICY FILE, or resume MODEL JUDGE FILE TO");
}
