#include "prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "files.h"
#include "say.h"
#include "standard_input.h"
#include "unicode.h"
#include "values.h"

static void drop_line_end(char *text, size_t *length) {
    if (*length == 0 || text[*length - 1] != '\n') return;
    text[--*length] = '\0';
    if (*length > 0 && text[*length - 1] == '\r') text[--*length] = '\0';
}

/* Tokenising puts U+FFFD where something is no UTF-8; one can go on with that, and should know. */
static void note_broken(const char *name, const char *text, size_t length) {
    size_t first;
    const size_t n = unicode_broken(text, length, &first);
    if (n == 0) return;
    say("%zu byte%s of %s %s not UTF-8, the first at %zu, and read as U+FFFD; iconv converts texts", n,
        n > 1 ? "s" : "", name, n > 1 ? "are" : "is", first + 1);
}

/* path: "-" is standard input. */
static int read_file(const char *path, bool quiet, char **text, size_t *length) {
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    judgeq_error error = {0};
    FILE *stream = standard ? stdin : fopen(path, "rb");
    if (!stream) {
        say("cannot read %s: %s", name, strerror(errno));
        return 1;
    }
    const judgeq_status status = files_read_stream(stream, name, text, length, &error);
    if (!standard) fclose(stream);
    if (status != JUDGEQ_OK) {
        say("%s", error.message);
        return 1;
    }
    if (!quiet) note_broken(name, *text, *length);
    drop_line_end(*text, length);
    return 0;
}

/* "document, blank line, question"; takes `document`. */
static char *join(char *document, size_t length, const char *question) {
    const size_t n = strlen(question);
    char *text = realloc(document, length + n + 3);
    if (!text) {
        free(document);
        return NULL;
    }
    snprintf(text + length, n + 3, "\n\n%s", question);
    return text;
}

static char *replace(char *document, const char *question) {
    free(document);
    return strdup(question);
}

/* The document's text, NULL where there is none: -f's, or what is on standard input. */
static int read_document(const options *o, const char *command, char **text, size_t *length) {
    if (o->file && strcmp(o->file, "-") != 0) return read_file(o->file, o->quiet, text, length);
    if (!o->file && o->prompt) {
        if (!standard_input_has_document(o->quiet)) return 0;
        const int status = read_file("-", o->quiet, text, length);
        if (status == 0 && *length > 0 && !o->quiet) {
            say("read %zu bytes from standard input, the document before -p", *length);
        }
        return status;
    }
    if (!o->file && isatty(STDIN_FILENO)) {
        return usage_wrong(command, "no prompt: -p \"TEXT\", -f FILE or both, or a text on standard input");
    }
    standard_input_wait(o->quiet);
    return read_file("-", o->quiet, text, length);
}

int prompt_read(const options *o, const char *command, char **text) {
    size_t length = 0;
    *text = NULL;
    const int status = read_document(o, command, text, &length);
    if (status != 0) return status;
    const bool question = o->prompt && *o->prompt;
    if (length == 0 && !question) {
        free(*text);
        *text = NULL;
        return usage_wrong(command, "the prompt is empty: -p \"TEXT\", -f FILE or both, or a text on standard input");
    }
    if (question) *text = length > 0 ? join(*text, length, o->prompt) : replace(*text, o->prompt);
    if (*text) return 0;
    say("no memory for the prompt");
    return EXIT_FAILURE;
}

/* Of the context that the prompt is for, which need not be the one that the model was trained for. */
static judgeq_status tokenize(const judgeq_model *model, const options *o, const char *text, unsigned flags,
                              int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    const int32_t n_ctx = o->n_ctx > 0 ? o->n_ctx : judgeq_model_get_info(model)->n_ctx_train;
    return judgeq_tokenize_for(model, n_ctx, text, strlen(text), flags, tokens, n_tokens, error);
}

/* --no-think is to have an effect, or a word. */
static judgeq_status check_think(const judgeq_model *model, const options *o, const judgeq_message *messages, size_t n,
                                 judgeq_error *error) {
    const judgeq_chat_params params[] = {{.think = JUDGEQ_THINK_ON}, {.think = JUDGEQ_THINK_OFF}};
    char *text[2] = {NULL, NULL};
    judgeq_status status = judgeq_chat_text(model, messages, n, &params[0], &text[0], error);
    if (status == JUDGEQ_OK) status = judgeq_chat_text(model, messages, n, &params[1], &text[1], error);
    if (status == JUDGEQ_OK && strcmp(text[0], text[1]) == 0 && !o->quiet) {
        say("--no-think changes nothing: the model's chat template has no switch for thinking");
    }
    judgeq_free(text[0]);
    judgeq_free(text[1]);
    return status;
}

judgeq_status prompt_tokenize(const judgeq_model *model, const options *o, const char *text, int32_t **tokens,
                              size_t *n_tokens, judgeq_error *error) {
    const unsigned raw = JUDGEQ_TEXT_BEGIN | (o->raw ? JUDGEQ_TEXT_CONTROL : JUDGEQ_TEXT_PLAIN);
    const judgeq_message messages[] = {{"system", o->system}, {"user", text}};
    const size_t skip = o->system ? 0 : 1;
    const judgeq_chat_params params = {.think = o->no_think ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT,
                                       .n_ctx = o->n_ctx};
    *tokens = NULL;
    *n_tokens = 0;
    if (o->raw) return tokenize(model, o, text, raw, tokens, n_tokens, error);
    judgeq_status status = judgeq_chat_tokens(model, messages + skip, 2 - skip, &params, tokens, n_tokens, error);
    if (status == JUDGEQ_OK && o->no_think) status = check_think(model, o, messages + skip, 2 - skip, error);
    if (status != JUDGEQ_ERROR_UNSUPPORTED || o->chat || o->system) return status;
    if (!o->quiet) say("the prompt is read as it is: %s", error->message);
    return tokenize(model, o, text, raw, tokens, n_tokens, error);
}

judgeq_status prompt_check_length(const judgeq_model *model, const options *o, size_t n_tokens, int32_t n_response,
                                  judgeq_error *error) {
    const int32_t n_trained = judgeq_model_get_info(model)->n_ctx_train;
    const size_t n_ctx = (size_t)(o->n_ctx > 0 ? o->n_ctx : n_trained), wanted = n_tokens + (size_t)n_response;
    const bool beyond = n_tokens > (size_t)n_trained;
    if (n_tokens <= n_ctx) {
        if (!beyond || o->quiet) return JUDGEQ_OK;
        say("the prompt has %zu tokens, and the model was trained for %d: expect worse answers", n_tokens, n_trained);
        return JUDGEQ_OK;
    }
    char response[64] = "", worse[96] = "";
    if (n_response > 0) snprintf(response, sizeof response, " and for %d of the response (-n)", n_response);
    if (beyond) snprintf(worse, sizeof worse, "; beyond what it was trained for, a model answers worse");
    return error_set(
        error, JUDGEQ_ERROR_LIMIT,
        "the prompt has %zu tokens, the context holds %zu (the model was trained for %d): --ctx %zu makes room for "
        "them%s%s",
        n_tokens, n_ctx, n_trained, wanted, response, worse);
}
