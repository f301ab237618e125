#include "guard.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"

#include "guarded.h"

extern "C" {
#include "base/error.h"
}

#include "ggml.h"

/* ---- ggml's aborts ----------------------------------------------------------------------------------------------- */

/* Guarded calls that this thread is in: others' aborts are theirs. */
static thread_local int depth;

/* What ggml would have ended the process for. */
struct aborted : std::exception {
    explicit aborted(const char *message) : memory(errno == ENOMEM) {
        snprintf(text, sizeof text, "%s", message);
    }
    const char *what() const noexcept override {
        return text;
    }
    bool memory; /* an allocation had failed before */
    char text[200];
};

static ggml_abort_callback_t callback_before;

static void on_abort(const char *message) {
    if (depth > 0) throw aborted(message);
    if (callback_before) {
        callback_before(message);
    } else {
        fprintf(stderr, "%s\n", message); /* as ggml does, which then ends the process */
    }
}

static void catch_aborts() {
    static const bool caught = (callback_before = ggml_set_abort_callback(on_abort), true);
    (void)caught;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

struct within {
    within() {
        depth++;
    }
    ~within() {
        depth--;
    }
};

/* Runs calls of ggml and libllama; what they throw or abort on becomes an error that says what was tried. */
template <typename Call> static judgeq_status caught(judgeq_error *error, const char *what, Call call) {
    try {
        catch_aborts();
        within guard;
        errno = 0;
        call();
        return JUDGEQ_OK;
    } catch (const std::bad_alloc &) {
        return error_memory(error, what);
    } catch (const aborted &thrown) {
        if (thrown.memory) return error_memory(error, what);
        return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml failed at %s: %s", what, thrown.text);
    } catch (const std::exception &thrown) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s: %s", what, thrown.what());
    } catch (...) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "libllama failed at %s", what);
    }
}

/* ggml does not check whether it gets some small blocks. Where this larger block can be had, which is freed at once,
 * they can, too. */
static bool room_for_small_blocks() {
    enum { ROOM = 64 << 10 };
    void *volatile room = malloc(ROOM); /* volatile: or the compiler leaves it out */
    free(room);
    return room != nullptr;
}

judgeq_status guard_call(void (*call)(void *data), void *data, const char *what, judgeq_error *error) {
    if (!room_for_small_blocks()) return error_memory(error, what);
    return caught(error, what, [&] { call(data); });
}

judgeq_status guard_load_vocabulary(struct gguf_context *keys, struct llama_model **out, judgeq_error *error) {
    *out = nullptr;
    const judgeq_status status = caught(error, "loading the vocabulary", [&] {
        ggml_backend_dev_t none[] = {nullptr};
        llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        params.devices = none;
        *out = llama_model_init_from_user(keys, nullptr, nullptr, params);
    });
    /* libllama catches what is thrown in there, and only logs it */
    if (status == JUDGEQ_OK && !*out && errno == ENOMEM) return error_memory(error, "loading the vocabulary");
    return status;
}

judgeq_status guard_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, int32_t *ids,
                             int32_t room, bool control, int32_t *n, judgeq_error *error) {
    *n = 0;
    return caught(error, "tokenising a text",
                  [&] { *n = llama_tokenize(vocab, text, length, ids, room, false, control); });
}

/* ---- chat templates ---------------------------------------------------------------------------------------------- */

/* Deep nesting and macros that call themselves would overflow the stack, which nothing can catch. */
enum { NESTED_MOST = 100, EXPRESSION_MOST = 1000, STACK_MOST = 512 << 10, RANGE_MOST = 100000 };

namespace {

/* Where the stack of the rendering at hand begins. */
thread_local std::uintptr_t stack_begin = 0;
thread_local bool overflowed = false;

/* The first statement of every macro. */
struct stack_check : jinja::statement {
    jinja::value execute_impl(jinja::context &) const override {
        const char here = 0;
        const auto at = reinterpret_cast<std::uintptr_t>(&here);
        if (std::max(at, stack_begin) - std::min(at, stack_begin) > STACK_MOST) {
            overflowed = true;
            throw std::runtime_error("macros call each other too deeply");
        }
        return jinja::mk_val<jinja::value_undefined>();
    }
};

/* range() of a sandbox: a list that fits into memory. */
static jinja::value range_within(const jinja::func_args &args) {
    double bound[3] = {0, 0, 1};
    for (size_t i = 0; i < args.count() && i < 3; i++) bound[i] = args.get_pos(i)->as_float();
    if (args.count() == 1) std::swap(bound[0], bound[1]);
    if ((bound[1] - bound[0]) / bound[2] > RANGE_MOST) throw std::runtime_error("range() is too long");
    return jinja::global_builtins().at("range")(args);
}

/* The first statement of a template. */
struct bounded_range : jinja::statement {
    jinja::value execute_impl(jinja::context &context) const override {
        context.set_val("range", jinja::mk_val<jinja::value_func>("range", range_within));
        return jinja::mk_val<jinja::value_undefined>();
    }
};

/* The first statement of every loop: what a round sets is gone in the next one. The engine alone would keep it. */
struct fresh_round : jinja::statement {
    explicit fresh_round(std::set<std::string> &&set) : names(std::move(set)) {}
    jinja::value execute_impl(jinja::context &context) const override {
        const bool first = context.get_val("loop")->at("index0")->as_int() == 0;
        for (const auto &name : names) {
            const std::string kept = " " + name; /* no name of a template's */
            if (first) context.set_val(kept, context.get_val(name));
            if (!first) context.set_val(name, context.get_val(kept));
        }
        return jinja::mk_val<jinja::value_undefined>();
    }
    std::set<std::string> names;
};

/* An expression that is shown. The engine would show nothing for none and for dictionaries, and of lists only what is
 * in them. */
struct shown : jinja::statement {
    explicit shown(jinja::statement_ptr &&expression) : what(std::move(expression)) {}
    jinja::value execute_impl(jinja::context &context) const override {
        jinja::value value = what->execute(context);
        const bool as_written = jinja::is_val<jinja::value_none>(value) || jinja::is_val<jinja::value_array>(value) ||
                                jinja::is_val<jinja::value_object>(value);
        if (as_written) return jinja::mk_val<jinja::value_string>(value->as_repr());
        return value;
    }
    jinja::statement_ptr what;
};

/* How deep the blocks of a template are nested; every elif is a block in the one before it. */
class block_depth {
  public:
    void statement(const std::vector<jinja::token> &tokens, size_t name) {
        static const std::set<std::string> begins = {"if", "for", "macro", "call", "filter"};
        const std::string &word = tokens[name].value;
        if (begins.count(word) || (word == "set" && !assigns(tokens, name))) {
            within.push_back(1);
            depth++;
        } else if (word == "elif" && !within.empty()) {
            within.back()++;
            depth++;
        } else if (word.compare(0, 3, "end") == 0 && word != "endgeneration" && !within.empty()) {
            depth -= within.back();
            within.pop_back();
        }
    }
    size_t depth = 0;

  private:
    static bool assigns(const std::vector<jinja::token> &tokens, size_t at) {
        while (at < tokens.size() && tokens[at].t != jinja::token::close_statement) {
            if (tokens[at++].t == jinja::token::equals) return true;
        }
        return false;
    }
    std::vector<size_t> within;
};

} // namespace

/* Refuses what would overflow the stack or divide by zero, before the parser and the runtime meet it. */
static void check_tokens(const std::vector<jinja::token> &tokens) {
    using kind = jinja::token;
    block_depth blocks;
    size_t brackets = 0, length = 0;
    for (size_t i = 0; i < tokens.size(); i++) {
        const kind::type type = tokens[i].t;
        if (type == kind::open_statement || type == kind::open_expression) length = brackets = 0;
        if (type == kind::open_statement && i + 1 < tokens.size()) blocks.statement(tokens, i + 1);
        brackets += type == kind::open_paren || type == kind::open_square_bracket || type == kind::open_curly_bracket;
        if (++length > EXPRESSION_MOST || brackets > EXPRESSION_MOST || blocks.depth > NESTED_MOST) {
            throw std::runtime_error("it is nested too deeply, or an expression is too long");
        }
        if (type == kind::identifier && tokens[i].value == "divisibleby") {
            throw std::runtime_error("the test \"divisibleby\" is not known");
        }
    }
}

/* The engine loses a text of one character, with the blanks after it, that a template begins with before a block. An
 * empty expression before it prevents that, and blanks that lstrip_blocks takes away are taken away here. */
static std::string mend_beginning(const std::string &source) {
    const size_t first = source.find_first_not_of(" \t\r\n");
    if (first == std::string::npos || source.size() == first + 1) return "{{''}}" + source;
    const bool block = source[first] == '{' && (source[first + 1] == '%' || source[first + 1] == '#');
    if (!block) return "{{''}}" + source;
    const size_t line = source.find_last_of('\n', first);
    if (line == std::string::npos) return source.substr(first);
    return "{{''}}" + source.substr(0, line + 1) + source.substr(first);
}

struct guard_chat {
    jinja::program program;
    std::string source;
};

/* Calls visit(node) for all that is below a statement, and for itself. */
template <typename Visit> static void walk(const jinja::statement *from, Visit visit) {
    jinja::context context;
    context.visitor = [&](bool, const jinja::statement *node, const std::vector<jinja::visitor_pair> &children) {
        visit(const_cast<jinja::statement *>(node)); /* of a program that is ours */
        for (const auto &child : children) {
            for (const auto *statement : child.second) {
                if (statement) statement->visit(context);
            }
        }
    };
    from->visit(context);
}

static void add_names(const jinja::statement *assignee, std::set<std::string> &names) {
    if (const auto *name = dynamic_cast<const jinja::identifier *>(assignee)) names.insert(name->val);
    if (const auto *tuple = dynamic_cast<const jinja::tuple_literal *>(assignee)) {
        for (const auto &each : tuple->val) add_names(each.get(), names);
    }
}

static void mend_loop(jinja::for_statement *loop) {
    std::set<std::string> names;
    for (const auto &statement : loop->body) {
        walk(statement.get(), [&](const jinja::statement *node) {
            if (const auto *set = dynamic_cast<const jinja::set_statement *>(node))
                add_names(set->assignee.get(), names);
        });
    }
    if (!names.empty()) loop->body.insert(loop->body.begin(), std::make_unique<fresh_round>(std::move(names)));
}

static void mend_expressions(jinja::statements &body) {
    for (auto &statement : body) {
        if (!dynamic_cast<jinja::expression *>(statement.get())) continue;
        if (dynamic_cast<jinja::string_literal *>(statement.get())) continue;
        auto mended = std::make_unique<shown>(std::move(statement));
        mended->pos = mended->what->pos;
        statement = std::move(mended);
    }
}

static void mend_node(jinja::statement *node) {
    if (auto *branch = dynamic_cast<jinja::if_statement *>(node)) {
        mend_expressions(branch->body);
        mend_expressions(branch->alternate);
    } else if (auto *loop = dynamic_cast<jinja::for_statement *>(node)) {
        mend_loop(loop);
        mend_expressions(loop->body);
        mend_expressions(loop->default_block);
    } else if (auto *macro = dynamic_cast<jinja::macro_statement *>(node)) {
        macro->body.insert(macro->body.begin(), std::make_unique<stack_check>());
        mend_expressions(macro->body);
    } else if (auto *set = dynamic_cast<jinja::set_statement *>(node)) {
        mend_expressions(set->body);
    } else if (auto *call = dynamic_cast<jinja::call_statement *>(node)) {
        mend_expressions(call->body);
    } else if (auto *filter = dynamic_cast<jinja::filter_statement *>(node)) {
        mend_expressions(filter->body);
    }
}

static void mend_program(jinja::program &program) {
    for (const auto &statement : program.body) walk(statement.get(), mend_node);
    mend_expressions(program.body);
    program.body.insert(program.body.begin(), std::make_unique<bounded_range>());
}

/* The program, and the source that its places are counted in. */
static jinja::program compile(const std::string &text, std::string *source) {
    jinja::lexer lexer;
    const jinja::lexer_result tokens = lexer.tokenize(mend_beginning(text));
    check_tokens(tokens.tokens);
    jinja::program program = jinja::parse_from_tokens(tokens);
    *source = tokens.source;
    mend_program(program);
    return program;
}

jinja::program guard_template_compile(const std::string &source) {
    std::string mended;
    return compile(source, &mended);
}

void guard_template_begin(const void *here) {
    stack_begin = reinterpret_cast<std::uintptr_t>(here);
}

bool guard_template_overflowed() {
    return std::exchange(overflowed, false);
}

/* Its last line, or a parser's first, and the place. */
std::string guard_template_error(const std::string &thrown) {
    static const std::string last = "\nError: ", raised = "Jinja Exception: ", place = " at line ";
    const size_t at = thrown.find(last), where = thrown.find(place);
    if (at == std::string::npos) return thrown.substr(0, thrown.find('\n'));
    std::string text = thrown.substr(at + last.size());
    if (text.compare(0, raised.size(), raised) == 0) return text.substr(raised.size());
    if (where == std::string::npos || where > at) return text;
    return text + " (" + thrown.substr(where + 4, thrown.find(" in source", where) - where - 4) + ")";
}

template <typename Call> static judgeq_status refused(judgeq_error *error, Call call) {
    try {
        call();
        return JUDGEQ_OK;
    } catch (const std::bad_alloc &) {
        return error_memory(error, "a chat template");
    } catch (const std::exception &thrown) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s", guard_template_error(thrown.what()).c_str());
    }
}

/* Runs a call of the template engine, which wraps exceptions in its own, those for want of memory too. */
template <typename Call> static judgeq_status guarded_chat(judgeq_error *error, Call call) {
    const guard_memory_watch memory;
    judgeq_status status = JUDGEQ_ERROR_BACKEND;
    try {
        status = refused(error, call);
    } catch (...) { /* while the message was made: for want of memory, or what is no exception of C++'s library */
        error_write(error, status, "the template engine failed");
    }
    return memory.seen() ? error_memory(error, "a chat template") : status;
}

judgeq_status guard_chat_new(const char *source, guard_chat **out, judgeq_error *error) {
    *out = nullptr;
    const judgeq_status status = guarded_chat(error, [&] {
        auto chat = std::make_unique<guard_chat>();
        chat->program = compile(source, &chat->source);
        *out = chat.release();
    });
    if (status == JUDGEQ_OK) return status;
    guard_chat_free(*out);
    *out = nullptr;
    return status;
}

void guard_chat_free(guard_chat *chat) {
    delete chat;
}

static jinja::value text_value(const char *text, bool input) {
    auto value = jinja::mk_val<jinja::value_string>(std::string(text));
    if (input) value->mark_input();
    return value;
}

static jinja::value message_value(const judgeq_message *message, bool typed) {
    auto value = jinja::mk_val<jinja::value_object>();
    jinja::value content = text_value(message->content, true);
    if (typed) {
        auto part = jinja::mk_val<jinja::value_object>();
        part->insert("type", text_value("text", false));
        part->insert("text", content);
        auto parts = jinja::mk_val<jinja::value_array>();
        parts->push_back(part);
        content = parts;
    }
    value->insert("role", text_value(message->role, false));
    value->insert("content", content);
    return value;
}

/* The variables that transformers' apply_chat_template sets. */
static void set_variables(jinja::context &context, const guard_chat_input *in) {
    auto messages = jinja::mk_val<jinja::value_array>();
    for (size_t i = 0; i < in->n_messages; i++) messages->push_back(message_value(&in->messages[i], in->typed));
    context.set_val("messages", messages);
    context.set_val("tools", jinja::mk_val<jinja::value_none>());
    context.set_val("documents", jinja::mk_val<jinja::value_none>());
    context.set_val("add_generation_prompt", jinja::mk_val<jinja::value_bool>(in->generation));
    for (size_t i = 0; i < in->n_variables; i++) {
        context.set_val(in->variables[i].name, text_value(in->variables[i].text, false));
    }
    if (in->think != JUDGEQ_THINK_DEFAULT) {
        const auto think = jinja::mk_val<jinja::value_bool>(in->think == JUDGEQ_THINK_ON);
        for (const char *name : {"enable_thinking", "thinking"}) context.set_val(name, think);
    }
}

static void copy_parts(const std::vector<jinja::string_part> &parts, guard_chat_text *out) {
    size_t length = 0;
    for (const auto &part : parts) length += part.val.size();
    out->text = static_cast<char *>(std::malloc(length + 1));
    out->input = static_cast<unsigned char *>(std::malloc(length + 1));
    if (!out->text || !out->input) throw std::bad_alloc();
    for (const auto &part : parts) {
        std::memcpy(out->text + out->length, part.val.data(), part.val.size());
        std::memset(out->input + out->length, part.is_input, part.val.size());
        out->length += part.val.size();
    }
    out->text[length] = '\0';
}

judgeq_status guard_chat_render(const guard_chat *chat, const guard_chat_input *in, guard_chat_text *out,
                                judgeq_error *error) {
    *out = {};
    const char here = 0;
    guard_template_begin(&here);
    const judgeq_status status = guarded_chat(error, [&] {
        jinja::context context(chat->source);
        if (in->now != 0) context.current_time = static_cast<std::time_t>(in->now);
        set_variables(context, in);
        const jinja::value_array result = jinja::runtime(context).execute(chat->program);
        copy_parts(jinja::runtime::gather_string_parts(result)->val_str.parts, out);
    });
    if (status != JUDGEQ_OK) guard_chat_text_free(out);
    return status;
}

void guard_chat_text_free(guard_chat_text *text) {
    std::free(text->text);
    std::free(text->input);
    *text = {};
}
