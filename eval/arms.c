#include "arms.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Cuts `list` at `separator`, without the spaces around the parts. *n parts, each and the array the caller's. */
static char **split(const char *list, char separator, size_t *n) {
    char **part = calloc(strlen(list) + 1, sizeof(char *));
    *n = 0;
    for (const char *at = list; part;) {
        at += strspn(at, " ");
        const char *end = strchrnul(at, separator);
        size_t length = (size_t)(end - at);
        while (length > 0 && at[length - 1] == ' ') length--;
        part[*n] = strndup(at, length);
        if (!part[*n]) break;
        ++*n;
        if (!*end) return part;
        at = end + 1;
    }
    for (size_t i = 0; part && i < *n; i++) free(part[i]);
    free((void *)part);
    return NULL;
}

/* Whether this @ is part of a probe, as in "lookahead:8@snapkv", and not what a KV type follows. */
static bool is_of_lookahead(const char *text, const char *at) {
    const char *choice = memrchr(text, ',', (size_t)(at - text));
    const char *probe = strstr(choice ? choice : text, "lookahead:");
    return probe && probe < at;
}

/* Where in "POLICY@TYPE" the @ stands, or the end of "POLICY"; *kv_type stays then. NULL: what follows is no type. */
static const char *find_kv_type(const char *text, judgeq_kv_type *kv_type) {
    const char *at = strrchr(text, '@'), *name;
    if (!at) return text + strlen(text);
    for (int type = 0; (name = judgeq_kv_type_name((judgeq_kv_type)type)); type++) {
        if (strcmp(name, at + 1) != 0) continue;
        *kv_type = (judgeq_kv_type)type;
        return at;
    }
    return is_of_lookahead(text, at) ? text + strlen(text) : NULL;
}

static judgeq_status parse_policy(const char *text, judgeq_policy **parsed, judgeq_kv_type *kv_type,
                                  judgeq_error *error) {
    const char *end = find_kv_type(text, kv_type);
    if (!end) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy \"%s\": expected a KV type after the @: f16, f32, q8_0 or q4_0", text);
    }
    char *policy = strndup(text, (size_t)(end - text));
    if (!policy) return error_memory(error, "policies");
    const judgeq_status status = judgeq_policy_parse(policy, parsed, error);
    free(policy);
    return status;
}

static bool same_arm(const arms *a, size_t i, size_t k) {
    return a->kv_type[i] == a->kv_type[k] &&
           strcmp(judgeq_policy_text(a->parsed[i]), judgeq_policy_text(a->parsed[k])) == 0;
}

/* The policy with the choices after it and before its KV type; NULL without memory. */
static char *with_choices(const char *policy, const char *choices) {
    judgeq_kv_type any;
    const char *end = find_kv_type(policy, &any);
    const int n = (int)(end ? (size_t)(end - policy) : strlen(policy));
    const bool full = n == 4 && strncmp(policy, "full", 4) == 0;
    char *text;
    return asprintf(&text, "%.*s%s%s", n, policy, full ? "" : choices, policy + n) >= 0 ? text : NULL;
}

static judgeq_status parse_policies(arms *a, const char *list, const char *choices, judgeq_kv_type kv_type,
                                    judgeq_error *error) {
    const char separator = strchr(list, ';') || strchr(list, '=') ? ';' : ',';
    a->policy = split(list, separator, &a->n_policy);
    a->parsed = a->policy ? calloc(a->n_policy, sizeof(judgeq_policy *)) : NULL;
    a->kv_type = a->policy ? calloc(a->n_policy, sizeof *a->kv_type) : NULL;
    if (!a->parsed || !a->kv_type) return error_memory(error, "policies");
    judgeq_status status = JUDGEQ_OK;
    size_t n = 0; /* without the full cache, which is there in any case */
    for (size_t i = 0; i < a->n_policy; i++) {
        char *policy = a->policy[i];
        if (status != JUDGEQ_OK || strcmp(policy, "full") == 0) {
            free(policy);
            continue;
        }
        a->policy[n] = with_choices(policy, choices);
        a->kv_type[n] = kv_type;
        free(policy);
        policy = a->policy[n];
        status = policy ? parse_policy(policy, &a->parsed[n], &a->kv_type[n], error) : error_memory(error, "policies");
        for (size_t k = 0; status == JUDGEQ_OK && k < n; k++) {
            if (same_arm(a, k, n)) {
                status = error_set(error, JUDGEQ_ERROR_ARGUMENT, "policies \"%s\" and \"%s\" are the same",
                                   a->policy[k], policy);
            }
        }
        n++;
    }
    a->n_policy = n;
    return status;
}

static judgeq_status parse_budget(const char *budget, arm *out, judgeq_error *error) {
    char *end;
    const double value = strtod(budget, &end);
    const bool digits = *budget && strspn(budget, "0123456789.%") == strlen(budget);
    if (digits && *end == '\0' && value >= 1 && value <= INT32_MAX && value == floor(value)) {
        out->rows = (int32_t)value;
        return JUDGEQ_OK;
    }
    if (digits && strcmp(end, "%") == 0 && value > 0 && value <= 100) {
        out->share = value / 100;
        return JUDGEQ_OK;
    }
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "budget \"%s\": expected rows per layer and KV head, 1 or more, or a share of the prompt such as "
                     "5%%",
                     budget);
}

static bool keeps_all(const judgeq_policy *policy) {
    return strcmp(judgeq_policy_text(policy), "full") == 0;
}

static judgeq_status make_arms(arms *a, judgeq_kv_type kv_type, judgeq_error *error) {
    a->arm = calloc(1 + a->n_policy * a->n_budget, sizeof *a->arm);
    if (!a->arm) return error_memory(error, "policies and budgets");
    a->arm[0] = (arm){.policy = "full", .kv_type = kv_type};
    a->n_arm = 1;
    judgeq_status status = JUDGEQ_OK;
    for (size_t p = 0; p < a->n_policy; p++) {
        const bool all = keeps_all(a->parsed[p]);
        for (size_t b = 0; status == JUDGEQ_OK && b < (all ? 1 : a->n_budget); b++) {
            arm *next = &a->arm[a->n_arm++];
            *next = (arm){.policy = a->policy[p], .kv_type = a->kv_type[p]};
            if (all) continue;
            next->parsed = a->parsed[p];
            next->budget = a->budget[b];
            status = parse_budget(a->budget[b], next, error);
        }
    }
    return status;
}

judgeq_status arms_parse(const char *policies, const char *choices, const char *budgets, judgeq_kv_type kv_type,
                         arms *out, judgeq_error *error) {
    *out = (arms){0};
    judgeq_status status = parse_policies(out, policies, choices, kv_type, error);
    if (status == JUDGEQ_OK) {
        out->budget = split(budgets, ',', &out->n_budget);
        status = out->budget ? make_arms(out, kv_type, error) : error_memory(error, "budgets");
    }
    if (status != JUDGEQ_OK) arms_free(out);
    return status;
}

void arms_free(arms *a) {
    for (size_t i = 0; i < a->n_policy; i++) {
        free(a->policy[i]);
        if (a->parsed) judgeq_policy_free(a->parsed[i]);
    }
    for (size_t i = 0; i < a->n_budget; i++) free(a->budget[i]);
    free((void *)a->policy);
    free((void *)a->parsed);
    free(a->kv_type);
    free((void *)a->budget);
    free(a->arm);
    *a = (arms){0};
}

int32_t arm_rows(const arm *a, int32_t n_prompt) {
    if (!a->parsed) return n_prompt;
    /* as the library counts a share: its float of a tenth is a little more than a tenth, and must not cost a row */
    const int32_t share = (int32_t)ceil((double)(float)a->share * n_prompt - 1e-3);
    const int32_t rows = a->rows > 0 ? a->rows : share > 1 ? share : 1;
    return rows < n_prompt ? rows : n_prompt;
}

bool arm_is_full(const arms *a, size_t index, int32_t n_prompt) {
    return arm_rows(&a->arm[index], n_prompt) >= n_prompt && a->arm[index].kv_type == a->arm[0].kv_type;
}

const char *arm_policy_text(const arm *a) {
    return a->parsed ? judgeq_policy_text(a->parsed) : "full";
}
