/* Writes answers: whole ones, faults, and streams of server-sent events. */
#ifndef WEFT_HTTP_RESPONSE_H
#define WEFT_HTTP_RESPONSE_H

#include "serve/fault.h"
#include "serve/http/connection.h"

struct reply {
    int status;
    const char *type; /* of the body; NULL = JSON */
    const char *body; /* [n] copied */
    size_t n;
    int retry_after;  /* seconds; 0 = not said */
    unsigned allowed; /* a set of methods for Allow; 0 = not said */
    bool preflight;   /* headers that let a page ask */
    bool challenge;   /* a key is wanted */
};

/* These complete the answer. */
void response_whole(struct connection *c, const struct reply *r);
void response_fault(struct connection *c, const struct fault *f);
void response_fault_with(struct connection *c, const struct fault *f, struct reply r);

void response_continue(struct connection *c);
void response_begin(struct connection *c);
void response_event(struct connection *c, const char *name, const char *data, size_t n);
void response_ping(struct connection *c);
/* Turns the events that were collected into one chunk. */
void response_gather(struct connection *c);
/* Completes the answer. */
void response_end(struct connection *c);
/* The stream fails: an event says why. Completes the answer. */
void response_fail(struct connection *c, const struct fault *f);

#endif
