// How K and V are read. A block is K or V of one page and one KV head (struct dkv in kernels.h
// gives the layouts). This file says where a block lies in the pool, copies it to shared memory,
// and reads its elements there. f16 arrives as halves; q8_0 arrives as codes and scales, in about
// half as many bytes.
#pragma once
#include "attend.cuh"

enum { KV_K, KV_V };

// Kernels that are compiled for f16 alone (ANY = false) do not carry the code for q8_0. The others
// decide by the types of the job, which are the same for all threads.
template <bool ANY> __device__ __forceinline__ bool is_q8(const struct dkv &kv, uint32_t which)
{
    // Do not write kv.type[which]: a parameter that is indexed at run time is copied to the
    // stack.
    return ANY && (which == KV_K ? kv.type[KV_K] : kv.type[KV_V]) == WEFT_KV_Q8_0;
}

// Bytes of a block, a multiple of 16.
__host__ __device__ __forceinline__ uint32_t kv_block_bytes(bool q8, uint32_t dim)
{
    return ATTEND_PAGE * (q8 ? dim + dim / 16 : 2 * dim);
}

__device__ __forceinline__ uint8_t *kv_block(const struct dkv &kv, uint32_t which, bool q8,
                                             uint32_t dim, uint32_t page, uint32_t kv_head)
{
    return ptr<uint8_t>(which == KV_K ? kv.k : kv.v) +
           ((size_t)page * kv.n_kv_heads + kv_head) * kv_block_bytes(q8, dim);
}

// Tells which rows of a page are among the positions seen.
struct SeenRows {
    uint32_t page;
    Seen seen;

    __device__ __forceinline__ bool has(uint32_t row) const
    {
        const uint32_t pos = page * ATTEND_PAGE + row;
        return pos >= seen.first && pos <= seen.last;
    }
};

// Starts the copy of a page's rows into shared memory. A row has n elements, a multiple of 16
// bytes; in shared memory the rows are `stride` elements apart. A position that is not seen may
// never have been written: it is not read, and its row in shared memory becomes 0.
template <class T>
__device__ __forceinline__ void copy_rows(T *shared, uint32_t stride, const T *rows, uint32_t n,
                                          const SeenRows &seen)
{
    constexpr uint32_t PIECE = 16 / sizeof(T);
    const uint32_t pieces = n / PIECE;
    for (uint32_t i = threadIdx.x; i < ATTEND_PAGE * pieces; i += ATTEND_THREADS) {
        const uint32_t row = i / pieces, at = i % pieces * PIECE;
        cp_async16(shared + row * stride + at, rows + row * n + at, seen.has(row) ? 16 : 0);
    }
}

// Starts the copy of a whole block. 16 bytes of scales belong to several positions, so the copy
// includes scales of positions that are not seen, which may be garbage. Readers must not use those
// scales.
__device__ __forceinline__ void copy_block(uint8_t *shared, const uint8_t *block, bool q8,
                                           uint32_t dim, const SeenRows &seen)
{
    if (!q8) {
        copy_rows((__half *)shared, dim, (const __half *)block, dim, seen);
        return;
    }
    copy_rows(shared, dim, block, dim, seen);
    for (uint32_t i = threadIdx.x; i < dim / 4; i += ATTEND_THREADS) {
        const uint32_t at = ATTEND_PAGE * dim + 16 * i;
        cp_async16(shared + at, block + at);
    }
}

__device__ __forceinline__ uint32_t half2_bits(__half2 h)
{
    return (uint32_t)__half_as_ushort(__low2half(h)) | (uint32_t)__half_as_ushort(__high2half(h))
                                                           << 16;
}

// Readers of a block in shared memory. load8() gives eight elements of a row, which the caller
// multiplies by the value that it returns; load2() gives two finished elements.
struct Halves {
    const uint8_t *block;
    uint32_t dim;

    __device__ __forceinline__ float load8(uint32_t row, uint32_t col, float x[8]) const
    {
        const uint4 v = *(const uint4 *)(block + 2 * (row * dim + col));
        const uint32_t words[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int i = 0; i < 8; i++) {
            x[i] = half_bits((uint16_t)(words[i / 2] >> 16 * (i % 2)));
        }
        return 1.0f;
    }
    __device__ __forceinline__ float2 load2(uint32_t row, uint32_t col) const
    {
        return __half22float2(*(const __half2 *)(block + 2 * (row * dim + col)));
    }
};

struct Codes {
    const uint8_t *block;
    uint32_t dim;
    // The rows that are seen. The scale of any other row counts as 0, and so do its elements.
    SeenRows rows;

    __device__ __forceinline__ uint16_t scale_bits(uint32_t row, uint32_t col) const
    {
        const uint16_t *scales = (const uint16_t *)(block + ATTEND_PAGE * dim);
        return rows.has(row) ? scales[row * (dim / 32) + col / 32] : (uint16_t)0;
    }
    // Byte k of `bytes` as a number. The codes have become unsigned bytes by `^ 0x80`, which adds
    // 128.
    __device__ __forceinline__ static float code(uint32_t bytes, int k)
    {
        return byte_float(bytes, k) - (8388608.0f + 128.0f);
    }
    __device__ __forceinline__ float load8(uint32_t row, uint32_t col, float x[8]) const
    {
        const uint2 v = *(const uint2 *)(block + row * dim + col);
        const uint32_t words[2] = { v.x ^ 0x80808080u, v.y ^ 0x80808080u };
#pragma unroll
        for (int i = 0; i < 8; i++) {
            x[i] = code(words[i / 4], i % 4);
        }
        return half_bits(scale_bits(row, col));
    }
    __device__ __forceinline__ float2 load2(uint32_t row, uint32_t col) const
    {
        const uint32_t bytes = *(const uint16_t *)(block + row * dim + col) ^ 0x8080u;
        const float d = half_bits(scale_bits(row, col));
        return { code(bytes, 0) * d, code(bytes, 1) * d };
    }
    // Eight elements of a row, rounded to half. A half whose high byte is 0x64, the exponent of
    // 2^10, and whose low byte is a code + 128 has the value 1024 + low byte.
    __device__ __forceinline__ uint4 load8_halves(uint32_t row, uint32_t col) const
    {
        const uint2 v = *(const uint2 *)(block + row * dim + col);
        const __half2 d = __half2half2(__ushort_as_half(scale_bits(row, col)));
        const __half2 bias = __half2half2(__ushort_as_half(0x6480)); // 1024 + 128
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t bytes = (i < 2 ? v.x : v.y) ^ 0x80808080u;
            const uint32_t high = __byte_perm(bytes, 0x64646464u, i % 2 ? 0x4342 : 0x4140);
            const __half2 h = __halves2half2(__ushort_as_half((uint16_t)high),
                                             __ushort_as_half((uint16_t)(high >> 16)));
            words[i] = half2_bits(__hmul2(__hsub2(h, bias), d));
        }
        return make_uint4(words[0], words[1], words[2], words[3]);
    }
};
