/* Fuzz target: any bytes as a session's file, with the checksum that they should have. Loading answers with a session
 * or an error that names the file, and a session that was loaded can be used: it decodes, its policy chooses, it reads
 * and is saved. Nothing crashes, aborts, leaks or allocates what only the file asks for.
 *
 *   ./fuzz_snapshot_seeds corpus && ./fuzz_snapshot -rss_limit_mb=2048 -max_len=65536 -max_total_time=60 corpus */
#include "fuzz_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/fingerprint.h"
#include "session/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DIGITS = FINGERPRINT_SIZE - 1, N_READ = 5, N_DECODE = 12, LONGEST = 32 };

static fuzz_world world;
static char path[64], saved[300];

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_snapshot: %s\n", what);
    abort();
}

static void require_answer(judgeq_status status, const judgeq_error *error, const char *named) {
    require(status == JUDGEQ_OK || error->code == status, "the error has another code than the call returned");
    require(status == JUDGEQ_OK || strstr(error->message, named) || status == JUDGEQ_ERROR_MEMORY,
            "the error does not name the file");
}

/* Every step may fail, since keys and values can be any numbers. */
static void use(judgeq_session *session) {
    static const int32_t tokens[N_READ] = {3, 1, 4, 1, 5};
    const policy_probe *probe = &session->policy.probe;
    judgeq_error error = {0};
    if (probe->lookahead > LONGEST || probe->response > LONGEST) return; /* takes its time */
    judgeq_status status = JUDGEQ_OK;
    for (int32_t i = 0; status == JUDGEQ_OK && i < N_DECODE; i++) status = judgeq_session_decode(session, i, &error);
    require_answer(status, &error, "");
    if (status == JUDGEQ_OK) status = judgeq_session_read(session, tokens, N_READ, &error);
    require_answer(status, &error, "");
    size_t n = 0;
    require(judgeq_session_tokens(session, &n) && n > 0, "no tokens");
    if (session->failed || n % 8 != 0) return; /* files are slow */
    require_answer(judgeq_session_save(session, saved, &error), &error, saved);
}

static void try_session(void) {
    const judgeq_session_params params = {.judge = world.judge, .n_threads = 1};
    judgeq_snapshot_info info;
    judgeq_session *session = NULL;
    judgeq_error error = {0};
    int32_t *tokens = NULL;
    judgeq_status status = judgeq_snapshot_read(path, &info, &tokens, &error);
    require_answer(status, &error, path);
    require((status == JUDGEQ_OK) == (tokens != NULL), "tokens without success, or success without tokens");
    judgeq_free(tokens);
    status = judgeq_session_load(world.model, &params, path, &session, &error);
    require_answer(status, &error, path);
    require((status == JUDGEQ_OK) == (session != NULL), "a session without success, or success without a session");
    if (session) use(session);
    judgeq_session_free(session);
}

/* Once, at the end. */
static void leave(void) {
    fuzz_world_free(&world);
}

static int begin(void) {
    require(fuzz_world_new(&world) == 0, "no model");
    const int descriptor = memfd_create("fuzz_snapshot", MFD_CLOEXEC);
    require(descriptor >= 0, "no file in memory");
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    snprintf(saved, sizeof saved, "%s/saved.gguf", world.folder);
    atexit(leave);
    return descriptor;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int descriptor = -1;
    if (descriptor < 0) descriptor = begin();
    if (size < DIGITS) return 0;
    char hash[FINGERPRINT_SIZE];
    fingerprint_bytes(data, size - DIGITS, hash);
    require(ftruncate(descriptor, 0) == 0 && pwrite(descriptor, data, size, 0) == (ssize_t)size &&
                pwrite(descriptor, hash, DIGITS, (off_t)(size - DIGITS)) == DIGITS,
            "cannot write");
    try_session();
    return 0;
}
