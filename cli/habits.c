#include "habits.h"

#include <string.h>

#define NO_DOWNLOADS "judgeq does not download models: fetch the GGUF file yourself and name it with -m FILE"
#define ONE_ANSWER                                                                                                     \
    "judgeq run answers one prompt and ends, judgeq chat holds a conversation: leave it out. A prompt is put into "    \
    "the model's chat template; --raw continues it as it is"
#define SAMPLING "tokens are drawn by --temp, --top-k, --top-p and --min-p only"
#define NO_FORMAT "a response cannot be held to a format; --json writes it with its figures as one JSON object"
#define LEAVE_OUT "judgeq sees to it by itself: leave it out"
#define TEXT_ONLY "judgeq runs text models only"

static const habit OPTIONS[] = {
    {"-hf", NULL, NO_DOWNLOADS},
    {"-hfr", NULL, NO_DOWNLOADS},
    {"-hff", NULL, NO_DOWNLOADS},
    {"-hft", NULL, NO_DOWNLOADS},
    {"-mu", NULL, NO_DOWNLOADS},
    {"--hf-repo", NULL, NO_DOWNLOADS},
    {"--hf-file", NULL, NO_DOWNLOADS},
    {"--hf-token", NULL, NO_DOWNLOADS},
    {"--model-url", NULL, NO_DOWNLOADS},
    {"--docker-repo", NULL, NO_DOWNLOADS},
    {"--insecure", NULL, NO_DOWNLOADS},
    {"-c", "ctx", "without it, the context is what the model was trained for"},
    {"--ctx-size", "ctx", "without it, the context is what the model was trained for"},
    {"--num-ctx", "ctx", "without it, the context is what the model was trained for"},
    {"--n-ctx", "ctx", "without it, the context is what the model was trained for"},
    {"--max-model-len", "ctx", "without it, the context is what the model was trained for"},
    {"--predict", "tokens", NULL},
    {"--n-predict", "tokens", NULL},
    {"--num-predict", "tokens", NULL},
    {"--max-tokens", "tokens", NULL},
    {"--max-new-tokens", "tokens", NULL},
    {"--temperature", "temp", NULL},
    {"-s", "seed", NULL},
    {"-r", "stop", NULL},
    {"--reverse-prompt", "stop", NULL},
    {"-sys", "system", NULL},
    {"--system-prompt", "system", NULL},
    {"-tb", "threads", "it is one number for reading and writing"},
    {"--threads-batch", "threads", "it is one number for reading and writing"},
    {"--num-thread", "threads", NULL},
    {"--n-threads", "threads", NULL},
    {"-b", "chunk", NULL},
    {"-ub", "chunk", NULL},
    {"--batch-size", "chunk", NULL},
    {"--ubatch-size", "chunk", NULL},
    {"-ctk", "kv-type", "it is one type for keys and values"},
    {"-ctv", "kv-type", "it is one type for keys and values"},
    {"--cache-type-k", "kv-type", "it is one type for keys and values"},
    {"--cache-type-v", "kv-type", "it is one type for keys and values"},
    {"--n-gpu-layers", "ngl", NULL},
    {"--gpu-layers", "ngl", NULL},
    {"--num-gpu", "ngl", NULL},
    {"-dev", "device", NULL},
    {"-no-cnv", "raw", NULL},
    {"--no-conversation", "raw", NULL},
    {"-cnv", NULL, ONE_ANSWER},
    {"-i", NULL, ONE_ANSWER},
    {"-st", NULL, ONE_ANSWER},
    {"--conversation", NULL, ONE_ANSWER},
    {"--interactive", NULL, ONE_ANSWER},
    {"--single-turn", NULL, ONE_ANSWER},
    {"--keepalive", NULL, ONE_ANSWER},
    {"--format", NULL, NO_FORMAT},
    {"--grammar", NULL, NO_FORMAT},
    {"--json-schema", NULL, NO_FORMAT},
    {"--repeat-penalty", NULL, SAMPLING},
    {"--presence-penalty", NULL, SAMPLING},
    {"--frequency-penalty", NULL, SAMPLING},
    {"--mirostat", NULL, SAMPLING},
    {"--typical", NULL, SAMPLING},
    {"--samplers", NULL, SAMPLING},
    {"-fa", NULL, LEAVE_OUT},
    {"--flash-attn", NULL, LEAVE_OUT},
    {"--mlock", NULL, LEAVE_OUT},
    {"--mmap", NULL, LEAVE_OUT},
    {"--no-mmap", NULL, LEAVE_OUT},
    {"--jinja", NULL, LEAVE_OUT},
    {"--no-display-prompt", NULL, LEAVE_OUT},
    {"--simple-io", NULL, LEAVE_OUT},
    {"--log-disable", "quiet", NULL},
    {"-e", NULL, "the prompt is taken as it is: write line ends into it, or use -f FILE"},
    {"--escape", NULL, "the prompt is taken as it is: write line ends into it, or use -f FILE"},
    {"--lora", NULL, "judgeq runs a model as its file is: merge the adapter into it first"},
    {"--mmproj", NULL, TEXT_ONLY},
    {"--image", NULL, TEXT_ONLY},
    {NULL, NULL, NULL},
};

static const habit COMMANDS[] = {
    {"pull", NULL, NO_DOWNLOADS},
    {"download", NULL, NO_DOWNLOADS},
    {"serve", NULL, "judgeq has no server: judgeq run answers one prompt and ends"},
    {"server", NULL, "judgeq has no server: judgeq run answers one prompt and ends"},
    {"list", NULL, "judgeq keeps no list of models: judgeq run -m FILE names a GGUF file"},
    {"ls", NULL, "judgeq keeps no list of models: judgeq run -m FILE names a GGUF file"},
    {"ask", "run", NULL},
    {"generate", "run", NULL},
    {"show", "inspect", NULL},
    {"info", "inspect", NULL},
    {"evaluate", "eval", NULL},
    {"benchmark", "bench", NULL},
    {NULL, NULL, NULL},
};

static const habit *find(const habit *at, const char *written, size_t n) {
    for (; at->written; at++) {
        if (strlen(at->written) == n && strncmp(at->written, written, n) == 0) return at;
    }
    return NULL;
}

const habit *habit_of_option(const char *written) {
    return find(OPTIONS, written, strcspn(written, "="));
}

const habit *habit_of_command(const char *written) {
    return find(COMMANDS, written, strlen(written));
}
