/* What the HTTP side of the server counts, for /metrics. It stands here because describe.c, which
 * writes /metrics, may not see tools/serve/http. */
#ifndef WEFT_SERVE_HTTP_FIGURES_H
#define WEFT_SERVE_HTTP_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many requests of a route were answered with a status. The route is what the server calls it,
 * "/v1/chat/completions" also for a request of /chat/completions, and "other" for paths that it
 * does not know. No text of a client stands here. */
struct http_count {
    const char *route; /* static */
    int status;
    uint64_t n;
};

struct http_figures {
    size_t n_connections; /* now */
    size_t n_paused;      /* jobs that wait for a client that reads slowly, now */
    bool draining;
    uint64_t n_accepted; /* connections, those that were refused included */
    uint64_t n_refused;  /* connections that got 503, because there were too many of them */
    uint64_t n_gone;     /* requests whose client left before it had the answer */
    uint64_t n_slow;     /* requests that were given up because the client did not read */
    uint64_t bytes_in, bytes_out;
    const struct http_count *counts; /* [n_counts] those above 0 */
    size_t n_counts;
};

#endif
