#include "readers.h"

#include "base/error.h"
#include "base/thread.h"

static char *buffer_of(const struct readers *r, size_t i)
{
    return r->ring + i % r->n_buffers * r->buffer_bytes;
}

static weft_status read_piece(const struct readers *r, size_t i, weft_error *err)
{
    const struct piece *p = &r->pieces[i];
    return gguf_read(r->file, p->from, p->bytes, buffer_of(r, i), err);
}

/* Returns the next piece as soon as its buffer is free, or false if nothing is left to do. The
 * caller holds the lock. */
static bool next_piece(struct readers *r, size_t *i)
{
    while (!r->quit && r->next < r->n_pieces && r->next >= r->n_freed + r->n_buffers) {
        pthread_cond_wait(&r->freed, &r->lock);
    }
    if (r->quit || r->next >= r->n_pieces) {
        return false;
    }
    *i = r->next++;
    return true;
}

static void *run_reader(void *arg)
{
    struct readers *r = arg;
    size_t i;
    pthread_mutex_lock(&r->lock);
    while (next_piece(r, &i)) {
        weft_error error = { WEFT_OK, "" };
        pthread_mutex_unlock(&r->lock);
        weft_status status = read_piece(r, i, &error);
        pthread_mutex_lock(&r->lock);
        if (status == WEFT_OK) {
            r->filled_with[i % r->n_buffers] = i + 1;
        } else if (!r->quit) {
            r->error = error;
            r->quit = true;
            pthread_cond_broadcast(&r->freed);
        }
        pthread_cond_signal(&r->filled);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Returns false if the system refuses a lock. */
static bool open_locks(struct readers *r)
{
    if (pthread_mutex_init(&r->lock, NULL) != 0) {
        return false;
    }
    if (pthread_cond_init(&r->freed, NULL) != 0) {
        pthread_mutex_destroy(&r->lock);
        return false;
    }
    if (pthread_cond_init(&r->filled, NULL) != 0) {
        pthread_cond_destroy(&r->freed);
        pthread_mutex_destroy(&r->lock);
        return false;
    }
    return true;
}

weft_status readers_open(struct readers *r, size_t n, weft_error *err)
{
    if (!open_locks(r)) {
        return error_nomem(err, "the lock of the threads that read weights", sizeof r->lock);
    }
    r->n_threads = 0;
    while (r->n_threads < n && thread_start(&r->threads[r->n_threads], run_reader, r)) {
        r->n_threads++;
    }
    return WEFT_OK;
}

void readers_close(struct readers *r)
{
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_broadcast(&r->freed);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->n_threads; i++) {
        pthread_join(r->threads[i], NULL);
    }
    pthread_cond_destroy(&r->filled);
    pthread_cond_destroy(&r->freed);
    pthread_mutex_destroy(&r->lock);
}

weft_status readers_take(struct readers *r, size_t i, const char **at, weft_error *err)
{
    weft_status status = WEFT_OK;
    *at = buffer_of(r, i);
    if (r->n_threads == 0) {
        return read_piece(r, i, err);
    }
    pthread_mutex_lock(&r->lock);
    while (!r->quit && r->filled_with[i % r->n_buffers] != i + 1) {
        pthread_cond_wait(&r->filled, &r->lock);
    }
    if (r->quit) {
        status = error_set(err, r->error.code, "%s", r->error.message);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}

void readers_give(struct readers *r, size_t i)
{
    pthread_mutex_lock(&r->lock);
    r->n_freed = i + 1;
    pthread_cond_signal(&r->freed);
    pthread_mutex_unlock(&r->lock);
}
