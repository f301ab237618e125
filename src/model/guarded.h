/* guarded: what the C++ files of this folder share: calls whose exceptions stop at guard_call, and JSON schemas. */
#ifndef JUDGEQ_SRC_GUARDED_H
#define JUDGEQ_SRC_GUARDED_H

#include <mutex>
#include <new>
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

/* Notes that memory ran out. The engine swallows exceptions in places, and would go on with a text that lacks a part.
 */
class guard_memory_watch {
  public:
    guard_memory_watch() {
        const std::lock_guard<std::mutex> lock(mutex);
        ran_out = false;
        if (watches++ == 0) before = std::set_new_handler(note);
    }
    ~guard_memory_watch() {
        const std::lock_guard<std::mutex> lock(mutex);
        if (--watches == 0) std::set_new_handler(before);
    }
    bool seen() const {
        return ran_out;
    }

  private:
    [[noreturn]] static void note() {
        ran_out = true;
        throw std::bad_alloc();
    }
    static inline std::mutex mutex;
    static inline int watches = 0; /* of all threads */
    static inline std::new_handler before = nullptr;
    static inline thread_local bool ran_out = false;
};

/* A template, compiled such that the engine does as jinja2 does where it would differ without a word, and that no
 * recursion and no range() of it ends the process. Throws what is wrong with it. */
jinja::program guard_template_compile(const std::string &source);
/* The stack of a rendering begins here: how deep macros may call each other counts from here on. */
void guard_template_begin(const void *here);
/* Whether macros of this thread were stopped since the last question. */
bool guard_template_overflowed();
/* What a person needs of an error of the engine. */
std::string guard_template_error(const std::string &thrown);

#endif
