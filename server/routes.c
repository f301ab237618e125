/* routes: which path leads to which room. */
#include "service.h"

#define BOTH(method, path, handler)                                                                                    \
    {method, "/v1" path, handler, false}, {                                                                            \
        method, path, handler, false                                                                                   \
    }

const http_route service_routes[] = {
    {"GET", "/", web_page, true},
    BOTH("POST", "/chat/completions", openai_chat),
    BOTH("POST", "/completions", openai_completions),
    BOTH("POST", "/responses", openai_responses),
    BOTH("POST", "/responses/compact", openai_responses_compact),
    BOTH("POST", "/messages", anthropic_messages),
    BOTH("POST", "/messages/count_tokens", anthropic_count_tokens),
    BOTH("POST", "/contexts", contexts_upload),
    BOTH("GET", "/contexts", contexts_all),
    BOTH("GET", "/contexts/*", contexts_one),
    BOTH("DELETE", "/contexts/*", contexts_delete),
    {"POST", "/api/chat", ollama_chat, false},
    {"POST", "/api/generate", ollama_generate, false},
    {"GET", "/api/tags", ollama_tags, false},
    {"POST", "/api/show", ollama_show, false},
    {"GET", "/api/version", ollama_version, false},
    BOTH("GET", "/models", info_models),
    BOTH("GET", "/models/*", info_model),
    {"GET", "/v1/health", info_health, true},
    {"GET", "/health", info_health, true},
    {"GET", "/openapi.json", info_openapi, true},
    {"GET", "/props", info_props, false},
    {"GET", "/slots", info_slots, false},
    {"GET", "/metrics", info_metrics, false},
    {"POST", "/tokenize", info_tokenize, false},
    {"POST", "/detokenize", info_detokenize, false},
    {"POST", "/apply-template", info_apply_template, false},
};

const size_t service_n_routes = sizeof service_routes / sizeof *service_routes;
