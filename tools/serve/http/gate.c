#include "serve/http/gate.h"

#include <string.h>
#include <strings.h>

#include "serve/http/hosts.h"
#include "serve/http/inside.h"

static bool is_open_to_all(const struct connection *c) { return c->server->params.keys.n == 0; }

/* With a key, a page that knows it may do what it likes. */
static bool check_origin(struct connection *c, bool is_public, struct fault *f)
{
    const struct server_params *p = &c->server->params;
    const char *origin = head_get(&c->parser.head, "origin");
    if (origin == NULL) {
        return true;
    }
    c->x.grants = text_is_plain(origin, 1024) &&
                  (!is_open_to_all(c) ||
                   origin_is_known(origin, head_host(&c->parser.head), p->origins, p->n_origins));
    if (c->x.grants || is_public || !is_open_to_all(c) || c->x.method == METHOD_OPTIONS) {
        return true;
    }
    return fault_set(f, 403, "permission_error",
                     "pages of the origin '%.200s' may not ask this server: --cors-origin allows "
                     "one, or give the server a key",
                     origin);
}

static bool check_host(const struct connection *c, struct fault *f)
{
    const struct server_params *p = &c->server->params;
    const char *host = head_host(&c->parser.head);
    if (!is_open_to_all(c) || !peer_is_limited(&c->peer) ||
        host_is_known(host, p->names, p->n_names)) {
        return true;
    }
    return fault_set(f, 403, "permission_error",
                     "the host '%.200s' is not known here: --allowed-host allows it, or give the "
                     "server a key",
                     host);
}

/* Returns the key that the request brings, in one of three headers, or NULL. */
static const char *given_key(const struct head *h)
{
    const char *bearer = head_get(h, "authorization"), *key = head_get(h, "x-api-key");
    if (bearer != NULL && strncasecmp(bearer, "bearer ", 7) == 0) {
        return bearer + 7 + strspn(bearer + 7, " ");
    }
    return key != NULL ? key : head_get(h, "api-key");
}

static bool check_key(struct connection *c, struct answer_now *now)
{
    const char *given = given_key(&c->parser.head);
    c->x.key = given != NULL ? api_keys_find(&c->server->params.keys, given) : NULL;
    if (c->x.key != NULL || is_open_to_all(c) || (c->x.entry != NULL && c->x.entry->is_public)) {
        return true;
    }
    now->reply.challenge = true;
    return fault_set(&now->fault, 401, "authentication_error",
                     given != NULL ? "the key is wrong"
                                   : "a key is needed: send the header Authorization: Bearer KEY");
}

static bool check_route(const struct connection *c, unsigned allowed, struct answer_now *now)
{
    if (c->x.entry != NULL) {
        return true;
    }
    if (allowed == 0) {
        return fault_set(&now->fault, 404, "not_found_error",
                         "there is no such path; paths are those of OpenAI, such as "
                         "/v1/chat/completions, and of llama-server");
    }
    now->reply.allowed = allowed;
    return fault_set(&now->fault, 405, "invalid_request_error",
                     "this path does not know the method %s", head_method_name(c->x.method));
}

static bool check_ready(const struct connection *c, struct fault *f)
{
    enum action action = c->x.entry->action;
    if (c->server->drain == DRAIN_REFUSING && action != ACTION_LIVE) {
        fault_set(f, 503, "unavailable_error", "the server is shutting down");
        f->retry_after = 1;
        return false;
    }
    /* What watches the server wants to see it while it loads too. */
    const bool watches =
        action == ACTION_LIVE || action == ACTION_HEALTH || action == ACTION_METRICS;
    if (core_state(c->server->core) == CORE_LOADING && !watches) {
        fault_set(f, 503, "unavailable_error", "Loading model");
        f->retry_after = 2;
        return false;
    }
    return true;
}

bool gate_passes(struct connection *c, struct answer_now *now)
{
    const struct head *h = &c->parser.head;
    const char *path = routes_behind(h->text + h->path, c->server->params.prefix);
    unsigned allowed = 0;
    c->x.entry = path != NULL ? routes_find(path, h->method, &allowed) : NULL;
    bool is_public = c->x.entry != NULL && c->x.entry->is_public;
    if (!check_host(c, &now->fault) || !check_origin(c, is_public, &now->fault)) {
        return false;
    }
    if (h->method == METHOD_OPTIONS) {
        now->reply = (struct reply){ .status = 200, .preflight = true, .allowed = allowed };
        return false;
    }
    return check_key(c, now) && check_route(c, allowed, now) && check_ready(c, &now->fault);
}
