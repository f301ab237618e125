/* Devices: a model whose layers are on two RPC servers, processes of this test that lend their CPU. The same kernels
 * run on the same numbers there as in plain mode here, so logits are equal bit for bit. */
#include "engine/graph.h"
#include "session/state.h"
#include "tiny_model.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { N_SERVER = 2, N_PROMPT = 150, N_DECODE = 20, SKIPPED = 77 };

static pid_t server[N_SERVER];
static int port[N_SERVER];

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* A port that nobody listens on. */
static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Before ggml has started in this process: a child cannot use what was started before it. */
static void start_server(int i) {
    port[i] = free_port();
    server[i] = fork();
    if (server[i] != 0) return;
    judgeq_error error = {0};
    if (!freopen("/dev/null", "w", stdout)) _exit(1);
    judgeq_rpc_serve(&(judgeq_rpc_params){"127.0.0.1", port[i], "CPU", 1, 0}, &error);
    _exit(error.code == JUDGEQ_ERROR_UNSUPPORTED ? SKIPPED : 1);
}

static bool listens(int p) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)p)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

/* 0, or the exit status of the server that could not start. */
static int wait_for_server(int i) {
    for (int tries = 0; tries < 1000; tries++) {
        int status = 0;
        if (waitpid(server[i], &status, WNOHANG) == server[i]) {
            server[i] = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }
        if (listens(port[i])) return 0;
        usleep(10000);
    }
    return 1;
}

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static judgeq_model *load(const char *name, const judgeq_model_params *params) {
    char path[512];
    tiny_spec spec;
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    assert_true(tiny_spec_find(name, &spec));
    snprintf(path, sizeof path, "%s/%s.gguf", fixture_folder, name);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    if (judgeq_model_load_on(path, params, &model, &error) != JUDGEQ_OK) fail_msg("%s: %s", name, error.message);
    return model;
}

static judgeq_session *start(const judgeq_model *model, const char *text, judgeq_kv_type kv_type, bool plain,
                             bool watch) {
    judgeq_error error = {0};
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    judgeq_session_params params = judgeq_session_default_params();
    params.policy = policy;
    params.budget = 40;
    params.n_threads = 1;
    params.kv_type = kv_type;
    params.plain_weights = plain;
    if (judgeq_session_new(model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    judgeq_policy_free(policy);
    int32_t prompt[N_PROMPT];
    tiny_prompt(1, judgeq_model_get_info(model)->n_vocab, prompt, N_PROMPT);
    if (judgeq_session_prefill(session, prompt, N_PROMPT, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    if (watch) assert_int_equal(judgeq_session_watch(session, &error), JUDGEQ_OK);
    return session;
}

/* Prefill, eviction, decoding, growth of the caches: the same logits, rows and bytes, here and there. */
static void compare(const judgeq_model *here, const judgeq_model *there, const char *policy, judgeq_kv_type kv_type) {
    const size_t n_vocab = (size_t)judgeq_model_get_info(here)->n_vocab;
    const bool watch = strcmp(policy, "full") == 0;
    judgeq_session *a = start(here, policy, kv_type, true, watch), *b = start(there, policy, kv_type, true, watch);
    judgeq_error error = {0};
    assert_int_equal(ggml_backend_buffer_is_host(b->layer[0].buffer), !there->place || there->place[0] == MODEL_ON_CPU);
    for (int i = 0; i < N_DECODE; i++) {
        if (memcmp(judgeq_session_logits(a), judgeq_session_logits(b), n_vocab * sizeof(float)) != 0) {
            fail_msg("%s, token %d: logits differ by %g", policy, i,
                     fixture_max_difference(judgeq_session_logits(a), judgeq_session_logits(b), n_vocab));
        }
        assert_int_equal(judgeq_session_decode(a, 3 + i, &error), JUDGEQ_OK);
        if (judgeq_session_decode(b, 3 + i, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    }
    for (int32_t l = 0; l < judgeq_model_get_info(here)->n_layer; l++) {
        for (int32_t h = 0; h < judgeq_model_get_info(here)->n_head_kv; h++) {
            size_t n, n_there;
            const int32_t *position = judgeq_session_positions(a, l, h, &n);
            const int32_t *position_there = judgeq_session_positions(b, l, h, &n_there);
            assert_int_equal(n, n_there);
            assert_memory_equal(position, position_there, n * sizeof *position);
        }
        if (!watch) continue;
        int64_t n;
        const float *map = judgeq_session_watched(a, l, &n), *map_there = judgeq_session_watched(b, l, &n);
        assert_memory_equal(map, map_there, (size_t)judgeq_model_get_info(here)->n_head * N_PROMPT * sizeof *map);
    }
    judgeq_stats stats, stats_there;
    judgeq_session_get_stats(a, &stats);
    judgeq_session_get_stats(b, &stats_there);
    assert_int_equal(stats.kv_bytes_held, stats_there.kv_bytes_held);
    assert_int_equal(stats.kv_bytes_peak, stats_there.kv_bytes_peak);
    judgeq_session_free(a);
    judgeq_session_free(b);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Families, weight types, biases, factors of the rope; layers on both servers, on one and the CPU, and the output. */
static void test_logits_are_local(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen3", "llama-bias",   "rope-freqs",   "tied",
                                        "q4_K",  "q8_0",  "fused-scales", "mixed-within", "fused-quantised"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        judgeq_model *here = load(names[i], NULL);
        for (int32_t n_offload = -1; n_offload <= 2; n_offload++) {
            const judgeq_model_params params = {.n_offload = n_offload};
            judgeq_model *there = load(names[i], &params);
            compare(here, there, n_offload % 2 ? "full" : "snapkv", JUDGEQ_KV_F16);
            judgeq_model_free(there);
        }
        judgeq_model_free(here);
    }
}

static void test_policies_and_types(void **state) {
    (void)state;
    const judgeq_model_params params = {.n_offload = -1};
    judgeq_model *here = load("qwen3", NULL), *there = load("qwen3", &params);
    compare(here, there, "laq", JUDGEQ_KV_F16);
    compare(here, there, "adakv,probe=window:4,keep=none", JUDGEQ_KV_F32);
    compare(here, there, "oracle", JUDGEQ_KV_F16);
    compare(here, there, "h2o", JUDGEQ_KV_F16);
    compare(here, there, "full", JUDGEQ_KV_Q8_0);
    compare(here, there, "adakv,probe=window:4,keep=none", JUDGEQ_KV_Q4_0);
    judgeq_model_free(here);
    judgeq_model_free(there);
}

/* A session of devices has the file that it would have here, and goes on from it here and there. */
static void test_files(void **state) {
    (void)state;
    static const char *const policies[] = {"full", "adakv,probe=window:4,keep=none", "h2o"};
    const judgeq_model_params params = {.n_offload = -1};
    judgeq_model *here = load("qwen3", NULL), *there = load("qwen3", &params);
    const size_t size = (size_t)judgeq_model_get_info(here)->n_vocab * sizeof(float);
    char path[2][512];
    judgeq_error error = {0};
    for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/session-%d.gguf", fixture_folder, i);
    for (size_t p = 0; p < 2 * sizeof policies / sizeof *policies; p++) {
        const judgeq_kv_type kv_type = p % 2 ? JUDGEQ_KV_Q4_0 : JUDGEQ_KV_F16;
        judgeq_session *a = start(here, policies[p / 2], kv_type, true, false), *b = NULL;
        judgeq_session *of_devices = start(there, policies[p / 2], kv_type, true, false);
        assert_int_equal(judgeq_session_save(a, path[0], &error), JUDGEQ_OK);
        assert_int_equal(judgeq_session_save(of_devices, path[1], &error), JUDGEQ_OK);
        size_t n = 0, m = 0;
        char *x = fixture_read(path[0], &n), *y = fixture_read(path[1], &m);
        assert_int_equal(n, m);
        assert_memory_equal(x, y, n);
        free(x);
        free(y);
        judgeq_session_free(of_devices);
        if (judgeq_session_load(there, NULL, path[0], &b, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
        for (int i = 0; i < N_DECODE; i++) {
            assert_int_equal(judgeq_session_decode(a, 3 + i, &error), JUDGEQ_OK);
            assert_int_equal(judgeq_session_decode(b, 3 + i, &error), JUDGEQ_OK);
            assert_memory_equal(judgeq_session_logits(a), judgeq_session_logits(b), size);
        }
        judgeq_session_free(a);
        judgeq_session_free(b);
    }
    judgeq_model_free(here);
    judgeq_model_free(there);
}

/* By default operations of our own compute here, and none of them there: F32 weights differ by the order of sums. */
static void test_default_mode(void **state) {
    (void)state;
    const judgeq_model_params params = {.n_offload = -1};
    judgeq_model *here = load("qwen3", NULL), *there = load("qwen3", &params);
    const size_t n_vocab = (size_t)judgeq_model_get_info(here)->n_vocab;
    static const char *const policies[] = {"full", "snapkv", "laq++"};
    for (size_t p = 0; p < 3; p++) {
        judgeq_session *a = start(here, policies[p], JUDGEQ_KV_F32, false, false);
        judgeq_session *b = start(there, policies[p], JUDGEQ_KV_F32, false, false);
        judgeq_error error = {0};
        for (int32_t i = 0; i < N_DECODE; i++) {
            const double difference =
                fixture_max_difference(judgeq_session_logits(a), judgeq_session_logits(b), n_vocab);
            if (!(difference < 1e-3)) fail_msg("%s, token %d: logits differ by %g", policies[p], i, difference);
            assert_int_equal(judgeq_session_decode(a, 3 + i, &error), JUDGEQ_OK);
            assert_int_equal(judgeq_session_decode(b, 3 + i, &error), JUDGEQ_OK);
        }
        judgeq_session_free(a);
        judgeq_session_free(b);
    }
    judgeq_model_free(here);
    judgeq_model_free(there);
}

/* Layers are spread over both, in order. */
static void test_places(void **state) {
    (void)state;
    const judgeq_model_params all = {.n_offload = -1}, one = {.n_offload = 1}, named = {"RPC1", 2};
    judgeq_model *model = load("llama", &all);
    assert_int_equal(model->n_device, 2);
    assert_int_equal(model->place[0], 0);
    assert_int_equal(model->place[model->info.n_layer], 1);
    for (int32_t d = 0; d < 2; d++) assert_true(ggml_backend_buffer_get_size(model->on_device[d].buffer) > 0);
    judgeq_model_free(model);
    model = load("llama", &one);
    assert_int_equal(model->place[1], MODEL_ON_CPU);
    assert_int_equal(model->place[2], MODEL_ON_CPU);
    judgeq_model_free(model);
    model = load("llama", &named);
    assert_int_equal(model->n_device, 1);
    assert_string_equal(ggml_backend_dev_name(model->device[0]), "RPC1");
    assert_int_equal(model->place[1], 0);
    assert_int_equal(model->place[2], MODEL_ON_CPU);
    judgeq_model_free(model);
}

static void test_devices_are_listed(void **state) {
    (void)state;
    int n_rpc = 0, n_cpu = 0;
    judgeq_device_info info;
    for (size_t i = 0; judgeq_device_at(i, &info); i++) {
        n_cpu += info.cpu;
        n_rpc += strncmp(info.name, "RPC", 3) == 0;
        assert_true(strncmp(info.name, "RPC", 3) != 0 || (!info.cpu && info.total_bytes > 0));
    }
    assert_int_equal(n_rpc, N_SERVER);
    assert_true(n_cpu >= 1);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        judgeq_model_params params;
        const char *said;
    } wrong[] = {{{"CUDA7", -1}, "there is no device \"CUDA7\" to compute on (known: RPC0, RPC1)"},
                 {{"CPU", -1}, "there is no device \"CPU\""},
                 {{"RPC0,RPC0", -1}, "named twice"},
                 {{NULL, -2}, "-2 layers"}};
    char path[512], text[64];
    tiny_spec spec;
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    assert_true(tiny_spec_find("llama", &spec));
    snprintf(path, sizeof path, "%s/llama.gguf", fixture_folder);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(judgeq_model_load_on(path, &wrong[i].params, &model, &error), JUDGEQ_OK);
        assert_null(model);
        if (!strstr(error.message, wrong[i].said)) fail_msg("%s", error.message);
    }
    snprintf(text, sizeof text, "127.0.0.1:%d", free_port());
    assert_int_equal(judgeq_rpc_connect(text, 0, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, "Connection refused"));
    assert_int_equal(judgeq_rpc_connect("127.0.0.1", 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_rpc_connect("127.0.0.1:0", 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_rpc_connect("", 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_rpc_connect("127.0.0.1:1", -1, &error), JUDGEQ_ERROR_ARGUMENT);
    static const judgeq_rpc_params unfit[] = {
        {"127.0.0.1", 0, NULL, 1, 0}, {"127.0.0.1", 1, "CUDA7", 1, 0}, {"127.0.0.1", 1, "CPU", 1, -1}};
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        assert_int_equal(judgeq_rpc_serve(&unfit[i], &error), JUDGEQ_ERROR_ARGUMENT);
    }
}

/* An operation that the CPU lacks, on a scheduler of two CPUs: named, with its types and the device. RPC's own answer
 * is always yes. */
static void test_unsupported_operation(void **state) {
    (void)state;
    judgeq_model *model = load("llama", NULL);
    graph_engine engine;
    judgeq_error error = {0};
    assert_int_equal(graph_engine_init(&engine, model, 1, &error), JUDGEQ_OK);
    ggml_backend_t both[] = {ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL), engine.backend};
    engine.scheduler = ggml_backend_sched_new(both, NULL, 2, 256, false, false);
    graph *g = graph_begin(&engine);
    struct ggml_tensor *x = graph_input(g, GGML_TYPE_F32, 256, 4);
    struct ggml_tensor *fine = ggml_sqr(g->context, x), *node = ggml_cast(g->context, fine, GGML_TYPE_IQ2_XXS);
    ggml_build_forward_expand(g->nodes, node);
    ggml_backend_sched_set_tensor_backend(g->scheduler, fine, both[0]);
    assert_int_equal(graph_check_devices(g, &error), JUDGEQ_OK);
    ggml_backend_sched_set_tensor_backend(g->scheduler, node, both[0]);
    assert_int_equal(graph_check_devices(g, &error), JUDGEQ_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "device CPU cannot compute CPY of f32 and"));
    assert_non_null(strstr(error.message, "to iq2_xxs"));
    graph_engine_free(&engine);
    ggml_backend_free(both[0]);
    judgeq_model_free(model);
}

static void stop_servers(void) {
    for (int i = 0; i < N_SERVER; i++) {
        if (server[i] <= 0) continue;
        kill(server[i], SIGKILL);
        waitpid(server[i], NULL, 0);
    }
}

static int tear_down(void **state) {
    stop_servers();
    return fixture_tear_down(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_local),
        cmocka_unit_test(test_policies_and_types),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_default_mode),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_devices_are_listed),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unsupported_operation),
    };
    char servers[64];
    judgeq_error error = {0};
    if (fixture_set_up(NULL) != 0) return 1;
    for (int i = 0; i < N_SERVER; i++) start_server(i);
    int status = 0;
    for (int i = 0; i < N_SERVER && status == 0; i++) status = wait_for_server(i);
    snprintf(servers, sizeof servers, "127.0.0.1:%d,127.0.0.1:%d", port[0], port[1]);
    if (status == 0 && judgeq_rpc_connect(servers, 0, &error) != JUDGEQ_OK) {
        fprintf(stderr, "%s\n", error.message);
        status = 1;
    }
    if (status == 0) return cmocka_run_group_tests(tests, NULL, tear_down);
    tear_down(NULL);
    return status;
}
