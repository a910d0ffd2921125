/* An object that its first user makes, that all users share, and that the last user frees. */
#ifndef WEFT_ONCE_H
#define WEFT_ONCE_H

#include <pthread.h>

#include "base/error.h"

struct once {
    pthread_mutex_t lock; /* guards the rest, never held for long */
    pthread_cond_t made;
    bool making;
    void *object;
    size_t n_users;
};

/* Returns false if the system refuses. */
bool once_open(struct once *s);
void once_close(struct once *s);

/* Gives the object. If there is none, calls make(arg, ...) without holding the lock; other users
 * wait until it is done. */
weft_status once_take(struct once *s,
                      weft_status (*make)(void *arg, void **object, weft_error *err), void *arg,
                      void **object, weft_error *err);
void once_drop(struct once *s, void (*free_object)(void *object));

#endif
