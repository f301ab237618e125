#include "commands.h"

/* Of inspect, with and without --kept. */
static const command_option INSPECT_ROWS[] = {
    ROWS(kept_rows),
    {"devices", 0, .kind = COMMAND_FLAG},
    {"rpc", 0, .kind = COMMAND_TEXT},
    {"rpc-timeout", 0, .kind = COMMAND_INT32},
    {0},
};

static const char *const JUDGE_WORDS[] = {"import", "export", NULL}, *const SHELLS[] = {"bash", "zsh", NULL};
/* The tasks of eval/task.h, and these. */
static const char *const EVAL_WORDS[] = {"own", "unknown", "grid", "ruler:", "longbench:", NULL};

const subcommand subcommands[] = {
    {"run", cmd_run, "read a prompt, keep a budget of rows in the KV cache, write the response", run_rows, NULL,
     COMMAND_ANY},
    {"chat", cmd_chat, "hold a conversation in a budget of rows", chat_rows, NULL, COMMAND_ANY},
    {"ingest", cmd_ingest, "read documents once, and keep a budget of rows for the questions to come", ingest_rows,
     NULL, COMMAND_FILE},
    {"serve", cmd_serve, "serve a model to OpenAI's, Anthropic's and Ollama's clients", serve_rows, NULL, COMMAND_ANY},
    {"policies", cmd_policies, "list the policies that choose the rows", policies_rows, NULL, COMMAND_ANY},
    {"judge", cmd_judge, "make judge files from arrays of soft tokens, and arrays from judge files", judge_rows,
     JUDGE_WORDS, COMMAND_FILE},
    {"data", cmd_data, "make a training set of prompts and the model's own responses", data_rows, NULL, COMMAND_FILE},
    {"train", cmd_train, "train a judge for a model", train_rows, NULL, COMMAND_FILE},
    {"eval", cmd_eval, "compare policies and budgets on tasks, and say how many were solved", eval_rows, EVAL_WORDS,
     COMMAND_ANY},
    {"bench", cmd_bench, "measure speed and memory, and how close they are to what the machine can do", bench_rows,
     NULL, COMMAND_ANY},
    {"report", cmd_report, "show the results of an evaluation as a web page and pictures", report_rows, NULL,
     COMMAND_FOLDER},
    {"inspect", cmd_inspect, "say what is in a model or a judge file; show which tokens a policy keeps", INSPECT_ROWS,
     NULL, COMMAND_GGUF},
    {"rpc-server", cmd_rpc_server, "lend a device of this machine to judgeq run on another", rpc_server_rows, NULL,
     COMMAND_ANY},
    {"completion", cmd_completion, "print what lets bash or zsh complete judgeq's options", completion_rows, SHELLS,
     COMMAND_ANY},
    {0},
};
