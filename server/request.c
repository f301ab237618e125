/* request: what a client asks, checked and copied into a job, in the client's thread. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "job.h"

enum { UNREAD_MOST = 1 << 20 };

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static bool copy_text(const char *text, char **out) {
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static bool copy_stops(worker_job *job, const worker_request *request) {
    job->stop = calloc(request->n_stop + 1, sizeof(char *));
    for (size_t i = 0; job->stop && i < request->n_stop; i++) {
        if (!copy_text(request->stop[i], &job->stop[i])) return false;
        job->n_stop++;
    }
    return job->stop != NULL;
}

static judgeq_status copy_request(worker_job *job, const worker_params *params, const worker_request *request,
                                  const int32_t *context_tokens, judgeq_error *error) {
    job->n_tokens = job->n_context + request->n_tokens;
    job->tokens = malloc(job->n_tokens * sizeof *job->tokens);
    const bool copied = job->tokens && copy_text(request->context, &job->context) &&
                        copy_text(request->save, &job->save) && copy_stops(job, request);
    if (!copied) return error_memory(error, "a job");
    if (context_tokens) memcpy(job->tokens, context_tokens, job->n_context * sizeof *job->tokens);
    memcpy(job->tokens + job->n_context, request->tokens, request->n_tokens * sizeof *job->tokens);
    job->news.n_prompt = (int64_t)job->n_tokens;
    job->plan = shared_plan_own(request->plan);
    job->n_answer = request->n_answer;
    job->logprobs = request->logprobs;
    job->kept = request->kept;
    job->forget = request->forget;
    job->unread_most = params->unread_bytes > 0 ? params->unread_bytes : UNREAD_MOST;
    job->notify = request->notify;
    job->data = request->data;
    return JUDGEQ_OK;
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static judgeq_status check_request(const worker_params *params, const worker_request *request, judgeq_error *error) {
    const int32_t n_vocab = judgeq_model_get_info(params->model)->n_vocab;
    if (request->n_tokens == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the prompt is empty");
    for (size_t i = 0; i < request->n_tokens; i++) {
        if (request->tokens[i] >= 0 && request->tokens[i] < n_vocab) continue;
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "token %d of the prompt is not in the vocabulary of %d",
                         request->tokens[i], n_vocab);
    }
    if (request->n_answer < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "an answer of %d tokens: expected 0 or more", request->n_answer);
    }
    for (size_t i = 0; i < request->n_stop; i++) {
        if (request->stop[i][0] != '\0') continue;
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "stop text %zu is empty", i + 1);
    }
    return JUDGEQ_OK;
}

/* ---- the session ------------------------------------------------------------------------------------------------- */

/* A session of the request's policy and budget, or of the worker's. */
static judgeq_status choose(worker_job *job, const worker_params *params, const worker_request *request,
                            judgeq_error *error) {
    session_choices choices = params->choices;
    const char *text = request->policy ? request->policy : params->policy ? params->policy : "full";
    if (request->rows != 0 || request->share != 0) {
        choices.rows = request->rows;
        choices.share = request->share;
    }
    if (request->policy) choices.defer = false; /* which not every policy can */
    const judgeq_status status = judgeq_policy_parse(text, &job->policy, error);
    if (status != JUDGEQ_OK) return status;
    job->session = session_choices_params(&choices, job->policy, params->judge, NULL, NULL);
    return JUDGEQ_OK;
}

/* A session of the context's policy and budget. */
static judgeq_status choose_as(worker_job *job, const worker_params *params, const judgeq_snapshot_info *info,
                               judgeq_error *error) {
    const judgeq_status status = judgeq_policy_parse(info->policy, &job->policy, error);
    if (status != JUDGEQ_OK) return status;
    job->session = session_choices_params(&params->choices, job->policy, params->judge, NULL, NULL);
    job->session.budget = info->budget;
    job->session.budget_fraction = info->budget_fraction;
    job->session.slack = info->slack;
    job->session.n_ctx = info->n_ctx;
    job->session.kv_type = info->kv_type;
    job->session.plain_weights = info->plain_weights;
    job->session.unbounded = info->unbounded;
    job->session.defer = info->defer;
    job->session.seed = info->seed;
    return JUDGEQ_OK;
}

/* Of a file that another one may have taken the place of. */
static uint64_t file_identity(const char *path) {
    struct stat now;
    if (!path || stat(path, &now) != 0) return 0;
    return (uint64_t)now.st_ino ^ (uint64_t)now.st_mtim.tv_sec << 30 ^ (uint64_t)now.st_mtim.tv_nsec;
}

/* What sessions have in common that can go on from each other. */
static judgeq_status make_key(worker_job *job, judgeq_error *error) {
    const judgeq_session_params *p = &job->session;
    if (asprintf(&job->key, "%s|%d|%.9g|%p|%s|%" PRIx64 "|%s", judgeq_policy_text(job->policy), p->budget,
                 (double)p->budget_fraction, (const void *)p->judge, job->save ? "saved" : "",
                 file_identity(job->context), job->context ? job->context : "") >= 0) {
        return JUDGEQ_OK;
    }
    job->key = NULL;
    return error_memory(error, "a job");
}

judgeq_status job_need(const worker_job *job, const judgeq_model *model, int64_t n_before, judgeq_need *out,
                       judgeq_error *error) {
    return judgeq_session_need(model, &job->session, n_before, (int64_t)job->n_tokens - n_before, job->n_answer, out,
                               error);
}

bool job_is_gguf(const char *path) {
    char magic[4] = "";
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    const bool is = descriptor >= 0 && read(descriptor, magic, 4) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (descriptor >= 0) close(descriptor);
    return is;
}

judgeq_status job_read_context(const char *path, judgeq_snapshot_info *info, int32_t **tokens, judgeq_error *error) {
    const judgeq_status status = judgeq_snapshot_read(path, info, tokens, error);
    if (status != JUDGEQ_ERROR_FORMAT || job_is_gguf(path)) return status;
    return error_set(error, status, "%s: is no context", path);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static judgeq_status prepare(worker_job *job, const worker_params *params, const worker_request *request,
                             judgeq_error *error) {
    judgeq_snapshot_info info = {0};
    int32_t *tokens = NULL;
    judgeq_status status = check_request(params, request, error);
    if (status == JUDGEQ_OK && request->context) {
        status = job_read_context(request->context, &info, &tokens, error);
        if (status == JUDGEQ_OK) job->n_context = (size_t)info.n_tokens;
    }
    if (status == JUDGEQ_OK) status = copy_request(job, params, request, tokens, error);
    judgeq_free(tokens);
    if (status != JUDGEQ_OK) return status;
    status = request->context ? choose_as(job, params, &info, error) : choose(job, params, request, error);
    if (status == JUDGEQ_OK) status = make_key(job, error);
    if (status == JUDGEQ_OK) status = judgeq_sampler_new(&request->sampler, &job->sampler, error);
    if (params->n_answer_most > 0 && job->n_answer > params->n_answer_most) job->n_answer = params->n_answer_most;
    return status;
}

static worker_status check_need(const worker_job *job, const worker_params *params, judgeq_error *error) {
    judgeq_need need;
    const judgeq_status status = job_need(job, params->model, (int64_t)job->n_context, &need, error);
    if (status == JUDGEQ_ERROR_LIMIT) return WORKER_TOO_LONG;
    if (status == JUDGEQ_ERROR_MEMORY) return WORKER_FAILED;
    if (status != JUDGEQ_OK) return WORKER_INVALID;
    const size_t later = need.decode_bytes > need.held_bytes ? need.decode_bytes : need.held_bytes;
    const size_t most = need.read_bytes > later ? need.read_bytes : later;
    if (most <= params->kv_bytes) return WORKER_OK;
    error_write(error, JUDGEQ_ERROR_LIMIT,
                "needs %zu bytes of KV cache, and there are %zu: reading %zu tokens with policy '%s' takes up to %zu, "
                "and answering with up to %d tokens up to %zu; %s",
                most, params->kv_bytes, job->n_tokens, judgeq_policy_text(job->policy), need.read_bytes, job->n_answer,
                later,
                job->n_context > 0 ? "the context brings its budget: start the server with more --kv-bytes, or read "
                                     "the document again with judgeq ingest and a smaller --budget"
                                   : "use a smaller budget, a shorter prompt or a policy that evicts");
    return WORKER_TOO_LARGE;
}

worker_status job_of_request(const worker_params *params, const worker_request *request, worker_job **out,
                             judgeq_error *error) {
    *out = NULL;
    worker_job *job = job_new();
    if (!job) {
        error_write(error, JUDGEQ_ERROR_MEMORY, "out of memory for a job");
        return WORKER_FAILED;
    }
    const judgeq_status status = prepare(job, params, request, error);
    const worker_status answer = status == JUDGEQ_OK             ? check_need(job, params, error)
                                 : status == JUDGEQ_ERROR_MEMORY ? WORKER_FAILED
                                                                 : WORKER_INVALID;
    if (answer == WORKER_OK) {
        *out = job;
    } else {
        job_release(job);
    }
    return answer;
}
