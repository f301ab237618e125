/* contexts_upload: POST /v1/contexts. A document is read once, by the worker as any prompt, and what its policy keeps
 * becomes a file. It comes as JSON, as a form, or as it is; the latter two are made JSON first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "base/utf8.h"
#include "contexts_list.h"
#include "contexts_upload.h"
#include "exchange.h"
#include "openai.h"

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static const char *const OWN[] = {"policy", "budget"}; /* fields of `judgeq`, in forms and queries */
static const char *const OTHERS[] = {"name", "system"};

static bool is_one_of(const char *name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

/* A text of the client's, in whatever bytes; NULL without memory. */
static json_t *text_json(const char *bytes, size_t n) {
    size_t length = 0;
    char *text = utf8_repaired(bytes, n, &length);
    json_t *json = text ? json_stringn(text, length) : NULL;
    free(text);
    return json;
}

static void no_memory(reply_fault *fault) {
    reply_failed(fault, JUDGEQ_ERROR_MEMORY, &(judgeq_error){.message = "out of memory for a document"});
}

typedef enum put_status { PUT_DONE, PUT_UNKNOWN, PUT_NO_MEMORY } put_status;

/* Puts a field where JSON has it. */
static put_status put_field(json_t *body, const char *name, const char *bytes, size_t n) {
    const bool ours = is_one_of(name, OWN, sizeof OWN / sizeof *OWN);
    if (!ours && !is_one_of(name, OTHERS, sizeof OTHERS / sizeof *OTHERS)) return PUT_UNKNOWN;
    if (ours && !json_object_get(body, "judgeq")) json_object_set_new(body, "judgeq", json_object());
    json_t *to = ours ? json_object_get(body, "judgeq") : body;
    return json_object_set_new(to, name, text_json(bytes, n)) == 0 ? PUT_DONE : PUT_NO_MEMORY;
}

typedef struct form {
    json_t *body;
    text_buffer bytes; /* of the field that is being received */
    char name[32];
    bool file, any;
    reply_fault *fault;
} form;

static void end_field(form *f) {
    const char *bytes = f->bytes.bytes ? f->bytes.bytes : "";
    if (!f->any) return;
    put_status done = PUT_DONE;
    if (f->file || strcmp(f->name, "text") == 0) {
        json_t *documents = json_object_get(f->body, "documents");
        if (json_array_append_new(documents, text_json(bytes, f->bytes.length)) != 0) done = PUT_NO_MEMORY;
    } else {
        done = put_field(f->body, f->name, bytes, f->bytes.length);
    }
    if (done == PUT_NO_MEMORY) no_memory(f->fault);
    if (done == PUT_UNKNOWN) {
        reply_wrong(f->fault, f->name, "%s: expected files, text, name, system, policy or budget", f->name);
    }
    text_clear(&f->bytes);
    f->any = false;
}

static bool take_field(void *data, const char *name, const char *file, const char *bytes, size_t n, size_t at) {
    form *f = data;
    if (at == 0) {
        end_field(f);
        f->any = true;
        f->file = file != NULL;
        snprintf(f->name, sizeof f->name, "%s", name);
    }
    text_add(&f->bytes, bytes, n);
    return !f->bytes.failed;
}

static json_t *form_body(http_request *request, reply_fault *fault) {
    form f = {.body = json_pack("{s:[]}", "documents"), .fault = fault};
    const bool read = http_form(request, take_field, &f);
    end_field(&f);
    text_free(&f.bytes);
    if (!read) reply_wrong(fault, NULL, "the request's body is no whole form, as multipart/form-data is");
    return f.body;
}

/* The document as it is; what is said of it stands in the query. */
static json_t *text_body(const http_request *request, reply_fault *fault) {
    size_t n = 0;
    const char *bytes = http_body(request, &n);
    json_t *body = json_pack("{s:o}", "text", text_json(bytes, n));
    const char *const *const all[] = {OWN, OTHERS};
    for (size_t i = 0; body && i < 2 * sizeof all / sizeof *all; i++) {
        const char *name = all[i / 2][i % 2], *value = http_query(request, name);
        if (value && put_field(body, name, value, strlen(value)) != PUT_DONE) no_memory(fault);
    }
    return body;
}

static json_t *read_body(http_request *request, reply_fault *fault) {
    static const char form_type[] = "multipart/form-data", text_type[] = "text/";
    const char *type = http_type(request);
    if (strncasecmp(type, form_type, strlen(form_type)) == 0) return form_body(request, fault);
    if (strncasecmp(type, text_type, strlen(text_type)) == 0) return text_body(request, fault);
    return openai_body(request, fault);
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

/* Without one line end at its end, and with a blank line before it unless it is the first: as judgeq ingest joins
 * files.
 */
static bool add_document(const fields *f, const char *name, const json_t *document, text_buffer *text) {
    size_t n = json_string_length(document);
    const char *bytes = json_string_value(document);
    if (!bytes) return fields_wrong(f, name, "expected a text, or in \"documents\" an array of texts");
    if (strlen(bytes) != n) return fields_wrong(f, name, "has U+0000, which cannot be read: leave it out");
    if (n > 0 && bytes[n - 1] == '\n') n--;
    if (n > 0 && bytes[n - 1] == '\r') n--;
    if (text->length > 0) text_add(text, "\n\n", 2);
    text_add(text, bytes, n);
    return true;
}

/* malloced; NULL after a fault. */
static char *read_documents(const fields *f) {
    const json_t *one = fields_get(f, "text"), *several = fields_array(f, "documents"), *document;
    text_buffer text = {0};
    size_t i;
    if (one && several) fields_wrong(f, "documents", "give these, or one \"text\"");
    if (!one && json_array_size(several) == 0) fields_wrong(f, "text", "expected a document");
    if (f->fault->status == 0 && one) add_document(f, "text", one, &text);
    json_array_foreach((json_t *)several, i, document) {
        if (f->fault->status == 0) add_document(f, "documents", document, &text);
    }
    char *whole = text_take(&text);
    if (!whole) reply_no_memory(f->fault);
    if (f->fault->status == 0) return whole;
    free(whole);
    return NULL;
}

static bool read_tokens(const service *s, const fields *f, exchange_prompt *prompt) {
    const prompt_params params = {.n_ctx = s->n_ctx};
    const char *system = NULL;
    judgeq_error error = {0};
    fields_text(f, "system", &system);
    char *text = read_documents(f);
    if (!text) return false;
    const judgeq_status status =
        context_document_tokens(s->model, &params, system, text, &prompt->tokens, &prompt->n, &error);
    free(text);
    return reply_failed(f->fault, status, &error);
}

/* A context that the request goes on from has a budget of its own. *n_all: tokens, to which the context's are added. */
static void budget_of(const service *s, const ask *a, int32_t *rows, double *share, double *n_all) {
    context_info info;
    ask_budget(s, a, rows, share);
    if (!a->context || !contexts_get(s->contexts, context_file_name(a->file), &info)) return;
    *rows = info.snapshot.budget;
    *share = (double)info.snapshot.budget_fraction;
    *n_all += (double)info.snapshot.n_tokens;
}

bool contexts_fits(const service *s, const ask *a, size_t n_tokens, reply_fault *fault) {
    enum { ROWS = 32 }; /* that a cache is made of */
    int32_t rows;
    double share, n_all = (double)n_tokens;
    budget_of(s, a, &rows, &share, &n_all);
    double n = n_all;
    if (rows > 0 && rows < n) n = rows;
    if (rows == 0 && share > 0) n *= share;
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_need need;
    params.kv_type = s->kv_type;
    params.n_ctx = INT32_MAX / 2;
    const int64_t whole = (int64_t)n / ROWS * ROWS;
    if (whole == 0 || judgeq_session_need(s->model, &params, 0, whole, 0, &need, NULL) != JUDGEQ_OK) return true;
    if (need.held_bytes <= contexts_bytes_most(s->contexts)) return true;
    reply_wrong(fault, NULL,
                "the context of %.0f tokens would have %.0f rows per layer and KV head, %zu bytes and more, and "
                "--context-bytes is %zu: use a smaller budget or a shorter document",
                n_all, n, need.held_bytes, contexts_bytes_most(s->contexts));
    fault->code = "exceeds_context_bytes";
    return false;
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

static bool claim_name(http_request *request, const fields *f, ask *a) {
    const service *s = http_data(request);
    const char *name = NULL;
    char made[48];
    fields_text(f, "name", &name);
    snprintf(made, sizeof made, "context-%016llx.kv", (unsigned long long)http_number(request));
    if (!name) name = made;
    if (f->fault->status != 0) return false;
    if (!contexts_is_name(name)) {
        return fields_wrong(f, "name",
                            "expected up to %d letters, digits, \".\", \"_\" and \"-\", the first of them no \".\"",
                            CONTEXT_NAME_MOST);
    }
    a->made = contexts_claim(s->contexts, name);
    if (a->made) return true;
    fields_wrong(f, "name", "%.128s is there already: take another name, or delete it first", name);
    f->fault->status = 409;
    f->fault->code = "context_exists";
    return false;
}

static bool read_all(http_request *request, json_t *body, ask *a, exchange_prompt *prompt, reply_fault *fault) {
    const service *s = http_data(request);
    const fields f = {.object = body, .within = "", .fault = fault};
    ask_read(s, &f, a);
    ask_keep(a, body, body);
    if (!a->policy) a->policy = s->later;
    if (a->context) return fields_wrong(&f, "judgeq.context", "a new context begins with no other");
    a->n = 1;
    a->n_answer = 0;
    a->save = CONTEXT_MESSAGE;
    return read_tokens(s, &f, prompt) && contexts_fits(s, a, prompt->n, fault) && claim_name(request, &f, a);
}

/* ---- the reply --------------------------------------------------------------------------------------------------- */

bool contexts_store(exchange *e) {
    judgeq_error error = {0};
    size_t n = 0;
    void *bytes = worker_job_take_saved(e->answer[0].job, &n);
    if (bytes) {
        const contexts_status status = contexts_write(e->ask.made, bytes, n, &error);
        contexts_done(status, context_file_name(e->ask.made), e->service->contexts, &error, &e->fault);
    } else {
        reply_failed(&e->fault, JUDGEQ_ERROR_MEMORY, &(judgeq_error){.message = "out of memory for a context"});
    }
    free(bytes);
    return e->fault.status == 0;
}

/* NULL, and a fault, where the file cannot be written. */
static json_t *whole(exchange *e) {
    const char *name = context_file_name(e->ask.made);
    context_info info;
    json_t *json = NULL;
    if (contexts_store(e) && contexts_get(e->service->contexts, name, &info)) {
        info.n_users--; /* us */
        json = contexts_json(e->service, &info);
        if (json) json_object_set_new(json, "judgeq", exchange_kept(e, &e->answer[0]));
    }
    return json;
}

static void more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    (void)e, (void)a, (void)text, (void)n, (void)logprobs;
}

static void end(exchange *e, exchange_answer *a) {
    json_t *made = whole(e);
    (void)a;
    if (e->fault.status == 0) exchange_send(e, made);
}

static void last(exchange *e) {
    text_print(&e->out, "data: [DONE]\n\n");
}

static const exchange_shape SHAPE = {
    .id = "context-", .more = more, .end = end, .last = last, .fail = openai_stream_fail, .whole = whole};

void contexts_upload(http_request *request) {
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    json_t *body = contexts_are_there(http_data(request), true, &fault) ? read_body(request, &fault) : NULL;
    const bool good = fault.status == 0 && prompt && body && read_all(request, body, &a, prompt, &fault);
    json_decref(body);
    exchange_run(request, &SHAPE, good, &a, prompt, 1, &fault);
}
