#include "memory.h"

#include "base/mem.h"

/* Buffers larger than SMALL take whole pages. */
enum { SMALL = 1 << 20, PAGE = 2 << 20 };

void memory_want(struct memory *m, enum memory_use use, struct dptr *at, size_t n, size_t size)
{
    size_t bytes;
    /* The sum of all requests, rounded up, must still be a valid size. */
    if (!mul_ok(n, size, &bytes) || bytes > (uint64_t)INT64_MAX - memory_total(m)) {
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
}

uint64_t memory_total(const struct memory *m)
{
    return m->bytes[MEMORY_WEIGHTS] + m->bytes[MEMORY_KV] + m->bytes[MEMORY_SCRATCH];
}

static uint64_t pages_of(uint64_t bytes) { return round_up(bytes, bytes > SMALL ? PAGE : 512); }

static uint64_t arena_bytes(const struct memory *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        bytes += round_up(m->requests[i].bytes, MEMORY_ALIGN);
    }
    return bytes;
}

uint64_t memory_taken(const struct memory *m)
{
    if (!m->apart) {
        return pages_of(arena_bytes(m));
    }
    uint64_t taken = 0;
    for (size_t i = 0; i < m->n; i++) {
        taken += pages_of(m->requests[i].bytes);
    }
    return taken;
}

cudaError_t memory_alloc(struct memory *m)
{
    const uint64_t all = arena_bytes(m);
    uintptr_t next = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->apart || i == 0) {
            void *p = NULL;
            cudaError_t e = cudaMalloc(&p, m->apart ? m->requests[i].bytes : all);
            if (e != cudaSuccess) {
                return e;
            }
            m->n_allocated++;
            next = (uintptr_t)p;
        }
        m->requests[i].at->at = next;
        next += round_up(m->requests[i].bytes, MEMORY_ALIGN);
    }
    return cudaSuccess;
}

/* The arena begins with the first buffer, so freeing that buffer frees the arena. */
void memory_free(struct memory *m)
{
    for (size_t i = 0; i < m->n_allocated; i++) {
        (void)cudaFree((void *)m->requests[i].at->at);
    }
    free(m->requests);
    *m = (struct memory){ 0 };
}
