/* judgeq ingest: reads documents once, before any question is known, and keeps what the policy chooses in a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "app/fallback.h"
#include "app/find_judge.h"
#include "app/find_model.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "commands.h"
#include "cores_note.h"
#include "exit_status.h"
#include "ingest_options.h"
#include "interrupt.h"
#include "progress.h"
#include "prompt_text.h"
#include "run_report.h"
#include "say.h"

static const char HELP[] =
    "Usage: judgeq ingest [OPTIONS] FILE... -o DOCUMENT.kv\n"
    "\n"
    "Reads documents once, keeps a budget of rows of the KV cache, and saves these. The policy chooses them without\n"
    "knowing what will be asked, so give them more rows than one question needs: half of the tokens, say.\n"
    "Answers then come without reading the documents again:\n"
    "\n"
    "  judgeq ingest --budget 50% report.txt -o report.kv\n"
    "  judgeq run --context report.kv -p \"Who signed it?\"\n"
    "\n"
    "  FILE               texts, read as one with blank lines between them; \"-\" is standard input\n"
    "  -o, --output FILE  where to save; docs/snapshot.md describes the file. It goes with this model file only\n"
    "\n"
    "Model\n"
    "  -m, --model FILE   GGUF model (default: the model that tools/deps.sh fetched)\n"
    "  -t, --threads N    threads that compute (default: one per core, or one where other programs run)\n"
    "      --ctx N        most tokens of documents, questions and answers (default: what the model was trained for)\n"
    "      --kv-type T    numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "      --chunk N      rows that are computed at once (default: chosen)\n"
    "\n"
    "Prompt\n"
    "      --system TEXT  a system message before the documents\n"
    "      --chat, --raw, --no-think\n"
    "                     as for judgeq run. The file says whether its document was read with --raw, and\n"
    "                     judgeq run --context reads the question likewise\n"
    "\n"
    "Eviction\n"
    "      --budget N|P%  rows to keep per layer and KV head, or a share of the tokens (default: all, with policy "
    "full)\n"
    "      --policy NAME, --judge FILE, --probe X, --reduce X, --smooth X, --allocate X, --keep X,\n"
    "      --remember X\n"
    "                     which rows to keep, as for judgeq run (default: judge-later)\n"
    "      --slack N|none, --unbounded\n"
    "                     as for judgeq run; unbounded, documents may be longer than --ctx\n"
    "      --seed N       of the policy random (default: 0)\n"
    "\n"
    "Output\n"
    "      --json         one JSON object about what was read and kept\n"
    "      --quiet        no progress and no summary on standard error\n"
    "  -v, --verbose      libllama's and ggml's log lines on standard error (default: none)\n"
    "  -h, --help         this text\n";

typedef struct ingest {
    ingest_options options;
    char *text; /* all documents */
    size_t length;
    char default_model[4096];
    const char *model_path;
    judgeq_model *model;
    judgeq_policy *policy;
    judge_found found;
    char *fallback;
    judgeq_session *session;
    int32_t *tokens; /* [n_tokens] */
    size_t n_tokens;
    progress progress;
} ingest;

/* Appends a document after a blank line. */
static int add_document(ingest *in, const char *path) {
    char *text = NULL, *joined;
    size_t length = 0;
    const int status = prompt_text_file(path, in->options.run.quiet, &text, &length);
    if (status != 0) return status;
    const int n_line_end = in->length > 0 ? 2 : 0;
    joined = realloc(in->text, in->length + length + 3);
    if (joined) {
        for (int i = 0; i < n_line_end; i++) joined[in->length++] = '\n';
        memcpy(joined + in->length, text, length + 1);
        in->length += length;
        in->text = joined;
    } else {
        say("no memory for %s", path);
    }
    free(text);
    return joined ? 0 : EXIT_FAILURE;
}

static judgeq_status load_judge(ingest *in, judgeq_error *error) {
    const options *o = &in->options.run;
    const judge_search search = {.model = in->model,
                                 .model_path = in->model_path,
                                 .named = o->judge,
                                 .by_default = !o->policy && !choices_have_probe(&o->choices),
                                 .notes = say_notes(o->quiet)};
    const judgeq_status status = find_judge(&search, &in->policy, 1, &in->found, error);
    if (status != JUDGEQ_OK || !in->found.fallback) return status;
    return fallback_take(o->policy_text, &in->fallback, &in->policy, error);
}

static judgeq_status make_session(ingest *in, judgeq_error *error) {
    const options *o = &in->options.run;
    session_choices chosen = o->session;
    chosen.seed = o->sampler.seed;
    cores_note(chosen.n_threads, o->quiet);
    const judgeq_session_params params =
        session_choices_params(&chosen, in->policy, in->found.judge, progress_report, &in->progress);
    return judgeq_session_new(in->model, &params, &in->session, error);
}

static judgeq_status prepare(ingest *in, judgeq_error *error) {
    const options *o = &in->options.run;
    judgeq_status status = judgeq_policy_parse(o->policy_text, &in->policy, error);
    if (status == JUDGEQ_OK) {
        status = find_model(o->model, in->default_model, sizeof in->default_model, &in->model_path, error);
    }
    if (status == JUDGEQ_OK) status = judgeq_model_load(in->model_path, &in->model, error);
    if (status == JUDGEQ_OK) find_model_notes(in->model, in->model_path, say_notes(o->quiet));
    if (status == JUDGEQ_OK) status = load_judge(in, error);
    if (status == JUDGEQ_OK) status = make_session(in, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_session_set_label(in->session, o->raw ? CONTEXT_RAW : CONTEXT_MESSAGE, error);
    }
    if (status != JUDGEQ_OK) return status;
    const prompt_params params = prompt_text_params(o);
    status = context_document_tokens(in->model, &params, o->system, in->text, &in->tokens, &in->n_tokens, error);
    return status == JUDGEQ_OK ? prompt_check_length(in->model, &params, in->n_tokens, 0, error) : status;
}

static judgeq_status read_documents(ingest *in, judgeq_error *error) {
    progress_begin(&in->progress, (int64_t)in->n_tokens, in->options.run.quiet);
    interrupt_catch();
    const judgeq_status status = judgeq_session_read(in->session, in->tokens, in->n_tokens, error);
    progress_end(&in->progress);
    if (status != JUDGEQ_ERROR_CANCELLED) return status;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted; nothing is saved");
}

static judgeq_status report(const ingest *in, double seconds, judgeq_error *error) {
    judgeq_stats stats;
    judgeq_session_get_stats(in->session, &stats);
    report_document document = {.path = in->options.output,
                                .model_path = in->model_path,
                                .judge_path = in->found.path,
                                .kv_bytes_peak = stats.kv_bytes_peak,
                                .read_s = seconds};
    const judgeq_status status = judgeq_snapshot_read(document.path, &document.info, NULL, error);
    if (status != JUDGEQ_OK) return status;
    if (in->options.run.json && !report_ingest_json(&document)) {
        return error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output");
    }
    if (!in->options.run.quiet) report_ingest(&document);
    return JUDGEQ_OK;
}

static void ingest_free(ingest *in) {
    judgeq_free(in->tokens);
    judgeq_session_free(in->session);
    judge_found_free(&in->found);
    judgeq_policy_free(in->policy);
    judgeq_model_free(in->model);
    free(in->fallback);
    free(in->text);
    ingest_options_free(&in->options);
}

static int ingest_all(ingest *in) {
    judgeq_error error = {0};
    int usage = 0;
    /* before anything is waited for: standard input, the model, the documents */
    judgeq_status status = file_check_output(in->options.output, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    for (int i = 0; usage == 0 && i < in->options.n_file; i++) usage = add_document(in, in->options.file[i]);
    if (usage != 0) return usage;
    status = prepare(in, &error);
    const double start = clock_seconds();
    if (status == JUDGEQ_OK) status = read_documents(in, &error);
    const double seconds = clock_seconds() - start;
    if (status == JUDGEQ_OK) status = judgeq_session_save(in->session, in->options.output, &error);
    if (status == JUDGEQ_OK) status = report(in, seconds, &error);
    return exit_with(status, &error);
}

int cmd_ingest(int argc, char **argv) {
    ingest *in = calloc(1, sizeof *in);
    if (!in) {
        say("no memory");
        return 1;
    }
    int status = ingest_options_read(argc, argv, &in->options);
    if (status == 0 && in->options.run.help) {
        fputs(HELP, stdout);
    } else if (status == 0) {
        status = ingest_all(in);
    }
    ingest_free(in);
    free(in);
    return status;
}
