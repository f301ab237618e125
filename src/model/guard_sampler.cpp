#include "guard_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/llama-grammar.h"

#include "guard.h"
#include "guarded.h"

extern "C" {
#include "base/error.h"
#include "base/quiet.h"
#include "base/stack.h"
}

/* A grammar is parsed by recursion over its brackets and rules: they are bounded, and the stack fits these bounds. */
enum { GRAMMAR_BYTES_MOST = 1 << 20, GRAMMAR_BRACKETS_MOST = 1000, GRAMMAR_STACK = 256 << 20, SCHEMA_STACK = 64 << 20 };

/* libllama compares each way in which a text can go on with every other one, at each character: 1,024 take a tenth of a
 * second. Its time to convert an object grows with the fourth power of the properties that may be left out: 200 take a
 * third of a second. */
enum { GRAMMAR_WAYS_MOST = 1024, GRAMMAR_STEPS_MOST = 1 << 16, SCHEMA_OPTIONAL_MOST = 200 };

/* libllama looks for a trigger in all that was written since the beginning, with every token, by an engine that needs
 * stack for every byte. So what a lazy grammar has seen is forgotten, except the end of it. */
enum { LAZY_BYTES_MOST = 2048, LAZY_BYTES_KEPT = 512 };

using grammar_owner = std::unique_ptr<llama_grammar, decltype(&llama_grammar_free_impl)>;

using sampler_owner = std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)>;

static sampler_owner owned(llama_sampler *sampler) {
    return sampler_owner(sampler, llama_sampler_free);
}

struct guard_sampler {
    const llama_vocab *vocab = nullptr;
    sampler_owner chain = owned(nullptr), penalties = owned(nullptr);        /* penalties: or none */
    grammar_owner grammar = grammar_owner(nullptr, llama_grammar_free_impl); /* or none */
    /* What it was made of. */
    std::string text;
    bool lazy = false;
    std::vector<std::string> patterns;
    std::vector<llama_token> tokens, prefill;
    /* A lazy grammar waits while the model thinks. */
    std::string think_begin, recent; /* recent: text, as far as a mark can reach back */
    std::vector<std::string> think_ends;
    bool thinks_first = false, thinks = false;
};

std::string guard_text_of(const llama_vocab *vocab, llama_token token) {
    std::string text(32, '\0');
    int32_t n = llama_token_to_piece(vocab, token, &text[0], static_cast<int32_t>(text.size()), 0, true);
    if (n < 0) {
        text.resize(static_cast<size_t>(-n));
        n = llama_token_to_piece(vocab, token, &text[0], static_cast<int32_t>(text.size()), 0, true);
    }
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
}

/* ---- grammars ---------------------------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *at) {
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n' || *at == '#') {
        if (*at == '#') {
            while (*at && *at != '\n') at++;
        } else {
            at++;
        }
    }
    return at;
}

/* "line 3: expecting ::= at ..." from libllama's message, which ends with all of the text that follows. */
static std::string with_line(const std::string &text, const std::string &thrown) {
    static const std::string at = " at ";
    const size_t split = thrown.find(at);
    if (split == std::string::npos) return thrown;
    const std::string rest = thrown.substr(split + at.size());
    const bool known = rest.size() <= text.size() && text.compare(text.size() - rest.size(), rest.size(), rest) == 0;
    if (!known) return thrown.substr(0, thrown.find('\n'));
    size_t line = 1;
    for (size_t i = 0; i < text.size() - rest.size(); i++) line += text[i] == '\n';
    const std::string near =
        rest.empty() ? "its end" : "\"" + rest.substr(0, std::min<size_t>(rest.find('\n'), 40)) + "\"";
    return "line " + std::to_string(line) + ": " + thrown.substr(0, split) + at + near;
}

static std::string missing_rule(const llama_grammar_parser &parser) {
    for (const auto &rule : parser.symbol_ids) {
        if (rule.second >= parser.rules.size() || parser.rules[rule.second].empty()) return rule.first;
    }
    return "";
}

namespace {

/* Counts the paths that libllama follows from each place in a grammar to the next characters: it follows every one,
 * also those through what may be empty, before it finds that they are alike. */
class ways_counter {
  public:
    explicit ways_counter(const llama_grammar_rules &all) : rules(all), found(all.size()) {}

    bool too_many() {
        bool many = false;
        for (size_t i = 0; i < rules.size(); i++) many = many || of(i).too_many;
        return many;
    }

  private:
    struct count {
        size_t ways = 0;    /* to a character that a text of the rule begins with */
        size_t empties = 0; /* through the rule, to what follows it */
        size_t steps = 0;   /* that libllama takes on all of these paths, a rule within a rule being one */
        bool known = false, too_many = false; /* of these from any place within it */
    };
    const llama_grammar_rules &rules;
    std::vector<count> found;

    static size_t few(size_t n) {
        return std::min<size_t>(n, GRAMMAR_STEPS_MOST + 1);
    }

    /* From rule's element `at` to the end of its alternative. */
    count from(size_t rule, size_t at) {
        count sum;
        size_t paths = 1;
        for (; paths > 0; at++) {
            const auto &element = rules[rule][at];
            if (element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT) {
                sum.empties = paths;
                break;
            }
            if (element.type == LLAMA_GRETYPE_RULE_REF) {
                const count &other = of(element.value);
                sum.ways = few(sum.ways + paths * other.ways);
                sum.steps = few(sum.steps + paths * (1 + other.steps));
                paths = few(paths * other.empties);
            } else {
                sum.ways = few(sum.ways + paths);
                sum.steps = few(sum.steps + paths);
                paths = 0;
            }
        }
        sum.too_many = sum.ways + sum.empties > GRAMMAR_WAYS_MOST || sum.steps > GRAMMAR_STEPS_MOST;
        return sum;
    }

    /* A rule that begins with itself is refused later: it adds nothing here. */
    const count &of(size_t rule) {
        if (found[rule].known) return found[rule];
        found[rule].known = true;
        count mine;
        mine.known = true;
        bool begins = true; /* an alternative */
        for (size_t at = 0; at < rules[rule].size(); at++) {
            const count rest = from(rule, at);
            if (begins) {
                mine.ways = few(mine.ways + rest.ways);
                mine.empties = few(mine.empties + rest.empties);
                mine.steps = few(mine.steps + rest.steps);
            }
            mine.too_many = mine.too_many || rest.too_many;
            begins = rules[rule][at].type == LLAMA_GRETYPE_ALT;
        }
        mine.too_many =
            mine.too_many || mine.ways + mine.empties > GRAMMAR_WAYS_MOST || mine.steps > GRAMMAR_STEPS_MOST;
        return found[rule] = mine;
    }
};

} // namespace

/* What is wrong with a grammar, or "". libllama's own parser, rule by rule: its whole one would print. */
static std::string grammar_fault(const llama_vocab *vocab, const std::string &text) {
    llama_grammar_parser parser(vocab);
    try {
        const char *at = skip_blanks(text.c_str());
        while (*at) at = parser.parse_rule(at);
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &thrown) {
        return with_line(text, thrown.what());
    }
    const std::string missing = missing_rule(parser);
    if (!missing.empty()) return "the rule \"" + missing + "\" is used, and nowhere defined";
    if (parser.symbol_ids.count("root") == 0) return "it has no rule \"root\", where every text begins";
    if (ways_counter(parser.rules).too_many()) {
        return "a text can go on in more than " + std::to_string(GRAMMAR_WAYS_MOST) +
               " ways at one place: give fewer alternatives";
    }
    return "";
}

static std::string too_large(const std::string &text) {
    size_t depth = 0;
    if (text.size() > GRAMMAR_BYTES_MOST)
        return "it has more than " + std::to_string(GRAMMAR_BYTES_MOST >> 20) + " MiB";
    for (const char byte : text) {
        depth += byte == '(';
        if (byte == ')' && depth > 0) depth--;
        if (depth > GRAMMAR_BRACKETS_MOST) return "its brackets are nested too deeply";
    }
    return "";
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void add(llama_sampler *chain, llama_sampler *sampler) {
    sampler_owner owner = owned(sampler);
    llama_sampler_chain_add(chain, sampler);
    owner.release();
}

static void add_biases(llama_sampler *chain, const llama_vocab *vocab, const judgeq_sampler_params *params) {
    std::vector<llama_logit_bias> biases;
    for (size_t i = 0; i < params->n_biases; i++) biases.push_back({params->biases[i].token, params->biases[i].bias});
    if (biases.empty()) return;
    add(chain,
        llama_sampler_init_logit_bias(llama_vocab_n_tokens(vocab), static_cast<int32_t>(biases.size()), biases.data()));
}

/* Order as in llama.cpp's own programs: cut the tail first, then heat what is left. */
static void add_samplers(llama_sampler *chain, const judgeq_sampler_params *params) {
    if (params->temperature <= 0.0f) {
        add(chain, llama_sampler_init_greedy());
        return;
    }
    if (params->top_k > 0) add(chain, llama_sampler_init_top_k(params->top_k));
    if (params->top_p < 1.0f) add(chain, llama_sampler_init_top_p(params->top_p, 1));
    if (params->min_p > 0.0f) add(chain, llama_sampler_init_min_p(params->min_p, 1));
    add(chain, llama_sampler_init_temp(params->temperature));
    add(chain, llama_sampler_init_dist(params->seed));
}

static void make_penalties(guard_sampler *s, const judgeq_sampler_params *p) {
    const float repeat = p->repeat_penalty > 0.0f ? p->repeat_penalty : 1.0f;
    if (repeat == 1.0f && p->presence_penalty == 0.0f && p->frequency_penalty == 0.0f) return;
    const int32_t window = p->penalty_window > 0 ? p->penalty_window : JUDGEQ_PENALTY_WINDOW;
    s->penalties = owned(llama_sampler_init_penalties(llama_vocab_n_tokens(s->vocab), window, repeat,
                                                      p->frequency_penalty, p->presence_penalty));
}

static void take_grammar(guard_sampler *s, const judgeq_grammar *g) {
    s->text = g->text;
    s->lazy = g->lazy;
    s->patterns.assign(g->patterns, g->patterns + g->n_patterns);
    s->tokens.assign(g->tokens, g->tokens + g->n_tokens);
    s->prefill.assign(g->prefill, g->prefill + g->n_prefill);
    if (g->think_begin) s->think_begin = g->think_begin;
    s->think_ends.assign(g->think_ends, g->think_ends + g->n_think_ends);
    s->thinks_first = g->thinks_first;
}

/* At its root. */
static void begin_grammar(guard_sampler *s) {
    std::vector<const char *> patterns;
    for (const auto &pattern : s->patterns) patterns.push_back(pattern.c_str());
    s->grammar.reset(llama_grammar_init_impl(s->vocab, s->text.c_str(), "root", s->lazy, patterns.data(),
                                             patterns.size(), s->tokens.data(), s->tokens.size()));
    s->recent.clear();
    s->thinks = s->thinks_first;
    if (!s->grammar || s->lazy) return;
    for (const llama_token token : s->prefill) llama_grammar_accept_impl(*s->grammar, token);
}

namespace {

struct making {
    const llama_vocab *vocab;
    const judgeq_sampler_params *params;
    std::unique_ptr<guard_sampler> made;
    std::string fault; /* of the grammar */
};

} // namespace

static void make(making *m) {
    const judgeq_grammar *grammar = m->params->grammar;
    if (grammar) m->fault = too_large(grammar->text);
    if (grammar && m->fault.empty()) m->fault = grammar_fault(m->vocab, grammar->text);
    if (!m->fault.empty()) return;
    auto s = std::make_unique<guard_sampler>();
    s->vocab = m->vocab;
    s->chain = owned(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    if (m->vocab) add_biases(s->chain.get(), m->vocab, m->params);
    add_samplers(s->chain.get(), m->params);
    if (m->vocab) make_penalties(s.get(), m->params);
    if (grammar) {
        quiet_record record = {};
        quiet_keep(&record);
        take_grammar(s.get(), grammar);
        begin_grammar(s.get());
        if (!s->grammar) m->fault = *record.error ? record.error : "libllama refuses it";
        quiet_keep(nullptr);
    }
    if (m->fault.empty()) m->made = std::move(s);
}

judgeq_status guard_sampler_new(const struct llama_vocab *vocab, const judgeq_sampler_params *params,
                                guard_sampler **out, judgeq_error *error) {
    *out = nullptr;
    making m = {vocab, params, nullptr, ""};
    const judgeq_status status = params->grammar
                                     ? guarded_on_stack(error, "making a sampler", GRAMMAR_STACK, [&] { make(&m); })
                                     : guarded(error, "making a sampler", [&] { make(&m); });
    quiet_keep(nullptr);
    if (status != JUDGEQ_OK) return status;
    if (!m.fault.empty()) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "grammar: %.400s", m.fault.c_str());
    *out = m.made.release();
    return JUDGEQ_OK;
}

void guard_sampler_free(guard_sampler *sampler) {
    delete sampler;
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* Whether the model thinks after this token. */
static void watch_thinking(guard_sampler *s, llama_token token) {
    enum { KEPT = 256 };
    if (s->think_begin.empty()) return;
    s->recent += guard_text_of(s->vocab, token);
    const auto after = [&](const std::string &mark) {
        const size_t at = s->recent.find(mark);
        if (mark.empty() || at == std::string::npos) return false;
        s->recent.erase(0, at + mark.size());
        return true;
    };
    if (!s->thinks) s->thinks = after(s->think_begin);
    for (size_t i = 0; s->thinks && i < s->think_ends.size(); i++) {
        if (after(s->think_ends[i])) s->thinks = false;
    }
    if (s->recent.size() > 2 * KEPT) s->recent.erase(0, s->recent.size() - KEPT);
}

/* What a grammar that waits has seen, all but the end of it. */
static void forget(llama_grammar *grammar) {
    std::string &seen = grammar->trigger_buffer;
    if (!grammar->awaiting_trigger || seen.size() <= LAZY_BYTES_MOST) return;
    auto &positions = grammar->trigger_buffer_positions;
    size_t first = 0;
    while (seen.size() - positions[first].second.first > LAZY_BYTES_KEPT && first + 1 < positions.size()) first++;
    const size_t from = positions[first].second.first;
    positions.erase(positions.begin(), positions.begin() + static_cast<std::ptrdiff_t>(first));
    for (auto &position : positions) {
        position.second.first -= from;
        position.second.second -= from;
    }
    seen.erase(0, from);
}

static void show_grammar(guard_sampler *s, llama_token token) {
    const bool thought = s->lazy && s->thinks;
    if (s->lazy && s->grammar->awaiting_trigger) watch_thinking(s, token);
    if (thought) return;
    const bool waited = s->grammar->awaiting_trigger;
    try {
        llama_grammar_accept_impl(*s->grammar, token);
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &) {
        if (!waited) throw;
        begin_grammar(s); /* it was no beginning of what it stands for: the grammar waits for another one */
        s->thinks = false;
    }
    forget(s->grammar.get());
}

static void accept(guard_sampler *s, llama_token token) {
    if (s->penalties) llama_sampler_accept(s->penalties.get(), token);
    if (s->grammar) show_grammar(s, token);
}

static bool allows(guard_sampler *s, llama_token token) {
    llama_token_data one = {token, 1.0f, 0.0f};
    llama_token_data_array array = {&one, 1, -1, false};
    llama_grammar_apply_impl(*s->grammar, &array);
    return !std::isinf(one.logit);
}

static llama_token apply(guard_sampler *s, llama_token_data *candidates, const float *logits, int32_t n_vocab,
                         bool strictly) {
    for (int32_t i = 0; i < n_vocab; i++) candidates[i] = {i, logits[i], 0.0f};
    llama_token_data_array array = {candidates, static_cast<size_t>(n_vocab), -1, false};
    if (s->penalties) llama_sampler_apply(s->penalties.get(), &array);
    if (strictly) llama_grammar_apply_impl(*s->grammar, &array);
    llama_sampler_apply(s->chain.get(), &array);
    if (array.selected < 0 || std::isinf(array.data[array.selected].logit)) return LLAMA_TOKEN_NULL;
    return array.data[array.selected].id;
}

judgeq_status guard_sampler_draw(guard_sampler *sampler, llama_token_data *candidates, const float *logits,
                                 int32_t n_vocab, int32_t *token, judgeq_error *error) {
    *token = LLAMA_TOKEN_NULL;
    const judgeq_status status = guarded(error, "sampling", [&] {
        guard_sampler *s = sampler;
        const bool unbound = s->lazy && (s->thinks || s->grammar->awaiting_trigger);
        /* A grammar looks at every token of the vocabulary: first it is asked about the one that would be drawn. */
        llama_token drawn = apply(s, candidates, logits, n_vocab, false);
        if (s->grammar && !unbound && (drawn < 0 || !allows(s, drawn))) {
            drawn = apply(s, candidates, logits, n_vocab, true);
        }
        if (drawn >= 0) accept(s, drawn);
        *token = drawn;
    });
    if (status == JUDGEQ_OK && sampler->grammar && sampler->grammar->stacks.size() > GRAMMAR_WAYS_MOST) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "grammar: the text can go on in more than %d ways here: give fewer alternatives",
                         GRAMMAR_WAYS_MOST);
    }
    if (status != JUDGEQ_OK || *token >= 0) return status;
    if (!sampler->grammar) return error_set(error, JUDGEQ_ERROR_NUMERIC, "no token can be drawn from these logits");
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "the grammar allows no token of the model's vocabulary here");
}

judgeq_status guard_sampler_accept(guard_sampler *sampler, int32_t token, judgeq_error *error) {
    return guarded(error, "sampling", [&] { accept(sampler, token); });
}

judgeq_status guard_sampler_restart(guard_sampler *sampler, judgeq_error *error) {
    if (!sampler->grammar && !sampler->penalties) return JUDGEQ_OK;
    return guarded_on_stack(error, "making a sampler", GRAMMAR_STACK, [&] {
        guard_sampler *s = sampler;
        if (s->penalties) llama_sampler_reset(s->penalties.get());
        if (s->grammar) begin_grammar(s);
    });
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

/* Whether the pattern of a schema of its own becomes the rule of any string. libllama-common would say so on standard
 * error once the grammar is complete, so it is left before that. */
static bool is_dropped(const std::string &pattern) {
    struct known {};
    bool dropped = false;
    const common_json schema = {{"type", "string"}, {"pattern", pattern}};
    const auto document = common_chat_schema_from_json(schema);
    try {
        build_grammar([&](const common_grammar_builder &builder) {
            builder.add_schema("pattern", *document.root);
            dropped = builder.add_rule("pattern", "string") == "pattern"; /* another rule would get another name */
            throw known();
        });
    } catch (const known &) {
    }
    return dropped;
}

/* Properties that an object may leave out. */
static size_t optional_properties(const common_json &schema) {
    if (!schema.contains("properties") || !schema.at("properties").is_object()) return 0;
    const size_t all = schema.at("properties").size();
    const bool some = schema.contains("required") && schema.at("required").is_array();
    const size_t needed = some ? schema.at("required").size() : 0;
    return all > needed ? all - needed : 0;
}

void guard_schema_check(const common_json &schema) {
    if (!schema.is_object() && !schema.is_array()) return;
    if (schema.is_object() && schema.contains("pattern") && schema.at("pattern").is_string()) {
        const std::string pattern = schema.at("pattern");
        if (is_dropped(pattern)) throw std::invalid_argument("no grammar can stand for the pattern " + pattern);
    }
    if (schema.is_object() && optional_properties(schema) > SCHEMA_OPTIONAL_MOST) {
        throw std::invalid_argument("an object may leave out more than " + std::to_string(SCHEMA_OPTIONAL_MOST) +
                                    " properties: name them in \"required\"");
    }
    for (const auto &item : schema.items()) guard_schema_check(item.value());
}

static const char *const NO_SCHEMA = "JSON schema conversion failed:\n";

judgeq_status guard_schema_grammar(const char *schema, char **out, judgeq_error *error) {
    std::string fault;
    *out = nullptr;
    const judgeq_status status = guarded_on_stack(error, "reading a JSON schema", SCHEMA_STACK, [&] {
        try {
            const common_json parsed = common_json::parse(schema);
            guard_schema_check(parsed);
            const std::string grammar = json_schema_to_grammar(parsed, true);
            *out = strdup(grammar.c_str());
            if (!*out) throw std::bad_alloc();
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &thrown) {
            fault = thrown.what();
            if (fault.compare(0, std::strlen(NO_SCHEMA), NO_SCHEMA) == 0) fault.erase(0, std::strlen(NO_SCHEMA));
        }
    });
    if (status != JUDGEQ_OK) return status;
    if (*out) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "JSON schema: %.400s", fault.c_str());
}
