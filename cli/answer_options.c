#include "answer_options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "files.h"
#include "values.h"

int answer_options_check(const options *o, const char *command) {
    if (o->grammar && o->json_schema) {
        return usage_wrong(command, "--grammar and --json-schema exclude each other: a schema is made a grammar");
    }
    if (o->chat_template && o->raw) return usage_wrong(command, "--chat-template is for --chat, --raw has no template");
    const judgeq_sampler_params *s = &o->sampler;
    const bool penalties = s->repeat_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
    if (o->session.defer && (o->grammar || o->json_schema || penalties)) {
        return usage_wrong(command,
                           "--defer keeps tokens that were decoded greedily: it goes neither with --grammar and "
                           "--json-schema nor with penalties");
    }
    return 0;
}

/* A schema is an object, or true or false; anything else names a file. */
static bool is_schema(const char *text) {
    text += strspn(text, " \t\r\n");
    return *text == '{' || strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

/* The error with the name of what it is about before it. */
static judgeq_status about(const char *name, judgeq_status status, const judgeq_error *why, judgeq_error *error) {
    if (status == JUDGEQ_OK) return status;
    return error_set(error, status, "%.200s: %.300s", name, why->message);
}

static judgeq_status read_schema(options *o, judgeq_error *error) {
    const bool given = is_schema(o->json_schema);
    char *file = NULL;
    judgeq_error why = {0};
    judgeq_status status = given ? JUDGEQ_OK : files_read_text(o->json_schema, &file, &why);
    if (status != JUDGEQ_OK) return about("--json-schema", status, &why, error);
    status = judgeq_json_schema_grammar(given ? o->json_schema : file, &o->grammar_text, &why);
    free(file);
    return about(given ? "--json-schema" : o->json_schema, status, &why, error);
}

judgeq_status answer_options_read(options *o, judgeq_error *error) {
    if (o->json_schema) return read_schema(o, error);
    if (!o->grammar) return JUDGEQ_OK;
    judgeq_error why = {0};
    return about("--grammar", files_read_text(o->grammar, &o->grammar_text, &why), &why, error);
}

judgeq_status answer_options_template(options *o, const judgeq_model *model, judgeq_error *error) {
    if (!o->chat_template) return JUDGEQ_OK;
    const char *named = judgeq_chat_template(model, o->chat_template);
    if (named && access(o->chat_template, R_OK) != 0) {
        o->template_text = strdup(named);
        return o->template_text ? JUDGEQ_OK : error_memory(error, "a chat template");
    }
    return files_read_text(o->chat_template, &o->template_text, error);
}

judgeq_status answer_options_sampler(const options *o, const judgeq_model *model, judgeq_sampler **out,
                                     judgeq_error *error) {
    const judgeq_grammar grammar = {.text = o->grammar_text};
    judgeq_sampler_params params = o->sampler;
    judgeq_error why = {0};
    params.grammar = o->grammar_text ? &grammar : NULL;
    params.model = model;
    const judgeq_status status = judgeq_sampler_new(&params, out, &why);
    if (status == JUDGEQ_OK || !o->grammar)
        return status == JUDGEQ_OK ? status : error_set(error, status, "%s", why.message);
    return about(o->grammar, status, &why, error);
}
