/* Random schedules on the CPU; how: schedule_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schedule_rig.h"

static void test_large_pool(void **state)
{
    (void)state;
    static const size_t batches[] = { 1, 7, 64, 512 };
    for (size_t i = 0; i < 4; i++) {
        schedule(
            "tiny-qwen2",
            (weft_engine_params){ .n_kv = N_SLOTS * 256, .n_batch = batches[i], .n_threads = 1 },
            100 + i, 1500);
    }
}

static void test_small_pool(void **state)
{
    (void)state;
    static const size_t batches[] = { 5, 33, 300 };
    for (size_t i = 0; i < 3; i++) {
        schedule(i == 2 ? "tiny-phi3" : "tiny-qwen3",
                 (weft_engine_params){ .n_kv = 8 * PAGE, .n_batch = batches[i], .n_threads = 1 },
                 200 + i, 2000);
    }
}

static void test_threads(void **state)
{
    (void)state;
    schedule("tiny-llama", (weft_engine_params){ .n_kv = 10 * PAGE, .n_batch = 48, .n_threads = 3 },
             300, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_large_pool, say_where),
        cmocka_unit_test_teardown(test_small_pool, say_where),
        cmocka_unit_test_teardown(test_threads, say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
