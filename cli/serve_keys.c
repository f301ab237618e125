#include "serve_keys.h"

#include <stdlib.h>
#include <string.h>

#include "exit_status.h"
#include "prompt_text.h"
#include "say.h"

/* Without the blanks around it, which nobody sees. */
static char *trimmed(char *line) {
    line += strspn(line, " \t");
    size_t n = strlen(line);
    while (n > 0 && strchr(" \t", line[n - 1])) n--;
    line[n] = '\0';
    return line;
}

static int take(serve_keys *keys, const char *path) {
    char *rest = NULL;
    for (char *line = strtok_r(keys->text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        line = trimmed(line);
        if (*line == '#' || *line == '\0') continue;
        if (keys->n == SERVE_KEYS_MOST) {
            say("--api-key-file %s: up to %d keys", path, SERVE_KEYS_MOST);
            return EXIT_USAGE;
        }
        keys->key[keys->n++] = line;
    }
    if (keys->n > keys->n_given) return 0;
    say("--api-key-file %s: has no key", path);
    return EXIT_USAGE;
}

int serve_keys_read(serve_keys *keys, const char *path) {
    serve_keys read = *keys;
    size_t length = 0;
    read.n = read.n_given;
    read.text = NULL;
    int status = prompt_text_file(path, true, &read.text, &length);
    if (status == 0) status = take(&read, path);
    serve_keys *gone = status == 0 ? keys : &read;
    free(gone->text);
    if (status == 0) *keys = read;
    return status;
}

void serve_keys_free(serve_keys *keys) {
    free(keys->text);
    keys->text = NULL;
}
