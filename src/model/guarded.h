/* guarded: what the C++ files of this folder share: calls whose exceptions stop at guard_call, and JSON schemas. */
#ifndef JUDGEQ_SRC_GUARDED_H
#define JUDGEQ_SRC_GUARDED_H

#include <string>

#include "common/json-schema-to-grammar.h"
#include "jinja/parser.h"

#include "guard.h"

extern "C" {
#include "base/stack.h"
}

/* Runs C++ within guard_call. */
template <typename Call> judgeq_status guarded(judgeq_error *error, const char *what, Call call) {
    return guard_call([](void *data) { (*static_cast<Call *>(data))(); }, &call, what, error);
}

/* The same on a stack of `size` bytes. It is another thread, which has to guard itself. */
template <typename Call> judgeq_status guarded_on_stack(judgeq_error *error, const char *what, size_t size, Call call) {
    judgeq_status status = JUDGEQ_OK;
    auto job = [&] { status = guarded(error, what, call); };
    const judgeq_status started = stack_call(
        size, [](void *data) { (*static_cast<decltype(job) *>(data))(); }, &job, error);
    return started != JUDGEQ_OK ? started : status;
}

/* The text of a token, control tokens too. */
std::string guard_text_of(const llama_vocab *vocab, llama_token token);

/* Throws, and names the pattern, where a schema has one that no grammar can stand for. */
void guard_schema_check(const common_json &schema);

/* Throws where a template would overflow the stack when it is parsed. */
void guard_template_check(const std::string &source);
/* Makes the engine do as jinja2 does where it would differ without a word, and bounds recursion and range(). */
void guard_template_mend(jinja::program &program);
/* The stack of a rendering begins here: macros are bounded from here on. */
void guard_template_begin(const void *here);
/* What a person needs of an error of the engine. */
std::string guard_template_error(const std::string &thrown);

#endif
