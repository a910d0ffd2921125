// The positions of a row are split among blocks (attend.cu): which pages a split has, where it
// leaves its results, and how the block that arrives last puts them together.
#pragma once
#include "attend.cuh"

#include <math.h>

constexpr uint32_t MAX_HEADS = 8;                 // of a block
constexpr uint32_t WARPS = ATTEND_THREADS / WARP; // of a block

// Splits of n pages: as few pages each as ATTEND_SPLITS allows.
__host__ __device__ __forceinline__ uint32_t split_pages(uint32_t n_pages)
{
    return (n_pages + ATTEND_SPLITS - 1) / ATTEND_SPLITS;
}
__host__ __device__ __forceinline__ uint32_t split_count(uint32_t n_pages)
{
    const uint32_t per = split_pages(n_pages);
    return (n_pages + per - 1) / per;
}
static uint32_t most_splits(size_t n_ctx)
{
    const size_t pages = (n_ctx + ATTEND_PAGE - 1) / ATTEND_PAGE;
    return pages < ATTEND_SPLITS ? (uint32_t)pages : (uint32_t)ATTEND_SPLITS;
}

// What the splits of all rows leave behind: values [rows, splits, n_heads, head_dim], not divided
// by their sum; then maximum and sum [rows, splits, n_heads, 2].
struct Partial {
    float *values, *stats;
    uint32_t splits, n_heads, dim;

    __device__ Partial(const struct attend &job)
        : values(ptr<float>(job.partial)), splits(gridDim.z), n_heads(job.kv.n_heads),
          dim(job.kv.head_dim)
    {
        stats = values + (size_t)gridDim.x * splits * n_heads * dim;
    }
    __device__ size_t head(uint32_t split, uint32_t h) const
    {
        return ((size_t)blockIdx.x * splits + split) * n_heads + h;
    }
};

// A block of 32 columns of o, v in lane j being its j-th.
__device__ __forceinline__ void write_o(const struct dacts &o, size_t row, size_t i, float v)
{
    const uint32_t lane = threadIdx.x % WARP;
    write_acts32(o, row, i, v);
    if (o.forms & ACT_F16) {
        ptr<__half>(o.half)[row * o.stride + 32 * i + lane] = __float2half_rn(v);
        if (i == 0 && lane == 0) {
            ptr<float>(o.half_scale)[row] = 1.0f; // |o| is at most the largest |v|; q8_0 could hold
                                                  // more than f16, models do not
        }
    }
}

// The heads [head, head + n) of a row from its splits, n * dim a multiple of 32 unless they are the
// row's last.
__device__ __forceinline__ void combine(const struct attend &job, const Partial &partial,
                                        uint32_t row, uint32_t head, uint32_t n, uint32_t n_splits)
{
    SHARED(float[MAX_HEADS * ATTEND_SPLITS], weight); // of a head's splits
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, dim = partial.dim;
    for (uint32_t h = warp; h < n; h += WARPS) {
        float max[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t s = lane + WARP * i;
            if (s < n_splits) {
                const float *stats = partial.stats + 2 * partial.head(s, head + h);
                max[i] = __ldcg(stats);
                sum[i] = __ldcg(stats + 1);
            }
        }
        const float top = warp_max(fmaxf(max[0], max[1]));
        const float a = exp2f(max[0] - top), b = exp2f(max[1] - top);
        const float total = warp_sum(a * sum[0] + b * sum[1]);
        weight[h * ATTEND_SPLITS + lane] = a / total;
        weight[h * ATTEND_SPLITS + lane + WARP] = b / total;
    }
    __syncthreads();
    for (uint32_t block = warp; block < (n * dim + 31) / 32; block += WARPS) {
        const uint32_t col = 32 * block + lane, h = col / dim;
        float v = 0.0f; // also past the row's last column
        if (h < n) {
            const float *from = partial.values + partial.head(0, head) * dim + col;
            const size_t step = (size_t)partial.n_heads * dim;
#pragma unroll 4
            for (uint32_t s = 0; s < n_splits; s++) {
                v += weight[h * ATTEND_SPLITS + s] * __ldcg(from + s * step);
            }
        }
        write_o(job.o, row, (size_t)head * dim / 32 + block, v);
    }
}

// True in the last of n_blocks that arrive with their results; it sees all of them. The counter is
// then 0 again.
__device__ __forceinline__ bool arrives_last(unsigned *counter, unsigned n_blocks)
{
    SHARED(bool, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); // before the count: the results of the whole block
        last = atomicAdd(counter, 1u) == n_blocks - 1;
        __threadfence(); // after it: those of the others
        if (last) {
            *counter = 0;
        }
    }
    __syncthreads();
    return last;
}
