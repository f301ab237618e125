#include "fallback.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* A judge of 220 examples for 0.49e9 weights took 68 minutes on one busy core (docs/training.md). */
static const double MINUTES_PER_WEIGHT = 68 / 0.49e9;

judgeq_status fallback_take(const char *text, char **taken, judgeq_policy **policy, judgeq_error *error) {
    if (asprintf(taken, "%s%s", FALLBACK_POLICY, text + strcspn(text, ",")) < 0) {
        *taken = NULL;
        return error_memory(error, "a policy");
    }
    judgeq_policy_free(*policy);
    *policy = NULL;
    return judgeq_policy_parse(*taken, policy, error);
}

static double count_weights(const judgeq_model_info *info) {
    const double n_query = (double)info->n_head * info->head_dim, n_kv = (double)info->n_head_kv * info->head_dim;
    const double layer = info->n_embd * (2 * n_query + 2 * n_kv + 3.0 * info->n_ff);
    return info->n_layer * layer + (double)info->n_vocab * info->n_embd;
}

/* "20 minutes", "17 hours" */
static void write_time(char *text, size_t size, double minutes) {
    if (minutes < 90) {
        snprintf(text, size, "%.0f minutes", 5 * ceil(minutes / 5));
    } else {
        snprintf(text, size, "%.0f hours", ceil(minutes / 60));
    }
}

/* As a shell reads it back: in quotes where it must be. The caller's; NULL without memory. */
static char *quote(const char *path) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%";
    if (*path && strspn(path, plain) == strlen(path)) return strdup(path);
    char *text = malloc(4 * strlen(path) + 3), *to = text;
    if (!text) return NULL;
    *to++ = '\'';
    for (; *path; path++) {
        if (*path == '\'') to = stpcpy(to, "'\\'");
        *to++ = *path;
    }
    memcpy(to, "'", sizeof "'");
    return text;
}

void fallback_note(const judgeq_model *model, const char *model_path, const char *judge_path, notes note) {
    static const char documentation[] = "/usr/share/doc";
    const char *folder = access(documentation, R_OK) == 0 ? documentation : ".";
    char *from = quote(model_path), *to = quote(judge_path), time[32];
    write_time(time, sizeof time, MINUTES_PER_WEIGHT * count_weights(judgeq_model_get_info(model)));
    if (from && to) {
        notes_add(
            note,
            "note: this model has no judge, so " FALLBACK_POLICY " decides what is kept; a judge answers more. This "
            "trains one in about %s on one core, best with texts like yours in place of %s: judgeq train --online "
            "-n 220 --min 300 --max 1000 --retrieval 0.85 --tokens 64 --deep --lr 1e-2 -m %s -o %s %s",
            time, folder, from, to, folder);
    }
    free(from);
    free(to);
}
