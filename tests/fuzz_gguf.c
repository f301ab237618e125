/* Fuzz target: any bytes as a GGUF file, a judge file and a model. Each loader answers with an object or an error that
 * names the file; it does not crash, abort, leak or allocate what only the file asks for.
 *
 *   ./fuzz_gguf_seeds corpus && ./fuzz_gguf -rss_limit_mb=2048 -max_len=65536 -max_total_time=60 corpus */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "judgeq.h"
#include "model/gguf_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_gguf: %s\n", what);
    abort();
}

static void require_answer(judgeq_status status, const judgeq_error *error, const char *path, bool made) {
    require((status == JUDGEQ_OK) == made, "an object without success, or success without an object");
    require(status == JUDGEQ_OK || error->code == status, "the error has another code than the call returned");
    require(status == JUDGEQ_OK || strstr(error->message, path) || status == JUDGEQ_ERROR_MEMORY,
            "the error does not name the file");
}

static void try_gguf(const char *path) {
    gguf_file file;
    judgeq_error error = {0};
    judgeq_status status = gguf_open_checked(path, &file, &error);
    require_answer(status, &error, path, file.gguf != NULL);
    unsigned sum = 0; /* every tensor's first and last byte can be read */
    for (struct ggml_tensor *t = file.tensors ? ggml_get_first_tensor(file.tensors) : NULL; t;
         t = ggml_get_next_tensor(file.tensors, t)) {
        const volatile unsigned char *bytes = gguf_file_data(&file, t);
        require(bytes + ggml_nbytes(t) <= file.map.data + file.map.size, "a tensor ends after the file");
        sum += bytes[0] + bytes[ggml_nbytes(t) - 1];
    }
    (void)sum;
    gguf_file_close(&file);
}

static void try_judge(const char *path) {
    judgeq_judge *judge;
    judgeq_error error = {0};
    judgeq_status status = judgeq_judge_load(path, NULL, &judge, &error);
    require_answer(status, &error, path, judge != NULL);
    judgeq_judge_free(judge);
}

/* A model that was accepted must also run: text through its vocabulary, and a few tokens through its graphs. */
static void try_running(const judgeq_model *model) {
    static const char text[] = "the cat \xc3\xa9\xff<|im_end|>";
    judgeq_error error = {0};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    judgeq_status status = judgeq_tokenize(model, text, sizeof text - 1, JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL,
                                           &tokens, &n_tokens, &error);
    require_answer(status, &error, "", tokens != NULL);
    status = judgeq_session_new(model, &params, &session, &error);
    require_answer(status, &error, "", session != NULL);
    if (session && n_tokens > 0) (void)judgeq_session_prefill(session, tokens, n_tokens, &error);
    judgeq_session_free(session);
    judgeq_free(tokens);
}

static void try_model(const char *path) {
    judgeq_model *model;
    judgeq_error error = {0};
    judgeq_status status = judgeq_model_load(path, &model, &error);
    require_answer(status, &error, path, model != NULL);
    if (model) try_running(model);
    judgeq_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int descriptor = -1;
    static char path[64];
    if (descriptor < 0) {
        descriptor = memfd_create("fuzz_gguf", MFD_CLOEXEC);
        require(descriptor >= 0, "no file in memory");
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    require(ftruncate(descriptor, 0) == 0 && pwrite(descriptor, data, size, 0) == (ssize_t)size, "cannot write");
    try_gguf(path);
    try_judge(path);
    try_model(path);
    return 0;
}
