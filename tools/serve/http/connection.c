#include "serve/http/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/http/exchange.h"
#include "serve/http/inside.h"
#include "serve/http/response.h"

/* How often a connection may read before others get their turn. */
enum { MOST_READS = 16 };

static void on_input(evutil_socket_t fd, short what, void *user)
{
    struct connection *c = user;
    (void)fd;
    c->leaves = c->leaves || (what & EV_CLOSED) != 0;
    connection_work(c);
}

static void on_output(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    connection_work(user);
}

/* --- the beginning and the end --- */

static bool open_events(struct connection *c)
{
    struct event_base *base = c->server->base;
    /* The events are edge-triggered: what is not read, because a request is being answered, does
     * not wake the loop again, but the end of the connection still does. */
    c->input = event_new(base, c->fd, EV_READ | EV_CLOSED | EV_PERSIST | EV_ET, on_input, c);
    c->output = event_new(base, c->fd, EV_WRITE | EV_ET, on_output, c);
    c->out = evbuffer_new();
    c->events = evbuffer_new();
    return c->input != NULL && c->output != NULL && c->out != NULL && c->events != NULL &&
           event_add(c->input, NULL) == 0;
}

struct connection *connection_open(struct server *s, int fd, const struct peer *peer)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->server = s;
    c->fd = fd;
    c->peer = *peer;
    c->since = c->heard = figures_now();
    parser_init(&c->parser, s->params.max_body);
    c->next = s->connections;
    if (c->next != NULL) {
        c->next->before = c;
    }
    s->connections = c;
    s->figures.n_connections++;
    if (!open_events(c)) {
        connection_close(c);
        return NULL;
    }
    return c;
}

static void unlink_connection(struct connection *c)
{
    struct server *s = c->server;
    if (c->before != NULL) {
        c->before->next = c->next;
    } else {
        s->connections = c->next;
    }
    if (c->next != NULL) {
        c->next->before = c->before;
    }
    c->before = NULL;
    c->next = s->dead;
    s->dead = c;
    s->figures.n_connections--;
    s->n_refused -= c->refused;
}

static void free_body(struct connection *c)
{
    free(c->body);
    c->server->n_bodies -= c->cap_body;
    c->body = NULL;
    c->n_body = c->cap_body = 0;
}

static void free_event(struct event **event)
{
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

void connection_close(struct connection *c)
{
    if (c->state == CONN_CLOSED) {
        return;
    }
    exchange_abandon(c);
    exchange_close(c);
    free_body(c);
    free_event(&c->input);
    free_event(&c->output);
    close(c->fd);
    c->fd = -1;
    c->state = CONN_CLOSED;
    unlink_connection(c);
    event_active(c->server->reap, EV_TIMEOUT, 0);
}

void connection_free(struct connection *c)
{
    parser_free(&c->parser);
    free(c->rest);
    if (c->out != NULL) {
        evbuffer_free(c->out);
    }
    if (c->events != NULL) {
        evbuffer_free(c->events);
    }
    free(c);
}

void connection_mark(struct connection *c)
{
    if (!c->dirty) {
        c->dirty = true;
        c->next_dirty = c->server->dirty;
        c->server->dirty = c;
    }
}

size_t connection_unsent(const struct connection *c)
{
    return evbuffer_get_length(c->out) + evbuffer_get_length(c->events);
}

bool connection_is_idle(const struct connection *c)
{
    return c->state == CONN_READING && !c->parser.begun && !c->x.open && c->n_rest == 0;
}

/* --- the client is gone --- */

/* Returns true if nobody is there to read an answer. A client that has closed only its own side
 * counts as gone: almost always its program has ended, and the other side will follow. */
static bool is_gone(struct connection *c)
{
    int err = 0;
    socklen_t n = sizeof err;
    return c->leaves || getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0 || err != 0;
}

static void leave(struct connection *c)
{
    c->server->figures.n_gone += c->x.open && c->state != CONN_SENDING;
    connection_close(c);
}

/* --- output --- */

void connection_complete(struct connection *c)
{
    c->state = CONN_SENDING;
    c->since = figures_now();
}

/* The whole answer is sent. */
static void answered(struct connection *c)
{
    exchange_close(c);
    free_body(c);
    c->since = c->heard = figures_now();
    if (c->lingers && !c->leaves) {
        shutdown(c->fd, SHUT_WR);
        c->state = CONN_LINGERING;
    } else if (c->ends) {
        connection_close(c);
    } else {
        parser_reset(&c->parser);
        c->served = true;
        c->counted = false;
        c->state = CONN_READING;
    }
}

/* Sends what can be sent at once. Returns false if the connection has ended. */
static bool send_out(struct connection *c)
{
    response_gather(c);
    if (c->broken) {
        connection_close(c);
        return false;
    }
    if (evbuffer_get_length(c->out) > 0 && !event_pending(c->output, EV_WRITE, NULL)) {
        c->sent = figures_now();
    }
    int n = evbuffer_get_length(c->out) > 0 ? evbuffer_write(c->out, c->fd) : 0;
    if (n > 0) {
        c->sent = figures_now();
        c->n_since += (size_t)n;
        c->server->figures.bytes_out += (uint64_t)n;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        leave(c);
        return false;
    }
    if (evbuffer_get_length(c->out) > 0) {
        event_add(c->output, NULL);
    } else if (c->state == CONN_SENDING) {
        answered(c);
    }
    return c->state != CONN_CLOSED;
}

/* --- input --- */

static void refuse(struct connection *c, int status, const char *type, const char *text)
{
    struct fault f = { 0 };
    fault_set(&f, status, type, "%s", text);
    f.retry_after = status == 503 ? 1 : 0;
    exchange_refuse(c, &f);
}

static void refuse_bad(struct connection *c)
{
    int status = c->parser.status;
    refuse(c, status,
           status == 503   ? "unavailable_error"
           : status == 501 ? "not_supported_error"
                           : "invalid_request_error",
           c->parser.why);
}

/* Makes room for n more bytes of the body. All bodies together may take a bounded amount. */
static bool reserve_body(struct connection *c, size_t n)
{
    size_t needed = c->n_body + n, cap = c->cap_body > 0 ? c->cap_body : 4096;
    if (needed <= c->cap_body) {
        return true;
    }
    while (cap < needed) {
        cap *= 2;
    }
    size_t more = cap - c->cap_body;
    if (more > c->server->params.max_bodies - c->server->n_bodies) {
        return false;
    }
    char *body = realloc(c->body, cap);
    if (body == NULL) {
        return false;
    }
    c->body = body;
    c->cap_body = cap;
    c->server->n_bodies += more;
    return true;
}

static void take_body(struct connection *c)
{
    if (!reserve_body(c, c->parser.n_piece)) {
        refuse(c, 503, "unavailable_error", "other requests take all memory for bodies");
        return;
    }
    memcpy(c->body + c->n_body, c->parser.piece, c->parser.n_piece);
    c->n_body += c->parser.n_piece;
}

static void handle(struct connection *c, enum parsed what)
{
    switch (what) {
    case PARSED_HEAD:
        exchange_begin(c);
        c->since = figures_now();
        break;
    case PARSED_BODY: take_body(c); break;
    case PARSED_END:
        c->counted = false;
        exchange_run(c);
        free_body(c);
        break;
    case PARSED_BAD: refuse_bad(c); break;
    case PARSED_MORE: break;
    }
}

/* Parses data[n] until there is an answer to give. Returns how much was read. */
static size_t parse(struct connection *c, const char *data, size_t n)
{
    size_t used = 0;
    enum parsed what;
    if (connection_is_idle(c)) {
        c->since = figures_now();
    }
    do {
        used += parser_feed(&c->parser, data + used, n - used, &what);
        handle(c, what);
    } while (c->state == CONN_READING && what != PARSED_MORE);
    return used;
}

static void keep_rest(struct connection *c, const char *data, size_t n)
{
    if (n == 0) {
        return;
    }
    c->rest = malloc(n);
    if (c->rest == NULL) {
        c->broken = true;
        return;
    }
    memcpy(c->rest, data, n);
    c->n_rest = n;
    c->at_rest = 0;
}

static void parse_rest(struct connection *c)
{
    size_t n = c->n_rest - c->at_rest;
    const char *data = c->rest + c->at_rest;
    /* What comes behind an answer is looked at only when the answer is sent, so there is never more
     * than one piece. */
    c->n_rest = 0;
    size_t used = parse(c, data, n);
    c->at_rest += used;
    c->n_rest = used < n ? c->at_rest + n - used : 0;
    if (c->n_rest == 0) {
        free(c->rest);
        c->rest = NULL;
        c->at_rest = 0;
    }
}

/* Reads and parses once. Returns false if there is nothing to read now. */
static bool read_in(struct connection *c)
{
    if (c->state == CONN_READING && c->n_rest > 0) {
        parse_rest(c);
        return true;
    }
    char *data = c->server->scratch;
    ssize_t n = recv(c->fd, data, SCRATCH, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            leave(c);
        }
        return n < 0 && errno == EINTR;
    }
    c->server->figures.bytes_in += (uint64_t)n;
    c->heard = figures_now();
    if (c->state == CONN_READING) {
        size_t used = parse(c, data, (size_t)n);
        keep_rest(c, data + used, (size_t)n - used);
    }
    return true;
}

void connection_work(struct connection *c)
{
    for (int i = 0; i < MOST_READS; i++) {
        if (c->state == CONN_CLOSED || !send_out(c)) {
            return;
        }
        if (c->state == CONN_BUSY && is_gone(c)) {
            leave(c);
            return;
        }
        exchange_pace(c);
        if ((c->state != CONN_READING && c->state != CONN_LINGERING) || !read_in(c)) {
            return;
        }
    }
    event_active(c->input, EV_READ, 0);
}
