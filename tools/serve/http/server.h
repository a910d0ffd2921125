/* HTTP around the core: listens, reads requests, gives them to the core, and writes its answers.
 * One thread does all of it, the one that calls server_run(). */
#ifndef WEFT_HTTP_SERVER_H
#define WEFT_HTTP_SERVER_H

#include "serve/core.h"
#include "serve/http/api_keys.h"

struct server;

struct server_params {
    struct core *core; /* outlives the server */
    /* [n_hosts] Addresses, names, or Unix sockets: "unix:PATH", or a path that ends in ".sock". */
    const char *const *hosts;
    size_t n_hosts;
    int port;           /* 0 = any that is free */
    const char *prefix; /* in front of all paths, such as "/llm"; "" = none */
    /* Without keys everybody may ask, but then requests that a web page could have sent must name a
     * host and an origin that are known. */
    struct api_keys keys;
    const char *const *names; /* [n_names] hosts besides addresses and local names */
    size_t n_names;
    const char *const *origins; /* [n_origins] besides local ones; "*" = all */
    size_t n_origins;
    bool slots, metrics; /* these routes are on */
    bool log_json;

    size_t max_connections;
    size_t max_unfinished; /* requests of one address that have been arriving for over a second */
    size_t max_body;       /* bytes */
    size_t max_bodies;     /* bytes of all bodies, until their requests are answered */
    size_t max_unsent;     /* bytes for one client; beyond that its job pauses */
    /* In seconds. */
    double head_timeout;  /* for the head of a request */
    double body_timeout;  /* for the body, and a second more for each KiB that has arrived */
    double idle_timeout;  /* between two requests */
    double write_timeout; /* for a client that reads nothing */
    double ping_interval; /* a sign of life in streams; < 0 = never */
    double drain_delay;   /* between SIGTERM and the refusal of new requests */
    double drain_timeout; /* for what runs then */

    /* Gets a line, without a newline: an access (where is_access) or a remark. NULL = silence. */
    void (*log)(void *user, bool is_access, const char *line);
    void *log_user;
};

/* Defaults, which the options of weft serve have too; times are in seconds. */
enum {
    SERVER_PORT = 8080,
    SERVER_CONNECTIONS = 1024,
    SERVER_UNFINISHED = 64,
    SERVER_TIMEOUT = 60,
    SERVER_PING = 5,
    SERVER_DRAIN = 30
};
/* Sets the defaults: 127.0.0.1:8080, no keys, and all limits. */
void server_defaults(struct server_params *params);
/* Listens, before there is a model. Returns NULL and writes the reason to why[cap] if it cannot.
 * What `params` points to outlives the server. */
struct server *server_open(const struct server_params *params, char *why, size_t cap);
/* Returns the i-th address that it listens at, "http://127.0.0.1:8080" or "unix:PATH"; NULL past
 * the last. */
const char *server_address(const struct server *s, size_t i);
/* Returns the port of the first address that has one, or 0. */
int server_port(const struct server *s);
/* Serves until SIGTERM or SIGINT, or until the core cannot load its model: then the result is
 * core_load_code(), otherwise 0. */
int server_run(struct server *s);
void server_close(struct server *s);

#endif
