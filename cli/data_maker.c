#include "data_maker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* The user's and other messages one after the other, for models without a chat template. */
static char *join(const judgeq_message *message, size_t n) {
    size_t length = 1;
    for (size_t i = 0; i < n; i++) length += strlen(message[i].content) + 2;
    char *text = malloc(length), *end = text;
    for (size_t i = 0; text && i < n; i++) end += sprintf(end, "%s%s", message[i].content, i + 1 < n ? "\n\n" : "");
    return text;
}

static judgeq_status tokenize_raw(const data_maker *m, const judgeq_message *message, size_t n_message,
                                  int32_t **tokens, size_t *n, judgeq_error *error) {
    char *text = join(message, n_message);
    if (!text) return error_memory(error, "a prompt");
    const judgeq_status status = judgeq_tokenize(m->model, text, strlen(text), JUDGEQ_TEXT_BEGIN, tokens, n, error);
    free(text);
    return status;
}

/* Whether prompts are read without a chat template, and a word about it. */
static judgeq_status choose_raw(data_maker *m, judgeq_error *error) {
    const judgeq_message message = {"user", "x"};
    char *text = NULL;
    const judgeq_status status = judgeq_chat_text(m->model, &message, 1, NULL, &text, error);
    judgeq_free(text);
    m->raw = status == JUDGEQ_ERROR_UNSUPPORTED;
    if (m->raw && !m->options.quiet) say("prompts are read as they are: %s", error->message);
    return m->raw ? JUDGEQ_OK : status;
}

/* The prompt's tokens. UNSUPPORTED where the chat template refuses its messages, LIMIT where no context holds them. */
static judgeq_status tokenize(const data_maker *m, const json_t *prompt, int32_t **tokens, size_t *n,
                              judgeq_error *error) {
    const size_t n_message = json_array_size(prompt);
    const judgeq_chat_params params = {.think = m->options.no_think ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT};
    judgeq_message *message = calloc(n_message + 1, sizeof *message);
    if (!message) return error_memory(error, "a prompt");
    for (size_t i = 0; i < n_message; i++) {
        const json_t *at = json_array_get(prompt, i);
        message[i].role = json_string_value(json_object_get(at, "role"));
        message[i].content = json_string_value(json_object_get(at, "content"));
    }
    const judgeq_status status = m->raw ? tokenize_raw(m, message, n_message, tokens, n, error)
                                        : judgeq_chat_tokens(m->model, message, n_message, &params, tokens, n, error);
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

/* The response to prompt m->next: its token ids, with the one that ends it. */
static judgeq_status respond(data_maker *m, judgeq_session *session, json_t *response, judgeq_error *error) {
    judgeq_sampler_params params = m->options.sampler;
    params.seed = (uint32_t)(m->options.sources.seed * 0x9e3779b1u + m->next); /* a resumed run draws the same */
    judgeq_sampler *sampler = NULL;
    judgeq_status status = judgeq_sampler_new(&params, &sampler, error);
    const int32_t n_vocab = judgeq_model_get_info(m->model)->n_vocab;
    for (int32_t i = 0; status == JUDGEQ_OK && i < m->options.n_tokens; i++) {
        const int32_t token = judgeq_sampler_sample(sampler, judgeq_session_logits(session), n_vocab);
        if (token < 0 || json_array_append_new(response, json_integer(token)) != 0) {
            status = error_memory(error, "a response");
        } else if (judgeq_token_ends(m->model, token) || data_cut_loop(response) || i + 1 == m->options.n_tokens) {
            break;
        } else if (!m->go_on(m->data)) {
            status = cancelled(error);
        } else {
            status = judgeq_session_decode(session, token, error);
        }
    }
    judgeq_sampler_free(sampler);
    return status;
}

static char *response_text(const data_maker *m, const json_t *response) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    for (size_t i = 0; i < json_array_size(response); i++) {
        char piece[512];
        const int32_t token = (int32_t)json_integer_value(json_array_get(response, i));
        const int32_t n = judgeq_token_text(m->model, token, piece, sizeof piece);
        if (n > 0) fwrite(piece, 1, (size_t)n, out);
    }
    fclose(out);
    return text;
}

/* A session that has read the prompt; watched, where somebody wants its examples. */
static judgeq_status open_session(data_maker *m, const int32_t *tokens, size_t n, judgeq_session **out,
                                  judgeq_error *error) {
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = m->options.n_threads;
    params.kv_type = m->options.kv_type;
    params.progress = go_on;
    params.progress_data = m;
    judgeq_status status = judgeq_session_new(m->model, &params, out, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(*out, tokens, n, error);
    if (status == JUDGEQ_ERROR_CANCELLED) status = cancelled(error);
    if (status == JUDGEQ_OK && m->take) status = judgeq_session_watch(*out, error);
    return status;
}

/* Adds an example to the file, unless the response is none or a wrong one. */
static judgeq_status keep(data_maker *m, json_t *prompt, json_t *response, judgeq_session *session,
                          judgeq_error *error) {
    char *text = response_text(m, response);
    if (!text) return error_memory(error, "a response");
    const bool answered = data_sources_answered(json_array_get(m->sources.prompts, m->next), text);
    free(text);
    if (json_array_size(response) < 2) {
        m->n_silent++;
        return JUDGEQ_OK;
    }
    if (!answered) {
        m->n_wrong++;
        return JUDGEQ_OK;
    }
    json_t *line =
        json_pack("{s:I, s:O, s:O}", "prompt_number", (json_int_t)m->next, "prompt", prompt, "response", response);
    const judgeq_status status = put(m, line, error);
    if (status != JUDGEQ_OK) return status;
    m->n_examples++;
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    const bool whole = stats.n_decoded + 1 == (int64_t)json_array_size(response);
    return hand_over(m, prompt, response, whole ? session : NULL, error);
}

static judgeq_status make_example(data_maker *m, const int32_t *tokens, size_t n, judgeq_error *error) {
    json_t *response = json_array(), *prompt = json_array();
    judgeq_session *session = NULL;
    bool made = response && prompt;
    for (size_t i = 0; made && i < n; i++) made = json_array_append_new(prompt, json_integer(tokens[i])) == 0;
    judgeq_status status = made ? JUDGEQ_OK : error_memory(error, "an example");
    if (status == JUDGEQ_OK) status = open_session(m, tokens, n, &session, error);
    if (status == JUDGEQ_OK) status = respond(m, session, response, error);
    if (status == JUDGEQ_OK) status = keep(m, prompt, response, session, error);
    judgeq_session_free(session);
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
    if (json_array_size(m->sources.prompts) > 0) return choose_raw(m, error);
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
