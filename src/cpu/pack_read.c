/* Separates a block of each quantised type into codes and scales. quant.h describes the blocks. */
#include <string.h>

#include "cpu/pack.h"

static void nibbles(const uint8_t *qs, uint8_t *low, uint8_t *high, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        low[j] = qs[j] & 15;
        high[j] = qs[j] >> 4;
    }
}

/* Adds the fifth bits of 32 codes. */
static void fifth_bits(const uint8_t qh[4], uint8_t *codes)
{
    for (int j = 0; j < 32; j++) {
        codes[j] |= (uint8_t)((qh[j / 8] >> j % 8 & 1) << 4);
    }
}

static void read_q4_0(const void *src, struct pack_unit *b)
{
    const struct block_q4_0 *s = src;
    b->d = s->d;
    nibbles(s->qs, b->codes, b->codes + 16, 16);
}

static void read_q4_1(const void *src, struct pack_unit *b)
{
    const struct block_q4_1 *s = src;
    b->d = s->d;
    b->e = s->m;
    nibbles(s->qs, b->codes, b->codes + 16, 16);
}

static void read_q5_0(const void *src, struct pack_unit *b)
{
    const struct block_q5_0 *s = src;
    b->d = s->d;
    nibbles(s->qs, b->codes, b->codes + 16, 16);
    fifth_bits(s->qh, b->codes);
}

static void read_q5_1(const void *src, struct pack_unit *b)
{
    const struct block_q5_1 *s = src;
    b->d = s->d;
    b->e = s->m;
    nibbles(s->qs, b->codes, b->codes + 16, 16);
    fifth_bits(s->qh, b->codes);
}

static void read_q8_0(const void *src, struct pack_unit *b)
{
    const struct block_q8_0 *s = src;
    b->d = s->d;
    for (int j = 0; j < 32; j++) {
        b->codes[j] = (uint8_t)(s->qs[j] ^ 0x80);
    }
}

static void read_iq4_nl(const void *src, struct pack_unit *b)
{
    const struct block_iq4_nl *s = src;
    b->d = s->d;
    nibbles(s->qs, b->codes, b->codes + 16, 16);
}

static void read_iq4_xs(const void *src, struct pack_unit *b)
{
    const struct block_iq4_xs *s = src;
    b->d = s->d;
    for (int k = 0; k < 8; k++) {
        int low = s->scales_l[k / 2] >> k % 2 * 4 & 15, high = s->scales_h >> 2 * k & 3;
        b->k[k] = (uint8_t)((low | high << 4) - 32);
        nibbles(s->qs + 16 * k, b->codes + 32 * k, b->codes + 32 * k + 16, 16);
    }
}

/* Reads two bits of each code: 32 bytes hold 128 codes. */
static void pairs(const uint8_t *qs, uint8_t *codes)
{
    for (int half = 0; half < 2; half++) {
        for (int j = 0; j < 128; j++) {
            codes[128 * half + j] = qs[32 * half + j % 32] >> j / 32 * 2 & 3;
        }
    }
}

static void read_q2_k(const void *src, struct pack_unit *b)
{
    const struct block_q2_k *s = src;
    b->d = s->d;
    b->e = s->dmin;
    memcpy(b->k, s->scales, 16);
    pairs(s->qs, b->codes);
}

/* Reads sixteen 6-bit scales: the four low bits are in 8 bytes, the two high bits in 4 bytes. */
static void read_q3_k(const void *src, struct pack_unit *b)
{
    const struct block_q3_k *s = src;
    b->d = s->d;
    pairs(s->qs, b->codes);
    for (int j = 0; j < 256; j++) {
        b->codes[j] |= (uint8_t)((s->hmask[j % 32] >> j / 32 & 1) << 2);
    }
    for (int k = 0; k < 16; k++) {
        int low = s->scales[k % 8] >> k / 8 * 4 & 15, high = s->scales[8 + k % 4] >> k / 4 * 2 & 3;
        b->k[k] = (uint8_t)((low | high << 4) - 32);
    }
}

/* Reads eight 6-bit scales and eight 6-bit minima from 12 bytes. */
static void scales_k(const uint8_t in[12], struct pack_unit *b)
{
    for (int k = 0; k < 4; k++) {
        b->k[k] = in[k] & 63;
        b->l[k] = in[k + 4] & 63;
        b->k[k + 4] = (uint8_t)((in[k + 8] & 15) | in[k] >> 6 << 4);
        b->l[k + 4] = (uint8_t)(in[k + 8] >> 4 | in[k + 4] >> 6 << 4);
    }
}

static void read_q4_k(const void *src, struct pack_unit *b)
{
    const struct block_q4_k *s = src;
    b->d = s->d;
    b->e = s->dmin;
    scales_k(s->scales, b);
    for (int k = 0; k < 4; k++) {
        nibbles(s->qs + 32 * k, b->codes + 64 * k, b->codes + 64 * k + 32, 32);
    }
}

static void read_q5_k(const void *src, struct pack_unit *b)
{
    const struct block_q5_k *s = src;
    b->d = s->d;
    b->e = s->dmin;
    scales_k(s->scales, b);
    for (int k = 0; k < 4; k++) {
        nibbles(s->qs + 32 * k, b->codes + 64 * k, b->codes + 64 * k + 32, 32);
    }
    for (int j = 0; j < 256; j++) {
        b->codes[j] |= (uint8_t)((s->qh[j % 32] >> j / 32 & 1) << 4);
    }
}

static void read_q6_k(const void *src, struct pack_unit *b)
{
    const struct block_q6_k *s = src;
    b->d = s->d;
    memcpy(b->k, s->scales, 16);
    for (int half = 0; half < 2; half++) {
        nibbles(s->ql + 64 * half, b->codes + 128 * half, b->codes + 128 * half + 64, 64);
        for (int j = 0; j < 128; j++) {
            int high = s->qh[32 * half + j % 32] >> j / 32 * 2 & 3;
            b->codes[128 * half + j] |= (uint8_t)(high << 4);
        }
    }
}

void pack_read(const struct quant_type *type, const uint8_t *src, struct pack_unit *b)
{
    static void (*const readers[])(const void *, struct pack_unit *) = {
#define READER(type, name, ...) [QUANT_##type] = read_##name,
        PACK_TYPES(READER)
    };
    /* The weights in the file may be unaligned. */
    union {
#define BLOCK(type, name, ...) struct block_##name name;
        PACK_TYPES(BLOCK)
    } aligned;
    memcpy(&aligned, src, type->bytes);
    readers[type->id](&aligned, b);
}
