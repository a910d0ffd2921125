/* A mutex that serves threads in the order in which they come, and wakes one of them at a time. A
 * plain mutex is unfair: a thread that steps an engine in a loop takes it again, for seconds,
 * before a waiting thread has woken up. */
#ifndef WEFT_LOCK_H
#define WEFT_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct lock_waiter;

struct lock {
    pthread_mutex_t mutex; /* guards the other fields; never held for long */
    bool held;
    struct lock_waiter *first, *last; /* the queue of waiting threads */
    size_t n_waiting;
};

/* Returns false if the system refuses. */
bool lock_open(struct lock *l);
void lock_close(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

#endif
