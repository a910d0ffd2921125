/* A mutex that serves threads in the order in which they come, and wakes one of them at a time. A
 * plain one is unfair: a thread that steps an engine in a loop takes it again before a waiting
 * thread has woken up, for seconds. */
#ifndef WEFT_LOCK_H
#define WEFT_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct lock_waiter;

struct lock {
    pthread_mutex_t mutex; /* guards the rest, never held for long */
    bool held;
    struct lock_waiter *first, *last; /* the queue of those who wait */
    size_t n_waiting;
};

/* False when the system refuses. */
bool lock_open(struct lock *l);
void lock_close(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

#endif
