/* What oneDNN may not or cannot do: a system that lets no program make code (systemd's MemoryDenyWriteExecute), and a
 * product that fails in the middle of a prompt, or at its very end. This program's own mprotect and
 * dnnl_primitive_execute stand before those of the libraries. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/onednn.h"
#include "cpu/packed.h"
#include "tiny_session.h"

enum { N_PROMPT = 200 }; /* long enough for a layer's weights to be expanded */

#ifdef __SANITIZE_ADDRESS__
/* oneDNN 2 loses a kernel whose code it may not make. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
/* NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer's name */
const char *__lsan_default_suppressions(void) {
    return "leak:brgemm_kernel_create\n";
}
#endif

static bool no_code;
static atomic_int n_execute, failing_at; /* 0: none */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): those of the system are reserved */
__attribute__((visibility("default"))) int mprotect(void *address, size_t size, int protection) {
    if (no_code && (protection & PROT_EXEC)) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_mprotect, address, size, protection);
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int nargs,
                                     const dnnl_exec_arg_t *args) {
    typedef dnnl_status_t execute(const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t *);
    execute *library = NULL;
    void *found = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
    memcpy(&library, &found, sizeof library); /* C has no conversion from void * to a function */
    if (atomic_fetch_add(&n_execute, 1) + 1 == failing_at) return dnnl_runtime_error;
    return library(primitive, stream, nargs, args);
}

static judgeq_model *load(enum ggml_type type) {
    char path[512];
    judgeq_model *model = NULL;
    tiny_spec spec = tiny_spec_base();
    spec.weight_type = type;
    snprintf(path, sizeof path, "%s/model.gguf", fixture_folder);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    CHECK(judgeq_model_load(path, &model, error));
    return model;
}

static judgeq_status read_prompt(const judgeq_model *model, judgeq_error *error) {
    int32_t token[N_PROMPT];
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    judgeq_session *session = tiny_session(model, "full", params);
    tiny_prompt(1, judgeq_model_get_info(model)->n_vocab, token, N_PROMPT);
    const judgeq_status status = judgeq_session_prefill(session, token, N_PROMPT, error);
    judgeq_session_free(session);
    return status;
}

/* Last, since oneDNN is not asked again. The matrix has a size that oneDNN has no code for yet. */
static void test_no_code(void **unused) {
    (void)unused;
    judgeq_error error = {0};
    judgeq_model *model = load(GGML_TYPE_Q8_0);
    packed *matrix;
    char *kernels;
    no_code = true;
    assert_int_equal(packed_new(96, 160, &matrix, &error), JUDGEQ_OK);
    assert_null(matrix);
    n_execute = 0;
    if (read_prompt(model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    assert_int_equal(n_execute, 0);
    if (judgeq_kernels(&kernels, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_free(kernels);
    no_code = false;
    judgeq_model_free(model);
}

static void test_failed_products(void **unused) {
    (void)unused;
    judgeq_error error = {0};
    judgeq_model *model = load(GGML_TYPE_Q8_0);
    n_execute = 0;
    if (read_prompt(model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    const int all = n_execute; /* 0 where oneDNN has no kernels for it */
    for (int i = 1; i <= all; i += i < all - 10 ? all / 20 + 1 : 1) {
        n_execute = 0;
        failing_at = i;
        const judgeq_status status = read_prompt(model, &error);
        if (status != JUDGEQ_ERROR_BACKEND) fail_msg("call %d of %d failed, and reading gave %d", i, all, (int)status);
        assert_non_null(strstr(error.message, "oneDNN"));
    }
    failing_at = 0;
    judgeq_model_free(model);
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_failed_products), cmocka_unit_test(test_no_code))
