/* The vocabulary of 16-lane vectors in plain C: the readable reference, and the path of processors
 * without AVX2. fmaf rounds correctly with or without hardware for it, so the bits are those of the
 * AVX files. dot_row_q4_k, near the end, shows what a product computes. */
#include "cpu/kernels/ops.h"

#include <math.h>
#include <string.h>

#define OPS_NAME "scalar"
#define REG_SUMS 1
#define REG_QUERIES 1
#define WIDE false
#define REG_ROWS 1

typedef struct {
    float l[16];
} v16;
typedef struct {
    uint8_t u[64];
} c64;
typedef struct {
    int32_t l[16];
} i32x16;

static inline v16 v_load(const float *p)
{
    v16 r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}
static inline v16 v_load_n(const float *p, size_t n)
{
    v16 r = { { 0 } };
    memcpy(r.l, p, n * sizeof *p);
    return r;
}
static inline v16 v_load_f32(const void *p)
{
    v16 r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}
static inline v16 v_load_f16_n(const void *p, size_t n)
{
    f16_bits h[16] = { 0 };
    v16 r;
    memcpy(h, p, n * sizeof *h);
    for (int l = 0; l < 16; l++) {
        r.l[l] = f16_to_f32(h[l]);
    }
    return r;
}
static inline v16 v_load_f16(const void *p) { return v_load_f16_n(p, 16); }
static inline v16 v_load_bf16(const void *p)
{
    uint16_t h[16];
    v16 r;
    memcpy(h, p, sizeof h);
    for (int l = 0; l < 16; l++) {
        r.l[l] = bf16_to_f32(h[l]);
    }
    return r;
}
static inline v16 v_from_u8(const uint8_t *p)
{
    v16 r;
    for (int l = 0; l < 16; l++) {
        r.l[l] = (float)p[l];
    }
    return r;
}
static inline v16 v_from_i8(const int8_t *p)
{
    v16 r;
    for (int l = 0; l < 16; l++) {
        r.l[l] = (float)p[l];
    }
    return r;
}
static inline v16 v_from_i32(i32x16 x)
{
    v16 r;
    for (int l = 0; l < 16; l++) {
        r.l[l] = (float)x.l[l];
    }
    return r;
}

static inline v16 v_set1(float x)
{
    v16 r;
    for (int l = 0; l < 16; l++) {
        r.l[l] = x;
    }
    return r;
}
static inline v16 v_add(v16 a, v16 b)
{
    for (int l = 0; l < 16; l++) {
        a.l[l] += b.l[l];
    }
    return a;
}
static inline v16 v_sub(v16 a, v16 b)
{
    for (int l = 0; l < 16; l++) {
        a.l[l] -= b.l[l];
    }
    return a;
}
static inline v16 v_mul(v16 a, v16 b)
{
    for (int l = 0; l < 16; l++) {
        a.l[l] *= b.l[l];
    }
    return a;
}
static inline v16 v_div(v16 a, v16 b)
{
    for (int l = 0; l < 16; l++) {
        a.l[l] /= b.l[l];
    }
    return a;
}
static inline v16 v_max(v16 a, v16 b)
{
    for (int l = 0; l < 16; l++) {
        a.l[l] = a.l[l] > b.l[l] ? a.l[l] : b.l[l];
    }
    return a;
}
static inline v16 v_fma(v16 a, v16 b, v16 c)
{
    for (int l = 0; l < 16; l++) {
        c.l[l] = fmaf(a.l[l], b.l[l], c.l[l]);
    }
    return c;
}
static inline v16 v_zero_below(v16 x, float limit, v16 y)
{
    for (int l = 0; l < 16; l++) {
        y.l[l] = x.l[l] < limit ? 0.0f : y.l[l];
    }
    return y;
}

static inline v16 v_shl23(v16 x)
{
    v16 r;
    for (int l = 0; l < 16; l++) {
        uint32_t bits;
        memcpy(&bits, &x.l[l], sizeof bits);
        bits <<= 23;
        memcpy(&r.l[l], &bits, sizeof bits);
    }
    return r;
}

static inline void v_store(float *p, v16 x) { memcpy(p, x.l, sizeof x.l); }
static inline void v_store_n(float *p, size_t n, v16 x) { memcpy(p, x.l, n * sizeof *p); }
static inline void v_store_f16_n(f16_bits *p, size_t n, v16 x)
{
    for (size_t l = 0; l < n; l++) {
        p[l] = f32_to_f16(x.l[l]);
    }
}

/* Absolute values have the order of their bits, in which Inf and NaN are the largest. */
static inline float v_top_abs(v16 x, v16 y)
{
    uint32_t top = 0, bits;
    for (int l = 0; l < 32; l++) {
        memcpy(&bits, l < 16 ? &x.l[l] : &y.l[l - 16], sizeof bits);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    float f;
    memcpy(&f, &top, sizeof f);
    return f;
}

/* Adding 1.5 * 2^23 rounds half to even, and leaves the integer in the low bits. */
static inline int v_store_codes(int8_t *q, v16 x)
{
    int sum = 0;
    for (int l = 0; l < 16; l++) {
        float t = x.l[l] + 12582912.0f;
        int32_t bits;
        memcpy(&bits, &t, sizeof bits);
        q[l] = (int8_t)(bits - 0x4b400000);
        sum += q[l];
    }
    return sum;
}

static inline float v_fold(v16 x)
{
    for (int w = 8; w > 0; w /= 2) {
        for (int l = 0; l < w; l++) {
            x.l[l] += x.l[l + w];
        }
    }
    return x.l[0];
}

static inline float v_top(v16 x)
{
    for (int w = 8; w > 0; w /= 2) {
        for (int l = 0; l < w; l++) {
            x.l[l] = x.l[l] > x.l[l + w] ? x.l[l] : x.l[l + w];
        }
    }
    return x.l[0];
}

static inline float f16_one(f16_bits h) { return f16_to_f32(h); }

static inline c64 c_load(const uint8_t *p)
{
    c64 r;
    memcpy(r.u, p, sizeof r.u);
    return r;
}
static inline void c_store(uint8_t *p, c64 x) { memcpy(p, x.u, sizeof x.u); }
static inline c64 c_or(c64 x, c64 y)
{
    for (int i = 0; i < 64; i++) {
        x.u[i] |= y.u[i];
    }
    return x;
}
static inline c64 c_field(c64 x, int at, int to, int bits)
{
    for (int i = 0; i < 64; i++) {
        x.u[i] = (uint8_t)((x.u[i] >> at & ((1 << bits) - 1)) << to);
    }
    return x;
}
static inline c64 c_lookup(const uint8_t table[16], c64 x)
{
    for (int i = 0; i < 64; i++) {
        x.u[i] = table[x.u[i]];
    }
    return x;
}

static inline i32x16 i_zero(void) { return (i32x16){ { 0 } }; }
static inline void i_store(int32_t *p, i32x16 x) { memcpy(p, x.l, sizeof x.l); }
static inline i32x16 i_add(i32x16 x, i32x16 y)
{
    for (int l = 0; l < 16; l++) {
        x.l[l] += y.l[l];
    }
    return x;
}
#include "cpu/kernels/dot_tile.inc"

INLINE void i_dots(const uint8_t *block, struct codes codes, int g0, const struct acts *a,
                   size_t row, size_t col, size_t n, int n_groups, i32x16 *out)
{
    for (size_t r = 0; r < n; r++) {
        const int8_t *q = a->q + (row + r) * a->stride + col;
        out[r] = i_zero();
        for (int g = 0; g < n_groups; g++) {
            c64 w = group_of(block, g0 + g, codes);
            for (int k = 0; k < VECTOR; k++) {
                out[r].l[k / 4] += w.u[k] * q[4 * g + k % 4];
            }
        }
    }
}

/* Does nothing, because i_dots reads bytes. */
static inline void q_widen(const int8_t *q, size_t n, int16_t *q16)
{
    (void)q;
    (void)n;
    (void)q16;
}

#include "cpu/kernels/dot_body.inc"

/* The kernels do this for 16 rows of weights at a time. The dot product of the codes of 32 columns
 * is an exact integer; one fused product adds it to the sum. Another one adds the offset times the
 * sum of the activations; that sum was computed when the activations were quantised. */
float dot_row_q4_k(const struct block_q4_k *w, const struct acts *a, size_t row)
{
    float sum = 0.0f;
    for (size_t col = 0; col < a->n_cols; w++) {
        struct pack_unit u;
        pack_read(quant_find(QUANT_Q4_K), (const uint8_t *)w, &u);
        for (size_t sub = 0; sub < 8; sub++, col += 32) {
            const float s = f16_to_f32(u.d) * (float)u.k[sub];
            const float m = -f16_to_f32(u.e) * (float)u.l[sub];
            const int8_t *q = a->q + row * a->stride + col;
            const struct act_scale *in = a->scales + (row * a->stride + col) / 32;
            int dot = 0;
            for (size_t i = 0; i < 32; i++) {
                dot += u.codes[32 * sub + i] * q[i];
            }
            sum = fmaf((float)dot, s * in->d, sum);
            sum = fmaf(m, in->sum32, sum);
        }
    }
    return sum;
}

const struct cpu_ops *cpu_ops_scalar(void) { return &ops; }
