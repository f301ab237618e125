#include "serve_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "device_options.h"
#include "exit_status.h"
#include "say.h"
#include "values.h"

#define wrong(...) usage_wrong("serve", __VA_ARGS__)

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* "1048576", "1024K", "1M". */
static int take_bytes(const command_given *given, void *place) {
    static const char units[] = "KMG";
    char number[32] = "";
    int64_t whole = 0;
    const size_t n = strlen(given->value);
    const char *unit = n > 0 ? strchr(units, given->value[n - 1]) : NULL;
    const int shift = unit && *unit ? 10 * (int)(unit - units + 1) : 0;
    if (n < sizeof number) memcpy(number, given->value, n - (shift > 0));
    if (!value_integer(number, 1, INT64_MAX >> shift, &whole)) {
        return usage_wrong(given->command, "%s \"%s\": expected bytes, or 512K, 512M, 2G", given->option, given->value);
    }
    *(size_t *)place = (size_t)whole << shift;
    return 0;
}

static int take_key(const command_given *given, void *place) {
    serve_options *o = place;
    if (!*given->value) return usage_wrong(given->command, "--api-key \"\": expected a key");
    if (o->keys.n == SERVE_KEYS_MOST) return usage_wrong(given->command, "up to %d keys", SERVE_KEYS_MOST);
    o->keys.key[o->keys.n++] = given->value;
    o->keys.n_given = o->keys.n;
    return 0;
}

static int take_origin(const command_given *given, void *place) {
    serve_options *o = place;
    if (strcmp(given->value, "*") != 0 && !strstr(given->value, "://")) {
        return usage_wrong(given->command, "--cors \"%s\": expected an origin, https://example.org, or \"*\"",
                           given->value);
    }
    if (o->n_origins == SERVE_ORIGINS_MOST) {
        return usage_wrong(given->command, "--cors can be given %d times", SERVE_ORIGINS_MOST);
    }
    o->origin[o->n_origins++] = given->value;
    return 0;
}

static int take_name(const command_given *given, void *place) {
    serve_options *o = place;
    if (!*given->value || strpbrk(given->value, "/:")) {
        return usage_wrong(given->command, "--host-name \"%s\": expected a name without a port, as server.example.org",
                           given->value);
    }
    if (o->n_names == SERVE_NAMES_MOST) {
        return usage_wrong(given->command, "--host-name can be given %d times", SERVE_NAMES_MOST);
    }
    o->name[o->n_names++] = given->value;
    return 0;
}

const command_option serve_rows[] = {
    {"model", 'm', INTO(serve_options, run.model), .value = COMMAND_GGUF},
    {"alias", 0, INTO(serve_options, alias)},
    {"threads", 't', INTO(serve_options, run.session.n_threads), .least = 1, .most = 1024},
    {"ctx", 0, INTO(serve_options, run.session.n_ctx), .least = 1, .most = INT32_MAX / 2},
    {"kv-type", 0, TAKEN_INTO(serve_options, run.session.kv_type, command_take_kv_type), .value = COMMAND_KV_TYPE},
    {"judge", 0, INTO(serve_options, run.judge), .value = COMMAND_GGUF},
    ROWS_OF(serve_options, run, options_evict),
    ROWS_OF(serve_options, run, options_budget),
    ROWS_OF(serve_options, run.choices, choices_rows),
    ROWS_OF(serve_options, run.devices, device_options_rows),
    {"kv-bytes", 0, TAKEN_INTO(serve_options, kv_bytes, take_bytes)},
    {"cache-bytes", 0, TAKEN_INTO(serve_options, cache_bytes, take_bytes)},
    {"parallel", 0, INTO(serve_options, n_parallel), .least = 1, .most = 1024},
    {"queue", 0, INTO(serve_options, n_queue), .least = 1, .most = 65536},
    {"context-dir", 0, INTO(serve_options, context_folder), .value = COMMAND_FOLDER},
    {"context-bytes", 0, TAKEN_INTO(serve_options, context_bytes, take_bytes)},
    {"host", 0, INTO(serve_options, host)},
    {"port", 0, INTO(serve_options, port), .most = UINT16_MAX},
    {"api-key", 0, TAKEN(take_key), .adds_up = true},
    {"api-key-file", 0, INTO(serve_options, key_file), .value = COMMAND_FILE},
    {"host-name", 0, TAKEN(take_name), .adds_up = true},
    {"cors", 0, TAKEN(take_origin), .adds_up = true},
    {"connections", 0, INTO(serve_options, n_connections), .least = 1, .most = 65536},
    {"body-bytes", 0, TAKEN_INTO(serve_options, body_bytes, take_bytes)},
    {"timeout", 0, INTO(serve_options, timeout_s), .from = 0.1, .to = 86400},
    {"ping", 0, INTO(serve_options, ping_s), .from = 0.01, .to = 3600},
    {"drain", 0, INTO(serve_options, drain_s), .to = 86400},
    {"tokens", 'n', INTO(serve_options, run.n_tokens), .most = INT32_MAX},
    {"temp", 0, INTO(serve_options, run.sampler.temperature), .to = 100},
    {"top-k", 0, INTO(serve_options, run.sampler.top_k), .most = INT32_MAX},
    {"top-p", 0, INTO(serve_options, run.sampler.top_p), .to = 1},
    {"min-p", 0, INTO(serve_options, run.sampler.min_p), .to = 1},
    {"quiet", 0, INTO(serve_options, run.quiet)},
    {"help", 'h', INTO(serve_options, run.help)},
    {0},
};

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int serve_options_read(int argc, char **argv, serve_options *o) {
    *o = (serve_options){.run = options_default(),
                         .host = "127.0.0.1",
                         .port = 8080,
                         .n_parallel = 64,
                         .n_queue = 64,
                         .n_connections = 256,
                         .body_bytes = 8 << 20,
                         .timeout_s = 60,
                         .ping_s = 5,
                         .drain_s = 30};
    o->run.n_tokens = 2048;
    o->run.sampler.temperature = 0.8f;
    int status = command_line_read("serve", serve_rows, argc, argv, o);
    if (status != 0 || o->run.help) return status;
    if (optind < argc) return wrong("what is \"%s\"? A model goes after -m", argv[optind]);
    if (o->context_bytes > 0 && !o->context_folder)
        return wrong("--context-bytes: of which folder? Add --context-dir DIR");
    if (o->key_file) status = serve_keys_read(&o->keys, o->key_file);
    if (status != 0) return status;
    return options_write_policy(&o->run, "serve", options_preset(&o->run, "judge"));
}

void serve_options_free(serve_options *o) {
    serve_keys_free(&o->keys);
    options_free(&o->run);
}
