// Turns weights in planes (kernels.h) back into numbers. For every quantised type a row is a
// sequence of pieces. A piece is 32 weights, in two groups of 16 consecutive columns; a group has
// one scale:
//
//   weight = scale * (code - ZERO) + add        code: a signed byte, four to a word
//
// Each type defines how piece i of a row is loaded. Products use the codes as integers.
// Dequantisation computes the line above; the result is bit-equal to quant.c for every type
// (tests/cuda/test_weights.c).
//
// The code bytes of a row are read in order, 16 (Q8_0: 32) for each piece, so a warp that takes 32
// consecutive pieces reads 512 contiguous bytes. Every instruction counts: decoding one row is
// bound by memory only below about 4 instructions per weight, unpacking included.
#pragma once
#include "device.cuh"

struct Piece {
    int code[2][4]; // [group][4 words of 4 codes], in the order of the columns
    float scale[2], add[2];
    // The first column of each group, a multiple of 16.
    int col[2];
};

template <uint32_t TYPE> struct Codes; // has ZERO, HAS_ADD, load(m, row, i)

// Returns the address of unit i in a plane, where a row is n units of BYTES bytes each. The part
// that depends on the row alone is computed outside the loop over pieces; an unsigned i makes the
// rest one instruction.
template <int BYTES>
__device__ __forceinline__ const uint8_t *unit(const struct dmatrix &m, int plane, size_t row,
                                               size_t n, unsigned i)
{
    return ptr<const uint8_t>(m.plane[plane]) + row * n * BYTES + (size_t)i * BYTES;
}

__device__ __forceinline__ void words(const uint4 &v, uint32_t w[4])
{
    w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
}
__device__ __forceinline__ float low_half(uint32_t v) { return half_bits((uint16_t)v); }
__device__ __forceinline__ float high_half(uint32_t v) { return half_bits((uint16_t)(v >> 16)); }

// --- blocks of 32 --------------------------------------------------------------------------------

// The low nibbles are the first group, the high nibbles the second.
__device__ __forceinline__ void load_nibbles(const uint8_t *at, Piece &p)
{
    uint32_t qs[4];
    words(load_weights16(at), qs);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        p.code[0][k] = (int)(qs[k] & 0x0f0f0f0fu);
        p.code[1][k] = (int)(qs[k] >> 4 & 0x0f0f0f0fu);
    }
}

__device__ __forceinline__ void cols32(unsigned i, Piece &p)
{
    p.col[0] = (int)(32 * i);
    p.col[1] = (int)(32 * i + 16);
}

// Bit j of `bits` is the fifth bit of code j. A product spreads four neighbouring bits over the
// bytes of a word: it adds up four copies of them, each 7 places above the one before, so that the
// k-th bit of copy k (k = 0..3) comes to bit 8 k + 4. The mask keeps only these bits.
__device__ __forceinline__ void add_fifth_bits(uint32_t bits, Piece &p)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t byte = bits >> 8 * k;
        int *code = &p.code[k / 2][k % 2 * 2];
        code[0] |= (int)((byte & 0x0f) * 0x02040810u & 0x10101010u);
        code[1] |= (int)((byte & 0xf0) * 0x00204081u & 0x10101010u);
    }
}

// The scale of a block that has one half float, d.
__device__ __forceinline__ void load_d(const uint8_t *at, Piece &p)
{
    p.scale[0] = p.scale[1] = half_bits(load_weights<uint16_t>(at));
    p.add[0] = p.add[1] = 0.0f;
}
// The scale and minimum of a block that has two half floats, d and m.
__device__ __forceinline__ void load_d_m(const uint8_t *at, Piece &p)
{
    const uint32_t d_m = load_weights<uint32_t>(at);
    p.scale[0] = p.scale[1] = low_half(d_m);
    p.add[0] = p.add[1] = high_half(d_m);
}

template <> struct Codes<QUANT_Q4_0> {
    enum { ZERO = 8, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, n, i), p);
        load_d(unit<2>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q4_1> {
    enum { ZERO = 0, HAS_ADD = 1 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, n, i), p);
        load_d_m(unit<4>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q5_0> {
    enum { ZERO = 16, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, n, i), p);
        add_fifth_bits(load_weights<uint32_t>(unit<4>(m, PLANE_HIGH, row, n, i)), p);
        load_d(unit<2>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q5_1> {
    enum { ZERO = 0, HAS_ADD = 1 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, n, i), p);
        add_fifth_bits(load_weights<uint32_t>(unit<4>(m, PLANE_HIGH, row, n, i)), p);
        load_d_m(unit<4>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q8_0> {
    enum { ZERO = 0, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        const uint8_t *at = unit<32>(m, PLANE_CODES, row, n, i);
        Piece p;
#pragma unroll
        for (int g = 0; g < 2; g++) {
            uint32_t qs[4];
            words(load_weights16(at + 16 * g), qs);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                p.code[g][k] = (int)qs[k];
            }
        }
        load_d(unit<2>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

// Turns nibbles into the values of quant_iq4_values. A byte_perm looks four of them up in one half
// of the table; another byte_perm chooses between the two halves by the fourth bit of each
// nibble.
__device__ __forceinline__ uint32_t iq4_look_up(uint32_t index, uint32_t half)
{
    return __byte_perm(__byte_perm(0xbfad9881u, 0xf6eaddcfu, index),
                       __byte_perm(0x26190d01u, 0x71594535u, index), half);
}
__device__ __forceinline__ void load_iq4(const uint8_t *at, Piece &p)
{
    uint32_t qs[4];
    words(load_weights16(at), qs);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t index = qs[k] & 0x77777777u;
        const uint32_t half = (qs[k] >> 1 & 0x44444444u) | 0x32103210u;
        const uint32_t a = iq4_look_up(index, half), b = iq4_look_up(index >> 16, half >> 16);
        p.code[0][k] = (int)__byte_perm(a, b, 0x6420);
        p.code[1][k] = (int)__byte_perm(a, b, 0x7531);
    }
}

template <> struct Codes<QUANT_IQ4_NL> {
    enum { ZERO = 0, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 32;
        Piece p;
        load_iq4(unit<16>(m, PLANE_CODES, row, n, i), p);
        load_d(unit<2>(m, PLANE_SCALES, row, n, i), p);
        cols32(i, p);
        return p;
    }
};

// --- blocks of 256: eight pieces -----------------------------------------------------------------

// The product of a half float and a small integer is exact.
__device__ __forceinline__ float times(float d, int q) { return __fmul_rn(d, (float)q); }

// Q2_K and Q3_K: two neighbouring pieces share 16 bytes, and each byte has two-bit codes of four
// groups. Piece i takes the codes of groups g and g + 2, where g = two_bit_group(i).
__device__ __forceinline__ unsigned two_bit_group(unsigned i)
{
    return i / 4 * 8 + i / 2 % 2 + i % 2 * 4; // number of the group of 16 columns in the row
}
__device__ __forceinline__ void load_two_bits(const struct dmatrix &m, size_t row, unsigned i,
                                              Piece &p)
{
    uint32_t qs[4];
    words(load_weights16(unit<16>(m, PLANE_CODES, row, m.n_cols / 64, i / 2)), qs);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t v = qs[k] >> i % 2 * 4;
        p.code[0][k] = (int)(v & 0x03030303u);
        p.code[1][k] = (int)(v >> 2 & 0x03030303u);
    }
    p.col[0] = (int)(16 * two_bit_group(i));
    p.col[1] = p.col[0] + 32;
}

template <> struct Codes<QUANT_Q2_K> {
    enum { ZERO = 0, HAS_ADD = 1 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 256;
        Piece p;
        load_two_bits(m, row, i, p);
        const uint32_t d = load_weights<uint32_t>(unit<4>(m, PLANE_SUPER, row, n, i / 8));
        const uint8_t *scales = unit<1>(m, PLANE_SCALES, row, 16 * n, two_bit_group(i));
#pragma unroll
        for (int g = 0; g < 2; g++) {
            const unsigned s = load_weights<uint8_t>(scales + 2 * g);
            p.scale[g] = times(low_half(d), s & 15);
            p.add[g] = times(-high_half(d), s >> 4);
        }
        return p;
    }
};

template <> struct Codes<QUANT_Q3_K> {
    enum { ZERO = 4, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 256;
        const unsigned group = two_bit_group(i) % 16; // the piece has group and group + 2
        Piece p;
        load_two_bits(m, row, i, p);
        uint32_t high[4];
        words(load_weights16(unit<16>(m, PLANE_HIGH, row, 2 * n, i / 8 * 2 + i / 2 % 2)), high);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint32_t v = high[k] >> group / 2;
            p.code[0][k] |= (int)(v << 2 & 0x04040404u);
            p.code[1][k] |= (int)(v << 1 & 0x04040404u);
        }
        const float d = half_bits(load_weights<uint16_t>(unit<2>(m, PLANE_SUPER, row, n, i / 8)));
        const uint8_t *scales = unit<12>(m, PLANE_SCALES, row, n, i / 8);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const unsigned g = group + 2 * k;
            const unsigned low = load_weights<uint8_t>(scales + g % 8) >> g / 8 * 4 & 15;
            const unsigned top = load_weights<uint8_t>(scales + 8 + g % 4) >> g / 4 * 2 & 3;
            p.scale[k] = times(d, (int)(low | top << 4) - 32);
            p.add[k] = 0.0f;
        }
        return p;
    }
};

// Q4_K and Q5_K: computes the scales and minima of piece i. A block has eight of each. The low
// nibbles of the piece use number 2 j, its high nibbles use number 2 j + 1.
__device__ __forceinline__ void load_scales_k(const struct dmatrix &m, size_t row, unsigned i,
                                              Piece &p)
{
    const unsigned j = i / 2 % 4;
    const uint4 s = load_weights<uint4>(unit<16>(m, PLANE_SCALES, row, m.n_cols / 256, i / 8));
    const uint32_t pick = j % 2 ? 0x7632 : 0x5410; // the high or the low halves of two words
    // The bytes of q are two scales and two minima. The first four scales and minima of a block
    // are each in one byte, the last four in parts of two bytes.
    const uint32_t a = __byte_perm(s.y, s.z, pick), b = __byte_perm(s.w, s.w >> 4, pick);
    const uint32_t q = j < 2 ? a & 0x3f3f3f3fu : (b & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
    const float d = low_half(s.x), minus_dmin = -high_half(s.x);
    p.scale[0] = times(d, q & 255);
    p.scale[1] = times(d, q >> 8 & 255);
    p.add[0] = times(minus_dmin, q >> 16 & 255);
    p.add[1] = times(minus_dmin, q >> 24);
}

// The columns of a piece's groups, in rows where the low nibbles are 32 columns and the high
// nibbles the next 32.
__device__ __forceinline__ void cols_k(unsigned i, Piece &p)
{
    p.col[0] = (int)(i / 2 * 64 + i % 2 * 16);
    p.col[1] = p.col[0] + 32;
}

template <> struct Codes<QUANT_Q4_K> {
    enum { ZERO = 0, HAS_ADD = 1 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, m.n_cols / 32, i), p);
        load_scales_k(m, row, i, p);
        cols_k(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q5_K> {
    enum { ZERO = 0, HAS_ADD = 1 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const unsigned j2 = i / 2 % 4 * 2;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, m.n_cols / 32, i), p);
        uint32_t high[4];
        const size_t n = m.n_cols / 128;
        words(load_weights16(unit<16>(m, PLANE_HIGH, row, n, i / 8 * 2 + i % 2)), high);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            // bits j2 and j2 + 1 of each byte are rotated to bit 4
            p.code[0][k] |= (int)(__funnelshift_l(high[k], high[k], 4 - j2) & 0x10101010u);
            p.code[1][k] |= (int)(__funnelshift_l(high[k], high[k], 3 - j2) & 0x10101010u);
        }
        load_scales_k(m, row, i, p);
        cols_k(i, p);
        return p;
    }
};

template <> struct Codes<QUANT_Q6_K> {
    enum { ZERO = 32, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const size_t n = m.n_cols / 256;
        // The number of the group of 16 columns in the row; the piece has group and group + 4.
        const unsigned group = i / 4 * 8 + i % 4;
        Piece p;
        load_nibbles(unit<16>(m, PLANE_CODES, row, 8 * n, i), p);
        uint32_t high[4];
        words(load_weights16(unit<16>(m, PLANE_HIGH, row, 4 * n, i / 4 * 2 + i % 2)), high);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint32_t v = high[k] >> i / 2 % 2 * 2;
            p.code[0][k] |= (int)(v << 4 & 0x30303030u);
            p.code[1][k] |= (int)(v & 0x30303030u);
        }
        const float d = half_bits(load_weights<uint16_t>(unit<2>(m, PLANE_SUPER, row, n, i / 8)));
        const uint8_t *scales = unit<1>(m, PLANE_SCALES, row, 16 * n, group);
        p.scale[0] = times(d, load_weights<int8_t>(scales));
        p.scale[1] = times(d, load_weights<int8_t>(scales + 4));
        p.add[0] = p.add[1] = 0.0f;
        p.col[0] = (int)(16 * group);
        p.col[1] = p.col[0] + 64;
        return p;
    }
};

template <> struct Codes<QUANT_IQ4_XS> {
    enum { ZERO = 0, HAS_ADD = 0 };
    static __device__ __forceinline__ Piece load(const struct dmatrix &m, size_t row, unsigned i)
    {
        const unsigned g = i % 8;
        Piece p;
        load_iq4(unit<16>(m, PLANE_CODES, row, m.n_cols / 32, i), p);
        const uint2 s = load_weights<uint2>(unit<8>(m, PLANE_SCALES, row, m.n_cols / 256, i / 8));
        const unsigned low = s.y >> 4 * g & 15, high = s.x >> (16 + 2 * g) & 3;
        p.scale[0] = p.scale[1] = times(low_half(s.x), (int)(low | high << 4) - 32);
        p.add[0] = p.add[1] = 0.0f;
        cols32(i, p);
        return p;
    }
};

// --- float types ---------------------------------------------------------------------------------

// Loads eight consecutive weights of a float type, from column 8 i on, and zeros past the last
// column.
template <uint32_t TYPE> struct Floats; // load8(m, row, i, w)

template <> struct Floats<QUANT_F32> {
    static __device__ __forceinline__ void load8(const struct dmatrix &m, size_t row, unsigned i,
                                                 float w[8])
    {
        const size_t n = ((size_t)m.n_cols + 3) / 4;
        uint32_t v[8] = {};
        words(load_weights16(unit<16>(m, PLANE_CODES, row, n, 2 * i)), v);
        if (2 * i + 1 < n) { // a row may end after four weights
            words(load_weights16(unit<16>(m, PLANE_CODES, row, n, 2 * i + 1)), v + 4);
        }
#pragma unroll
        for (int k = 0; k < 8; k++) {
            w[k] = __uint_as_float(v[k]);
        }
    }
};

template <> struct Floats<QUANT_F16> {
    static __device__ __forceinline__ void load8(const struct dmatrix &m, size_t row, unsigned i,
                                                 float w[8])
    {
        uint32_t v[4];
        const size_t n = ((size_t)m.n_cols + 7) / 8;
        words(load_weights16(unit<16>(m, PLANE_CODES, row, n, i)), v);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            w[2 * k] = low_half(v[k]);
            w[2 * k + 1] = high_half(v[k]);
        }
    }
};

template <> struct Floats<QUANT_BF16> {
    static __device__ __forceinline__ void load8(const struct dmatrix &m, size_t row, unsigned i,
                                                 float w[8])
    {
        uint32_t v[4];
        const size_t n = ((size_t)m.n_cols + 7) / 8;
        words(load_weights16(unit<16>(m, PLANE_CODES, row, n, i)), v);
#pragma unroll
        for (int k = 0; k < 4; k++) { // the upper half of a float
            w[2 * k] = __uint_as_float(v[k] << 16);
            w[2 * k + 1] = __uint_as_float(v[k] & 0xffff0000u);
        }
    }
};

// --- by type at run time -------------------------------------------------------------------------

template <uint32_t TYPE> struct Type {
    enum { ID = TYPE };
};

// Calls quantised(Type<T>()) or floats(Type<T>()) for the type of a matrix, which must be one that
// plane_layout() knows. All threads of a warp pass the same type.
template <class Q, class F>
__device__ __forceinline__ void by_type(uint32_t type, const Q &quantised, const F &floats)
{
    switch (type) {
    case QUANT_F32: floats(Type<QUANT_F32>()); break;
    case QUANT_F16: floats(Type<QUANT_F16>()); break;
    case QUANT_BF16: floats(Type<QUANT_BF16>()); break;
    case QUANT_Q4_0: quantised(Type<QUANT_Q4_0>()); break;
    case QUANT_Q4_1: quantised(Type<QUANT_Q4_1>()); break;
    case QUANT_Q5_0: quantised(Type<QUANT_Q5_0>()); break;
    case QUANT_Q5_1: quantised(Type<QUANT_Q5_1>()); break;
    case QUANT_Q8_0: quantised(Type<QUANT_Q8_0>()); break;
    case QUANT_Q2_K: quantised(Type<QUANT_Q2_K>()); break;
    case QUANT_Q3_K: quantised(Type<QUANT_Q3_K>()); break;
    case QUANT_Q4_K: quantised(Type<QUANT_Q4_K>()); break;
    case QUANT_Q5_K: quantised(Type<QUANT_Q5_K>()); break;
    case QUANT_Q6_K: quantised(Type<QUANT_Q6_K>()); break;
    case QUANT_IQ4_NL: quantised(Type<QUANT_IQ4_NL>()); break;
    case QUANT_IQ4_XS: quantised(Type<QUANT_IQ4_XS>()); break;
    }
}

// --- whole rows ----------------------------------------------------------------------------------

// w gets the first (half = 0) or last (half = 1) eight weights of group g. scale * code is exact (a
// half float times at most 13 bits), so it does not matter that quant.c rounds it before it adds.
template <uint32_t TYPE>
__device__ __forceinline__ void piece_values(const Piece &p, int g, int half, float w[8])
{
    const float bias = (float)(8388608 + 128 + Codes<TYPE>::ZERO);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const int signs = half ? p.code[g][2 + k / 4] : p.code[g][k / 4];
        const uint32_t bytes = (uint32_t)signs ^ 0x80808080u; // adds 128
        const float code = __fadd_rn(byte_float(bytes, k % 4), -bias);
        w[k] = Codes<TYPE>::HAS_ADD ? __fmaf_rn(p.scale[g], code, p.add[g])
                                    // Without `add` nothing is added: + 0 would turn -0 into 0.
                                    : __fmul_rn(p.scale[g], code);
    }
}

// Calls store(col, w) for every eight columns of a row: w[8] are the weights from column `col` on,
// and 0 past the last column. The threads of a block share the row. Two neighbouring threads take
// one piece and store halves of the same group, so that they write whole sectors.
template <class S>
__device__ __forceinline__ void decode_row(const struct dmatrix &m, size_t row, const S &store)
{
    by_type(
        m.type,
        [&](auto type) {
            constexpr uint32_t T = decltype(type)::ID;
            const int half = threadIdx.x % 2;
            for (int i = threadIdx.x / 2; i < (int)(m.n_cols / 32); i += blockDim.x / 2) {
                const Piece p = Codes<T>::load(m, row, i);
#pragma unroll
                for (int g = 0; g < 2; g++) {
                    float w[8];
                    piece_values<T>(p, g, half, w);
                    store(p.col[g] + 8 * half, w);
                }
            }
        },
        [&](auto type) {
            constexpr uint32_t T = decltype(type)::ID;
            for (int i = threadIdx.x; 8 * i < (int)m.n_cols; i += blockDim.x) {
                float w[8];
                Floats<T>::load8(m, row, i, w);
                store(8 * i, w);
            }
        });
}
