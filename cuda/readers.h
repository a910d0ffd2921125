/* Pieces of a model's file, read by several threads into a ring of buffers, for one thread that
 * takes them in their order. Nothing here calls CUDA. */
#ifndef WEFT_CUDA_READERS_H
#define WEFT_CUDA_READERS_H

#include <pthread.h>

#include "format/gguf.h"
#include "kernels/kernels.h"

/* A part of a tensor, and where on the device it goes. */
struct piece {
    const uint8_t *from; /* in the file's data */
    size_t bytes;
    const struct dmatrix *matrix; /* repacked into rows [first, first + n) of it; NULL: copied .. */
    size_t first, n;
    struct dptr to; /* .. to here */
    size_t layer;   /* for messages */
};

enum { READERS_MAX = 8, READERS_BUFFERS_MAX = 16 };

struct readers {
    /* set by the caller */
    const struct gguf *file;
    const struct piece *pieces; /* [n_pieces] */
    size_t n_pieces;
    char *ring;          /* [n_buffers, buffer_bytes] */
    size_t buffer_bytes; /* at least those of any piece */
    size_t n_buffers;    /* at most READERS_BUFFERS_MAX */

    pthread_mutex_t lock; /* guards all below but the threads */
    pthread_cond_t freed, filled;
    size_t next;                             /* the piece that is read next */
    size_t n_freed;                          /* so many pieces have been taken and given back */
    size_t filled_with[READERS_BUFFERS_MAX]; /* 1 + the piece that a buffer holds; 0 = none */
    bool quit;
    weft_error error; /* of the first piece that could not be read */
    pthread_t threads[READERS_MAX];
    size_t n_threads;
};

/* Starts n <= READERS_MAX threads, or as many of them as the system grants. With none
 * readers_take() reads. */
weft_status readers_open(struct readers *r, size_t n, weft_error *err);
/* Ends the threads, at the latest when each has read the piece that it is at. Call it only after
 * readers_open() has succeeded. */
void readers_close(struct readers *r);

/* Waits for piece i = 0, 1, 2..; *at is the buffer that holds it, until readers_give(r, i). Pieces
 * are given back in their order, too, and at most n_buffers are taken at a time. WEFT_E_IO names
 * the file. */
weft_status readers_take(struct readers *r, size_t i, const char **at, weft_error *err);
void readers_give(struct readers *r, size_t i);

#endif
