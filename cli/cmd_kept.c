/* judgeq inspect --kept: which tokens of a text a policy keeps. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "commands.h"
#include "exit_status.h"
#include "kept.h"
#include "kept_text.h"
#include "report/page.h"
#include "say.h"

static const char HELP[] =
    "Usage: judgeq inspect --kept [-f FILE] [-p TEXT] [OPTIONS]\n"
    "\n"
    "Reads a prompt and shows which of its tokens a policy keeps in the KV cache: on the terminal as a heat map, or as "
    "a\n"
    "web page with a slider over the budget and views per layer and KV head. Nothing is decoded, except by policies "
    "that\n"
    "look ahead.\n"
    "\n"
    "What is kept\n"
    "      --policy NAME   as for judgeq run; can be given several times, to compare (default: judge, or\n"
    "                      what judgeq run has without one)\n"
    "      --probe X, --reduce X, --smooth X, --allocate X, --keep X, --remember X\n"
    "                      replace a choice of the policies (default: their own); docs/policies has the values\n"
    "      --budget LIST   rows per layer and KV head, or shares of the prompt: 64 or 32,64,5% (default: 10%; with\n"
    "                      --html 32, 64, 128, ... below the prompt's length)\n"
    "      --judge FILE    the judge, for policies with soft tokens (default: as for judgeq run)\n"
    "      --seed N        of the policy random (default: 0)\n"
    "    Example: judgeq inspect --kept -f report.txt -p \"Who signed it?\" --policy judge --policy snapkv --budget "
    "64\n"
    "\n"
    "Prompt and model\n"
    "  -p, --prompt TEXT   the prompt\n"
    "  -f, --file FILE     the prompt, from a file; \"-\" is standard input. With -p: the file, a blank line, the "
    "text\n"
    "                      (default: what a pipe or < FILE brings on standard input, also before -p)\n"
    "      --chat, --raw, --system TEXT, --no-think\n"
    "                      chat template or none, its system message, and its switch for thinking turned off\n"
    "                      (default: chat, if the model has a template)\n"
    "  -m, --model FILE    GGUF model (default: the model that tools/deps.sh fetched)\n"
    "  -t, --threads N     threads that compute (default: one per core, or one where other programs run)\n"
    "      --ctx N         most tokens of the prompt (default: what the model was trained for)\n"
    "      --kv-type T     numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "\n"
    "Output\n"
    "      --layer N       only this layer, from 0 (default: the share of all layers)\n"
    "      --head N        only this KV head, from 0 (default: the share of all KV heads)\n"
    "      --html FILE     write a page for a web browser, which needs no network, instead\n"
    "      --json          write one JSON object: tokens, and the rows kept in every layer and KV head\n"
    "      --quiet         no progress on standard error\n"
    "  -h, --help          this text\n"
    "    NO_COLOR set, or no terminal: marks under the text instead of colours.\n"
    "    Example: judgeq inspect --kept -f report.txt -p \"Who signed it?\" --html kept.html\n";

static int fail(const char *what, const char *why) {
    say("%s: %s", what, why);
    return 1;
}

static int show_json(const kept *k) {
    json_t *object = kept_json(k);
    if (!object) return fail("inspect", "out of memory");
    const bool written = say_json(object, JSON_COMPACT) && fflush(stdout) == 0;
    json_decref(object);
    return written ? 0 : fail("cannot write to standard output", strerror(errno));
}

static int write_html(const kept *k, const kept_options *o) {
    json_t *object = kept_json(k);
    if (!object) return fail("inspect", "out of memory");
    judgeq_error error = {0};
    const judgeq_status status = page_write(&page_kept, object, o->html, &error);
    json_decref(object);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    if (!o->run.quiet) say("wrote %s; open it in a web browser", o->html);
    return 0;
}

static int show(const kept *k, const kept_options *o) {
    if (o->html) {
        const int status = write_html(k, o);
        if (status != 0 || !o->run.json) return status;
    }
    if (o->run.json) return show_json(k);
    if (!kept_text_print(k, kept_colours_of_stdout(), o->layer, o->head)) return fail("inspect", "out of memory");
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return fail("cannot write to standard output", strerror(errno));
}

static bool can_write(const char *path) {
    judgeq_error error = {0};
    const bool can = file_check_output(path, &error) == JUDGEQ_OK;
    if (!can) say("%s", error.message);
    return can;
}

int cmd_kept(int argc, char **argv) {
    kept_options o;
    int status = kept_options_read(argc, argv, &o);
    if (status == 0 && o.run.help) {
        fputs(HELP, stdout);
    } else if (status == 0 && o.html && !can_write(o.html)) {
        status = EXIT_FAILURE;
    } else if (status == 0) {
        kept k;
        status = kept_make(&o, &k);
        if (status == 0) status = show(&k, &o);
        kept_free(&k);
    }
    kept_options_free(&o);
    return status;
}
