/* judgeq eval: tasks, policies and budgets -> results on disk, and tables of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/fallback.h"
#include "app/find_judge.h"
#include "app/find_model.h"
#include "app/prompt.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "base/visible.h"
#include "commands.h"
#include "eval_options.h"
#include "exit_status.h"
#include "files.h"
#include "interrupt.h"
#include "plan_check.h"
#include "progress.h"
#include "ranks.h"
#include "records.h"
#include "say.h"
#include "summary.h"
#include "trial.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_TASKS[] =
    "Usage: judgeq eval TASKS -o DIR [OPTIONS]\n"
    "\n"
    "Asks questions about long texts under several policies and budgets, from one prefill of each text, and says how\n"
    "many were answered. docs/evaluation.md describes the tasks, the measures and the files.\n"
    "\n"
    "Tasks, with commas or spaces between them\n";
static const char HELP_RANKS[] =
    "\n"
    "Several machines\n"
    "  Built with MPI (cmake -DJUDGEQ_MPI=ON), mpirun starts K processes that share the samples. The lines are the "
    "same, "
    "and\n"
    "  an interrupted run continues with any K. All read the same files, and write into one folder.\n"
    "    Example: mpirun -n 4 judgeq eval own --samples 20 -o results -t 1\n";
static const char HELP_OWN[] = "  own                all of these\n";
static const char HELP_UNKNOWN[] =
    "  unknown            all of these, whose questions are not known when rows are dropped\n";
static const char HELP_OPTIONS[] =
    "  grid               needle_text at every depth: a heat map of length by depth\n"
    "      --length N,..  tokens of a prompt (default: 1024)\n"
    "      --samples N    of each task and length, or of each cell of the grid (default: 8)\n"
    "      --seed S       the same seed gives the same samples, and more samples begin with those of fewer (default: "
    "1)\n"
    "      --depths N     of the grid, from 0 to 1 (default: 11)\n"
    "      --haystack P   the text to hide things in: a text file, or a folder of them (default: generated prose)\n"
    "      --text FILE    of continuation: --length tokens of it are read, and each policy predicts the 512 (or -n, "
    "if\n"
    "                     fewer) that follow\n"
    "  ruler:PATH         a .jsonl file of RULER's, or a folder of them or of TASK/validation.jsonl (HELMET's too); "
    "the "
    "first\n"
    "                     --samples lines of each\n"
    "  longbench:PATH     LongBench's folder, LongBench-E's files in it too, or one of its .jsonl files with config/ "
    "beside it\n"
    "                     or its folder. Lines of files that are empty or too long are left out, and counted\n"
    "      --cut N        longest prompt of LongBench in tokens; of longer ones the middle is cut out (default: what "
    "the\n"
    "                     model's context leaves)\n"
    "    Example: judgeq eval needle_text,multi_key --length 1024,2048 --samples 20 -o results\n"
    "\n"
    "What is compared\n"
    "      --policies P,..   names or texts of policies, as judgeq policies lists them; with ; between them where one\n"
    "                     holds a comma. P@T is policy P with a KV cache of type T. The full cache is always there\n"
    "                     (default: streaming,snapkv,judge,judge-laq; for a model without a judge, snapkv with a "
    "window\n"
    "                     of 16 in place of the last two)\n"
    "      --probe X, --reduce X, --smooth X, --allocate X, --keep X, --remember X\n"
    "                     replace a choice of all of them (default: their own); docs/policies has the values\n"
    "      --budgets N,.. rows to keep per layer and KV head, or shares of the prompt (default: 64,128)\n"
    "      --slack N|none as in a conversation: the policy chooses again when later turns are read, and after every N\n"
    "                     tokens of an answer (default: none, it chooses once, from the prompt, as the papers do)\n"
    "  -m, --model FILE   GGUF model (default: the model that tools/deps.sh fetched)\n"
    "      --judge FILE   the judge, for policies with soft tokens (default: as in judgeq run)\n"
    "  -n, --tokens N     most tokens of an answer (default: as the task says)\n"
    "      --chat, --raw  always, or never, in the model's chat template (default: where the task allows it)\n"
    "      --no-think     tell the chat template that the model shall answer without thinking first\n"
    "      --kv-type T    numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "      --expand MIB   most memory for 16-bit float copies of quantised weights, with which many answers are "
    "decoded in\n"
    "                     half of the time. Tokens can then differ from those of judgeq run at near ties; 0: never\n"
    "                     (default: 1024)\n"
    "      --one-by-one   decode the answers one after the other, each as judgeq run does: the tables then have the "
    "speed of\n"
    "                     each policy. Without it all are decoded in step. Implies --expand 0\n"
    "  -t, --threads N    threads that compute (default: one per core, or one where other programs run)\n"
    "    Example: judgeq eval own --policies 'snapkv;snapkv,probe=window:16,keep=recent:16' --budgets 64,5% -o "
    "results\n"
    "\n"
    "Output\n"
    "  -o, --output DIR   run.json and samples.jsonl, a line per finished sample. The same command again continues an\n"
    "                     interrupted run, and only reports a finished one\n"
    "      --versus P     the policy that is tested against the others (default: the last one)\n"
    "      --divergence   measure the predictions too: KL divergence from the full cache's, and perplexity, over the "
    "full\n"
    "                     cache's answer, which every policy reads for it\n"
    "      --heads        note hit rate and attention mass of every KV head, not only of every layer\n"
    "      --prompts      note text and tokens of every prompt, so that another program can read the same\n"
    "      --json         the tables as one JSON object\n"
    "      --quiet        no progress on standard error\n"
    "  -h, --help         this text\n";

static const char POLICIES[] = "streaming,snapkv,judge,judge-laq";
static const char POLICIES_WITHOUT_JUDGE[] = "streaming;snapkv;" FALLBACK_POLICY;

typedef struct evaluation {
    eval_options options;
    ranks ranks;
    arms arms;
    haystack_source haystack;
    char *text; /* of --text. Owned */
    plan plan;
    records records;
    trial_setup setup;
    char default_model[4096];
    const char *model_path;
    judgeq_model *model;
    reading_style style;
    judgeq_error no_template; /* why the chat template cannot be used, where none was insisted on; or no message */
    judge_found found;
    const char *policies; /* as given, or by default */
    progress progress;
    size_t expanded_bytes;
    bool *mine; /* [plan.n_item]: this rank's part of what is to be done */
    size_t n_todo, n_done;
    double work_todo, work_done; /* tokens read and decoded: what time goes with */
    const plan_item *item;       /* at hand */
    double work_now;             /* done of it */
} evaluation;

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static judgeq_status load_model(evaluation *e, judgeq_error *error) {
    judgeq_status status =
        find_model(e->options.model, e->default_model, sizeof e->default_model, &e->model_path, error);
    if (status == JUDGEQ_OK) status = judgeq_model_load(e->model_path, &e->model, error);
    if (status == JUDGEQ_OK) find_model_notes(e->model, e->model_path, say_notes(e->options.quiet));
    return status;
}

/* How samples are read. A model whose chat template cannot be used reads them as they are, which is said. */
static judgeq_status choose_style(evaluation *e, judgeq_error *error) {
    const eval_options *o = &e->options;
    e->style = (reading_style){.format = o->raw    ? READING_RAW
                                         : o->chat ? READING_CHAT
                                                   : READING_AUTO,
                               .control = o->raw,
                               .no_think = o->no_think};
    if (o->raw) return JUDGEQ_OK;
    const judgeq_status status = prompt_check_template(e->model, NULL, error);
    if (status != JUDGEQ_ERROR_UNSUPPORTED || o->chat) return status;
    if (!o->quiet) say("prompts are read as they are: %s", error->message);
    e->no_template = *error;
    e->style.format = READING_RAW;
    return JUDGEQ_OK;
}

/* Longest prompt of LongBench: what is asked for, or what the model's context leaves beside the longest of its answers
 * (512 tokens) and a chat template. */
static int32_t cut_to(const evaluation *e) {
    enum { ANSWER = 512, TEMPLATE = 128 };
    const int32_t n_ctx = judgeq_model_get_info(e->model)->n_ctx_train;
    const int32_t fits = n_ctx > 2 * (ANSWER + TEMPLATE) ? n_ctx - ANSWER - TEMPLATE : n_ctx / 2;
    return e->options.cut_to > 0 ? e->options.cut_to : fits;
}

static judgeq_status make_plan(evaluation *e, judgeq_error *error) {
    const eval_options *o = &e->options;
    const plan_request request = {.tasks = o->tasks,
                                  .length = o->length.value,
                                  .n_length = o->length.n,
                                  .n_samples = o->n_samples,
                                  .n_depths = o->n_depths,
                                  .cut_to = cut_to(e),
                                  .seed = o->seed,
                                  .haystack = &e->haystack,
                                  .text = e->text};
    return plan_make(&request, &e->plan, error);
}

/* ---- run.json ---------------------------------------------------------------------------------------------------- */

/* Bytes that are no UTF-8, as a path may have them, become U+FFFD: JSON has no others. */
static json_t *text(const char *bytes) {
    size_t n;
    char *valid = utf8_repaired(bytes, strlen(bytes), &n);
    json_t *string = valid ? json_stringn(valid, n) : NULL;
    free(valid);
    return string;
}

static json_t *hex(uint64_t value) {
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return json_string(text);
}

/* FNV-1a over the soft tokens. */
static json_t *judge_object(const judgeq_judge *judge) {
    if (!judge) return json_null();
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    const unsigned char *bytes = (const unsigned char *)judgeq_judge_soft_tokens(judge);
    const size_t n = (size_t)info->n_depth * (size_t)info->n_soft * (size_t)info->n_embd * sizeof(float);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return json_pack("{s:s, s:s, s:o}", "origin", info->origin, "fingerprint", info->fingerprint, "hash", hex(hash));
}

static json_t *policies_array(const arms *a) {
    json_t *array = json_array();
    json_array_append_new(array, json_pack("{s:s, s:s}", "policy", "full", "policy_text", "full"));
    for (size_t i = 0; i < a->n_policy; i++) {
        json_array_append_new(
            array, json_pack("{s:s, s:s}", "policy", a->policy[i], "policy_text", judgeq_policy_text(a->parsed[i])));
    }
    return array;
}

static json_t *budgets_array(const arms *a) {
    json_t *array = json_array();
    for (size_t i = 0; i < a->n_budget; i++) json_array_append_new(array, json_string(a->budget[i]));
    return array;
}

static json_t *lengths_array(const eval_options *o) {
    json_t *array = json_array();
    for (size_t i = 0; i < o->length.n; i++) json_array_append_new(array, json_integer(o->length.value[i]));
    return array;
}

/* FNV-1a */
static uint64_t hash_of(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return hash;
}

/* What changes answers, besides model, judge, policies and budgets. */
static json_t *settings_object(const evaluation *e) {
    const eval_options *o = &e->options;
    const char *reason = e->no_template.message;
    json_t *object =
        json_pack("{s:s, s:s?, s:b, s:s, s:i, s:i, s:o, s:b, s:b, s:b}", "format",
                  o->raw    ? "raw"
                  : o->chat ? "chat"
                            : "auto",
                  "no_chat_template", *reason ? reason : NULL, "no_think", (int)o->no_think, "kv_type",
                  judgeq_kv_type_name(o->kv_type), "tokens", (int)o->n_tokens, "cut", (int)cut_to(e), "haystack",
                  e->haystack.n_sentence > 0 ? hex(e->haystack.hash) : json_null(), "divergence", (int)o->divergence,
                  "heads", (int)o->heads, "expanded", (int)(e->expanded_bytes > 0));
    /* left out where there is none, as in runs of before */
    if (o->slack != JUDGEQ_SLACK_NONE) json_object_set_new(object, "slack", json_integer(o->slack));
    if (e->text) json_object_set_new(object, "text", hex(hash_of(e->text)));
    return object;
}

static json_t *run_object(const evaluation *e) {
    const judgeq_model_info *info = judgeq_model_get_info(e->model);
    char started[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:s, s:{s:o, s:s, s:o}, s:o, s:o, s:o, s:o, s:O, s:o, s:i, s:I, s:O, s:s}", "version",
                     judgeq_version(), "model", "name", text(info->name), "fingerprint", info->file_fingerprint, "path",
                     text(e->model_path), "judge", judge_object(e->found.judge), "policies", policies_array(&e->arms),
                     "budgets", budgets_array(&e->arms), "settings", settings_object(e), "tasks", e->plan.tasks,
                     "lengths", lengths_array(&e->options), "samples", (int)e->options.n_samples, "seed",
                     (json_int_t)e->options.seed, "left_out", e->plan.left_out, "started", started);
}

static void say_damaged(const records *r) {
    const size_t n = json_array_size(r->damaged);
    const json_t *first = json_array_get(r->damaged, 0);
    if (n == 0) return;
    say("passed over %zu damaged line%s, whose samples are asked anew (%s: %s)", n, n > 1 ? "s" : "",
        json_string_value(json_object_get(first, "key")), json_string_value(json_object_get(first, "reason")));
}

/* The first rank makes the folder. */
static judgeq_status open_records(evaluation *e, judgeq_error *error) {
    const char *folder = e->options.output;
    json_t *run = run_object(e);
    if (!run) return error_set(error, JUDGEQ_ERROR_FORMAT, "a policy or a task is not UTF-8");
    judgeq_status status = JUDGEQ_OK;
    if (e->ranks.rank == 0) status = records_open(folder, run, &e->records, error);
    if (status == JUDGEQ_OK && e->ranks.rank == 0 && !e->options.quiet) say_damaged(&e->records);
    if (status == JUDGEQ_OK) status = ranks_wait(&e->ranks, error);
    if (status == JUDGEQ_OK && e->ranks.rank > 0) {
        status = records_join(folder, run, e->ranks.rank, &e->records, error);
    }
    json_decref(run);
    return status;
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

/* Tokens, as far as they are known before a sample is made. One that is decoded beside many others costs about as much
 * as one of a prompt. */
static double work_of(const evaluation *e, const plan_item *item) {
    const int32_t n_answer = e->options.n_tokens > 0 ? e->options.n_tokens : item->n_answer;
    return item->n_prompt + (double)e->arms.n_arm * n_answer;
}

static void show(evaluation *e) {
    const double now = clock_seconds(), every = e->progress.terminal ? 0.5 : 30;
    if (e->options.quiet || now - e->progress.last < every) return;
    e->progress.last = now;
    char before[96], after[64] = "just begun", left[32], name[44];
    const double work = e->work_done + e->work_now;
    visible_copy(e->item->name, name, sizeof name);
    snprintf(before, sizeof before, "sample %zu/%zu, %s", e->n_done + 1, e->n_todo, name);
    if (work > 0) {
        progress_time(left, sizeof left, (now - e->progress.start) * (e->work_todo / work - 1));
        snprintf(after, sizeof after, "%s left", left);
    }
    if (e->progress.terminal) {
        progress_draw(before, after, work / e->work_todo);
    } else {
        say("%s: %s", before, after);
    }
}

/* Called with a part of the prompt, or, with 1 of 1, for every token that the policies decode in step. */
static bool report(void *data, int64_t done, int64_t total) {
    evaluation *e = data;
    if (interrupt_seen()) return false;
    const double most = work_of(e, e->item);
    const double read = total > 1 ? (double)e->item->n_prompt * (double)done / (double)total : 0;
    if (total <= 1) e->work_now += (double)e->arms.n_arm;
    if (read > e->work_now) e->work_now = read; /* what is read later does not set it back */
    if (e->work_now > most) e->work_now = most;
    show(e);
    return true;
}

/* ---- before the run ---------------------------------------------------------------------------------------------- */

static judgeq_status check_versus(const evaluation *e, judgeq_error *error) {
    const char *versus = e->options.versus;
    bool known = !versus || strcmp(versus, "full") == 0;
    for (size_t i = 0; !known && i < e->arms.n_policy; i++) known = strcmp(versus, e->arms.policy[i]) == 0;
    if (known) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "--versus %.*s: is none of the policies: %.*s, or full",
                     VISIBLE_FIT(versus, 100), VISIBLE_FIT(e->policies, 300));
}

/* The first few, and how many there are. */
static void say_left_out(const evaluation *e, size_t first) {
    enum { SAID = 3 };
    const size_t n = json_array_size(e->plan.left_out);
    if (e->options.quiet || n == first) return;
    say("left out %zu of %zu samples, which cannot be asked:", n, n + e->plan.n_item);
    for (size_t i = first; i < n && i < first + SAID; i++) {
        const json_t *one = json_array_get(e->plan.left_out, i);
        say("  %s", json_string_value(json_object_get(one, "reason")));
    }
    if (n > first + SAID) say("  and %zu more: run.json has them all", n - first - SAID);
}

/* Of the tasks of our own; 0: there are none. */
static int32_t shortest_length(const evaluation *e) {
    int32_t shortest = 0;
    for (size_t i = 0; i < e->plan.n_item; i++) {
        const int32_t length = e->plan.item[i].task ? e->plan.item[i].length : 0;
        if (length > 0 && (shortest == 0 || length < shortest)) shortest = length;
    }
    return shortest;
}

/* Everything that can fail for all samples alike fails here, before anything is written. */
static judgeq_status check(evaluation *e, judgeq_error *error) {
    const eval_options *o = &e->options;
    e->setup = (trial_setup){.model = e->model,
                             .judge = e->found.judge,
                             .arms = &e->arms,
                             .style = e->style,
                             .n_tokens = o->n_tokens,
                             .n_threads = o->n_threads,
                             .seed = o->seed,
                             .divergence = o->divergence,
                             .heads = o->heads,
                             .prompts = o->prompts,
                             .slack = o->slack,
                             .one_by_one = o->one_by_one,
                             .progress = report,
                             .progress_data = e};
    judgeq_status status = check_versus(e, error);
    if (status == JUDGEQ_OK) status = trial_check(&e->setup, shortest_length(e), error);
    if (status == JUDGEQ_OK) status = plan_check(&e->plan, &e->setup, error);
    if (status == JUDGEQ_OK) say_left_out(e, 0);
    return status;
}

static judgeq_status parse_arms(evaluation *e, const char *policies, judgeq_error *error) {
    const eval_options *o = &e->options;
    e->policies = policies;
    return arms_parse(policies, o->choices_text, o->budgets, o->kv_type, &e->arms, error);
}

static judgeq_status load_judge(evaluation *e, judgeq_error *error) {
    const eval_options *o = &e->options;
    const judge_search search = {.model = e->model,
                                 .model_path = e->model_path,
                                 .named = o->judge,
                                 .by_default = !o->policies && !choices_have_probe(&o->choices),
                                 .notes = say_notes(o->quiet || e->ranks.rank > 0)};
    const judgeq_status status = find_judge(&search, e->arms.parsed, e->arms.n_policy, &e->found, error);
    if (status != JUDGEQ_OK || !e->found.fallback) return status;
    arms_free(&e->arms);
    return parse_arms(e, POLICIES_WITHOUT_JUDGE, error);
}

static judgeq_status prepare(evaluation *e, judgeq_error *error) {
    const eval_options *o = &e->options;
    judgeq_status status = parse_arms(e, o->policies ? o->policies : POLICIES, error);
    if (status == JUDGEQ_OK && e->ranks.rank == 0) status = file_check_folder(o->output, error);
    if (status == JUDGEQ_OK && o->haystack) status = haystack_source_read(o->haystack, &e->haystack, error);
    if (status == JUDGEQ_OK && o->text) status = files_read_utf8(o->text, &e->text, error);
    if (status == JUDGEQ_OK) status = load_model(e, error);
    if (status == JUDGEQ_OK) status = choose_style(e, error);
    if (status == JUDGEQ_OK) status = make_plan(e, error);
    if (status == JUDGEQ_OK) status = load_judge(e, error);
    if (status == JUDGEQ_OK) status = check(e, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_model_expand(e->model, o->expand_bytes, o->n_threads, &e->expanded_bytes, error);
    }
    if (status == JUDGEQ_OK) status = open_records(e, error);
    return status;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static int64_t count_tokens(void *data, const sample *s, judgeq_error *error) {
    const evaluation *e = data;
    return reading_count(e->model, &e->style, s, error);
}

/* A line of a file that turns out to be unfit, because of a budget that is a share of it, costs only itself. */
static judgeq_status leave_out(evaluation *e, size_t index, const char *reason, judgeq_error *error) {
    const size_t before = json_array_size(e->plan.left_out);
    progress_end(&e->progress);
    const judgeq_status status = plan_note(&e->plan, index, reason, error);
    if (status == JUDGEQ_OK) say_left_out(e, before);
    return status == JUDGEQ_OK && e->ranks.rank == 0 ? records_write_run(&e->records, error) : status;
}

static judgeq_status run_sample(evaluation *e, size_t index, judgeq_error *error) {
    sample s = {0};
    json_t *line = NULL;
    judgeq_error reason = {0};
    judgeq_status status = plan_sample(&e->plan, index, count_tokens, e, &s, &reason);
    if (status == JUDGEQ_OK) status = trial_run(&e->setup, &s, &line, &reason);
    if (status == JUDGEQ_OK) {
        status = records_add(&e->records, line, error);
    } else if (!e->item->task && plan_leaves_out(status)) {
        status = leave_out(e, index, reason.message, error);
    } else {
        *error = reason;
    }
    json_decref(line);
    sample_free(&s);
    return status;
}

/* Every sample that is not there yet goes to the rank that has the least to do; all ranks come to the same result. */
static judgeq_status share_out(evaluation *e, judgeq_error *error) {
    const int32_t n = e->ranks.n;
    double *work = calloc((size_t)n, sizeof *work);
    e->mine = calloc(e->plan.n_item, sizeof *e->mine);
    if (!work || !e->mine) {
        free(work);
        return error_memory(error, "the plan");
    }
    for (size_t i = 0; i < e->plan.n_item; i++) {
        if (records_have(&e->records, e->plan.item[i].key)) continue;
        int32_t least = 0;
        for (int32_t r = 1; r < n; r++) least = work[r] < work[least] ? r : least;
        work[least] += work_of(e, &e->plan.item[i]);
        e->mine[i] = least == e->ranks.rank;
        e->n_todo += e->mine[i];
    }
    e->work_todo = work[e->ranks.rank];
    free(work);
    return ranks_wait(&e->ranks, error); /* nobody writes before all have read */
}

static judgeq_status run_plan(evaluation *e, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    progress_begin(&e->progress, 0, e->options.quiet);
    interrupt_catch();
    for (size_t i = 0; status == JUDGEQ_OK && i < e->plan.n_item; i++) {
        if (!e->mine[i]) continue;
        e->item = &e->plan.item[i];
        e->work_now = 0;
        status = run_sample(e, i, error);
        if (status != JUDGEQ_OK) break;
        e->n_done++;
        e->work_done += work_of(e, e->item);
    }
    progress_end(&e->progress);
    if (status == JUDGEQ_ERROR_CANCELLED) {
        status = error_set(error, JUDGEQ_ERROR_CANCELLED,
                           "interrupted after %zu of %zu samples; the same command continues", e->n_done, e->n_todo);
    }
    return status;
}

/* Names of tasks and policies come from files: nothing of theirs may steer the terminal. */
static bool print_summary(const json_t *summary) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bool done = out && summary_print(summary, out);
    if (out && fclose(out) != 0) done = false;
    if (done) visible_write(stdout, text, size, "\n");
    free(text);
    return done && fflush(stdout) == 0 && !ferror(stdout);
}

static judgeq_status print_tables(const evaluation *e, judgeq_error *error) {
    json_t *summary = summary_make(&e->records, e->options.versus);
    if (!summary) return error_memory(error, "the tables");
    const bool done =
        e->options.json ? say_json(summary, JSON_COMPACT | JSON_REAL_PRECISION(9)) : print_summary(summary);
    json_decref(summary);
    return done ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output");
}

static judgeq_status evaluate(evaluation *e, judgeq_error *error) {
    eval_options *o = &e->options;
    o->n_threads = ranks_threads(&e->ranks, o->n_threads, o->quiet);
    judgeq_status status = prepare(e, error);
    if (status != JUDGEQ_OK) return status;
    status = share_out(e, error);
    if (status == JUDGEQ_OK) status = run_plan(e, error);
    if (status == JUDGEQ_OK) status = ranks_wait(&e->ranks, error);
    if (status != JUDGEQ_OK || e->ranks.rank > 0) return status;
    status = records_gather(&e->records, error);
    if (status == JUDGEQ_OK) status = print_tables(e, error);
    if (status == JUDGEQ_OK && !e->options.quiet) {
        say("the results are in %s; judgeq report %s shows them as a web page", e->options.output, e->options.output);
    }
    return status;
}

static void evaluation_free(evaluation *e) {
    records_close(&e->records);
    plan_free(&e->plan);
    haystack_source_free(&e->haystack);
    free(e->text);
    judge_found_free(&e->found);
    judgeq_model_free(e->model);
    arms_free(&e->arms);
    free(e->mine);
    eval_options_free(&e->options);
    free(e);
}

static int run(evaluation *e) {
    judgeq_error error = {0};
    judgeq_status status = ranks_begin(&e->ranks, &error);
    if (e->ranks.rank > 0) e->options.quiet = true; /* the first speaks for all */
    if (status == JUDGEQ_OK) status = evaluate(e, &error);
    char rank[32] = "";
    if (e->ranks.n > 1) snprintf(rank, sizeof rank, "rank %d: ", e->ranks.rank);
    if (status != JUDGEQ_OK) say("%s%s", rank, error.message);
    const int end = exit_status(status);
    ranks_end(&e->ranks, end);
    return end;
}

static void print_tasks(bool own, bool unknown) {
    for (size_t i = 0; task_at(i); i++) {
        const task *t = task_at(i);
        if (task_is_own(t) != own || task_is_unknown(t) != unknown) continue;
        printf("  %-18s %s\n", task_name(t), task_summary(t));
    }
}

static void print_help(void) {
    fputs(HELP_TASKS, stdout);
    print_tasks(true, false);
    fputs(HELP_OWN, stdout);
    print_tasks(false, true);
    fputs(HELP_UNKNOWN, stdout);
    print_tasks(false, false);
    fputs(HELP_OPTIONS, stdout);
    fputs(HELP_RANKS, stdout);
}

int cmd_eval(int argc, char **argv) {
    evaluation *e = calloc(1, sizeof *e);
    if (!e) {
        say("no memory");
        return 1;
    }
    int status = eval_options_read(argc, argv, &e->options);
    if (status == 0 && e->options.help) {
        print_help();
    } else if (status == 0) {
        status = run(e);
    }
    evaluation_free(e);
    return status;
}
