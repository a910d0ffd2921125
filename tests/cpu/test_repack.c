/* Weights that are laid out anew when an engine opens give the same logits as weights used as they
 * are in the file, bit by bit, for every tensor type. Engines of one model share the new layout;
 * opening can be cancelled; a mapped file is not in memory twice. Includes only weft.h of the
 * library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

enum { N_TOKENS = 21 };

static struct rig open_as(const char *path, bool no_repack)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cpu";
    p.n_threads = 2;
    p.no_repack = no_repack;
    return rig_open(path, &p);
}

static void check_same(const char *path)
{
    int32_t tokens[N_TOKENS];
    struct rig packed = open_as(path, false), as_is = open_as(path, true);
    rig_tokens(&packed, 5, tokens, N_TOKENS);
    float *want = rig_expected(&packed, tokens, N_TOKENS);
    float *got = rig_expected(&as_is, tokens, N_TOKENS);
    rig_same(&packed, got, want, path);
    free(want);
    free(got);
    rig_close(&packed);
    rig_close(&as_is);
}

static struct synth_spec spec_of(const char *preset, const char *type)
{
    struct synth_spec s;
    assert_true(synth_preset(preset, &s));
    s.type_mix = type;
    return s;
}

static void test_same(void **state)
{
    static const char *const presets[] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3", "tiny-llama" };
    static const char *const types[] = { "f32",  "f16",  "bf16", "q4_0",  "q4_1",
                                         "q5_0", "q5_1", "q8_0", "q4_k_m" };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct synth_spec s = spec_of(presets[i % 4], types[i]);
        check_same(model_file_of(&s));
    }
}

/* The rows are as wide as K-quants need, and some tiles are not full. */
static void test_same_k(void **state)
{
    static const char *const types[] = { "q4_k", "q5_k", "q6_k" };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct synth_spec s = spec_of("tiny-qwen2", types[i]);
        s.dim = 256;
        s.n_heads = 4;
        s.n_kv_heads = 2;
        s.head_dim = 64;
        s.n_ff = 512;
        s.n_vocab = 517;
        check_same(model_file_of(&s));
    }
}

/* One model has weights that read their activations in different forms, next to each other. */
static void test_same_mixed(void **state)
{
    static const char *const mixes[] = { "q4_0+f16", "f16+q4_0+q8_0", "q8_0+q4_0+q5_1+f32+iq4_nl",
                                         "f32+q8_0", "q4_0+q4_0+f16" };
    (void)state;
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        struct synth_spec s = spec_of(i % 2 == 0 ? "tiny-qwen2" : "tiny-phi3", mixes[i]);
        check_same(model_file_of(&s));
    }
    struct synth_spec s = spec_of("tiny-llama", "q4_0"); /* ffn_down falls back to F16 */
    s.n_ff = 100;
    check_same(model_file_of(&s));
}

/* Whichever engine closes first, the others go on. */
static void test_shared(void **state)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_engine *other = NULL;
    int32_t tokens[N_TOKENS];
    (void)state;
    struct rig r = open_as(model_file("tiny-qwen2"), false);
    rig_tokens(&r, 6, tokens, N_TOKENS);
    float *want = rig_expected(&r, tokens, N_TOKENS);
    for (int i = 0; i < 3; i++) {
        p.device = "cpu";
        OK(weft_engine_open(r.model, &p, &other, E));
        struct rig second = { .model = r.model, .engine = other, .n_vocab = r.n_vocab };
        weft_engine_release(i % 2 == 0 ? &r.engine : &second.engine);
        if (i % 2 == 0) {
            r.engine = second.engine;
        }
        float *got = rig_expected(&r, tokens, N_TOKENS);
        rig_same(&r, got, want, "after another engine of the model has closed");
        free(got);
    }
    free(want);
    rig_close(&r);
}

static void *open_and_close(void *arg)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_engine *e = NULL;
    p.device = "cpu";
    p.n_threads = 1;
    for (int i = 0; i < 20; i++) {
        if (weft_engine_open(arg, &p, &e, NULL) != WEFT_OK) {
            return arg;
        }
        weft_engine_release(&e);
    }
    return NULL;
}

static void test_opened_at_once(void **state)
{
    pthread_t threads[4];
    struct rig r = open_as(model_file("tiny-llama"), true);
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, r.model), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    rig_close(&r);
}

struct progress {
    size_t n_calls;
    uint64_t last, total;
    bool go_on;
};

static bool watch(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    assert_true(done >= p->last && done <= total);
    p->last = done;
    p->total = total;
    p->n_calls++;
    return p->go_on;
}

/* Progress is reported, and a stopped opening leaves nothing half done for the next engine. */
static void test_progress(void **state)
{
    struct progress seen = { .go_on = true }, stopped = { 0 };
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    weft_engine *e = NULL;
    struct rig r = open_as(model_file("tiny-phi3"), true);
    (void)state;
    p.device = "cpu";
    p.n_threads = 1;
    p.progress = watch;
    p.progress_user = &stopped;
    FAILS(WEFT_E_CANCELLED, weft_engine_open(r.model, &p, &e, E));
    assert_null(e);
    assert_int_equal(stopped.n_calls, 1);
    p.progress_user = &seen;
    OK(weft_engine_open(r.model, &p, &e, E));
    assert_true(seen.n_calls > 1);
    assert_int_equal(seen.last, seen.total);
    weft_engine_release(&e);
    rig_close(&r);
}

/* Returns how many bytes of this process's memory belong to files. */
static size_t file_bytes(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[128];
    size_t all = 0, anonymous = 0;
    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "Rss: %zu kB", &all);
        (void)sscanf(line, "Anonymous: %zu kB", &anonymous);
    }
    fclose(f);
    return (all - anonymous) * 1024;
}

static void test_not_twice_in_memory(void **state)
{
    struct synth_spec s = spec_of("tiny-llama", "q8_0");
    (void)state;
    s.dim = 1024;
    s.n_heads = 16;
    s.n_kv_heads = 16;
    s.n_ff = 4096;
    s.n_layers = 2;
    const char *path = model_file_of(&s);
    size_t before = file_bytes();
    struct rig r = open_as(path, false);
    if (before == 0) {
        print_message("this system does not say how much memory lies in files\n");
        rig_close(&r);
        skip();
    }
    /* The weights are 36 MB, and all of them were read. What stays in memory is the embedding
     * table, the pages at the ends of pieces, and pages that the system maps around a page that is
     * touched. */
    size_t after = file_bytes();
    assert_true(rig_info(&r).weight_bytes > 30 << 20);
    if (after > before + (8 << 20)) {
        fail_msg("%zu bytes of files in memory, %zu before the engine was opened", after, before);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_same_k),
        cmocka_unit_test(test_same_mixed),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_opened_at_once),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_not_twice_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
