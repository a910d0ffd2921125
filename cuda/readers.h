/* Several threads read pieces of a model's file into a ring of buffers, and one thread takes the
 * pieces in order. Nothing here calls CUDA. */
#ifndef WEFT_CUDA_READERS_H
#define WEFT_CUDA_READERS_H

#include <pthread.h>

#include "format/gguf.h"
#include "kernels/kernels.h"

/* A part of a tensor, and where it goes on the device. */
struct piece {
    const uint8_t *from; /* in the file's data */
    size_t bytes;
    /* The piece is repacked into rows [first, first + n) of this matrix. If it is NULL, the piece
     * is copied to `to`. */
    const struct dmatrix *matrix;
    size_t first, n;
    struct dptr to;
    size_t layer; /* for messages */
};

enum { READERS_MAX = 8, READERS_BUFFERS_MAX = 16 };

struct readers {
    /* The caller sets these. */
    const struct gguf *file;
    const struct piece *pieces; /* [n_pieces] */
    size_t n_pieces;
    char *ring; /* [n_buffers, buffer_bytes] */
    /* At least the bytes of the largest piece. */
    size_t buffer_bytes;
    size_t n_buffers; /* at most READERS_BUFFERS_MAX */

    pthread_mutex_t lock; /* Guards all members below but the threads. */
    pthread_cond_t freed, filled;
    size_t next; /* the piece that is read next */
    /* The number of pieces that have been taken and given back. */
    size_t n_freed;
    /* 1 + the number of the piece that a buffer holds; 0 = none. */
    size_t filled_with[READERS_BUFFERS_MAX];
    bool quit;
    /* The error of the first piece that could not be read. */
    weft_error error;
    pthread_t threads[READERS_MAX];
    size_t n_threads;
};

/* Starts n <= READERS_MAX threads, or as many of them as the system grants. If it grants none,
 * readers_take() reads by itself. */
weft_status readers_open(struct readers *r, size_t n, weft_error *err);
/* Ends the threads; each may first finish the piece that it is reading. Call this only after
 * readers_open() has succeeded. */
void readers_close(struct readers *r);

/* Waits for piece i; i goes 0, 1, 2... *at is the buffer that holds it until readers_give(r, i).
 * Pieces are given back in order too, and at most n_buffers are taken at a time. WEFT_E_IO names
 * the file. */
weft_status readers_take(struct readers *r, size_t i, const char **at, weft_error *err);
void readers_give(struct readers *r, size_t i);

#endif
