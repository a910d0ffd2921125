/* Choosing a device through the public API, from the settings of the simulated device down to the
 * backend that opens: what "auto" does if the driver is missing, if the GPU is too old, too small
 * or too simple, and if its calls fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

#include "cudasim/testing.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static struct {
    size_t n;
    char text[512];
} why; /* the lines that say why there is no GPU */

static void take_line(void *user, weft_log_level level, const char *text)
{
    (void)user;
    if (strncmp(text, "no GPU: ", 8) == 0) {
        assert_int_equal(level, WEFT_LOG_INFO);
        snprintf(why.text, sizeof why.text, "%s", text);
        why.n++;
    }
}

static struct cudasim_config before;

static int setup(void **state)
{
    (void)state;
    before = *cudasim_settings();
    cudasim_fail_call(0, false);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    *cudasim_settings() = before;
    cudasim_fail_call(0, false);
    return cudasim_leaks(stderr) != 0;
}

static weft_model *open_model(const char *path)
{
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    weft_model *model = NULL;
    p.log = take_line;
    OK(weft_model_open(path, &p, &model, E));
    why.n = 0;
    why.text[0] = '\0';
    return model;
}

static weft_engine_params small(const char *device)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = device;
    p.n_ctx = 128;
    p.n_batch = 32;
    p.n_threads = 1;
    return p;
}

/* The engine opens on this backend, after n_why lines that say why there is no GPU. */
static void opens(const char *path, const char *device, const char *backend, size_t n_why)
{
    weft_engine_info info = { .size = sizeof info };
    weft_model *model = open_model(path);
    const weft_engine_params p = small(device);
    weft_engine *engine = NULL;
    OK(weft_engine_open(model, &p, &engine, E));
    OK(weft_engine_get_info(engine, &info, E));
    assert_string_equal(info.backend, backend);
    assert_int_equal(why.n, n_why);
    weft_engine_release(&engine);
    weft_model_release(&model);
}

static void refuses(weft_engine_params p, weft_status want)
{
    weft_model *model = open_model(model_file("tiny-qwen2"));
    weft_engine *engine = NULL;
    FAILS(want, weft_engine_open(model, &p, &engine, E));
    assert_null(engine);
    assert_int_equal(why.n, 0);
    weft_model_release(&model);
}

static void says(const char *text, const char *word)
{
    if (strstr(text, word) == NULL) {
        fail_msg("'%s' does not say '%s'", text, word);
    }
}

static weft_device_info device(size_t i)
{
    weft_device_info d = { .size = sizeof d };
    OK(weft_device_get(i, &d, E));
    return d;
}

static weft_platform_info platform(void)
{
    weft_platform_info p = { .size = sizeof p };
    OK(weft_platform_get(&p, E));
    return p;
}

/* ---------------------------------------------------------------- tests */

static void test_device(void **state)
{
    (void)state;
    weft_platform_info p = platform();
    assert_true(p.cuda_built && p.cuda_driver == CUDART_VERSION &&
                p.cuda_runtime == CUDART_VERSION);
    assert_int_equal(p.n_devices, 2);
    weft_device_info d = device(0);
    assert_string_equal(d.name, "cuda:0");
    assert_string_equal(d.description, "cudasim");
    assert_true(d.usable && d.major == 8 && d.minor == 6);
    assert_int_equal(d.n_units, before.sm_count);
    assert_int_equal(d.total_bytes, before.device_memory);
    assert_true(d.free_bytes > 0 && d.free_bytes <= d.total_bytes);
    assert_string_equal(device(1).name, "cpu");
    const char *const names[] = { NULL, "auto", "cuda", "cuda:0" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        opens(model_file("tiny-qwen2"), names[i], "cuda", 0);
    }
    opens(model_file("tiny-qwen2"), "cpu", "cpu", 0);
    refuses(small("cuda:1"), WEFT_E_UNSUPPORTED);
    WORDS("'cuda:1'", "cpu and cuda:0");
}

static void test_no_driver(void **state)
{
    (void)state;
    cudasim_settings()->device_error = cudaErrorInsufficientDriver;
    weft_platform_info p = platform();
    assert_true(p.cuda_built && p.cuda_driver == 0);
    assert_int_equal(p.n_devices, 1);
    says(p.cuda_problem, "no NVIDIA driver");
    opens(model_file("tiny-qwen2"), "auto", "cpu", 1);
    says(why.text, p.cuda_problem);
    refuses(small("cuda"), WEFT_E_UNSUPPORTED);
    WORDS(p.cuda_problem);
    refuses(small("cuda:0"), WEFT_E_UNSUPPORTED);
    WORDS("'cuda:0'", p.cuda_problem);
}

static void test_old_device(void **state)
{
    (void)state;
    cudasim_settings()->compute_capability = 75;
    weft_device_info d = device(0);
    assert_false(d.usable);
    says(d.why, "7.5");
    opens(model_file("tiny-qwen2"), NULL, "cpu", 1);
    says(why.text, "cuda:0 (cudasim): it has compute capability 7.5");
    refuses(small("cuda:0"), WEFT_E_UNSUPPORTED);
    WORDS("cuda:0 (cudasim)", "7.5", "8.0");
}

/* If the model does not fit on the device, opening fails and the message has the numbers, also with
 * "auto"; nothing stays on the device. */
static void test_small_device(void **state)
{
    const char *const names[] = { "auto", "cuda", "cuda:0" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        weft_engine_params p = small(names[i]);
        p.n_kv = 1 << 22;
        refuses(p, WEFT_E_DEVMEM);
        WORDS("cuda:0", "MiB", "n_kv", "cpu");
        assert_int_equal(cudasim_leaks(NULL), 0);
    }
}

static void test_shape_that_kernels_do_not_run(void **state)
{
    struct synth_spec spec;
    (void)state;
    assert_true(synth_preset("tiny-qwen3", &spec));
    spec.head_dim = 320;
    const char *path = model_file_of(&spec);
    opens(path, "auto", "cpu", 1);
    says(why.text, "320");
    weft_model *model = open_model(path);
    const weft_engine_params p = small("cuda");
    weft_engine *engine = NULL;
    FAILS(WEFT_E_UNSUPPORTED, weft_engine_open(model, &p, &engine, E));
    WORDS("320");
    weft_model_release(&model);
}

/* Whichever call fails while the devices are looked at: device 0 is a GPU that cannot be used and
 * says why, or it is the CPU. */
static void test_failing_calls(void **state)
{
    (void)state;
    cudasim_fail_call(0, false);
    device(0);
    uint64_t n_calls = cudasim_calls();
    assert_true(n_calls >= 4);
    for (uint64_t k = 1; k <= n_calls; k++) {
        cudasim_fail_call(k, false);
        weft_device_info d = device(0);
        /* If counting the GPUs has failed, none is listed, and the CPU is device 0. */
        assert_int_equal(d.usable, d.why[0] == '\0');
        assert_true(!d.usable || strcmp(d.name, "cpu") == 0);
        assert_int_equal(cudaGetLastError(), cudaSuccess);
    }
}

struct progress {
    uint64_t n, done, total, stop_at;
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    assert_true(done >= p->done && done <= total);
    p->n++;
    p->done = done;
    p->total = total;
    return p->n != p->stop_at;
}

static void test_progress(void **state)
{
    (void)state;
    struct progress seen = { 0 };
    weft_model *model = open_model(model_file("tiny-qwen2"));
    weft_engine_params p = small("auto");
    weft_engine *engine = NULL;
    p.progress = on_progress;
    p.progress_user = &seen;
    OK(weft_engine_open(model, &p, &engine, E));
    assert_true(seen.n > 0 && seen.total > 0);
    assert_int_equal(seen.done, seen.total);
    weft_engine_release(&engine);
    /* A user who stops the opening gets no engine on the CPU instead. */
    seen = (struct progress){ .stop_at = 1 };
    FAILS(WEFT_E_CANCELLED, weft_engine_open(model, &p, &engine, E));
    assert_int_equal(seen.n, 1);
    weft_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_device, setup, restore),
        cmocka_unit_test_setup_teardown(test_no_driver, setup, restore),
        cmocka_unit_test_setup_teardown(test_old_device, setup, restore),
        cmocka_unit_test_setup_teardown(test_small_device, setup, restore),
        cmocka_unit_test_setup_teardown(test_shape_that_kernels_do_not_run, setup, restore),
        cmocka_unit_test_setup_teardown(test_failing_calls, setup, restore),
        cmocka_unit_test_setup_teardown(test_progress, setup, restore),
    };
    return cmocka_run_group_tests_name("simulated device", tests, NULL, NULL);
}
