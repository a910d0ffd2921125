// What the kernels of attention share: where a position lies in the pool, which positions a row
// sees, and the way of a page into shared memory.
#pragma once
#include "device.cuh"

constexpr uint32_t ATTEND_MAX_DIM = 256, ATTEND_THREADS = 128;

static inline bool attend_supports(const struct dkv &kv)
{
    return kv.head_dim > 0 && kv.head_dim % 8 == 0 && kv.head_dim <= ATTEND_MAX_DIM &&
           kv.n_kv_heads > 0 && kv.n_heads % kv.n_kv_heads == 0;
}

// The i-th page of a sequence.
__device__ __forceinline__ uint32_t page_of(const struct dstep &step, uint32_t seq, uint32_t i)
{
    return ptr<const uint32_t>(step.pages)[(size_t)seq * step.page_stride + i];
}

// The element of K and of V at which a page's [64, head_dim] of a KV head begins.
__device__ __forceinline__ size_t page_block(const struct dkv &kv, uint32_t page, uint32_t kv_head)
{
    return ((size_t)page * kv.n_kv_heads + kv_head) * ATTEND_PAGE * kv.head_dim;
}

// The first position that a row at `pos` sees; the last one is its own.
__device__ __forceinline__ uint32_t first_seen(uint32_t pos, uint32_t window)
{
    return window > 0 && pos >= window ? pos - window + 1 : 0;
}

// Positions [first, last] of a sequence, which lie in K and V of one KV head.
struct Seen {
    uint32_t first, last;
};

// Starts the copy of a page of a KV head into shared memory, its rows `stride` elements apart. A
// position that is not among those seen may never have been written: it is not read and becomes 0.
__device__ __forceinline__ void copy_page(__half *shared, uint32_t stride, const __half *block,
                                          uint32_t head_dim, uint32_t page, Seen seen)
{
    const uint32_t n = head_dim / 8; // 16 bytes each
    for (uint32_t i = threadIdx.x; i < ATTEND_PAGE * n; i += ATTEND_THREADS) {
        const uint32_t row = i / n, at = i % n * 8, pos = page * ATTEND_PAGE + row;
        cp_async16(shared + row * stride + at, block + row * head_dim + at,
                   pos >= seen.first && pos <= seen.last ? 16 : 0);
    }
}
