/* policy: the presets, the canonical text of a policy, and what the other parts ask of one. */
#include "policy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Texts are canonical: parsing one and printing it gives the same text (tests/test_policy.c). Where ours deviates from
 * the paper, docs/policies says so, a page per preset. */
static const judgeq_preset PRESETS[] = {
    {"full", "full", "no eviction", "keeps every row: the reference that the others are measured against"},
    {"random", "probe=random,reduce=mean/mean,smooth=none,allocate=uniform,keep=none", "baseline",
     "keeps rows drawn at random (seeded): the floor that a method must beat"},
    {"streaming", "probe=none,reduce=mean/mean,smooth=none,allocate=uniform,keep=sink:4+recent:100%",
     "Xiao et al., StreamingLLM, ICLR 2024, arXiv 2309.17453", "keeps the first 4 rows and the latest ones"},
    {"h2o", "probe=all,reduce=mean/mean,smooth=none,allocate=uniform,keep=recent:50%",
     "Zhang et al., H2O, NeurIPS 2023, arXiv 2306.14048",
     "keeps the rows that the whole prompt attended to most, and the latest ones, half and half"},
    {"tova", "probe=last,reduce=mean/mean,smooth=none,allocate=uniform,keep=none",
     "Oren et al., TOVA, EMNLP 2024, arXiv 2401.06104", "keeps the rows that the last prompt token attends to most"},
    {"snapkv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:32",
     "Li et al., SnapKV, NeurIPS 2024, arXiv 2404.14469",
     "keeps the rows that the last 32 prompt tokens attend to most, with their neighbours"},
    {"pyramidkv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=pyramid:20,keep=recent:32",
     "Cai et al., PyramidKV, COLM 2025, arXiv 2406.02069",
     "snapkv with more rows in the first layers than in the last"},
    {"adakv", "probe=window:32,reduce=mean/mean,smooth=max:7,allocate=ada:0.2,keep=recent:32",
     "Feng et al., Ada-KV, NeurIPS 2025, arXiv 2407.11550",
     "snapkv with more rows for the KV heads whose attention is spread wider"},
    {"laq", "probe=lookahead:8@snapkv,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:8",
     "Wang et al., Lookahead Q-Cache, EMNLP 2025, arXiv 2505.20334",
     "decodes 8 pseudo tokens from snapkv's cache and scores the full cache with their queries"},
    {"laq++", "probe=window:8+lookahead:8@snapkv,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:8",
     "Wang et al., Lookahead Q-Cache, EMNLP 2025, arXiv 2505.20334", "laq together with the last 8 prompt tokens"},
    {"judge-paper", "probe=soft,reduce=mean/mean,smooth=none,allocate=uniform,keep=none",
     "Liu et al., Judge Q, AAAI 2026, arXiv 2509.10798",
     "keeps the rows that a judge's trained soft tokens attend to most, as the paper does"},
    {"judge", "probe=soft,reduce=max/max,smooth=avg:7,allocate=judge:0.2,keep=recent:8",
     "Judge Q (arXiv 2509.10798) with Ada-KV's allocation (arXiv 2407.11550)",
     "keeps the rows that its soft tokens attend to most, with their neighbours, and more for KV heads whose attention "
     "is spread wider"},
    {"judge-later", "probe=soft,reduce=judge,smooth=judge,allocate=judge:0.2,keep=recent:8,remember=0.8",
     "Judge Q (arXiv 2509.10798) with Ada-KV's allocation (arXiv 2407.11550) and G-KV's memory (arXiv 2512.00504)",
     "judge for questions that come later: rows are scored as the judge's file says, and earlier choices count"},
    {"judge-laq", "probe=soft+lookahead:24@judge:4x,reduce=max/max,smooth=avg:7,allocate=ada:0.2,keep=recent:8",
     "judgeq's own: Judge Q, LAQ and Ada-KV together",
     "judge keeps 4 x budget candidates, 24 tokens decoded from them choose among these"},
    {"kvzip", "probe=again,reduce=max/max,smooth=none,allocate=ada:0,keep=sink:4",
     "Kim et al., KVzip, NeurIPS 2025, arXiv 2505.23416",
     "reads the prompt a second time, as if to repeat it, and keeps the rows that this attends to most"},
    {"oracle", "probe=response:64,reduce=mean/mean,smooth=none,allocate=uniform,keep=none",
     "upper bound: the training target of Judge Q (arXiv 2509.10798)",
     "keeps the rows that the full cache's own response attends to most"},
};

const judgeq_preset *judgeq_preset_at(size_t index) {
    return index < sizeof PRESETS / sizeof PRESETS[0] ? &PRESETS[index] : NULL;
}

void judgeq_policy_free(judgeq_policy *policy) {
    free(policy);
}

const char *judgeq_policy_text(const judgeq_policy *policy) {
    return policy->text;
}

bool judgeq_policy_needs_full_cache(const judgeq_policy *policy) {
    return policy->probe.response > 0 || (policy->probe.lookahead > 0 && policy->probe.among == 0);
}

bool policy_ranks_without_scores(const judgeq_policy *policy) {
    const policy_probe *probe = &policy->probe;
    return !probe->all && !probe->window && !probe->soft && !probe->response && !probe->lookahead && !probe->again;
}

void policy_keep_rows(const judgeq_policy *policy, int32_t budget, int32_t *sink, int32_t *recent) {
    const int64_t rows =
        policy->keep_recent_percent ? (int64_t)budget * policy->keep_recent / 100 : policy->keep_recent;
    *sink = policy->keep_sink < budget ? policy->keep_sink : budget;
    const int32_t left = budget - *sink;
    *recent = rows < left ? (int32_t)rows : left;
}

/* ---- canonical text ---------------------------------------------------------------------------------------------- */

typedef struct writer {
    char *at;
    size_t room;
} writer;

__attribute__((format(printf, 2, 3))) static void write_text(writer *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(out->at, out->room, format, arguments);
    va_end(arguments);
    size_t written = n < 0 ? 0 : (size_t)n < out->room ? (size_t)n : out->room - 1;
    out->at += written;
    out->room -= written;
}

/* "0.2", "20": written from integers, because printf's decimal point depends on the locale. */
static void write_fraction(writer *out, float value) {
    long parts = lroundf(value * POLICY_FRACTION_PARTS);
    write_text(out, "%ld", parts / POLICY_FRACTION_PARTS);
    long rest = parts % POLICY_FRACTION_PARTS;
    for (long unit = POLICY_FRACTION_PARTS / 10; rest > 0; unit /= 10) {
        write_text(out, "%s%ld", unit == POLICY_FRACTION_PARTS / 10 ? "." : "", rest / unit);
        rest %= unit;
    }
}

static void write_probe(writer *out, const judgeq_policy *policy) {
    const policy_probe *probe = &policy->probe;
    const char *join = "";
    write_text(out, "probe=");
    if (policy_ranks_without_scores(policy)) {
        write_text(out, policy->random ? "random" : "none");
        return;
    }
    if (probe->again) { /* nothing is joined to it */
        write_text(out, "again");
        if (probe->again != POLICY_AGAIN_DEFAULT) write_text(out, ":%d", probe->again);
        return;
    }
    if (probe->all) {
        write_text(out, "all");
        join = "+";
    }
    if (probe->window) {
        if (probe->window == 1)
            write_text(out, "%slast", join);
        else
            write_text(out, "%swindow:%d", join, probe->window);
        join = "+";
    }
    if (probe->soft) {
        write_text(out, "%ssoft", join);
        if (probe->n_soft) write_text(out, ":%d", probe->n_soft);
        join = "+";
    }
    if (probe->response) {
        write_text(out, "%sresponse:%d", join, probe->response);
        join = "+";
    }
    if (probe->lookahead) { /* last, because a preset's name may hold a + */
        write_text(out, "%slookahead:%d@%s", join, probe->lookahead, probe->first->name);
        if (probe->among) write_text(out, ":%dx", probe->among);
    }
}

static void write_allocate(writer *out, const judgeq_policy *policy) {
    static const char *const names[] = {"uniform", "pyramid:", "ada:"};
    write_text(out, ",allocate=%s", policy->layers_by_judge ? "judge:" : names[policy->allocate]);
    if (policy->allocate == POLICY_PYRAMID) write_fraction(out, policy->pyramid_ratio);
    if (policy->allocate == POLICY_ADA) write_fraction(out, policy->ada_floor);
}

static void write_keep(writer *out, const judgeq_policy *policy) {
    write_text(out, ",keep=");
    const char *join = "";
    if (!policy->keep_sink && !policy->keep_recent && !policy->keep_turn) write_text(out, "none");
    if (policy->keep_sink) {
        write_text(out, "sink:%d", policy->keep_sink);
        join = "+";
    }
    if (policy->keep_recent) {
        write_text(out, "%srecent:%d%s", join, policy->keep_recent, policy->keep_recent_percent ? "%" : "");
        join = "+";
    }
    if (policy->keep_turn) write_text(out, "%sturn:%d%%", join, policy->keep_turn);
}

void policy_write_text(judgeq_policy *policy) {
    static const char *const reduce[] = {"mean", "max"};
    writer out = {policy->text, sizeof policy->text};
    if (policy->keep_all) {
        write_text(&out, "full");
        return;
    }
    write_probe(&out, policy);
    if (policy->reduce_by_judge)
        write_text(&out, ",reduce=judge");
    else
        write_text(&out, ",reduce=%s/%s", reduce[policy->reduce_rows], reduce[policy->reduce_heads]);
    if (policy->smooth_by_judge)
        write_text(&out, ",smooth=judge");
    else if (policy->smooth == POLICY_SMOOTH_NONE)
        write_text(&out, ",smooth=none");
    else
        write_text(&out, ",smooth=%s:%d", policy->smooth == POLICY_SMOOTH_MAX ? "max" : "avg", policy->smooth_width);
    write_allocate(&out, policy);
    write_keep(&out, policy);
    if (policy->remember > 0) {
        write_text(&out, ",remember=");
        write_fraction(&out, policy->remember);
    }
}
