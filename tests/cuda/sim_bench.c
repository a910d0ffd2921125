/* Checks when weft-gpu-bench --leak reports that memory is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu-bench/gpu.h"

enum { N = 16, MIB = 1 << 20 };

static void test_quiet(void **state)
{
    (void)state;
    size_t same[N], once[N], back[N], twice[N];
    for (size_t i = 0; i < N; i++) {
        same[i] = 900 * MIB;
        /* The driver takes a piece once and keeps it, or takes it and returns it. */
        once[i] = (i < 7 ? 900 : 898) * MIB;
        back[i] = (i % 3 == 1 ? 898 : 900) * MIB;
        twice[i] = (i < 5 ? 900 : i < 9 ? 898 : 896) * MIB;
    }
    assert_false(bench_shrinks(same, N));
    assert_false(bench_shrinks(once, N));
    assert_false(bench_shrinks(back, N));
    assert_false(bench_shrinks(twice, N));
}

static void test_lost(void **state)
{
    (void)state;
    size_t each[4], slow[N], hidden[N];
    for (size_t i = 0; i < N; i++) {
        /* Each round loses a byte. */
        each[i % 4] = 900 * MIB - i % 4;
        slow[i] = (900 - 2 * (i / 4)) * MIB;
        /* The loss is hidden behind what the driver takes and returns. */
        hidden[i] = (900 - 2 * (i / 3) + (i % 2 ? 4 : 0)) * MIB;
    }
    assert_true(bench_shrinks(each, 4));
    assert_true(bench_shrinks(slow, N));
    assert_true(bench_shrinks(hidden, N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
