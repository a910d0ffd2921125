#include "serve/http/routes.h"

#include <string.h>

#define JOB(path, route, name)                                                                     \
    {                                                                                              \
        path, METHOD_POST, ACTION_JOB, route, false, name                                          \
    }
#define GET(path, action)                                                                          \
    {                                                                                              \
        path, METHOD_GET, action, ROUTE_CHAT, false, NULL                                          \
    }
#define PUBLIC(path, action)                                                                       \
    {                                                                                              \
        path, METHOD_GET, action, ROUTE_CHAT, true, NULL                                           \
    }
#define MISSING(path)                                                                              \
    {                                                                                              \
        path, METHOD_POST, ACTION_MISSING, ROUTE_CHAT, false, NULL                                 \
    }

static const struct route_entry table[] = {
    JOB("/v1/chat/completions", ROUTE_CHAT, NULL),
    JOB("/chat/completions", ROUTE_CHAT, "/v1/chat/completions"),
    JOB("/v1/completions", ROUTE_COMPLETIONS, NULL),
    JOB("/completion", ROUTE_COMPLETION, NULL),
    JOB("/completions", ROUTE_COMPLETION, "/completion"),
    JOB("/v1/embeddings", ROUTE_EMBEDDINGS, NULL),
    JOB("/embeddings", ROUTE_EMBEDDINGS, "/v1/embeddings"),
    JOB("/v1/rerank", ROUTE_RERANK, NULL),
    JOB("/rerank", ROUTE_RERANK, "/v1/rerank"),
    JOB("/reranking", ROUTE_RERANK, "/v1/rerank"),
    JOB("/v1/reranking", ROUTE_RERANK, "/v1/rerank"),
    JOB("/tokenize", ROUTE_TOKENIZE, NULL),
    JOB("/detokenize", ROUTE_DETOKENIZE, NULL),
    JOB("/apply-template", ROUTE_TEMPLATE, NULL),
    GET("/v1/models", ACTION_MODELS),
    { "/models", METHOD_GET, ACTION_MODELS, ROUTE_CHAT, false, "/v1/models" },
    { "/v1/models/", METHOD_GET, ACTION_MODEL, ROUTE_CHAT, false, "/v1/models/{id}" },
    { "/models/", METHOD_GET, ACTION_MODEL, ROUTE_CHAT, false, "/v1/models/{id}" },
    GET("/props", ACTION_PROPS),
    GET("/slots", ACTION_SLOTS),
    GET("/metrics", ACTION_METRICS),
    PUBLIC("/health", ACTION_HEALTH),
    PUBLIC("/v1/health", ACTION_HEALTH),
    PUBLIC("/ready", ACTION_HEALTH),
    PUBLIC("/live", ACTION_LIVE),
    MISSING("/props"),
    MISSING("/v1/responses"),
    MISSING("/responses"),
    MISSING("/v1/messages"),
    MISSING("/v1/messages/count_tokens"),
    MISSING("/infill"),
};

static bool matches(const struct route_entry *entry, const char *path)
{
    size_t n = strlen(entry->path);
    return entry->path[n - 1] == '/' ? strncmp(path, entry->path, n) == 0 && path[n] != '\0'
                                     : strcmp(path, entry->path) == 0;
}

const struct route_entry *routes_find(const char *path, enum method method, unsigned *allowed)
{
    enum method asked = method == METHOD_HEAD ? METHOD_GET : method;
    *allowed = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (matches(&table[i], path)) {
            if (table[i].method == asked) {
                return &table[i];
            }
            *allowed |= table[i].method | (table[i].method == METHOD_GET ? METHOD_HEAD : 0u);
        }
    }
    *allowed |= *allowed != 0 ? METHOD_OPTIONS : 0u;
    return NULL;
}

const char *routes_name(const struct route_entry *entry)
{
    return entry == NULL ? "other" : entry->name != NULL ? entry->name : entry->path;
}

const char *routes_behind(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 && path[n] == '/' ? path + n : NULL;
}
