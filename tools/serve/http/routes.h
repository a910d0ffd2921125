/* Which paths there are, and what is done there. */
#ifndef WEFT_HTTP_ROUTES_H
#define WEFT_HTTP_ROUTES_H

#include "serve/core.h"
#include "serve/http/head.h"

enum action {
    ACTION_JOB, /* `route` says which */
    ACTION_MODELS,
    ACTION_MODEL, /* the rest of the path is its name */
    ACTION_PROPS,
    ACTION_SLOTS,
    ACTION_METRICS,
    ACTION_HEALTH, /* may new requests come? */
    ACTION_LIVE,   /* does the engine still move? */
    ACTION_MISSING /* a route of others that is not served here */
};

struct route_entry {
    const char *path; /* one that ends in '/' stands for all paths that begin with it */
    enum method method;
    enum action action;
    enum route route;
    bool is_public;   /* no key is needed */
    const char *name; /* in logs and metrics; NULL = the path */
};

/* Returns what is done for a method and a path, behind the prefix, or NULL: then *allowed is the
 * set of methods that the path knows; 0 = there is no such path. HEAD is GET. */
const struct route_entry *routes_find(const char *path, enum method method, unsigned *allowed);
const char *routes_name(const struct route_entry *entry);
/* Returns the path behind the prefix, or NULL if it does not begin with it. */
const char *routes_behind(const char *path, const char *prefix);

#endif
