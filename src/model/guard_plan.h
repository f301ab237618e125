/* guard_plan: libllama-common's chats with tools, as C functions: what to send a model, how its answer is constrained
 * and how it is read. Nothing that C++ throws gets out. All JSON is bounded by the caller (json_bound). */
#ifndef JUDGEQ_SRC_GUARD_PLAN_H
#define JUDGEQ_SRC_GUARD_PLAN_H

#include "llama.h"

#include "judgeq.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct guard_plan guard_plan;

typedef struct guard_plan_input {
    const struct llama_model *vocabulary;
    const char *template_text;
    const char *template_tools; /* another one, for messages with tools; or NULL */
    const char *messages, *tools, *json_schema, *grammar, *variables; /* JSON, and GBNF; NULL: none, but messages */
    const char *tool_choice;                                          /* "auto", "none", "required" */
    judgeq_think think;
    bool parallel, closed;
    int64_t now;
} guard_plan_input;

typedef struct guard_plan_view {
    const char *prompt;
    size_t prompt_length;
    judgeq_grammar grammar; /* text: NULL where any text is good */
    const int32_t *preserved;
    size_t n_preserved;
    const char *const *stops;
    size_t n_stops;
    const char *format;
    bool thinks, calls;
} guard_plan_view;

/* ARGUMENT for messages, tools or a schema that are none; UNSUPPORTED for what the template refuses. */
judgeq_status guard_plan_new(const guard_plan_input *input, guard_plan **out, judgeq_error *error);
void guard_plan_free(guard_plan *plan);
/* Valid as long as the plan. */
const guard_plan_view *guard_plan_get_view(const guard_plan *plan);

/* *out: guard_reply_free. */
judgeq_status guard_plan_parse(const guard_plan *plan, const char *text, size_t length, bool partial, const char *ids,
                               judgeq_reply **out, judgeq_error *error);
void guard_reply_free(judgeq_reply *reply);
/* before: or NULL. *out: free(). */
judgeq_status guard_reply_deltas(const judgeq_reply *before, const judgeq_reply *after, judgeq_reply_delta **out,
                                 size_t *n, judgeq_error *error);

#ifdef __cplusplus
}
#endif

#endif
