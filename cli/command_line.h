/* command_line: a command's options as a table, and what is given for them read into the command's struct.
 *
 *     typedef struct options { const char *model; int32_t n_tokens; float top_p; bool json; } options;
 *     static const command_option OPTIONS[] = {
 *         {"model", 'm', INTO(options, model)},
 *         {"tokens", 'n', INTO(options, n_tokens), .most = 4096},
 *         {"top-p", 0, INTO(options, top_p), .to = 1},
 *         {"json", 0, INTO(options, json)},
 *         {0}};
 */
#ifndef JUDGEQ_CLI_COMMAND_LINE_H
#define JUDGEQ_CLI_COMMAND_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct command_option command_option;

typedef struct command_given {
    const char *command, *option; /* "run", "-n" or "--temp" */
    const char *value;
    const command_option *row;
} command_given;

/* Reads a value into its place; 0, or the exit status of wrong usage after a message. */
typedef int command_take(const command_given *given, void *place);

typedef enum command_kind {
    COMMAND_FLAG, /* without a value */
    COMMAND_TEXT,
    COMMAND_INT32,
    COMMAND_UINT32,
    COMMAND_UINT64,
    COMMAND_FLOAT,
    COMMAND_DOUBLE,
    COMMAND_TAKEN, /* by `take` */
    COMMAND_TABLE  /* no option, but those of another table */
} command_kind;

/* What a value names: nothing is checked by it, but shells complete it (cmd_completion.c). */
typedef enum command_value {
    COMMAND_ANY,
    COMMAND_FILE,
    COMMAND_GGUF, /* a model or a judge */
    COMMAND_FOLDER,
    COMMAND_POLICY,
    COMMAND_POLICIES,      /* with , or ; between them */
    COMMAND_POLICY_CHOICE, /* what a policy has under the option's name */
    COMMAND_KV_TYPE,
    COMMAND_KV_TYPES /* with , between them */
} command_value;

struct command_option {
    const char *name; /* after --; NULL ends a table */
    char letter;      /* after -; 0: none */
    command_kind kind;
    size_t at;           /* of the place, in the struct */
    int64_t least, most; /* of a whole number */
    double from, to;     /* of any other */
    command_take *take;
    const char *const *choices; /* of command_take_choice, up to NULL */
    const command_option *table;
    command_value value;
    bool adds_up;     /* can be given several times; others once, unless they are flags */
    const char *also; /* another spelling, dash included, that would read as a letter and its value */
};

/* The kind and the place of a member; its type says how it is read. */
#define INTO(type, member)                                                                                             \
    .kind = _Generic(((type *)NULL)->member, bool: COMMAND_FLAG, const char *: COMMAND_TEXT, int32_t: COMMAND_INT32,   \
                     uint32_t: COMMAND_UINT32, uint64_t: COMMAND_UINT64, float: COMMAND_FLOAT,                         \
                     double: COMMAND_DOUBLE),                                                                          \
    .at = offsetof(type, member)
#define TAKEN_INTO(type, member, function) .kind = COMMAND_TAKEN, .at = offsetof(type, member), .take = (function)
#define TAKEN(function) .kind = COMMAND_TAKEN, .take = (function)
#define ROWS(rows)                                                                                                     \
    { "", 0, .kind = COMMAND_TABLE, .table = (rows) }
#define ROWS_OF(type, member, rows)                                                                                    \
    { "", 0, .kind = COMMAND_TABLE, .at = offsetof(type, member), .table = (rows) }

/* What every command takes beside its own: -v, --verbose, which shows libllama's and ggml's log lines. */
extern const command_option command_common_rows[];

/* Reads the options of argv[1..] into the struct that `table` describes. optind is then the first argument that is no
 * option. What has another name elsewhere or is misspelt is told the right one. 0, or the exit status of wrong usage
 * after a message. */
int command_line_read(const char *command, const command_option *table, int argc, char **argv, void *into);

/* ---- values of kinds of their own -------------------------------------------------------------------------------- */

enum { COMMAND_LIST_MOST = 16 };

typedef struct command_list {
    int32_t value[COMMAND_LIST_MOST];
    size_t n;
} command_list;

/* Copies what stands before the next comma, "" if it does not fit; what follows the comma, or NULL. */
const char *command_next_part(const char *at, char *part, size_t n_part);

command_take command_take_list;    /* command_list: "512,2048", each from .least to .most */
command_take command_take_mib;     /* size_t in bytes, of MiB from .least to .most */
command_take command_take_kv_type; /* judgeq_kv_type */
command_take command_take_slack;   /* int32_t: rows, or "none" */
command_take command_take_choice;  /* an enum: the index of the value in .choices */

#endif
