#include "data_maker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/context.h"
#include "app/generation.h"
#include "app/session_choices.h"
#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "base/visible.h"
#include "data_loop.h"
#include "say.h"

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static judgeq_status put(data_maker *m, json_t *line, judgeq_error *error) {
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text) return error_memory(error, "a line");
    char *whole = NULL;
    const int n = asprintf(&whole, "%s\n", text);
    free(text);
    if (n < 0) return error_memory(error, "a line");
    const bool written = file_append(fileno(m->file), whole, (size_t)n);
    const int reason = errno;
    free(whole);
    return written ? JUDGEQ_OK : error_file(error, JUDGEQ_ERROR_IO, m->options.output, strerror(reason));
}

/* Says everything that the examples depend on, so that a run can be resumed and a judge be traced. */
static json_t *make_header(const data_maker *m) {
    const judgeq_model_info *model = judgeq_model_get_info(m->model);
    char hash[17];
    size_t length;
    char *name = utf8_repaired(model->name, strlen(model->name), &length); /* the file's, which need not be UTF-8 */
    if (!name) return NULL;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_sources_hash(&m->sources));
    const data_options *o = &m->options;
    json_t *header =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:f, s:i, s:f, s:f}", "judgeq_data", 1, "model_fingerprint",
                  model->fingerprint, "file_fingerprint", model->file_fingerprint, "model_name", name, "prompts_hash",
                  hash, "seed", (json_int_t)o->sources.seed, "min_tokens", o->sources.min_tokens, "max_tokens",
                  o->sources.max_tokens, "retrieval", o->sources.retrieval, "response_tokens", o->n_tokens,
                  "temperature", (double)o->sampler.temperature, "top_p", (double)o->sampler.top_p);
    free(name);
    if (header && o->no_think) json_object_set_new(header, "no_think", json_true());
    if (header && o->sources.later > 0) json_object_set_new(header, "later", json_real(o->sources.later));
    return header;
}

/* The ids of an array, the caller's; NULL: they are none of the vocabulary, or no memory. */
static int32_t *take_ids(const data_maker *m, const json_t *array) {
    const size_t n = json_array_size(array);
    int32_t *ids = malloc((n + 1) * sizeof *ids); /* never 0 bytes */
    for (size_t i = 0; ids && i < n; i++) {
        const json_t *id = json_array_get(array, i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value >= 0 && value < judgeq_model_get_info(m->model)->n_vocab) {
            ids[i] = (int32_t)value;
        } else {
            free(ids);
            ids = NULL;
        }
    }
    return ids;
}

/* Tells the caller of an example. */
static judgeq_status hand_over(const data_maker *m, const json_t *prompt, const json_t *response,
                               judgeq_session *session, judgeq_error *error) {
    if (!m->take) return JUDGEQ_OK;
    int32_t *prompt_ids = take_ids(m, prompt), *response_ids = take_ids(m, response);
    const data_example example = {.prompt = prompt_ids,
                                  .response = response_ids,
                                  .n_prompt = json_array_size(prompt),
                                  .n_response = json_array_size(response),
                                  .session = session};
    judgeq_status status =
        prompt_ids && response_ids && example.n_prompt > 0 && example.n_response > 0
            ? m->take(m->data, &example, error)
            : error_file(error, JUDGEQ_ERROR_FORMAT, m->options.output,
                         "an example's \"prompt\" or \"response\" is no array of the vocabulary's ids");
    free(prompt_ids);
    free(response_ids);
    return status;
}

/* Goes to the end of the last whole line. An incomplete one, which a kill leaves, is cut off. */
static judgeq_status read_old_lines(data_maker *m, judgeq_error *error) {
    char *line = NULL;
    size_t room = 0;
    long end = 0;
    judgeq_status status = JUDGEQ_OK;
    for (size_t number = 0; status == JUDGEQ_OK; number++) {
        const ssize_t n = getline(&line, &room, m->file);
        if (n <= 0 || line[n - 1] != '\n') break;
        json_t *object = json_loads(line, 0, NULL), *header = number == 0 ? make_header(m) : NULL;
        const json_t *prompt = json_object_get(object, "prompt_number");
        if (number == 0 && !json_equal(object, header)) {
            status = error_file(
                error, JUDGEQ_ERROR_MISMATCH, m->options.output,
                "was begun with another model or quantisation, other options or other sources, and cannot be resumed");
        } else if (number > 0 && !json_is_integer(prompt)) {
            status = error_file(error, JUDGEQ_ERROR_FORMAT, m->options.output,
                                "holds a line that judgeq data did not write");
        } else if (number > 0) {
            m->next = (size_t)json_integer_value(prompt) + 1;
            m->n_examples++;
            status = hand_over(m, json_object_get(object, "prompt"), json_object_get(object, "response"), NULL, error);
        }
        json_decref(object);
        json_decref(header);
        end += n;
    }
    free(line);
    if (status != JUDGEQ_OK) return status;
    if (fseek(m->file, end, SEEK_SET) != 0 || ftruncate(fileno(m->file), end) != 0) {
        return error_file(error, JUDGEQ_ERROR_IO, m->options.output, strerror(errno));
    }
    return end == 0 ? put(m, make_header(m), error) : JUDGEQ_OK;
}

judgeq_status data_maker_open(data_maker *m, judgeq_error *error) {
    const data_options *o = &m->options;
    m->file = fopen(o->output, o->resume ? "r+" : "wx");
    if (!m->file && errno == EEXIST) {
        return error_file(error, JUDGEQ_ERROR_ARGUMENT, o->output,
                          "is there already: --resume continues it; or remove the file");
    }
    if (!m->file) return error_file(error, JUDGEQ_ERROR_IO, o->output, strerror(errno));
    if (o->resume) return read_old_lines(m, error);
    const judgeq_status status = put(m, make_header(m), error);
    if (status != JUDGEQ_OK) unlink(o->output);
    return status;
}

/* ---- prompts ----------------------------------------------------------------------------------------------------- */

/* Questions come as turns of a conversation, which some templates refuse. */
static judgeq_status check_turns(const data_maker *m, judgeq_error *error) {
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_error why = {0};
    if (m->options.sources.later == 0) return JUDGEQ_OK;
    const judgeq_status status = context_next_tokens(m->model, &m->prompt, "x", &tokens, &n, &why);
    judgeq_free(tokens);
    return status == JUDGEQ_OK ? JUDGEQ_OK : error_set(error, status, "--later asks in turns: %s", why.message);
}

/* Whether prompts are read without a chat template, and a word about it. */
static judgeq_status choose_format(data_maker *m, judgeq_error *error) {
    const judgeq_status status = prompt_check_template(m->model, NULL, error);
    m->prompt =
        (prompt_params){.format = status == JUDGEQ_OK ? PROMPT_CHAT : PROMPT_PLAIN, .no_think = m->options.no_think};
    if (status != JUDGEQ_ERROR_UNSUPPORTED) return status == JUDGEQ_OK ? check_turns(m, error) : status;
    notes_add(say_notes(m->options.quiet), "prompts are read as they are: %s", error->message);
    return check_turns(m, error);
}

/* The prompt's tokens; of one whose questions come later, those of the document. UNSUPPORTED where the chat template
 * refuses its messages, LIMIT where no context holds them. */
static judgeq_status tokenize(const data_maker *m, const json_t *prompt, int32_t **tokens, size_t *n,
                              judgeq_error *error) {
    const size_t n_message = json_array_size(prompt);
    if (data_sources_later(prompt)) {
        const char *text = json_string_value(json_object_get(json_array_get(prompt, 0), "content"));
        return context_document_tokens(m->model, &m->prompt, NULL, text, tokens, n, error);
    }
    judgeq_message *message = calloc(n_message + 1, sizeof *message);
    if (!message) return error_memory(error, "a prompt");
    for (size_t i = 0; i < n_message; i++) {
        const json_t *at = json_array_get(prompt, i);
        message[i].role = json_string_value(json_object_get(at, "role"));
        message[i].content = json_string_value(json_object_get(at, "content"));
    }
    const judgeq_status status = prompt_tokenize(m->model, &m->prompt, message, n_message, tokens, n, error);
    free((void *)message);
    return status;
}

/* ---- responses --------------------------------------------------------------------------------------------------- */

static judgeq_status cancelled(judgeq_error *error) {
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted: --resume continues");
}

static bool go_on(void *data, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    const data_maker *m = data;
    return m->go_on(m->data);
}

/* Decodes until the response ends or begins to repeat itself. *n: tokens of it that are good. */
static judgeq_status decode(judgeq_session *session, generation *g, size_t *n, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t token = 0; status == JUDGEQ_OK;) {
        status = generation_next(g, judgeq_session_logits(session), &token, error);
        *n = g->end_token < 0 ? data_cut_loop(g->token, g->n_token) : g->n_token;
        if (status != JUDGEQ_OK || token < 0 || *n < g->n_token) break;
        status = judgeq_session_decode(session, token, error);
    }
    return status == JUDGEQ_OK && g->end == GENERATION_CANCELLED ? cancelled(error) : status;
}

static bool append(json_t *array, const int32_t *token, size_t n) {
    bool whole = true;
    for (size_t i = 0; whole && i < n; i++) whole = json_array_append_new(array, json_integer(token[i])) == 0;
    return whole;
}

/* What draws the responses to prompt m->next; a resumed run draws the same. */
static judgeq_status new_sampler(const data_maker *m, judgeq_sampler **out, judgeq_error *error) {
    judgeq_sampler_params drawing = m->options.sampler;
    drawing.seed = (uint32_t)(m->options.sources.seed * 0x9e3779b1u + m->next);
    return judgeq_sampler_new(&drawing, out, error);
}

/* The response to what the session has read, n_before tokens. *end: the token that ends it, which is not appended, or
 * -1. */
static judgeq_status respond(data_maker *m, judgeq_session *session, judgeq_sampler *sampler, size_t n_before,
                             json_t *response, int32_t *end, judgeq_error *error) {
    const generation_params params = {.sampler = sampler,
                                      .n_tokens = m->options.n_tokens,
                                      .n_before = n_before,
                                      .logprobs = -1,
                                      .go_on = m->go_on,
                                      .data = m->data};
    generation g = {0};
    size_t n = 0;
    judgeq_status status = generation_init(&g, m->model, &params, error);
    if (status == JUDGEQ_OK) status = decode(session, &g, &n, error);
    *end = g.end_token;
    const bool whole = status != JUDGEQ_OK || append(response, g.token, n);
    generation_free(&g);
    return whole ? status : error_memory(error, "a response");
}

/* The caller's: text_stream_free. */
static judgeq_status response_text(const data_maker *m, const json_t *response, text_stream *out, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < json_array_size(response); i++) {
        const int32_t token = (int32_t)json_integer_value(json_array_get(response, i));
        status = text_stream_add_token(out, m->model, token, error);
    }
    return status == JUDGEQ_OK ? text_stream_end(out, error) : status;
}

/* A session that has read the prompt. */
static judgeq_status open_session(data_maker *m, const int32_t *tokens, size_t n, judgeq_session **out,
                                  judgeq_error *error) {
    const session_choices choices = {.n_threads = m->options.n_threads, .kv_type = m->options.kv_type};
    const judgeq_session_params params = session_choices_params(&choices, NULL, NULL, go_on, m);
    judgeq_status status = judgeq_session_new(m->model, &params, out, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(*out, tokens, n, error);
    return status == JUDGEQ_ERROR_CANCELLED ? cancelled(error) : status;
}

/* *answered: the response to a message or a later question names what a right one would. */
static judgeq_status check_answer(const data_maker *m, const json_t *asked, const json_t *response, bool *answered,
                                  judgeq_error *error) {
    text_stream text = {0};
    const judgeq_status status = response_text(m, response, &text, error);
    *answered = status == JUDGEQ_OK && data_sources_answered(asked, text.text);
    text_stream_free(&text);
    return status;
}

/* Adds an example to the file and hands it over. answers: [[first, number], ...], the parts of the response that the
 * model wrote; NULL: all of it. session: as in data_example. */
static judgeq_status put_example(data_maker *m, json_t *prompt, json_t *response, json_t *answers,
                                 judgeq_session *session, judgeq_error *error) {
    json_t *line = json_pack("{s:I, s:O, s:O, s:O*}", "prompt_number", (json_int_t)m->next, "prompt", prompt,
                             "response", response, "answers", answers);
    const judgeq_status status = put(m, line, error);
    if (status != JUDGEQ_OK) return status;
    m->n_examples++;
    return hand_over(m, prompt, response, session, error);
}

/* Adds an example, unless the response is none or a wrong one. */
static judgeq_status keep(data_maker *m, json_t *prompt, json_t *response, judgeq_session *session,
                          judgeq_error *error) {
    const json_t *asked = json_array_get(json_array_get(m->sources.prompts, m->next), 0);
    bool answered;
    const judgeq_status status = check_answer(m, asked, response, &answered, error);
    if (status != JUDGEQ_OK) return status;
    if (json_array_size(response) < 2) {
        m->n_silent++;
        return JUDGEQ_OK;
    }
    if (!answered) {
        m->n_wrong++;
        return JUDGEQ_OK;
    }
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    const bool whole = stats.n_decoded + 1 == (int64_t)json_array_size(response);
    return put_example(m, prompt, response, NULL, whole ? session : NULL, error);
}

/* The model answers what the prompt asks; watched, where somebody wants the examples. */
static judgeq_status answer_prompt(data_maker *m, judgeq_session *session, judgeq_sampler *sampler, json_t *prompt,
                                   json_t *response, judgeq_error *error) {
    int32_t end = -1;
    judgeq_status status = m->take ? judgeq_session_watch(session, error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK) {
        status = respond(m, session, sampler, json_array_size(prompt), response, &end, error);
    }
    if (status != JUDGEQ_OK) return status;
    if (end >= 0 && !append(response, &end, 1)) return error_memory(error, "a response");
    return keep(m, prompt, response, session, error);
}

/* ---- questions that come later ----------------------------------------------------------------------------------- */

/* Turns of an example: one alone would be a prompt that ends with its question. There is one for each fact, since a
 * fact that is never asked for would be learnt as one that nobody needs. */
enum { TURNS_LEAST = 2 };

/* A conversation about a document. The session has read it, and a part of the turns. */
typedef struct conversation {
    judgeq_session *session;
    judgeq_sampler *sampler;
    size_t n_document;
    json_t *turns;     /* tokens after the document: questions, and answers without the tokens that ended them */
    json_t *answers;   /* [first, number] of the turns, for each answer */
    int32_t end;       /* that ended the last answer, or -1 */
    size_t n_answered; /* rightly */
} conversation;

/* The session reads what it has not read of the turns. */
static judgeq_status read_on(const data_maker *m, const conversation *c, judgeq_error *error) {
    judgeq_stats stats;
    judgeq_session_get_stats(c->session, &stats);
    const size_t first = (size_t)stats.n_position - c->n_document, n = json_array_size(c->turns);
    int32_t *ids = take_ids(m, c->turns);
    if (!ids) return error_memory(error, "a question");
    const judgeq_status status = judgeq_session_read(c->session, ids + first, n - first, error);
    free(ids);
    return status == JUDGEQ_ERROR_CANCELLED ? cancelled(error) : status;
}

/* Only the first n tokens of the turns were ever there. */
static judgeq_status go_back(const conversation *c, size_t n, judgeq_error *error) {
    while (json_array_size(c->turns) > n) json_array_remove(c->turns, json_array_size(c->turns) - 1);
    judgeq_stats stats;
    judgeq_session_get_stats(c->session, &stats);
    const int64_t end = (int64_t)(c->n_document + n);
    return stats.n_position > end ? judgeq_session_cut(c->session, end, error) : JUDGEQ_OK;
}

static judgeq_status put_question(const data_maker *m, const conversation *c, const json_t *question,
                                  judgeq_error *error) {
    const char *text = json_string_value(json_object_get(question, "question"));
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_status status = json_array_size(c->turns) == 0
                               ? context_question_tokens(m->model, &m->prompt, text, &tokens, &n, error)
                               : context_next_tokens(m->model, &m->prompt, text, &tokens, &n, error);
    if (status == JUDGEQ_OK && !append(c->turns, tokens, n)) status = error_memory(error, "a question");
    judgeq_free(tokens);
    return status == JUDGEQ_OK ? read_on(m, c, error) : status;
}

/* A turn more, if the model's answer is right. */
static judgeq_status ask(data_maker *m, conversation *c, const json_t *question, judgeq_error *error) {
    const size_t n_before = json_array_size(c->turns);
    json_t *answer = json_array();
    int32_t end = -1;
    bool right = false;
    judgeq_status status = answer ? put_question(m, c, question, error) : error_memory(error, "an answer");
    const size_t n_asked = json_array_size(c->turns);
    if (status == JUDGEQ_OK) {
        status = respond(m, c->session, c->sampler, c->n_document + n_asked, answer, &end, error);
        if (status == JUDGEQ_OK) status = check_answer(m, question, answer, &right, error);
    } else if (status == JUDGEQ_ERROR_LIMIT) {
        status = JUDGEQ_OK; /* the context has no room for it */
    }
    if (status == JUDGEQ_OK && right) {
        c->n_answered++;
        c->end = end;
        json_t *part = json_pack("[I, I]", (json_int_t)n_asked, (json_int_t)json_array_size(answer));
        if (json_array_extend(c->turns, answer) != 0 || json_array_append_new(c->answers, part) != 0) {
            status = error_memory(error, "an answer");
        }
    }
    json_decref(answer);
    return status == JUDGEQ_OK ? go_back(c, right ? json_array_size(c->turns) : n_before, error) : status;
}

/* The model answers questions one after the other; those that it answers rightly stay. The session is not
 * handed over: it has read parts of the response at once, which is not watched. */
static judgeq_status answer_later(data_maker *m, judgeq_session *session, judgeq_sampler *sampler, json_t *prompt,
                                  json_t *response, judgeq_error *error) {
    const json_t *questions = data_sources_later(json_array_get(m->sources.prompts, m->next));
    conversation c = {.session = session,
                      .sampler = sampler,
                      .n_document = json_array_size(prompt),
                      .turns = response,
                      .answers = json_array(),
                      .end = -1};
    judgeq_status status = c.answers ? JUDGEQ_OK : error_memory(error, "answers");
    for (size_t i = 0; status == JUDGEQ_OK && i < json_array_size(questions); i++) {
        status = ask(m, &c, json_array_get(questions, i), error);
    }
    if (status == JUDGEQ_OK && c.n_answered < TURNS_LEAST) {
        m->n_wrong++;
    } else if (status == JUDGEQ_OK) {
        if (c.end >= 0 && !append(response, &c.end, 1)) status = error_memory(error, "a response");
        if (status == JUDGEQ_OK) status = put_example(m, prompt, response, c.answers, NULL, error);
    }
    json_decref(c.answers);
    return status;
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

static judgeq_status make_example(data_maker *m, const int32_t *tokens, size_t n, judgeq_error *error) {
    const bool later = data_sources_later(json_array_get(m->sources.prompts, m->next)) != NULL;
    json_t *response = json_array(), *prompt = json_array();
    judgeq_session *session = NULL;
    judgeq_sampler *sampler = NULL;
    const bool made = response && prompt && append(prompt, tokens, n);
    judgeq_status status = made ? new_sampler(m, &sampler, error) : error_memory(error, "an example");
    if (status == JUDGEQ_OK) status = open_session(m, tokens, n, &session, error);
    if (status == JUDGEQ_OK) {
        status = (later ? answer_later : answer_prompt)(m, session, sampler, prompt, response, error);
    }
    judgeq_session_free(session);
    judgeq_sampler_free(sampler);
    json_decref(prompt);
    json_decref(response);
    return status;
}

/* Prompt m->next, unless its length is not what was asked for. */
static judgeq_status take_prompt(data_maker *m, judgeq_error *error) {
    const data_options *o = &m->options;
    const size_t most = (size_t)judgeq_model_get_info(m->model)->n_ctx_train;
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_status status = tokenize(m, json_array_get(m->sources.prompts, m->next), &tokens, &n, error);
    if (status == JUDGEQ_ERROR_UNSUPPORTED) {
        m->n_refused++;
        status = JUDGEQ_OK;
    } else if (status == JUDGEQ_ERROR_LIMIT) {
        m->n_long++;
        status = JUDGEQ_OK;
    } else if (status == JUDGEQ_OK && n < (size_t)o->sources.min_tokens) {
        m->n_short++;
    } else if (status == JUDGEQ_OK && (n > (size_t)o->sources.max_tokens || n + (size_t)o->n_tokens > most)) {
        m->n_long++;
    } else if (status == JUDGEQ_OK) {
        status = make_example(m, tokens, n, error);
    }
    judgeq_free(tokens);
    return status;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status data_maker_read(data_maker *m, const judgeq_model *model, const data_options *options,
                              judgeq_error *error) {
    m->options = *options;
    m->model = model;
    if (!data_sources_read(&m->sources, model, &m->options.sources)) {
        return error_memory(error, "the sources");
    }
    if (json_array_size(m->sources.prompts) > 0) return choose_format(m, error);
    return error_file(error, JUDGEQ_ERROR_ARGUMENT, options->sources.source[0], "the sources hold no prompt");
}

bool data_maker_done(const data_maker *m) {
    const size_t wanted = (size_t)m->options.n_examples;
    return m->next >= json_array_size(m->sources.prompts) || (wanted > 0 && m->n_examples >= wanted);
}

judgeq_status data_maker_next(data_maker *m, judgeq_error *error) {
    const judgeq_status status = m->go_on(m->data) ? take_prompt(m, error) : cancelled(error);
    if (status == JUDGEQ_OK) m->next++;
    return status;
}

judgeq_status data_maker_refuse_empty(data_maker *m, judgeq_error *error) {
    if (m->n_examples > 0) return JUDGEQ_OK;
    const data_sources_params *o = &m->options.sources;
    unlink(m->options.output); /* a header alone */
    return error_set(
        error, JUDGEQ_ERROR_FORMAT,
        "%.*s: not one example was made, and nothing is written: of %zu prompts, %zu were shorter than --min %d "
        "tokens, %zu longer than --max %d or than the model's context, %zu got no answer, %zu a wrong one",
        VISIBLE_FIT(m->options.output, 200), json_array_size(m->sources.prompts), m->n_short, o->min_tokens, m->n_long,
        o->max_tokens, m->n_silent, m->n_wrong);
}

judgeq_status data_maker_close(data_maker *m, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (m->file && fclose(m->file) != 0) {
        status = error_file(error, JUDGEQ_ERROR_IO, m->options.output, strerror(errno));
    }
    data_sources_free(&m->sources);
    *m = (data_maker){0};
    return status;
}

void data_maker_summarise(const data_maker *m) {
    const data_sources *sources = &m->sources;
    say("%zu examples in %s; of %zu prompts from %zu files, %zu were shorter than %d tokens, %zu longer than %d or "
        "than the "
        "model's context, %zu were refused by the chat template, %zu got no answer, %zu a wrong one; %zu files, lines "
        "or conversations were left out",
        m->n_examples, m->options.output, json_array_size(sources->prompts), sources->n_files, m->n_short,
        m->options.sources.min_tokens, m->n_long, m->options.sources.max_tokens, m->n_refused, m->n_silent, m->n_wrong,
        sources->n_broken);
    if (sources->n_passed == 0) return;
    say("%zu file%s of the folders %s passed over: not .txt, .md, .markdown, .json or .jsonl (%s%s)", sources->n_passed,
        sources->n_passed > 1 ? "s" : "", sources->n_passed > 1 ? "were" : "was", sources->passed,
        sources->n_passed > DATA_PASSED_NAMED ? ", ..." : "");
}
