/* Devices as a program sees them, on any machine and in any build: the list, the platform, what may
 * be opened, and the one line of the log when "auto" falls back to the CPU. Includes only weft.h of
 * the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static weft_platform_info platform;

static int setup(void **state)
{
    (void)state;
    platform.size = sizeof platform;
    OK(weft_platform_get(&platform, E));
    return 0;
}

static weft_device_info device(size_t i)
{
    weft_device_info d = { .size = sizeof d };
    OK(weft_device_get(i, &d, E));
    return d;
}

static void test_platform(void **state)
{
    const weft_platform_info *p = &platform;
    (void)state;
    assert_true(p->n_devices >= 1);
    /* cuda_problem is set if, and only if, there is no GPU. */
    assert_int_equal(p->n_devices == 1, p->cuda_problem[0] != '\0');
    assert_int_equal(p->cuda_built, p->cuda_runtime > 0);
    assert_true(p->cuda_built || p->cuda_driver == 0);
    assert_true(p->cuda_built || strstr(p->cuda_problem, "nvcc") != NULL);
    assert_true(p->cpu_name[0] != '\0');
    assert_true(p->n_cores >= 1 && p->n_cores <= p->n_threads);
    /* The kernels are those for the best instructions of this processor. */
    const bool avx2 = strstr(p->cpu_features, "avx2 fma f16c") != NULL;
    const bool vnni = strstr(p->cpu_features, "avx512vnni") != NULL;
    assert_true(avx2 || strcmp(p->cpu_kernels, "scalar") == 0);
    assert_true(vnni || strcmp(p->cpu_kernels, "avx512-vnni") != 0);
    assert_true(!avx2 || strcmp(p->cpu_kernels, "scalar") != 0);
}

static void test_platform_refused(void **state)
{
    weft_platform_info p = { .size = 0 };
    (void)state;
    FAILS(WEFT_E_ARG, weft_platform_get(NULL, E));
    WORDS("weft_platform_info", "NULL");
    FAILS(WEFT_E_ARG, weft_platform_get(&p, E));
    WORDS("weft_platform_info", "size is 0");
    /* The struct is that of an older caller, which is shorter: nothing behind its end is
     * written. */
    memset(&p, 0x55, sizeof p);
    p.size = offsetof(weft_platform_info, cpu_name);
    OK(weft_platform_get(&p, E));
    assert_int_equal(p.cuda_runtime, platform.cuda_runtime);
    assert_int_equal(p.cpu_name[0], 0x55);
}

static void test_list(void **state)
{
    weft_device_info d = { .size = sizeof d };
    size_t n = platform.n_devices;
    char name[32];
    (void)state;
    for (size_t i = 0; i + 1 < n; i++) {
        d = device(i);
        snprintf(name, sizeof name, "cuda:%zu", i);
        assert_string_equal(d.name, name);
        assert_int_equal(d.usable, d.why[0] == '\0');
    }
    d = device(n - 1);
    assert_string_equal(d.name, "cpu");
    assert_string_equal(d.description, platform.cpu_name);
    assert_true(d.usable && d.why[0] == '\0' && d.n_units == platform.n_cores);
    assert_true(d.free_bytes <= d.total_bytes);
    FAILS(WEFT_E_ARG, weft_device_get(n, &d, E));
    WORDS("does not exist");
    FAILS(WEFT_E_ARG, weft_device_get(SIZE_MAX, &d, E));
    FAILS(WEFT_E_ARG, weft_device_get(n - 1, NULL, E));
    WORDS("weft_device_info", "NULL");
    d.size = 1;
    FAILS(WEFT_E_ARG, weft_device_get(n - 1, &d, E));
    WORDS("weft_device_info");
}

/* ---------------------------------------------------------------- opening */

struct lines {
    size_t n, n_why;
    char first[512], last[512];
};

static void take_line(void *user, weft_log_level level, const char *text)
{
    struct lines *l = user;
    assert_true(level == WEFT_LOG_INFO && strchr(text, '\n') == NULL);
    if (l->n++ == 0) {
        snprintf(l->first, sizeof l->first, "%s", text);
    }
    snprintf(l->last, sizeof l->last, "%s", text);
    l->n_why += strncmp(text, "no GPU: ", 8) == 0;
}

/* Opens an engine and releases it. Returns the name of its backend; *lines gets what it logged. */
static const char *open_on(const char *name, struct lines *lines, weft_status want)
{
    static char backend[32];
    weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
    weft_engine_params ep = WEFT_ENGINE_PARAMS_INIT;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    backend[0] = '\0';
    mp.log = take_line;
    mp.log_user = lines;
    OK(weft_model_open(model_file("tiny-qwen2"), &mp, &model, E));
    memset(lines, 0, sizeof *lines);
    ep.device = name;
    ep.n_threads = 1;
    if (want == WEFT_OK) {
        weft_engine_info info = { .size = sizeof info };
        OK(weft_engine_open(model, &ep, &engine, E));
        OK(weft_engine_get_info(engine, &info, E));
        snprintf(backend, sizeof backend, "%s", info.backend);
        assert_true(strcmp(info.backend, "cpu") != 0 ||
                    strcmp(info.kernels, platform.cpu_kernels) == 0);
    } else {
        FAILS(want, weft_engine_open(model, &ep, &engine, E));
        assert_null(engine);
        assert_int_equal(lines->n_why, 0);
    }
    weft_engine_release(&engine);
    weft_model_release(&model);
    return backend;
}

static void test_auto(void **state)
{
    const char *const names[] = { NULL, "auto" };
    struct lines lines;
    size_t first = 0;
    (void)state;
    while (!device(first).usable) {
        first++;
    }
    bool gpu = first + 1 < platform.n_devices;
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(open_on(names[i], &lines, WEFT_OK), gpu ? "cuda" : "cpu");
        assert_int_equal(lines.n_why, !gpu && platform.cuda_built);
        if (lines.n_why > 0) {
            /* The log first gives the platform's reason, then names the device that was opened. */
            assert_int_equal(lines.n, 2);
            assert_true(platform.n_devices > 1 ||
                        strstr(lines.first, platform.cuda_problem) != NULL);
            assert_non_null(strstr(lines.first, "running on the CPU"));
        }
        assert_true(strncmp(lines.last, gpu ? "cuda (" : "cpu (", gpu ? 6 : 5) == 0);
    }
}

static void test_named(void **state)
{
    struct lines lines;
    char past[32];
    size_t n = platform.n_devices;
    bool any = false;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        weft_device_info d = device(i);
        bool gpu = i + 1 < n;
        const char *backend = open_on(d.name, &lines, d.usable ? WEFT_OK : WEFT_E_UNSUPPORTED);
        assert_string_equal(backend, !d.usable ? "" : gpu ? "cuda" : "cpu");
        assert_int_equal(lines.n_why, 0);
        any = any || (gpu && d.usable);
    }
    open_on("cuda", &lines, any ? WEFT_OK : WEFT_E_UNSUPPORTED);
    snprintf(past, sizeof past, "cuda:%zu", n - 1);
    open_on(past, &lines, WEFT_E_UNSUPPORTED);
    WORDS(past, n == 1 ? platform.cuda_problem : "cpu");
    open_on("abacus", &lines, WEFT_E_UNSUPPORTED);
    WORDS("abacus", "auto", "cpu", "cuda");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_platform), cmocka_unit_test(test_platform_refused),
        cmocka_unit_test(test_list),     cmocka_unit_test(test_auto),
        cmocka_unit_test(test_named),
    };
    return cmocka_run_group_tests_name("device", tests, setup, NULL);
}
