/* Half floats and bf16 in both directions: all 65,536 patterns against the definition of the
 * format, all midpoints between neighbours, random floats, NaN. Exact: no tolerance anywhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format/quant.h"

static uint64_t random_state;

static uint32_t random_u32(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
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

/* Returns the value of a finite half, by the definition of the format. */
static double half_value(uint32_t h)
{
    const int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    const double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -v : v;
}

static void test_f16_to_f32(void **state)
{
    (void)state;
    for (uint32_t h = 0; h <= 0xffff; h++) {
        const float f = f16_to_f32((f16_bits)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(f));
        } else if ((h & 0x7fff) == 0x7c00) {
            assert_int_equal(bits_of(f), h & 0x8000 ? 0xff800000 : 0x7f800000);
        } else {
            assert_int_equal(bits_of(f), bits_of((float)half_value(h)));
            assert_int_equal(f32_to_f16(f), h);
        }
    }
    /* -0 went through (float)half_value() above; its sign must have survived. */
    assert_int_equal(bits_of(f16_to_f32(0x8000)), 0x80000000);
}

/* The midpoint between two neighbouring halves goes to the even one, the floats beside it to the
 * nearer one. The last midpoint, 65520, lies between the largest half and Inf. */
static void test_f16_midpoints(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const double above = h == 0x7bff ? 65536.0 : half_value(h + 1);
        const float mid = (float)((half_value(h) + above) / 2.0);
        assert_int_equal(f32_to_f16(mid), h + (h & 1));
        assert_int_equal(f32_to_f16(nextafterf(mid, 0.0f)), h);
        assert_int_equal(f32_to_f16(nextafterf(mid, INFINITY)), h + 1);
        assert_int_equal(f32_to_f16(-mid), 0x8000 | (h + (h & 1)));
    }
}

static void test_f16_random(void **state)
{
    (void)state;
    random_state = 1;
    for (int i = 0; i < 1000000; i++) {
        uint32_t u = random_u32();
        if (i % 2) {
            /* Few random floats lie in the range of half floats, so every second one is moved
             * there. */
            u = (u & 0x807fffff) | (100 + (u >> 23) % 48) << 23;
        }
        const float x = from_bits(u);
        const f16_bits h = f32_to_f16(x);
        if (isnan(x)) {
            assert_true((h & 0x7fff) > 0x7c00);
        } else if (fabsf(x) >= 65520.0f) {
            assert_int_equal(h, u >> 31 ? 0xfc00 : 0x7c00);
        } else {
            const int exponent = x == 0.0f || ilogbf(x) < -14 ? -14 : ilogbf(x);
            const double ulp = ldexp(1.0, exponent - 10);
            assert_true(half_value(h) == nearbyint((double)x / ulp) * ulp);
            assert_int_equal(h >> 15, u >> 31);
        }
    }
    assert_int_equal(f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_true((f32_to_f16(from_bits(0x7f800001)) & 0x7fff) > 0x7c00);
    assert_true((f32_to_f16(from_bits(0xffffffff)) & 0x7fff) > 0x7c00);
    assert_int_equal(f32_to_f16(from_bits(1)), 0);
}

/* A bf16 is the upper half of a float. */
static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h <= 0xffff; h++) {
        assert_int_equal(bits_of(bf16_to_f32((uint16_t)h)), h << 16);
        if ((h & 0x7fff) > 0x7f80) {
            assert_true((f32_to_bf16(from_bits(h << 16)) & 0x7fff) > 0x7f80);
            continue;
        }
        assert_int_equal(f32_to_bf16(from_bits(h << 16)), h);
        if ((h & 0x7fff) < 0x7f80) {
            const uint32_t mid = h << 16 | 0x8000;
            assert_int_equal(f32_to_bf16(from_bits(mid)), h + (h & 1));
            assert_int_equal(f32_to_bf16(from_bits(mid - 1)), h);
            assert_int_equal(f32_to_bf16(from_bits(mid + 1)), h + 1);
        }
    }
    /* These are NaNs whose payload lies in the half that is dropped. */
    assert_true((f32_to_bf16(from_bits(0x7f800001)) & 0x7fff) > 0x7f80);
    assert_true((f32_to_bf16(from_bits(0xff807fff)) & 0x7fff) > 0x7f80);
    assert_true((f32_to_bf16(from_bits(0x7fffffff)) & 0x7fff) > 0x7f80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_to_f32),
        cmocka_unit_test(test_f16_midpoints),
        cmocka_unit_test(test_f16_random),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
