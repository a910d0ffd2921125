/* The sampling that a model's file recommends. weft_model_get_sampling() puts it over the defaults
 * and says which fields it has set; a recommendation that cannot be followed is left out and named
 * in the log; a sequence always accepts the result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

struct recommended {
    weft_sampling s;
    unsigned fields;
    size_t n_warnings;
    char log[1024]; /* the warnings, one on each line */
};

static void on_log(void *user, weft_log_level level, const char *text)
{
    struct recommended *r = user;
    size_t n = strlen(r->log);
    if (level == WEFT_LOG_WARN) {
        r->n_warnings++;
        snprintf(r->log + n, sizeof r->log - n, "%s\n", text);
    }
}

/* Returns what a model with these keys recommends; the last key is NULL. A sequence must accept
 * it. */
static struct recommended recommended(const char *const *keys)
{
    struct recommended r = { .s = { .size = sizeof(weft_sampling) } };
    struct synth_spec spec;
    weft_model_params p = WEFT_MODEL_PARAMS_INIT;
    const weft_engine_params ep = { .size = sizeof ep, .device = "cpu", .n_threads = 1 };
    struct rig rig = { 0 };
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.keys = keys;
    while (keys[spec.n_keys] != NULL) {
        spec.n_keys++;
    }
    p.log = on_log;
    p.log_user = &r;
    OK(weft_model_open(model_file_of(&spec), &p, &rig.model, E));
    /* A caller that does not ask for the recommendation hears nothing of it. */
    assert_int_equal(r.n_warnings, 0);
    OK(weft_model_get_sampling(rig.model, &r.s, &r.fields, E));
    OK(weft_engine_open(rig.model, &ep, &rig.engine, E));
    weft_seq *seq = rig_seq(&rig, &r.s);
    weft_seq_release(&seq);
    rig_close(&rig);
    return r;
}
#define RECOMMENDED(...) recommended((const char *const[]){ __VA_ARGS__, NULL })

static void same(const weft_sampling *a, const weft_sampling *b)
{
    assert_true(a->temperature == b->temperature && a->top_k == b->top_k && a->top_p == b->top_p);
    assert_true(a->min_p == b->min_p && a->typical_p == b->typical_p);
    assert_true(a->repeat_penalty == b->repeat_penalty && a->repeat_last_n == b->repeat_last_n);
    assert_true(a->frequency_penalty == b->frequency_penalty);
    assert_true(a->presence_penalty == b->presence_penalty);
    assert_true(a->seed == b->seed && a->ignore_end == b->ignore_end && a->bias == b->bias);
    assert_int_equal(a->n_bias, b->n_bias);
}

static void test_none(void **state)
{
    (void)state;
    const weft_sampling defaults = WEFT_SAMPLING_INIT;
    struct recommended r = recommended((const char *const[]){ NULL });
    same(&r.s, &defaults);
    assert_int_equal(r.fields, 0);
    assert_int_equal(r.n_warnings, 0);
}

static void test_all(void **state)
{
    (void)state;
    weft_sampling want = WEFT_SAMPLING_INIT;
    struct recommended r = RECOMMENDED(
        "general.sampling.temp=f32:0.6", "general.sampling.top_k=i32:20",
        "general.sampling.top_p=f32:0.9", "general.sampling.min_p=f32:0",
        "general.sampling.penalty_repeat=f32:1.1", "general.sampling.penalty_last_n=i32:-1");
    want.temperature = 0.6f;
    want.top_k = 20;
    want.top_p = 0.9f;
    want.min_p = 0;
    want.repeat_penalty = 1.1f;
    want.repeat_last_n = -1;
    same(&r.s, &want);
    assert_int_equal(r.fields, WEFT_SAMPLING_TEMPERATURE | WEFT_SAMPLING_TOP_K |
                                   WEFT_SAMPLING_TOP_P | WEFT_SAMPLING_MIN_P |
                                   WEFT_SAMPLING_REPEAT_PENALTY | WEFT_SAMPLING_REPEAT_LAST_N);
    assert_int_equal(r.n_warnings, 0);
}

/* One field comes from the file, whatever its type of number; the others are the defaults. */
static void test_one(void **state)
{
    (void)state;
    weft_sampling want = WEFT_SAMPLING_INIT;
    struct recommended r = RECOMMENDED("general.sampling.temp=u8:1");
    want.temperature = 1;
    same(&r.s, &want);
    assert_int_equal(r.fields, WEFT_SAMPLING_TEMPERATURE);
    r = RECOMMENDED("general.sampling.top_k=f64:5", "general.sampling.temp=i64:1");
    want.top_k = 5;
    same(&r.s, &want);
    assert_int_equal(r.fields, WEFT_SAMPLING_TEMPERATURE | WEFT_SAMPLING_TOP_K);
}

/* Each of these recommendations is left out and named, and the others stay. */
static void test_not_followed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "general.sampling.temp=f32:-0.1",         "general.sampling.temp=f32:nan",
        "general.sampling.temp=f32:inf",          "general.sampling.temp=str:0.6",
        "general.sampling.temp=f32[]:0.6",        "general.sampling.top_k=f32:1.5",
        "general.sampling.top_k=f32:nan",         "general.sampling.top_k=i64:2147483648",
        "general.sampling.top_k=i64:-2147483649", "general.sampling.top_k=bool[]:true",
        "general.sampling.top_p=f32:0",           "general.sampling.top_p=f32:1.5",
        "general.sampling.min_p=f32:-1",          "general.sampling.penalty_repeat=f32:0",
        "general.sampling.penalty_repeat=f32:-1", "general.sampling.penalty_last_n=i32:-2",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weft_sampling want = WEFT_SAMPLING_INIT;
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        bool min_p = strcmp(key, "general.sampling.min_p") == 0;
        struct recommended r = RECOMMENDED(bad[i], min_p ? "general.sampling.top_k=i32:7"
                                                         : "general.sampling.min_p=f32:0.5");
        want.min_p = min_p ? want.min_p : 0.5f;
        want.top_k = min_p ? 7 : want.top_k;
        same(&r.s, &want);
        assert_int_equal(r.fields, min_p ? WEFT_SAMPLING_TOP_K : WEFT_SAMPLING_MIN_P);
        assert_int_equal(r.n_warnings, 1);
        assert_non_null(strstr(r.log, key));
        assert_non_null(strstr(r.log, "not followed"));
    }
}

/* Some numbers mean "off" to those who write them. */
static void test_off(void **state)
{
    (void)state;
    const weft_sampling defaults = WEFT_SAMPLING_INIT;
    struct recommended r = RECOMMENDED("general.sampling.top_k=i32:-1");
    assert_int_equal(r.s.top_k, 0);
    assert_int_equal(r.fields, WEFT_SAMPLING_TOP_K);
    r = RECOMMENDED("general.sampling.penalty_repeat=f32:1.3",
                    "general.sampling.penalty_last_n=i32:0");
    same(&r.s, &defaults);
    assert_int_equal(r.fields, WEFT_SAMPLING_REPEAT_PENALTY);
    assert_int_equal(r.n_warnings, 0);
}

static void test_lacking(void **state)
{
    (void)state;
    struct recommended r = RECOMMENDED(
        "general.sampling.mirostat=i32:2", "general.sampling.mirostat_tau=f32:5",
        "general.sampling.xtc_probability=f32:0.5", "general.sampling.xtc_threshold=f32:0.1",
        "general.sampling.sequence=str:top_k");
    assert_int_equal(r.n_warnings, 1);
    assert_non_null(strstr(r.log, "general.sampling.mirostat)"));
    assert_non_null(strstr(r.log, "xtc_probability"));
    assert_non_null(strstr(r.log, "sequence"));
    assert_int_equal(r.fields, 0);
    /* Settings that Weft does not have are no loss if the file switches them off. */
    r = RECOMMENDED("general.sampling.mirostat=i32:0", "general.sampling.xtc_probability=f32:0",
                    "general.sampling.xtc_threshold=f32:0.1");
    assert_int_equal(r.n_warnings, 0);
}

/* The struct may be that of an older caller, which is shorter, and the fields need not be asked
 * for. */
static void test_versions(void **state)
{
    (void)state;
    struct rig rig = rig_open(model_file("tiny-qwen2"), NULL);
    weft_sampling s = { .size = offsetof(weft_sampling, top_p), .top_p = 7 };
    unsigned fields = 99;
    OK(weft_model_get_sampling(rig.model, &s, NULL, E));
    assert_int_equal(s.top_k, 40);
    assert_true(s.top_p == 7);
    s.size = 0;
    FAILS(WEFT_E_ARG, weft_model_get_sampling(rig.model, &s, &fields, E));
    FAILS(WEFT_E_ARG, weft_model_get_sampling(rig.model, NULL, &fields, E));
    FAILS(WEFT_E_ARG, weft_model_get_sampling(NULL, &s, &fields, E));
    assert_int_equal(fields, 99);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),     cmocka_unit_test(test_all),
        cmocka_unit_test(test_one),      cmocka_unit_test(test_not_followed),
        cmocka_unit_test(test_off),      cmocka_unit_test(test_lacking),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
