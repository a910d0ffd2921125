/* The requests that wait: those of one key in the order in which they came, and the keys in turns,
 * so that a client with many requests cannot make the others wait for all of them. The links stand
 * in the requests, so nothing here can run out of memory. The caller has a lock around all calls.
 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

/* Part of a request. It starts as zeros; the caller sets the first two fields before a push, and
 * does not change them, nor what `key` points to, while the request waits. */
struct queued {
    const char *key;
    double since; /* when it began to wait */

    bool waits;
    struct queued *before, *behind; /* a ring: the requests of this key */
    struct queued *left, *right;    /* a ring: the first requests of all keys */
    struct queued *older, *newer;   /* all, by `since` */
};

/* It starts as zeros. */
struct queue {
    size_t n;
    struct queued *turn; /* the first request of the key whose turn it is */
    struct queued *oldest, *newest;
};

/* Puts a request at the end of its key's line. The time that this takes grows with the number of
 * keys. */
void queue_push(struct queue *q, struct queued *one);
/* Takes out the request whose turn it is; then it is the turn of the next key. NULL = none waits.
 */
struct queued *queue_pop(struct queue *q);
/* Takes a request out, wherever it stands; one that does not wait is left alone. */
void queue_remove(struct queue *q, struct queued *one);
/* Takes out the request that has waited longest, if that is longer than `wait` seconds; otherwise
 * returns NULL. The caller calls it until then. */
struct queued *queue_expire(struct queue *q, double now, double wait);

#endif
