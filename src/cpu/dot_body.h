/* The arithmetic of the CPU backend over a 16-lane vocabulary that the including file has defined:
 *   v16  16 floats: v_load v_store (_n: the first n <= 16 lanes, others zero) v_load_f16
 *        v_store_f16 v_store_halves v_from_u8/i8 v_set1 v_spread2/4 (each float to 8/4 lanes) v_add
 *        v_sub v_mul v_div v_fma v_max (a > b ? a : b) v_zero_below (x < limit ? 0 : y) v_shl23 (of
 *        the bits) v_fold (sum by the tree l+8, l+4, l+2, l+1) v_fold4 (of four vectors) v_top
 *        (the largest lane, any if one is NaN)
 *   c64  64 unsigned codes: c_load c_dot (lane l: exact sum of 4 products, as float; wide: codes
 *        may exceed 127)
 *   32 codes from 16 bytes of nibbles, low ones first: c_nibbles, c_nibbles_bits (plus a fifth
 *        bit), c_lookup (in a table)
 *   i32x16  16 exact sums: i_zero i_store i_mac (lane l: plus 4 products of codes <= 127)
 * and ROWS, TILE: how many activation rows, and v16 sums, fit in its registers at a time, and
 * QUERIES: of attention, 1 or 4 at a time (results do not depend on these); CHAINS: how many i32x16, so that additions do not wait for each other.
 * Weights of every quantised type become one canonical row, w = s * u + m, which one dot product
 * serves. */

#define INLINE static inline __attribute__((always_inline))

INLINE v16 load_part(const float *p, size_t n) { return n >= 16 ? v_load(p) : v_load_n(p, n); }

INLINE void store_part(float *p, size_t n, v16 x)
{
    if (n >= 16) {
        v_store(p, x);
    } else {
        v_store_n(p, n, x);
    }
}

/* e^x for x <= 0, relative error <= 1e-7 (8.6e-8 over all floats); 0 below -87, where results would
 * become subnormal; NaN stays NaN. x = n ln 2 + r; e^r is a minimax polynomial on |r| <= ln(2)/2
 * (error 3.1e-9); 2^n is put together from bits. */
INLINE v16 v_exp(v16 x)
{
    /* Adding 1.5 * 2^23 rounds to an integer; the 127 is the exponent bias. */
    const v16 magic = v_set1(12582912.0f + 127.0f);
    v16 t = v_fma(x, v_set1(0x1.715476p+0f), magic);
    v16 n = v_sub(t, magic);
    v16 r = v_fma(n, v_set1(-0x1.62e4p-1f), x);
    r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);
    v16 p = v_set1(0x1.6a2352p-10f);
    p = v_fma(p, r, v_set1(0x1.123a6cp-7f));
    p = v_fma(p, r, v_set1(0x1.5558f4p-5f));
    p = v_fma(p, r, v_set1(0x1.55549p-3f));
    p = v_fma(p, r, v_set1(0x1.fffffcp-2f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
    return v_zero_below(x, -87.0f, v_mul(p, v_shl23(t)));
}

static void op_rmsnorm(const float *x, const float *w, size_t n, float eps, float *out)
{
    v16 acc = v_set1(0.0f);
    for (size_t i = 0; i < n; i += 16) {
        v16 v = load_part(x + i, n - i);
        acc = v_fma(v, v, acc);
    }
    v16 scale = v_set1(1.0f / sqrtf(v_fold(acc) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        v16 v = v_mul(load_part(x + i, n - i), scale);
        store_part(out + i, n - i, v_mul(v, load_part(w + i, n - i)));
    }
}

/* silu(x) = x * num / (1 + e^-|x|) with num = e^x below 0, else 1: no exponential can overflow. */
static void op_swiglu(const float *gate, const float *up, size_t n, float *h)
{
    const v16 zero = v_set1(0.0f), one = v_set1(1.0f);
    for (size_t i = 0; i < n; i += 16) {
        v16 x = load_part(gate + i, n - i);
        v16 e = v_exp(v_sub(zero, v_max(x, v_sub(zero, x))));
        v16 num = v_max(e, v_zero_below(x, 0.0f, one));
        v16 silu = v_mul(x, v_div(num, v_add(one, e)));
        store_part(h + i, n - i, v_mul(silu, load_part(up + i, n - i)));
    }
}

static void op_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        store_part(x + i, n - i, v_add(load_part(x + i, n - i), load_part(y + i, n - i)));
    }
}

static void op_to_f16(const float *x, size_t n, f16_bits *out)
{
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        v_store_f16_n(out + i, part, load_part(x + i, part));
    }
}

/* Below this a block counts as zero: 127 / amax must not overflow, nor amax / 127 lose bits as a
 * subnormal. */
#define SMALLEST_AMAX 1e-35f

/* One block of 32. A block with NaN or Inf gets d = NaN, so that whatever is computed from it is
 * NaN as well. */
INLINE void quantize_block(const float *x, int8_t *q, float *d, float *sum16, float *sum32)
{
    /* The order of absolute values is the order of their bits, and puts Inf and NaN on top. */
    uint32_t top = 0;
    for (int j = 0; j < 32; j++) {
        uint32_t bits;
        memcpy(&bits, x + j, sizeof bits);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    float amax;
    memcpy(&amax, &top, sizeof amax);
    if (!(amax >= SMALLEST_AMAX && amax <= 3.402823466e38f)) {
        memset(q, 0, 32);
        *d = *sum32 = sum16[0] = sum16[1] = amax < SMALLEST_AMAX ? 0.0f : NAN;
        return;
    }
    float inverse = 127.0f / amax;
    *d = amax / 127.0f;
    int32_t code[32];
    for (int j = 0; j < 32; j++) {
        /* Adding 1.5 * 2^23 rounds half to even; the integer then stands in the low bits. */
        float t = x[j] * inverse + 12582912.0f;
        int32_t bits;
        memcpy(&bits, &t, sizeof bits);
        code[j] = bits - 0x4b400000;
    }
    int sum[2] = { 0, 0 };
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)code[j];
        q[j + 16] = (int8_t)code[j + 16];
        sum[0] += code[j];
        sum[1] += code[j + 16];
    }
    sum16[0] = *d * (float)sum[0];
    sum16[1] = *d * (float)sum[1];
    *sum32 = *d * (float)(sum[0] + sum[1]);
}

static void op_quantize(const float *x, struct acts *a, size_t row)
{
    float *copy = a->x + row * a->stride;
    int8_t *q = a->q + row * a->stride;
    float *d = a->d + row * (a->stride / 32);
    float *sum16 = a->sum16 + row * (a->stride / 16);
    float *sum32 = a->sum32 + row * (a->stride / 32);
    memcpy(copy, x, a->n_cols * sizeof *x);
    memset(copy + a->n_cols, 0, (a->stride - a->n_cols) * sizeof *x);
    for (size_t b = 0; b < a->stride / 32; b++) {
        quantize_block(copy + 32 * b, q + 32 * b, d + b, sum16 + 2 * b, sum32 + b);
    }
}

#include "cpu/dot_unpack.h"

/* How the canonical row of a type is multiplied. */
enum dot_kind { DOT_FLOAT, DOT_SUB16, DOT_SUB32, DOT_WIDE };

static const struct unpacker {
    uint32_t id;
    enum dot_kind kind;
    void (*unpack)(const void *src, size_t n_blocks, const struct canon *w);
} unpackers[] = {
    { QUANT_F32, DOT_FLOAT, unpack_f32 },      { QUANT_F16, DOT_FLOAT, unpack_f16 },
    { QUANT_BF16, DOT_FLOAT, unpack_bf16 },    { QUANT_Q4_0, DOT_SUB32, unpack_q4_0 },
    { QUANT_Q4_1, DOT_SUB32, unpack_q4_1 },    { QUANT_Q5_0, DOT_SUB32, unpack_q5_0 },
    { QUANT_Q5_1, DOT_SUB32, unpack_q5_1 },    { QUANT_Q8_0, DOT_WIDE, unpack_q8_0 },
    { QUANT_Q2_K, DOT_SUB16, unpack_q2_k },    { QUANT_Q3_K, DOT_SUB16, unpack_q3_k },
    { QUANT_Q4_K, DOT_SUB32, unpack_q4_k },    { QUANT_Q5_K, DOT_SUB32, unpack_q5_k },
    { QUANT_Q6_K, DOT_SUB16, unpack_q6_k },    { QUANT_IQ4_NL, DOT_WIDE, unpack_iq4_nl },
    { QUANT_IQ4_XS, DOT_WIDE, unpack_iq4_xs },
};

/* out[r * ld] = fold(acc[r]) + fold(off[r]) */
INLINE void fold_out(const v16 acc[4], const v16 off[4], size_t n, float *out, size_t ld)
{
    if (n != 4) {
        for (size_t r = 0; r < n; r++) {
            out[r * ld] = v_fold(acc[r]) + v_fold(off[r]);
        }
        return;
    }
    float a[4], o[4];
    v_fold4(acc[0], acc[1], acc[2], acc[3], a);
    v_fold4(off[0], off[1], off[2], off[3], o);
    for (size_t r = 0; r < n; r++) {
        out[r * ld] = a[r] + o[r];
    }
}

/* out[r * ld] = canonical row . activation row `row` + r, for r < n. kind and n are constants. */
INLINE void dot_quant(const struct canon *w, const struct acts *a, size_t row, enum dot_kind kind,
                      size_t n, float *out, size_t ld)
{
    const size_t blocks = a->stride / 32;
    const int8_t *q = a->q + row * a->stride;
    const float *d = a->d + row * blocks;
    v16 acc[4], off[4];
    for (size_t r = 0; r < n; r++) {
        acc[r] = off[r] = v_set1(0.0f);
    }
    for (size_t i = 0; i < a->n_cols; i += 64) {
        c64 u = c_load(w->u + i);
        v16 s = kind == DOT_SUB16 ? v_spread4(w->s + i / 16) : v_spread2(w->s + i / 32);
        for (size_t r = 0; r < n; r++) {
            v16 scale = v_mul(s, v_spread2(d + r * blocks + i / 32));
            acc[r] = v_fma(c_dot(u, q + r * a->stride + i, kind == DOT_WIDE), scale, acc[r]);
        }
    }
    const size_t sub = kind == DOT_SUB16 ? 16 : 32, ld_sum = a->stride / sub;
    const float *sum = (kind == DOT_SUB16 ? a->sum16 : a->sum32) + row * ld_sum;
    for (size_t j = 0; j * sub < a->n_cols; j += 16) {
        v16 m = v_load(w->m + j);
        for (size_t r = 0; r < n; r++) {
            off[r] = v_fma(m, v_load(sum + r * ld_sum + j), off[r]);
        }
    }
    fold_out(acc, off, n, out, ld);
}

/* The same for a decoded row: four accumulators, so that additions do not wait for each other. */
INLINE void dot_float(const struct canon *w, const struct acts *a, size_t row, size_t n, float *out,
                      size_t ld)
{
    const float *x = a->x + row * a->stride;
    v16 acc[4][4];
    for (size_t r = 0; r < n; r++) {
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = v_set1(0.0f);
    }
    for (size_t i = 0; i < a->n_cols; i += 64) {
        for (size_t k = 0; k < 4; k++) {
            v16 v = v_load(w->x + i + 16 * k);
            for (size_t r = 0; r < n; r++) {
                acc[r][k] = v_fma(v, v_load(x + r * a->stride + i + 16 * k), acc[r][k]);
            }
        }
    }
    for (size_t r = 0; r < n; r++) {
        out[r * ld] = v_fold(v_add(v_add(acc[r][0], acc[r][1]), v_add(acc[r][2], acc[r][3])));
    }
}

INLINE void dot_rows(const struct canon *w, const struct acts *a, size_t row, enum dot_kind kind,
                     size_t n, float *out, size_t ld)
{
    if (kind == DOT_FLOAT) {
        dot_float(w, a, row, n, out, ld);
    } else {
        dot_quant(w, a, row, kind, n, out, ld);
    }
}

#define DOT_KIND(name, kind)                                                                       \
    static void name(const struct canon *w, const struct acts *a, size_t row, size_t n,            \
                     float *out, size_t ld)                                                        \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= n; r += ROWS) {                                                         \
            dot_rows(w, a, row + r, kind, ROWS, out + r * ld, ld);                                 \
        }                                                                                          \
        for (; r < n; r++) {                                                                       \
            dot_rows(w, a, row + r, kind, 1, out + r * ld, ld);                                    \
        }                                                                                          \
    }
DOT_KIND(dot_of_float, DOT_FLOAT)
DOT_KIND(dot_of_sub16, DOT_SUB16)
DOT_KIND(dot_of_sub32, DOT_SUB32)
DOT_KIND(dot_of_wide, DOT_WIDE)

/* Lays the canonical row out in scratch: 1.625 bytes per column, of the 4 that a float row
 * needs. */
static struct canon canon_in(void *scratch, size_t stride)
{
    struct canon w = { .x = scratch };
    w.s = (float *)scratch;
    w.m = w.s + stride / 16;
    w.half[0] = (f16_bits *)(w.m + stride / 16);
    w.half[1] = w.half[0] + stride / 32;
    w.u = (uint8_t *)(w.half[1] + stride / 32);
    return w;
}

static void zero_padding(const struct canon *w, enum dot_kind kind, const struct acts *a)
{
    const size_t pad = a->stride - a->n_cols, sub = kind == DOT_SUB16 ? 16 : 32;
    if (kind == DOT_FLOAT) {
        memset(w->x + a->n_cols, 0, pad * sizeof *w->x);
        return;
    }
    memset(w->u + a->n_cols, 0, pad);
    memset(w->s + a->n_cols / sub, 0, pad / sub * sizeof *w->s);
    memset(w->m + a->n_cols / sub, 0, pad / sub * sizeof *w->m);
    for (int k = 0; k < 2; k++) {
        memset(w->half[k] + a->n_cols / 32, 0, pad / 32 * sizeof *w->half[k]);
    }
}

static void op_matmul(const struct quant_type *type, const void *weights, size_t n_w,
                      const struct acts *a, size_t first, size_t n_r, float *out, size_t ld,
                      void *scratch)
{
    static void (*const dots[])(const struct canon *, const struct acts *, size_t, size_t, float *,
                                size_t) = { dot_of_float, dot_of_sub16, dot_of_sub32, dot_of_wide };
    const struct unpacker *p = unpackers;
    while (p->id != type->id) {
        p++;
    }
    const size_t n_blocks = a->n_cols / type->block, row_bytes = n_blocks * type->bytes;
    struct canon w = canon_in(scratch, a->stride);
    zero_padding(&w, p->kind, a);
    for (size_t i = 0; i < n_w; i++) {
        p->unpack((const char *)weights + i * row_bytes, n_blocks, &w);
        dots[p->kind](&w, a, first, n_r, out + i, ld);
    }
}

#include "cpu/dot_attend.h"

/* Words are added in chains of their own, in vectors that the compiler makes of them. */
static uint64_t op_read(const uint64_t *p, size_t n)
{
    uint64_t sum[32] = { 0 }, all = 0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t k = 0; k < 32; k++) {
            sum[k] += p[i + k];
        }
    }
    for (; i < n; i++) {
        sum[0] += p[i];
    }
    for (size_t k = 0; k < 32; k++) {
        all += sum[k];
    }
    return all;
}

/* The codes come from memory, or the compiler would multiply them once for all rounds. */
static uint64_t op_mac_burst(const uint8_t *ones, size_t n)
{
    const int8_t *q = (const int8_t *)ones;
    uint64_t all = 0;
    i32x16 sum[CHAINS];
    for (size_t k = 0; k < CHAINS; k++) {
        sum[k] = i_zero();
    }
    for (size_t i = 0; i < n; i++) {
        c64 u = c_load(ones + i % (BURST_BYTES / 64) * 64);
        for (size_t k = 0; k < CHAINS; k++) {
            sum[k] = i_mac(sum[k], u, q + 64 * k);
        }
    }
    for (size_t k = 0; k < CHAINS; k++) {
        int32_t lanes[16];
        i_store(lanes, sum[k]);
        for (int l = 0; l < 16; l++) {
            all += (uint64_t)lanes[l];
        }
    }
    return all;
}

static const struct cpu_ops ops = {
    .name = OPS_NAME,
    .quantize = op_quantize,
    .matmul = op_matmul,
    .rmsnorm = op_rmsnorm,
    .swiglu = op_swiglu,
    .add = op_add,
    .to_f16 = op_to_f16,
    .attend = op_attend,
    .read = op_read,
    .mac_burst = op_mac_burst,
};
