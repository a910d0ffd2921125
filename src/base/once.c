#include "base/once.h"

bool once_open(struct once *s)
{
    *s = (struct once){ .n_users = 0 };
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        return false;
    }
    if (pthread_cond_init(&s->made, NULL) != 0) {
        pthread_mutex_destroy(&s->lock);
        return false;
    }
    return true;
}

void once_close(struct once *s)
{
    pthread_cond_destroy(&s->made);
    pthread_mutex_destroy(&s->lock);
}

/* Returns true to the user that has to make the object. Any other user is counted as one that has
 * it. */
static bool begin(struct once *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->making) {
        pthread_cond_wait(&s->made, &s->lock);
    }
    s->making = s->n_users == 0;
    s->n_users += !s->making;
    bool mine = s->making;
    pthread_mutex_unlock(&s->lock);
    return mine;
}

weft_status once_take(struct once *s,
                      weft_status (*make)(void *arg, void **object, weft_error *err), void *arg,
                      void **object, weft_error *err)
{
    if (begin(s)) {
        void *made = NULL;
        weft_status status = make(arg, &made, err);
        pthread_mutex_lock(&s->lock);
        s->making = false;
        s->n_users = status == WEFT_OK;
        s->object = made;
        pthread_cond_broadcast(&s->made);
        pthread_mutex_unlock(&s->lock);
        if (status != WEFT_OK) {
            return status;
        }
    }
    *object = s->object; /* stays valid while this user has it */
    return WEFT_OK;
}

void once_drop(struct once *s, void (*free_object)(void *object))
{
    void *last = NULL;
    pthread_mutex_lock(&s->lock);
    if (--s->n_users == 0) {
        last = s->object;
        s->object = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (last != NULL) {
        free_object(last);
    }
}
