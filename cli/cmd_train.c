/* judgeq train: a training set -> a judge file; can be interrupted and resumed at any moment. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/find_model.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "commands.h"
#include "exit_status.h"
#include "interrupt.h"
#include "progress.h"
#include "ranks.h"
#include "say.h"
#include "train_curves.h"
#include "train_log.h"
#include "train_online.h"
#include "train_options.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_RUN[] =
    "Usage: judgeq train --data SET.jsonl -o JUDGE.gguf [OPTIONS]\n"
    "       judgeq train --online -n N -o JUDGE.gguf [OPTIONS] SOURCE...\n"
    "\n"
    "Trains soft tokens for a model, so that they attend to what its responses will attend to.\n"
    "docs/training.md tells how.\n"
    "\n"
    "Files\n"
    "  -m, --model FILE       GGUF model, frozen (default: the model that tools/deps.sh fetched)\n"
    "      --data FILE        training set, made with this model\n"
    "  -o, --output FILE      the judge file, written at the end\n"
    "      --log FILE         JSON lines: every step, measurement and skipped example (default: "
    "JUDGE.gguf.log.jsonl);\n"
    "                         its curves are drawn as JUDGE.gguf.log.svg at the end, if gnuplot is there\n"
    "      --resume           continue from JUDGE.gguf.checkpoint, bit for bit; needs the same options\n"
    "      --checkpoint-every S   seconds between checkpoints (default: 60); Ctrl-C writes one as well\n"
    "    Example: judgeq train --data set.jsonl -o judge.gguf --resume\n"
    "\n"
    "Judge\n"
    "      --n-soft N         soft tokens (default: 32)\n"
    "      --deep             vectors for every layer, added to the soft tokens as they enter it, not for the first\n"
    "                         layer alone: more to learn from more examples\n"
    "      --init START       vocabulary: embeddings of tokens drawn by the seed (default); text:TEXT: of the text's\n"
    "                         tokens, repeated in order; judge:FILE: the soft tokens of a judge\n"
    "      --seed N           of the drawn tokens, the held-out part and the order of the examples (default: 0)\n"
    "    Example: judgeq train --data more.jsonl -o better.gguf --init judge:judge.gguf --lr 2e-3\n"
    "\n";
static const char HELP_STEPS[] =
    "Training\n"
    "      --loss LOSS        kl: KL divergence of the renormalised attention maps; mse: squared error, the paper's\n"
    "                         (default: kl)\n"
    "      --target TARGET    mean: of the response's attention, over its tokens (default); max: what one token needs "
    "counts\n"
    "                         as much as what all need; needs --loss kl. Held out, it is measured against the mean;\n"
    "                         copied: the mean over those tokens after which an answer takes something from the "
    "prompt,\n"
    "                         for questions that come later. Both not for --online\n"
    "      --weigh-values     attention counts in proportion to the L1 norm of the value that it goes to\n"
    "      --epochs N         passes over the training part; 0: the judge of --init is only measured, and gets what a\n"
    "                         judge file says of the measurement (default: 6)\n"
    "      --lr RATE          of AdamW; rises over the warm-up, then falls to 0 along a cosine (default: 0.015)\n"
    "      --warm-up N        steps of rising rate (default: 20)\n"
    "      --accumulate N     examples per step (default: 1)\n"
    "      --clip LENGTH      longest gradient; 0: any (default: 0)\n"
    "    Example: judgeq train --data set.jsonl -o judge.gguf --epochs 3 --lr 5e-3 --accumulate 4\n"
    "\n"
    "Measuring\n"
    "      --heldout SHARE    part of the examples that is only measured on, 0 to 0.5 (default: 0.1)\n"
    "      --measure-every N  steps between measurements; 0: at the end of every epoch (default: 0)\n"
    "      --measure-budgets N,..   rows per KV head that hit rate and mass are measured at, 4 at most (default: "
    "64,128,256)\n"
    "    Example: judgeq train --data set.jsonl -o judge.gguf --heldout 0.2 --measure-every 50\n"
    "\n"
    "Computing\n"
    "  -t, --threads N        threads that compute (default: one per core, or one where other programs run)\n"
    "      --kv-type T        numbers in the KV cache: f16 or f32 (default: f16)\n"
    "      --cache MIB        memory for the weights as 16-bit floats; if they do not all fit, every step makes them "
    "again\n"
    "                         (default: 1024)\n"
    "      --scratch MIB      disk beside the judge for what examples give, a file without a name; those that do not "
    "fit\n"
    "                         are read again in every epoch (default: 16384)\n"
    "      --quiet            no progress on standard error\n"
    "  -h, --help             this text\n"
    "    Example: judgeq train --data set.jsonl -o judge.gguf -t 2 --cache 4096\n";

static const char HELP_ONLINE[] =
    "\n"
    "Online\n"
    "  Examples are made of SOURCE (folders and files, as judgeq data takes them) while the judge learns from them.\n"
    "      --online           every prompt is read once for its response, its target and the training\n"
    "  -n, --examples N       examples; the first of them, a share --heldout and 64 at most, are held out\n"
    "      --replay K         steps after each of the others: one on it, the rest on recent ones (default: 4)\n"
    "      --ring N           how many recent examples are drawn from (default: 64)\n"
    "      --save-data FILE   the examples as a training set (default: JUDGE.gguf.data.jsonl); --resume reads it\n"
    "      --min N            fewest tokens of a prompt (default: 300)\n"
    "      --max N            most tokens of a prompt (default: 900)\n"
    "      --retrieval S      share of the passages in which facts are hidden and asked for (default: 0.5)\n"
    "      --later S          share of these in which they are asked for afterwards, in turns (default: 0)\n"
    "      --tokens N         most tokens of a response (default: 128)\n"
    "      --temp T           temperature they are sampled at (default: 0, greedy)\n"
    "      --top-p P          sample from the likeliest tokens that make up this share (default: 1)\n"
    "      --no-think         tell the chat template that the model shall answer without thinking first\n"
    "    Example: judgeq train --online -n 500 -o judge.gguf ~/documents:3 chats.jsonl\n";

static const char HELP_RANKS[] =
    "\n"
    "Several machines\n"
    "  Built with MPI (cmake -DJUDGEQ_MPI=ON), mpirun starts K processes that share each step's examples "
    "(--accumulate)\n"
    "  and the held-out part. The judge is the same up to rounding, and --resume may use another K. All read the same\n"
    "  files; the first one writes.\n"
    "    Example: mpirun -n 4 judgeq train --data set.jsonl -o judge.gguf --accumulate 4 -t 1\n";

typedef struct training {
    train_options options;
    ranks ranks;
    char default_model[4096], checkpoint[4096], log_path[4096], picture[4096], folder[4096], data_path[4096];
    judgeq_model *model;
    judgeq_training_set *set;
    train_online online; /* whose set `set` is, with --online */
    bool dry;            /* its sources gave fewer examples than there should be */
    judgeq_judge *start;
    int32_t *start_tokens;
    judgeq_trainer *trainer;
    train_log log;
    progress progress;
    bool measuring;
    int64_t measured;          /* the last step with a measurement; -1: none */
    judgeq_training_step last; /* step 0: none in this run */
    judgeq_measures measures;
    int64_t first_step; /* of this run */
    double last_checkpoint;
} training;

/* Of several ranks, the first speaks and writes for all. */
static bool is_first(const training *t) {
    return t->ranks.rank == 0;
}

/* ---- what is shown ----------------------------------------------------------------------------------------------- */

static void show_bar(training *t, int64_t done, int64_t total) {
    const int64_t step = judgeq_trainer_steps_done(t->trainer), n_steps = judgeq_trainer_steps(t->trainer);
    const double now = clock_seconds(), part = total > 0 ? (double)done / (double)total : 0;
    if (t->options.quiet || !t->progress.terminal || now - t->progress.last < 0.1) return;
    t->progress.last = now;
    const double taken = (double)(step - t->first_step) + (t->measuring ? 0 : part);
    const double share = ((double)step + (t->measuring ? 0 : part)) / (double)(n_steps > 0 ? n_steps : 1);
    char before[64], after[96], left[32] = "?", loss[32] = "";
    if (taken > 0) progress_time(left, sizeof left, (now - t->progress.start) / taken * (1 - share) * (double)n_steps);
    if (t->last.step > 0) snprintf(loss, sizeof loss, "loss %.4f, ", t->last.loss);
    snprintf(before, sizeof before, "%s %lld/%lld", t->measuring ? "measuring after step" : "step", (long long)step,
             (long long)n_steps);
    snprintf(after, sizeof after, "%s%s left", loss, left);
    progress_draw(before, after, share);
}

static bool report(void *data, int64_t done, int64_t total) {
    if (interrupt_seen()) return false;
    show_bar(data, done, total);
    return true;
}

static void wipe_bar(training *t) {
    if (t->progress.last > 0) progress_end(&t->progress);
}

static void note(void *data, const char *message) {
    training *t = data;
    const int64_t step = judgeq_trainer_steps_done(t->trainer) + (t->measuring ? 0 : 1);
    wipe_bar(t);
    say("%s", message);
    if (is_first(t)) train_log_notice(&t->log, step, message); /* a full disk shows at the next step */
}

static void put_measures(const training *t, FILE *out) {
    const judgeq_measures *m = &t->measures;
    fprintf(out, "step %lld/%lld", (long long)judgeq_trainer_steps_done(t->trainer),
            (long long)judgeq_trainer_steps(t->trainer));
    if (t->last.step > 0) fprintf(out, ", loss %.4f", t->last.loss);
    if (m->n_examples > 0) fprintf(out, "; held out: loss %.4f", m->loss);
    for (int b = 0; b < JUDGEQ_MEASURE_BUDGETS && m->budget[b] > 0; b++) {
        if (isnan(m->hit_rate[b])) continue;
        fprintf(out, ", budget %d: hit rate %.1f %%, mass kept %.1f %%", m->budget[b], 100 * m->hit_rate[b],
                100 * m->mass_kept[b]);
    }
}

static void show_measures(training *t) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = t->options.quiet ? NULL : open_memstream(&text, &size);
    if (!out) return;
    put_measures(t, out);
    wipe_bar(t);
    if (fclose(out) == 0) say("%s", text);
    free(text);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static judgeq_status load_start(training *t, judgeq_error *error) {
    const train_options *o = &t->options;
    judgeq_trainer_params *p = &t->options.params;
    if (o->start_judge) {
        const judgeq_status status = judgeq_judge_load(o->start_judge, t->model, &t->start, error);
        p->start = t->start;
        return status;
    }
    if (!o->start_text) return JUDGEQ_OK;
    const judgeq_status status = judgeq_tokenize(t->model, o->start_text, strlen(o->start_text), JUDGEQ_TEXT_PLAIN,
                                                 &t->start_tokens, &p->n_start_tokens, error);
    p->start_tokens = t->start_tokens;
    return status;
}

static bool go_on(void *data) {
    return report(data, 0, 0);
}

static judgeq_status load_set(training *t, judgeq_error *error) {
    if (t->options.online) {
        const judgeq_status begun = train_online_begin(&t->online, t->model, &t->options.sources, go_on, t, error);
        t->set = t->online.set;
        return begun;
    }
    const judgeq_status status = judgeq_training_set_load(t->options.data, t->model, &t->set, error);
    if (status != JUDGEQ_OK) return status;
    const judgeq_training_set_info *info = judgeq_training_set_get_info(t->set);
    if (info->n_broken > 0 && is_first(t)) {
        say("%zu of %zu lines hold no example and are left out; the first: %s", info->n_broken,
            info->n_broken + info->n_examples, info->broken);
    }
    return JUDGEQ_OK;
}

static judgeq_status set_paths(training *t, judgeq_error *error) {
    const char *output = t->options.output;
    const int n = snprintf(t->checkpoint, sizeof t->checkpoint, "%s.checkpoint", output);
    const int m = snprintf(t->log_path, sizeof t->log_path - 1, "%s.log.jsonl", output);
    snprintf(t->picture, sizeof t->picture, "%s.log.svg", output); /* shorter than log_path */
    const char *slash = strrchr(output, '/');
    snprintf(t->folder, sizeof t->folder, "%.*s", slash ? (int)(slash - output) + 1 : 1, slash ? output : ".");
    t->options.params.scratch = t->folder;
    if (n >= (int)sizeof t->checkpoint || m >= (int)sizeof t->log_path - 1) {
        return error_file(error, JUDGEQ_ERROR_ARGUMENT, output, "the path is too long");
    }
    snprintf(t->data_path, sizeof t->data_path, "%s.data.jsonl", output); /* one longer than log_path */
    if (!t->options.sources.output) t->options.sources.output = t->data_path;
    const bool there = access(t->checkpoint, F_OK) == 0;
    if (there && !t->options.resume) {
        return error_file(error, JUDGEQ_ERROR_ARGUMENT, t->checkpoint,
                          "an interrupted run: --resume continues it; or remove the file");
    }
    if (there || !t->options.resume) return JUDGEQ_OK;
    return error_file(error, JUDGEQ_ERROR_ARGUMENT, t->checkpoint, "no such file: there is no run to resume");
}

/* Before hours of work: whether its results can be written. Every file in their folder, in the log's, or the set's. */
static judgeq_status check_outputs(const training *t, judgeq_error *error) {
    const train_options *o = &t->options;
    if (!is_first(t)) return JUDGEQ_OK;
    judgeq_status status = file_check_output(o->output, error);
    if (status == JUDGEQ_OK) status = file_check_output(t->checkpoint, error);
    if (status == JUDGEQ_OK) status = file_check_log(o->log ? o->log : t->log_path, error);
    if (status == JUDGEQ_OK && o->online) status = file_check_output(o->sources.output, error);
    return status;
}

/* The first rank's log says which measurement was the last. When every rank knows, all have looked for a checkpoint,
 * and one may be written. */
static judgeq_status open_log(training *t, judgeq_error *error) {
    const char *log = t->options.log ? t->options.log : t->log_path;
    judgeq_status status = JUDGEQ_OK;
    if (is_first(t)) status = train_log_open(&t->log, log, t->options.resume, t->first_step, error);
    if (status != JUDGEQ_OK) return status;
    double measured = is_first(t) ? (double)t->log.measured : 0;
    status = t->ranks.n > 1 ? ranks_sum(&t->ranks, &measured, 1, error) : JUDGEQ_OK;
    t->measured = (int64_t)measured;
    return status;
}

/* The first checkpoint comes before the first example: from there on, the run can be resumed. */
static judgeq_status open_online(training *t, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (!t->options.resume) status = judgeq_trainer_save(t->trainer, t->checkpoint, error);
    return status == JUDGEQ_OK ? train_online_open(&t->online, t->trainer, error) : status;
}

static judgeq_status prepare(training *t, judgeq_error *error) {
    train_options *o = &t->options;
    const char *model = NULL;
    size_t n_bytes = 0;
    judgeq_status status = find_model(o->model, t->default_model, sizeof t->default_model, &model, error);
    if (status == JUDGEQ_OK) status = set_paths(t, error);
    if (status == JUDGEQ_OK) status = check_outputs(t, error);
    if (status == JUDGEQ_OK) status = judgeq_model_load(model, &t->model, error);
    if (status == JUDGEQ_OK) {
        find_model_notes(t->model, model, say_notes(o->quiet));
        status = judgeq_model_expand(t->model, o->cache_bytes, o->params.n_threads, &n_bytes, error);
    }
    if (status == JUDGEQ_OK) status = load_set(t, error);
    interrupt_catch(); /* before, a signal ends the program: there is nothing to keep */
    if (status == JUDGEQ_OK) status = load_start(t, error);
    o->params.progress = report;
    o->params.progress_data = t;
    o->params.notice = note;
    o->params.notice_data = t;
    o->params.n_ranks = t->ranks.n;
    o->params.rank = t->ranks.rank;
    o->params.sum = ranks_sum;
    o->params.sum_data = &t->ranks;
    if (status == JUDGEQ_OK) status = judgeq_trainer_new(t->model, t->set, &o->params, &t->trainer, error);
    if (status == JUDGEQ_OK && o->resume) status = judgeq_trainer_restore(t->trainer, t->checkpoint, error);
    if (status == JUDGEQ_OK && o->online) status = open_online(t, error);
    if (status != JUDGEQ_OK) return status;
    t->first_step = judgeq_trainer_steps_done(t->trainer);
    return open_log(t, error);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static judgeq_status log_failed(const training *t, judgeq_error *error) {
    return error_file(error, JUDGEQ_ERROR_IO, t->log.path, strerror(errno));
}

static judgeq_status measure(training *t, judgeq_error *error) {
    t->measuring = true;
    const judgeq_status status = judgeq_trainer_measure(t->trainer, &t->measures, error);
    t->measuring = false;
    if (status != JUDGEQ_OK) return status;
    t->measured = judgeq_trainer_steps_done(t->trainer);
    show_measures(t);
    if (!is_first(t) || train_log_measures(&t->log, judgeq_trainer_steps_done(t->trainer), &t->measures))
        return JUDGEQ_OK;
    return log_failed(t, error);
}

/* True where the steps done want a measurement that the log has not. At the end, the judge file wants one in any case.
 */
static bool measure_due(const training *t) {
    const int64_t step = judgeq_trainer_steps_done(t->trainer), n_steps = judgeq_trainer_steps(t->trainer);
    const int32_t n_epochs = t->options.params.n_epochs;
    const int64_t epoch = n_epochs > 0 ? n_steps / n_epochs : 0; /* 0: fewer steps than epochs */
    const int64_t every = t->options.measure_every > 0 ? t->options.measure_every : epoch > 0 ? epoch : 1;
    if (step == n_steps || t->dry) return t->measured != step || t->measures.n_examples == 0;
    return step % every == 0 && t->measured != step;
}

static judgeq_status save(training *t, judgeq_error *error) {
    t->last_checkpoint = clock_seconds();
    return judgeq_trainer_save(t->trainer, t->checkpoint, error);
}

static judgeq_status run_steps(training *t, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    t->last_checkpoint = clock_seconds();
    while (status == JUDGEQ_OK) {
        if (t->options.online) status = train_online_feed(&t->online, &t->dry, error);
        if (status == JUDGEQ_OK && measure_due(t)) status = measure(t, error);
        if (status != JUDGEQ_OK || t->dry || judgeq_trainer_steps_done(t->trainer) == judgeq_trainer_steps(t->trainer))
            break;
        if (is_first(t) && clock_seconds() - t->last_checkpoint >= t->options.checkpoint_every) status = save(t, error);
        if (status == JUDGEQ_OK) status = judgeq_trainer_step(t->trainer, &t->last, error);
        if (status == JUDGEQ_OK && is_first(t) && !train_log_step(&t->log, &t->last)) status = log_failed(t, error);
    }
    wipe_bar(t);
    return status;
}

/* A judge that was only measured is still what it was. */
static judgeq_status keep_history(const judgeq_judge *start, judgeq_judge **judge, judgeq_error *error) {
    const judgeq_judge_info *was = judgeq_judge_get_info(start);
    judgeq_judge_info info = *judgeq_judge_get_info(*judge);
    judgeq_judge *same = NULL;
    info.origin = was->origin;
    info.choices = was->choices;
    info.loss = was->loss;
    info.data_hash = was->data_hash;
    info.steps = was->steps;
    if (isnan(info.heldout_loss)) {
        info.heldout_loss = was->heldout_loss;
        info.heldout_hit_rate = was->heldout_hit_rate;
    }
    if (info.n_layer_share == 0) {
        info.layer_share = was->layer_share;
        info.n_layer_share = was->n_layer_share;
    }
    const judgeq_status status = judgeq_judge_new(judgeq_judge_soft_tokens(*judge), &info, &same, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_judge_free(*judge);
    *judge = same;
    return JUDGEQ_OK;
}

static judgeq_status write_judge(training *t, judgeq_error *error) {
    const judgeq_trainer_params *p = &t->options.params;
    char origin[200];
    char passes[64];
    snprintf(passes, sizeof passes, "%d epochs", p->n_epochs);
    if (t->options.online) snprintf(passes, sizeof passes, "online, %d steps an example", p->n_replay);
    snprintf(origin, sizeof origin, "trained by judgeq %s: %s%s, %s, rate %g, %d examples a step, seed %llu",
             judgeq_version(), p->deep ? "deep, " : "", p->loss == JUDGEQ_LOSS_MSE ? "mse" : "kl", passes, p->rate,
             p->n_accumulate, (unsigned long long)p->seed);
    judgeq_judge *judge = NULL;
    judgeq_status status = judgeq_trainer_judge(t->trainer, origin, &judge, error);
    if (status == JUDGEQ_OK && t->start && judgeq_trainer_steps(t->trainer) == 0) {
        status = keep_history(t->start, &judge, error);
    }
    if (status == JUDGEQ_OK) status = judgeq_judge_save(judge, t->options.output, error);
    judgeq_judge_free(judge);
    if (status != JUDGEQ_OK) return status;
    unlink(t->checkpoint); /* there may be none */
    if (!t->options.quiet) say("wrote %s", t->options.output);
    return JUDGEQ_OK;
}

/* Keeps what was done before an interruption, on every rank, since the first may be the one that is gone; a failure of
 * the disk keeps the last checkpoint. */
static judgeq_status keep(training *t, judgeq_error *error) {
    judgeq_error own = {0};
    const judgeq_status status = save(t, &own);
    if (status != JUDGEQ_OK) {
        *error = own;
        return status;
    }
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted after step %lld of %lld; --resume continues",
                     (long long)judgeq_trainer_steps_done(t->trainer), (long long)judgeq_trainer_steps(t->trainer));
}

/* The judge is written: a picture that cannot be drawn is worth a note, not a failure. */
static void draw_curves(const training *t) {
    judgeq_error error = {0};
    const judgeq_status status = train_curves_draw(t->log.path, t->picture, &error);
    if (t->options.quiet) return;
    if (status == JUDGEQ_OK)
        say("drew %s", t->picture);
    else
        say("no picture of the curves: %s", error.message);
}

static void show_sources(const training *t) {
    data_maker_summarise(&t->online.maker);
    if (!t->dry) return;
    say("the sources ended before the %d examples of -n: after step %lld of %lld, at rate %g",
        t->options.sources.n_examples, (long long)judgeq_trainer_steps_done(t->trainer),
        (long long)judgeq_trainer_steps(t->trainer), t->last.rate);
}

static judgeq_status train(training *t, judgeq_error *error) {
    train_options *o = &t->options;
    o->quiet = o->quiet || !is_first(t);
    o->params.n_threads = ranks_threads(&t->ranks, o->params.n_threads, o->quiet);
    o->sources.n_threads = o->params.n_threads;
    o->sources.quiet = o->quiet;
    judgeq_status status = prepare(t, error);
    if (status != JUDGEQ_OK) return status;
    progress_begin(&t->progress, 0, t->options.quiet);
    status = run_steps(t, error);
    if (status == JUDGEQ_OK && t->options.online && !t->options.quiet) show_sources(t);
    if (status == JUDGEQ_ERROR_CANCELLED) status = keep(t, error);
    if (status == JUDGEQ_OK && is_first(t)) status = write_judge(t, error);
    if (!train_log_close(&t->log) && status == JUDGEQ_OK) status = log_failed(t, error);
    if (status == JUDGEQ_OK && is_first(t)) draw_curves(t);
    return status;
}

static void training_free(training *t) {
    train_log_close(&t->log);
    judgeq_trainer_free(t->trainer);
    judgeq_free(t->start_tokens);
    judgeq_judge_free(t->start);
    judgeq_error ignored; /* the lines were flushed one by one */
    if (t->options.online) {
        train_online_end(&t->online, &ignored);
    } else {
        judgeq_training_set_free(t->set);
    }
    judgeq_model_free(t->model);
    free(t);
}

static int run(training *t) {
    judgeq_error error = {0};
    judgeq_status status = ranks_begin(&t->ranks, &error);
    if (status == JUDGEQ_OK) status = train(t, &error);
    char rank[32] = "";
    if (t->ranks.n > 1) snprintf(rank, sizeof rank, "rank %d: ", t->ranks.rank);
    if (status != JUDGEQ_OK) say("%s%s", rank, error.message);
    const int end = exit_status(status);
    ranks_end(&t->ranks, end);
    return end;
}

int cmd_train(int argc, char **argv) {
    training *t = calloc(1, sizeof *t);
    if (!t) {
        say("no memory");
        return 1;
    }
    int status = train_options_read(argc, argv, &t->options);
    if (status == 0 && t->options.help) {
        printf("%s%s%s%s", HELP_RUN, HELP_STEPS, HELP_ONLINE, HELP_RANKS);
    } else if (status == 0) {
        status = run(t);
    }
    training_free(t);
    return status;
}
