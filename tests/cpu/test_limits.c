/* Measuring the processor: its two loops do all the work that they are credited with, and the
 * figures are plausible for a processor. */
#include <stdio.h>

#include "support/dot_variants.h"
#include "support/models.h"
#include "support/rig.h"

/* Every word is read: the sum equals that of a plain loop, for all lengths up to 100 (the loop is
 * unrolled) and for a long one. */
static void test_reads_all(void **state)
{
    const struct cpu_ops *ops = variant(state);
    enum { N = 4096 };
    uint64_t *p = room(N * sizeof *p), want = 0;
    for (size_t i = 0; i < N; i++) {
        p[i] = (uint64_t)rng() << 32 | rng();
    }
    for (size_t n = 0; n <= 100; n++) {
        assert_true(ops->read(p, n) == want);
        want += p[n];
    }
    for (size_t n = 101; n < N; n++) {
        want += p[n];
    }
    assert_true(ops->read(p, N) == want);
    free(p);
}

/* mac_burst() returns how many multiply-adds it did. The count is the sum of the products of its
 * bytes, all 1, so n rounds give n times as much as one, and a byte that is 0 makes it smaller. */
static void test_multiplies_all(void **state)
{
    const struct cpu_ops *ops = variant(state);
    uint8_t ones[BURST_BYTES];
    memset(ones, 1, sizeof ones);
    uint64_t one = ops->mac_burst(ones, 1);
    assert_true(one > 0 && one % 64 == 0);
    assert_true(ops->mac_burst(ones, 0) == 0);
    assert_true(ops->mac_burst(ones, 1000) == 1000 * one);
    ones[0] = 0;
    assert_true(ops->mac_burst(ones, 1) < one);
    ones[0] = 1;
    ones[BURST_BYTES - 1] = 0;
    assert_true(ops->mac_burst(ones, BURST_BYTES / 64) < BURST_BYTES / 64 * one);
}

static weft_limits measured(weft_cpu_isa isa)
{
    weft_engine_params p = { .size = sizeof p, .device = "cpu", .n_threads = 1, .cpu_isa = isa };
    weft_limits l = { .size = sizeof l };
    struct rig r = rig_open(model_file("tiny-qwen2"), &p);
    OK(weft_engine_measure(r.engine, &l, E));
    rig_close(&r);
    print_message("reads %.2f GB/s, %.2f G multiply-adds/s\n", l.read_bytes_per_s * 1e-9,
                  l.macs_per_s * 1e-9);
    return l;
}

static void assert_near(double a, double b, double factor)
{
    if (!(a < factor * b && b < factor * a)) {
        fail_msg("%g and %g are more than a factor %g apart", a, b, factor);
    }
}

/* The lower bounds are a hundredth of what a slow machine does under a sanitizer; a figure above
 * the upper bounds would show that not everything was read or multiplied. The best of several
 * passes is nearly the same again, unless other programs take most of the processor for a whole
 * second. */
static void test_engine(void **state)
{
    (void)state;
    weft_limits a = measured(WEFT_ISA_AUTO), b = measured(WEFT_ISA_AUTO);
    assert_true(a.read_bytes_per_s > 1e7 && a.read_bytes_per_s < 1e12);
    assert_true(a.macs_per_s > 1e6 && a.macs_per_s < 1e13);
    assert_near(a.read_bytes_per_s, b.read_bytes_per_s, 8);
    assert_near(a.macs_per_s, b.macs_per_s, 8);
}

static void test_refused(void **state)
{
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_limits l = { .size = 0 };
    (void)state;
    FAILS(WEFT_E_ARG, weft_engine_measure(r.engine, NULL, E));
    rig_message((const char *const[]){ "weft_limits", NULL });
    FAILS(WEFT_E_ARG, weft_engine_measure(r.engine, &l, E));
    FAILS(WEFT_E_ARG, weft_engine_measure(NULL, &l, E));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_reads_all),
        EACH(test_multiplies_all),
        cmocka_unit_test(test_engine),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
