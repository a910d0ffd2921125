/* Device memory of one engine: first everything is asked for, then it is known whether it fits,
 * then it is allocated: at once, as a large model has hundreds of buffers and each allocation takes
 * the driver 50 to 100 us. For whoever looks for an index out of bounds (compute-sanitizer, the
 * simulator) each buffer can be an allocation of its own. */
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
    bool apart;   /* an allocation for each buffer; set before the first is asked for */
    bool wrapped; /* a size did not fit size_t */
    bool nomem;   /* the list itself could not grow */
};

/* Asks for n elements of `size` bytes at *at, which memory_alloc() sets. The pointer must stay
 * where it is. Nothing is asked for 0 bytes. Failures show in memory_alloc(). */
void memory_want(struct memory *m, enum memory_use use, struct dptr *at, size_t n, size_t size);
uint64_t memory_total(const struct memory *m);
/* What the device will have less: it hands out pages. */
uint64_t memory_taken(const struct memory *m);
/* Allocates what was asked for, every buffer at a multiple of MEMORY_ALIGN. After a failure, too,
 * memory_free() gives back what there is. */
enum { MEMORY_ALIGN = 256 };
cudaError_t memory_alloc(struct memory *m);
void memory_free(struct memory *m);

#endif
