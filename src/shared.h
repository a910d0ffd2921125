/* An object that its first user makes, that all share, and that the last one frees. */
#ifndef WEFT_SHARED_H
#define WEFT_SHARED_H

#include <pthread.h>

#include "error.h"

struct shared {
    pthread_mutex_t lock; /* guards the rest, never held for long */
    pthread_cond_t made;
    bool making;
    void *object;
    size_t n_users;
};

bool shared_open(struct shared *s); /* false when the system refuses */
void shared_close(struct shared *s);

/* Gives the object. When there is none, make(arg, ...) is called, without a lock; other users wait
 * until it is done. */
weft_status shared_take(struct shared *s,
                        weft_status (*make)(void *arg, void **object, weft_error *err), void *arg,
                        void **object, weft_error *err);
void shared_drop(struct shared *s, void (*free_object)(void *object));

#endif
