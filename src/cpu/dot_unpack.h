/* Part of dot_body.h: every quantised weight type, unpacked row by row into one canonical form that
 * one dot product serves. Plain loops that compilers turn into vector code; c_nibbles,
 * c_nibbles_bits and c_lookup, which they do not, come from the vocabulary. Block layouts: quant.h.
 * All scales are computed in float, in the order written here. */

/* One weight row: w[i] = s[i / sub] * u[i] + m[i / sub], sub = 16 or 32. `half` is room for the
 * scales as stored. The padding behind the row is zero and stays so. */
struct canon {
    uint8_t *restrict u;
    float *restrict s, *restrict m;
    f16_bits *restrict half[2];
    float *restrict x; /* for float types, instead of all the others: the decoded row */
};

/* Weight rows need not be aligned in the file. */
#define UNALIGNED __attribute__((aligned(1)))
typedef struct block_q4_0 q4_0 UNALIGNED;
typedef struct block_q4_1 q4_1 UNALIGNED;
typedef struct block_q5_0 q5_0 UNALIGNED;
typedef struct block_q5_1 q5_1 UNALIGNED;
typedef struct block_q8_0 q8_0 UNALIGNED;
typedef struct block_q2_k q2_k UNALIGNED;
typedef struct block_q3_k q3_k UNALIGNED;
typedef struct block_q4_k q4_k UNALIGNED;
typedef struct block_q5_k q5_k UNALIGNED;
typedef struct block_q6_k q6_k UNALIGNED;
typedef struct block_iq4_nl iq4_nl UNALIGNED;
typedef struct block_iq4_xs iq4_xs UNALIGNED;

/* s = the n gathered halves, m = bias * s. The bias is minus a power of two: exact. */
static void scales_biased(const struct canon *w, size_t n, float bias)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 d = v_load_f16(w->half[0] + i);
        v_store(w->s + i, d);
        v_store(w->m + i, v_mul(d, v_set1(bias)));
    }
}

/* s and m = the n gathered pairs of halves. */
static void scales_offset(const struct canon *w, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        v_store(w->s + i, v_load_f16(w->half[0] + i));
        v_store(w->m + i, v_load_f16(w->half[1] + i));
    }
}

static void unpack_q4_0(const void *src, size_t n, const struct canon *w)
{
    const q4_0 *b = src;
    for (size_t i = 0; i < n; i++) {
        c_nibbles(b[i].qs, w->u + 32 * i);
        w->half[0][i] = b[i].d;
    }
    scales_biased(w, n, -8.0f);
}

static void unpack_q4_1(const void *src, size_t n, const struct canon *w)
{
    const q4_1 *b = src;
    for (size_t i = 0; i < n; i++) {
        c_nibbles(b[i].qs, w->u + 32 * i);
        w->half[0][i] = b[i].d;
        w->half[1][i] = b[i].m;
    }
    scales_offset(w, n);
}

static void unpack_q5_0(const void *src, size_t n, const struct canon *w)
{
    const q5_0 *b = src;
    for (size_t i = 0; i < n; i++) {
        c_nibbles_bits(b[i].qs, b[i].qh, w->u + 32 * i);
        w->half[0][i] = b[i].d;
    }
    scales_biased(w, n, -16.0f);
}

static void unpack_q5_1(const void *src, size_t n, const struct canon *w)
{
    const q5_1 *b = src;
    for (size_t i = 0; i < n; i++) {
        c_nibbles_bits(b[i].qs, b[i].qh, w->u + 32 * i);
        w->half[0][i] = b[i].d;
        w->half[1][i] = b[i].m;
    }
    scales_offset(w, n);
}

static void unpack_q8_0(const void *src, size_t n, const struct canon *w)
{
    const q8_0 *b = src;
    for (size_t i = 0; i < n; i++) {
        const int8_t *restrict qs = b[i].qs;
        uint8_t *restrict u = w->u + 32 * i;
        for (int j = 0; j < 32; j++) {
            u[j] = (uint8_t)(qs[j] ^ 0x80);
        }
        w->half[0][i] = b[i].d;
    }
    scales_biased(w, n, -128.0f);
}

/* The code book of IQ4, made unsigned. */
INLINE void iq4_table(uint8_t table[16])
{
    for (int j = 0; j < 16; j++) {
        table[j] = (uint8_t)(quant_iq4_values[j] + 128);
    }
}

static void unpack_iq4_nl(const void *src, size_t n, const struct canon *w)
{
    uint8_t table[16];
    iq4_table(table);
    const iq4_nl *b = src;
    for (size_t i = 0; i < n; i++) {
        c_lookup(table, b[i].qs, w->u + 32 * i);
        w->half[0][i] = b[i].d;
    }
    scales_biased(w, n, -128.0f);
}

static void unpack_iq4_xs(const void *src, size_t n, const struct canon *w)
{
    uint8_t table[16];
    iq4_table(table);
    const iq4_xs *b = src;
    for (size_t i = 0; i < n; i++) {
        float d = f16_one(b[i].d);
        for (int k = 0; k < 8; k++) {
            int low = b[i].scales_l[k / 2] >> k % 2 * 4 & 15;
            int high = b[i].scales_h >> 2 * k & 3;
            float s = d * (float)((low | high << 4) - 32);
            w->s[8 * i + (size_t)k] = s;
            w->m[8 * i + (size_t)k] = -128.0f * s;
            c_lookup(table, b[i].qs + 16 * k, w->u + 256 * i + 32 * k);
        }
    }
}

static void unpack_q2_k(const void *src, size_t n, const struct canon *w)
{
    const q2_k *b = src;
    for (size_t i = 0; i < n; i++) {
        uint8_t codes[32];
        c_nibbles(b[i].scales, codes);
        v_store(w->s + 16 * i, v_mul(v_set1(f16_one(b[i].d)), v_from_u8(codes)));
        v_store(w->m + 16 * i, v_mul(v_set1(-f16_one(b[i].dmin)), v_from_u8(codes + 16)));
        for (int half = 0; half < 2; half++) {
            const uint8_t *restrict qs = b[i].qs + 32 * half;
            uint8_t *restrict u = w->u + 256 * i + 128 * half;
            for (int j = 0; j < 32; j++) {
                u[j] = qs[j] & 3;
                u[j + 32] = qs[j] >> 2 & 3;
                u[j + 64] = qs[j] >> 4 & 3;
                u[j + 96] = qs[j] >> 6;
            }
        }
    }
}

/* Sixteen 6-bit scales: four low bits in 8 bytes, two high bits in 4 bytes. Four at a time. */
INLINE void scales_q3_k(const uint8_t in[12], uint8_t out[16])
{
    uint32_t a, b, high, q[4];
    memcpy(&a, in, 4);
    memcpy(&b, in + 4, 4);
    memcpy(&high, in + 8, 4);
    q[0] = (a & 0x0f0f0f0f) | (high & 0x03030303) << 4;
    q[1] = (b & 0x0f0f0f0f) | (high >> 2 & 0x03030303) << 4;
    q[2] = (a >> 4 & 0x0f0f0f0f) | (high >> 4 & 0x03030303) << 4;
    q[3] = (b >> 4 & 0x0f0f0f0f) | (high >> 6 & 0x03030303) << 4;
    memcpy(out, q, sizeof q);
}

static void unpack_q3_k(const void *src, size_t n, const struct canon *w)
{
    const q3_k *b = src;
    for (size_t i = 0; i < n; i++) {
        uint8_t code[16];
        scales_q3_k(b[i].scales, code);
        v16 s = v_sub(v_from_u8(code), v_set1(32.0f));
        s = v_mul(v_set1(f16_one(b[i].d)), s);
        v_store(w->s + 16 * i, s);
        v_store(w->m + 16 * i, v_mul(s, v_set1(-4.0f)));
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            const uint8_t *restrict qs = b[i].qs + 32 * half;
            const uint8_t *restrict mask = b[i].hmask;
            uint8_t *restrict u = w->u + 256 * i + 128 * half;
            for (int j = 0; j < 32; j++) {
                u[j] = (uint8_t)((qs[j] & 3) | (mask[j] >> 4 * half & 1) << 2);
                u[j + 32] = (uint8_t)((qs[j] >> 2 & 3) | (mask[j] >> (4 * half + 1) & 1) << 2);
                u[j + 64] = (uint8_t)((qs[j] >> 4 & 3) | (mask[j] >> (4 * half + 2) & 1) << 2);
                u[j + 96] = (uint8_t)(qs[j] >> 6 | (mask[j] >> (4 * half + 3) & 1) << 2);
            }
        }
    }
}

/* Eight 6-bit scales and eight 6-bit minima in 12 bytes, as in Q4_K and Q5_K. Four at a time. */
INLINE void scales_q4_k(const uint8_t in[12], float d, float dmin, float *restrict s,
                        float *restrict m)
{
    uint32_t a, b, c, q[4];
    uint8_t code[16];
    memcpy(&a, in, 4);
    memcpy(&b, in + 4, 4);
    memcpy(&c, in + 8, 4);
    q[0] = a & 0x3f3f3f3f;
    q[1] = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
    q[2] = b & 0x3f3f3f3f;
    q[3] = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    memcpy(code, q, sizeof q);
    const float scale[2] = { d, -dmin };
    v_store_halves(s, m, v_mul(v_spread2(scale), v_from_u8(code)));
}

static void unpack_q4_k(const void *src, size_t n, const struct canon *w)
{
    const q4_k *b = src;
    for (size_t i = 0; i < n; i++) {
        scales_q4_k(b[i].scales, f16_one(b[i].d), f16_one(b[i].dmin), w->s + 8 * i, w->m + 8 * i);
        for (int k = 0; k < 4; k++) {
            const uint8_t *restrict qs = b[i].qs + 32 * k;
            uint8_t *restrict u = w->u + 256 * i + 64 * k;
            for (int j = 0; j < 32; j++) {
                u[j] = qs[j] & 15;
                u[j + 32] = qs[j] >> 4;
            }
        }
    }
}

static void unpack_q5_k(const void *src, size_t n, const struct canon *w)
{
    const q5_k *b = src;
    for (size_t i = 0; i < n; i++) {
        scales_q4_k(b[i].scales, f16_one(b[i].d), f16_one(b[i].dmin), w->s + 8 * i, w->m + 8 * i);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const uint8_t *restrict qs = b[i].qs + 32 * k;
            const uint8_t *restrict qh = b[i].qh;
            uint8_t *restrict u = w->u + 256 * i + 64 * k;
            for (int j = 0; j < 32; j++) {
                u[j] = (uint8_t)((qs[j] & 15) | (qh[j] >> 2 * k & 1) << 4);
                u[j + 32] = (uint8_t)(qs[j] >> 4 | (qh[j] >> (2 * k + 1) & 1) << 4);
            }
        }
    }
}

static void unpack_q6_k(const void *src, size_t n, const struct canon *w)
{
    const q6_k *b = src;
    for (size_t i = 0; i < n; i++) {
        v16 s = v_mul(v_set1(f16_one(b[i].d)), v_from_i8(b[i].scales));
        v_store(w->s + 16 * i, s);
        v_store(w->m + 16 * i, v_mul(s, v_set1(-32.0f)));
        for (int half = 0; half < 2; half++) {
            const uint8_t *restrict ql = b[i].ql + 64 * half;
            const uint8_t *restrict qh = b[i].qh + 32 * half;
            uint8_t *restrict u = w->u + 256 * i + 128 * half;
            for (int j = 0; j < 32; j++) {
                u[j] = (uint8_t)((ql[j] & 15) | (qh[j] << 4 & 48));
                u[j + 32] = (uint8_t)((ql[j + 32] & 15) | (qh[j] << 2 & 48));
                u[j + 64] = (uint8_t)(ql[j] >> 4 | (qh[j] & 48));
                u[j + 96] = (uint8_t)(ql[j + 32] >> 4 | (qh[j] >> 2 & 48));
            }
        }
    }
}

static void unpack_f32(const void *src, size_t n, const struct canon *w)
{
    memcpy(w->x, src, n * sizeof *w->x);
}

static void unpack_f16(const void *src, size_t n, const struct canon *w)
{
    const char *p = src;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v_store(w->x + i, v_load_f16(p + 2 * i));
    }
    if (i < n) {
        v_store(w->x + i, v_load_f16_n(p + 2 * i, n - i));
    }
}

static void unpack_bf16(const void *src, size_t n, const struct canon *w)
{
    const char *restrict p = src;
    float *restrict x = w->x;
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        uint32_t bits = (uint32_t)h << 16;
        memcpy(x + i, &bits, sizeof bits);
    }
}
