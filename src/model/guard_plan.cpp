#include "guard_plan.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/chat.h"
#include "common/log.h"

#include "guarded.h"

extern "C" {
#include "base/error.h"
}

/* libllama-common's own, as its chat.cpp has it: its header only names it. Its version is the one that this was read in
 * (cmake/JudgeqDeps.cmake). The compiled templates in it are replaced by those that guard_template_mend has bounded. */
struct common_chat_templates {
    bool add_bos;
    bool add_eos;
    bool has_explicit_template;
    std::unique_ptr<common_chat_template> template_default;
    std::unique_ptr<common_chat_template> template_tool_use;
};

/* Parsers call themselves for every bracket of a model's JSON. */
enum { PLAN_STACK = 64 << 20, REPLY_STACK = 256 << 20, REPLY_BRACKETS_MOST = 2000 };

struct guard_plan {
    common_chat_params params;
    common_chat_parser_params parsing;
    std::vector<std::string> patterns;
    std::vector<const char *> pattern_texts, stop_texts, think_end_texts;
    std::vector<int32_t> preserved, trigger_tokens, prefill;
    guard_plan_view view = {};
};

/* Faults of the request, where everything else that is thrown is one of the template. */
struct wrong_request : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <typename Call> static auto of_request(const char *field, Call call) {
    try {
        return call();
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &thrown) {
        throw wrong_request(std::string(field) + ": " + thrown.what());
    }
}

/* Runs a call on a large stack, and makes what it throws the error of a plan. */
template <typename Call> static judgeq_status planned(judgeq_error *error, const char *what, size_t stack, Call call) {
    judgeq_status fault = JUDGEQ_OK;
    std::string why;
    const judgeq_status status = guarded_on_stack(error, what, stack, [&] {
        const char here = 0;
        const guard_memory_watch memory;
        guard_template_begin(&here);
        try {
            call();
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const wrong_request &thrown) {
            fault = JUDGEQ_ERROR_ARGUMENT;
            why = thrown.what();
        } catch (const std::exception &thrown) {
            fault = JUDGEQ_ERROR_UNSUPPORTED;
            why = guard_template_error(thrown.what());
        }
        if (memory.seen()) throw std::bad_alloc();
    });
    if (status != JUDGEQ_OK || fault == JUDGEQ_OK) return status;
    return error_set(error, fault, "%.480s", why.c_str());
}

/* ---- templates --------------------------------------------------------------------------------------------------- */

/* libllama-common tries a template out as soon as it has compiled it. So ours is tried out before, and bounded. */
static void try_out(const std::string &source) {
    jinja::program program = guard_template_compile(source);
    guard_template_overflowed(); /* forgets an earlier one */
    jinja::caps_get(program);
    if (guard_template_overflowed()) throw std::runtime_error("macros call each other too deeply");
}

static void replace(common_chat_template *compiled) {
    if (compiled) compiled->prog = guard_template_compile(compiled->src);
}

static std::unique_ptr<common_chat_templates> templates_of(const guard_plan_input *in) {
    const std::string source = in->tools && in->template_tools ? in->template_tools : in->template_text;
    try_out(source);
    auto templates =
        std::unique_ptr<common_chat_templates>(common_chat_templates_init(in->vocabulary, source).release());
    replace(templates->template_default.get());
    replace(templates->template_tool_use.get());
    return templates;
}

/* ---- what a plan is made of -------------------------------------------------------------------------------------- */

static std::vector<common_chat_tool> tools_of(const char *text) {
    return of_request("tools", [&] {
        const common_json tools = common_json::parse(text);
        guard_schema_check(tools);
        return common_chat_tools_parse_oaicompat(tools);
    });
}

static void set_schema(common_chat_templates_inputs &inputs, const guard_plan_input *in) {
    if (in->grammar) inputs.grammar = in->grammar;
    if (!in->json_schema) return;
    of_request("json_schema", [&] {
        const common_json schema = common_json::parse(in->json_schema);
        guard_schema_check(schema);
        json_schema_to_grammar(schema, true); /* says what is wrong before the template's part in it is made */
        inputs.json_schema = in->json_schema;
        return 0;
    });
}

static common_chat_templates_inputs inputs_of(const guard_plan_input *in) {
    common_chat_templates_inputs inputs;
    inputs.messages =
        of_request("messages", [&] { return common_chat_msgs_parse_oaicompat(common_json::parse(in->messages)); });
    if (in->tools) inputs.tools = tools_of(in->tools);
    set_schema(inputs, in);
    if (in->tool_choice) {
        inputs.tool_choice =
            of_request("tool_choice", [&] { return common_chat_tool_choice_parse_oaicompat(in->tool_choice); });
    }
    inputs.parallel_tool_calls = in->parallel;
    inputs.add_generation_prompt = !in->closed;
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    inputs.enable_thinking = in->think != JUDGEQ_THINK_OFF;
    if (in->variables) {
        of_request("variables", [&] {
            const common_json variables = common_json::parse(in->variables);
            if (!variables.is_object()) throw std::invalid_argument("expected an object");
            for (const auto &item : variables.items()) inputs.chat_template_kwargs[item.key()] = item.value().dump();
            return 0;
        });
    }
    if (in->think != JUDGEQ_THINK_DEFAULT) {
        inputs.chat_template_kwargs["thinking"] = in->think == JUDGEQ_THINK_ON ? "true" : "false";
    }
    if (in->now != 0) inputs.now = std::chrono::system_clock::from_time_t(static_cast<std::time_t>(in->now));
    return inputs;
}

/* ---- views for C ------------------------------------------------------------------------------------------------- */

static std::vector<int32_t> tokens_of(const llama_vocab *vocab, const std::string &text) {
    std::vector<int32_t> tokens(text.size() + 2);
    const int32_t n = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                                     static_cast<int32_t>(tokens.size()), false, true);
    tokens.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return tokens;
}

static bool holds(const std::vector<int32_t> &tokens, int32_t token) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

static std::string escaped(const std::string &word) {
    std::string pattern;
    for (const char byte : word) {
        if (std::strchr("\\^$.*+?()[]{}|", byte)) pattern += '\\';
        pattern += byte;
    }
    return pattern;
}

static void add_trigger(guard_plan *p, const llama_vocab *vocab, const common_grammar_trigger &trigger) {
    const std::string &value = trigger.value;
    if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN) {
        p->trigger_tokens.push_back(trigger.token);
    } else if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN) {
        p->patterns.push_back(value);
    } else if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL) {
        p->patterns.push_back("^" + value + "$");
    } else {
        const std::vector<int32_t> tokens = tokens_of(vocab, value);
        const bool token = tokens.size() == 1 && holds(p->preserved, tokens[0]);
        if (token) p->trigger_tokens.push_back(tokens[0]);
        if (!token) p->patterns.push_back(escaped(value));
    }
}

static std::vector<const char *> texts_of(const std::vector<std::string> &strings) {
    std::vector<const char *> texts;
    for (const auto &string : strings) texts.push_back(string.c_str());
    return texts;
}

/* Whether the prompt has begun a thought that it has not ended. */
static bool begins_thought(const common_chat_params &params) {
    const size_t begin = params.generation_prompt.rfind(params.thinking_start_tag);
    if (params.thinking_start_tag.empty() || begin == std::string::npos) return false;
    for (const auto &end : params.thinking_end_tags) {
        if (!end.empty() && params.generation_prompt.find(end, begin) != std::string::npos) return false;
    }
    return true;
}

static void make_grammar(guard_plan *p, bool prefilled) {
    judgeq_grammar *g = &p->view.grammar;
    g->text = p->params.grammar.empty() ? nullptr : p->params.grammar.c_str();
    g->lazy = p->params.grammar_lazy;
    g->patterns = p->pattern_texts.data();
    g->n_patterns = p->pattern_texts.size();
    g->tokens = p->trigger_tokens.data();
    g->n_tokens = p->trigger_tokens.size();
    g->prefill = p->prefill.data();
    g->n_prefill = prefilled ? p->prefill.size() : 0;
    if (!p->params.thinking_start_tag.empty()) g->think_begin = p->params.thinking_start_tag.c_str();
    g->think_ends = p->think_end_texts.data();
    g->n_think_ends = p->think_end_texts.size();
    g->thinks_first = begins_thought(p->params);
}

static void make_view(guard_plan *p, const llama_vocab *vocab, bool prefilled) {
    for (const auto &text : p->params.preserved_tokens) {
        const std::vector<int32_t> tokens = tokens_of(vocab, text);
        if (tokens.size() == 1 && !holds(p->preserved, tokens[0])) p->preserved.push_back(tokens[0]);
    }
    for (const auto &trigger : p->params.grammar_triggers) add_trigger(p, vocab, trigger);
    p->prefill = tokens_of(vocab, p->params.generation_prompt);
    p->pattern_texts = texts_of(p->patterns);
    p->stop_texts = texts_of(p->params.additional_stops);
    p->think_end_texts = texts_of(p->params.thinking_end_tags);
    make_grammar(p, prefilled);
    guard_plan_view *v = &p->view;
    v->prompt = p->params.prompt.c_str();
    v->prompt_length = p->params.prompt.size();
    v->preserved = p->preserved.data();
    v->n_preserved = p->preserved.size();
    v->stops = p->stop_texts.data();
    v->n_stops = p->stop_texts.size();
    v->format = common_chat_format_name(p->params.format);
    v->thinks = p->params.supports_thinking;
}

/* Its log goes to standard error, from a thread of its own. */
static void quiet_common() {
    static const bool quiet = (common_log_set_verbosity_thold(-1), true);
    (void)quiet;
}

/* Where libllama-common has made no grammar for a template although the request needs one. False: the grammar does not
 * begin with the opening of the turn. */
static bool settle_grammar(common_chat_params &params, const common_chat_templates_inputs &inputs) {
    const bool required = !inputs.tools.empty() && inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    if (required && (params.grammar.empty() || params.grammar_lazy)) {
        throw std::runtime_error("the form of its tool calls is not known, so none can be required");
    }
    const bool forgotten = !inputs.json_schema.empty() && params.grammar.empty();
    if (inputs.grammar.empty() && !forgotten) return true;
    params.grammar = forgotten ? json_schema_to_grammar(common_json::parse(inputs.json_schema), true) : inputs.grammar;
    params.grammar_lazy = false;
    params.grammar_triggers.clear();
    params.parser.clear(); /* all of the answer is its content */
    params.format = COMMON_CHAT_FORMAT_CONTENT_ONLY;
    return false;
}

judgeq_status guard_plan_new(const guard_plan_input *in, guard_plan **out, judgeq_error *error) {
    std::unique_ptr<guard_plan> plan;
    *out = nullptr;
    const judgeq_status status = planned(error, "a chat template", PLAN_STACK, [&] {
        quiet_common();
        auto p = std::make_unique<guard_plan>();
        const common_chat_templates_inputs inputs = inputs_of(in);
        p->params = common_chat_templates_apply(templates_of(in).get(), inputs);
        const bool prefilled = settle_grammar(p->params, inputs);
        p->parsing = common_chat_parser_params(p->params);
        p->parsing.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
        if (p->params.parser.empty()) p->parsing.generation_prompt.clear();
        if (!p->params.parser.empty()) p->parsing.parser.load(p->params.parser);
        make_view(p.get(), llama_model_get_vocab(in->vocabulary), prefilled);
        p->view.calls = !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE && prefilled &&
                        !p->params.grammar.empty();
        plan = std::move(p);
    });
    if (status == JUDGEQ_OK) *out = plan.release();
    return status;
}

void guard_plan_free(guard_plan *plan) {
    delete plan;
}

const guard_plan_view *guard_plan_get_view(const guard_plan *plan) {
    return &plan->view;
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

namespace {

struct reply : judgeq_reply {
    common_chat_msg message;
    std::vector<judgeq_tool_call> call;
};

} // namespace

static size_t brackets_of(const char *text, size_t length) {
    size_t depth = 0, most = 0;
    for (size_t i = 0; i < length; i++) {
        depth += std::strchr("[{(", text[i]) && text[i];
        if (std::strchr("]})", text[i]) && text[i] && depth > 0) depth--;
        most = std::max(most, depth);
    }
    return most;
}

static void trim_end(std::string &text, const char *what) {
    const size_t last = text.find_last_not_of(what);
    text.erase(last == std::string::npos ? 0 : last + 1);
}

static void trim_begin(std::string &text) {
    text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

/* Blanks between thoughts, text and calls belong to the format. What comes next can show that blanks were that, and
 * that brackets which the parser has closed were open: neither is told of before. */
static void trim_reply(common_chat_msg &message, bool partial) {
    trim_begin(message.reasoning_content);
    trim_end(message.reasoning_content, " \t\r\n");
    if (!message.reasoning_content.empty()) trim_begin(message.content);
    if (partial || !message.tool_calls.empty()) trim_end(message.content, " \t\r\n");
    if (partial && !message.tool_calls.empty()) trim_end(message.tool_calls.back().arguments, " \t\r\n]}");
}

static void make_reply(reply *r, const char *ids) {
    size_t i = 0;
    for (auto &call : r->message.tool_calls) {
        if (call.id.empty() && ids) call.id = "call_" + std::string(ids) + std::to_string(i);
        r->call.push_back({call.id.c_str(), call.name.c_str(), call.arguments.c_str()});
        i++;
    }
    r->content = r->message.content.c_str();
    r->reasoning = r->message.reasoning_content.c_str();
    r->calls = r->call.data();
    r->n_calls = r->call.size();
}

/* A whole answer that is not in the format is read as far as it goes. What has neither thoughts nor calls until then is
 * text, to its end: a bracket in it began no call. */
static common_chat_msg read_whole(const guard_plan *plan, const std::string &text) {
    try {
        return common_chat_parse(text, false, plan->parsing);
    } catch (const std::runtime_error &) {
        auto message = common_chat_parse(text, true, plan->parsing);
        if (message.reasoning_content.empty() && message.tool_calls.empty()) message.content = text;
        return message;
    }
}

judgeq_status guard_plan_parse(const guard_plan *plan, const char *text, size_t length, bool partial, const char *ids,
                               judgeq_reply **out, judgeq_error *error) {
    std::unique_ptr<reply> made;
    *out = nullptr;
    if (brackets_of(text, length) > REPLY_BRACKETS_MOST) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "the response has more than %d brackets within each other",
                         REPLY_BRACKETS_MOST);
    }
    const judgeq_status status = planned(error, "reading a response", REPLY_STACK, [&] {
        auto r = std::make_unique<reply>();
        const std::string all(text, length);
        r->message = partial ? common_chat_parse(all, true, plan->parsing) : read_whole(plan, all);
        trim_reply(r->message, partial);
        make_reply(r.get(), ids);
        made = std::move(r);
    });
    if (status == JUDGEQ_OK) *out = made.release();
    return status;
}

void guard_reply_free(judgeq_reply *public_reply) {
    delete static_cast<reply *>(public_reply);
}

/* Copies strings behind an array that they belong to. */
class string_block {
  public:
    explicit string_block(char *place) : end(place) {}
    const char *add(const std::string &text) {
        char *begin = end;
        std::memcpy(begin, text.c_str(), text.size() + 1);
        end += text.size() + 1;
        return begin;
    }

  private:
    char *end;
};

static size_t bytes_of(const common_chat_msg_diff &diff) {
    const auto &call = diff.tool_call_delta;
    return diff.content_delta.size() + diff.reasoning_content_delta.size() + call.id.size() + call.name.size() +
           call.arguments.size() + 5;
}

static judgeq_reply_delta *copy_deltas(const std::vector<common_chat_msg_diff> &diffs) {
    size_t size = sizeof(judgeq_reply_delta) * (diffs.size() + 1);
    for (const auto &diff : diffs) size += bytes_of(diff);
    auto *deltas = static_cast<judgeq_reply_delta *>(std::malloc(size));
    if (!deltas) throw std::bad_alloc();
    string_block strings(reinterpret_cast<char *>(deltas + diffs.size()));
    for (size_t i = 0; i < diffs.size(); i++) {
        const auto &call = diffs[i].tool_call_delta;
        deltas[i].reasoning = strings.add(diffs[i].reasoning_content_delta);
        deltas[i].content = strings.add(diffs[i].content_delta);
        deltas[i].has_call = diffs[i].tool_call_index != std::string::npos;
        deltas[i].call = deltas[i].has_call ? diffs[i].tool_call_index : 0;
        deltas[i].id = strings.add(call.id);
        deltas[i].name = strings.add(call.name);
        deltas[i].arguments = strings.add(call.arguments);
    }
    return deltas;
}

/* A bracket that may begin a call can take back what was read before it, until more has come. */
static bool is_shorter(const common_chat_msg &later, const common_chat_msg &earlier) {
    return later.content.size() < earlier.content.size() ||
           later.reasoning_content.size() < earlier.reasoning_content.size();
}

judgeq_status guard_reply_deltas(const judgeq_reply *before, const judgeq_reply *after, judgeq_reply_delta **out,
                                 size_t *n, judgeq_error *error) {
    *out = nullptr;
    *n = 0;
    std::string fault;
    const judgeq_status status = guarded(error, "comparing responses", [&] {
        try {
            quiet_common();
            const common_chat_msg none;
            const auto &earlier = before ? static_cast<const reply *>(before)->message : none;
            const auto &later = static_cast<const reply *>(after)->message;
            if (is_shorter(later, earlier)) throw std::runtime_error("it has less");
            const auto diffs = common_chat_msg_diff::compute_diffs(earlier, later);
            *out = copy_deltas(diffs);
            *n = diffs.size();
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &thrown) {
            fault = thrown.what();
        }
    });
    if (status != JUDGEQ_OK || fault.empty()) return status;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "the response does not continue the one before: %.200s",
                     fault.substr(0, fault.find('\n')).c_str());
}
