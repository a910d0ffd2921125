/* A connection: bytes from the client to the parser, and bytes of answers to the client. It handles
 * one request at a time; what the client sends before it has the answer stays unread. */
#ifndef WEFT_HTTP_CONNECTION_H
#define WEFT_HTTP_CONNECTION_H

#include <event2/buffer.h>
#include <event2/event.h>

#include "serve/http/api_keys.h"
#include "serve/http/parser.h"
#include "serve/http/peer.h"
#include "serve/http/routes.h"

struct server;

enum connection_state {
    CONN_READING, /* waits for a request, or reads it */
    CONN_BUSY,    /* the core has the request */
    CONN_SENDING, /* the answer is complete, but not all of it is sent */
    CONN_LINGERING,
    CONN_CLOSED /* the memory is freed soon */
};

/* One request and its answer. */
struct exchange {
    const struct route_entry *entry; /* NULL: none, or not known yet */
    enum method method;
    char id[JOB_ID_MAX + 1];
    const struct api_key *key; /* that the request brought, or NULL */
    bool open;                 /* there is a request that stands in no log yet */
    bool streaming, continued;
    bool grants;     /* the page at `origin` may read the answer */
    double ping;     /* seconds of silence; < 0 = any */
    struct job *job; /* NULL: the core has none */
    size_t n_held;   /* bytes of the body, of which the core has a copy */
    bool paused;
    double began; /* figures_now() */
    int status;
    char finish[16];
    struct job_figures figures;
};

struct connection {
    struct server *server;
    struct connection *before, *next;
    struct connection *next_dirty; /* those that have got output from core_drain() */
    bool dirty;
    int fd;
    struct peer peer;
    struct event *input, *output;
    enum connection_state state;
    struct parser parser;
    struct exchange x;

    /* [n_rest] What was read but not parsed yet. */
    char *rest;
    size_t n_rest, at_rest;
    char *body;
    size_t n_body, cap_body;
    struct evbuffer *out;
    struct evbuffer *events; /* of a stream, since the last write; they become one chunk */

    bool leaves;    /* EOF was seen, or the other end is gone */
    bool ends;      /* the connection closes behind this answer */
    bool lingers;   /* before that, what the client still sends is thrown away */
    bool refused;   /* there were too many connections when it came */
    bool served;    /* it has had a request before */
    bool counted;   /* among the unfinished requests of its address */
    bool broken;    /* memory was missing for what must be sent */
    double since;   /* when the state, or the head, or the body began */
    double heard;   /* when the latest bytes came */
    double sent;    /* when the latest bytes went out, or began to wait */
    double told;    /* when the stream last got something to send */
    size_t n_since; /* bytes sent since the answer was complete */
};

/* Takes a socket that was accepted. Returns NULL if there is not enough memory; the socket is
 * closed then. */
struct connection *connection_open(struct server *s, int fd, const struct peer *peer);
/* Closes the socket and cancels the job. The memory is freed by connection_free(), later: callers
 * up the stack may still look at it. */
void connection_close(struct connection *c);
void connection_free(struct connection *c);
/* Sends and reads what can be sent and read now. */
void connection_work(struct connection *c);
/* Has connection_work() called behind core_drain(). */
void connection_mark(struct connection *c);
/* The answer is complete; what is behind it in `out` is all. */
void connection_complete(struct connection *c);
/* Returns the bytes that the client has not taken yet. */
size_t connection_unsent(const struct connection *c);
/* Returns true if it waits for a request of which nothing has come. */
bool connection_is_idle(const struct connection *c);

#endif
