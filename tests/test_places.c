/* Where the threads of an engine run: anywhere, or each on a processor of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/places.h"
#include "support/models.h"
#include "support/rig.h"

enum { N_THREADS = 3, N_TOKENS = 9 };

/* Of this process's threads that may run on one processor only: their number, and in *on each of
 * these processors. */
static size_t bound_threads(cpu_set_t *on)
{
    size_t n = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    CPU_ZERO(on);
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        cpu_set_t may;
        int id = atoi(e->d_name);
        if (id > 0 && sched_getaffinity(id, sizeof may, &may) == 0 && CPU_COUNT(&may) == 1) {
            CPU_OR(on, on, &may);
            n++;
        }
    }
    closedir(tasks);
    return n;
}

static void test_places(void **state)
{
    struct places p;
    cpu_set_t seen;
    (void)state;
    places_find(&p);
    assert_true(p.n_cores >= 1 && p.n_cores <= p.n);
    CPU_ZERO(&seen);
    for (size_t i = 0; i < p.n; i++) {
        assert_false(CPU_ISSET(p.cpu[i], &seen));
        CPU_SET(p.cpu[i], &seen);
    }
}

static void test_pinned(void **state)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    struct places p;
    cpu_set_t on, want;
    int32_t tokens[N_TOKENS];
    const char *path = model_file("tiny-qwen2");
    (void)state;
    places_find(&p);
    if (p.n == 1) {
        skip();
    }
    params.device = "cpu";
    params.n_threads = N_THREADS;
    struct rig loose = rig_open(path, &params);
    assert_int_equal(bound_threads(&on), 0);
    params.pin_threads = true;
    struct rig pinned = rig_open(path, &params);
    assert_int_equal(bound_threads(&on), N_THREADS - 1);
    CPU_ZERO(&want);
    for (size_t i = 1; i < N_THREADS; i++) {
        CPU_SET(p.cpu[i % p.n], &want);
    }
    assert_true(CPU_EQUAL(&on, &want));
    rig_tokens(&loose, 3, tokens, N_TOKENS);
    float *a = rig_expected(&loose, tokens, N_TOKENS), *b = rig_expected(&pinned, tokens, N_TOKENS);
    rig_same(&pinned, b, a, "pinned");
    free(a);
    free(b);
    rig_close(&pinned);
    rig_close(&loose);
    assert_int_equal(bound_threads(&on), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_places),
                                        cmocka_unit_test(test_pinned) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
