/* Every call of CUDA and cuBLAS between opening an engine and closing it fails once, on the
 * simulator. The error is clean and names the call, nothing is left behind, and another engine of
 * the same process goes on as if nothing had happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudasim/testing.h"
#include "support/level.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { PROMPT = 20, TOKENS = 8 };

static weft_model *model;
static weft_engine *bystander;
static int32_t expected[TOKENS];
static uint64_t n_open_calls;

static const char *names(void)
{
    return cudasim_failed_call() != NULL ? cudasim_failed_call() : "";
}

static weft_engine_params params(size_t n_ahead)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cuda:0";
    p.n_ctx = 128;
    p.n_kv = 256;
    p.n_batch = 32;
    p.n_ahead = n_ahead;
    p.no_arena = true;
    return p;
}

/* Saves the sequence and loads the saved state into its twin. */
static weft_status pass_state(weft_seq *seq, weft_seq *twin, weft_error *err)
{
    static uint8_t state[65536];
    size_t n;
    weft_status s = weft_seq_save(seq, state, sizeof state, &n, err);
    return s == WEFT_OK ? weft_seq_load(twin, state, n, err) : s;
}

/* Computes PROMPT tokens, then TOKENS greedy ones. After three of them the sequence is forked, and
 * its saved state is loaded into the fork, so that pages are copied, read back and written, too. */
static weft_status generate(weft_engine *e, int32_t out[TOKENS], weft_error *err)
{
    weft_sampling greedy = WEFT_SAMPLING_INIT;
    greedy.temperature = 0;
    greedy.ignore_end = false;
    weft_seq *seq = NULL, *twin = NULL;
    int32_t prompt[PROMPT];
    size_t ready;
    for (int32_t i = 0; i < PROMPT; i++) {
        prompt[i] = 300 + i * 7;
    }
    weft_status s = weft_seq_open(e, &greedy, &seq, err);
    s = s == WEFT_OK ? weft_seq_append(seq, prompt, PROMPT, err) : s;
    for (size_t i = 0; i < TOKENS && s == WEFT_OK; i++) {
        s = weft_engine_step(e, &ready, err);
        s = s == WEFT_OK ? weft_seq_next(seq, &out[i], err) : s;
        if (s == WEFT_OK && i == 2) {
            s = weft_seq_fork(seq, &twin, err);
            s = s == WEFT_OK ? pass_state(seq, twin, err) : s;
        }
    }
    weft_seq_release(&twin);
    weft_seq_release(&seq);
    return s;
}

static weft_status life(size_t n_ahead, int32_t out[TOKENS], weft_error *err)
{
    weft_engine *e = NULL;
    const weft_engine_params p = params(n_ahead);
    weft_status s = weft_engine_open(model, &p, &e, err);
    s = s == WEFT_OK ? generate(e, out, err) : s;
    weft_engine_release(&e);
    return s;
}

static int setup(void **state)
{
    (void)state;
    const weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
    const weft_engine_params p = params(1);
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.n_layers = 1;
    spec.n_vocab = 512;
    OK(weft_model_open(model_file_of(&spec), &mp, &model, E));
    cudasim_fail_call(0, false);
    OK(weft_engine_open(model, &p, &bystander, E));
    n_open_calls = cudasim_calls();
    OK(generate(bystander, expected, E));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_engine_release(&bystander);
    weft_model_release(&model);
    return cudasim_leaks(stderr) != 0;
}

/* Lets every `stride`-th call fail, beginning with call `first`, each in a run of its own. At the
 * level thin only every fifth of these calls fails. */
static void sweep(size_t n_ahead, bool sticky, uint64_t first, uint64_t stride)
{
    cudasim_catch_faults();
    stride *= level_all("four of five calls that fail") ? 1 : 5;
    weft_error err = { 0 };
    int32_t got[TOKENS] = { 0 };
    cudasim_fail_call(0, false);
    OK(life(n_ahead, got, E));
    assert_memory_equal(got, expected, sizeof got);
    uint64_t n_calls = cudasim_calls();
    size_t clean = cudasim_leaks(NULL), n_failed = 0, n_tried = 0;
    assert_true(n_calls > 100);
    for (uint64_t k = first; k <= n_calls; k += stride, n_tried++) {
        memset(&err, 0, sizeof err);
        cudasim_fail_call(k, sticky);
        weft_status s = life(n_ahead, got, &err);
        const char *call = names();
        cudasim_fail_call(0, false);
        if (s == WEFT_OK) {
            /* The call only released something, or asked for something that the engine can do
             * without. */
            assert_memory_equal(got, expected, sizeof got);
        } else {
            n_failed++;
            /* WEFT_E_UNSUPPORTED means that the device could not be asked what it is. */
            if (s != WEFT_E_DEVICE_LOST && s != WEFT_E_DEVMEM && s != WEFT_E_UNSUPPORTED) {
                fail_msg("call %llu, %s: %s: %s", (unsigned long long)k, call, weft_status_name(s),
                         err.message);
            }
            if (strstr(err.message, "cuda") == NULL) {
                fail_msg("call %llu, %s: the message is '%s'", (unsigned long long)k, call,
                         err.message);
            }
        }
        if (cudasim_leaks(NULL) != clean) {
            cudasim_leaks(stderr);
            fail_msg("call %llu, %s left something behind", (unsigned long long)k, call);
        }
        if (k % 32 == 0) {
            OK(generate(bystander, got, E));
            assert_memory_equal(got, expected, sizeof got);
        }
    }
    OK(life(n_ahead, got, E));
    assert_memory_equal(got, expected, sizeof got);
    print_message("%zu of %llu calls made to fail%s, %zu of them failed the engine\n", n_tried,
                  (unsigned long long)n_calls, sticky ? " with all after them" : "", n_failed);
    /* Not all calls fail the engine: one that fails in a capture, for example, costs only the
     * graph. But more than a third of them must. */
    assert_true(n_failed * 3 > n_tried);
}

static void test_each_call(void **state)
{
    (void)state;
    sweep(1, false, 1, 1);
}

static void test_each_call_ahead(void **state)
{
    (void)state;
    /* test_each_call() has tried the calls of opening, which are the same here. */
    sweep(4, false, n_open_calls, 1);
}

static void test_from_each_call_on(void **state)
{
    (void)state;
    sweep(1, true, 1, 17);
}

struct lost_rig {
    weft_engine *e;
    weft_seq *seq;
};

/* Opens an engine with a token to compute. */
static struct lost_rig open_lost(void)
{
    weft_engine_params p = params(1);
    struct lost_rig r = { 0 };
    /* Otherwise the calls of the thread that opens cuBLAS would be counted too. */
    p.deterministic = true;
    int32_t token = 1;
    OK(weft_engine_open(model, &p, &r.e, E));
    OK(weft_seq_open(r.e, NULL, &r.seq, E));
    OK(weft_seq_append(r.seq, &token, 1, E));
    return r;
}

static void close_lost(struct lost_rig *r)
{
    weft_seq_release(&r->seq);
    weft_engine_release(&r->e);
}

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

/* An engine whose device has failed says so again, and can still be closed. Another engine
 * computes. */
static void test_lost(void **state)
{
    int32_t got[TOKENS] = { 0 };
    (void)state;
    cudasim_catch_faults();
    struct lost_rig r = open_lost();
    cudasim_fail_call(3, false);
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.e, NULL, E));
    WORDS("cuda:0", "layer", "open a new");
    cudasim_fail_call(0, false);
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.e, NULL, E));
    WORDS("open a new");
    OK(life(1, got, E));
    assert_memory_equal(got, expected, sizeof got);
    close_lost(&r);
}

/* After the fault of a kernel no engine computes, and none opens. The error says so, also for an
 * engine that had no fault of its own. No engine goes to the CPU unless it is asked for. */
static void test_process_lost(void **state)
{
    static const char *const devices[] = { NULL, "auto", "cuda", "cuda:0" };
    weft_device_info d = { .size = sizeof d };
    weft_platform_info platform = { .size = sizeof platform };
    (void)state;
    cudasim_catch_faults();
    struct lost_rig r = open_lost(), other = open_lost();
    cudasim_fail_call(3, true);
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.e, NULL, E));
    WORDS("cuda:0", "layer", "cudaErrorIllegalAddress", "all engines of this process", "restart");
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(r.e, NULL, E));
    WORDS("restart the program");
    FAILS(WEFT_E_DEVICE_LOST, weft_engine_step(other.e, NULL, E));
    WORDS("cudaErrorIllegalAddress", "restart the program");
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        weft_engine *e = NULL;
        weft_engine_params p = params(1);
        p.device = devices[i];
        FAILS(WEFT_E_DEVICE_LOST, weft_engine_open(model, &p, &e, E));
        WORDS("kernel failed earlier", "cudaErrorIllegalAddress", "restart the program");
        assert_null(e);
    }
    OK(weft_platform_get(&platform, E));
    assert_non_null(strstr(platform.cuda_problem, "restart the program"));
    close_lost(&r);
    close_lost(&other);
    cudasim_fail_call(0, false);
}

/* The model is refused, with the numbers, before anything is allocated. */
static void test_too_small(void **state)
{
    (void)state;
    struct cudasim_config *config = cudasim_settings();
    size_t before = config->device_memory, clean = cudasim_leaks(NULL);
    weft_engine_params p = params(1);
    weft_engine *e = NULL;
    p.n_kv = 1 << 22;
    config->device_memory = 192 << 20;
    FAILS(WEFT_E_DEVMEM, weft_engine_open(model, &p, &e, E));
    rig_message((const char *const[]){ "does not fit", "KV", "MiB are free", "n_ctx", NULL });
    config->device_memory = before;
    assert_null(e);
    assert_int_equal(cudasim_leaks(NULL), clean);
}

/* Returns the rows of a step of an engine on a device with so much memory, 0 if opening is
 * refused. */
static size_t batch_of(weft_model *m, size_t n_batch, size_t memory, uint64_t *scratch)
{
    struct cudasim_config *config = cudasim_settings();
    size_t before = config->device_memory;
    weft_engine_params p = params(1);
    weft_engine *e = NULL;
    p.n_batch = n_batch;
    config->device_memory = memory;
    weft_status status = weft_engine_open(m, &p, &e, E);
    config->device_memory = before;
    if (status == WEFT_E_DEVMEM) {
        rig_message((const char *const[]){ "does not fit", "n_batch", NULL });
        return 0;
    }
    assert_int_equal(status, WEFT_OK);
    weft_engine_info info = { .size = sizeof info };
    OK(weft_engine_get_info(e, &info, E));
    *scratch = info.scratch_bytes;
    int32_t got[TOKENS];
    if (m == model) {
        OK(generate(e, got, E));
        assert_memory_equal(got, expected, sizeof got);
    }
    weft_engine_release(&e);
    return info.n_batch;
}

/* With less and less memory, the default is 2048 rows, then 1024, then 512, and then opening is
 * refused. A number that the caller asks for is never reduced: opening is refused if there is no
 * room for it. */
static void test_default_batch(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    size_t last = 2048, seen = 0;
    uint64_t scratch = 0, asked = 0;
    for (size_t memory = 160; last > 0 && memory > 0; memory -= 1) {
        size_t n = batch_of(model, 0, memory * MIB, &scratch);
        assert_true(n == last || n == last / 2 || (last == 512 && n == 0));
        seen += n != last;
        if (n != last || memory == 160) {
            assert_int_equal(batch_of(model, 2048, memory * MIB, &asked), n == 2048 ? 2048 : 0);
            if (n > 0) {
                assert_int_equal(batch_of(model, n, memory * MIB, &asked), n);
                assert_int_equal(asked, scratch);
            }
        }
        last = n;
    }
    assert_int_equal(seen, 3);
}

/* If the halves of gate and up do not fit as a whole, they come in pieces. */
static void test_pieces(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    const weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
    weft_model *large = NULL;
    struct synth_spec spec;
    uint64_t whole, piece;
    assert_true(synth_preset("tiny-llama", &spec));
    spec.n_layers = 1, spec.n_vocab = 512, spec.dim = 2048, spec.n_ff = 4864;
    spec.n_heads = 2, spec.n_kv_heads = 1, spec.head_dim = 64;
    spec.type_mix = "q8_0+q4_k";
    OK(weft_model_open(model_file_of(&spec), &mp, &large, E));
    assert_int_equal(batch_of(large, 24, 512 * MIB, &whole), 24);
    size_t memory = 64;
    while (batch_of(large, 24, memory * MIB, &piece) == 0) {
        memory += 2;
    }
    weft_model_release(&large);
    /* All halves have 38 MiB; the pieces have 32 MiB. */
    assert_int_equal(whole - piece, 6 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_each_call_ahead),
        cmocka_unit_test(test_from_each_call_on),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_too_small),
        cmocka_unit_test(test_default_batch),
        cmocka_unit_test(test_pieces),
        /* This is the last test, because nothing computes after it. */
        cmocka_unit_test(test_process_lost),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
