#include "base/lock.h"

/* A waiting thread; this lies on its stack. */
struct lock_waiter {
    pthread_cond_t turn;
    bool has_it;
    struct lock_waiter *next;
};

bool lock_open(struct lock *l)
{
    *l = (struct lock){ 0 };
    return pthread_mutex_init(&l->mutex, NULL) == 0;
}

void lock_close(struct lock *l) { pthread_mutex_destroy(&l->mutex); }

/* Waits until lock_give() hands the lock over. The caller holds the mutex. */
static void lock_wait(struct lock *l)
{
    struct lock_waiter me = { .turn = PTHREAD_COND_INITIALIZER };
    if (l->first == NULL) {
        l->first = &me;
    } else {
        l->last->next = &me;
    }
    l->last = &me;
    l->n_waiting++;
    while (!me.has_it) {
        pthread_cond_wait(&me.turn, &l->mutex);
    }
    pthread_cond_destroy(&me.turn);
}

void lock_take(struct lock *l)
{
    pthread_mutex_lock(&l->mutex);
    if (l->held) {
        lock_wait(l);
    }
    l->held = true;
    pthread_mutex_unlock(&l->mutex);
}

void lock_give(struct lock *l)
{
    pthread_mutex_lock(&l->mutex);
    struct lock_waiter *w = l->first;
    if (w == NULL) {
        l->held = false;
    } else {
        /* `held` stays true, so no thread that comes now gets in between. The mutex is held until
         * the signal has been sent, because the waiter's stack is gone once the waiter runs. */
        l->first = w->next;
        l->n_waiting--;
        w->has_it = true;
        pthread_cond_signal(&w->turn);
    }
    pthread_mutex_unlock(&l->mutex);
}
