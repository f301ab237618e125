#include "chat.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "guard.h"

/* What a template is asked to render once, to learn what it does with messages. */
static const char PROBE_SYSTEM[] = "ProbeOfSystem", PROBE_USER[] = "ProbeOfUser";

/* A token that is no text: the tokeniser takes it out of a text before anything else. */
typedef struct control_token {
    const char *text;
    size_t length;
    bool strips_left, strips_right; /* with the blanks around it */
} control_token;

typedef struct template {
    guard_chat *compiled; /* NULL: why_not */
    judgeq_error why_not;
    bool typed;        /* it reads contents that are lists of parts, and no others */
    bool drops_system; /* it leaves system messages out without a word */
}
template;

typedef struct chat {
    template own;
    control_token *control; /* [n_control], by first byte, the longest first */
    size_t n_control;
    size_t first[257]; /* where those of a first byte begin */
} chat;

/* ---- control tokens ---------------------------------------------------------------------------------------------- */

static int compare_control(const void *left, const void *right) {
    const control_token *a = left, *b = right;
    const unsigned char x = (unsigned char)*a->text, y = (unsigned char)*b->text;
    if (x != y) return x < y ? -1 : 1;
    return a->length > b->length ? -1 : a->length < b->length;
}

static judgeq_status list_control(chat *c, const struct llama_vocab *vocab, judgeq_error *error) {
    const enum llama_token_attr wanted = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN;
    const int32_t n = llama_vocab_n_tokens(vocab);
    size_t count = 0;
    for (int32_t id = 0; id < n; id++) count += (llama_vocab_get_attr(vocab, id) & wanted) != 0;
    c->control = calloc(count + 1, sizeof *c->control);
    if (!c->control) return error_memory(error, "control tokens");
    for (int32_t id = 0; id < n; id++) {
        const enum llama_token_attr attr = llama_vocab_get_attr(vocab, id);
        const char *text = llama_vocab_get_text(vocab, id);
        if (!(attr & wanted) || !*text) continue;
        c->control[c->n_control++] = (control_token){.text = text,
                                                     .length = strlen(text),
                                                     .strips_left = (attr & LLAMA_TOKEN_ATTR_LSTRIP) != 0,
                                                     .strips_right = (attr & LLAMA_TOKEN_ATTR_RSTRIP) != 0};
    }
    qsort(c->control, c->n_control, sizeof *c->control, compare_control);
    for (size_t i = 0, byte = 0; byte <= 256; byte++) {
        while (i < c->n_control && (unsigned char)*c->control[i].text < byte) i++;
        c->first[byte] = i;
    }
    return JUDGEQ_OK;
}

/* The next control token after `after`, or the first and longest where that is NULL, whose text begins `text`. */
static const control_token *control_at(const chat *c, const char *text, size_t length, const control_token *after) {
    const unsigned char byte = (unsigned char)*text;
    for (size_t i = after ? (size_t)(after - c->control) + 1 : c->first[byte]; i < c->first[byte + 1]; i++) {
        const control_token *at = &c->control[i];
        if (at->length <= length && memcmp(at->text, text, at->length) == 0) return at;
    }
    return NULL;
}

/* ---- breaks ------------------------------------------------------------------------------------------------------ */

/* Templates cut, join and replace what they are given, and the engine's own marks get lost on the way. So control
 * tokens that are written out in a message are broken by a character that occurs nowhere else, which is taken out again
 * after the rendering. Candidates are Unicode's noncharacters U+FDD0 to U+FDEF. */
enum { CONTROL_MOST = 256 }; /* bytes of a control token that two texts may hold together */
enum { BREAK_LENGTH = CHAT_BREAK - 1, BREAKS = 32 };

bool chat_break_at(int k, char out[CHAT_BREAK]) {
    const unsigned char last = (unsigned char)(0x90 + k);
    memcpy(out, (const char[]){(char)0xef, (char)0xb7, (char)last, 0}, CHAT_BREAK);
    return k < BREAKS;
}

static bool find_break(const judgeq_message *messages, size_t n, const char *template_text, char *out) {
    for (int k = 0; chat_break_at(k, out); k++) {
        bool used = template_text && strstr(template_text, out);
        for (size_t i = 0; !used && i < n; i++)
            used = strstr(messages[i].content, out) || strstr(messages[i].role, out);
        if (!used) return true;
    }
    return false;
}

/* Bytes of the character that begins here. */
static size_t character_length(const char *text) {
    size_t n = 1;
    while (((unsigned char)text[n] & 0xc0) == 0x80) n++;
    return n;
}

/* text with a break after the first character of every control token; the caller's. NULL: no memory. */
static char *break_up(const chat *c, const char *text, const char *mark) {
    const size_t length = strlen(text);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += control_at(c, text + i, length - i, NULL) != NULL;
    char *broken = malloc(length + n * BREAK_LENGTH + 1), *end = broken;
    if (!broken) return NULL;
    const char *until = NULL; /* the end of a character that a break comes after */
    for (size_t i = 0; i < length; i++) {
        if (control_at(c, text + i, length - i, NULL)) until = text + i + character_length(text + i);
        *end++ = text[i];
        if (until != text + i + 1) continue;
        memcpy(end, mark, BREAK_LENGTH);
        end += BREAK_LENGTH;
    }
    *end = '\0';
    return broken;
}

char *chat_break_up(const judgeq_model *model, const char *text, const char *mark) {
    return break_up(model->chat, text, mark);
}

/* Whether a control token that is longer than text[length] begins with it. */
static bool begins_control(const chat *c, const char *text, size_t length) {
    const unsigned char byte = (unsigned char)*text;
    for (size_t i = c->first[byte]; i < c->first[byte + 1]; i++) {
        if (c->control[i].length > length && memcmp(c->control[i].text, text, length) == 0) return true;
    }
    return false;
}

bool chat_ends_open(const judgeq_model *model, const char *text) {
    const size_t n = strlen(text);
    for (size_t from = n > CONTROL_MOST ? n - CONTROL_MOST : 0; from < n; from++) {
        if (begins_control(model->chat, text + from, n - from)) return true;
    }
    return false;
}

static void free_messages(judgeq_message *messages, size_t n) {
    for (size_t i = 0; messages && i < n; i++) {
        free((void *)messages[i].role);
        free((void *)messages[i].content);
    }
    free(messages);
}

/* The messages with their control tokens broken; NULL: no memory. */
static judgeq_message *break_messages(const chat *c, const judgeq_message *messages, size_t n, const char *mark) {
    judgeq_message *broken = calloc(n + 1, sizeof *broken);
    for (size_t i = 0; broken && i < n; i++) {
        broken[i].role = break_up(c, messages[i].role, mark);
        broken[i].content = break_up(c, messages[i].content, mark);
        if (broken[i].role && broken[i].content) continue;
        free_messages(broken, n);
        broken = NULL;
    }
    return broken;
}

/* What is known of a byte of a rendered text. */
enum { BYTE_INPUT = 1, BYTE_AFTER_BREAK = 2 };

void chat_take_breaks_out(guard_chat_text *t, const char *mark) {
    size_t n = 0;
    unsigned char after = 0;
    for (size_t i = 0; i < t->length;) {
        if (strncmp(t->text + i, mark, BREAK_LENGTH) == 0) {
            after = BYTE_AFTER_BREAK;
            i += BREAK_LENGTH;
            continue;
        }
        t->text[n] = t->text[i];
        t->input[n++] = t->input[i++] | after;
        after = 0;
    }
    t->length = n;
    t->text[n] = '\0';
}

/* ---- rendering --------------------------------------------------------------------------------------------------- */

static void add_variable(const struct llama_vocab *vocab, const char *name, llama_token token, guard_chat_input *in,
                         guard_chat_variable *variables) {
    if (token < 0 || token >= llama_vocab_n_tokens(vocab)) return;
    variables[in->n_variables++] = (guard_chat_variable){name, llama_vocab_get_text(vocab, token)};
}

static judgeq_status render_messages(const judgeq_model *model, const template *t, const judgeq_message *messages,
                                     size_t n, const judgeq_chat_params *params, guard_chat_text *out,
                                     judgeq_error *error) {
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    guard_chat_variable variables[5];
    guard_chat_input in = {.messages = messages,
                           .n_messages = n,
                           .typed = t->typed,
                           .generation = !params->closed,
                           .think = params->think,
                           .now = params->now,
                           .variables = variables};
    add_variable(vocab, "bos_token", llama_vocab_bos(vocab), &in, variables);
    add_variable(vocab, "eos_token", llama_vocab_eos(vocab), &in, variables);
    add_variable(vocab, "pad_token", llama_vocab_pad(vocab), &in, variables);
    add_variable(vocab, "sep_token", llama_vocab_sep(vocab), &in, variables);
    add_variable(vocab, "mask_token", llama_vocab_mask(vocab), &in, variables);
    return guard_chat_render(t->compiled, &in, out, error);
}

/* Whether the template shows the message, last of two, or alone, whose content is `probe`. */
static judgeq_status shows(const judgeq_model *model, const template *t, const judgeq_message *messages, size_t n,
                           const char *probe, bool *shown, judgeq_error *error) {
    const judgeq_chat_params params = {0};
    guard_chat_text text = {0};
    const judgeq_status status = render_messages(model, t, messages, n, &params, &text, error);
    *shown = status == JUDGEQ_OK && strstr(text.text, probe);
    guard_chat_text_free(&text);
    return status;
}

/* A template that loses a message must not lose it in silence: it may want contents that are lists of parts, or have no
 * place for system messages. One that refuses them says so itself, when it is used. */
static judgeq_status probe(const judgeq_model *model, template *t, judgeq_error *error) {
    const judgeq_message messages[] = {{"system", PROBE_SYSTEM}, {"user", PROBE_USER}};
    bool shown;
    judgeq_error ignored = {0};
    judgeq_status status = shows(model, t, messages + 1, 1, PROBE_USER, &shown, &ignored);
    if (!shown && status != JUDGEQ_ERROR_MEMORY) {
        t->typed = true;
        status = shows(model, t, messages + 1, 1, PROBE_USER, &shown, &ignored);
        t->typed = shown;
    }
    if (status != JUDGEQ_ERROR_MEMORY) {
        status = shows(model, t, messages, 2, PROBE_SYSTEM, &shown, &ignored);
        t->drops_system = status == JUDGEQ_OK && !shown;
    }
    return status == JUDGEQ_ERROR_MEMORY ? error_memory(error, "a chat template") : JUDGEQ_OK;
}

/* Fails for want of memory only; what is wrong with the template is noted in it. */
static judgeq_status template_make(const judgeq_model *model, const char *source, template *t, judgeq_error *error) {
    judgeq_error why = {0};
    *t = (template){0};
    const judgeq_status status = guard_chat_new(source, &t->compiled, &why);
    if (status == JUDGEQ_OK) return probe(model, t, error);
    if (status == JUDGEQ_ERROR_MEMORY) return error_memory(error, "a chat template");
    error_write(&t->why_not, status, "the chat template cannot be used: %s", why.message);
    return JUDGEQ_OK;
}

static judgeq_status unsupported(const judgeq_model *model, const char *what, judgeq_error *error) {
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: the chat template cannot be used: %s", model->file.path,
                     what);
}

static judgeq_status check_use(const judgeq_model *model, const template *t, const judgeq_message *messages, size_t n,
                               const judgeq_chat_params *params, judgeq_error *error) {
    const time_t now = (time_t)params->now;
    struct tm fields;
    if (!localtime_r(&now, &fields)) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "now: no time of any calendar");
    if (!t->compiled) return error_set(error, t->why_not.code, "%s: %s", model->file.path, t->why_not.message);
    for (size_t i = 0; t->drops_system && i < n; i++) {
        if (strcmp(messages[i].role, "system") == 0) {
            return unsupported(model, "it has no place for a system message", error);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status append_answer(guard_chat_text *text, const char *answer, judgeq_error *error) {
    const size_t n = strlen(answer), length = text->length + n;
    char *bytes = realloc(text->text, length + 1);
    if (bytes) text->text = bytes;
    unsigned char *input = realloc(text->input, length + 1);
    if (input) text->input = input;
    if (!bytes || !input) return error_memory(error, "a chat text");
    memcpy(text->text + text->length, answer, n + 1);
    memset(text->input + text->length, BYTE_INPUT, n);
    text->length = length;
    return JUDGEQ_OK;
}

static judgeq_status render_with(const judgeq_model *model, const template *t, const judgeq_message *messages, size_t n,
                                 const judgeq_chat_params *params, guard_chat_text *out, judgeq_error *error) {
    *out = (guard_chat_text){0};
    judgeq_status status = check_use(model, t, messages, n, params, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_error why = {0};
    status = render_messages(model, t, messages, n, params, out, &why);
    if (status == JUDGEQ_ERROR_UNSUPPORTED) return unsupported(model, why.message, error);
    if (status != JUDGEQ_OK) return error_set(error, status, "%s", why.message);
    if (params->answer) status = append_answer(out, params->answer, error);
    if (status != JUDGEQ_OK) guard_chat_text_free(out);
    return status;
}

/* `messages` in the model's template, or in the caller's. */
static judgeq_status render(const judgeq_model *model, const judgeq_message *messages, size_t n,
                            const judgeq_chat_params *params, guard_chat_text *out, judgeq_error *error) {
    *out = (guard_chat_text){0};
    if (!params->template_text) {
        return render_with(model, &model->chat->own, messages, n, params, out, error);
    }
    template other;
    judgeq_status status = template_make(model, params->template_text, &other, error);
    if (status == JUDGEQ_OK) status = render_with(model, &other, messages, n, params, out, error);
    guard_chat_free(other.compiled);
    return status;
}

/* Rendered, and for every byte of the text what is known of it. */
static judgeq_status render_marked(const judgeq_model *model, const judgeq_message *messages, size_t n,
                                   const judgeq_chat_params *params, guard_chat_text *out, judgeq_error *error) {
    const char *source =
        params->template_text ? params->template_text : llama_model_chat_template(model->vocabulary, NULL);
    char mark[BREAK_LENGTH + 1];
    *out = (guard_chat_text){0};
    if (!find_break(messages, n, source, mark)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the messages hold all of Unicode's noncharacters");
    }
    judgeq_message *broken = break_messages(model->chat, messages, n, mark);
    if (!broken) return error_memory(error, "messages");
    const judgeq_status status = render(model, broken, n, params, out, error);
    free_messages(broken, n);
    if (status == JUDGEQ_OK) chat_take_breaks_out(out, mark);
    return status;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

typedef struct token_list {
    int32_t *id;
    size_t n;
    int32_t n_ctx; /* that they are for */
} token_list;

static judgeq_status add_tokens(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                                token_list *list, judgeq_error *error) {
    int32_t *id = NULL;
    size_t n = 0;
    if (length == 0) return JUDGEQ_OK;
    judgeq_status status = judgeq_tokenize_for(model, list->n_ctx, text, length, flags, &id, &n, error);
    if (status != JUDGEQ_OK) return status;
    int32_t *longer = realloc(list->id, (list->n + n + 1) * sizeof *longer);
    if (longer) {
        memcpy(longer + list->n, id, n * sizeof *id);
        list->id = longer;
        list->n += n;
    } else {
        status = error_memory(error, "tokens");
    }
    free(id);
    return status;
}

/* Whether the template itself wrote the token that stands at `at`. */
static bool template_wrote(const guard_chat_text *t, size_t at, size_t length) {
    if (t->input[at] & BYTE_INPUT) return false;
    for (size_t i = at + 1; i < at + length; i++) {
        if (t->input[i] != 0) return false;
    }
    return true;
}

/* A text on its way to tokens. Texts between the template's control tokens that hold others, which somebody wrote into
 * a message, are tokenised alone and as text; all else in one piece, as if nobody had. */
typedef struct partition {
    const judgeq_model *model;
    const guard_chat_text *text;
    token_list *list;
    size_t piece;                /* where what is not tokenised yet begins */
    size_t begin;                /* of the text between control tokens at hand */
    bool foreign;                /* it holds a control token that is not the template's */
    const control_token *before; /* it; or NULL */
} partition;

static judgeq_status end_text(partition *p, size_t end, const control_token *after, judgeq_error *error) {
    if (!p->foreign) return JUDGEQ_OK;
    const char *text = p->text->text;
    judgeq_status status =
        add_tokens(p->model, text + p->piece, p->begin - p->piece, JUDGEQ_TEXT_CONTROL, p->list, error);
    size_t from = p->begin, to = end;
    while (p->before && p->before->strips_right && from < to && isspace((unsigned char)text[from])) from++;
    while (after && after->strips_left && from < to && isspace((unsigned char)text[to - 1])) to--;
    if (status == JUDGEQ_OK) {
        status = add_tokens(p->model, text + from, to - from, JUDGEQ_TEXT_PLAIN, p->list, error);
    }
    p->piece = end;
    p->foreign = false;
    return status;
}

static judgeq_status tokenise(const judgeq_model *model, const guard_chat_text *t, size_t from, token_list *list,
                              judgeq_error *error) {
    partition p = {.model = model, .text = t, .list = list, .piece = from, .begin = from};
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = from; status == JUDGEQ_OK && i < t->length;) {
        const control_token *at = NULL;
        while ((at = control_at(model->chat, t->text + i, t->length - i, at)) && !template_wrote(t, i, at->length)) {
            p.foreign = true;
        }
        if (!at) {
            i++;
            continue;
        }
        status = end_text(&p, i, at, error);
        i += at->length;
        p.begin = i;
        p.before = at;
    }
    if (status == JUDGEQ_OK) status = end_text(&p, t->length, NULL, error);
    if (status != JUDGEQ_OK) return status;
    return add_tokens(model, t->text + p.piece, t->length - p.piece, JUDGEQ_TEXT_CONTROL, list, error);
}

/* Some templates write the token that begins a text, and some leave it to the vocabulary. */
static judgeq_status add_begin(const judgeq_model *model, token_list *list, judgeq_error *error) {
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    const llama_token begin = llama_vocab_bos(vocab);
    if (!llama_vocab_get_add_bos(vocab) || (list->n > 0 && list->id[0] == begin)) return JUDGEQ_OK;
    int32_t *longer = realloc(list->id, (list->n + 1) * sizeof *longer);
    if (!longer) return error_memory(error, "tokens");
    memmove(longer + 1, longer, list->n * sizeof *longer);
    longer[0] = begin;
    list->id = longer;
    list->n++;
    return JUDGEQ_OK;
}

judgeq_status chat_tokenise(const judgeq_model *model, const guard_chat_text *text, size_t skip, int32_t n_ctx,
                            int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    token_list list = {.n_ctx = n_ctx > 0 ? n_ctx : model->info.n_ctx_train};
    judgeq_status status = tokenise(model, text, skip, &list, error);
    if (status == JUDGEQ_OK && skip == 0) status = add_begin(model, &list, error);
    if (status != JUDGEQ_OK) {
        free(list.id);
        return status;
    }
    *tokens = list.id;
    *n_tokens = list.n;
    return JUDGEQ_OK;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status chat_load(judgeq_model *model, judgeq_error *error) {
    model->chat = calloc(1, sizeof *model->chat);
    if (!model->chat) return error_memory(error, "a chat template");
    const judgeq_status status = list_control(model->chat, llama_model_get_vocab(model->vocabulary), error);
    if (status != JUDGEQ_OK) return status;
    const char *source = llama_model_chat_template(model->vocabulary, NULL);
    if (source) return template_make(model, source, &model->chat->own, error);
    error_write(&model->chat->own.why_not, JUDGEQ_ERROR_UNSUPPORTED, "the file has no chat template");
    return JUDGEQ_OK;
}

void chat_free(judgeq_model *model) {
    if (!model->chat) return;
    guard_chat_free(model->chat->own.compiled);
    free(model->chat->control);
    free(model->chat);
    model->chat = NULL;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static const judgeq_chat_params DEFAULTS = {0};

judgeq_status judgeq_chat_text(const judgeq_model *model, const judgeq_message *messages, size_t n_messages,
                               const judgeq_chat_params *params, char **text, judgeq_error *error) {
    guard_chat_text rendered;
    *text = NULL;
    const judgeq_status status = render(model, messages, n_messages, params ? params : &DEFAULTS, &rendered, error);
    if (status != JUDGEQ_OK) return status;
    free(rendered.input);
    *text = rendered.text;
    return JUDGEQ_OK;
}

judgeq_status judgeq_chat_tokens(const judgeq_model *model, const judgeq_message *messages, size_t n_messages,
                                 const judgeq_chat_params *params, int32_t **tokens, size_t *n_tokens,
                                 judgeq_error *error) {
    const judgeq_chat_params *p = params ? params : &DEFAULTS;
    guard_chat_text rendered;
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = render_marked(model, messages, n_messages, p, &rendered, error);
    if (status != JUDGEQ_OK) return status;
    if (p->skip > rendered.length) {
        status = error_set(error, JUDGEQ_ERROR_ARGUMENT, "skip: the text has %zu bytes", rendered.length);
    }
    if (status == JUDGEQ_OK) {
        status = chat_tokenise(model, &rendered, p->skip, p->n_ctx, tokens, n_tokens, error);
    }
    guard_chat_text_free(&rendered);
    return status;
}
