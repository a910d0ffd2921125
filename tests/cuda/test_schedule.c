/* Random schedules on a GPU, deterministically; tests/support/schedule_rig.h says how. There are
 * fewer operations than in tests/run/test_schedule.c, because the simulator takes some milliseconds
 * per token; the level thin leaves out one of two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/level.h"
#include "support/schedule_rig.h"

static weft_engine_params engine(size_t n_kv, size_t n_batch)
{
    return (weft_engine_params){ .device = "cuda",
                                 .deterministic = true,
                                 .n_kv = n_kv,
                                 .n_batch = n_batch,
                                 .n_threads = 1,
                                 .no_prefix_cache = true };
}

static void test_large_pool(void **state)
{
    (void)state;
    if (!level_all("the schedule with a large pool")) {
        skip();
    }
    schedule("tiny-qwen2", engine(N_SLOTS * 256, 64), 104, 160);
}

static void test_small_pool(void **state)
{
    (void)state;
    schedule("tiny-qwen3", engine(8 * PAGE, 300), 200, 150);
}

/* Steps in which some sequences have other RoPE factors than others. */
static void test_rope_border(void **state)
{
    (void)state;
    weft_engine_params p = engine(N_SLOTS * 256, 64);
    p.no_prefix_cache = false;
    schedule_file(model_file_long(20), "tiny-phi3 with LongRoPE", p, 302, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_large_pool, say_where),
        cmocka_unit_test_teardown(test_small_pool, say_where),
        cmocka_unit_test_teardown(test_rope_border, say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
