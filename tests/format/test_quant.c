/* quant.c, quant_legacy.c, quant_k.c: the table and its look-ups, decoding of every type (golden
 * vectors of the gguf package, and every code point and scale against a formula and a bit map
 * written here), encoding (golden vectors, error bounds, round trips, NaN and Inf, unaligned
 * memory). Bit-equal means equal as integers. Half floats by themselves: test_half.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/quant.h"

#define MAX_BLOCK 256
#define MAX_BYTES 1024

static uint64_t random_state;

static uint32_t random_u32(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static float random_gaussian(void)
{
    const double u = ((double)random_u32() + 1.0) / 4294967297.0,
                 v = (double)random_u32() / 4294967296.0;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

static void fill_gaussian(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = random_gaussian();
    }
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

/* The types, as the public description of the format gives them. */
static const struct expected_row {
    const char *name;
    uint32_t id, block, bytes;
    size_t struct_bytes;
    bool encodes;
} rows[] = {
    { "F32", 0, 1, 4, sizeof(float), true },
    { "F16", 1, 1, 2, sizeof(f16_bits), true },
    { "Q4_0", 2, 32, 18, sizeof(struct block_q4_0), true },
    { "Q4_1", 3, 32, 20, sizeof(struct block_q4_1), true },
    { "Q5_0", 6, 32, 22, sizeof(struct block_q5_0), true },
    { "Q5_1", 7, 32, 24, sizeof(struct block_q5_1), true },
    { "Q8_0", 8, 32, 34, sizeof(struct block_q8_0), true },
    { "Q2_K", 10, 256, 84, sizeof(struct block_q2_k), false },
    { "Q3_K", 11, 256, 110, sizeof(struct block_q3_k), false },
    { "Q4_K", 12, 256, 144, sizeof(struct block_q4_k), true },
    { "Q5_K", 13, 256, 176, sizeof(struct block_q5_k), true },
    { "Q6_K", 14, 256, 210, sizeof(struct block_q6_k), true },
    { "IQ4_NL", 20, 32, 18, sizeof(struct block_iq4_nl), false },
    { "IQ4_XS", 23, 256, 136, sizeof(struct block_iq4_xs), false },
    { "BF16", 30, 1, 2, sizeof(uint16_t), true },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct quant_type *t = quant_find(rows[i].id);
        assert_non_null(t);
        assert_string_equal(t->name, rows[i].name);
        assert_int_equal(t->id, rows[i].id);
        assert_int_equal(t->block, rows[i].block);
        assert_int_equal(t->bytes, rows[i].bytes);
        assert_int_equal(t->bytes, rows[i].struct_bytes);
        assert_non_null(t->decode);
        assert_int_equal(t->encode != NULL, rows[i].encodes);
        assert_string_equal(quant_name(t->id), t->name);
        assert_ptr_equal(quant_find_name(rows[i].name), t);
        assert_ptr_equal(quant_find(quant_at(i)->id), quant_at(i));
    }
    assert_null(quant_at(N_ROWS));
}

static void test_names(void **state)
{
    (void)state;
    assert_ptr_equal(quant_find_name("q4_k"), quant_find(QUANT_Q4_K));
    assert_ptr_equal(quant_find_name("iQ4_nL"), quant_find(QUANT_IQ4_NL));
    assert_null(quant_find_name(""));
    assert_null(quant_find_name("Q4"));
    assert_null(quant_find_name("Q4_K_M"));
    assert_null(quant_find_name("IQ2_XXS"));
    static const struct {
        uint32_t id;
        const char *name;
    } unread[] = { { 4, "Q4_2" },     { 5, "Q4_3" },        { 9, "Q8_1" },        { 15, "Q8_K" },
                   { 16, "IQ2_XXS" }, { 19, "IQ1_S" },      { 26, "I32" },        { 28, "F64" },
                   { 29, "IQ1_M" },   { 31, "Q4_0_4_4" },   { 33, "Q4_0_8_8" },   { 34, "TQ1_0" },
                   { 35, "TQ2_0" },   { 36, "IQ4_NL_4_4" }, { 38, "IQ4_NL_8_8" }, { 39, "MXFP4" },
                   { 40, "NVFP4" },   { 41, "Q1_0" },       { 42, "Q2_0" } };
    for (size_t i = 0; i < sizeof(unread) / sizeof(unread[0]); i++) {
        assert_string_equal(quant_name(unread[i].id), unread[i].name);
        assert_null(quant_find(unread[i].id));
    }
    for (uint32_t id = 0; id <= 42; id++) {
        assert_non_null(quant_name(id));
    }
    assert_null(quant_name(43));
    assert_null(quant_find(UINT32_MAX));
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t out;
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct quant_type *t = quant_find(rows[i].id);
        assert_true(quant_bytes(t, 0, &out));
        assert_true(out == 0);
        assert_true(quant_bytes(t, 7 * (uint64_t)rows[i].block, &out));
        assert_int_equal(out, 7 * rows[i].bytes);
        const uint64_t most = UINT64_MAX / rows[i].bytes, countable = UINT64_MAX / rows[i].block;
        if (most < countable) {
            assert_true(quant_bytes(t, most * rows[i].block, &out));
            assert_true(out == most * rows[i].bytes);
            assert_false(quant_bytes(t, (most + 1) * rows[i].block, &out));
            assert_false(quant_bytes(t, countable * rows[i].block, &out));
        } else {
            assert_true(quant_bytes(t, countable * rows[i].block, &out));
            assert_true(out == countable * rows[i].bytes);
        }
    }
}

static size_t read_hex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    unsigned byte;
    while (n < cap && sscanf(hex + 2 * n, "%2x", &byte) == 1) {
        out[n++] = (uint8_t)byte;
    }
    return n;
}

static size_t read_floats(const char *hex, float *out, size_t cap)
{
    size_t n = 0;
    unsigned u;
    while (n < cap && sscanf(hex + 8 * n, "%8x", &u) == 1) {
        out[n++] = from_bits(u);
    }
    return n;
}

static void check_golden(const char *what, const struct quant_type *t, const char *a, const char *b)
{
    const bool decode = strcmp(what, "decode") == 0;
    uint8_t block[MAX_BYTES], got_block[MAX_BYTES];
    float x[MAX_BLOCK], got[MAX_BLOCK];
    const size_t n = read_floats(decode ? b : a, x, MAX_BLOCK);
    const size_t n_bytes = read_hex(decode ? a : b, block, MAX_BYTES);
    assert_true(n > 0 && n % t->block == 0);
    assert_int_equal(n_bytes, n / t->block * t->bytes);
    if (decode) {
        t->decode(block, got, n);
        assert_memory_equal(got, x, n * sizeof(float));
    } else {
        assert_string_equal(what, "encode");
        t->encode(x, got_block, n);
        assert_memory_equal(got_block, block, n_bytes);
    }
}

static void test_golden(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/quant_golden.txt", "r");
    assert_non_null(f);
    static char line[8192], a[4096], b[4096];
    char what[16], name[16];
    unsigned decoded[N_ROWS] = { 0 }, encoded[N_ROWS] = { 0 };
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(sscanf(line, "%15s %15s %4095s %4095s", what, name, a, b), 4);
        const struct quant_type *t = quant_find_name(name);
        assert_non_null(t);
        check_golden(what, t, a, b);
        for (size_t i = 0; i < N_ROWS; i++) {
            decoded[i] += what[0] == 'd' && rows[i].id == t->id;
            encoded[i] += what[0] == 'e' && rows[i].id == t->id;
        }
    }
    fclose(f);
    for (size_t i = 0; i < N_ROWS; i++) {
        assert_true(decoded[i] >= 2);
        /* The format leaves it to encoders of K types (blocks of 256) how they choose scales. */
        assert_true(encoded[i] >= 2 || !rows[i].encodes || rows[i].block == 256);
    }
}

/* A number in a block: `width` bits at `shift` of one byte, and its higher bits in another byte.
 * width 0 means that there is no such number. */
struct field {
    size_t byte, high_byte;
    unsigned shift, width, high_shift, high_width;
};

static void field_set(uint8_t *block, struct field f, unsigned v)
{
    block[f.byte] = (uint8_t)((block[f.byte] & ~(((1u << f.width) - 1) << f.shift)) |
                              (v & ((1u << f.width) - 1)) << f.shift);
    if (f.high_width) {
        const unsigned mask = ((1u << f.high_width) - 1) << f.high_shift;
        block[f.high_byte] =
            (uint8_t)((block[f.high_byte] & ~mask) | (v >> f.width) << f.high_shift);
    }
}

static unsigned field_get(const uint8_t *block, struct field f)
{
    const unsigned low = block[f.byte] >> f.shift & ((1u << f.width) - 1);
    const unsigned high = block[f.high_byte] >> f.high_shift & ((1u << f.high_width) - 1);
    return low | (f.high_width ? high << f.width : 0);
}

/* Returns where the code of element i lies. */
static struct field code_field(uint32_t id, unsigned i)
{
    const unsigned pair = i / 32 % 4 * 2;
    switch (id) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL: return (struct field){ 2 + i % 16, 0, i / 16 * 4, 4, 0, 0 };
    case QUANT_Q4_1: return (struct field){ 4 + i % 16, 0, i / 16 * 4, 4, 0, 0 };
    case QUANT_Q5_0: return (struct field){ 6 + i % 16, 2 + i / 8, i / 16 * 4, 4, i % 8, 1 };
    case QUANT_Q5_1: return (struct field){ 8 + i % 16, 4 + i / 8, i / 16 * 4, 4, i % 8, 1 };
    case QUANT_Q8_0: return (struct field){ 2 + i, 0, 0, 8, 0, 0 };
    case QUANT_Q2_K: return (struct field){ 16 + i / 128 * 32 + i % 32, 0, pair, 2, 0, 0 };
    case QUANT_Q3_K:
        return (struct field){ 32 + i / 128 * 32 + i % 32, i % 32, pair, 2, i / 32, 1 };
    case QUANT_Q4_K:
        return (struct field){ 16 + i / 64 * 32 + i % 32, 0, i % 64 / 32 * 4, 4, 0, 0 };
    case QUANT_Q5_K:
        return (
            struct field){ 48 + i / 64 * 32 + i % 32, 16 + i % 32, i % 64 / 32 * 4, 4, i / 32, 1 };
    case QUANT_Q6_K:
        return (struct field){
            i / 128 * 64 + i % 64, 128 + i / 128 * 32 + i % 32, i % 128 / 64 * 4, 4, pair, 2
        };
    case QUANT_IQ4_XS:
        return (struct field){ 8 + i / 32 * 16 + i % 16, 0, i % 32 / 16 * 4, 4, 0, 0 };
    default: return (struct field){ 0 };
    }
}

/* Returns where the scale of group g lies. The width is 0 if the type has no groups. */
static struct field scale_field(uint32_t id, unsigned g)
{
    switch (id) {
    case QUANT_Q2_K: return (struct field){ g, 0, 0, 4, 0, 0 };
    case QUANT_Q3_K: return (struct field){ 96 + g % 8, 104 + g % 4, g / 8 * 4, 4, g / 4 * 2, 2 };
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        return g < 4 ? (struct field){ 4 + g, 0, 0, 6, 0, 0 }
                     : (struct field){ 8 + g, g, 0, 4, 6, 2 };
    case QUANT_Q6_K: return (struct field){ 192 + g, 0, 0, 8, 0, 0 };
    case QUANT_IQ4_XS: return (struct field){ 4 + g / 2, 2 + g / 4, g % 2 * 4, 4, g % 4 * 2, 2 };
    default: return (struct field){ 0 };
    }
}

static struct field min_field(uint32_t id, unsigned g)
{
    switch (id) {
    case QUANT_Q2_K: return (struct field){ g, 0, 4, 4, 0, 0 };
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        return g < 4 ? (struct field){ 8 + g, 0, 0, 6, 0, 0 }
                     : (struct field){ 8 + g, 4 + g, 4, 4, 6, 2 };
    default: return (struct field){ 0 };
    }
}

/* The meaning of a code and of the numbers in a block. */
static const struct meaning {
    uint32_t id;
    unsigned codes, bias; /* a value is code - bias, or from the code book, or a two's complement */
    unsigned group;       /* elements of a group */
    unsigned scales, scale_bias; /* number of values that a group's scale has; 0 = no groups */
    unsigned mins;
    size_t d, m; /* offsets of the half floats; SIZE_MAX = none */
} meanings[] = {
    { QUANT_Q4_0, 16, 8, 32, 0, 0, 0, 0, SIZE_MAX },
    { QUANT_Q4_1, 16, 0, 32, 0, 0, 0, 0, 2 },
    { QUANT_Q5_0, 32, 16, 32, 0, 0, 0, 0, SIZE_MAX },
    { QUANT_Q5_1, 32, 0, 32, 0, 0, 0, 0, 2 },
    { QUANT_Q8_0, 256, 0, 32, 0, 0, 0, 0, SIZE_MAX },
    { QUANT_Q2_K, 4, 0, 16, 16, 0, 16, 80, 82 },
    { QUANT_Q3_K, 8, 4, 16, 64, 32, 0, 108, SIZE_MAX },
    { QUANT_Q4_K, 16, 0, 32, 64, 0, 64, 0, 2 },
    { QUANT_Q5_K, 32, 0, 32, 64, 0, 64, 0, 2 },
    { QUANT_Q6_K, 64, 32, 16, 256, 0, 0, 208, SIZE_MAX },
    { QUANT_IQ4_NL, 16, 0, 32, 0, 0, 0, 0, SIZE_MAX },
    { QUANT_IQ4_XS, 16, 0, 32, 64, 32, 0, 0, SIZE_MAX },
};
#define N_MEANINGS (sizeof(meanings) / sizeof(meanings[0]))

static int code_value(const struct meaning *k, unsigned code)
{
    static const int book[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113 };
    switch (k->id) {
    case QUANT_Q8_0: return code < 128 ? (int)code : (int)code - 256;
    case QUANT_IQ4_NL:
    case QUANT_IQ4_XS: return book[code];
    default: return (int)code - (int)k->bias;
    }
}

static float block_half(const uint8_t *block, size_t at)
{
    return f16_to_f32((f16_bits)(block[at] | block[at + 1] << 8));
}

/* Finds the scale and the offset of the group of element i: x = scale * value + offset, in this
 * order of float operations. */
static void group_of(const struct meaning *k, const uint8_t *block, unsigned i, float *scale,
                     float *offset)
{
    const unsigned g = i / k->group;
    *scale = block_half(block, k->d);
    *offset = k->m == SIZE_MAX ? 0.0f : block_half(block, k->m);
    if (k->scales) {
        const unsigned s = field_get(block, scale_field(k->id, g));
        *scale *=
            (float)(k->id == QUANT_Q6_K && s > 127 ? (int)s - 256 : (int)s - (int)k->scale_bias);
    }
    if (k->mins) {
        *offset = -(*offset * (float)field_get(block, min_field(k->id, g)));
    }
}

static void random_half(uint8_t *at)
{
    const f16_bits h = (f16_bits)((random_u32() & 0x83ff) | (random_u32() % 31) << 10);
    memcpy(at, &h, sizeof(h));
}

/* Every element takes every code, and every group takes every scale and minimum. */
static void test_code_points(void **state)
{
    (void)state;
    random_state = 2;
    assert_int_equal(N_MEANINGS + 3, N_ROWS);
    for (size_t t = 0; t < N_MEANINGS; t++) {
        const struct meaning *k = &meanings[t];
        const struct quant_type *type = quant_find(k->id);
        for (unsigned turn = 0; turn < 256; turn++) {
            uint8_t block[MAX_BYTES] = { 0 };
            unsigned codes[MAX_BLOCK];
            float x[MAX_BLOCK];
            random_half(block + k->d);
            if (k->m != SIZE_MAX) {
                random_half(block + k->m);
            }
            for (unsigned g = 0; k->scales && g < 256 / k->group; g++) {
                field_set(block, scale_field(k->id, g), (turn + 5 * g) % k->scales);
                if (k->mins) {
                    field_set(block, min_field(k->id, g), (3 * turn + g) % k->mins);
                }
            }
            for (unsigned i = 0; i < type->block; i++) {
                codes[i] = (turn + 7 * i) % k->codes;
                field_set(block, code_field(k->id, i), codes[i]);
            }
            type->decode(block, x, type->block);
            for (unsigned i = 0; i < type->block; i++) {
                float scale, offset;
                group_of(k, block, i, &scale, &offset);
                const float product = scale * (float)code_value(k, codes[i]);
                const float expected = k->m == SIZE_MAX ? product : product + offset;
                assert_int_equal(bits_of(x[i]), bits_of(expected));
            }
        }
    }
}

/* Checks that no code of the group comes nearer to x than the one that was chosen. The slack is for
 * the roundings of floats, also of x / scale, which may tip a near tie. */
static void check_nearest(const struct meaning *k, const uint8_t *block, const float *x,
                          const float *y, unsigned i)
{
    float scale, offset;
    group_of(k, block, i, &scale, &offset);
    const double got = fabs((double)x[i] - (double)y[i]);
    const double slack = 0x1p-20 * (double)(fabsf(x[i]) + fabsf(offset) + fabsf(64.0f * scale));
    for (unsigned code = 0; code < k->codes; code++) {
        const double other = (double)scale * code_value(k, code) + (double)offset;
        assert_true(got <= fabs((double)x[i] - other) + slack);
    }
}

/* The bounds are the errors of ggml's own quantiser on data from N(0,1) and uniform data in 0..1
 * (llama-cpp-python 0.3.36, 10^6 elements), times the 1.02 that is allowed. The sampling error of
 * 65536 elements is about 0.3 %. */
static void test_k_encode(void **state)
{
    (void)state;
    static const struct {
        uint32_t id;
        double rmse;
        bool uniform;
    } levels[] = { { QUANT_Q4_K, 0.07146, 0 },
                   { QUANT_Q5_K, 0.03613, 0 },
                   { QUANT_Q6_K, 0.01774, 0 },
                   { QUANT_Q4_K, 0.01683, 1 },
                   { QUANT_Q5_K, 0.00833, 1 } };
    for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
        const struct quant_type *t = quant_find(levels[l].id);
        const struct meaning *k = meanings;
        while (k->id != t->id) {
            k++;
        }
        random_state = 3;
        double sum = 0.0;
        for (int b = 0; b < 256; b++) {
            uint8_t block[MAX_BYTES];
            float x[256], y[256];
            fill_gaussian(x, 256);
            for (int i = 0; i < 256 && levels[l].uniform; i++) {
                x[i] = (float)random_u32() * 0x1p-32f;
            }
            t->encode(x, block, 256);
            t->decode(block, y, 256);
            for (unsigned i = 0; i < 256; i++) {
                check_nearest(k, block, x, y, i);
                sum += pow((double)x[i] - (double)y[i], 2.0);
            }
        }
        assert_true(sqrt(sum / 65536.0) <= 1.02 * levels[l].rmse);
    }
}

/* Returns how far value v of block x may be off. The step d follows from the range or peak of x.
 * Rounding to a level costs up to d / 2, d as a half 2^-11 of the distance to level 0, a minimum
 * as a half 2^-11 of it, and the arithmetic in float less than 2^-18 of the range. */
static double legacy_bound(uint32_t id, const float *x, float v)
{
    double lo = (double)x[0], hi = lo;
    for (int i = 1; i < 32; i++) {
        lo = fmin(lo, (double)x[i]);
        hi = fmax(hi, (double)x[i]);
    }
    const double peak = hi > -lo ? hi : lo;
    const double half = 0x1p-11, eps = 0x1p-18;
    if (id == QUANT_Q8_0) {
        const double d = fabs(peak) / 127.0;
        return d * (0.5 + 127.0 * (half + eps));
    }
    if (id == QUANT_Q4_0 || id == QUANT_Q5_0) {
        const double levels = id == QUANT_Q4_0 ? 8.0 : 16.0, d = peak / -levels;
        /* Opposite to the peak one level is missing, so a value there may be off by d. */
        const double step = (double)v / d > levels - 1.5 ? 1.0 : 0.5;
        return fabs(d) * (step + levels * (half + eps));
    }
    const double levels = id == QUANT_Q4_1 ? 15.0 : 31.0, d = (hi - lo) / levels;
    return d * (0.5 + levels * (half + eps)) + fabs(lo) * (half + eps);
}

static void test_legacy_bounds(void **state)
{
    (void)state;
    static const uint32_t ids[] = { QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1, QUANT_Q8_0 };
    random_state = 4;
    for (int b = 0; b < 4000; b++) {
        float x[32], y[32];
        const float shift = (float)(b % 4);
        for (int i = 0; i < 32; i++) {
            x[i] = random_gaussian() + shift;
        }
        for (size_t k = 0; k < 5; k++) {
            uint8_t block[MAX_BYTES], again[MAX_BYTES];
            const struct quant_type *t = quant_find(ids[k]);
            t->encode(x, block, 32);
            t->decode(block, y, 32);
            for (int i = 0; i < 32; i++) {
                assert_true(fabs((double)x[i] - (double)y[i]) <= legacy_bound(ids[k], x, x[i]));
            }
            /* The decoded values are encoded to the same block again, because its peak, or its
             * extremes, are exact levels. */
            t->encode(y, again, 32);
            assert_memory_equal(again, block, t->bytes);
        }
    }
}

/* Blocks with a NaN, an Inf or a huge number. Every byte is defined, and the neighbours are
 * untouched. UBSan, under which this runs too, reports a float that does not fit its integer. */
static void test_encode_special(void **state)
{
    (void)state;
    static const float special[] = { NAN,      -NAN,  INFINITY, -INFINITY, 3.4e38f,
                                     -3.4e38f, 1e30f, 1e-45f,   -0.0f };
    random_state = 5;
    for (size_t r = 0; r < N_ROWS; r++) {
        /* If s is even, the whole middle block is special; if it is odd, only one element. */
        const struct quant_type *t = quant_at(r);
        for (size_t s = 0; t->encode && s < 2 * sizeof(special) / sizeof(special[0]); s++) {
            float x[3 * MAX_BLOCK], y[3 * MAX_BLOCK];
            uint8_t a[3 * MAX_BYTES], b[3 * MAX_BYTES], clean[3 * MAX_BYTES];
            fill_gaussian(x, 3 * (size_t)t->block);
            t->encode(x, clean, 3 * (size_t)t->block);
            const size_t from = t->block + (s % 2 ? t->block / 2 : 0),
                         to = s % 2 ? from + 1 : 2 * (size_t)t->block;
            for (size_t i = from; i < to; i++) {
                x[i] = special[s / 2];
            }
            memset(a, 0x55, sizeof(a));
            memset(b, 0xaa, sizeof(b));
            t->encode(x, a, 3 * (size_t)t->block);
            t->encode(x, b, 3 * (size_t)t->block);
            assert_memory_equal(a, b, 3 * (size_t)t->bytes);
            assert_int_equal(a[3 * t->bytes], 0x55);
            assert_memory_equal(a, clean, t->bytes);
            assert_memory_equal(a + 2 * t->bytes, clean + 2 * t->bytes, t->bytes);
            t->decode(a, y, 3 * (size_t)t->block);
            for (size_t i = from; i < to && t->block == 256; i++) {
                /* The scales of the K types are held at the largest half, so they never decode to
                 * NaN. */
                assert_true(y[i] == y[i]);
            }
        }
    }
}

static void test_zero_and_unaligned(void **state)
{
    (void)state;
    random_state = 6;
    for (size_t r = 0; r < N_ROWS; r++) {
        const struct quant_type *t = quant_find(rows[r].id);
        const size_t n = 2 * (size_t)t->block, bytes = 2 * (size_t)t->bytes;
        uint8_t even[MAX_BYTES], odd[MAX_BYTES + 1];
        float x[2 * MAX_BLOCK], y[2 * MAX_BLOCK];
        memset(even, 0, sizeof(even));
        if (t->encode) {
            memset(x, 0, sizeof(x));
            t->encode(x, even, n);
        }
        t->decode(even, y, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(y[i] == 0.0f);
        }
        if (t->encode) {
            fill_gaussian(x, n);
            t->encode(x, even, n);
            t->encode(x, odd + 1, n);
            assert_memory_equal(odd + 1, even, bytes);
            t->encode(x, odd + 1, 0);
        }
        memcpy(odd + 1, even, bytes);
        t->decode(even, x, n);
        t->decode(odd + 1, y, n);
        assert_memory_equal(x, y, n * sizeof(float));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_k_encode),
        cmocka_unit_test(test_legacy_bounds),
        cmocka_unit_test(test_encode_special),
        cmocka_unit_test(test_zero_and_unaligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
