/* What the files of this folder share about the server. */
#ifndef WEFT_HTTP_INSIDE_H
#define WEFT_HTTP_INSIDE_H

#include "serve/http/connection.h"
#include "serve/http/server.h"
#include "serve/http_figures.h"

enum { MAX_COUNTS = 512, SCRATCH = 65536, MAX_REFUSED = 64 };

struct listener {
    int fd;
    struct event *event;
    struct server *server;
    char *path;    /* of a Unix socket, or NULL */
    bool is_local; /* only this machine reaches it */
    char text[320];
};

enum drain {
    DRAIN_NOT,
    DRAIN_DELAY,   /* not ready any more, but requests are still taken */
    DRAIN_REFUSING /* what runs may finish */
};

struct server {
    struct server_params params;
    struct core *core;
    struct event_base *base;
    struct listener *listeners;
    size_t n_listeners;
    struct event *woken, *sweep, *pause, *reap, *terminate, *interrupt;
    struct connection *connections, *dirty, *dead;
    size_t n_refused; /* of the connections, those that get 503 */
    size_t n_bodies;  /* bytes of bodies that are being received, or whose request has no end yet */
    size_t n_jobs;    /* that the core has */
    int spare;        /* a descriptor to close when there are no more */
    enum drain drain;
    double drain_began, opened;
    double busy_since; /* when n_jobs was last 0 */
    bool told_ready, stopping;
    int code;
    uint64_t n_ids, id_seed;
    struct http_figures figures;
    struct http_count counts[MAX_COUNTS];
    char scratch[SCRATCH];
};

/* listen.c */
bool listen_all(struct server *s, char *why, size_t cap);
/* Begins to accept, or stops. */
void listen_accept(struct server *s, bool on);
void listen_close(struct server *s);

/* sweep.c: looks at all connections for what takes too long, and at the stages of the end. */
void sweep_all(struct server *s);
/* Refuses new requests from now on; connections that wait for one are closed. */
void sweep_refuse(struct server *s);

/* access_log.c */
void access_log(const struct connection *c);
__attribute__((format(printf, 2, 3))) void server_remark(struct server *s, const char *fmt, ...);
void server_count(struct server *s, const char *route, int status);

#endif
