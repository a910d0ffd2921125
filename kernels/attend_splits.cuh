// The positions of a row are split among blocks (attend.cu): which pages a split has, where it
// leaves its results, and how the block that arrives last puts them together.
#pragma once
#include "attend.cuh"

#include <math.h>

constexpr uint32_t MAX_HEADS = 8;                 // of a block
constexpr uint32_t WARPS = ATTEND_THREADS / WARP; // of a block

// Splits of n pages: as few pages each as `most` splits allow.
__host__ __device__ __forceinline__ uint32_t split_pages(uint32_t n_pages, uint32_t most)
{
    return (n_pages + most - 1) / most;
}
__host__ __device__ __forceinline__ uint32_t split_count(uint32_t n_pages, uint32_t most)
{
    const uint32_t per = split_pages(n_pages, most);
    return (n_pages + per - 1) / per;
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

// |o| is at most the largest |v|; q8_0 could hold more than f16, models do not.
__device__ __forceinline__ void write_half_scale(const struct dacts &o, size_t row)
{
    ptr<float>(o.half_scale)[row] = 1.0f;
}

// A block of 32 columns of o, v in lane j being its j-th.
__device__ __forceinline__ void write_o(const struct dacts &o, size_t row, size_t i, float v)
{
    const uint32_t lane = threadIdx.x % WARP;
    write_acts32(o, row, i, v);
    if (o.forms & ACT_F16) {
        ptr<__half>(o.half)[row * o.stride + 32 * i + lane] = __float2half_rn(v);
        if (i == 0 && lane == 0) {
            write_half_scale(o, row);
        }
    }
}

// Columns col .. col + 3 of o in every lane, 128 of a warp, where `inside` says so; blocks of 32
// are inside or outside as a whole.
__device__ __forceinline__ void write_o4(const struct dacts &o, size_t row, uint32_t col,
                                         bool inside, const float (&v)[4])
{
    const size_t at = row * o.stride + col;
    if (o.forms & ACT_Q8) {
        quantize128<1>({ { v[0], v[1], v[2], v[3] } }, { inside }, { col },
                       ptr<int8_t>(o.q) + row * o.stride,
                       ptr<struct act_block>(o.block) + row * (o.stride / 32));
    }
    if (inside && (o.forms & ACT_F32)) {
        *(float4 *)(ptr<float>(o.x) + at) = make_float4(v[0], v[1], v[2], v[3]);
    }
    if (inside && (o.forms & ACT_F16)) {
        store_halves4(ptr<__half>(o.half) + at, v, 1.0f);
        if (col == 0) {
            write_half_scale(o, row);
        }
    }
}

// --- putting splits together ---------------------------------------------------------------------

// By how much each split of the heads [head, head + n) counts, divided by their sum.
__device__ __forceinline__ void split_weights(const Partial &partial, uint32_t head, uint32_t n,
                                              uint32_t n_splits, float *weight)
{
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
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
}

// Columns are put together in chunks of 128, four in each lane.
enum { COMBINE_CHUNK = 4 * WARP };

// What a lane reads of the splits: columns [col, col + 4) of the heads' n_cols, and those of the
// chunks that follow.
struct SplitColumns {
    const float *values; // of the first split, from its first column on
    size_t step;         // from split to split
    const float *weight; // shared [heads, ATTEND_SPLITS]
    uint32_t col, n_cols, dim, n_splits;
};

// sum[k] = the chunk's columns of the splits warp, warp + 4, ... in this order, so that the bits
// follow from n_splits. LOADS of 16 bytes are under way in every thread: a block alone reads what
// all have left, and waits for the L2 cache once for so many.
template <int CHUNKS, int LOADS>
__device__ __forceinline__ void add_splits(float4 (&sum)[CHUNKS], const SplitColumns &in)
{
    constexpr uint32_t AT_ONCE = CHUNKS < LOADS ? LOADS / CHUNKS : 1;
#pragma unroll 1
    for (uint32_t first = threadIdx.x / WARP; first < in.n_splits; first += WARPS * AT_ONCE) {
        float4 v[AT_ONCE][CHUNKS];
#pragma unroll
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            const uint32_t s = first + WARPS * i;
            const float *from = in.values + s * in.step + in.col;
#pragma unroll
            for (uint32_t k = 0; k < CHUNKS; k++) {
                const bool has = s < in.n_splits && in.col + COMBINE_CHUNK * k < in.n_cols;
                v[i][k] = has ? __ldcg((const float4 *)(from + COMBINE_CHUNK * k))
                              : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            }
        }
#pragma unroll
        for (uint32_t k = 0; k < CHUNKS; k++) {
            const uint32_t h = min(in.col + COMBINE_CHUNK * k, in.n_cols - 1) / in.dim;
            const float *weight = in.weight + h * ATTEND_SPLITS;
#pragma unroll
            for (uint32_t i = 0; i < AT_ONCE; i++) {
                const float w = weight[min(first + WARPS * i, in.n_splits - 1)];
                sum[k].x += w * v[i][k].x;
                sum[k].y += w * v[i][k].y;
                sum[k].z += w * v[i][k].z;
                sum[k].w += w * v[i][k].w;
            }
        }
    }
}

// The heads [head, head + n) of a row from its splits, n * dim a multiple of 32 unless they are the
// row's last. sums: float [WARPS, n_chunks * 128] shared, n_chunks <= CHUNKS of a pass.
template <int CHUNKS, int LOADS>
__device__ __forceinline__ void combine(const struct attend &job, const Partial &partial,
                                        uint32_t row, uint32_t head, uint32_t n, uint32_t n_splits,
                                        uint32_t n_chunks, float *sums)
{
    SHARED(float[MAX_HEADS * ATTEND_SPLITS], weight); // of a head's splits
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, dim = partial.dim;
    const uint32_t width = n_chunks * COMBINE_CHUNK, end = (n * dim + 31) / 32 * 32;
    SplitColumns in = { partial.values + partial.head(0, head) * dim,
                        (size_t)partial.n_heads * dim,
                        weight,
                        4 * lane,
                        n * dim,
                        dim,
                        n_splits };
    split_weights(partial, head, n, n_splits, weight);
    __syncthreads();
    for (; in.col - 4 * lane < end; in.col += width) {
        float4 sum[CHUNKS] = {};
        add_splits<CHUNKS, LOADS>(sum, in);
#pragma unroll
        for (uint32_t k = 0; k < CHUNKS; k++) {
            if (k < n_chunks) {
                *(float4 *)(sums + warp * width + COMBINE_CHUNK * k + 4 * lane) = sum[k];
            }
        }
        __syncthreads();
        for (uint32_t k = warp; k < n_chunks; k += WARPS) {
            const float *at = sums + COMBINE_CHUNK * k + 4 * lane;
            const uint32_t col = in.col + COMBINE_CHUNK * k;
            float v[4] = {}; // also past the row's last column
#pragma unroll
            for (uint32_t w = 0; w < WARPS; w++) {
                const float4 part = *(const float4 *)(at + w * width);
                v[0] += part.x, v[1] += part.y, v[2] += part.z, v[3] += part.w;
            }
            write_o4(job.o, row, head * dim + col, col < end, v);
        }
        __syncthreads(); // the next columns take the place of these
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
