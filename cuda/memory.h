/* Device memory of one engine: first everything is asked for, then it is known whether it fits,
 * then it is allocated. One allocation for each buffer, so that an index out of bounds shows. */
#ifndef WEFT_CUDA_MEMORY_H
#define WEFT_CUDA_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "kernels/kernels.h"

enum memory_use { MEMORY_WEIGHTS, MEMORY_KV, MEMORY_SCRATCH, MEMORY_USES };

struct request {
    struct dptr *at;
    size_t bytes;
};

struct memory {
    struct request *requests; /* [n] */
    size_t n, cap, n_allocated;
    uint64_t bytes[MEMORY_USES];
    uint64_t taken; /* of all: the device hands out pages */
    bool wrapped;   /* a size did not fit size_t */
    bool nomem;     /* the list itself could not grow */
};

/* Asks for n elements of `size` bytes at *at, which memory_alloc() sets. The pointer must stay
 * where it is. Nothing is asked for 0 bytes. Failures show in memory_alloc(). */
void memory_want(struct memory *m, enum memory_use use, struct dptr *at, size_t n, size_t size);
uint64_t memory_total(const struct memory *m);
/* Allocates what was asked for; on failure the first error, nothing is kept. */
cudaError_t memory_alloc(struct memory *m);
void memory_free(struct memory *m);

#endif
