// What the kernels of attention share: which K and V they can read, which page holds a position,
// and which positions a row sees.
#pragma once
#include "device.cuh"
#include "weft.h"

constexpr uint32_t ATTEND_MAX_DIM = 256, ATTEND_THREADS = 128;

static inline bool any_q8(const struct dkv &kv)
{
    return kv.type[0] == WEFT_KV_Q8_0 || kv.type[1] == WEFT_KV_Q8_0;
}

static inline bool attend_supports(const struct dkv &kv)
{
    return kv.head_dim > 0 && kv.head_dim % (any_q8(kv) ? 32 : 8) == 0 &&
           kv.head_dim <= ATTEND_MAX_DIM && kv.n_kv_heads > 0 && kv.n_heads % kv.n_kv_heads == 0 &&
           kv.type[0] <= WEFT_KV_Q8_0 && kv.type[1] <= WEFT_KV_Q8_0;
}

// Returns the number of the i-th page of a sequence.
__device__ __forceinline__ uint32_t page_of(const struct dstep &step, uint32_t seq, uint32_t i)
{
    return __ldcg(ptr<const uint32_t>(step.pages) + (size_t)seq * step.page_stride + i);
}

// Returns the first position that a row at `pos` sees; the last one is its own.
__device__ __forceinline__ uint32_t first_seen(uint32_t pos, uint32_t window)
{
    return window > 0 && pos >= window ? pos - window + 1 : 0;
}

// Positions [first, last] of a sequence.
struct Seen {
    uint32_t first, last;
};
