#include "memory.h"

#include "mem.h"

enum { SMALL = 1 << 20, PAGE = 2 << 20 }; /* larger buffers than SMALL take whole pages */

void memory_want(struct memory *m, enum memory_use use, struct dptr *at, size_t n, size_t size)
{
    size_t bytes;
    if (!mul_ok(n, size, &bytes)) {
        m->wrapped = true;
        return;
    }
    if (bytes == 0) {
        return;
    }
    if (!mem_reserve(&m->requests, &m->cap, m->n + 1, sizeof *m->requests)) {
        m->nomem = true;
        return;
    }
    m->requests[m->n++] = (struct request){ at, bytes };
    m->bytes[use] += bytes;
    uint64_t page = bytes > SMALL ? PAGE : 512;
    m->taken += (bytes + page - 1) / page * page;
}

uint64_t memory_total(const struct memory *m)
{
    return m->bytes[MEMORY_WEIGHTS] + m->bytes[MEMORY_KV] + m->bytes[MEMORY_SCRATCH];
}

cudaError_t memory_alloc(struct memory *m)
{
    for (; m->n_allocated < m->n; m->n_allocated++) {
        void *p = NULL;
        cudaError_t e = cudaMalloc(&p, m->requests[m->n_allocated].bytes);
        if (e != cudaSuccess) {
            return e;
        }
        m->requests[m->n_allocated].at->at = (uintptr_t)p;
    }
    return cudaSuccess;
}

void memory_free(struct memory *m)
{
    for (size_t i = 0; i < m->n_allocated; i++) {
        (void)cudaFree((void *)m->requests[i].at->at);
    }
    free(m->requests);
    *m = (struct memory){ 0 };
}
