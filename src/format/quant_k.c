/* The types in blocks of 256 elements: Q2_K..Q6_K and IQ4_XS. A block has groups of 16 or 32
 * elements, each with a small integer scale, and one or two half floats that scale the scales.
 * Decoding is bit-equal to ggml's reference. Encoding searches each group's scale for the least
 * squared error; the format leaves the method open. */
#include <math.h>

#include "format/quant_types.h"

/* Q4_K, Q5_K: eight 6-bit scales and eight 6-bit minima in 12 bytes. The first four scales and the
 * first four minima have a byte each. The two spare bits of each byte are the high bits of the last
 * four; their low bits share the last four bytes. */
static void scale_min_get(const uint8_t s[12], int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        *min = s[g + 4] >> 4 | (s[g] >> 6) << 4;
    }
}

static void scale_min_set(uint8_t s[12], const int scale[8], const int min[8])
{
    for (int g = 0; g < 4; g++) {
        s[g] = (uint8_t)(scale[g] | (scale[g + 4] >> 4) << 6);
        s[g + 4] = (uint8_t)(min[g] | (min[g + 4] >> 4) << 6);
        s[g + 8] = (uint8_t)((scale[g + 4] & 15) | (min[g + 4] & 15) << 4);
    }
}

/* Q3_K: sixteen 6-bit scales in 12 bytes, biased by 32. The first eight bytes hold the low four
 * bits of each. */
static int q3_k_scale(const uint8_t s[12], int g)
{
    const int low = s[g % 8] >> 4 * (g / 8) & 15, high = s[8 + g % 4] >> 2 * (g / 4) & 3;
    return (low | high << 4) - 32;
}

static void q2_k_unpack(const struct block_q2_k *b, float *y)
{
    const float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int g = 0; g < 16; g++) {
        const float scale = d * (float)(b->scales[g] & 15), min = dmin * (float)(b->scales[g] >> 4);
        const uint8_t *qs = b->qs + g / 8 * 32 + g % 2 * 16;
        const int shift = g % 8 / 2 * 2;
        for (int j = 0; j < 16; j++) {
            y[16 * g + j] = scale * (float)(qs[j] >> shift & 3) - min;
        }
    }
}

static void q3_k_unpack(const struct block_q3_k *b, float *y)
{
    const float d = f16_to_f32(b->d);
    for (int g = 0; g < 16; g++) {
        const float scale = d * (float)q3_k_scale(b->scales, g);
        const uint8_t *qs = b->qs + g / 8 * 32 + g % 2 * 16, *hmask = b->hmask + g % 2 * 16;
        const int shift = g % 8 / 2 * 2;
        for (int j = 0; j < 16; j++) {
            const int high = hmask[j] >> g / 2 & 1;
            y[16 * g + j] = scale * (float)((qs[j] >> shift & 3) + 4 * high - 4);
        }
    }
}

static void q4_k_unpack(const struct block_q4_k *b, float *y)
{
    const float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int g = 0; g < 8; g++) {
        int sc, mn;
        scale_min_get(b->scales, g, &sc, &mn);
        const float scale = d * (float)sc, min = dmin * (float)mn;
        const uint8_t *qs = b->qs + g / 2 * 32;
        for (int j = 0; j < 32; j++) {
            y[32 * g + j] = scale * (float)(qs[j] >> g % 2 * 4 & 15) - min;
        }
    }
}

static void q5_k_unpack(const struct block_q5_k *b, float *y)
{
    const float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int g = 0; g < 8; g++) {
        int sc, mn;
        scale_min_get(b->scales, g, &sc, &mn);
        const float scale = d * (float)sc, min = dmin * (float)mn;
        const uint8_t *qs = b->qs + g / 2 * 32;
        for (int j = 0; j < 32; j++) {
            const int q = (qs[j] >> g % 2 * 4 & 15) | (b->qh[j] >> g & 1) << 4;
            y[32 * g + j] = scale * (float)q - min;
        }
    }
}

static void q6_k_unpack(const struct block_q6_k *b, float *y)
{
    const float d = f16_to_f32(b->d);
    for (int g = 0; g < 16; g++) {
        const float scale = d * (float)b->scales[g];
        const uint8_t *ql = b->ql + g / 8 * 64 + g % 4 * 16, *qh = b->qh + g / 8 * 32 + g % 2 * 16;
        const int low_shift = g % 8 / 4 * 4, high_shift = g % 8 / 2 * 2;
        for (int j = 0; j < 16; j++) {
            const int q = (ql[j] >> low_shift & 15) | (qh[j] >> high_shift & 3) << 4;
            y[16 * g + j] = scale * (float)(q - 32);
        }
    }
}

static void iq4_xs_unpack(const struct block_iq4_xs *b, float *y)
{
    const float d = f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) {
        const int low = b->scales_l[g / 2] >> g % 2 * 4 & 15, high = b->scales_h >> 2 * g & 3;
        const float scale = d * (float)((low | high << 4) - 32);
        const uint8_t *qs = b->qs + 16 * g;
        for (int j = 0; j < 16; j++) {
            y[32 * g + j] = scale * (float)quant_iq4_values[qs[j] & 15];
            y[32 * g + j + 16] = scale * (float)quant_iq4_values[qs[j] >> 4];
        }
    }
}

static int nearest(float v, float top) { return quant_cut(v + 0.5f, top); }

/* Four interleaved sums, so that the compiler can keep them in one vector register. */
struct lanes {
    float v[4];
};

static double lanes_sum(const struct lanes *s)
{
    return ((double)s->v[0] + (double)s->v[1]) + ((double)s->v[2] + (double)s->v[3]);
}

/* x is approximated by d * q - min, with d >= 0 and min >= 0. */
struct affine {
    float d, min;
};

/* Sums over a group of 32 elements, where y = x - (lowest x) and q are the levels of y. */
struct moments {
    double y, yy, q, qq, yq;
};

static void moments_of_levels(const float y[32], float inverse, float top, struct moments *s)
{
    struct lanes yq = { { 0 } };
    int sum_q = 0, sum_qq = 0;
    for (int i = 0; i < 32; i += 4) {
        for (int k = 0; k < 4; k++) {
            const int q = nearest(y[i + k] * inverse, top);
            sum_q += q;
            sum_qq += q * q;
            yq.v[k] += y[i + k] * (float)q;
        }
    }
    s->q = sum_q;
    s->qq = sum_qq;
    s->yq = lanes_sum(&yq);
}

/* Solves y = d * q + offset for given levels by least squares, with offset <= limit. Returns the
 * squared error. */
static double solve(const struct moments *s, double limit, double *d, double *offset)
{
    const double det = 32.0 * s->qq - s->q * s->q;
    *d = det > 0.0 ? (32.0 * s->yq - s->y * s->q) / det : 0.0;
    *offset = (s->y - *d * s->q) / 32.0;
    if (*offset > limit) {
        *offset = limit;
        *d = s->qq > 0.0 ? (s->yq - limit * s->q) / s->qq : 0.0;
    }
    const double dd = *d, o = *offset;
    return s->yy + dd * (dd * s->qq - 2.0 * s->yq + 2.0 * o * s->q) + o * (32.0 * o - 2.0 * s->y);
}

/* Tries several scales near range / top: each scale gives levels, and the levels give the best d
 * and min. */
static struct affine fit_affine(const float x[32], float top)
{
    float lo = 0.0f, hi = x[0], y[32];
    for (int i = 0; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    struct affine best = { 0.0f, -lo };
    const float range = hi - lo;
    if (!(range > 0.0f)) {
        return best;
    }
    struct moments s = { 0 };
    for (int i = 0; i < 32; i++) {
        y[i] = x[i] - lo;
        s.y += (double)y[i];
        s.yy += (double)y[i] * (double)y[i];
    }
    double least = INFINITY;
    for (int step = -10; step <= 10; step++) {
        moments_of_levels(y, (top + 0.1f * (float)step) / range, top, &s);
        double d, offset;
        const double error = solve(&s, -(double)lo, &d, &offset);
        if (error < least) {
            least = error;
            best = (struct affine){ (float)d, (float)(-(double)lo - offset) };
        }
    }
    return best;
}

/* The scales and minima of a block as 6-bit multiples of d and dmin, and the levels for them. */
struct affine_block {
    f16_bits d, dmin;
    int scale[8], min[8];
    uint8_t q[256];
};

/* Converts to half. A scale too large for a half becomes the largest half, not infinite. */
static f16_bits finite_f16(float v)
{
    v = v < 65504.0f ? v : 65504.0f;
    return f32_to_f16(v > -65504.0f ? v : -65504.0f);
}

static f16_bits common_scale(const float v[8], int out[8])
{
    float most = 0.0f;
    for (int g = 0; g < 8; g++) {
        most = v[g] > most ? v[g] : most;
    }
    const f16_bits d = finite_f16(most / 63.0f);
    const float inverse = quant_inverse(f16_to_f32(d));
    for (int g = 0; g < 8; g++) {
        out[g] = nearest(v[g] * inverse, 63.0f);
    }
    return d;
}

static void affine_encode(const float *x, float top, struct affine_block *b)
{
    float scale[8], min[8];
    for (int g = 0; g < 8; g++) {
        const struct affine fit = fit_affine(x + 32 * g, top);
        scale[g] = fit.d;
        min[g] = fit.min;
    }
    b->d = common_scale(scale, b->scale);
    b->dmin = common_scale(min, b->min);
    for (int g = 0; g < 8; g++) {
        const float m = f16_to_f32(b->dmin) * (float)b->min[g];
        const float inverse = quant_inverse(f16_to_f32(b->d) * (float)b->scale[g]);
        for (int j = 32 * g; j < 32 * g + 32; j++) {
            b->q[j] = (uint8_t)nearest((x[j] + m) * inverse, top);
        }
    }
}

static void nibbles_pack(uint8_t qs[128], const uint8_t q[256])
{
    for (int c = 0; c < 4; c++) {
        for (int j = 0; j < 32; j++) {
            qs[32 * c + j] = (uint8_t)((q[64 * c + j] & 15) | (q[64 * c + 32 + j] & 15) << 4);
        }
    }
}

static void q4_k_pack(const float *x, struct block_q4_k *b)
{
    struct affine_block a;
    affine_encode(x, 15.0f, &a);
    b->d = a.d;
    b->dmin = a.dmin;
    scale_min_set(b->scales, a.scale, a.min);
    nibbles_pack(b->qs, a.q);
}

static void q5_k_pack(const float *x, struct block_q5_k *b)
{
    struct affine_block a;
    affine_encode(x, 31.0f, &a);
    b->d = a.d;
    b->dmin = a.dmin;
    scale_min_set(b->scales, a.scale, a.min);
    nibbles_pack(b->qs, a.q);
    for (int j = 0; j < 32; j++) {
        int bits = 0;
        for (int g = 0; g < 8; g++) {
            bits |= (a.q[32 * g + j] >> 4) << g;
        }
        b->qh[j] = (uint8_t)bits;
    }
}

/* Finds the scale d of least squared error for x = d * q, with q in -32..31. For given levels that
 * is (x.q) / (q.q), and it reduces the squared error by (x.q)^2 / (q.q). */
static float fit_symmetric(const float x[16])
{
    float peak = 0.0f;
    for (int i = 0; i < 16; i++) {
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    }
    float best = 0.0f;
    double most = 0.0;
    for (int step = -9; step <= 9; step++) {
        /* The peak becomes about -32, the one level without a counterpart. */
        const float inverse = quant_inverse(peak / -(32.0f + 0.1f * (float)step));
        struct lanes xq_lanes = { { 0 } };
        int qq = 0;
        for (int i = 0; i < 16; i += 4) {
            for (int k = 0; k < 4; k++) {
                const int q = nearest(x[i + k] * inverse + 32.0f, 63.0f) - 32;
                xq_lanes.v[k] += x[i + k] * (float)q;
                qq += q * q;
            }
        }
        const double xq = lanes_sum(&xq_lanes);
        if (qq > 0 && xq * xq > most * qq) {
            most = xq * xq / qq;
            best = (float)(xq / qq);
        }
    }
    return best;
}

static void q6_k_store(struct block_q6_k *b, const uint8_t q[256])
{
    for (int h = 0; h < 2; h++) {
        const uint8_t *s = q + 128 * h;
        for (int j = 0; j < 32; j++) {
            b->ql[64 * h + j] = (uint8_t)((s[j] & 15) | (s[j + 64] & 15) << 4);
            b->ql[64 * h + 32 + j] = (uint8_t)((s[j + 32] & 15) | (s[j + 96] & 15) << 4);
            b->qh[32 * h + j] = (uint8_t)(s[j] >> 4 | (s[j + 32] >> 4) << 2 |
                                          (s[j + 64] >> 4) << 4 | (s[j + 96] >> 4) << 6);
        }
    }
}

static void q6_k_pack(const float *x, struct block_q6_k *b)
{
    float scale[16], most = 0.0f;
    for (int g = 0; g < 16; g++) {
        scale[g] = fit_symmetric(x + 16 * g);
        most = fabsf(scale[g]) > fabsf(most) ? scale[g] : most;
    }
    b->d = finite_f16(most / -128.0f);
    const float d = f16_to_f32(b->d), inverse = quant_inverse(d);
    uint8_t q[256];
    for (int g = 0; g < 16; g++) {
        const int sc = nearest(scale[g] * inverse + 128.0f, 255.0f) - 128;
        b->scales[g] = (int8_t)sc;
        const float group_inverse = quant_inverse(d * (float)sc);
        for (int j = 16 * g; j < 16 * g + 16; j++) {
            q[j] = (uint8_t)nearest(x[j] * group_inverse + 32.0f, 63.0f);
        }
    }
    q6_k_store(b, q);
}

QUANT_DECODER(q2_k, 256)
QUANT_DECODER(q3_k, 256)
QUANT_DECODER(q4_k, 256)
QUANT_DECODER(q5_k, 256)
QUANT_DECODER(q6_k, 256)
QUANT_DECODER(iq4_xs, 256)
QUANT_ENCODER(q4_k, 256)
QUANT_ENCODER(q5_k, 256)
QUANT_ENCODER(q6_k, 256)
