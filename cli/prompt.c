#include "prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All of a stream, terminated; NULL with errno set. */
static char *read_stream(FILE *stream, size_t *length) {
    size_t capacity = 1 << 16, n = 0;
    char *text = malloc(capacity);
    while (text) {
        n += fread(text + n, 1, capacity - n - 1, stream);
        if (n < capacity - 1) break;
        capacity *= 2;
        char *larger = realloc(text, capacity);
        if (!larger) free(text);
        text = larger;
    }
    if (text && ferror(stream)) {
        const int reason = errno;
        free(text);
        errno = reason;
        return NULL;
    }
    if (text) text[n] = '\0';
    *length = n;
    return text;
}

static void drop_line_end(char *text, size_t *length) {
    if (*length == 0 || text[*length - 1] != '\n') return;
    text[--*length] = '\0';
    if (*length > 0 && text[*length - 1] == '\r') text[--*length] = '\0';
}

/* path: "-" is standard input. */
static int read_file(const char *path, char **text, size_t *length) {
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *stream = standard ? stdin : fopen(path, "rb");
    *text = stream ? read_stream(stream, length) : NULL;
    const int reason = errno;
    if (stream && !standard) fclose(stream);
    if (!*text) {
        fprintf(stderr, "judgeq: cannot read %s: %s\n", name, strerror(reason));
        return 1;
    }
    if (memchr(*text, '\0', *length)) {
        fprintf(stderr, "judgeq: %s holds a zero byte: it is not text\n", name);
        free(*text);
        *text = NULL;
        return 1;
    }
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

int prompt_read(const options *o, char **text) {
    size_t length = 0;
    int status = 0;
    *text = NULL;
    if (o->file || !o->prompt) {
        if (!o->file && isatty(STDIN_FILENO)) {
            fputs("judgeq: no prompt: -p TEXT, -f FILE, or a text on standard input; see judgeq run --help\n", stderr);
            return 2;
        }
        status = read_file(o->file ? o->file : "-", text, &length);
        if (status != 0) return status;
    }
    const bool question = o->prompt && *o->prompt;
    if (length == 0 && !question) {
        fputs("judgeq: the prompt is empty\n", stderr);
        free(*text);
        *text = NULL;
        return 2;
    }
    if (question) *text = length > 0 ? join(*text, length, o->prompt) : replace(*text, o->prompt);
    if (*text) return 0;
    fputs("judgeq: no memory for the prompt\n", stderr);
    return 1;
}

judgeq_status prompt_tokenize(const judgeq_model *model, const options *o, const char *text, int32_t **tokens,
                              size_t *n_tokens, judgeq_error *error) {
    if (o->raw)
        return judgeq_tokenize(model, text, strlen(text), JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL, tokens, n_tokens,
                               error);
    const judgeq_message messages[] = {{"system", o->system}, {"user", text}};
    const size_t skip = o->system ? 0 : 1;
    char *chat = NULL;
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = judgeq_chat_text(model, messages + skip, 2 - skip, &chat, error);
    if (status == JUDGEQ_ERROR_UNSUPPORTED && !o->chat && !o->system) {
        return judgeq_tokenize(model, text, strlen(text), JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL, tokens, n_tokens,
                               error);
    }
    if (status == JUDGEQ_OK)
        status = judgeq_tokenize(model, chat, strlen(chat), JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL, tokens, n_tokens,
                                 error);
    judgeq_free(chat);
    return status;
}
