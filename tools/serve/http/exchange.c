#include "serve/http/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "serve/http/gate.h"
#include "serve/http/hosts.h"
#include "serve/http/inside.h"
#include "serve/http/looks.h"
#include "serve/http/response.h"

/* --- the sink of jobs --- */

static void on_begin(void *user, int ping)
{
    struct connection *c = user;
    c->x.ping = ping == 0 ? c->server->params.ping_interval : ping;
    response_begin(c);
    connection_mark(c);
}

static void on_event(void *user, const char *name, const char *data, size_t n)
{
    struct connection *c = user;
    response_event(c, name, data, n);
    connection_mark(c);
}

static void job_over(struct connection *c)
{
    c->x.job = NULL;
    c->server->n_jobs--;
    c->server->n_bodies -= c->x.n_held;
    c->x.n_held = 0;
    c->server->figures.n_paused -= c->x.paused;
    c->x.paused = false;
}

static void on_end(void *user, const struct outcome *outcome)
{
    struct connection *c = user;
    job_over(c);
    c->x.figures = outcome->figures;
    snprintf(c->x.finish, sizeof c->x.finish, "%s", outcome->finish != NULL ? outcome->finish : "");
    if (c->x.streaming) {
        response_end(c);
    } else {
        response_whole(c, &(struct reply){ .status = outcome->status,
                                           .body = outcome->body,
                                           .n = outcome->n_body,
                                           .retry_after = outcome->retry_after });
    }
    connection_mark(c);
}

static const struct sink sink = { on_begin, on_event, on_end };

static void submit(struct connection *c)
{
    struct exchange *x = &c->x;
    struct job_params params = {
        .route = x->entry->route,
        .body = c->n_body > 0 ? c->body : "",
        .n_body = c->n_body,
        .id = x->id,
        .key = x->key != NULL ? x->key->name : c->peer.text,
        .sink = &sink,
        .user = c,
    };
    x->job = core_submit(c->server->core, &params);
    if (x->job == NULL) {
        struct fault f = { 0 };
        fault_set(&f, 503, "unavailable_error", "not enough memory for the request");
        f.retry_after = 1;
        response_fault(c, &f);
        return;
    }
    c->server->busy_since = c->server->n_jobs == 0 ? figures_now() : c->server->busy_since;
    c->server->n_jobs++;
    x->n_held = c->n_body;
    c->server->n_bodies += x->n_held;
    c->state = CONN_BUSY;
}

void exchange_pace(struct connection *c)
{
    size_t unsent = connection_unsent(c), most = c->server->params.max_unsent;
    bool pause = c->x.paused ? unsent > most / 2 : unsent > most;
    if (c->x.job != NULL && pause != c->x.paused) {
        c->x.paused = pause;
        c->server->figures.n_paused += pause ? 1u : (size_t)-1;
        core_pause(c->server->core, c->x.job, pause);
    }
}

/* --- a request --- */

/* Takes the id that the client has given, or makes one. */
static void set_id(struct connection *c)
{
    struct server *s = c->server;
    const char *given = head_get(&c->parser.head, "x-request-id");
    if (given != NULL && text_is_plain(given, JOB_ID_MAX)) {
        strcpy(c->x.id, given);
        return;
    }
    /* The seed differs between servers, the multiplication scatters the numbers of one server. */
    uint64_t mixed = (s->id_seed ^ ++s->n_ids) * 0x9e3779b97f4a7c15u;
    snprintf(c->x.id, sizeof c->x.id, "%016" PRIx64 "%08" PRIx64, mixed, s->n_ids & 0xffffffffu);
}

static bool has_body(const struct connection *c)
{
    return c->parser.head.chunked || (c->parser.head.has_length && c->parser.head.length > 0);
}

/* Opens the exchange for a request whose head may be incomplete. */
static void open_exchange(struct connection *c)
{
    c->x = (struct exchange){ .open = true, .began = figures_now(), .method = METHOD_GET };
    c->n_since = 0;
}

void exchange_begin(struct connection *c)
{
    const struct head *h = &c->parser.head;
    open_exchange(c);
    c->x.method = h->method;
    c->ends = h->close || c->server->drain == DRAIN_REFUSING;
    set_id(c);
    struct answer_now now = { 0 };
    if (!gate_passes(c, &now)) {
        /* The client may already be sending the body, which nobody wants. */
        c->lingers = has_body(c);
        c->ends = c->ends || c->lingers;
        if (now.fault.status != 0) {
            response_fault_with(c, &now.fault, now.reply);
        } else {
            response_whole(c, &now.reply);
        }
    } else if (h->expects && has_body(c)) {
        response_continue(c);
        c->x.continued = true;
    }
}

void exchange_run(struct connection *c)
{
    if (c->x.entry->action == ACTION_JOB) {
        submit(c);
    } else {
        looks_answer(c);
    }
}

void exchange_fail(struct connection *c, const struct fault *f)
{
    if (c->x.job != NULL) {
        core_cancel(c->server->core, c->x.job, &c->x.figures);
        job_over(c);
        strcpy(c->x.finish, "error");
    }
    if (c->x.streaming) {
        response_fail(c, f);
    } else {
        response_fault(c, f);
    }
}

/* Finds out, for the log, what a request wanted whose head was refused. */
static void name_route(struct connection *c)
{
    const struct head *h = &c->parser.head;
    const char *path =
        h->path != 0 ? routes_behind(h->text + h->path, c->server->params.prefix) : NULL;
    unsigned allowed;
    if (h->method != 0) {
        c->x.method = h->method;
        c->x.entry = path != NULL ? routes_find(path, h->method, &allowed) : NULL;
    }
}

void exchange_refuse(struct connection *c, const struct fault *f)
{
    if (!c->x.open) {
        open_exchange(c);
        name_route(c);
        set_id(c);
    }
    c->ends = c->lingers = true;
    exchange_fail(c, f);
}

void exchange_abandon(struct connection *c)
{
    if (c->x.job != NULL) {
        core_cancel(c->server->core, c->x.job, &c->x.figures);
        job_over(c);
        strcpy(c->x.finish, "abort");
        c->x.status = 0;
    }
    /* nginx has made this number usual for a client that has left. */
    c->x.status = c->x.status == 0 ? 499 : c->x.status;
}

void exchange_close(struct connection *c)
{
    if (c->x.open) {
        c->x.open = false;
        server_count(c->server, routes_name(c->x.entry), c->x.status);
        access_log(c);
    }
}
