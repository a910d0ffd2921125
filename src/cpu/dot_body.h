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

/* sum[r] += 16 weight rows . activation row `row` + r, for r < n, over the k-th `sub` columns of
 * the block that begins at column col. All but the pointers, row and col are constants. */
INLINE void add_dots(v16 *sum, const uint8_t *block, struct codes how, int top, size_t sub,
                     size_t k, v16 s, v16 m, const struct acts *a, size_t row, size_t col, size_t n)
{
    const struct act_scale *in = a->scales + (row * a->stride + col) / 32;
    i32x16 dot[ROWS];
    i_dots(block, how, (int)(k * sub / 4), a, row, col + k * sub, n, (int)sub / 4, top, dot);
    for (size_t r = 0; r < n; r++, in += a->stride / 32) {
        v16 scale = v_mul(s, v_set1(in->d));
        sum[r] = v_fma(v_from_i32(dot[r]), scale, sum[r]);
        sum[r] = v_fma(m, v_set1(sub == 32 ? in->sum32 : in->sum16[k]), sum[r]);
    }
}

/* sums[r, lane] += 16 weight rows . activation row `row` + r, over the columns of p, for r < n.
 * top >= every code, sub and n are constants. */
INLINE void dot_rows(const struct piece *p, const struct acts *a, size_t row, int top, size_t sub,
                     size_t n, float *sums)
{
    const struct codes bytes = { 8, 0, false };
    v16 sum[ROWS];
    for (size_t r = 0; r < n; r++) {
        sum[r] = v_load(sums + r * TILE_ROWS);
    }
    for (size_t b = 0, i = 0; b < p->n_blocks; b++) {
#pragma GCC unroll 2
        for (size_t k = 0; k < 32 / sub; k++, i += TILE_ROWS) {
            add_dots(sum, p->codes + b * 8 * VECTOR, bytes, top, sub, k, v_load(p->s + i),
                     v_load(p->m + i), a, row, p->col + b * 32, n);
        }
    }
    for (size_t r = 0; r < n; r++) {
        v_store(sums + r * TILE_ROWS, sum[r]);
    }
}

/* Many rows, of codes that are bytes; as many at a time as registers hold. */
#define DOT(name, top, sub)                                                                        \
    static void name(const struct piece *p, const struct acts *a, size_t row, size_t n,            \
                     float *sums)                                                                  \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= n; r += ROWS) {                                                         \
            dot_rows(p, a, row + r, top, sub, ROWS, sums + r * TILE_ROWS);                         \
        }                                                                                          \
        for (; ROWS > 2 && r + ROWS / 2 <= n; r += ROWS / 2) {                                     \
            dot_rows(p, a, row + r, top, sub, (ROWS + 1) / 2, sums + r * TILE_ROWS);               \
        }                                                                                          \
        for (; r < n; r++) {                                                                       \
            dot_rows(p, a, row + r, top, sub, 1, sums + r * TILE_ROWS);                            \
        }                                                                                          \
    }
DOT(dot_15_by_32, 15, 32)
DOT(dot_31_by_32, 31, 32)
DOT(dot_255_by_32, 255, 32)
DOT(dot_15_by_16, 15, 16)
DOT(dot_63_by_16, 63, 16)

/* n rows, of codes and scales as they are packed: for a few rows it does not pay to expand them
 * first. All but the pointers and row are constants. */
INLINE void dot_packed(const struct packed *w, const uint8_t *tile, const struct acts *a,
                       size_t row, enum scale_form form, size_t unit_cols, struct codes how,
                       int top, size_t sub, size_t n, float *sums)
{
    const v16 minus_bias = v_set1(-(float)w->how->bias);
    const size_t block_bytes = (size_t)(how.low + how.high) * VECTOR;
    const uint8_t *block = tile + w->layout.codes;
    v16 sum[ROWS];
    for (size_t r = 0; r < n; r++) {
        sum[r] = v_set1(0.0f);
    }
    for (size_t col = 0; col < w->n_cols; tile += w->layout.unit_bytes) {
        const struct unit u = unit_of(tile, form);
        for (size_t i = 0; i < unit_cols / sub; col += 32, block += block_bytes) {
            if (n == 1) { /* with more rows memory is fast enough */
                ask_for(block, how.low + how.high);
            }
#pragma GCC unroll 2
            for (size_t k = 0; k < 32 / sub; k++, i++) {
                v16 s, m;
                scale_of(&u, form, minus_bias, unit_cols / sub, i, &s, &m);
                add_dots(sum, block, how, top, sub, k, s, m, a, row, col, n);
            }
        }
    }
    for (size_t r = 0; r < n; r++) {
        v_store(sums + r * TILE_ROWS, sum[r]);
    }
}

#define DOT_FEW(name, form, unit_cols, low, high, lookup, top, sub)                                \
    static void name(const struct packed *w, const uint8_t *tile, const struct acts *a,            \
                     size_t row, size_t n, float *sums)                                            \
    {                                                                                              \
        const struct codes how = { low, high, lookup };                                            \
        size_t r = 0;                                                                              \
        for (; ROWS >= 4 && r + 4 <= n; r += 4) {                                                  \
            dot_packed(w, tile, a, row + r, form, unit_cols, how, top, sub, 4,                     \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
        for (; ROWS >= 2 && r + 2 <= n; r += 2) {                                                  \
            dot_packed(w, tile, a, row + r, form, unit_cols, how, top, sub, 2,                     \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
        for (; r < n; r++) {                                                                       \
            dot_packed(w, tile, a, row + r, form, unit_cols, how, top, sub, 1,                     \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
    }
DOT_FEW(few_q4_0, SCALE_BIAS, 32, 4, 0, false, 15, 32)
DOT_FEW(few_q4_1, SCALE_OFFSET, 32, 4, 0, false, 15, 32)
DOT_FEW(few_q5_0, SCALE_BIAS, 32, 4, 1, false, 31, 32)
DOT_FEW(few_q5_1, SCALE_OFFSET, 32, 4, 1, false, 31, 32)
DOT_FEW(few_q8_0, SCALE_BIAS, 32, 8, 0, false, 255, 32)
DOT_FEW(few_q2_k, SCALE_NIBBLES, 256, 2, 0, false, 15, 16)
DOT_FEW(few_q3_k, SCALE_SIGNED, 256, 2, 1, false, 15, 16)
DOT_FEW(few_q4_k, SCALE_PAIR, 256, 4, 0, false, 15, 32)
DOT_FEW(few_q5_k, SCALE_PAIR, 256, 4, 1, false, 31, 32)
DOT_FEW(few_q6_k, SCALE_SIGNED, 256, 4, 2, false, 63, 16)
DOT_FEW(few_iq4_nl, SCALE_BIAS, 32, 4, 0, true, 255, 32)
DOT_FEW(few_iq4_xs, SCALE_SIGNED, 256, 4, 0, true, 255, 32)

/* Weights that are floats: each 32 columns are summed by themselves first, so that
 * errors do not grow with the whole row. `load` reads 16 of them, `bytes` each. */
#define DOT_FLOAT(name, load, bytes)                                                               \
    INLINE void name##_rows(const uint8_t *w, const struct acts *a, size_t row, size_t n,          \
                            float *sums)                                                           \
    {                                                                                              \
        const float *x = a->x + row * a->stride;                                                   \
        v16 sum[ROWS];                                                                             \
        for (size_t r = 0; r < n; r++) {                                                           \
            sum[r] = v_set1(0.0f);                                                                 \
        }                                                                                          \
        for (size_t i = 0; i < a->n_cols; i += 32) {                                               \
            v16 part[ROWS];                                                                        \
            for (size_t r = 0; r < n; r++) {                                                       \
                part[r] = v_set1(0.0f);                                                            \
            }                                                                                      \
            const size_t end = i + 32 < a->n_cols ? i + 32 : a->n_cols;                            \
            for (size_t k = i; k < end; k++) {                                                     \
                const v16 u = load(w + k * TILE_ROWS * bytes);                                     \
                for (size_t r = 0; r < n; r++) {                                                   \
                    part[r] = v_fma(u, v_set1(x[r * a->stride + k]), part[r]);                     \
                }                                                                                  \
            }                                                                                      \
            for (size_t r = 0; r < n; r++) {                                                       \
                sum[r] = v_add(sum[r], part[r]);                                                   \
            }                                                                                      \
        }                                                                                          \
        for (size_t r = 0; r < n; r++) {                                                           \
            v_store(sums + r * TILE_ROWS, sum[r]);                                                 \
        }                                                                                          \
    }                                                                                              \
    static void name(const uint8_t *w, const struct acts *a, size_t row, size_t n, float *sums)    \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= n; r += ROWS) {                                                         \
            name##_rows(w, a, row + r, ROWS, sums + r * TILE_ROWS);                                \
        }                                                                                          \
        for (; r < n; r++) {                                                                       \
            name##_rows(w, a, row + r, 1, sums + r * TILE_ROWS);                                   \
        }                                                                                          \
    }
DOT_FLOAT(dot_f32, v_load_bytes, 4)
DOT_FLOAT(dot_f16, v_load_f16, 2)
DOT_FLOAT(dot_bf16, v_load_bf16, 2)

/* How each tensor type is computed. */
static const struct {
    void (*of_floats)(const uint8_t *, const struct acts *, size_t, size_t, float *);
    void (*few)(const struct packed *, const uint8_t *, const struct acts *, size_t, size_t,
                float *);
    void (*expand)(const uint8_t *, size_t, uint8_t *); /* NULL: packed codes are bytes */
    void (*many)(const struct piece *, const struct acts *, size_t, size_t, float *);
} kernels[] = {
    [QUANT_F32] = { .of_floats = dot_f32 },
    [QUANT_F16] = { .of_floats = dot_f16 },
    [QUANT_BF16] = { .of_floats = dot_bf16 },
    [QUANT_Q4_0] = { NULL, few_q4_0, expand_4, dot_15_by_32 },
    [QUANT_Q4_1] = { NULL, few_q4_1, expand_4, dot_15_by_32 },
    [QUANT_Q5_0] = { NULL, few_q5_0, expand_4_1, dot_31_by_32 },
    [QUANT_Q5_1] = { NULL, few_q5_1, expand_4_1, dot_31_by_32 },
    [QUANT_Q8_0] = { NULL, few_q8_0, NULL, dot_255_by_32 },
    [QUANT_Q2_K] = { NULL, few_q2_k, expand_2, dot_15_by_16 },
    [QUANT_Q3_K] = { NULL, few_q3_k, expand_2_1, dot_15_by_16 },
    [QUANT_Q4_K] = { NULL, few_q4_k, expand_4, dot_15_by_32 },
    [QUANT_Q5_K] = { NULL, few_q5_k, expand_4_1, dot_31_by_32 },
    [QUANT_Q6_K] = { NULL, few_q6_k, expand_4_2, dot_63_by_16 },
    [QUANT_IQ4_NL] = { NULL, few_iq4_nl, expand_4_lookup, dot_255_by_32 },
    [QUANT_IQ4_XS] = { NULL, few_iq4_xs, expand_4_lookup, dot_255_by_32 },
};

/* Up to as many rows are multiplied with codes as they are packed. */
enum { FEW = 7 };

/* Of scratch: sums, s and m of a piece, and its codes. */
_Static_assert((DOT_ROWS + 2 * PIECE / 16) * TILE_ROWS * sizeof(float) + PIECE * TILE_ROWS <=
                   DOT_SCRATCH,
               "DOT_SCRATCH is too small");

static void multiply_quant(const struct packed *w, const uint8_t *tile, const struct acts *a,
                           size_t first, size_t n_r, float *sums, float *room)
{
    const uint32_t id = w->type->id;
    if (n_r <= FEW) {
        kernels[id].few(w, tile, a, first, n_r, sums);
        return;
    }
    memset(sums, 0, n_r * TILE_ROWS * sizeof *sums);
    for (size_t col = 0; col < a->n_cols; col += PIECE) {
        size_t n = a->n_cols - col < PIECE ? a->n_cols - col : PIECE;
        struct piece p = piece_of(w, tile, col, n, room);
        if (kernels[id].expand != NULL) {
            uint8_t *u = (uint8_t *)(room + 2 * PIECE / 16 * TILE_ROWS);
            kernels[id].expand(p.codes, p.n_blocks, u);
            p.codes = u;
        }
        kernels[id].many(&p, a, first, n_r, sums);
    }
}

static void op_matmul(const struct packed *w, const uint8_t *tile, size_t n_w, const struct acts *a,
                      size_t first, size_t n_r, bool add, float *out, size_t ld, void *scratch)
{
    float *sums = scratch;
    if (w->how->form == SCALE_NONE) {
        kernels[w->type->id].of_floats(tile, a, first, n_r, sums);
    } else {
        multiply_quant(w, tile, a, first, n_r, sums, sums + DOT_ROWS * TILE_ROWS);
    }
    for (size_t r = 0; r < n_r; r++, out += ld, sums += TILE_ROWS) {
        const v16 sum = v_load(sums);
        store_part(out, n_w, add ? v_add(load_part(out, n_w), sum) : sum);
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
