/* The types in blocks of 32 elements: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL. The low half of byte j is
 * element j, the high half is element j + 16; bit j of qh is the fifth bit of element j. Decoding
 * and encoding are bit-equal to ggml's reference: the order of the float operations is part of the
 * format. */
#include <math.h>

#include "format/quant_types.h"

const int8_t quant_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113 };

static void nibbles_get(const uint8_t qs[16], int q[32])
{
    for (int j = 0; j < 16; j++) {
        q[j] = qs[j] & 15;
        q[j + 16] = qs[j] >> 4;
    }
}

static void nibbles_set(uint8_t qs[16], const int q[32])
{
    for (int j = 0; j < 16; j++) {
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
    }
}

static void fifth_bits_get(const uint8_t qh[4], int q[32])
{
    for (int j = 0; j < 32; j++) {
        q[j] |= (qh[j / 8] >> j % 8 & 1) << 4;
    }
}

static void fifth_bits_set(uint8_t qh[4], const int q[32])
{
    for (int k = 0; k < 4; k++) {
        int bits = 0;
        for (int j = 0; j < 8; j++) {
            bits |= (q[8 * k + j] >> 4) << j;
        }
        qh[k] = (uint8_t)bits;
    }
}

static void q4_0_unpack(const struct block_q4_0 *b, float *y)
{
    const float d = f16_to_f32(b->d);
    int q[32];
    nibbles_get(b->qs, q);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)(q[j] - 8);
    }
}

static void q4_1_unpack(const struct block_q4_1 *b, float *y)
{
    const float d = f16_to_f32(b->d), m = f16_to_f32(b->m);
    int q[32];
    nibbles_get(b->qs, q);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)q[j] + m;
    }
}

static void q5_0_unpack(const struct block_q5_0 *b, float *y)
{
    const float d = f16_to_f32(b->d);
    int q[32];
    nibbles_get(b->qs, q);
    fifth_bits_get(b->qh, q);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)(q[j] - 16);
    }
}

static void q5_1_unpack(const struct block_q5_1 *b, float *y)
{
    const float d = f16_to_f32(b->d), m = f16_to_f32(b->m);
    int q[32];
    nibbles_get(b->qs, q);
    fifth_bits_get(b->qh, q);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)q[j] + m;
    }
}

static void q8_0_unpack(const struct block_q8_0 *b, float *y)
{
    const float d = f16_to_f32(b->d);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)b->qs[j];
    }
}

static void iq4_nl_unpack(const struct block_iq4_nl *b, float *y)
{
    const float d = f16_to_f32(b->d);
    int q[32];
    nibbles_get(b->qs, q);
    for (int j = 0; j < 32; j++) {
        y[j] = d * (float)quant_iq4_values[q[j]];
    }
}

/* Returns the magnitude as an integer: unlike floats, the compiler may reorder comparisons of
 * integers, and so vectorise them. */
static int32_t magnitude(float f)
{
    int32_t i;
    memcpy(&i, &f, sizeof(i));
    return i & 0x7fffffff;
}

/* Returns the element of largest magnitude, the first if several are equal. */
static float peak(const float x[32])
{
    int32_t top = 0;
    for (int j = 0; j < 32; j++) {
        const int32_t m = magnitude(x[j]);
        top = m > top ? m : top;
    }
    int at = 0;
    while (magnitude(x[at]) != top) {
        at++;
    }
    return x[at];
}

static void extremes(const float x[32], float *lo, float *hi)
{
    *lo = *hi = x[0];
    for (int j = 1; j < 32; j++) {
        *lo = x[j] < *lo ? x[j] : *lo;
        *hi = x[j] > *hi ? x[j] : *hi;
    }
}

static void q4_0_pack(const float *x, struct block_q4_0 *b)
{
    /* The peak becomes -8, the one level without a counterpart. */
    const float d = peak(x) / -8.0f, inverse = quant_inverse(d);
    int q[32];
    for (int j = 0; j < 32; j++) {
        q[j] = quant_cut(x[j] * inverse + 8.5f, 15.0f);
    }
    b->d = f32_to_f16(d);
    nibbles_set(b->qs, q);
}

static void q4_1_pack(const float *x, struct block_q4_1 *b)
{
    float lo, hi;
    extremes(x, &lo, &hi);
    const float d = (hi - lo) / 15.0f, inverse = quant_inverse(d);
    int q[32];
    for (int j = 0; j < 32; j++) {
        q[j] = quant_cut((x[j] - lo) * inverse + 0.5f, 15.0f);
    }
    b->d = f32_to_f16(d);
    b->m = f32_to_f16(lo);
    nibbles_set(b->qs, q);
}

static void q5_0_pack(const float *x, struct block_q5_0 *b)
{
    const float d = peak(x) / -16.0f, inverse = quant_inverse(d);
    int q[32];
    for (int j = 0; j < 32; j++) {
        q[j] = quant_cut(x[j] * inverse + 16.5f, 31.0f);
    }
    b->d = f32_to_f16(d);
    fifth_bits_set(b->qh, q);
    nibbles_set(b->qs, q);
}

static void q5_1_pack(const float *x, struct block_q5_1 *b)
{
    float lo, hi;
    extremes(x, &lo, &hi);
    const float d = (hi - lo) / 31.0f, inverse = quant_inverse(d);
    int q[32];
    for (int j = 0; j < 32; j++) {
        q[j] = quant_cut((x[j] - lo) * inverse + 0.5f, 31.0f);
    }
    b->d = f32_to_f16(d);
    b->m = f32_to_f16(lo);
    fifth_bits_set(b->qh, q);
    nibbles_set(b->qs, q);
}

static void q8_0_pack(const float *x, struct block_q8_0 *b)
{
    const float d = fabsf(peak(x)) / 127.0f, inverse = quant_inverse(d);
    for (int j = 0; j < 32; j++) {
        /* Rounds to nearest, ties away from zero. Adding 0.5 first would round in the sum as
         * well. */
        float v = x[j] * inverse;
        v = v > -127.0f ? v : -127.0f;
        v = v < 127.0f ? v : 127.0f;
        const int q = (int)v;
        const float rest = v - (float)q;
        b->qs[j] = (int8_t)(q + (rest >= 0.5f) - (rest <= -0.5f));
    }
    b->d = f32_to_f16(d);
}

QUANT_DECODER(q4_0, 32)
QUANT_DECODER(q4_1, 32)
QUANT_DECODER(q5_0, 32)
QUANT_DECODER(q5_1, 32)
QUANT_DECODER(q8_0, 32)
QUANT_DECODER(iq4_nl, 32)
QUANT_ENCODER(q4_0, 32)
QUANT_ENCODER(q4_1, 32)
QUANT_ENCODER(q5_0, 32)
QUANT_ENCODER(q5_1, 32)
QUANT_ENCODER(q8_0, 32)
