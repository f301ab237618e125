/* judgeq run: the main job: read a prompt, evict, answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer_options.h"
#include "app/context.h"
#include "app/fallback.h"
#include "app/find_judge.h"
#include "app/find_model.h"
#include "app/generation.h"
#include "base/clock.h"
#include "base/error.h"
#include "commands.h"
#include "cores_note.h"
#include "exit_status.h"
#include "interrupt.h"
#include "progress.h"
#include "prompt_text.h"
#include "response_out.h"
#include "run_options.h"
#include "run_report.h"
#include "say.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_INPUT[] =
    "Usage: judgeq run [OPTIONS] [-p TEXT] [-f FILE]\n"
    "\n"
    "Reads a prompt, keeps a budget of rows in the KV cache, and writes the response as it is decoded.\n"
    "\n"
    "Model\n"
    "  -m, --model FILE   GGUF model: llama, mistral, qwen2, qwen3, smollm3 (default: the model that tools/deps.sh "
    "fetched)\n"
    "  -t, --threads N    threads that compute (default: one per core, or one where other programs run)\n"
    "      --ctx N        most tokens of prompt and response together (default: what the model was trained for; "
    "beyond\n"
    "                     that, answers get worse)\n"
    "      --kv-type T    numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "      --device NAME,..\n"
    "                     other devices than the CPU to compute on, as judgeq inspect --devices names them (default:\n"
    "                     none; with --ngl or --rpc, all that there are)\n"
    "      --ngl N        layers that go to them, from the first (default: all, and the output)\n"
    "      --rpc HOST:PORT,..\n"
    "                     devices of other machines, where judgeq rpc-server runs\n"
    "      --rpc-timeout S\n"
    "                     seconds that one of them may leave a question unanswered (default: 10 at first, and 120\n"
    "                     later, when it computes)\n"
    "      --chunk N      prompt rows that are computed at once (default: chosen by the prompt's length)\n"
    "      --plain-weights\n"
    "                     libllama's arithmetic: with the full policy, its logits bit for bit (default: a prompt of\n"
    "                     64 tokens or more is read with a copy of one layer's weights as floats at a time,\n"
    "                     which is faster and more exact; keys are padded to 32 rows and not to 256)\n"
    "    Example: judgeq run -m qwen2.5-0.5b-instruct-q4_k_m.gguf -p \"Who wrote Faust?\"\n"
    "\n"
    "Prompt\n"
    "  -p, --prompt TEXT  the prompt\n"
    "  -f, --file FILE    the prompt, from a file; \"-\" is standard input. With -p as well: the file's text, a blank\n"
    "                     line, -p's text (default: what a pipe or < FILE brings on standard input, also before -p)\n"
    "      --chat         put the prompt into the model's chat template, as the user's message (default, if the\n"
    "                     model has one)\n"
    "      --system TEXT  a system message before it\n"
    "      --chat-template FILE|NAME\n"
    "                     a chat template, Jinja, in place of the model's own: a file; chatml; or the name of another\n"
    "                     one in the model's file (tool_use)\n"
    "      --no-think     tell the template that the model shall answer without thinking first (default: as the\n"
    "                     template has it)\n"
    "      --raw          continue the prompt as it is. Only here, control tokens that are written out in it\n"
    "                     (<|im_start|>) are control tokens; in the template, the prompt is text\n"
    "      --context FILE documents that judgeq ingest has read: -p's text is a question about them, and is read\n"
    "                     in the chat template or with --raw, as they were\n"
    "    Example: judgeq run -f report.txt -p \"Who signed the report?\"\n"
    "    Example: judgeq run --context report.kv -p \"Who signed the report?\"\n"
    "    Example: git diff | judgeq run -p \"What was changed?\"\n"
    "\n";
static const char HELP_EVICTION[] =
    "Eviction\n"
    "      --budget N|P%  rows to keep per layer and KV head, as a number or as a share of the prompt (default: all)\n"
    "      --policy NAME  which rows to keep; judgeq policies lists the names (default: judge with a budget, full\n"
    "                     without). full keeps all rows, whatever the budget. A model without a judge has snapkv with "
    "a\n"
    "                     window of 16 in place of the default, and a note says how to train one\n"
    "      --judge FILE   the judge, for policies with soft tokens (default: MODEL.judge.gguf beside MODEL.gguf, or a\n"
    "                     judge for this model among those that come with judgeq). It fits every quantisation of its\n"
    "                     model\n"
    "      --probe X, --reduce X, --smooth X, --allocate X, --keep X, --remember X\n"
    "                     replace a choice of the policy (default: the policy's own); docs/policies has the values\n"
    "      --slack N|none rows that decoding may add to each head before the policy chooses again, among all rows\n"
    "                     held (default: a quarter of the budget, 32 at least). none: it never does, and every token\n"
    "                     of the response adds a row\n"
    "      --unbounded    prompts and responses of any length: before positions pass --ctx, the rows kept are given\n"
    "                     positions from 0 on; long texts are read in pieces\n"
    "      --defer        keep the tokens that a lookahead among candidates (judge-laq) decoded: they begin the "
    "response\n"
    "    Example: judgeq run -f report.txt -p \"Who signed it?\" --budget 5% --policy snapkv --smooth avg:5\n"
    "\n";
static const char HELP_RESPONSE[] =
    "Response\n"
    "  -n, --tokens N     most tokens to write (default: 256); 0 only reads the prompt\n"
    "      --stop TEXT    end before this text, or before the control token that it is; up to 16 "
    "times\n" ANSWER_OPTIONS_HELP(
        "response") "      --seed N       of the draw, and of the policy random; the same seed writes the same text "
                    "(default: 0)\n"
                    "    Example: judgeq run -f report.txt -p \"Who signed it, and when?\" --json-schema "
                    "answer.schema.json\n"
                    "    Example: judgeq run -p \"Tell me a story.\" --temp 0.8 --seed 7 --stop \"The end\"\n"
                    "\n"
                    "Output\n"
                    "      --json         one JSON object at the end, instead of the text as it comes; man judgeq-run "
                    "has its keys\n"
                    "      --logprobs K   in the JSON object, the log-probability of every token and of the K "
                    "likeliest (default: "
                    "none)\n"
                    "      --quiet        no progress and no summary on standard error\n"
                    "  -v, --verbose      libllama's and ggml's log lines on standard error (default: none)\n"
                    "  -h, --help         this text\n"
                    "    Example: judgeq run -p \"Hello\" -n 16 --json --logprobs 3 --quiet\n";

typedef struct run {
    options options;
    char *text; /* the prompt */
    char default_model[4096];
    const char *model_path;
    judgeq_model *model;
    judgeq_policy *policy;
    judge_found found;
    judgeq_snapshot_info context; /* of --context's file */
    char *fallback;               /* the policy's text, where it takes the default's place */
    judgeq_session *session;
    int32_t *tokens; /* [n_tokens], the prompt */
    size_t n_tokens;
    progress progress;
    judgeq_sampler *sampler;
    response_out out;
    generation generation;
    double load_s, started;
} run;

static judgeq_status load_judge(run *r, judgeq_error *error) {
    const options *o = &r->options;
    const judge_search search = {.model = r->model,
                                 .model_path = r->model_path,
                                 .named = o->judge,
                                 .by_default = !o->context && !o->policy && !choices_have_probe(&o->choices),
                                 .notes = say_notes(o->quiet)};
    const judgeq_status status = find_judge(&search, &r->policy, 1, &r->found, error);
    if (status != JUDGEQ_OK || !r->found.fallback) return status;
    return fallback_take(o->policy_text, &r->fallback, &r->policy, error);
}

static judgeq_status make_session(run *r, judgeq_error *error) {
    const options *o = &r->options;
    session_choices chosen = o->session;
    chosen.seed = o->sampler.seed;
    cores_note(chosen.n_threads, o->quiet);
    const judgeq_session_params params =
        session_choices_params(&chosen, r->policy, r->found.judge, progress_report, &r->progress);
    return o->context ? judgeq_session_load(r->model, &params, o->context, &r->session, error)
                      : judgeq_session_new(r->model, &params, &r->session, error);
}

/* What follows a context, or all of the prompt. */
static judgeq_status tokenize(run *r, judgeq_error *error) {
    const options *o = &r->options;
    if (!o->context) {
        return prompt_text_tokenize(r->model, o, r->text, o->n_tokens, &r->tokens, &r->n_tokens, error);
    }
    const prompt_params params = prompt_text_params(o);
    return context_question_tokens(r->model, &params, r->text, &r->tokens, &r->n_tokens, error);
}

/* A judge of another model would be missed before the session says what is wrong. */
static judgeq_status check_context(const run *r, judgeq_error *error) {
    const char *found = judgeq_model_get_info(r->model)->fingerprint;
    if (!r->options.context || strcmp(found, r->context.fingerprint) == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_MISMATCH, "%s was read by the model \"%s\", not by %s: name that one with -m",
                     r->options.context, r->context.model_name, r->model_path);
}

/* Everything up to the prompt's tokens. */
static judgeq_status prepare(run *r, judgeq_error *error) {
    const double start = clock_seconds();
    judgeq_status status =
        find_model(r->options.model, r->default_model, sizeof r->default_model, &r->model_path, error);
    if (status == JUDGEQ_OK) status = devices_load_model(&r->options.devices, r->model_path, &r->model, error);
    if (status == JUDGEQ_OK) find_model_notes(r->model, r->model_path, say_notes(r->options.quiet));
    if (status == JUDGEQ_OK) status = answer_options_template(&r->options, r->model, error);
    if (status == JUDGEQ_OK) status = answer_options_sampler(&r->options, r->model, &r->sampler, error);
    if (status == JUDGEQ_OK) status = check_context(r, error);
    if (status == JUDGEQ_OK) status = load_judge(r, error);
    if (status == JUDGEQ_OK) status = make_session(r, error);
    r->started = clock_seconds();
    r->load_s = r->started - start;
    if (status != JUDGEQ_OK) return status;
    return tokenize(r, error);
}

static judgeq_status read_prompt(run *r, judgeq_error *error) {
    progress_begin(&r->progress, (int64_t)r->n_tokens, r->options.quiet);
    interrupt_catch();
    const judgeq_status status = judgeq_session_read(r->session, r->tokens, r->n_tokens, error);
    progress_end(&r->progress);
    if (status != JUDGEQ_ERROR_CANCELLED) return status;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted while reading the prompt");
}

static bool go_on(void *data) {
    (void)data;
    return !interrupt_seen();
}

/* Tokens that a context's sequence can have. */
static int32_t context_length(const judgeq_snapshot_info *info) {
    return info->unbounded ? SESSION_ANY_LENGTH : info->n_ctx;
}

static judgeq_status begin_response(run *r, judgeq_error *error) {
    const options *o = &r->options;
    judgeq_stats stats;
    judgeq_session_get_stats(r->session, &stats);
    generation_params params = {.sampler = r->sampler,
                                .stop = o->stop,
                                .n_stop = o->n_stop,
                                .n_tokens = o->n_tokens,
                                .n_ctx = o->context ? context_length(&r->context) : session_choices_length(&o->session),
                                .n_before = (size_t)stats.n_position,
                                .logprobs = o->logprobs,
                                .started = r->started,
                                .put = response_out_put,
                                .go_on = go_on,
                                .data = &r->out};
    params.known = judgeq_session_deferred(r->session, &params.n_known);
    r->out = (response_out){.file = o->json ? NULL : stdout, .terminal = isatty(STDOUT_FILENO)};
    return generation_init(&r->generation, r->model, &params, error);
}

static judgeq_status decode(run *r, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t token = 0; status == JUDGEQ_OK;) {
        status = generation_next(&r->generation, judgeq_session_logits(r->session), &token, error);
        if (status != JUDGEQ_OK || token < 0) break;
        status = judgeq_session_decode(r->session, token, error);
    }
    if (status != JUDGEQ_OK || r->generation.end != GENERATION_CANCELLED) return status;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
}

static judgeq_status respond(run *r, judgeq_error *error) {
    judgeq_status status = begin_response(r, error);
    if (status != JUDGEQ_OK) return status;
    status = decode(r, error);
    /* what came before a failure is good: it stays in sight, and on a line of its own */
    judgeq_error unwritten = {0};
    judgeq_status ended = generation_finish(&r->generation, &unwritten);
    if (ended == JUDGEQ_OK) ended = response_out_end(&r->out, &unwritten);
    if (status != JUDGEQ_OK || ended == JUDGEQ_OK) return status;
    *error = unwritten;
    return ended;
}

/* With --json the response, and the summary of one that came to its end. */
static judgeq_status report(const run *r, judgeq_error *error) {
    judgeq_stats stats;
    judgeq_session_get_stats(r->session, &stats);
    stats.n_decoded -= r->context.n_decoded; /* by who saved it, in another run's time */
    stats.n_rejudged -= r->context.n_rejudged;
    const report_source source = {.model_path = r->model_path,
                                  .judge_path = r->found.path,
                                  .policy = r->policy,
                                  .load_s = r->load_s,
                                  .n_context = r->context.n_read};
    if (r->options.json && !report_json(&source, &stats, &r->generation)) {
        return error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
    }
    if (!r->options.quiet && r->generation.end != GENERATION_CANCELLED) report_summary(&source, &stats, &r->generation);
    return JUDGEQ_OK;
}

static void run_free(run *r) {
    generation_free(&r->generation);
    judgeq_sampler_free(r->sampler);
    judgeq_free(r->tokens);
    judgeq_session_free(r->session);
    judge_found_free(&r->found);
    judgeq_policy_free(r->policy);
    judgeq_model_free(r->model);
    free(r->fallback);
    free(r->text);
    options_free(&r->options);
}

static judgeq_status check_budget(const run *r, judgeq_error *error) {
    const char *policy = judgeq_policy_text(r->policy);
    if (r->options.budget_given || strcmp(policy, "full") == 0) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_ARGUMENT,
        "policy \"%.200s\" needs a budget: --budget 256 (rows per layer and KV head) or --budget 10%% (of the "
        "prompt)",
        policy);
}

static int take_question(run *r) {
    r->text = strdup(r->options.prompt);
    if (r->text) return 0;
    say("no memory for the prompt");
    return EXIT_FAILURE;
}

/* A question is read as its document was. Files that judgeq ingest did not write do not say how. */
static judgeq_status follow_context(run *r, judgeq_error *error) {
    options *o = &r->options;
    const bool raw = strcmp(r->context.label, CONTEXT_RAW) == 0;
    if (raw && (o->chat || o->no_think)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "%s does not go with %s: its document was read with --raw, and so will be the question; leave "
                         "%s out, or read the document again without --raw",
                         o->chat ? "--chat" : "--no-think", o->context, o->chat ? "--chat" : "--no-think");
    }
    if (o->raw && strcmp(r->context.label, CONTEXT_MESSAGE) == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "--raw does not go with %s: its document is part of a message, which the question ends; leave "
                         "--raw out, or read the document again with judgeq ingest --raw",
                         o->context);
    }
    if (!o->raw && strcmp(r->context.label, CONTEXT_TURNS) == 0) {
        return error_set(
            error, JUDGEQ_ERROR_ARGUMENT,
            "%s holds a conversation that judgeq serve has compacted: name it in a request to a server, or "
            "give --raw and all that the chat template has after its last turn",
            o->context);
    }
    o->raw = o->raw || raw;
    return JUDGEQ_OK;
}

static judgeq_status open_context(run *r, judgeq_error *error) {
    const judgeq_status status = judgeq_snapshot_read(r->options.context, &r->context, NULL, error);
    return status == JUDGEQ_OK ? follow_context(r, error) : status;
}

static int run_all(run *r) {
    judgeq_error error = {0};
    /* cheap checks first: a model can take a while to load, and standard input a while to end */
    const char *context = r->options.context;
    judgeq_status status = context ? open_context(r, &error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK) {
        status = judgeq_policy_parse(context ? r->context.policy : r->options.policy_text, &r->policy, &error);
    }
    if (status == JUDGEQ_OK && !context) status = check_budget(r, &error);
    if (status == JUDGEQ_OK) status = answer_options_read(&r->options, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    const int usage = context ? take_question(r) : prompt_text_read(&r->options, "run", &r->text);
    if (usage != 0) return usage;
    status = prepare(r, &error);
    if (status == JUDGEQ_OK) status = read_prompt(r, &error);
    if (status == JUDGEQ_OK) status = respond(r, &error);
    if (status == JUDGEQ_OK || r->generation.end == GENERATION_CANCELLED) {
        judgeq_error unwritten = {0};
        const judgeq_status reported = report(r, &unwritten);
        if (reported != JUDGEQ_OK) return exit_with(reported, &unwritten);
    }
    return exit_with(status, &error);
}

int cmd_run(int argc, char **argv) {
    run *r = calloc(1, sizeof *r);
    if (!r) {
        say("no memory");
        return 1;
    }
    int status = options_read(argc, argv, &r->options);
    if (status == 0 && r->options.help) {
        printf("%s%s%s", HELP_INPUT, HELP_EVICTION, HELP_RESPONSE);
    } else if (status == 0) {
        status = run_all(r);
    }
    run_free(r);
    free(r);
    return status;
}
