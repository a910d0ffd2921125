// The positions of a row are split among blocks (attend.cu). This file says which pages a split
// has, where it leaves its results, and how the block that arrives last puts the results
// together.
#pragma once
#include "attend.cuh"

#include <math.h>

// The most query heads of a block.
constexpr uint32_t MAX_HEADS = 8;
constexpr uint32_t WARPS = ATTEND_THREADS / WARP;

// n_pages pages are divided into at most `most` splits. split_pages() gives the pages of a split,
// split_count() the number of splits.
__host__ __device__ __forceinline__ uint32_t split_pages(uint32_t n_pages, uint32_t most)
{
    return (n_pages + most - 1) / most;
}
__host__ __device__ __forceinline__ uint32_t split_count(uint32_t n_pages, uint32_t most)
{
    const uint32_t per = split_pages(n_pages, most);
    return (n_pages + per - 1) / per;
}

// The results of the splits of all rows: values [rows, splits, n_heads, head_dim], not yet divided
// by the sum of weights; then stats [rows, splits, n_heads, 2]: the maximum, the sum of weights.
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

// A scale of 1 is enough, because |o| is at most the largest |v|. (q8_0 could hold values beyond
// f16, but models have none.)
__device__ __forceinline__ void write_half_scale(const struct dacts &o, size_t row)
{
    ptr<float>(o.half_scale)[row] = 1.0f;
}

// Writes a block of 32 columns of o; v in lane j is the j-th column.
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

// Writes columns col .. col + 3 of o in every lane, 128 columns in a warp, where `inside` is true.
// A block of 32 columns is inside or outside as a whole.
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

// Computes the factor of each split for the heads [head, head + n): 2^(maximum of the split -
// largest maximum), divided by the head's sum of p_j (attend.cu) over all splits.
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

// Columns are combined in chunks of 128, four in each lane.
enum { COMBINE_CHUNK = 4 * WARP };

// The values of the splits that a lane reads: columns [col, col + 4) of the n_cols columns of the
// heads, and the same columns of the chunks that follow.
struct SplitColumns {
    // The values of the first split, from column 0 on.
    const float *values;
    size_t step;         // floats from split to split
    const float *weight; // in shared memory, [heads, ATTEND_SPLITS]
    uint32_t col, n_cols, dim, n_splits;
};

// In warp w, sum[k] becomes the sum of the k-th chunk's columns over the splits w, w + 4, ..., in
// this order, so that the bits depend only on n_splits. One block reads the results of all blocks.
// Each of its threads starts LOADS loads of 16 bytes before it waits for the first, because the L2
// cache is slow to answer.
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

// Combines the splits of the heads [head, head + n) of a row. n * dim is a multiple of 32 unless
// the heads are the last ones of the row. Each pass combines n_chunks <= CHUNKS chunks of columns.
// sums: shared float [WARPS, n_chunks * 128].
template <int CHUNKS, int LOADS>
__device__ __forceinline__ void combine(const struct attend &job, const Partial &partial,
                                        uint32_t row, uint32_t head, uint32_t n, uint32_t n_splits,
                                        uint32_t n_chunks, float *sums)
{
    SHARED(float[MAX_HEADS * ATTEND_SPLITS], weight);
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
            float v[4] = {}; // columns past the row's last one stay 0
#pragma unroll
            for (uint32_t w = 0; w < WARPS; w++) {
                const float4 part = *(const float4 *)(at + w * width);
                v[0] += part.x, v[1] += part.y, v[2] += part.z, v[3] += part.w;
            }
            write_o4(job.o, row, head * dim + col, col < end, v);
        }
        __syncthreads(); // the next pass writes to the same place
    }
}

// Returns true in the last of n_blocks blocks that arrive with their results; that block sees the
// results of all. The counter is then 0 again.
__device__ __forceinline__ bool arrives_last(unsigned *counter, unsigned n_blocks)
{
    SHARED(bool, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); // publish this block's results before the count
        last = atomicAdd(counter, 1u) == n_blocks - 1;
        __threadfence(); // read the other blocks' results after the count
        if (last) {
            *counter = 0;
        }
    }
    __syncthreads();
    return last;
}
