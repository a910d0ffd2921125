#include "shared.h"

bool shared_open(struct shared *s)
{
    s->object = NULL;
    s->n_users = 0;
    return pthread_mutex_init(&s->lock, NULL) == 0;
}

void shared_close(struct shared *s) { pthread_mutex_destroy(&s->lock); }

weft_status shared_take(struct shared *s,
                        weft_status (*make)(void *arg, void **object, weft_error *err), void *arg,
                        void **object, weft_error *err)
{
    pthread_mutex_lock(&s->lock);
    weft_status status = s->n_users > 0 ? WEFT_OK : make(arg, &s->object, err);
    if (status == WEFT_OK) {
        s->n_users++;
        *object = s->object;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void shared_drop(struct shared *s, void (*free_object)(void *object))
{
    pthread_mutex_lock(&s->lock);
    if (--s->n_users == 0) {
        free_object(s->object);
        s->object = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}
