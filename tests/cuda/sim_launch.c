/* How a step's kernels are launched, on the simulator, which counts launches and graphs: what the
 * device, its code, its driver and the caller allow, and what happens if a graph cannot be made.
 * The text is the same in every case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cuda/blas.h"
#include "cudasim/testing.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { PROMPT = 20, TOKENS = 24 };

static weft_model *model;
static int32_t expected[TOKENS];
static struct cudasim_config before;
static size_t n_warnings;
static char warning[512];

static void take_line(void *user, weft_log_level level, const char *text)
{
    (void)user;
    if (level == WEFT_LOG_WARN) {
        n_warnings++;
        snprintf(warning, sizeof warning, "%s", text);
    }
}

static weft_engine_params params(size_t n_ahead)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cuda:0";
    p.n_ctx = 128;
    p.n_kv = 256;
    p.n_batch = 32;
    p.n_ahead = n_ahead;
    return p;
}

static weft_seq *open_text(weft_engine *e)
{
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    weft_seq *seq = NULL;
    int32_t prompt[PROMPT];
    greedy.temperature = 0;
    greedy.ignore_end = false;
    for (int32_t i = 0; i < PROMPT; i++) {
        prompt[i] = 300 + i * 7;
    }
    OK(weft_seq_open(e, &greedy, &seq, E));
    OK(weft_seq_append(seq, prompt, PROMPT, E));
    return seq;
}

static void generate(weft_engine *e, int32_t out[TOKENS])
{
    weft_seq *seq = open_text(e);
    for (size_t i = 0; i < TOKENS; i++) {
        OK(weft_engine_step(e, NULL, E));
        OK(weft_seq_next(seq, &out[i], E));
    }
    weft_seq_release(&seq);
}

/* What an engine has launched for a text. */
struct launched {
    uint64_t kernels, programmatic, graphs, broken;
};

static struct launched now(void)
{
    const struct cudasim_counts *s = cudasim_stats();
    return (struct launched){ s->launches, s->programmatic, s->graph_launches, s->broken_captures };
}

static struct launched since(struct launched a)
{
    struct launched b = now();
    return (struct launched){ b.kernels - a.kernels, b.programmatic - a.programmatic,
                              b.graphs - a.graphs, b.broken - a.broken };
}

/* Opens an engine, writes a text, which must be the expected one, and closes the engine. */
static struct launched life(weft_engine_params p)
{
    weft_engine *e = NULL;
    int32_t got[TOKENS];
    struct launched start = now();
    OK(weft_engine_open(model, &p, &e, E));
    generate(e, got);
    assert_memory_equal(got, expected, sizeof got);
    weft_engine_release(&e);
    return since(start);
}

static int open_model(void **state)
{
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    weft_engine_params cpu = params(1);
    weft_engine *e = NULL;
    struct synth_spec spec;
    (void)state;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.n_layers = 1;
    spec.n_vocab = 512;
    p.log = take_line;
    OK(weft_model_open(model_file_of(&spec), &p, &model, E));
    OK(weft_engine_open(model, &cpu, &e, E));
    generate(e, expected);
    weft_engine_release(&e);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    weft_model_release(&model);
    return cudasim_leaks(stderr) != 0;
}

static int setup(void **state)
{
    (void)state;
    cudasim_catch_faults();
    before = *cudasim_settings();
    n_warnings = 0;
    return 0;
}

static int restore(void **state)
{
    (void)state;
    *cudasim_settings() = before;
    cudasim_fail_call(0, false);
    cudasim_break_capture(0);
    return 0;
}

/* ---------------------------------------------------------------- what is allowed */

static const size_t aheads[] = { 1, 4 };

/* If the code is PTX for 8.0 that the driver compiles for a later device, no kernel starts before
 * the one before it has ended. */
static void test_code_decides(void **state)
{
    static const struct {
        int device, code;
        bool overlaps;
    } cases[] = { { 86, 0, false }, { 86, 80, false }, { 90, 80, false }, { 120, 80, false },
                  { 90, 90, true }, { 120, 90, true }, { 100, 100, true } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cudasim_settings()->compute_capability = cases[i].device;
        cudasim_settings()->ptx_version = cases[i].code;
        struct launched n = life(params(1));
        assert_int_equal(n.programmatic > 0, cases[i].overlaps);
        assert_true(n.graphs > 0);
    }
}

static void test_no_pdl(void **state)
{
    (void)state;
    cudasim_settings()->compute_capability = 90;
    for (size_t i = 0; i < 2; i++) {
        weft_engine_params p = params(aheads[i]);
        assert_true(life(p).programmatic > 0);
        p.no_pdl = true;
        struct launched n = life(p);
        assert_int_equal(n.programmatic, 0);
        assert_true(n.graphs > 0);
    }
}

static void test_no_graphs(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        weft_engine_params p = params(aheads[i]);
        struct launched with = life(p);
        assert_true(with.graphs >= TOKENS - 1);
        p.no_graphs = true;
        struct launched without = life(p);
        assert_int_equal(without.graphs, 0);
        assert_int_equal(without.kernels, with.kernels);
        assert_int_equal(n_warnings, 0);
    }
}

/* With an old driver there are neither graphs nor overlapping kernels. A line of the log says so,
 * but not to a caller who wants no graphs anyway. */
static void test_old_driver(void **state)
{
    (void)state;
    cudasim_settings()->compute_capability = 90;
    cudasim_settings()->driver_version = 12020;
    for (size_t i = 0; i < 2; i++) {
        weft_engine_params p = params(aheads[i]);
        struct launched n = life(p);
        assert_true(n.kernels > 0 && n.programmatic == 0 && n.graphs == 0);
        assert_int_equal(n_warnings, i + 1);
        assert_non_null(strstr(warning, "12.2"));
        p.no_graphs = true;
        life(p);
        assert_int_equal(n_warnings, i + 1);
    }
    cudasim_settings()->driver_version = 12030;
    struct launched n = life(params(1));
    assert_true(n.programmatic > 0 && n.graphs > 0);
}

/* The build is for another device: the device is listed, with the reason, and not used. */
static void test_no_code(void **state)
{
    weft_device_info d = { .size = sizeof d };
    weft_engine_info info = { .size = sizeof info };
    weft_engine_params p = params(1);
    weft_engine *e = NULL;
    (void)state;
    cudasim_settings()->ptx_version = 90;
    OK(weft_device_get(0, &d, E));
    assert_false(d.usable);
    assert_non_null(strstr(d.why, "CUDA_ARCH=sm_86"));
    FAILS(WEFT_E_UNSUPPORTED, weft_engine_open(model, &p, &e, E));
    rig_message((const char *const[]){ "cuda:0", "no kernels", "CUDA_ARCH=sm_86", NULL });
    p.device = "auto";
    OK(weft_engine_open(model, &p, &e, E));
    OK(weft_engine_get_info(e, &info, E));
    assert_string_equal(info.backend, "cpu");
    weft_engine_release(&e);
}

/* ---------------------------------------------------------------- graphs that cannot be made */

/* If somebody breaks a capture, one step has no graph, and nothing else happens; the next step has
 * its graph. */
static void test_broken_capture(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        cudasim_break_capture(0);
        uint64_t graphs = life(params(aheads[i])).graphs, k = 1;
        for (;; k++) {
            n_warnings = 0;
            cudasim_break_capture(k);
            struct launched n = life(params(aheads[i]));
            if (n.broken == 0) {
                break;
            }
            assert_int_equal(n.broken, 1);
            assert_int_equal(n.graphs, graphs - 1);
            assert_int_equal(n_warnings, 1);
            assert_non_null(strstr(warning, "one by one"));
        }
        assert_true(k > 10);
    }
}

/* If every capture is broken, captures are tried less and less often. */
static void test_always_broken(void **state)
{
    const weft_engine_params p = params(1);
    weft_engine *e = NULL;
    int32_t token;
    (void)state;
    OK(weft_engine_open(model, &p, &e, E));
    weft_seq *seq = open_text(e);
    struct launched start = now();
    for (size_t i = 0; i < TOKENS; i++) {
        cudasim_break_capture(5);
        OK(weft_engine_step(e, NULL, E));
        OK(weft_seq_next(seq, &token, E));
        assert_int_equal(token, expected[i]);
    }
    assert_int_equal(since(start).graphs, 0);
    assert_int_equal(since(start).broken, 5); /* in decode steps 1, 2, 4, 8 and 16 */
    assert_int_equal(n_warnings, 1);
    weft_seq_release(&seq);
    weft_engine_release(&e);
}

/* Whichever call of making a graph fails (the capture does not begin or end, or there is no memory
 * for the graph), only the graph is lost; the step itself succeeds. */
static void test_no_graph(void **state)
{
    static const char *const calls[] = { "cudaStreamBeginCapture", "cudaStreamEndCapture",
                                         "cudaGraphInstantiate", "cudaGraphUpload" };
    size_t n_seen[4] = { 0 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        weft_engine_params p = params(aheads[i]);
        weft_engine *e = NULL;
        for (uint64_t k = 1; e == NULL; k++) {
            OK(weft_engine_open(model, &p, &e, E));
            weft_seq *seq = open_text(e);
            OK(weft_engine_step(e, NULL, E));
            cudasim_fail_call(k, false);
            weft_status status = WEFT_OK;
            for (size_t t = 0; t < TOKENS && status == WEFT_OK; t++) {
                int32_t token;
                OK(weft_seq_next(seq, &token, E));
                assert_int_equal(token, expected[t]);
                status = weft_engine_step(e, NULL, E);
            }
            const char *failed = cudasim_failed_call();
            for (size_t c = 0; c < 4 && failed != NULL; c++) {
                if (strcmp(failed, calls[c]) == 0) {
                    assert_int_equal(status, WEFT_OK);
                    assert_true(n_warnings > 0);
                    n_seen[c]++;
                }
            }
            weft_seq_release(&seq);
            weft_engine_release(&e);
            if (failed == NULL || (n_seen[3] == i + 1 && strcmp(failed, calls[3]) != 0)) {
                break;
            }
        }
    }
    for (size_t c = 0; c < 4; c++) {
        assert_int_equal(n_seen[c], 2);
    }
}

/* ---------------------------------------------------------------- two threads */

static atomic_bool stop;
static atomic_size_t n_handles;

/* Does with cuBLAS what opening and closing engines do, again and again. */
static void *open_and_close(void *arg)
{
    const struct timespec pause = { .tv_nsec = 50000 };
    cudaStream_t stream;
    struct dptr workspace = { 0 };
    (void)arg;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), 0);
    assert_int_equal(cudaMalloc((void **)&workspace.at, 1024), 0);
    while (!atomic_load(&stop)) {
        struct blas blas;
        assert_true(blas_find(&blas));
        assert_int_equal(blas_open(&blas, stream, workspace, 1024), CUBLAS_STATUS_SUCCESS);
        blas_close(&blas);
        atomic_fetch_add(&n_handles, 1);
        nanosleep(&pause, NULL);
    }
    cudaFree((void *)workspace.at);
    cudaStreamDestroy(stream);
    return NULL;
}

/* An engine that closes does not break a capture of another engine. */
static void test_two_engines(void **state)
{
    enum { LIVES = 20 };
    pthread_t thread;
    (void)state;
    struct launched start = now();
    assert_int_equal(pthread_create(&thread, NULL, open_and_close, NULL), 0);
    for (size_t i = 0; i < LIVES; i++) {
        life(params(aheads[i % 2]));
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&n_handles) > LIVES);
    assert_int_equal(since(start).broken, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_code_decides, setup, restore),
        cmocka_unit_test_setup_teardown(test_no_pdl, setup, restore),
        cmocka_unit_test_setup_teardown(test_no_graphs, setup, restore),
        cmocka_unit_test_setup_teardown(test_old_driver, setup, restore),
        cmocka_unit_test_setup_teardown(test_no_code, setup, restore),
        cmocka_unit_test_setup_teardown(test_broken_capture, setup, restore),
        cmocka_unit_test_setup_teardown(test_always_broken, setup, restore),
        cmocka_unit_test_setup_teardown(test_no_graph, setup, restore),
        cmocka_unit_test_setup_teardown(test_two_engines, setup, restore),
    };
    return cmocka_run_group_tests_name("launches", tests, open_model, close_model);
}
