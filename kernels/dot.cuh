// The dot products of DOT_UNITS rows of weights with up to ROWS rows of activations, computed by
// one warp:
//
//   quantised weights   the sum over groups of 16 columns of
//                       (scale * sum((code - ZERO) * q) + add * sum(q)) * d
//   float weights       the sum over columns of w * x
//
// Lane l takes pieces l, l + 32 * split, ... of its part of the columns. The loads of all rows of
// weights are in flight at once, and what is loaded of the activations serves all of them. Each
// lane adds its pieces in ascending order, in named operations, so its bits depend neither on ROWS
// nor on the other rows.
#pragma once
#include "dequant.cuh"

enum { DOT_UNITS = 4 };

// Rows of activations in the forms that the weights want, in shared or global memory.
struct DotInput {
    const int8_t *q;               // [n, stride]
    const struct act_block *block; // [n, stride / 32]
    const float *x;                // [n, stride]
    int stride, n;
};

// DOT_UNITS rows of a matrix, and part `part` of the `split` parts that their columns are cut into.
// Rows past the last one are replaced by the last one. The distances of the rows from the first row
// fit into 32 bits, so that each address costs one instruction.
struct DotTask {
    struct dmatrix m; // begins at the first of the rows
    int part, split;
    __device__ __forceinline__ DotTask(const struct dmatrix &whole, const uint32_t *row_bytes,
                                       uint32_t first, int part, int split)
        : m(whole), part(part), split(split)
    {
        first = min(first, m.n_rows - 1);
#pragma unroll
        for (int p = 0; p < WEIGHT_PLANES; p++) {
            m.plane[p].at = ptr<uint8_t>(m.plane[p]) + (size_t)first * row_bytes[p];
        }
        m.n_rows -= first;
    }
    __device__ __forceinline__ uint32_t row(uint32_t u) const { return min(u, m.n_rows - 1); }
};

// True for types where the two groups of a piece are neighbours with one scale: their sums are
// added as integers, and need only one product with the scale.
template <uint32_t TYPE>
constexpr bool JOINS_GROUPS =
    TYPE == QUANT_Q4_0 || TYPE == QUANT_Q4_1 || TYPE == QUANT_Q5_0 || TYPE == QUANT_Q5_1 ||
    TYPE == QUANT_Q8_0 || TYPE == QUANT_IQ4_NL || TYPE == QUANT_IQ4_XS;

__device__ __forceinline__ int dot16(const int code[4], const int4 &q, int sum)
{
    sum = __dp4a(code[0], q.x, sum);
    sum = __dp4a(code[1], q.y, sum);
    sum = __dp4a(code[2], q.z, sum);
    return __dp4a(code[3], q.w, sum);
}

// sum + (scale * dot + add * q_sum) * d
template <uint32_t TYPE>
__device__ __forceinline__ float dot_add(float scale, int dot, float add, int q_sum, float d,
                                         float sum)
{
    float v = __fmul_rn(scale, (float)dot);
    if (Codes<TYPE>::HAS_ADD) {
        v = __fmaf_rn(add, (float)q_sum, v);
    }
    return __fmaf_rn(v, d, sum);
}

// Sixteen activations of one row.
struct DotGroup {
    int4 q;
    float d;
    int sum; // sum of q
    __device__ __forceinline__ DotGroup(const DotInput &in, int r, int col)
    {
        const unsigned at = (unsigned)(r * in.stride + col);
        q = *(const int4 *)(in.q + at);
        const uint2 block = load_act_block(in.block + at / 32);
        d = __uint_as_float(block.x);
        sum = (int16_t)(block.y >> (col & 16));
    }
};

// Adds the products of one piece of each of N rows of weights with row r of the activations.
template <uint32_t TYPE, int N>
__device__ __forceinline__ void dot_pieces(const Piece (&p)[N], const DotInput &in, int r,
                                           float *sum)
{
    constexpr int ZERO = Codes<TYPE>::ZERO;
    if constexpr (JOINS_GROUPS<TYPE>) {
        const DotGroup a(in, r, p[0].col[0]), b(in, r, p[0].col[1]);
#pragma unroll
        for (int u = 0; u < N; u++) {
            const int dot = dot16(p[u].code[0], a.q, -ZERO * (a.sum + b.sum));
            sum[u] = dot_add<TYPE>(p[u].scale[0], dot16(p[u].code[1], b.q, dot), p[u].add[0],
                                   a.sum + b.sum, a.d, sum[u]);
        }
    } else {
#pragma unroll
        for (int g = 0; g < 2; g++) {
            const DotGroup a(in, r, p[0].col[g]);
#pragma unroll
            for (int u = 0; u < N; u++) {
                const int dot = dot16(p[u].code[g], a.q, -ZERO * a.sum);
                sum[u] = dot_add<TYPE>(p[u].scale[g], dot, p[u].add[g], a.sum, a.d, sum[u]);
            }
        }
    }
}

// Adds the products of units [FIRST, FIRST + N) of the task.
template <uint32_t TYPE, int ROWS, int FIRST, int N>
__device__ __forceinline__ void dot_units(const DotTask &task, const DotInput &in,
                                          float (&sum)[ROWS][DOT_UNITS])
{
    const int n_pieces = (int)(task.m.n_cols / 32);
#pragma unroll 1
    for (int i = task.part * WARP + threadIdx.x % WARP; i < n_pieces; i += WARP * task.split) {
        Piece p[N];
#pragma unroll
        for (int u = 0; u < N; u++) {
            p[u] = Codes<TYPE>::load(task.m, task.row(FIRST + u), i);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (ROWS == 1 || r < in.n) {
                dot_pieces<TYPE, N>(p, in, r, &sum[r][FIRST]);
            }
        }
    }
}

template <uint32_t TYPE, int ROWS>
__device__ __forceinline__ void dot_quantised(const DotTask &task, const DotInput &in,
                                              float (&sum)[ROWS][DOT_UNITS])
{
    if constexpr (ROWS == 8 && !JOINS_GROUPS<TYPE>) {
        // The sums of eight rows leave too few registers for four pieces with two scales each.
        dot_units<TYPE, ROWS, 0, DOT_UNITS / 2>(task, in, sum);
        dot_units<TYPE, ROWS, DOT_UNITS / 2, DOT_UNITS / 2>(task, in, sum);
    } else {
        dot_units<TYPE, ROWS, 0, DOT_UNITS>(task, in, sum);
    }
}

template <uint32_t TYPE, int ROWS>
__device__ __forceinline__ void dot_floats(const DotTask &task, const DotInput &in,
                                           float (&sum)[ROWS][DOT_UNITS])
{
    const int n_eights = (int)((task.m.n_cols + 7) / 8);
#pragma unroll 1
    for (int i = task.part * WARP + threadIdx.x % WARP; i < n_eights; i += WARP * task.split) {
        float w[DOT_UNITS][8];
#pragma unroll
        for (int u = 0; u < DOT_UNITS; u++) {
            Floats<TYPE>::load8(task.m, task.row(u), i, w[u]);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (ROWS == 1 || r < in.n) {
                const float4 *x = (const float4 *)(in.x + (unsigned)(r * in.stride + 8 * i));
                const float4 a = x[0], b = x[1];
                const float v[8] = { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w };
#pragma unroll
                for (int u = 0; u < DOT_UNITS; u++) {
#pragma unroll
                    for (int k = 0; k < 8; k++) {
                        sum[r][u] = __fmaf_rn(w[u][k], v[k], sum[r][u]);
                    }
                }
            }
        }
    }
}

// Sums N values over a warp, each by the same tree (lanes 16 apart, then 8, 4, 2, 1). The sum of
// value i is left in lanes [32 / N * i, 32 / N * (i + 1)). While a lane has several values, it
// hands half of them to its partner and gets the partner's share of the other half.
template <int N, int APART = WARP / 2>
__device__ __forceinline__ float dot_reduce(const float (&v)[N])
{
    if constexpr (APART == 0) {
        return v[0];
    } else if constexpr (N == 1) {
        const float sum[1] = { __fadd_rn(v[0], __shfl_xor_sync(ALL_LANES, v[0], APART)) };
        return dot_reduce<1, APART / 2>(sum);
    } else {
        const bool upper = threadIdx.x & APART;
        float sum[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            const float low = v[i], high = v[i + N / 2];
            const float given = __shfl_xor_sync(ALL_LANES, upper ? low : high, APART);
            sum[i] = __fadd_rn(upper ? high : low, given);
        }
        return dot_reduce<N / 2, APART / 2>(sum);
    }
}

// Leaves the product of unit u and row r, over the part of the columns, in the 32 / N lanes from 32
// / N * (r * DOT_UNITS + u) on, where N = ROWS * DOT_UNITS.
template <int ROWS> __device__ __forceinline__ float dot(const DotTask &task, const DotInput &in)
{
    float sum[ROWS][DOT_UNITS] = {};
    by_type(
        task.m.type, [&](auto t) { dot_quantised<decltype(t)::ID>(task, in, sum); },
        [&](auto t) { dot_floats<decltype(t)::ID>(task, in, sum); });
    return dot_reduce((float(&)[ROWS * DOT_UNITS]) sum);
}
