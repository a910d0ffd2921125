/* Device memory of one engine. First everything is asked for; then it is known whether it fits;
 * then it is allocated in one piece, because a large model has hundreds of buffers and each
 * allocation takes the driver 50 to 100 us. For tools that look for an index out of bounds
 * (compute-sanitizer, the simulator) each buffer can be an allocation of its own. */
#ifndef WEFT_CUDA_MEMORY_H
#define WEFT_CUDA_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
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
    /* Each buffer gets an allocation of its own. Set this before the first buffer is asked for. */
    bool apart;
    /* A size did not fit into size_t. */
    bool wrapped;
    /* The list itself could not grow. */
    bool nomem;
};

/* Asks for n elements of `size` bytes; memory_alloc() will set *at to their address, so `at` must
 * stay valid until then. A request for 0 bytes is ignored. A failure sets `wrapped` or `nomem`,
 * which the caller looks at before memory_alloc(). */
void memory_want(struct memory *m, enum memory_use use, struct dptr *at, size_t n, size_t size);
uint64_t memory_total(const struct memory *m);
/* Returns by how many bytes the device's free memory will shrink: the driver gives memory in whole
 * pages of its own. */
uint64_t memory_taken(const struct memory *m);
/* Allocates everything that was asked for, every buffer at a multiple of MEMORY_ALIGN.
 * memory_free() frees what was allocated, after a failure too. */
enum { MEMORY_ALIGN = 256 };
cudaError_t memory_alloc(struct memory *m);
void memory_free(struct memory *m);

#endif
