// What kernels share: typed addresses, sums over a warp or block, and the quantisation of
// activations. Sums have one fixed order. Except in attention, kernels add products by __fmaf_rn()
// calls, so that the bits do not depend on how the compiler treats one template instance.
#pragma once
#include "cu.cuh"
#include "format/quant.h"
#include "kernels.h"
#include "ptx.cuh"

enum { WARP = 32 };
#define ALL_LANES 0xffffffffu

template <class T> __device__ __host__ __forceinline__ T *ptr(struct dptr d) { return (T *)d.at; }

__device__ __forceinline__ float half_bits(uint16_t h) { return __half2float(__ushort_as_half(h)); }

// Returns 2^23 + byte k of `bytes`. Putting the byte under the exponent of 2^23 is cheaper than
// converting it.
__device__ __forceinline__ float byte_float(uint32_t bytes, int k)
{
    return __uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7540 + k));
}

// Loads small fields of weights, which neighbouring threads share; load_weights16 (ptx.cuh) loads
// the rest.
template <class T> __device__ __forceinline__ T load_weights(const void *p)
{
    return __ldg((const T *)p);
}

// The sum over the lanes of a warp, returned in all lanes.
__device__ __forceinline__ float warp_sum(float v)
{
#pragma unroll
    for (int o = WARP / 2; o > 0; o /= 2) {
        v = __fadd_rn(v, __shfl_xor_sync(ALL_LANES, v, o));
    }
    return v;
}
__device__ __forceinline__ float warp_max(float v)
{
#pragma unroll
    for (int o = WARP / 2; o > 0; o /= 2) {
        v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, o));
    }
    return v;
}

// The sum over all threads of a block, returned in all of them. The block has a multiple of 32
// threads. shared [32] may be used again after the block's next barrier.
__device__ __forceinline__ float block_sum(float v, float *shared)
{
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    v = warp_sum(v);
    if (lane == 0) {
        shared[warp] = v;
    }
    __syncthreads();
    return warp_sum(lane < blockDim.x / WARP ? shared[lane] : 0.0f);
}

__device__ __forceinline__ float silu(float x)
{
    // e^-|x| cannot overflow, whatever the sign of x
    const float e = expf(-fabsf(x));
    return __fdiv_rn(__fmul_rn(x, x < 0.0f ? e : 1.0f), __fadd_rn(1.0f, e));
}

// A block whose largest magnitude is below this counts as zero: 127 / amax must not overflow.
#define ACT_SMALLEST 1e-35f

// These two access an act_block as 8 bytes: d is the first word, and the two sums are the halves of
// the second.
__device__ __forceinline__ uint2 load_act_block(const struct act_block *at)
{
    return *(const uint2 *)at;
}
__device__ __forceinline__ void store_act_block(struct act_block *at, float d, int sum0, int sum1)
{
    *(uint2 *)at = make_uint2(__float_as_uint(d), (sum0 & 0xffff) | (uint32_t)sum1 << 16);
}

// Returns the bits of |v|. As integers the bits are ordered as the values are, with Inf and NaN on
// top.
__device__ __forceinline__ unsigned magnitude_bits(float v)
{
    return __float_as_uint(v) & 0x7fffffffu;
}

// How a block of 32 activations is quantised, from the magnitude_bits of its largest. If there is a
// NaN or Inf among them, d is NaN and the codes are 0, so that all products with the block are
// NaN.
struct ActScale {
    float d, inverse;
    __device__ __forceinline__ ActScale(unsigned top) : d(0.0f), inverse(0.0f)
    {
        const float amax = __uint_as_float(top);
        if (!(amax <= 3.402823466e38f)) {
            d = __int_as_float(0x7fc00000);
        } else if (amax >= ACT_SMALLEST) {
            d = __fdiv_rn(amax, 127.0f);
            inverse = __fdiv_rn(127.0f, amax);
        }
    }
    __device__ __forceinline__ int code(float v) const
    {
        // A NaN is never converted: its block has inverse 0.
        return inverse > 0.0f ? __float2int_rn(__fmul_rn(v, inverse)) : 0;
    }
};

// A whole warp quantises one block of 32 activations; v in lane i is the i-th. The codes go to
// q[32], and lane 0 writes *block.
__device__ __forceinline__ void quantize32(float v, int8_t *q, struct act_block *block)
{
    const int lane = threadIdx.x % WARP;
    const ActScale scale(__reduce_max_sync(ALL_LANES, magnitude_bits(v)));
    int sum = scale.code(v);
    q[lane] = (int8_t)sum;
#pragma unroll
    for (int o = 8; o > 0; o /= 2) {
        sum += __shfl_xor_sync(ALL_LANES, sum, o); // each half of the warp has its own sum
    }
    const int high = __shfl_sync(ALL_LANES, sum, 16);
    if (lane == 0) {
        store_act_block(block, scale.d, sum, high);
    }
}

// A warp quantises N groups of four blocks; v[i] in lane l is columns 4 l .. 4 l + 3 of group i, so
// eight lanes share a block. This takes a third of the work of quantize32() per block, and the
// groups are independent, so their instructions overlap. If store[i] is true, the lane's codes go
// to q + at[i], and the block goes to block + at[i] / 32; at[i] is a multiple of 4.
template <int N>
__device__ __forceinline__ void quantize128(const float (&v)[N][4], const bool (&store)[N],
                                            const unsigned (&at)[N], int8_t *q,
                                            struct act_block *block)
{
    unsigned top[N];
    int sum[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        top[i] = max(max(magnitude_bits(v[i][0]), magnitude_bits(v[i][1])),
                     max(magnitude_bits(v[i][2]), magnitude_bits(v[i][3])));
    }
#pragma unroll
    for (int o = 4; o > 0; o /= 2) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            top[i] = max(top[i], __shfl_xor_sync(ALL_LANES, top[i], o));
        }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const ActScale scale(top[i]);
        uint32_t codes = 0;
        sum[i] = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int code = scale.code(v[i][k]);
            codes |= (uint32_t)(code & 255) << 8 * k;
            sum[i] += code;
        }
        if (store[i]) {
            *(uint32_t *)(q + at[i]) = codes;
        }
    }
#pragma unroll
    for (int o = 1; o <= 2; o *= 2) { // the sum of 16 columns
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum[i] += __shfl_xor_sync(ALL_LANES, sum[i], o);
        }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int high = __shfl_xor_sync(ALL_LANES, sum[i], 4);
        if (store[i] && threadIdx.x % 8 == 0) {
            store_act_block(block + at[i] / 32, ActScale(top[i]).d, sum[i], high);
        }
    }
}

// Stores four halves, v * inverse.
__device__ __forceinline__ void store_halves4(__half *at, const float v[4], float inverse)
{
    uint32_t word[2];
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const __half a = __float2half_rn(v[2 * k] * inverse);
        const __half b = __float2half_rn(v[2 * k + 1] * inverse);
        word[k] = __half_as_ushort(a) | (uint32_t)__half_as_ushort(b) << 16;
    }
    *(uint2 *)at = make_uint2(word[0], word[1]);
}

// Writes the i-th block of 32 columns of row `row` in the forms Q8 and F32. v in lane j is column
// 32 i + j, or 0 past the last column.
__device__ __forceinline__ void write_acts32(const struct dacts &a, size_t row, size_t i, float v)
{
    if (a.forms & ACT_Q8) {
        quantize32(v, ptr<int8_t>(a.q) + row * a.stride + 32 * i,
                   ptr<struct act_block>(a.block) + row * (a.stride / 32) + i);
    }
    if (a.forms & ACT_F32) {
        ptr<float>(a.x)[row * a.stride + 32 * i + threadIdx.x % WARP] = v;
    }
}
