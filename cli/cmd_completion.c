/* judgeq completion: scripts with which shells complete judgeq's options and their values, made of the commands'
 * tables. The lists are written into the script, so that pressing Tab runs no program. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "judgeq.h"
#include "task.h"
#include "values.h"

static const char HELP[] = "Usage: judgeq completion bash|zsh\n"
                           "\n"
                           "Prints a script with which the shell completes commands, options, policies, KV types, "
                           "files and folders when Tab is\n"
                           "pressed. An installed judgeq has brought it along, where the shells find it.\n"
                           "\n"
                           "  -h, --help  this text\n"
                           "\n"
                           "Example\n"
                           "  source <(judgeq completion bash)\n";

/* ---- what can follow --------------------------------------------------------------------------------------------- */

/* `colon` is what stands for a ":" in the list. */
static void put_word(const char *word, size_t n, const char *colon) {
    for (size_t i = 0; i < n; i++) {
        if (word[i] == ':')
            fputs(colon, stdout);
        else
            putchar(word[i]);
    }
    putchar(' ');
}

static void put_words(const char *const *words, const char *colon) {
    for (; words && *words; words++) put_word(*words, strlen(*words), colon);
}

/* What a preset has for a choice ("window:32" for "probe"), *n characters; NULL for none. */
static const char *choice_of(const judgeq_preset *preset, const char *name, size_t *n) {
    const size_t length = strlen(name);
    for (const char *at = preset->text; at; at = strchr(at, ','), at = at ? at + 1 : NULL) {
        if (strncmp(at, name, length) != 0 || at[length] != '=') continue;
        *n = strcspn(at + length + 1, ",");
        return at + length + 1;
    }
    return NULL;
}

/* Each value once. */
static void put_choices(const char *name, const char *colon) {
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        size_t n = 0, n_before = 0;
        const char *value = choice_of(judgeq_preset_at(i), name, &n);
        bool seen = !value;
        for (size_t j = 0; j < i && !seen; j++) {
            const char *before = choice_of(judgeq_preset_at(j), name, &n_before);
            seen = before && n_before == n && strncmp(before, value, n) == 0;
        }
        if (!seen) put_word(value, n, colon);
    }
}

static void put_values(const command_option *row, const char *colon) {
    put_words(row->choices, colon);
    if (row->value == COMMAND_POLICY || row->value == COMMAND_POLICIES) {
        for (size_t i = 0; judgeq_preset_at(i); i++)
            put_word(judgeq_preset_at(i)->name, strlen(judgeq_preset_at(i)->name), colon);
    } else if (row->value == COMMAND_POLICY_CHOICE) {
        put_choices(row->name, colon);
    } else if (row->value == COMMAND_KV_TYPE || row->value == COMMAND_KV_TYPES) {
        for (judgeq_kv_type type = 0; judgeq_kv_type_name(type); type++)
            put_word(judgeq_kv_type_name(type), strlen(judgeq_kv_type_name(type)), colon);
    }
}

static bool has_values(const command_option *row) {
    return row->choices || row->value >= COMMAND_POLICY;
}

static bool is_list(const command_option *row) {
    return row->value == COMMAND_POLICIES || row->value == COMMAND_KV_TYPES;
}

static void put_operands(const subcommand *c, const char *colon) {
    put_words(c->operands, colon);
    for (size_t i = 0; c->run == cmd_eval && task_at(i); i++)
        put_word(task_name(task_at(i)), strlen(task_name(task_at(i))), colon);
}

static void for_each(const command_option *table, void (*print)(const subcommand *c, const command_option *row),
                     const subcommand *c) {
    for (const command_option *row = table; row->name; row++) {
        if (row->kind == COMMAND_TABLE)
            for_each(row->table, print, c);
        else
            print(c, row);
    }
}

static void for_each_option(const subcommand *c, void (*print)(const subcommand *c, const command_option *row)) {
    for_each(c->options, print, c);
    for_each(command_common_rows, print, c);
}

/* ---- bash -------------------------------------------------------------------------------------------------------- */

static const char BASH_BEGINNING[] =
    "# bash completion of judgeq, made by `judgeq completion bash`.\n"
    "\n"
    "# Readline replaces only what follows the last : or = of the word.\n"
    "_judgeq_words() { # WORDS\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$typed\")\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"${typed%\"${typed##*[:=]}\"}\"}\")\n"
    "}\n"
    "_judgeq_list() { # WORDS: the last of several, with , or ; between them\n"
    "    local last=${typed##*[,;]}\n"
    "    compopt -o nospace 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -P \"${typed%\"$last\"}\" -W \"$1\" -- \"$last\")\n"
    "}\n"
    "_judgeq_files() { # PATTERN\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -f -X \"!$1\" -- \"$current\"; compgen -d -- \"$current\")\n"
    "}\n"
    "_judgeq_folders() {\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -d -- \"$current\")\n"
    "}\n"
    "\n"
    "_judgeq() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT} typed previous\n"
    "    typed=${line##*[[:space:]]}\n"
    "    read -ra previous <<<\"${line%\"$typed\"}\"\n"
    "    previous=${previous[-1]}\n"
    "    if [[ $typed == --*=* ]]; then\n"
    "        previous=${typed%%=*} typed=${typed#*=}\n"
    "        [[ $current == = ]] && current=\n"
    "    fi\n"
    "    typed=${typed#[\\\"\\']}\n"
    "    COMPREPLY=()\n"
    "    if ((COMP_CWORD == 1)); then\n";

/* "run --model" | "run -m", and what follows. */
static void bash_value(const subcommand *c, const command_option *row) {
    if (row->kind == COMMAND_FLAG) return;
    printf("    \"%s --%s\"", c->name, row->name);
    if (row->letter) printf(" | \"%s -%c\"", c->name, row->letter);
    if (has_values(row)) {
        printf(") _judgeq_%s \"", is_list(row) ? "list" : "words");
        put_values(row, ":");
        fputs("\" ;;\n", stdout);
    } else {
        puts(row->value == COMMAND_FOLDER ? ") _judgeq_folders ;;"
             : row->value == COMMAND_GGUF ? ") _judgeq_files '*.gguf' ;;"
             : row->value == COMMAND_FILE ? ") _judgeq_files '*' ;;"
                                          : ") ;;");
    }
}

static void bash_option(const subcommand *c, const command_option *row) {
    (void)c;
    printf("--%s ", row->name);
    if (row->letter) printf("-%c ", row->letter);
}

/* Options where one is begun, and operands elsewhere. */
static void bash_rest(const subcommand *c) {
    static const char *const files[] = {[COMMAND_FILE] = "_judgeq_files '*'",
                                        [COMMAND_GGUF] = "_judgeq_files '*.gguf'",
                                        [COMMAND_FOLDER] = "_judgeq_folders"};
    printf("    \"%s \"*)\n        if [[ $typed == -* ]]; then\n            _judgeq_words \"", c->name);
    for_each_option(c, bash_option);
    fputs("\"\n        else\n            _judgeq_words \"", stdout);
    put_operands(c, ":");
    puts("\"");
    if (c->operand != COMMAND_ANY) printf("            ((${#COMPREPLY[@]})) || %s\n", files[c->operand]);
    puts("        fi ;;");
}

static void print_bash(void) {
    fputs(BASH_BEGINNING, stdout);
    fputs("        _judgeq_words \"", stdout);
    for (const subcommand *c = subcommands; c->name; c++) printf("%s ", c->name);
    puts("--help --version\"\n        return\n    fi\n    case \"${COMP_WORDS[1]} $previous\" in");
    for (const subcommand *c = subcommands; c->name; c++) {
        for_each_option(c, bash_value);
        bash_rest(c);
    }
    puts("    esac\n}\ncomplete -F _judgeq judgeq");
}

/* ---- zsh --------------------------------------------------------------------------------------------------------- */

static void zsh_action(const command_option *row) {
    if (has_values(row)) {
        fputs(is_list(row) ? "_sequence -s , compadd - " : "(", stdout);
        put_values(row, "\\:");
        fputs(is_list(row) ? "" : ")", stdout);
    } else {
        fputs(row->value == COMMAND_FOLDER ? "_files -/"
              : row->value == COMMAND_GGUF ? "_files -g \"*.gguf\""
              : row->value == COMMAND_FILE ? "_files"
                                           : " ",
              stdout);
    }
}

static void zsh_option(const subcommand *c, const command_option *row) {
    (void)c;
    const bool flag = row->kind == COMMAND_FLAG;
    fputs("                '*'", stdout);
    if (row->letter)
        printf("{-%c%s,--%s%s}", row->letter, flag ? "" : "+", row->name, flag ? "" : "=");
    else
        printf("--%s%s", row->name, flag ? "" : "=");
    if (!flag) {
        printf("':%s:", row->name);
        zsh_action(row);
        fputs("'", stdout);
    }
    puts(" \\");
}

static void zsh_operands(const subcommand *c) {
    static const char *const files[] = {[COMMAND_ANY] = "",
                                        [COMMAND_FILE] = "_files",
                                        [COMMAND_GGUF] = "_files -g \"*.gguf\"",
                                        [COMMAND_FOLDER] = "_files -/"};
    if (c->operands) {
        fputs("                '1:what:(", stdout);
        put_operands(c, "\\:");
        puts(")' \\");
    }
    printf("                '*:file:%s' ;;\n", *files[c->operand] ? files[c->operand] : " ");
}

static void print_zsh(void) {
    puts("#compdef judgeq\n"
         "# zsh completion of judgeq, made by `judgeq completion zsh`.\n"
         "_judgeq() {\n"
         "    local state line\n"
         "    typeset -A opt_args\n"
         "    _arguments -C '(- *)'{-h,--help}'[say how it is used]' '(- *)--version[print the version]' \\\n"
         "        '1:command:->command' '*::argument:->argument'\n"
         "    case $state in\n"
         "    command)\n"
         "        local -a names=(");
    for (const subcommand *c = subcommands; c->name; c++) {
        printf("            \"%s:%s\"\n", c->name, c->summary);
    }
    puts("        )\n        _describe command names ;;\n    argument)\n        case $words[1] in");
    for (const subcommand *c = subcommands; c->name; c++) {
        printf("        %s)\n            _arguments -s \\\n", c->name);
        for_each_option(c, zsh_option);
        zsh_operands(c);
    }
    puts("        esac ;;\n    esac\n}\n"
         "if [[ $funcstack[1] == _judgeq ]]; then _judgeq \"$@\"; else compdef _judgeq judgeq; fi");
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

typedef struct completion_options {
    bool help;
} completion_options;

const command_option completion_rows[] = {{"help", 'h', INTO(completion_options, help)}, {0}};

int cmd_completion(int argc, char **argv) {
    completion_options o = {0};
    const int usage = command_line_read("completion", completion_rows, argc, argv, &o);
    if (usage != 0) return usage;
    const char *shell = optind < argc ? argv[optind] : "";
    if (o.help)
        fputs(HELP, stdout);
    else if (optind + 1 == argc && strcmp(shell, "bash") == 0)
        print_bash();
    else if (optind + 1 == argc && strcmp(shell, "zsh") == 0)
        print_zsh();
    else
        return usage_wrong("completion", "for which shell? bash or zsh");
    return 0;
}
