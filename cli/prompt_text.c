#include "prompt_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int prompt_text_file(const char *path, bool quiet, char **text, size_t *length) {
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
    if (o->file && strcmp(o->file, "-") != 0) return prompt_text_file(o->file, o->quiet, text, length);
    if (!o->file && o->prompt) {
        if (!standard_input_has_document(o->quiet)) return 0;
        const int status = prompt_text_file("-", o->quiet, text, length);
        if (status == 0 && *length > 0 && !o->quiet) {
            say("read %zu bytes from standard input, the document before -p", *length);
        }
        return status;
    }
    if (!o->file && isatty(STDIN_FILENO)) {
        return usage_wrong(command, "no prompt: -p \"TEXT\", -f FILE or both, or a text on standard input%s",
                           strcmp(command, "run") == 0 ? "; judgeq chat holds a conversation" : "");
    }
    standard_input_wait(o->quiet);
    return prompt_text_file("-", o->quiet, text, length);
}

int prompt_text_read(const options *o, const char *command, char **text) {
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

prompt_params prompt_text_params(const options *o) {
    return (prompt_params){.format = o->raw    ? PROMPT_RAW
                                     : o->chat ? PROMPT_CHAT
                                               : PROMPT_AUTO,
                           .template_text = o->template_text,
                           .no_think = o->no_think,
                           .n_ctx = session_choices_length(&o->session),
                           .notes = say_notes(o->quiet)};
}

judgeq_status prompt_text_tokenize(const judgeq_model *model, const options *o, const char *text, int32_t n_response,
                                   int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    const judgeq_message messages[] = {{"system", o->system}, {"user", text}};
    const size_t skip = o->system ? 0 : 1;
    const prompt_params params = prompt_text_params(o);
    const judgeq_status status = prompt_tokenize(model, &params, messages + skip, 2 - skip, tokens, n_tokens, error);
    if (status != JUDGEQ_OK) return status;
    return prompt_check_length(model, &params, *n_tokens, n_response, error);
}
