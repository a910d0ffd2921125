#include "base/lock.h"

bool lock_open(struct lock *l)
{
    l->next = l->serving = 0;
    if (pthread_mutex_init(&l->mutex, NULL) != 0) {
        return false;
    }
    if (pthread_cond_init(&l->moved, NULL) != 0) {
        pthread_mutex_destroy(&l->mutex);
        return false;
    }
    return true;
}

void lock_close(struct lock *l)
{
    pthread_cond_destroy(&l->moved);
    pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l)
{
    pthread_mutex_lock(&l->mutex);
    uint64_t ticket = l->next++;
    while (l->serving != ticket) {
        pthread_cond_wait(&l->moved, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

void lock_give(struct lock *l)
{
    pthread_mutex_lock(&l->mutex);
    l->serving++;
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->mutex);
}
