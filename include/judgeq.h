/* judgeq: run language models in a fixed amount of KV cache.
 *
 * Conventions, for every function here:
 *  - A function that can fail returns a judgeq_status and takes a judgeq_error as its last argument (NULL if the
 *    caller does not want the message). On failure nothing is changed, unless the comment says otherwise,
 *    and *out is NULL. Comments name the codes to expect, without JUDGEQ_ERROR_; any function that allocates can fail
 *    with MEMORY. The library never exits, aborts or prints (but see judgeq_model_load_on and judgeq_rpc_serve).
 *  - A function named _load, _new, _parse or _import creates an object that the caller frees with the _free of the same
 *    noun; _free accepts NULL. Every `const T *` that is returned belongs to the object that was asked, and is valid as
 *    long as that object, unless the comment says for how long. Strings are terminated by zero unless a length is
 *    given.
 *  - The first call that opens a model or judge file redirects the logs of ggml and libllama, for the whole process.
 *    They go nowhere unless the application wants them (judgeq_set_log).
 *  - Text is UTF-8. Sizes are bytes, lengths and budgets are tokens (rows of the KV cache), times are seconds.
 *    A row is the key and the value of one token in one layer and one KV head.
 *  - Shapes are written [slowest, ..., fastest], as in C.
 *  - A model and a judge are immutable and may be shared by threads and sessions; they must outlive the sessions that
 *    use them. A session is one timeline of tokens and belongs to one thread at a time.
 */
#ifndef JUDGEQ_H
#define JUDGEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define JUDGEQ_API __attribute__((visibility("default")))
#else
#define JUDGEQ_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------------------------------------------------ */

typedef enum judgeq_status {
    JUDGEQ_OK = 0,
    JUDGEQ_ERROR_ARGUMENT = -1,    /* an argument, option or policy that makes no sense */
    JUDGEQ_ERROR_IO = -2,          /* a file that cannot be opened, read or written */
    JUDGEQ_ERROR_FORMAT = -3,      /* a file whose bytes are not what they should be */
    JUDGEQ_ERROR_UNSUPPORTED = -4, /* something that judgeq does not do */
    JUDGEQ_ERROR_MEMORY = -5,      /* no memory */
    JUDGEQ_ERROR_MISMATCH = -6,    /* a judge that belongs to another model */
    JUDGEQ_ERROR_LIMIT = -7,       /* longer than the model's context */
    JUDGEQ_ERROR_NUMERIC = -8,     /* NaN or infinity where numbers belong */
    JUDGEQ_ERROR_CANCELLED = -9,   /* the progress callback said stop */
    JUDGEQ_ERROR_BACKEND = -10     /* ggml or libllama failed */
} judgeq_status;

typedef struct judgeq_error {
    judgeq_status code;
    char message[512]; /* names the file, tensor, option or field at fault, and what would work */
} judgeq_error;

/* The version, "0.1.0". A constant: not to be freed. */
JUDGEQ_API const char *judgeq_version(void);

/* Releases memory that a function here handed over to the caller (named where that is so). Accepts NULL. */
JUDGEQ_API void judgeq_free(void *memory);

/* Installs a handler for SIGBUS, for the whole process. Model, judge, data and array files are mapped. If such a file
 * is cut short while it is in use (by a download that starts again, say), reading the missing part raises SIGBUS, which
 * ends the process. The handler puts zeros in the place of the missing part instead. The call that has read them then
 * fails with IO and the file's name, and so do later calls on what was loaded from that file. A SIGBUS with another
 * cause goes to the handler that was there before. A second call does nothing, unless another handler has replaced this
 * one. Only the application calls this: the library does not install signal handlers unasked. Without the handler,
 * files that have become shorter are noticed before each computation, but not within one. */
JUDGEQ_API void judgeq_guard_mappings(void);

/* ---- log --------------------------------------------------------------------------------------------------------- */

typedef enum judgeq_log_level {
    JUDGEQ_LOG_DEBUG = 1,
    JUDGEQ_LOG_INFO = 2,
    JUDGEQ_LOG_WARNING = 3,
    JUDGEQ_LOG_ERROR = 4
} judgeq_log_level;

/* A whole line of ggml's or libllama's log, without the line's end. Called in whatever thread logs. The text may hold
 * names from a file: any bytes but zero. */
typedef void (*judgeq_log)(void *data, judgeq_log_level level, const char *line);

/* Sends the log of ggml and libllama to `log`, with `data` as its first argument, from now on; NULL, as at the
 * beginning: nowhere. `data` must live until the next judgeq_set_log. */
JUDGEQ_API void judgeq_set_log(judgeq_log log, void *data);

/* ---- model ------------------------------------------------------------------------------------------------------- */

typedef struct judgeq_model judgeq_model;

typedef struct judgeq_model_info {
    const char *architecture; /* llama, qwen2, qwen3, smollm3 (mistral files say llama) */
    const char *name;         /* general.name, or ""; bytes that are no text read \xe9 */
    const char *weight_type;  /* type of most weight bytes, as ggml names it: "q4_1" */
    const char *weight_types; /* all types, and their shares of the bytes: "q4_1 99.8 %, f32 0.2 %" */
    int32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab;
    int32_t n_ctx_train; /* tokens the model was trained to hold */
    int32_t n_files;     /* more than 1: a model in several files */
    int64_t n_tensors;   /* in all of these files, as are the sizes below */
    size_t file_bytes;   /* bytes of the files */
    size_t weight_bytes; /* bytes of all tensors */
    size_t decode_bytes; /* of these, bytes that every decoded token reads: all but the embeddings of other tokens */
    const char *const *unknown_keys; /* [n_unknown_keys], keys of the architecture that libllama does not know either */
    size_t n_unknown_keys;
    int64_t n_keys;           /* of the first file */
    const char *rope_scaling; /* how positions beyond those first trained are rotated: "none", "linear", "yarn",
                                 "frequency factors" */
    float rope_base, rope_factor;
    const char *block;  /* what each layer computes, for people: "attention to all rows (rope on adjacent pairs), gated
                           feed-forward (silu)" */
    bool rope_halves;   /* elements i and i + head_dim / 2 turn together; otherwise adjacent ones */
    bool chat_template; /* the file has one */
    char fingerprint[33]; /* 128 bits in hexadecimal, the same in every quantisation: hyper-parameters, vocabulary, and
                             the norms and biases, which no quantisation changes. Judges are bound to it */
    char file_fingerprint[33]; /* of this quantisation: hyper-parameters, tensor types and a sample of every tensor */
} judgeq_model_info;

/* Maps a GGUF file, and where it is the first of a model in several (NAME-00001-of-0000N.gguf) the others too. Fails
 * with IO where it cannot be opened, FORMAT where its bytes are damaged, and UNSUPPORTED, by name, for an architecture,
 * a tensor or a value of a hyper-parameter that judgeq does not compute. Keys that libllama does not know either are
 * ignored. */
JUDGEQ_API judgeq_status judgeq_model_load(const char *path, judgeq_model **out, judgeq_error *error);
/* On which devices a model is computed. Other devices than the CPU use ggml's own operations only. */
typedef struct judgeq_model_params {
    const char *devices; /* names, with "," between them; NULL: all but the CPU. Layers are spread in their order, in
                            proportion to the memory that they have free */
    int32_t n_offload;   /* layers that go to them, from the first; one more than there are: the output too; -1: all */
} judgeq_model_params;

/* judgeq_model_load, with the weights of some layers copied to other devices, which then also hold the KV rows of those
 * layers. Prompts are read with the file's own weights (no copies as floats), and such a model cannot be trained on.
 * Once a remote device's server is gone, ggml aborts the process at the next call that needs it, the _free of models
 * and sessions included: an application can set ggml_set_abort_callback. */
JUDGEQ_API judgeq_status judgeq_model_load_on(const char *path, const judgeq_model_params *params, judgeq_model **out,
                                              judgeq_error *error);
JUDGEQ_API void judgeq_model_free(judgeq_model *model);
JUDGEQ_API const judgeq_model_info *judgeq_model_get_info(const judgeq_model *model);
/* What is doubtful in a model that was loaded, such as a tokenizer that libllama had to guess: the sentence number
 * `index`, from 0, for people; NULL past the last. */
JUDGEQ_API const char *judgeq_model_warning_at(const judgeq_model *model, size_t index);

/* Keeps 16-bit float copies of the quantised matrices of all layers, if they fit into most_bytes. *n_bytes: the bytes
 * of the copies, 0 if there are none (they did not fit, or nothing is quantised). Call it before the model's first
 * session. Prompts give the same results as without the copies, but sooner, since the copies need not be made for each
 * prompt; where the processor has AVX-512 without BF16 they are read with F32 copies of their own, which is sooner
 * still. From 8 sessions on (24 where this processor has kernels for few rows, judgeq_kernels),
 * judgeq_session_decode_all multiplies with the copies, sooner than with quantised weights; but there activations are
 * rounded less than for a session alone, so greedy tokens can differ at near ties. n_threads 0: chosen. */
JUDGEQ_API judgeq_status judgeq_model_expand(judgeq_model *model, size_t most_bytes, int32_t n_threads, size_t *n_bytes,
                                             judgeq_error *error);

/* Writes the path of the default model, which tools/deps.sh fetches, into path[size]: [XDG_CACHE_HOME or
 * ~/.cache]/judgeq/NAME.gguf. The file need not be there. Returns false without a home directory, or if `size` is too
 * small. */
JUDGEQ_API bool judgeq_default_model_path(char *path, size_t size);

/* ---- devices (docs/gpu.md) --------------------------------------------------------------------------------------- */

typedef struct judgeq_device_info {
    const char *name;        /* "CPU", "CUDA0", "RPC0" */
    const char *description; /* of an RPC device: its server */
    bool cpu;                /* layers cannot be offloaded to it */
    size_t free_bytes, total_bytes;
} judgeq_device_info;

/* Describes device number `index`, from 0, of ggml's and of connected servers; false past the last. The texts are
 * constants of the process. */
JUDGEQ_API bool judgeq_device_at(size_t index, judgeq_device_info *out);

/* Makes the devices of RPC servers known to this process: "host:port", with "," between them, IPv4. Fails with IO where
 * no server answers. Nothing that is sent is encrypted or checked: use it only in networks that you trust. seconds: how
 * long a server may take for an answer; 0: 10 for the first one, 120 later, when it computes. */
enum { JUDGEQ_RPC_SECONDS_MOST = 86400 };
JUDGEQ_API judgeq_status judgeq_rpc_connect(const char *servers, int32_t seconds, judgeq_error *error);

/* Why ggml lost a server, with its name; NULL: it lost none. When it loses one, ggml aborts: call this function in the
 * callback of ggml_set_abort_callback. */
JUDGEQ_API const char *judgeq_rpc_failure(void);

typedef struct judgeq_rpc_params {
    const char *host;   /* the IPv4 address or name to listen on */
    int32_t port;       /* 1 to 65535 */
    const char *device; /* NULL: the first GPU, or the CPU */
    int32_t n_threads;  /* 0: one per core */
    /* One client is served at a time. One that has sent nothing for so long is disconnected if another one waits;
     * 0: 60. */
    int32_t idle_seconds;
} judgeq_rpc_params;

/* Lends a device to other machines. Returns only if it fails. The log names clients that connect and leave
 * (judgeq_set_log); ggml prints to standard output too. */
JUDGEQ_API judgeq_status judgeq_rpc_serve(const judgeq_rpc_params *params, judgeq_error *error);

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* How a text becomes tokens; flags that can be combined by |. */
typedef enum judgeq_text_flags {
    JUDGEQ_TEXT_PLAIN = 0, /* nothing but text: a control token that is written out in it stays text */
    /* the text begins a sequence: put the beginning-of-text token first, where the model wants one and the text does
     * not begin with it */
    JUDGEQ_TEXT_BEGIN = 1,
    JUDGEQ_TEXT_CONTROL = 2 /* control tokens that are written out in it (<|im_start|>) become those tokens */
} judgeq_text_flags;

/* Tokenises text[0..length) into *tokens [*n_tokens], which the caller releases with judgeq_free. flags:
 * judgeq_text_flags. Bytes that are not UTF-8 are read as U+FFFD, one for every maximal subpart of a character. No
 * end-of-text token is added, even if the model's file asks for one, because the text goes on. Fails with LIMIT, before
 * it tokenises, where a text of more than a mebibyte cannot fit into the context that the model was trained for, and
 * where one has more than 4,194,304 characters without a line's end among them. */
JUDGEQ_API judgeq_status judgeq_tokenize(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                                         int32_t **tokens, size_t *n_tokens, judgeq_error *error);
/* judgeq_tokenize with the limit of a context of n_ctx tokens; 0: without one, for a text that is cut later. */
JUDGEQ_API judgeq_status judgeq_tokenize_for(const judgeq_model *model, int32_t n_ctx, const char *text, size_t length,
                                             unsigned flags, int32_t **tokens, size_t *n_tokens, judgeq_error *error);

/* Writes the text of one token into text[size], without a terminating zero. It may be a part of a UTF-8 character.
 * Returns its length in bytes; 0 for control tokens, which have no text; the negated length if `size` is too small. */
JUDGEQ_API int32_t judgeq_token_text(const judgeq_model *model, int32_t token, char *text, int32_t size);

/* True for every token that ends a response. */
JUDGEQ_API bool judgeq_token_ends(const judgeq_model *model, int32_t token);

typedef struct judgeq_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} judgeq_message;

/* Whether a model that can think before it answers shall do so. */
typedef enum judgeq_think {
    JUDGEQ_THINK_DEFAULT = 0, /* as the template has it */
    JUDGEQ_THINK_ON,
    JUDGEQ_THINK_OFF
} judgeq_think;

/* A zeroed struct means: the model's own template, with the opening of the assistant's turn at the end. */
typedef struct judgeq_chat_params {
    const char *template_text; /* Jinja; NULL: the model's own */
    judgeq_think think;        /* the template's variables enable_thinking and thinking */
    bool closed;               /* nothing after the last message: no opening of the assistant's turn */
    const char *answer;        /* text that the assistant's turn begins with, or NULL */
    int64_t now;               /* the time for templates that ask, in seconds since 1970; 0: the present time */
    int32_t n_ctx;             /* length of the context that the tokens are for; 0: what the model was trained for */
    size_t skip;               /* so many bytes at the beginning of the text give no tokens */
} judgeq_chat_params;

/* Renders messages[n_messages] in the model's chat template, as transformers' apply_chat_template does. params NULL: a
 * zeroed struct. *text, terminated by zero, is released by the caller with judgeq_free. Fails with UNSUPPORTED, and
 * says why, where the file has no template, has one that cannot be rendered, or has one that refuses these messages. */
JUDGEQ_API judgeq_status judgeq_chat_text(const judgeq_model *model, const judgeq_message *messages, size_t n_messages,
                                          const judgeq_chat_params *params, char **text, judgeq_error *error);

/* The same as tokens[*n_tokens], for judgeq_session_prefill. Messages are text: a control token that is written out in
 * one (<|im_start|>) stays text, and only what the template itself writes becomes control tokens. Where the model wants
 * a beginning-of-text token, it comes first, once. The caller releases *tokens with judgeq_free. Fails as
 * judgeq_chat_text and judgeq_tokenize do. */
JUDGEQ_API judgeq_status judgeq_chat_tokens(const judgeq_model *model, const judgeq_message *messages,
                                            size_t n_messages, const judgeq_chat_params *params, int32_t **tokens,
                                            size_t *n_tokens, judgeq_error *error);

/* A chat template by name: NULL: the model's own, "chatml": a common one, otherwise one of those that the file has
 * beside it ("tool_use"). A constant, or valid as long as the model; NULL where there is none of that name. */
JUDGEQ_API const char *judgeq_chat_template(const judgeq_model *model, const char *name);

/* ---- chats with tools -------------------------------------------------------------------------------------------- */

/* What a response may be: a grammar in GBNF, the notation of llama.cpp, whose rule "root" stands for the whole
 * response. A zeroed struct with `text` is in force from the first token on. */
typedef struct judgeq_grammar {
    const char *text;
    /* It is in force only from the first of these on: what a pattern matches (ECMAScript; from its first group on,
     * where it has one), or a token. */
    bool lazy;
    const char *const *patterns; /* [n_patterns] */
    size_t n_patterns;
    const int32_t *tokens; /* [n_tokens] */
    size_t n_tokens;
    const int32_t *prefill; /* [n_prefill], tokens at the prompt's end that the grammar begins with; not where lazy */
    size_t n_prefill;
    /* A lazy one waits until a thought has ended: what is between think_begin and any of think_ends. NULL: no thoughts.
     * thinks_first: the prompt has begun one. */
    const char *think_begin;
    const char *const *think_ends; /* [n_think_ends] */
    size_t n_think_ends;
    bool thinks_first;
} judgeq_grammar;

/* A plan of one answer in a chat: what the model reads, what it may write, and how that is read, all by
 * libllama-common, which knows how each family of models writes tool calls and thoughts:
 *
 *     judgeq_chat_plan_new(model, &params, &plan, error)
 *     info->tokens are read, info->grammar is in the sampler's params (if it has a text), info->stops end the answer;
 *     its tokens become text by judgeq_chat_plan_token_text
 *     judgeq_chat_plan_parse(plan, text, ...), of the text so far or of all of it
 *
 * A plan is immutable, and outlived by its model. */
typedef struct judgeq_chat_plan judgeq_chat_plan;

/* All texts are JSON but those that say otherwise; NULL: none. Larger than 64 MiB, or nested more than 100 deep, they
 * are refused. A zeroed struct needs `messages`. */
typedef struct judgeq_chat_plan_params {
    const char *messages; /* as OpenAI's chat completions have them: [{"role": "user", "content": "..."}, ...] */
    const char *tools;    /* likewise: [{"type": "function", "function": {"name": ..., "parameters": {...}}}, ...] */
    /* no JSON: "auto" (NULL as well), "none", "required"; or {"type": "function", "function": {"name": ...}} */
    const char *tool_choice;
    const char *json_schema;   /* that the answer shall fit */
    const char *grammar;       /* no JSON: GBNF, for the whole answer; without json_schema, and without tools */
    const char *variables;     /* {"name": value, ...}, for the template */
    const char *template_text; /* no JSON: Jinja; NULL: the model's own */
    judgeq_think think;        /* JUDGEQ_THINK_DEFAULT: on, where the template knows thoughts */
    bool parallel_tool_calls;  /* the answer may have several */
    bool closed;               /* nothing after the last message: no opening of the assistant's turn */
    int64_t now;               /* the time for templates that ask, in seconds since 1970; 0: the present time */
    int32_t n_ctx;             /* length of the context that the tokens are for; 0: what the model was trained for */
} judgeq_chat_plan_params;

typedef struct judgeq_chat_plan_info {
    const char *prompt; /* [prompt_length], the text of the tokens, without a token that begins every text */
    size_t prompt_length;
    const int32_t
        *tokens; /* [n_tokens], as judgeq_chat_tokens makes them: control tokens in messages and tools are text */
    size_t n_tokens;
    judgeq_grammar grammar;   /* text NULL: any text will do */
    const int32_t *preserved; /* [n_preserved], control tokens that are part of an answer's text */
    size_t n_preserved;
    const char *const *stops; /* [n_stops], texts that end the answer too */
    size_t n_stops;
    const char *format; /* how the answer is read, for people */
    bool thinks;        /* the template knows thoughts */
    bool calls;         /* tool calls can be read: there are tools, and the form of the template's calls is known */
} judgeq_chat_plan_info;

/* Fails with ARGUMENT, and names the field, for JSON that is not what it should be, and UNSUPPORTED, with the
 * template's words, for what the template refuses. */
JUDGEQ_API judgeq_status judgeq_chat_plan_new(const judgeq_model *model, const judgeq_chat_plan_params *params,
                                              judgeq_chat_plan **out, judgeq_error *error);
JUDGEQ_API void judgeq_chat_plan_free(judgeq_chat_plan *plan);
JUDGEQ_API const judgeq_chat_plan_info *judgeq_chat_plan_get_info(const judgeq_chat_plan *plan);

/* judgeq_token_text, with the text of preserved control tokens. */
JUDGEQ_API int32_t judgeq_chat_plan_token_text(const judgeq_chat_plan *plan, int32_t token, char *text, int32_t size);

typedef struct judgeq_tool_call {
    const char *id, *name;
    const char *arguments; /* JSON; of a partial answer, its beginning */
} judgeq_tool_call;

typedef struct judgeq_reply {
    const char *content, *reasoning; /* "" where there is none */
    const judgeq_tool_call *calls;   /* [n_calls] */
    size_t n_calls;
} judgeq_reply;

/* Reads an answer, text[length]: its thoughts, its text and its tool calls. partial: more may come, and what cannot be
 * told yet is left out. ids: tool calls without an id of the model's get call_IDS0, call_IDS1, ...; NULL: none. Takes
 * time in proportion to the length. A whole answer that is not in the format is read as far as it goes; where that has
 * neither thoughts nor calls, all of it is text. *out: judgeq_reply_free. */
JUDGEQ_API judgeq_status judgeq_chat_plan_parse(const judgeq_chat_plan *plan, const char *text, size_t length,
                                                bool partial, const char *ids, judgeq_reply **out, judgeq_error *error);
JUDGEQ_API void judgeq_reply_free(judgeq_reply *reply);

/* What one reading of an answer has that an earlier one had not: a part of its thoughts, its text or a call. */
typedef struct judgeq_reply_delta {
    const char *reasoning, *content;   /* "" where nothing came */
    bool has_call;                     /* something of this call came: */
    size_t call;                       /* from 0 */
    const char *id, *name, *arguments; /* id and name: with the call's first delta, or where they got longer */
} judgeq_reply_delta;

/* before: the earlier reading, or NULL. *deltas [*n]: judgeq_free, once, for them and their strings. Fails with
 * UNSUPPORTED where the later one is no continuation: then read on, and compare with the same earlier one again. */
JUDGEQ_API judgeq_status judgeq_reply_deltas(const judgeq_reply *before, const judgeq_reply *after,
                                             judgeq_reply_delta **deltas, size_t *n, judgeq_error *error);

/* ---- judge: trained soft tokens (Judge Q, section 3) ------------------------------------------------------------- */

typedef struct judgeq_judge judgeq_judge;

typedef struct judgeq_judge_info {
    int32_t n_depth; /* 1: the soft tokens have vectors for the first layer; the model's n_layer: for every layer */
    int32_t n_soft, n_embd;
    const char *fingerprint;  /* of the model it belongs to; of a file of format version 1, loaded without a model, the
                                 file_fingerprint */
    const char *model_name;   /* that model's name, for messages; or "" */
    const char *weight_type;  /* of the file that it was trained with: "q4_1"; or "" where unknown */
    const char *origin;       /* how it came to be: "imported from soft-kl.npy", "trained ..." */
    const char *loss;         /* "kl", "mse", or "" where unknown */
    const char *data_hash;    /* of the training set, or "" */
    int64_t steps;            /* optimiser steps, 0 where unknown */
    float heldout_loss;       /* NaN where unknown */
    float heldout_hit_rate;   /* 0..1, NaN where unknown */
    const float *layer_share; /* [n_layer_share], of the model's layers: how many of the best rows of all layers are in
                                 each, as a share of the mean; for policies that allocate by it. NULL: unknown */
    int32_t n_layer_share;
    const char
        *choices; /* how its scores are best reduced and smoothed, as a policy says it: "reduce=mean/mean,smooth=none",
                     for policies that leave it to the judge; or NULL or "" where unknown */
} judgeq_judge_info;

/* Loads a judge file (GGUF). Fails with MISMATCH if the judge's fingerprint is not that of `model` (NULL: any model's),
 * with IO or FORMAT if the file cannot be read or is no judge. A file of format version 1 names one quantisation of a
 * model: loaded with that quantisation, it becomes a judge of all of them. */
JUDGEQ_API judgeq_status judgeq_judge_load(const char *path, const judgeq_model *model, judgeq_judge **out,
                                           judgeq_error *error);
/* Makes a judge of soft [n_depth, n_soft, n_embd]. info's shape and fingerprint are required, the rest is optional.
 * Copies both. Fails with NUMERIC where a number is not finite. */
JUDGEQ_API judgeq_status judgeq_judge_new(const float *soft, const judgeq_judge_info *info, judgeq_judge **out,
                                          judgeq_error *error);
/* Reads .npy or .safetensors (by content): one array [n_soft, n_embd] or [n_layer, n_soft, n_embd], F32 or F16 (in
 * .safetensors also BF16), and makes it a judge of `model`. `tensor`: its name in a .safetensors file, NULL where the
 * file has only one. A judge file (GGUF) is loaded for `model`: judgeq_judge_save then writes the newest format. */
JUDGEQ_API judgeq_status judgeq_judge_import(const char *path, const char *tensor, const judgeq_model *model,
                                             judgeq_judge **out, judgeq_error *error);
/* Writes a judge file. Its bytes go to a temporary file, which is synced and renamed: a kill at any moment leaves the
 * old file or the new one. */
JUDGEQ_API judgeq_status judgeq_judge_save(const judgeq_judge *judge, const char *path, judgeq_error *error);
/* Writes the soft tokens as F32. The ending of `path` decides: .npy or .safetensors; another fails with ARGUMENT. */
JUDGEQ_API judgeq_status judgeq_judge_export(const judgeq_judge *judge, const char *path, judgeq_error *error);
JUDGEQ_API void judgeq_judge_free(judgeq_judge *judge);
JUDGEQ_API const judgeq_judge_info *judgeq_judge_get_info(const judgeq_judge *judge);
/* [n_depth, n_soft, n_embd]: the rows that enter the first layer after the prompt's, and, where n_depth is more than 1,
 * vectors that are added to them as they enter each further layer (deep prompts: Liu et al., P-Tuning v2, ACL 2022). */
JUDGEQ_API const float *judgeq_judge_soft_tokens(const judgeq_judge *judge);

/* ---- policy: which rows to keep ---------------------------------------------------------------------------------- */

typedef struct judgeq_policy judgeq_policy;

typedef struct judgeq_preset {
    const char *name;    /* "snapkv" */
    const char *text;    /* its choices, as judgeq_policy_parse reads them */
    const char *source;  /* paper, venue */
    const char *summary; /* one line */
} judgeq_preset;

/* Preset number `index`, from 0: the published methods and ours, in the order of docs/policies; NULL past the last. */
JUDGEQ_API const judgeq_preset *judgeq_preset_at(size_t index);

/* Reads a policy: "NAME", "NAME,key=value,..." or "key=value,...", that is, a preset and choices that replace its own.
 * Keys: probe, reduce, smooth, allocate, keep, remember; docs/policies/README.md has the grammar. Fails with ARGUMENT,
 * and says what would be accepted. */
JUDGEQ_API judgeq_status judgeq_policy_parse(const char *text, judgeq_policy **out, judgeq_error *error);
JUDGEQ_API void judgeq_policy_free(judgeq_policy *policy);
/* The policy with all its choices written out; parsing this text gives the same policy. */
JUDGEQ_API const char *judgeq_policy_text(const judgeq_policy *policy);
/* How many of a judge's soft tokens the policy uses; 0: it needs no judge; -1: as many as the judge has. */
JUDGEQ_API int32_t judgeq_policy_soft_tokens(const judgeq_policy *policy);
/* True where every layer's full KV must be held at once (lookahead over the full cache, response). */
JUDGEQ_API bool judgeq_policy_needs_full_cache(const judgeq_policy *policy);

/* ---- session ----------------------------------------------------------------------------------------------------- */

/* Threads and buffers that compute for sessions of one model, one call at a time. Sessions that share an engine cost
 * little beside their rows; calls for them must take turns. */
typedef struct judgeq_engine judgeq_engine;

/* n_threads 0, or more than judgeq_cores(): one or one per core, whichever is measured to be faster. */
JUDGEQ_API judgeq_status judgeq_engine_new(const judgeq_model *model, int32_t n_threads, judgeq_engine **out,
                                           judgeq_error *error);
/* After the sessions that use it. */
JUDGEQ_API void judgeq_engine_free(judgeq_engine *engine);

typedef struct judgeq_session judgeq_session;

/* The type of the numbers in the KV cache. Q8_0 and Q4_0 take 8.5 and 4.5 bits a number; 32 numbers share a scale, so
 * the head_dim must be a multiple of 32. Rows are rounded to these types only after the policy has chosen them. */
typedef enum judgeq_kv_type {
    JUDGEQ_KV_F16 = 0,
    JUDGEQ_KV_F32 = 1,
    JUDGEQ_KV_Q8_0 = 2,
    JUDGEQ_KV_Q4_0 = 3
} judgeq_kv_type;

/* The name of a type, "f16", ...; NULL past the last. */
JUDGEQ_API const char *judgeq_kv_type_name(judgeq_kv_type type);

/* The number of cores that this process may use: those that it is bound to, but no more than the quota of its control
 * groups, rounded up. Sessions never use more threads, since these would only wait for each other. */
JUDGEQ_API int32_t judgeq_cores(void);

/* With which kernels this processor computes, for people, in one line: those that multiply a prompt's copies of
 * weights (oneDNN's, and whether in BF16 or F32; judgeq's own; or ggml's), those that multiply a few rows with
 * quantised weights, those of our other operations, and the instructions that ggml uses. The caller's: judgeq_free. */
JUDGEQ_API judgeq_status judgeq_kernels(char **text, judgeq_error *error);

/* Called during prefill, in the calling thread. done and total count units of work; a unit is one prompt row in one
 * layer. Return false to cancel: the call then fails with CANCELLED. */
typedef bool (*judgeq_progress)(void *data, int64_t done, int64_t total);

enum { JUDGEQ_SLACK_NONE = -1 };

typedef struct judgeq_session_params {
    const judgeq_policy *policy; /* NULL: full. Copied: may be freed after judgeq_session_new */
    const judgeq_judge *judge;   /* required where the policy has soft tokens */
    int32_t budget;        /* rows per layer and KV head; 0: use budget_fraction. A shorter prompt keeps all rows */
    float budget_fraction; /* share of the prompt, 0..1, but 1 row at least; 0: no budget given */
    int32_t
        slack; /* rows that decoding adds to each head before the policy chooses again among all rows held; 0: a quarter
                  of the budget, 32 at least; JUDGEQ_SLACK_NONE: it never does, and every decoded token adds a row */
    /* Any number of tokens: before positions pass n_ctx, the rows held are given positions from 0 on, and their keys
     * are rotated to these; long texts are read in pieces of 2,048 tokens at most. Needs a policy that evicts, a budget
     * in rows, and a slack. judgeq_session_positions still tells the original positions. After an error, such a session
     * has read the pieces that were complete; one that had read nothing can then be read on, but not prefilled. */
    bool unbounded;
    int32_t n_ctx;         /* tokens of prompt and response; 0: what the model was trained for */
    judgeq_engine *engine; /* of the same model; NULL: the session makes one of its own, with n_threads */
    int32_t n_threads;     /* of its own engine, as in judgeq_engine_new */
    int32_t chunk;         /* prompt rows per graph; 0: chosen */
    judgeq_kv_type kv_type;
    /* libllama's arithmetic: quantised weights as they are, activations rounded to 8 bits, and all sums in its order
     * (chunks of 512 rows unless `chunk` is given, keys padded to multiples of 256), so that with the full policy the
     * logits equal its logits, bit for bit. false: the prompt is read with a copy of one layer's weights as floats
     * (BF16, F32 or F16, whichever this processor multiplies fastest) at a time, faster and more exact. */
    bool plain_weights;
    uint64_t seed; /* of the policy `random` */
    bool defer; /* keep the tokens that a lookahead among candidates decoded (judge-laq): judgeq_session_deferred. Their
                   rows come beside budget and slack until the next token is decoded */
    judgeq_progress progress;
    void *progress_data;
} judgeq_session_params;

typedef struct judgeq_stats {
    int64_t n_prompt;     /* tokens read */
    int64_t n_decoded;    /* tokens decoded */
    int64_t n_position;   /* position of the next token: the length of the sequence, evicted rows included */
    int32_t budget;       /* rows per layer and KV head, no more than the prompt has; 0: full */
    size_t kv_bytes_full; /* bytes that a full cache of n_position rows would take */
    int64_t n_chosen; /* tokens up to the last read or choice of a policy that evicts: judgeq_session_cut goes back to
                         there and no further; 0: policy full */
    size_t kv_bytes_held;      /* bytes of the rows held now */
    size_t kv_bytes_allocated; /* with the room for more rows */
    size_t kv_bytes_peak;      /* most KV bytes allocated at any moment */
    double prefill_s;          /* all reading: the five parts that follow, the logits of the first token, allocation */
    double embed_s;            /* of that: the prompt's embeddings */
    double blocks_s;           /* of that: the prompt's rows through all transformer blocks */
    double score_s;            /* of that: soft rows, score reduction and selection */
    double compact_s;          /* of that: gathering the kept rows */
    double lookahead_s;        /* of that: decoding pseudo tokens or responses */
    double decode_s;           /* all decode calls */
    double rejudge_s;          /* of that: choosing again */
    int64_t n_rejudged;        /* times that the policy has chosen again while tokens were decoded */
    int32_t n_threads;         /* the most that compute */
} judgeq_stats;

/* No policy (full), no judge, no budget, F16: a zeroed struct. */
JUDGEQ_API judgeq_session_params judgeq_session_default_params(void);
/* Makes an empty session. Copies params, not the model, the judge and the engine. Fails with ARGUMENT where a field
 * makes no sense or a judge or a budget is missing, MISMATCH where the judge belongs to another model, UNSUPPORTED
 * where the KV type or a device does not fit. */
JUDGEQ_API judgeq_status judgeq_session_new(const judgeq_model *model, const judgeq_session_params *params,
                                            judgeq_session **out, judgeq_error *error);
JUDGEQ_API void judgeq_session_free(judgeq_session *session);
/* Makes a session that goes on as this one would, bit for bit, with the same parameters: the same rows, logits, tokens
 * and state of the policy, and counts and times so far. It has the same engine, or, where that is the session's own,
 * one of its own. So several answers can begin with one context. Fails with ARGUMENT while the session reads, or after
 * an error. */
JUDGEQ_API judgeq_status judgeq_session_copy(const judgeq_session *session, judgeq_session **out, judgeq_error *error);

/* The most KV bytes that a session can have allocated, as judgeq_stats.kv_bytes_peak counts them. */
typedef struct judgeq_need {
    size_t held_bytes;   /* between calls, from the end of the read on */
    size_t read_bytes;   /* at any moment of the read, with what was held before */
    size_t decode_bytes; /* at any moment while a token is decoded: rows are moved, the policy chooses again */
    size_t hidden_bytes; /* of the hidden states while it reads, which are not in the cache and come beside these */
} judgeq_need;

/* Says, before it is made, what a session with these parameters can need that has n_before tokens already, or 0, reads
 * n_tokens and decodes up to n_answer. Fails as judgeq_session_new does, and with LIMIT where the tokens that are read
 * do not fit into the context; an answer ends there. */
JUDGEQ_API judgeq_status judgeq_session_need(const judgeq_model *model, const judgeq_session_params *params,
                                             int64_t n_before, int64_t n_tokens, int64_t n_answer, judgeq_need *out,
                                             judgeq_error *error);

/* Reads the prompt tokens[n_tokens], keeps `budget` rows of it, and leaves the logits of the first token of the answer.
 * For a session that has read nothing. Fails with LIMIT where the prompt is longer than the context, ARGUMENT for a
 * token that is not in the vocabulary, NUMERIC where the weights give no finite logits, CANCELLED; the session has then
 * still read nothing. */
JUDGEQ_API judgeq_status judgeq_session_prefill(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                                judgeq_error *error);
/* Reads one prompt into several sessions of the same model and judge; either all of them or none have F32 caches. Every
 * block is computed once, and each session keeps the rows that its own policy and budget choose. The threads and the
 * progress callback are those of the first session. In the stats, embed_s and blocks_s are times of the common work;
 * prefill_s is the time of the whole call, for a session that does not look ahead without the lookaheads; kv_bytes_peak
 * is what this session would have needed alone (policies that hold the full cache: one layer more). After an error,
 * none of the sessions has read anything. */
JUDGEQ_API judgeq_status judgeq_session_prefill_all(judgeq_session *const *sessions, size_t n_sessions,
                                                    const int32_t *tokens, size_t n_tokens, judgeq_error *error);
/* Reads tokens[n_tokens] on from where the session is: a prompt, a turn of a conversation, a tool's result, any number
 * of times. The policy scores the rows held and the new ones together, as far as they are probed (the window is that of
 * the new tokens), and `budget` rows stay. With a budget for everything, the logits are those of one prompt of all
 * tokens, up to the order of sums. At its peak, a read holds the rows from before, one layer's rows held and new, and
 * what stays of the layers before. Fails as judgeq_session_prefill does; the session is then what it was. */
JUDGEQ_API judgeq_status judgeq_session_read(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                             judgeq_error *error);
/* The same in steps of one chunk of one layer, between which other sessions of the engine can decode. The tokens are
 * copied. *done: the read is complete, as after judgeq_session_read. After an error, or once it is abandoned, the
 * session is what it was. Until then, other calls that would change the session are refused. */
JUDGEQ_API judgeq_status judgeq_session_read_begin(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                                   judgeq_error *error);
JUDGEQ_API judgeq_status judgeq_session_read_step(judgeq_session *session, bool *done, judgeq_error *error);
/* Accepts a session that is not reading. */
JUDGEQ_API void judgeq_session_read_abandon(judgeq_session *session);
/* Appends one token to the sequence and computes the logits of the next one. Where the slack is used up, the policy
 * chooses again first, so that no layer ever holds more than budget + slack rows per KV head; where layers have
 * different budgets, all of them together hold no more than that. Fails with LIMIT where the context is full. A call
 * that is refused changes nothing; after another error the session can only be freed. */
JUDGEQ_API judgeq_status judgeq_session_decode(judgeq_session *session, int32_t token, judgeq_error *error);
/* Appends tokens[i] to sessions[i], for n_sessions different sessions of one model. The weights are read once for all
 * of them. Policies, budgets, lengths and KV types may differ. The threads are those of the first session. Each
 * session's logits are those of judgeq_session_decode, except that sums run in another order and, if the model is
 * expanded, the weights are the 16-bit copies. Sessions that are watched or have plain_weights decode one after the
 * other, with exactly the logits of judgeq_session_decode. In the stats, decode_s of every session counts the time of
 * the whole call. A call that is refused changes nothing; after another error all of the sessions can only be freed. */
JUDGEQ_API judgeq_status judgeq_session_decode_all(judgeq_session *const *sessions, const int32_t *tokens,
                                                   size_t n_sessions, judgeq_error *error);
/* Removes the tokens that were decoded since the last read or choice, except the first n_tokens, so that others can
 * follow there. The logits stay as they are until the next token is decoded. Fails with ARGUMENT where fewer tokens
 * were decoded. */
JUDGEQ_API judgeq_status judgeq_session_rewind(judgeq_session *session, int64_t n_tokens, judgeq_error *error);
/* Removes all tokens from a position on, decoded or read, so that others can follow there. Nothing is left of them,
 * except in logits, which stay as they are until the next token, in the stats' counts of tokens read and decoded, and
 * in what was watched, which ends where the prompt is cut.
 * A session of policy full can be cut at any position: at 0 it has read nothing again. Another policy has chosen among
 * all that was read up to its last read or choice, so the position is not before that. Fails with ARGUMENT where it
 * is, or where the sequence ends before it. */
JUDGEQ_API judgeq_status judgeq_session_cut(judgeq_session *session, int64_t n_position, judgeq_error *error);
/* For a session that waits: gives back what it holds beside its rows, the logits and the room for more rows. Both are
 * made again by the next call that computes. The logits stay where the policy looks ahead, which begins with the token
 * that they predict. Fails with MEMORY, and then has changed nothing but the logits. */
JUDGEQ_API judgeq_status judgeq_session_trim(judgeq_session *session, judgeq_error *error);
/* Logits of the next token, [n_vocab]; valid until the next call that changes the session. NULL once trimmed. */
JUDGEQ_API const float *judgeq_session_logits(const judgeq_session *session);
/* The greedy tokens [*n_tokens] that a lookahead decoded and `defer` kept: the response starts with them, and their
 * rows are in the cache. Valid until the next read. */
JUDGEQ_API const int32_t *judgeq_session_deferred(const judgeq_session *session, size_t *n_tokens);
/* The sequence so far, [*n_tokens]: every token that was read, deferred or decoded, and not removed again. A row at
 * position i is that of token i. Valid until the next call that changes the session; while it reads, what it was
 * before. NULL, and 0 tokens, where it has none yet. */
JUDGEQ_API const int32_t *judgeq_session_tokens(const judgeq_session *session, size_t *n_tokens);
/* What the session was made with, or, loaded, what its file holds of that. policy is NULL, and what belongs to the
 * caller (judge, engine, progress) as it was given. */
JUDGEQ_API judgeq_session_params judgeq_session_get_params(const judgeq_session *session);
/* Writes the counts and times so far. */
JUDGEQ_API void judgeq_session_get_stats(const judgeq_session *session, judgeq_stats *stats);
/* Original positions of the rows that one KV head holds, ascending, [*n_rows]; valid until the next call that changes
 * the session. NULL, and 0 rows, before the prompt was read or for a head that does not exist. */
JUDGEQ_API const int32_t *judgeq_session_positions(const judgeq_session *session, int32_t layer, int32_t head_kv,
                                                   size_t *n_rows);

/* ---- sessions as files (docs/snapshot.md) ------------------------------------------------------------------------ */

/* Writes a session to a file, which is replaced whole: a kill or a full disk at any moment leaves the old file or the
 * new one. A session that is loaded from it goes on bit for bit as this one does, with the same model file. While it
 * writes, the file's bytes are in memory. Fails with ARGUMENT for a session that has read nothing, is reading, is
 * watched or has failed, and with IO where the file cannot be written. */
JUDGEQ_API judgeq_status judgeq_session_save(const judgeq_session *session, const char *path, judgeq_error *error);
/* The same bytes [*size] in memory, for a caller who writes them elsewhere, or later: judgeq_free. Fails as
 * judgeq_session_save does, but for IO. */
JUDGEQ_API judgeq_status judgeq_session_save_bytes(const judgeq_session *session, void **bytes, size_t *size,
                                                   judgeq_error *error);
/* Words of the caller's about the session, up to 31 bytes: they are saved with it, judgeq_snapshot_read tells them, and
 * a session that is loaded has them. NULL or "": none, as at first. Fails with ARGUMENT where they are longer, or have
 * control characters. */
JUDGEQ_API judgeq_status judgeq_session_set_label(judgeq_session *session, const char *label, judgeq_error *error);
/* Makes a session of such a file. Of params (NULL: the defaults), judge, engine, n_threads, progress and progress_data
 * count; all else is the file's, and a policy that is given must be the file's. Fails with MISMATCH where the file is
 * of another model, another quantisation of it, another judge or another policy, ARGUMENT where the judge is missing,
 * UNSUPPORTED for a file that is no session's, FORMAT for one that is damaged or of another version, IO where it cannot
 * be read. */
JUDGEQ_API judgeq_status judgeq_session_load(const judgeq_model *model, const judgeq_session_params *params,
                                             const char *path, judgeq_session **out, judgeq_error *error);

/* What such a file holds. */
typedef struct judgeq_snapshot_info {
    int32_t format_version;
    char version[32];          /* of judgeq that wrote it */
    char model_name[128];      /* cut where it is longer */
    char fingerprint[33];      /* of the model, as in judgeq_model_info */
    char file_fingerprint[33]; /* of the model's file, which has to be the same */
    char judge[33];            /* hash of the judge, or "" where the policy needs none */
    char label[32];            /* of judgeq_session_set_label, or "" */
    char policy[256];          /* as judgeq_policy_text writes it */
    int32_t budget;            /* what the session was made with, as are the next; 0: a share, or policy full */
    float budget_fraction;
    int32_t slack, n_ctx;
    judgeq_kv_type kv_type;
    bool plain_weights, unbounded, defer;
    uint64_t seed;
    int64_t n_tokens; /* the sequence's length: tokens read, deferred and decoded, and not removed again */
    int64_t n_read, n_decoded;
    int64_t n_rejudged;
    int64_t n_rows; /* rows held, over all layers and KV heads */
    size_t kv_bytes, file_bytes;
} judgeq_snapshot_info;

/* Says what a session's file holds; no model is needed. tokens, unless NULL: the sequence [info->n_tokens], which the
 * caller releases with judgeq_free. Checks the whole file, but not whether it fits a model, and fails as
 * judgeq_session_load does; *info is then zeroed. */
JUDGEQ_API judgeq_status judgeq_snapshot_read(const char *path, judgeq_snapshot_info *info, int32_t **tokens,
                                              judgeq_error *error);

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* From this call on, adds up the attention of every decoded token to the prompt: the target that Judge Q trains and
 * measures by (section 3). Fails with ARGUMENT unless the session holds its whole prompt (policy full). */
JUDGEQ_API judgeq_status judgeq_session_watch(judgeq_session *session, judgeq_error *error);
/* These sums for one layer, [n_head, n_prompt], over the *n_tokens tokens decoded since. A token's attention to the
 * response itself is not in them, so they add up to less than *n_tokens. Valid until the next call that changes the
 * session; NULL where it is not watched. */
JUDGEQ_API const float *judgeq_session_watched(const judgeq_session *session, int32_t layer, int64_t *n_tokens);

/* ---- sampling ---------------------------------------------------------------------------------------------------- */

typedef struct judgeq_sampler judgeq_sampler;

/* Tokens that penalties look back on. */
enum { JUDGEQ_PENALTY_WINDOW = 64, JUDGEQ_PENALTY_WINDOW_MOST = 1 << 20 };

/* What is added to a token's logit, after penalties; -INFINITY: it is never drawn. */
typedef struct judgeq_logit_bias {
    int32_t token;
    float bias;
} judgeq_logit_bias;

typedef struct judgeq_sampler_params {
    float temperature; /* 0: greedy */
    int32_t top_k;     /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    uint32_t seed;
    /* Of tokens that were drawn or accepted before, the last penalty_window (0: JUDGEQ_PENALTY_WINDOW): their logits
     * are divided by repeat_penalty where they are above 0, and multiplied where below (0 or 1: off), and less by
     * frequency_penalty for every time and by presence_penalty once (0: off; -100 to 100). */
    float repeat_penalty, presence_penalty, frequency_penalty;
    int32_t penalty_window;
    const judgeq_logit_bias *biases; /* [n_biases] */
    size_t n_biases;
    const judgeq_grammar *grammar; /* NULL: any text */
    const judgeq_model *model;     /* with penalties, biases or a grammar: it must outlive the sampler */
} judgeq_sampler_params;

/* Copies params. Fails with ARGUMENT where one is out of its range, and where the grammar is none, with the line. */
JUDGEQ_API judgeq_status judgeq_sampler_new(const judgeq_sampler_params *params, judgeq_sampler **out,
                                            judgeq_error *error);
JUDGEQ_API void judgeq_sampler_free(judgeq_sampler *sampler);
/* Draws *token by logits [n_vocab]. Fails with UNSUPPORTED where the grammar allows no token of the vocabulary, and
 * with NUMERIC where no token can be drawn. */
JUDGEQ_API judgeq_status judgeq_sampler_draw(judgeq_sampler *sampler, const float *logits, int32_t n_vocab,
                                             int32_t *token, judgeq_error *error);
/* The same; -1 where it fails. */
JUDGEQ_API int32_t judgeq_sampler_sample(judgeq_sampler *sampler, const float *logits, int32_t n_vocab);
/* Tells penalties and the grammar of a token of the response that this sampler did not draw. Fails with BACKEND for one
 * that the grammar does not allow. */
JUDGEQ_API judgeq_status judgeq_sampler_accept(judgeq_sampler *sampler, int32_t token, judgeq_error *error);
/* The next token begins another response: the grammar starts again, penalties forget. Random numbers go on. */
JUDGEQ_API judgeq_status judgeq_sampler_restart(judgeq_sampler *sampler, judgeq_error *error);

/* The grammar of all JSON texts that a JSON schema allows (of what llama.cpp knows of schemas); `{}`: any JSON.
 * *grammar: judgeq_free. Fails with ARGUMENT, and names the fault, for what is no schema or cannot be made a grammar,
 * and for JSON that is nested more than 100 deep. */
JUDGEQ_API judgeq_status judgeq_json_schema_grammar(const char *schema, char **grammar, judgeq_error *error);

/* ---- training judges (docs/training.md) -------------------------------------------------------------------------- */

typedef struct judgeq_training_set judgeq_training_set;

typedef struct judgeq_training_set_info {
    size_t n_examples;
    size_t n_broken;    /* lines that hold no example and were left out */
    const char *broken; /* what is wrong with the first of them, with file and line; "" where there is none */
    int64_t n_tokens;   /* tokens of all prompts and responses */
    const char *hash;   /* of the file's bytes, 128 bits in hexadecimal */
} judgeq_training_set_info;

/* Reads a training set: JSON lines, a header and one example per line, as docs/training.md describes them. Fails with
 * MISMATCH for a set that was made with another model; a broken line is left out and counted. */
JUDGEQ_API judgeq_status judgeq_training_set_load(const char *path, const judgeq_model *model,
                                                  judgeq_training_set **out, judgeq_error *error);
/* Makes an empty set that grows, for online training. Messages use `name`. `hash` (at most 32 characters) identifies
 * the sources of its examples: checkpoints store it, so that a run continues with the same sources only. */
JUDGEQ_API judgeq_status judgeq_training_set_new(const char *name, const char *hash, judgeq_training_set **out,
                                                 judgeq_error *error);
/* Appends an example: token ids prompt[n_prompt] and response[n_response], which are copied. */
JUDGEQ_API judgeq_status judgeq_training_set_add(judgeq_training_set *set, const int32_t *prompt, size_t n_prompt,
                                                 const int32_t *response, size_t n_response, judgeq_error *error);
JUDGEQ_API void judgeq_training_set_free(judgeq_training_set *set);
JUDGEQ_API const judgeq_training_set_info *judgeq_training_set_get_info(const judgeq_training_set *set);

typedef enum judgeq_loss { JUDGEQ_LOSS_KL = 0, JUDGEQ_LOSS_MSE = 1 } judgeq_loss;
/* Which attention is learnt: the mean over the response's tokens (the paper's); the maximum, so that a row which one
 * token attends to counts as much as one that all attend to (with JUDGEQ_LOSS_KL only); or the mean over those tokens
 * after which an answer takes something from the prompt, which is what questions that come later need. */
typedef enum judgeq_target { JUDGEQ_TARGET_MEAN = 0, JUDGEQ_TARGET_MAX = 1, JUDGEQ_TARGET_COPIED = 2 } judgeq_target;

typedef struct judgeq_trainer judgeq_trainer;

enum { JUDGEQ_MEASURE_BUDGETS = 4 }; /* at most, that a judge is measured with */

typedef struct judgeq_trainer_params {
    judgeq_loss loss;
    judgeq_target target; /* of the examples that are learnt from; held-out ones are compared with the mean, unless it
                             is COPIED */
    int32_t n_soft;       /* soft tokens to train */
    bool deep;            /* train vectors for every layer, not for the first alone */
    bool weigh_values;    /* weigh attention by the L1 norm of the value that it goes to */
    const judgeq_judge *start;   /* start from this judge's soft tokens; NULL: from embeddings of the model */
    const int32_t *start_tokens; /* these tokens' embeddings, repeated in order; NULL: tokens drawn by the seed */
    size_t n_start_tokens;
    int32_t n_epochs, n_accumulate; /* passes over the training part (0: `start` is only measured); examples per
                                       optimiser step */
    /* Online training, n_stream above 0: the set grows to so many examples while the judge is trained. The first of
     * them, a share `heldout` and 64 at most, are held out; each of the others is followed by n_replay steps: one on
     * it, with n_accumulate - 1 that are drawn from the latest n_ring, the others on drawn ones. n_epochs does not
     * count. */
    int32_t n_stream, n_ring, n_replay;
    int32_t n_warm_up;                              /* steps of rising rate */
    double rate, clip;                              /* learning rate of AdamW; longest gradient, 0: any */
    int32_t measure_budget[JUDGEQ_MEASURE_BUDGETS]; /* rows per KV head; 0 after the last */
    double heldout;                                 /* share of the examples that is only measured on, 0 .. 0.5 */
    uint64_t seed;          /* of the drawn tokens, the held-out part and the order of the examples */
    int32_t n_threads;      /* 0: chosen */
    judgeq_kv_type kv_type; /* F16 or F32 */
    /* The keys, values and targets of an example are needed in every epoch. Up to scratch_bytes of them are kept in a
     * temporary file in this folder; the others are computed again. NULL: nothing is kept. Changes no result. */
    const char *scratch;
    size_t scratch_bytes;
    /* Called often; done and total count examples of the present step or measurement. Return false to cancel: the call
     * fails with CANCELLED, and the trainer is as it was before. */
    judgeq_progress progress;
    void *progress_data;
    void (*notice)(void *data, const char *message); /* says which example is skipped, and why; or NULL */
    void *notice_data;
    /* Several processes (ranks) train one judge: every rank makes a trainer with the same model, set and parameters,
     * computes every n_ranks-th example, and calls the same functions in the same order. sum: replaces values [n] by
     * their sum over all ranks, which all call it together; the sums must be the same on every rank. If a rank fails or
     * is cancelled, all ranks' calls fail. */
    int32_t n_ranks, rank; /* 1 and 0: alone, and sum is not called */
    judgeq_status (*sum)(void *data, double *values, size_t n, judgeq_error *error);
    void *sum_data;
} judgeq_trainer_params;

/* What a judge is measured by, on the held-out examples; NaN where there is nothing to measure. */
typedef struct judgeq_measures {
    int32_t n_examples;
    double loss;
    int32_t budget[JUDGEQ_MEASURE_BUDGETS];   /* rows per KV head, of examples with longer prompts; 0 after the last */
    double hit_rate[JUDGEQ_MEASURE_BUDGETS];  /* critical KV hit rate */
    double mass_kept[JUDGEQ_MEASURE_BUDGETS]; /* share of the response's attention that falls on kept rows */
} judgeq_measures;

typedef struct judgeq_training_step {
    int64_t step, n_steps; /* steps done, with this one; steps in all */
    int32_t epoch;         /* from 1 */
    int32_t n_examples, n_skipped;
    double loss, gradient; /* means over the step's examples; the gradient's length before clipping. NaN: all skipped */
    double rate;
} judgeq_training_step;

/* The defaults of judgeq train. */
JUDGEQ_API judgeq_trainer_params judgeq_trainer_default_params(void);
/* Makes a trainer. Model and set must outlive it; the rest of params is copied. Steps are several times as fast where
 * the model keeps expanded weights (judgeq_model_expand, before this call). Fails with ARGUMENT for parameters that
 * make no sense. */
JUDGEQ_API judgeq_status judgeq_trainer_new(const judgeq_model *model, const judgeq_training_set *set,
                                            const judgeq_trainer_params *params, judgeq_trainer **out,
                                            judgeq_error *error);
JUDGEQ_API void judgeq_trainer_free(judgeq_trainer *trainer);
/* The number of optimiser steps done, and in all. */
JUDGEQ_API int64_t judgeq_trainer_steps_done(const judgeq_trainer *trainer);
JUDGEQ_API int64_t judgeq_trainer_steps(const judgeq_trainer *trainer);
/* Does one optimiser step. An example whose loss or gradient is not finite is skipped and reported to `notice`. */
JUDGEQ_API judgeq_status judgeq_trainer_step(judgeq_trainer *trainer, judgeq_training_step *out, judgeq_error *error);
/* Online training: true where the next step needs an example that the set has not yet (judgeq_training_set_add). */
JUDGEQ_API bool judgeq_trainer_wants(const judgeq_trainer *trainer);
/* Hands the rows and the attention of the set's last example to the trainer, which then need not read it. `session`
 * must have read its prompt with the policy full and been watched while it decoded the response except its last token.
 * Afterwards `session` can only be freed. Changes no result. */
JUDGEQ_API judgeq_status judgeq_trainer_take(judgeq_trainer *trainer, judgeq_session *session, judgeq_error *error);
/* Measures the present soft tokens on the held-out examples. After the last step their prompts are read once more, for
 * the judge's layer_share. */
JUDGEQ_API judgeq_status judgeq_trainer_measure(judgeq_trainer *trainer, judgeq_measures *out, judgeq_error *error);
/* Makes a judge of the present soft tokens, with the last measures. `origin`: how it came to be, for people. */
JUDGEQ_API judgeq_status judgeq_trainer_judge(const judgeq_trainer *trainer, const char *origin, judgeq_judge **out,
                                              judgeq_error *error);
/* Write and read a checkpoint: everything that the next step depends on, in a file that is replaced whole. A trainer
 * with the same model, set and parameters that is restored from it continues bit for bit; restoring another one fails
 * with MISMATCH. */
JUDGEQ_API judgeq_status judgeq_trainer_save(const judgeq_trainer *trainer, const char *path, judgeq_error *error);
JUDGEQ_API judgeq_status judgeq_trainer_restore(judgeq_trainer *trainer, const char *path, judgeq_error *error);

#ifdef __cplusplus
}
#endif
#endif
