/* A mutex that serves threads in the order in which they come. A plain one is unfair: a thread that
 * steps an engine in a loop takes it again before a waiting thread has woken up, for seconds. */
#ifndef WEFT_LOCK_H
#define WEFT_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
    pthread_mutex_t mutex; /* guards the two numbers, never held for long */
    pthread_cond_t moved;
    uint64_t next, serving; /* the ticket given to the next thread; the one whose turn it is */
};

bool lock_open(struct lock *l); /* false when the system refuses */
void lock_close(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

#endif
