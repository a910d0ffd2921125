/* The arithmetic of the CPU backend over a 16-lane vocabulary that the including file has defined:
 *
 *   v16  16 floats: v_load v_store (_n: the first n <= 16 lanes, others zero) v_load_f16/bf16 (_n)
 *        v_load_bytes (of any alignment) v_store_f16_n v_from_u8/i8/i32 v_set1 v_add v_sub v_mul
 *        v_div v_fma v_max (a > b ? a : b) v_zero_below (x < limit ? 0 : y) v_shl23 (of the bits)
 *        v_top_abs (largest absolute value of two vectors; Inf and NaN above all) v_store_codes
 *        (rounded to even, as bytes; returns their sum) v_fold (sum by the tree l+8, l+4, l+2, l+1)
 *        v_top (the largest lane, any if one is NaN); f16_one (one float)
 *
 *   c64  64 unsigned codes: c_load c_store c_or c_field (the bits from `at` on, moved to `to`)
 *        c_lookup (codes < 16 in a table)
 *
 *   i32x16  16 exact sums: i_zero i_add i_store; over dot_tile.h: i_dots (of 16 weight rows with n
 *        rows of activations from column col on, over n_groups groups of 4 columns from group g0 of
 *        the block on; no code exceeds `top`) q_widen (what i_dots needs of activations but bytes)
 *
 * and WIDE: whether i_dots reads acts.q16; ROWS, TILE: how many activation rows, and v16 sums, fit
 * in its registers at a time, and QUERIES: of attention, 1, 4 or 6 at a time (results do not depend
 * on these).
 *
 * Weights of every quantised type become one form, w = s * u + m, which one dot product serves. */

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
INLINE struct act_scale quantize_block(v16 low, v16 high, int8_t *q)
{
    const float amax = v_top_abs(low, high);
    if (!(amax >= SMALLEST_AMAX && amax <= 3.402823466e38f)) {
        const float d = amax < SMALLEST_AMAX ? 0.0f : NAN;
        memset(q, 0, 32);
        return (struct act_scale){ d, d, { d, d } };
    }
    const v16 inverse = v_set1(127.0f / amax);
    const int first = v_store_codes(q, v_mul(low, inverse));
    const int second = v_store_codes(q + 16, v_mul(high, inverse));
    const float d = amax / 127.0f;
    return (struct act_scale){ d,
                               d * (float)(first + second),
                               { d * (float)first, d * (float)second } };
}

/* Columns [col, col + 32) of a row. */
INLINE void keep_block(struct acts *a, size_t row, size_t col, v16 low, v16 high)
{
    const size_t at = row * a->stride + col;
    if (a->x != NULL) {
        v_store(a->x + at, low);
        v_store(a->x + at + 16, high);
    }
    if (a->q != NULL) {
        a->scales[at / 32] = quantize_block(low, high, a->q + at);
    }
    if (a->q16 != NULL) {
        q_widen(a->q + at, 32, a->q16 + at);
    }
}

static void op_quantize(const float *x, struct acts *a, size_t row)
{
    size_t col = 0;
    for (; col + 32 <= a->n_cols; col += 32) {
        keep_block(a, row, col, v_load(x + col), v_load(x + col + 16));
    }
    for (; col < a->stride; col += 32) {
        float part[32] = { 0 };
        if (col < a->n_cols) {
            memcpy(part, x + col, (a->n_cols - col) * sizeof *part);
        }
        keep_block(a, row, col, v_load(part), v_load(part + 16));
    }
}

static void op_quantize_part(const float *x, struct acts *a, size_t first, size_t n_r, size_t col)
{
    for (size_t r = 0; r < n_r; r++) {
        keep_block(a, first + r, col, v_load(x + 32 * r), v_load(x + 32 * r + 16));
    }
}

#include "cpu/kernels/dot_matmul.h"

#include "cpu/kernels/dot_attend.h"

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

/* Codes come from another place every time, or the compiler would multiply them once for all. */
static uint64_t op_mac_burst(const uint8_t *ones, size_t n)
{
    const struct acts a = { .q = (int8_t *)(uintptr_t)ones, .stride = 32 };
    const struct codes bytes = { 8, 0, false };
    uint64_t all = 0;
    i32x16 sum[ROWS], dot[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        sum[r] = i_zero();
    }
    for (size_t i = 0; i < n; i++) {
        i_dots(ones + i % 2 * (BURST_BYTES / 2), bytes, 0, &a, 0, 0, ROWS, 8, 15, dot);
        for (size_t r = 0; r < ROWS; r++) {
            sum[r] = i_add(sum[r], dot[r]);
        }
    }
    for (size_t r = 0; r < ROWS; r++) {
        int32_t lanes[16];
        i_store(lanes, sum[r]);
        for (int l = 0; l < 16; l++) {
            all += (uint64_t)lanes[l];
        }
    }
    return all;
}

static const struct cpu_ops ops = {
    .name = OPS_NAME,
    .reads_q16 = WIDE,
    .quantize = op_quantize,
    .quantize_part = op_quantize_part,
    .matmul = op_matmul,
    .rmsnorm = op_rmsnorm,
    .swiglu = op_swiglu,
    .add = op_add,
    .to_f16 = op_to_f16,
    .attend = op_attend,
    .read = op_read,
    .mac_burst = op_mac_burst,
};
