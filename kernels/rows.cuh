// How a block of 256 threads goes through a row of floats: in chunks of 128 columns, one chunk for
// each warp in turn, four columns for each lane. The mean square of rmsnorm is here because
// kernel_norm and kernel_matvec have to give the same bits.
#pragma once
#include "device.cuh"

enum { ROW_THREADS = 256, ROW_WARPS = ROW_THREADS / WARP, CHUNK = 4 * WARP };

// Loads columns col .. col + 3 of a row of n floats, and zeros past the last column. col is a
// multiple of 4. ALIGNED means that n is a multiple of 4, so rows begin at multiples of 16
// bytes.
template <bool ALIGNED>
__device__ __forceinline__ void load4(const float *row, size_t n, size_t col, float v[4])
{
    if constexpr (ALIGNED) {
        const float4 f = col < n ? *(const float4 *)(row + col) : make_float4(0, 0, 0, 0);
        v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            v[k] = col + k < n ? row[col + k] : 0.0f;
        }
    }
}
__device__ __forceinline__ void load4(const float *row, size_t n, size_t col, float v[4])
{
    if (n % 4 == 0) {
        load4<true>(row, n, col, v);
    } else {
        load4<false>(row, n, col, v);
    }
}
__device__ __forceinline__ void store4(float *at, const float v[4])
{
    *(float4 *)at = make_float4(v[0], v[1], v[2], v[3]);
}

// --- rmsnorm: x / sqrt(mean of squares + eps) * weight -------------------------------------------

__device__ __forceinline__ const float *norm_row(const struct norm &norm, size_t i)
{
    const uint32_t *rows = ptr<const uint32_t>(norm.rows);
    return ptr<const float>(norm.x) + (rows != nullptr ? rows[i] : i) * norm.dim;
}

// Sums the squares of a thread's columns, in the order of the columns, for each of ROWS rows.
template <bool ALIGNED, int ROWS>
__device__ __forceinline__ void square_sums(const float *const (&x)[ROWS], size_t n,
                                            float (&sum)[ROWS])
{
#pragma unroll(ROWS < 4 ? 4 / ROWS : 1)
    for (size_t col = 4 * threadIdx.x; col < n; col += 4 * ROW_THREADS) {
        float v[ROWS][4];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            load4<ALIGNED>(x[r], n, col, v[r]);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                sum[r] = __fmaf_rn(v[r][k], v[r][k], sum[r]);
            }
        }
    }
}

struct NormSums {
    float warp[MATVEC_ROWS][ROW_WARPS]; // the sum of squares of each warp
    float scale[MATVEC_ROWS];
};

// shared.scale[r] = 1 / rms of row first + r, for r < n <= ROWS. A sum adds each thread's columns
// in ascending order, then the lanes of a warp, then the warps, whatever ROWS is. Ends with a
// barrier.
template <int ROWS>
__device__ __forceinline__ void norm_scales(const struct norm &norm, size_t first, int n,
                                            NormSums &shared)
{
    const float *x[ROWS];
    float sum[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        x[r] = norm_row(norm, first + min(r, n - 1));
    }
    if (norm.dim % 4 == 0) {
        square_sums<true>(x, norm.dim, sum);
    } else {
        square_sums<false>(x, norm.dim, sum);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        sum[r] = warp_sum(sum[r]);
        if (threadIdx.x % WARP == 0) {
            shared.warp[r][threadIdx.x / WARP] = sum[r];
        }
    }
    __syncthreads();
    if (threadIdx.x < ROWS) {
        float total = 0.0f;
#pragma unroll
        for (int w = 0; w < ROW_WARPS; w++) {
            total = __fadd_rn(total, shared.warp[threadIdx.x][w]);
        }
        const float mean = __fdiv_rn(total, (float)norm.dim);
        shared.scale[threadIdx.x] = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, norm.eps)));
    }
    __syncthreads();
}

template <bool ALIGNED>
__device__ __forceinline__ void normed4(const struct norm &norm, const float *x, float scale,
                                        size_t col, float v[4])
{
    float w[4];
    load4<ALIGNED>(x, norm.dim, col, v);
    load4<ALIGNED>(ptr<const float>(norm.weight), norm.dim, col, w);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        v[k] = __fmul_rn(__fmul_rn(v[k], scale), w[k]);
    }
}
