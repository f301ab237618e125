/* judgeq: run language models in a fixed amount of KV cache.
 *
 * Conventions, for every function here:
 *  - A function that can fail returns a judgeq_status and takes a judgeq_error as its last argument (NULL if the
 *    caller does not want the message). On failure nothing is changed and *out is NULL. The library never exits,
 *    aborts or prints.
 *  - A function named _load, _new, _parse or _import creates an object that the caller frees with the _free of the same
 *    noun; _free accepts NULL. Every `const T *` that is returned belongs to the object it was asked of.
 *  - The first call in a process that touches a file takes over the logs of ggml and libllama, which go nowhere unless
 *    the application wants them (judgeq_set_log).
 *  - Text is UTF-8. Sizes are bytes, lengths and budgets are tokens (rows of the KV cache), times are seconds.
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
    JUDGEQ_ERROR_UNSUPPORTED = -4, /* something that we know of, and do not do */
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

/* "0.1.0" */
JUDGEQ_API const char *judgeq_version(void);

/* Releases memory that a function here handed over to the caller (named where that is so). Accepts NULL. */
JUDGEQ_API void judgeq_free(void *memory);

/* Model, judge, data and array files are mapped. One that is cut short while it is in use, by a download that starts
 * again, say, raises SIGBUS where it is read, which ends the process. After this call, a handler for SIGBUS puts zeros
 * in the place of what is missing, and the call that has read them fails with IO and the file's name; further calls on
 * what was loaded from it fail too. A SIGBUS from elsewhere goes to the handler that was there before. For the whole
 * process, by the application if it wants this: a library does not install signal handlers unasked. Another call does
 * nothing, unless another handler has taken its place. Without it, files that have become shorter are noticed before
 * each computation, but not within one. */
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

/* From now on, the log goes to that function; NULL, as at the beginning: nowhere. */
JUDGEQ_API void judgeq_set_log(judgeq_log log, void *data);

/* ---- model ------------------------------------------------------------------------------------------------------- */

typedef struct judgeq_model judgeq_model;

typedef struct judgeq_model_info {
    const char *architecture; /* llama, qwen2, qwen3 (mistral files say llama) */
    const char *name;         /* general.name, or ""; bytes that are no text read \xe9 */
    const char *weight_type;  /* type of most weight bytes, as ggml names it: "q4_1" */
    const char *weight_types; /* all types, and their shares of the bytes: "q4_1 99.8 %, f32 0.2 %" */
    int32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab;
    int32_t n_ctx_train; /* tokens the model was trained to hold */
    int32_t n_files;     /* more than 1: a model in several files */
    int64_t n_tensors;   /* in all of them, as are these */
    size_t file_bytes;   /* bytes of the files */
    size_t weight_bytes; /* bytes of all tensors */
    size_t decode_bytes; /* of these, what every decoded token reads: all but the embeddings of other tokens */
    const char *const *unknown_keys; /* [n_unknown_keys], of the architecture, which libllama does not know either */
    size_t n_unknown_keys;
    char fingerprint[33]; /* 128 bits in hexadecimal, the same in every quantisation: hyper-parameters, vocabulary, and
                             the norms and biases, which no quantisation changes. Judges are bound to it */
    char file_fingerprint[33]; /* of this quantisation: hyper-parameters, tensor types and a sample of every tensor */
} judgeq_model_info;

/* Maps a GGUF file, and where it is the first of a model in several (NAME-00001-of-0000N.gguf) the others too. Refuses,
 * by name, an architecture, a tensor or a value of a hyper-parameter that it does not compute. Keys that libllama does
 * not know either change nothing. */
JUDGEQ_API judgeq_status judgeq_model_load(const char *path, judgeq_model **out, judgeq_error *error);
/* Where a model computes. Beside the CPU, only ggml's own operations are used. */
typedef struct judgeq_model_params {
    const char *devices; /* names, with "," between them; NULL: all but the CPU. Layers are spread in their order, in
                            proportion to the memory that they have free */
    int32_t n_offload;   /* layers that go to them, from the first; one more than there are: the output too; -1: all */
} judgeq_model_params;

/* judgeq_model_load, with the weights of some layers copied to other devices. Their sessions' rows lie there too, and
 * prompts are read with the file's own weights. Such a model is not for training. Once a remote device's server is
 * gone, ggml aborts the process at the next call that needs it, the _free of models and sessions included: an
 * application can set ggml_set_abort_callback. */
JUDGEQ_API judgeq_status judgeq_model_load_on(const char *path, const judgeq_model_params *params, judgeq_model **out,
                                              judgeq_error *error);
JUDGEQ_API void judgeq_model_free(judgeq_model *model);
JUDGEQ_API const judgeq_model_info *judgeq_model_get_info(const judgeq_model *model);
/* What is doubtful in a model that was loaded, such as a tokenizer that libllama had to guess: the index-th sentence,
 * for people; NULL past the last. */
JUDGEQ_API const char *judgeq_model_warning_at(const judgeq_model *model, size_t index);

/* Keeps 16-bit float copies of the quantised matrices of all layers, if they fit into most_bytes; *n_bytes: what they
 * take, 0 for none. Before the first session of the model. Prompts are read as without them, but faster, because the
 * copies need not be made for each; and from 8 sessions on, judgeq_session_decode_all takes half of the time or less.
 * But then activations are rounded less than for a session alone, and greedy tokens can differ at near ties. */
JUDGEQ_API judgeq_status judgeq_model_expand(judgeq_model *model, size_t most_bytes, int32_t n_threads, size_t *n_bytes,
                                             judgeq_error *error);

/* Where the default model lies once the dependency step has fetched it: [XDG_CACHE_HOME or ~/.cache]/judgeq/NAME.gguf.
 * Writes the path, whether or not the file is there. false: no home directory, or `size` is too small. */
JUDGEQ_API bool judgeq_default_model_path(char *path, size_t size);

/* ---- devices (docs/gpu.md) --------------------------------------------------------------------------------------- */

typedef struct judgeq_device_info {
    const char *name;        /* "CPU", "CUDA0", "RPC0" */
    const char *description; /* of an RPC device: its server */
    bool cpu;                /* layers cannot be offloaded to it */
    size_t free_bytes, total_bytes;
} judgeq_device_info;

/* ggml's devices, with those of connected servers; false past the last. */
JUDGEQ_API bool judgeq_device_at(size_t index, judgeq_device_info *out);

/* Makes the devices of RPC servers known to this process: "host:port", with "," between them, IPv4. Fails with IO where
 * nobody answers. What is sent is neither encrypted nor checked: for networks that are trusted. seconds: how long a
 * server may leave a question unanswered; 0: 10 at first, and 120 later, when it computes. */
enum { JUDGEQ_RPC_SECONDS_MOST = 86400 };
JUDGEQ_API judgeq_status judgeq_rpc_connect(const char *servers, int32_t seconds, judgeq_error *error);

/* Why ggml lost a server, with its name; NULL: it lost none. ggml then aborts: for ggml_set_abort_callback. */
JUDGEQ_API const char *judgeq_rpc_failure(void);

typedef struct judgeq_rpc_params {
    const char *host;   /* the IPv4 address or name to listen on */
    int32_t port;       /* 1 to 65535 */
    const char *device; /* NULL: the first GPU, or the CPU */
    int32_t n_threads;  /* 0: one per core */
    /* One client is served at a time. One that has sent nothing for so long loses its connection where another waits;
     * 0: 60. */
    int32_t idle_seconds;
} judgeq_rpc_params;

/* Lends a device to other machines. Returns only if it fails. Who comes and goes is logged (judgeq_set_log); ggml
 * prints to standard output too. */
JUDGEQ_API judgeq_status judgeq_rpc_serve(const judgeq_rpc_params *params, judgeq_error *error);

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* How a text becomes tokens; added up. */
typedef enum judgeq_text_flags {
    JUDGEQ_TEXT_PLAIN = 0, /* nothing but text: a control token that is written out in it stays text */
    /* it begins a sequence: the beginning-of-text token comes first, where the model wants one and the text does not
     * have it written out */
    JUDGEQ_TEXT_BEGIN = 1,
    JUDGEQ_TEXT_CONTROL = 2 /* control tokens that are written out in it (<|im_start|>) become those tokens */
} judgeq_text_flags;

/* Tokenises text[0..length). flags: of judgeq_text_flags. *tokens is the caller's: judgeq_free. What is not UTF-8 is
 * read as U+FFFD, one for every maximal subpart of a character. No end-of-text token is added, whatever the file says:
 * the text goes on. Fails with LIMIT, before it tokenises, where a text of more than a mebibyte cannot fit into the
 * context that the model was trained for, and where one has more than 4,194,304 characters without a line's end among
 * them. */
JUDGEQ_API judgeq_status judgeq_tokenize(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                                         int32_t **tokens, size_t *n_tokens, judgeq_error *error);
/* judgeq_tokenize for a context of n_ctx tokens; 0: for none, because the text is cut later. */
JUDGEQ_API judgeq_status judgeq_tokenize_for(const judgeq_model *model, int32_t n_ctx, const char *text, size_t length,
                                             unsigned flags, int32_t **tokens, size_t *n_tokens, judgeq_error *error);

/* The text of one token, not terminated; may be a part of a UTF-8 character. Control tokens have none.
 * Writes at most `size` bytes and returns the length, or the length needed, negated, if it is larger. */
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

/* Zeroed: the model's own template, with the opening of the assistant's turn at the end. */
typedef struct judgeq_chat_params {
    const char *template_text; /* Jinja; NULL: the model's own */
    judgeq_think think;        /* the template's variables enable_thinking and thinking */
    bool closed;               /* nothing after the last message: no opening of the assistant's turn */
    const char *answer;        /* text that the assistant's turn begins with, or NULL */
    int64_t now;               /* what the template's clock shows, in seconds since 1970; 0: the time that it is */
    int32_t n_ctx;             /* of the context that the tokens are for; 0: the one that the model was trained for */
    size_t skip;               /* bytes of the text that are not wanted as tokens, from its beginning */
} judgeq_chat_params;

/* The model's own chat template around the messages, as transformers' apply_chat_template renders it. params NULL:
 * zeroed ones. *text is the caller's: judgeq_free. Fails with UNSUPPORTED, and says why, where the file has no
 * template, has one that cannot be rendered, or has one that refuses these messages. */
JUDGEQ_API judgeq_status judgeq_chat_text(const judgeq_model *model, const judgeq_message *messages, size_t n_messages,
                                          const judgeq_chat_params *params, char **text, judgeq_error *error);

/* The same as tokens, which is what to give to a session. Messages are text: a control token that is written out in one
 * (<|im_start|>) stays text, and only what the template itself writes becomes control tokens. The first token is the
 * one that begins a sequence, once, where the model wants one. *tokens is the caller's: judgeq_free. */
JUDGEQ_API judgeq_status judgeq_chat_tokens(const judgeq_model *model, const judgeq_message *messages,
                                            size_t n_messages, const judgeq_chat_params *params, int32_t **tokens,
                                            size_t *n_tokens, judgeq_error *error);

/* ---- judge: trained soft tokens (Judge Q, section 3) ------------------------------------------------------------- */

typedef struct judgeq_judge judgeq_judge;

typedef struct judgeq_judge_info {
    int32_t n_depth; /* 1: the soft tokens have vectors for the first layer; the model's n_layer: for every layer */
    int32_t n_soft, n_embd;
    const char *fingerprint; /* of the model it belongs to; of a file of format version 1, loaded without a model, the
                                file_fingerprint */
    const char *model_name;  /* that model's name, for messages; or "" */
    const char *weight_type; /* of the file that it was trained with: "q4_1"; or "" where unknown */
    const char *origin;      /* how it came to be: "imported from soft-kl.npy", "trained ..." */
    const char *loss;        /* "kl", "mse", or "" where unknown */
    const char *data_hash;   /* of the training set, or "" */
    int64_t steps;           /* optimiser steps, 0 where unknown */
    float heldout_loss;      /* NaN where unknown */
    float heldout_hit_rate;  /* 0..1, NaN where unknown */
} judgeq_judge_info;

/* Loads a judge file (GGUF). `model`: refuse a judge whose fingerprint is not this model's; NULL: do not check. A file
 * of format version 1 names one quantisation: with that model, it becomes a judge of all of them. */
JUDGEQ_API judgeq_status judgeq_judge_load(const char *path, const judgeq_model *model, judgeq_judge **out,
                                           judgeq_error *error);
/* Copies soft [n_depth, n_soft, n_embd] and info's texts; info's shape and fingerprint are required. */
JUDGEQ_API judgeq_status judgeq_judge_new(const float *soft, const judgeq_judge_info *info, judgeq_judge **out,
                                          judgeq_error *error);
/* Reads .npy or .safetensors (by content): one tensor [n_soft, n_embd] or [n_layer, n_soft, n_embd], F32 or F16, and
 * makes it a judge of `model`. `tensor`: its name in a .safetensors file, NULL where the file holds only one. A judge
 * file is loaded for `model`, so that saving it brings it to the newest format. */
JUDGEQ_API judgeq_status judgeq_judge_import(const char *path, const char *tensor, const judgeq_model *model,
                                             judgeq_judge **out, judgeq_error *error);
/* Written to a temporary name, synced and renamed: a kill at any moment leaves the old file or the new one. */
JUDGEQ_API judgeq_status judgeq_judge_save(const judgeq_judge *judge, const char *path, judgeq_error *error);
/* F32, as .npy or .safetensors by the ending of `path`. */
JUDGEQ_API judgeq_status judgeq_judge_export(const judgeq_judge *judge, const char *path, judgeq_error *error);
JUDGEQ_API void judgeq_judge_free(judgeq_judge *judge);
JUDGEQ_API const judgeq_judge_info *judgeq_judge_get_info(const judgeq_judge *judge);
/* [n_depth, n_soft, n_embd]: the rows that enter the first layer behind the prompt's, and, where n_depth is more than
 * 1, what is added to them as they enter each further layer (deep prompts: Liu et al., P-Tuning v2, ACL 2022) */
JUDGEQ_API const float *judgeq_judge_soft_tokens(const judgeq_judge *judge);

/* ---- policy: which rows to keep ---------------------------------------------------------------------------------- */

typedef struct judgeq_policy judgeq_policy;

typedef struct judgeq_preset {
    const char *name;    /* "snapkv" */
    const char *text;    /* its choices, as judgeq_policy_parse reads them */
    const char *source;  /* paper, venue */
    const char *summary; /* one line */
} judgeq_preset;

/* The published methods and ours, in the order of docs/policies; NULL past the last. */
JUDGEQ_API const judgeq_preset *judgeq_preset_at(size_t index);

/* "NAME", "NAME,key=value,..." or "key=value,...": a preset and choices that replace its own. Keys: probe, reduce,
 * smooth, allocate, keep; docs/policies/README.md has the grammar. */
JUDGEQ_API judgeq_status judgeq_policy_parse(const char *text, judgeq_policy **out, judgeq_error *error);
JUDGEQ_API void judgeq_policy_free(judgeq_policy *policy);
/* All five choices written out; parsing it gives the same policy. */
JUDGEQ_API const char *judgeq_policy_text(const judgeq_policy *policy);
/* Soft tokens that the policy asks of a judge; 0: it needs none; -1: as many as the judge has. */
JUDGEQ_API int32_t judgeq_policy_soft_tokens(const judgeq_policy *policy);
/* True where every layer's full KV must be held at once (lookahead over the full cache, response). */
JUDGEQ_API bool judgeq_policy_needs_full_cache(const judgeq_policy *policy);

/* ---- session ----------------------------------------------------------------------------------------------------- */

typedef struct judgeq_session judgeq_session;

/* Of the rows held. Q8_0 and Q4_0 take 8.5 and 4.5 bits a number, each 32 of them with a scale of their own; they need
 * a head_dim that is a multiple of 32. The prompt is read, and chosen from, before its rows are rounded to them. */
typedef enum judgeq_kv_type {
    JUDGEQ_KV_F16 = 0,
    JUDGEQ_KV_F32 = 1,
    JUDGEQ_KV_Q8_0 = 2,
    JUDGEQ_KV_Q4_0 = 3
} judgeq_kv_type;

/* "f16", ...; NULL past the last. */
JUDGEQ_API const char *judgeq_kv_type_name(judgeq_kv_type type);

/* Cores that this process may use: those it is bound to, and no more than the quota of its control groups, rounded up.
 * More threads are never used, since they would only wait for each other. */
JUDGEQ_API int32_t judgeq_cores(void);

/* Called during prefill. done and total count units of work, one unit being one prompt row in one layer.
 * Returning false cancels: the call fails with CANCELLED. */
typedef bool (*judgeq_progress)(void *data, int64_t done, int64_t total);

typedef struct judgeq_session_params {
    const judgeq_policy *policy; /* NULL: full. Not kept: may be freed after judgeq_session_new */
    const judgeq_judge *judge;   /* required where the policy has soft tokens */
    int32_t budget;              /* rows per layer and KV head; 0: use budget_fraction. Of a shorter prompt, all rows */
    float budget_fraction;       /* share of the prompt, 0..1, but 1 row at least; 0: no budget given */
    int32_t n_ctx;               /* tokens of prompt and response; 0: what the model was trained for */
    int32_t n_threads; /* 0, or above judgeq_cores: one or one per core, whatever is faster while other programs run */
    int32_t chunk;     /* prompt rows per graph; 0: chosen */
    judgeq_kv_type kv_type;
    /* libllama's arithmetic: quantised weights as they are, activations rounded to 8 bits, and all sums in its order
     * (chunks of 512 rows unless `chunk` is given, keys padded to multiples of 256), so that with the full policy the
     * logits are its, bit for bit. false: the prompt is read with a 16-bit float copy of one layer's weights at a time,
     * faster and more exact. */
    bool plain_weights;
    uint64_t seed; /* of the policy `random` */
    bool defer;    /* keep the tokens that a lookahead among candidates decoded (judge-laq) */
    judgeq_progress progress;
    void *progress_data;
} judgeq_session_params;

typedef struct judgeq_stats {
    int64_t n_prompt;     /* tokens prefilled */
    int64_t n_decoded;    /* tokens decoded since */
    int64_t n_position;   /* position of the next token: the sequence's length, whatever was evicted */
    int32_t budget;       /* rows per layer and KV head, no more than the prompt has; 0: full */
    size_t kv_bytes_full; /* bytes that a full cache of n_position rows would take */
    size_t kv_bytes_held; /* bytes of the rows held now */
    size_t kv_bytes_peak; /* most KV bytes allocated at any moment */
    double prefill_s;     /* whole prefill: the five parts that follow, the logits of the first token, allocation */
    double embed_s;       /* of that: looking the prompt's embeddings up */
    double blocks_s;      /* of that: the prompt's rows through all transformer blocks */
    double score_s;       /* of that: soft rows, score reduction and selection */
    double compact_s;     /* of that: gathering the kept rows */
    double lookahead_s;   /* of that: decoding pseudo tokens or responses */
    double decode_s;      /* all decode calls */
    int32_t n_threads;    /* that compute at most */
} judgeq_stats;

JUDGEQ_API judgeq_session_params judgeq_session_default_params(void);
JUDGEQ_API judgeq_status judgeq_session_new(const judgeq_model *model, const judgeq_session_params *params,
                                            judgeq_session **out, judgeq_error *error);
JUDGEQ_API void judgeq_session_free(judgeq_session *session);

/* Reads the prompt, evicts down to the budget. Once per session. After an error the session can only be freed. */
JUDGEQ_API judgeq_status judgeq_session_prefill(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                                judgeq_error *error);
/* Reads one prompt into several sessions of the same model and judge, with F32 caches all or none: the blocks are
 * computed once, each session keeps what its own policy and budget say. The first session's threads and progress count.
 * stats: embed_s and blocks_s are the shared times, prefill_s is all of the shared time, with all lookaheads for a
 * session that looks ahead, kv_bytes_peak what this session would have needed (for policies that hold everything, one
 * layer more). On failure none of the sessions can be used further. */
JUDGEQ_API judgeq_status judgeq_session_prefill_all(judgeq_session *const *sessions, size_t n_sessions,
                                                    const int32_t *tokens, size_t n_tokens, judgeq_error *error);
/* Appends one token to the sequence. */
JUDGEQ_API judgeq_status judgeq_session_decode(judgeq_session *session, int32_t token, judgeq_error *error);
/* Appends tokens[i] to sessions[i], for n_sessions different sessions of one model, whatever their policies, budgets,
 * lengths and KV types: one pass over the weights for all. The first session's threads count. Each session's logits are
 * those that judgeq_session_decode would give, but for the order of sums, and for the weights if the model is expanded;
 * sessions that are watched or have plain_weights get exactly those, one after the other. stats: decode_s counts the
 * shared time in each session. What is refused changes nothing; after another failure none of the sessions can be used
 * further. */
JUDGEQ_API judgeq_status judgeq_session_decode_all(judgeq_session *const *sessions, const int32_t *tokens,
                                                   size_t n_sessions, judgeq_error *error);
/* Forgets the tokens decoded since the prompt was read but the first n_tokens, so that others can take their place. The
 * logits stay those of the last call until the next token is decoded. Fails where the rows are no longer there: after
 * an eviction that followed the prompt's, or for more tokens than were decoded. */
JUDGEQ_API judgeq_status judgeq_session_rewind(judgeq_session *session, int64_t n_tokens, judgeq_error *error);
/* Logits of the token after the last one, [n_vocab]; valid until the next call on the session. */
JUDGEQ_API const float *judgeq_session_logits(const judgeq_session *session);
/* The greedy tokens that a deferred lookahead already decoded: the response starts with them, and they are in the
 * cache.
 * [*n_tokens]; the session's. */
JUDGEQ_API const int32_t *judgeq_session_deferred(const judgeq_session *session, size_t *n_tokens);
JUDGEQ_API void judgeq_session_get_stats(const judgeq_session *session, judgeq_stats *stats);
/* Original positions of the rows held by one KV head, ascending, [*n_rows]; the session's, until the next call. */
JUDGEQ_API const int32_t *judgeq_session_positions(const judgeq_session *session, int32_t layer, int32_t head_kv,
                                                   size_t *n_rows);

/* What a response looks at: from here on, the attention of every decoded token to the prompt is added up. Only for a
 * session that holds its whole prompt (policy full); the target that Judge Q trains and measures by (section 3). */
JUDGEQ_API judgeq_status judgeq_session_watch(judgeq_session *session, judgeq_error *error);
/* The sums of a layer over *n_tokens decoded tokens, [n_head, n_prompt]; not renormalised: what falls on the response
 * itself is missing. The session's, until the next call on it; NULL where it is not watched. */
JUDGEQ_API const float *judgeq_session_watched(const judgeq_session *session, int32_t layer, int64_t *n_tokens);

/* ---- sampling ---------------------------------------------------------------------------------------------------- */

typedef struct judgeq_sampler judgeq_sampler;

typedef struct judgeq_sampler_params {
    float temperature; /* 0: greedy */
    int32_t top_k;     /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    uint32_t seed;
} judgeq_sampler_params;

JUDGEQ_API judgeq_status judgeq_sampler_new(const judgeq_sampler_params *params, judgeq_sampler **out,
                                            judgeq_error *error);
JUDGEQ_API void judgeq_sampler_free(judgeq_sampler *sampler);
/* logits [n_vocab]; the token drawn, or -1 where memory ran out. */
JUDGEQ_API int32_t judgeq_sampler_sample(judgeq_sampler *sampler, const float *logits, int32_t n_vocab);

/* ---- training judges (docs/training.md) -------------------------------------------------------------------------- */

typedef struct judgeq_training_set judgeq_training_set;

typedef struct judgeq_training_set_info {
    size_t n_examples;
    size_t n_broken;    /* lines that hold no example and were left out */
    const char *broken; /* what is wrong with the first of them, with file and line; "" where there is none */
    int64_t n_tokens;   /* of all prompts and responses */
    const char *hash;   /* of the file's bytes, 128 bits in hexadecimal */
} judgeq_training_set_info;

/* Reads a training set: JSON lines, a header and one example per line, as docs/training.md describes them. A set made
 * with another model is refused (MISMATCH); a broken line is left out and counted. */
JUDGEQ_API judgeq_status judgeq_training_set_load(const char *path, const judgeq_model *model,
                                                  judgeq_training_set **out, judgeq_error *error);
/* A set that grows, for online training. `name` for messages; `hash` (at most 32 characters), which checkpoints name,
 * stands for where its examples come from. */
JUDGEQ_API judgeq_status judgeq_training_set_new(const char *name, const char *hash, judgeq_training_set **out,
                                                 judgeq_error *error);
/* Appends an example; token ids of the model that the set is for. */
JUDGEQ_API judgeq_status judgeq_training_set_add(judgeq_training_set *set, const int32_t *prompt, size_t n_prompt,
                                                 const int32_t *response, size_t n_response, judgeq_error *error);
JUDGEQ_API void judgeq_training_set_free(judgeq_training_set *set);
JUDGEQ_API const judgeq_training_set_info *judgeq_training_set_get_info(const judgeq_training_set *set);

typedef enum judgeq_loss { JUDGEQ_LOSS_KL = 0, JUDGEQ_LOSS_MSE = 1 } judgeq_loss;
/* What of the response's attention is learnt: its mean over the response's tokens (the paper's), or its maximum, so
 * that a row which one token needs counts as much as one that all of them look at; KL only. */
typedef enum judgeq_target { JUDGEQ_TARGET_MEAN = 0, JUDGEQ_TARGET_MAX = 1 } judgeq_target;

typedef struct judgeq_trainer judgeq_trainer;

enum { JUDGEQ_MEASURE_BUDGETS = 4 }; /* at most, that a judge is measured with */

typedef struct judgeq_trainer_params {
    judgeq_loss loss;
    judgeq_target target;        /* of the examples that are learnt from; measured is against the mean always */
    int32_t n_soft;              /* soft tokens to train */
    bool deep;                   /* with vectors for every layer, not for the first alone */
    bool weigh_values;           /* a target counts in proportion to the L1 norm of the value it looks at */
    const judgeq_judge *start;   /* start from these; NULL: from embeddings of the model */
    const int32_t *start_tokens; /* of these tokens, repeated in order; NULL: of tokens drawn by the seed */
    size_t n_start_tokens;
    int32_t n_epochs, n_accumulate; /* passes over the training part; examples per optimiser step */
    /* Online training, n_stream above 0: the set grows to so many examples while the judge is trained. The first of
     * them, a share `heldout` and 64 at most, are held out; each of the others is followed by n_replay steps: one on
     * it, with n_accumulate - 1 that are drawn from the latest n_ring, the others on drawn ones. n_epochs does not
     * count. */
    int32_t n_stream, n_ring, n_replay;
    int32_t n_warm_up;                              /* steps of rising rate */
    double rate, clip;                              /* of AdamW; longest gradient, 0: any */
    int32_t measure_budget[JUDGEQ_MEASURE_BUDGETS]; /* rows per KV head; 0 behind the last */
    double heldout;                                 /* share of the examples that is only measured on, 0 .. 0.5 */
    uint64_t seed;          /* of the drawn tokens, the held-out part and the order of the examples */
    int32_t n_threads;      /* 0: chosen */
    judgeq_kv_type kv_type; /* F16 or F32 */
    /* What an example's prompt and response give is needed in every epoch: so many bytes of it are kept in a temporary
     * file in this folder; NULL: all of it is made again. Changes no result. */
    const char *scratch;
    size_t scratch_bytes;
    /* Called often; done and total count examples in the step or evaluation under way. false: CANCELLED, and the
     * trainer is as it was before the call. */
    judgeq_progress progress;
    void *progress_data;
    void (*notice)(void *data, const char *message); /* an example that is skipped, and why; or NULL */
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
    int32_t budget[JUDGEQ_MEASURE_BUDGETS];   /* rows per KV head, of examples with longer prompts; 0 behind the last */
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

JUDGEQ_API judgeq_trainer_params judgeq_trainer_default_params(void);
/* Keeps model and set, which must outlive it; copies the rest. Steps are several times as fast where the model keeps
 * expanded weights (judgeq_model_expand, before). */
JUDGEQ_API judgeq_status judgeq_trainer_new(const judgeq_model *model, const judgeq_training_set *set,
                                            const judgeq_trainer_params *params, judgeq_trainer **out,
                                            judgeq_error *error);
JUDGEQ_API void judgeq_trainer_free(judgeq_trainer *trainer);
/* Optimiser steps done, and in all. */
JUDGEQ_API int64_t judgeq_trainer_steps_done(const judgeq_trainer *trainer);
JUDGEQ_API int64_t judgeq_trainer_steps(const judgeq_trainer *trainer);
/* One optimiser step. An example whose loss or gradient is not finite is skipped and named to `notice`. */
JUDGEQ_API judgeq_status judgeq_trainer_step(judgeq_trainer *trainer, judgeq_training_step *out, judgeq_error *error);
/* Online training: true where the next step needs an example that the set has not yet (judgeq_training_set_add). */
JUDGEQ_API bool judgeq_trainer_wants(const judgeq_trainer *trainer);
/* Spares the trainer reading the set's last example: `session` has read its prompt with the policy full, and been
 * watched while it decoded the response but for its last token. It can only be freed then. Changes no result. */
JUDGEQ_API judgeq_status judgeq_trainer_take(judgeq_trainer *trainer, judgeq_session *session, judgeq_error *error);
/* Measures the soft tokens as they are now. */
JUDGEQ_API judgeq_status judgeq_trainer_measure(judgeq_trainer *trainer, judgeq_measures *out, judgeq_error *error);
/* The soft tokens as they are now, with the last measures. */
JUDGEQ_API judgeq_status judgeq_trainer_judge(const judgeq_trainer *trainer, const char *origin, judgeq_judge **out,
                                              judgeq_error *error);
/* A checkpoint: everything that the next step depends on, written as judges are. A trainer that is restored from it,
 * with the same model, set and parameters, continues bit for bit; others are refused. */
JUDGEQ_API judgeq_status judgeq_trainer_save(const judgeq_trainer *trainer, const char *path, judgeq_error *error);
JUDGEQ_API judgeq_status judgeq_trainer_restore(judgeq_trainer *trainer, const char *path, judgeq_error *error);

#ifdef __cplusplus
}
#endif
#endif
