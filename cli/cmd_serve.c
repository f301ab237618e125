/* judgeq serve: an HTTP server with the APIs of OpenAI, Anthropic and Ollama, whose KV memory is bounded. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/fallback.h"
#include "app/find_judge.h"
#include "app/find_model.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/visible.h"
#include "commands.h"
#include "cores_note.h"
#include "exit_status.h"
#include "interrupt.h"
#include "resident.h"
#include "run_report.h"
#include "say.h"
#include "serve_options.h"
#include "server/reply.h"
#include "server/service.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_MODEL[] =
    "Usage: judgeq serve [OPTIONS]\n"
    "\n"
    "Serves a model to OpenAI's, Anthropic's and Ollama's clients, over HTTP, in a KV memory that is never exceeded:\n"
    "chats, texts that are gone on with, documents that are read once, and a page for conversations in a browser.\n"
    "docs/server.md lists the endpoints and their fields. Ctrl-C or SIGTERM ends it, once the answers that it writes\n"
    "are written; SIGHUP reads the judge and the file of API keys again.\n"
    "    Example: judgeq serve -m model.gguf --budget 256\n"
    "    Example: curl http://127.0.0.1:8080/v1/chat/completions -d @request.json\n"
    "\n"
    "Model\n"
    "  -m, --model FILE   GGUF model: llama, mistral, qwen2, qwen3, smollm3 (default: the model that tools/deps.sh "
    "fetched)\n"
    "      --alias NAME   the model's name as clients see it (default: the file's, without its ending)\n"
    "  -t, --threads N    threads that compute (default: one per core, or one where other programs run)\n"
    "      --ctx N        most tokens of a prompt and its answer (default: what the model was trained for)\n"
    "      --kv-type T    numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "      --device NAME,.., --ngl N, --rpc HOST:PORT,.., --rpc-timeout S\n"
    "                     other devices than the CPU, as for judgeq run\n"
    "\n"
    "Eviction, where a request does not choose\n"
    "      --budget N|P%  rows to keep per layer and KV head, or a share of the prompt (default: all, with policy\n"
    "                     full)\n"
    "      --policy NAME, --judge FILE, --probe X, --reduce X, --smooth X, --allocate X, --keep X,\n"
    "      --remember X\n"
    "                     which rows to keep, as for judgeq run (default: judge; of documents that are uploaded,\n"
    "                     judge-later)\n"
    "      --slack N|none, --unbounded\n"
    "                     as for judgeq run\n"
    "\n";
static const char HELP_MEMORY[] =
    "Memory\n"
    "      --kv-bytes N   bytes of KV cache, of all requests and conversations together; 512K, 512M and 2G are read\n"
    "                     as well (default: what four of the longest requests need)\n"
    "      --cache-bytes N\n"
    "                     of these, at most for conversations that wait for their next turn (default: all that is\n"
    "                     free)\n"
    "      --parallel N   requests that are read or answered at once, at most (default: 64)\n"
    "      --queue N      requests that wait, at most; a client beyond them is told to come later (default: 64)\n"
    "      --context-dir DIR\n"
    "                     documents that were read once, which a request can name as its context: files of judgeq\n"
    "                     ingest, and what clients upload (default: none)\n"
    "      --context-bytes N\n"
    "                     clients may upload contexts and delete them, and all together have so many bytes: those "
    "that\n"
    "                     were not used for longest leave first (default: they may not)\n"
    "    Example: judgeq serve --policy snapkv --budget 512 --kv-bytes 1G\n"
    "\n"
    "Network\n"
    "      --host ADDRESS the address to listen at; 0.0.0.0 is every one of this machine's (default: 127.0.0.1)\n"
    "      --port N       the port; 0 takes one that is free (default: 8080)\n"
    "      --api-key KEY  a key that clients have to name; up to 64 times (default: none has to)\n"
    "      --api-key-file FILE\n"
    "                     the same, a key in each line: what the command line has, others on this machine can see\n"
    "      --host-name NAME\n"
    "                     where it listens on this machine only, requests have to be for an address, for localhost or\n"
    "                     for this name, which a proxy may pass on; up to 16 times (default: none)\n"
    "      --cors ORIGIN  web pages that may ask, https://example.org, or \"*\" for all; up to 16 times (default: "
    "none)\n"
    "      --connections N\n"
    "                     clients at once, at most (default: 256)\n"
    "      --body-bytes N bytes of a request, at most (default: 8M)\n"
    "      --timeout S    seconds that a client has to send a request, and to take a part of an answer (default: 60)\n"
    "      --ping S       seconds after which a stream without news says that it is there (default: 5)\n"
    "      --drain S      seconds that answers have to be completed in when the server ends (default: 30)\n"
    "    Example: judgeq serve --host 0.0.0.0 --port 80 --api-key-file keys.txt\n"
    "\n";
static const char HELP_ANSWERS[] =
    "Answers, where a request says nothing\n"
    "  -n, --tokens N     most tokens of an answer (default: 2048)\n"
    "      --temp T       temperature; 0 takes the likeliest token, and the next three do not matter (default: 0.8)\n"
    "      --top-k K      draw from the K likeliest tokens; 0: from all (default: 40)\n"
    "      --top-p P      draw from the likeliest tokens that together have probability P (default: 0.95)\n"
    "      --min-p P      draw from tokens of at least P times the likeliest one's probability (default: 0.05)\n"
    "    Example: judgeq serve --temp 0\n"
    "\n"
    "Output\n"
    "      --quiet        no notes and no line for each request on standard error\n"
    "  -v, --verbose      libllama's and ggml's log lines on standard error (default: none)\n"
    "  -h, --help         this text\n";

typedef struct serve {
    serve_options options;
    char default_model[4096];
    const char *model_path;
    char *name;
    judgeq_model *model;
    judgeq_policy *policy;
    judge_found found;
    judge_found *former; /* [n_former]: judges that sessions may still use */
    size_t n_former;
    char *fallback;
    char *later; /* the default policy of documents whose questions come later; or NULL */
    size_t kv_bytes;
    contexts *contexts;
    service service;
    http *http;
} serve;

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* The judge of the server's policy, or, where that needs none, of requests that name another. */
static judgeq_status search_judge(const serve *s, judge_found *found, judgeq_error *error) {
    const options *o = &s->options.run;
    const judge_search search = {.model = s->model,
                                 .model_path = s->model_path,
                                 .named = o->judge,
                                 .by_default = !o->policy && !choices_have_probe(&o->choices),
                                 .notes = say_notes(o->quiet)};
    judgeq_policy *policy = s->policy, *judged = NULL;
    const judgeq_status status = find_judge(&search, &policy, 1, found, error);
    if (status != JUDGEQ_OK || found->judge || found->fallback) return status;
    const judge_search any = {.model = s->model, .model_path = s->model_path, .by_default = true};
    if (judgeq_policy_parse("judge", &judged, NULL) == JUDGEQ_OK &&
        find_judge(&any, &judged, 1, found, NULL) != JUDGEQ_OK) {
        judge_found_free(found);
        *found = (judge_found){0};
    }
    found->fallback = false; /* the server's policy is what it is */
    judgeq_policy_free(judged);
    return JUDGEQ_OK;
}

static const char JUDGE[] = "judge"; /* the default policy, before choices that were given */

static judgeq_status load(serve *s, judgeq_error *error) {
    const options *o = &s->options.run;
    judgeq_status status = judgeq_policy_parse(o->policy_text, &s->policy, error);
    if (status == JUDGEQ_OK) {
        status = find_model(o->model, s->default_model, sizeof s->default_model, &s->model_path, error);
    }
    if (status == JUDGEQ_OK) status = devices_load_model(&o->devices, s->model_path, &s->model, error);
    if (status != JUDGEQ_OK) return status;
    find_model_notes(s->model, s->model_path, say_notes(o->quiet));
    status = search_judge(s, &s->found, error);
    if (status == JUDGEQ_OK && s->found.fallback) return fallback_take(o->policy_text, &s->fallback, &s->policy, error);
    if (status != JUDGEQ_OK || o->policy || strncmp(o->policy_text, JUDGE, strlen(JUDGE)) != 0) return status;
    if (asprintf(&s->later, "%s-later%s", JUDGE, o->policy_text + strlen(JUDGE)) >= 0) return JUDGEQ_OK;
    s->later = NULL;
    return error_memory(error, "a policy");
}

/* The file's name without its folder and its ending. */
static judgeq_status name_model(serve *s, judgeq_error *error) {
    const char *path = s->options.alias ? s->options.alias : s->model_path, *slash = strrchr(path, '/');
    if (!s->options.alias && slash) path = slash + 1;
    s->name = malloc(4 * strlen(path) + 1);
    if (!s->name) return error_memory(error, "the model's name");
    visible_copy(path, s->name, 4 * strlen(path) + 1);
    const size_t n = strlen(s->name);
    if (!s->options.alias && n > 5 && strcmp(s->name + n - 5, ".gguf") == 0) s->name[n - 5] = '\0';
    return JUDGEQ_OK;
}

static int32_t context_length(const serve *s) {
    const int32_t n = session_choices_length(&s->options.run.session);
    return n > 0 ? n : judgeq_model_get_info(s->model)->n_ctx_train;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* What the longest request needs; unbounded ones: as long as the context. */
static judgeq_status longest_need(const serve *s, size_t *bytes, judgeq_error *error) {
    const options *o = &s->options.run;
    const int32_t n_train = judgeq_model_get_info(s->model)->n_ctx_train;
    const int32_t n_ctx = o->session.n_ctx > 0 ? o->session.n_ctx : n_train;
    const int32_t n_answer = o->n_tokens < n_ctx / 2 ? o->n_tokens : n_ctx / 2;
    const judgeq_session_params params = session_choices_params(&o->session, s->policy, s->found.judge, NULL, NULL);
    judgeq_need need;
    const judgeq_status status = judgeq_session_need(s->model, &params, 0, n_ctx - n_answer, n_answer, &need, error);
    if (status != JUDGEQ_OK) return status;
    *bytes = need.read_bytes > need.held_bytes ? need.read_bytes : need.held_bytes;
    if (need.decode_bytes > *bytes) *bytes = need.decode_bytes;
    return JUDGEQ_OK;
}

static judgeq_status choose_memory(serve *s, judgeq_error *error) {
    enum { LONGEST = 4 };
    size_t longest = 0;
    const judgeq_status status = longest_need(s, &longest, error);
    s->kv_bytes = s->options.kv_bytes > 0 ? s->options.kv_bytes : LONGEST * longest;
    if (status == JUDGEQ_OK && s->kv_bytes < longest && !s->options.run.quiet) {
        char has[32], needs[32];
        say("the longest prompts need %s of KV cache, and there are %s: these will be refused",
            report_megabytes(needs, sizeof needs, longest), report_megabytes(has, sizeof has, s->kv_bytes));
    }
    return status;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static judgeq_status start_worker(serve *s, judgeq_error *error) {
    const serve_options *o = &s->options;
    const char *policy = s->fallback ? s->fallback : o->run.policy_text;
    const worker_params params = {.model = s->model,
                                  .judge = s->found.judge,
                                  .policy = policy,
                                  .choices = o->run.session,
                                  .kv_bytes = s->kv_bytes,
                                  .cache_bytes = o->cache_bytes,
                                  .n_queue = o->n_queue,
                                  .n_running = o->n_parallel};
    s->service = (service){.model = s->model,
                           .name = s->name,
                           .model_path = s->model_path,
                           .policy = policy,
                           .later = s->later,
                           .rows = o->run.session.rows,
                           .share = o->run.session.share,
                           .n_ctx = context_length(s),
                           .n_parallel = o->n_parallel,
                           .kv_bytes = s->kv_bytes,
                           .kv_type = o->run.session.kv_type,
                           .contexts = s->contexts,
                           .n_answer = o->run.n_tokens,
                           .sampler = o->run.sampler,
                           .ping_s = o->ping_s,
                           .started = clock_seconds(),
                           .started_at = (int64_t)time(NULL)};
    cores_note(o->run.session.n_threads, o->run.quiet);
    return worker_new(&params, &s->service.worker, error);
}

/* In the threads of connections. */
static void log_request(void *data, const http_log *line) {
    (void)data;
    if (line->status == 0) {
        say("%s %s %s: the client left after %.3f s; %zu bytes in, %zu out", line->client, line->method, line->path,
            line->seconds, line->n_in, line->n_out);
    } else {
        say("%s %s %s: %d, %.3f s; %zu bytes in, %zu out", line->client, line->method, line->path, line->status,
            line->seconds, line->n_in, line->n_out);
    }
}

static judgeq_status start_http(serve *s, judgeq_error *error) {
    enum { BODIES = 8 }; /* of the longest, at once */
    const serve_options *o = &s->options;
    const http_params params = {.host = o->host,
                                .port = o->port,
                                .routes = service_routes,
                                .n_routes = service_n_routes,
                                .keys = o->keys.key,
                                .n_keys = o->keys.n,
                                .origins = o->origin,
                                .n_origins = o->n_origins,
                                .names = o->name,
                                .n_names = o->n_names,
                                .n_connections = o->n_connections,
                                .body_bytes = o->body_bytes,
                                .bodies_bytes = BODIES * o->body_bytes,
                                .seconds = o->timeout_s,
                                .data = &s->service,
                                .refuse = reply_refuse,
                                .log = o->run.quiet ? NULL : log_request};
    return http_new(&params, &s->http, error);
}

static void greet(const serve *s) {
    const serve_options *o = &s->options;
    const bool v6 = strchr(o->host, ':') != NULL;
    char kv[32], budget[48] = "";
    if (o->run.session.rows > 0) snprintf(budget, sizeof budget, ", budget %d rows", o->run.session.rows);
    if (o->run.session.share > 0) snprintf(budget, sizeof budget, ", budget %g%%", 100 * o->run.session.share);
    say("listening on http://%s%s%s:%d", v6 ? "[" : "", o->host, v6 ? "]" : "", http_port(s->http));
    if (!o->run.quiet) {
        say("%s, policy %s%s, %s of KV cache; Ctrl-C ends", s->name, s->service.policy, budget,
            report_megabytes(kv, sizeof kv, s->kv_bytes));
    }
}

/* ---- SIGHUP ------------------------------------------------------------------------------------------------------ */

static void reload_keys(serve *s) {
    judgeq_error error = {0};
    serve_keys *keys = &s->options.keys;
    const char *path = s->options.key_file;
    if (!path) return;
    if (serve_keys_read(keys, path) != 0) {
        say("the keys stay as they were");
    } else if (http_use_keys(s->http, keys->key, keys->n, &error) != JUDGEQ_OK) {
        say("the keys stay as they were: %s", error.message);
    } else {
        say("reloaded %s: %zu keys", path, keys->n);
    }
}

static bool same_judge(const judgeq_judge *a, const judgeq_judge *b) {
    if (!a || !b) return a == b;
    const judgeq_judge_info *one = judgeq_judge_get_info(a), *other = judgeq_judge_get_info(b);
    const size_t n = (size_t)one->n_depth * (size_t)one->n_soft * (size_t)one->n_embd;
    return one->n_depth == other->n_depth && one->n_soft == other->n_soft && one->n_embd == other->n_embd &&
           memcmp(judgeq_judge_soft_tokens(a), judgeq_judge_soft_tokens(b), n * sizeof(float)) == 0 &&
           one->n_layer_share == other->n_layer_share &&
           (one->n_layer_share == 0 ||
            memcmp(one->layer_share, other->layer_share, (size_t)one->n_layer_share * sizeof(float)) == 0);
}

/* Takes `found` for new requests; those that run end with the former. */
static bool use_judge(serve *s, const judge_found *found) {
    judge_found *former = realloc(s->former, (s->n_former + 1) * sizeof *former);
    if (!former) return false;
    s->former = former;
    s->former[s->n_former++] = s->found;
    s->found = *found;
    worker_use_judge(s->service.worker, found->judge);
    return true;
}

static void reload_judge(serve *s) {
    judgeq_error error = {0};
    judge_found found = {0};
    const judgeq_status status = search_judge(s, &found, &error);
    if (status != JUDGEQ_OK) {
        say("the judge stays as it was: %s", error.message);
    } else if (!found.judge && s->found.judge) {
        say("the judge stays as it was: there is none for this model any more");
    } else if (same_judge(found.judge, s->found.judge)) {
        if (found.judge) say("the judge is the same: %s", found.path);
    } else if (use_judge(s, &found)) {
        say("reloaded the judge: %s", found.path);
        return;
    } else {
        say("the judge stays as it was: no memory");
    }
    judge_found_free(&found);
}

static void wait_for_end(serve *s) {
    while (!interrupt_seen()) {
        if (interrupt_take_hangup()) {
            reload_keys(s);
            reload_judge(s);
        }
        poll(NULL, 0, 100);
    }
}

static void drain(serve *s) {
    enum { LAST_BYTES_S = 5 };
    worker_stats stats;
    worker_get_stats(s->service.worker, &stats);
    const int32_t n = stats.n_waiting + stats.n_reading + stats.n_answering;
    if (n > 0 && !s->options.run.quiet) {
        say("ending: %d requests have %g seconds; Ctrl-C again ends at once", n, s->options.drain_s);
    }
    http_close(s->http);
    worker_stop(s->service.worker, s->options.drain_s);
    http_free(s->http, LAST_BYTES_S);
    s->http = NULL;
}

static judgeq_status open_contexts(serve *s, judgeq_error *error) {
    const serve_options *o = &s->options;
    const contexts_params params = {
        .folder = o->context_folder, .bytes = o->context_bytes, .model = s->model, .notes = say_notes(o->run.quiet)};
    judgeq_error inner = {0};
    if (!o->context_folder) return JUDGEQ_OK;
    const judgeq_status status = contexts_new(&params, &s->contexts, &inner);
    return status == JUDGEQ_OK ? status : error_set(error, status, "--context-dir %s", inner.message);
}

static int serve_all(serve *s) {
    judgeq_error error = {0};
    judgeq_status status = load(s, &error);
    if (status == JUDGEQ_OK) status = name_model(s, &error);
    if (status == JUDGEQ_OK) status = choose_memory(s, &error);
    if (status == JUDGEQ_OK) status = open_contexts(s, &error);
    if (status == JUDGEQ_OK) status = start_worker(s, &error);
    if (status == JUDGEQ_OK) status = start_http(s, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more ends no answer */
    interrupt_catch();
    interrupt_catch_hangup();
    greet(s);
    wait_for_end(s);
    drain(s);
    return 0;
}

static void serve_free(serve *s) {
    http_free(s->http, 0);
    worker_free(s->service.worker);
    contexts_free(s->contexts);
    judge_found_free(&s->found);
    for (size_t i = 0; i < s->n_former; i++) judge_found_free(&s->former[i]);
    free(s->former);
    judgeq_policy_free(s->policy);
    judgeq_model_free(s->model);
    free(s->fallback);
    free(s->later);
    free(s->name);
    serve_options_free(&s->options);
}

int cmd_serve(int argc, char **argv) {
    resident_keep_low();
    serve *s = calloc(1, sizeof *s);
    if (!s) {
        say("no memory");
        return EXIT_FAILURE;
    }
    int status = serve_options_read(argc, argv, &s->options);
    if (status == 0 && s->options.run.help) {
        printf("%s%s%s", HELP_MODEL, HELP_MEMORY, HELP_ANSWERS);
    } else if (status == 0) {
        status = serve_all(s);
    }
    serve_free(s);
    free(s);
    return status;
}
