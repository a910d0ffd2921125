/* The 16-lane vector vocabulary in plain C: the readable reference, and the path of processors
 * without AVX2. fmaf is correctly rounded with or without hardware for it, so the bits are those of
 * the AVX files. */
#include "cpu/dot.h"

#include <math.h>
#include <string.h>

#include "mem.h"

#define OPS_NAME "scalar"
#define TILE 1
#define QUERIES 1
#define ROWS 1
#define CHAINS 2

typedef struct {
    float l[16];
} v16;
typedef struct {
    const uint8_t *u;
} c64;
typedef struct {
    int32_t l[16];
} i32x16;

#define LANES(expr)                                                                                \
    v16 r;                                                                                         \
    for (int l = 0; l < 16; l++) {                                                                 \
        r.l[l] = (expr);                                                                           \
    }                                                                                              \
    return r

static inline v16 v_load(const float *p) { LANES(p[l]); }
static inline v16 v_load_n(const float *p, size_t n) { LANES((size_t)l < n ? p[l] : 0.0f); }
static inline v16 v_load_f16_n(const void *p, size_t n)
{
    f16_bits h[16] = { 0 };
    memcpy(h, p, n * sizeof *h);
    LANES(f16_to_f32(h[l]));
}
static inline v16 v_load_f16(const void *p) { return v_load_f16_n(p, 16); }
static inline v16 v_from_u8(const uint8_t *p) { LANES((float)p[l]); }
static inline v16 v_from_i8(const int8_t *p) { LANES((float)p[l]); }
static inline v16 v_set1(float x) { LANES(x); }
static inline v16 v_add(v16 a, v16 b) { LANES(a.l[l] + b.l[l]); }
static inline v16 v_sub(v16 a, v16 b) { LANES(a.l[l] - b.l[l]); }
static inline v16 v_mul(v16 a, v16 b) { LANES(a.l[l] * b.l[l]); }
static inline v16 v_div(v16 a, v16 b) { LANES(a.l[l] / b.l[l]); }
static inline v16 v_max(v16 a, v16 b) { LANES(a.l[l] > b.l[l] ? a.l[l] : b.l[l]); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { LANES(fmaf(a.l[l], b.l[l], c.l[l])); }
static inline v16 v_zero_below(v16 x, float limit, v16 y) { LANES(x.l[l] < limit ? 0.0f : y.l[l]); }
static inline v16 v_spread2(const float *p) { LANES(p[l / 8]); }
static inline v16 v_spread4(const float *p) { LANES(p[l / 4]); }

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
static inline void v_store_halves(float *low, float *high, v16 x)
{
    memcpy(low, x.l, 8 * sizeof *low);
    memcpy(high, x.l + 8, 8 * sizeof *high);
}
static inline void v_store_f16_n(f16_bits *p, size_t n, v16 x)
{
    for (size_t l = 0; l < n; l++) {
        p[l] = f32_to_f16(x.l[l]);
    }
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

static inline void v_fold4(v16 a, v16 b, v16 c, v16 d, float *out)
{
    out[0] = v_fold(a);
    out[1] = v_fold(b);
    out[2] = v_fold(c);
    out[3] = v_fold(d);
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

static inline c64 c_load(const uint8_t *u) { return (c64){ u }; }

static inline v16 c_dot(c64 w, const int8_t *q, bool wide)
{
    (void)wide;
    v16 r;
    for (int l = 0; l < 16; l++) {
        int sum = 0;
        for (int k = 4 * l; k < 4 * l + 4; k++) {
            sum += w.u[k] * q[k];
        }
        r.l[l] = (float)sum;
    }
    return r;
}

static inline i32x16 i_mac(i32x16 sum, c64 u, const int8_t *q)
{
    for (int l = 0; l < 16; l++) {
        for (int k = 4 * l; k < 4 * l + 4; k++) {
            sum.l[l] += u.u[k] * q[k];
        }
    }
    return sum;
}
static inline i32x16 i_zero(void) { return (i32x16){ { 0 } }; }
static inline void i_store(int32_t *p, i32x16 x) { memcpy(p, x.l, sizeof x.l); }

static inline void c_nibbles(const uint8_t *qs, uint8_t *u)
{
    for (int j = 0; j < 16; j++) {
        u[j] = qs[j] & 15;
        u[j + 16] = qs[j] >> 4;
    }
}

static inline void c_lookup(const uint8_t table[16], const uint8_t *qs, uint8_t *u)
{
    for (int j = 0; j < 16; j++) {
        u[j] = table[qs[j] & 15];
        u[j + 16] = table[qs[j] >> 4];
    }
}

static inline void c_nibbles_bits(const uint8_t *qs, const uint8_t *qh, uint8_t *u)
{
    for (int j = 0; j < 16; j++) {
        u[j] = (uint8_t)((qs[j] & 15) | (qh[j / 8] >> j % 8 & 1) << 4);
        u[j + 16] = (uint8_t)(qs[j] >> 4 | (qh[2 + j / 8] >> j % 8 & 1) << 4);
    }
}

#include "cpu/dot_body.h"

const struct cpu_ops *cpu_ops_scalar(void) { return &ops; }

size_t dot_scratch_bytes(size_t n_cols)
{
    size_t up = n_cols + 511;
    size_t bytes;
    return up < n_cols || !mul_ok(up / 512 * 512, sizeof(float), &bytes) ? SIZE_MAX : bytes;
}

size_t attend_scratch_bytes(size_t n_queries, size_t head_dim)
{
    size_t row, bytes;
    return head_dim > SIZE_MAX / 64 || n_queries > SIZE_MAX - KV_PAGE ||
                   !mul_ok((head_dim + 15) / 16 * 16 + 16, 2 * sizeof(float), &row) ||
                   !mul_ok(n_queries + KV_PAGE, row, &bytes)
               ? SIZE_MAX
               : bytes;
}
