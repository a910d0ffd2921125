/* What takes too long is found by looking at all connections ten times a second. */
#include "serve/http/exchange.h"
#include "serve/http/inside.h"
#include "serve/http/response.h"

/* A second more for so many bytes; silence that ends a connection that lingers. */
enum { RATE = 1024, LINGER_SECONDS = 30, LINGER_SILENCE = 2 };
/* From this age on, a request that is still arriving counts as one of a slow client. */
static const double SLOW_SECONDS = 1;

static void refuse(struct connection *c, int status, const char *type, const char *text)
{
    struct fault f = { 0 };
    fault_set(&f, status, type, "%s", text);
    exchange_refuse(c, &f);
    connection_work(c);
}

/* Counts the requests of this address that arrive slowly, this one included. */
static size_t count_unfinished(const struct connection *c)
{
    size_t n = 1;
    for (const struct connection *o = c->server->connections; o != NULL; o = o->next) {
        n += o != c && o->counted && peer_is_same(&o->peer, &c->peer);
    }
    return n;
}

static bool is_one_too_many(struct connection *c, double now)
{
    if (c->counted || now - c->since < SLOW_SECONDS || !peer_is_limited(&c->peer)) {
        return false;
    }
    c->counted = true;
    return count_unfinished(c) > c->server->params.max_unfinished;
}

static void sweep_reading(struct connection *c, double now)
{
    const struct server_params *p = &c->server->params;
    double age = now - c->since;
    if (connection_is_idle(c) && c->served) {
        if (age > p->idle_timeout) {
            connection_close(c);
        }
    } else if (is_one_too_many(c, now)) {
        refuse(c, 429, "rate_limit_error", "too many unfinished requests come from this address");
    } else if (connection_is_idle(c) && age > p->head_timeout) {
        connection_close(c);
    } else if (!c->x.open && age > p->head_timeout) {
        refuse(c, 408, "invalid_request_error", "the head of the request took too long");
    } else if (c->x.open && (age > p->body_timeout + (double)c->parser.n_body / RATE ||
                             now - c->heard > p->body_timeout)) {
        refuse(c, 408, "invalid_request_error", "the body of the request took too long");
    }
}

/* Returns true if the client takes too long to read. An answer that is complete must also be read
 * at a certain rate. */
static bool reads_slowly(const struct connection *c, double now)
{
    double most = c->server->params.write_timeout;
    return evbuffer_get_length(c->out) > 0 &&
           (now - c->sent > most ||
            (c->state == CONN_SENDING && now - c->since > most + (double)c->n_since / RATE));
}

static void sweep_answering(struct connection *c, double now)
{
    if (reads_slowly(c, now)) {
        c->server->figures.n_slow++;
        connection_close(c);
    } else if (c->state == CONN_BUSY && c->x.streaming && c->x.ping >= 0 &&
               now - c->told >= c->x.ping && connection_unsent(c) == 0) {
        response_ping(c);
        connection_work(c);
    }
}

static void sweep_connection(struct connection *c, double now)
{
    switch (c->state) {
    case CONN_READING: sweep_reading(c, now); break;
    case CONN_BUSY:
    case CONN_SENDING: sweep_answering(c, now); break;
    case CONN_LINGERING:
        if (now - c->since > LINGER_SECONDS || now - c->heard > LINGER_SILENCE) {
            connection_close(c);
        }
        break;
    case CONN_CLOSED: break;
    }
}

/* --- the end of the server --- */

void sweep_refuse(struct server *s)
{
    s->drain = DRAIN_REFUSING;
    listen_close(s);
    for (struct connection *c = s->connections, *next; c != NULL; c = next) {
        next = c->next;
        c->ends = true;
        if (connection_is_idle(c)) {
            connection_close(c);
        }
    }
}

static void fail_jobs(struct server *s)
{
    struct fault f = { 0 };
    fault_set(&f, 503, "unavailable_error", "the server is shutting down");
    for (struct connection *c = s->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (c->x.job != NULL) {
            exchange_fail(c, &f);
            connection_work(c);
        }
    }
}

static bool is_sending(const struct server *s)
{
    for (const struct connection *c = s->connections; c != NULL; c = c->next) {
        if (c->state == CONN_SENDING) {
            return true;
        }
    }
    return false;
}

static void sweep_drain(struct server *s, double now)
{
    double age = now - s->drain_began;
    if (s->drain == DRAIN_DELAY && age >= s->params.drain_delay) {
        sweep_refuse(s);
    }
    if (s->drain == DRAIN_REFUSING) {
        double late = age - s->params.drain_delay - s->params.drain_timeout;
        if (late > 0 && s->n_jobs > 0) {
            fail_jobs(s);
        }
        /* A second for the last bytes of those who had to be cut short. */
        s->stopping = s->n_jobs == 0 && (!is_sending(s) || late > 1);
    }
}

void sweep_all(struct server *s)
{
    double now = figures_now();
    for (struct connection *c = s->connections, *next; c != NULL; c = next) {
        next = c->next;
        sweep_connection(c, now);
    }
    sweep_drain(s, now);
}
