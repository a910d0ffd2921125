/* The requests that wait: those of one key in the order in which they came, and the keys in turns,
 * so that a client with many requests cannot make the others wait for all of them. The links stand
 * in the requests, so nothing here can run out of memory. The caller has a lock around all calls.
 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

enum queued_place { QUEUED_NOWHERE = 0, QUEUED_IN_LINE, QUEUED_IN_FRONT };

/* Part of a request. It starts as zeros; the caller sets the first two fields before a push, and
 * does not change them, nor what `key` points to, while the request waits. */
struct queued {
    const char *key;
    double since; /* when it began to wait */

    enum queued_place place;
    struct queued *before, *behind; /* a ring: the requests of this key, or those in front */
    struct queued *left, *right;    /* a ring: the first requests of all keys */
    struct queued *older, *newer;   /* all that can expire, by `since` */
};

struct queue {
    size_t max; /* set by the caller; the rest starts as zeros */
    size_t n;
    struct queued *turn;  /* the first request of the key whose turn it is */
    struct queued *front; /* they come before all turns */
    struct queued *oldest, *newest;
};

/* Puts a request at the end of its key's line. Returns false if `max` requests wait already. The
 * time that this takes grows with the number of keys. */
bool queue_push(struct queue *q, struct queued *one);
/* Puts a request before all others: one that has run and gave its place away. It is taken also when
 * the queue is full, and never expires, because its answer may have begun. */
void queue_push_front(struct queue *q, struct queued *one);
/* Returns the request whose turn it is, or NULL if none waits. queue_pop() also takes it out, and
 * then it is the turn of the next key. */
struct queued *queue_peek(const struct queue *q);
struct queued *queue_pop(struct queue *q);
/* Takes a request out, wherever it stands; one that does not wait is left alone. */
void queue_remove(struct queue *q, struct queued *one);
/* Takes out the request that has waited longest, if that is longer than `wait` seconds; otherwise
 * returns NULL. The caller calls it until then. */
struct queued *queue_expire(struct queue *q, double now, double wait);

static inline size_t queue_count(const struct queue *q) { return q->n; }

#endif
