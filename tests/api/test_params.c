/* The parameter structs of the public API: sizes of older and newer callers, values out of range,
 * NaN and infinity, contradictions. Refused values change nothing and are named. Includes only
 * weft.h of the library. */
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

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static struct rig rig;
static weft_seq *seq;

static int setup(void **state)
{
    (void)state;
    rig = rig_open(model_file("tiny-qwen2"), NULL);
    int32_t tokens[5];
    rig_tokens(&rig, 1, tokens, 5);
    seq = rig_fed(&rig, tokens, 5);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_seq_release(&seq);
    rig_close(&rig);
    return 0;
}

/* ---------------------------------------------------------------- structs */

/* A struct with room behind it, as a newer caller's struct has. */
union larger_engine {
    weft_engine_params p;
    unsigned char bytes[sizeof(weft_engine_params) + 64];
};

static void try_engine_size(size_t size, unsigned char tail, weft_status want)
{
    union larger_engine u;
    weft_engine *engine = NULL;
    memset(&u, 0, sizeof u);
    memset(u.bytes + sizeof u.p, tail, 64);
    u.p.size = size;
    u.p.n_threads = 1;
    if (want == WEFT_OK) {
        OK(weft_engine_open(rig.model, &u.p, &engine, E));
    } else {
        FAILS(want, weft_engine_open(rig.model, &u.p, &engine, E));
        WORDS("weft_engine_params");
    }
    weft_engine_release(&engine);
}

static void test_struct_sizes(void **state)
{
    (void)state;
    const size_t n = sizeof(weft_engine_params);
    try_engine_size(0, 0, WEFT_E_ARG);
    try_engine_size(1, 0, WEFT_E_ARG);
    try_engine_size(sizeof(size_t) - 1, 0, WEFT_E_ARG);
    try_engine_size(SIZE_MAX, 0, WEFT_E_ARG);
    try_engine_size(n - sizeof(size_t), 0, WEFT_OK); /* an older caller */
    try_engine_size(n, 1, WEFT_OK);                  /* bytes behind the struct do not count */
    try_engine_size(n + 64, 0, WEFT_OK);             /* a newer caller that uses nothing new */
    try_engine_size(n + 64, 1, WEFT_E_ARG);
    try_engine_size(n + 1, 1, WEFT_E_ARG);
}

static void test_struct_size_of_each(void **state)
{
    (void)state;
    weft_model *model = NULL;
    weft_seq *s = NULL;
    int32_t tokens[32];
    const weft_message hello = { "user", "Hello" };
    const weft_model_params mp = { .size = 0 };
    const weft_sampling sp = { .size = 0, .temperature = 1.0f };
    const weft_chat_params cp = { .size = 3 };
    weft_model_info mi = { .size = 0 };
    weft_engine_info ei = { .size = 0 };
    FAILS(WEFT_E_ARG, weft_model_open(model_file("tiny-qwen2"), &mp, &model, E));
    WORDS("weft_model_params", "INIT");
    FAILS(WEFT_E_ARG, weft_seq_open(rig.engine, &sp, &s, E));
    WORDS("weft_sampling");
    FAILS(WEFT_E_ARG, weft_seq_set_sampling(seq, &sp, E));
    FAILS(WEFT_E_ARG, weft_chat_tokens(rig.model, &hello, 1, &cp, tokens, 32, NULL, E));
    FAILS(WEFT_E_ARG, weft_model_get_info(rig.model, &mi, E));
    WORDS("weft_model_info");
    FAILS(WEFT_E_ARG, weft_engine_get_info(rig.engine, &ei, E));
    /* The structs are those of an older caller, which are shorter: nothing behind their end is
     * written. */
    mi.size = offsetof(weft_model_info, type);
    mi.type = "untouched";
    OK(weft_model_get_info(rig.model, &mi, E));
    assert_string_equal(mi.architecture, "qwen2");
    assert_string_equal(mi.type, "untouched");
    assert_int_equal(mi.size, offsetof(weft_model_info, type));
}

static void refuse_engine_params(weft_engine_params p, weft_status want, const char *word)
{
    weft_engine *engine = NULL;
    p.size = sizeof p;
    FAILS(want, weft_engine_open(rig.model, &p, &engine, E));
    WORDS(word);
    assert_null(engine);
}

static void test_engine_params(void **state)
{
    (void)state;
    refuse_engine_params((weft_engine_params){ .n_ctx = 257 }, WEFT_E_ARG, "257");
    WORDS("256");
    refuse_engine_params((weft_engine_params){ .n_ctx = SIZE_MAX - 1 }, WEFT_E_ARG, "n_ctx");
    refuse_engine_params((weft_engine_params){ .n_kv = 63 }, WEFT_E_ARG, "n_kv is 63");
    refuse_engine_params((weft_engine_params){ .n_kv = SIZE_MAX }, WEFT_E_ARG, "n_kv");
    refuse_engine_params((weft_engine_params){ .n_batch = 65537 }, WEFT_E_ARG, "n_batch is 65537");
    refuse_engine_params((weft_engine_params){ .n_threads = 1025 }, WEFT_E_ARG, "1025");
    refuse_engine_params((weft_engine_params){ .device = "abacus" }, WEFT_E_UNSUPPORTED, "abacus");
    refuse_engine_params((weft_engine_params){ .device = "" }, WEFT_E_UNSUPPORTED, "cpu");
    refuse_engine_params((weft_engine_params){ .cpu_isa = (weft_cpu_isa)99 }, WEFT_E_ARG, "99");
    weft_engine_params all = WEFT_ENGINE_PARAMS_INIT;
    weft_engine *engine = NULL;
    all.device = "auto";
    all.n_ctx = WEFT_CTX_MODEL;
    all.n_threads = 1;
    OK(weft_engine_open(rig.model, &all, &engine, E));
    weft_engine_release(&engine);
}

static void refuse_sampling(weft_sampling s, const char *field)
{
    weft_seq *other = NULL;
    FAILS(WEFT_E_ARG, weft_seq_open(rig.engine, &s, &other, E));
    WORDS(field);
    FAILS(WEFT_E_ARG, weft_seq_set_sampling(seq, &s, E));
    WORDS(field);
    assert_null(other);
}

static void test_sampling(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        float bad[5]; /* places that are not used hold NaN too */
    } fields[] = {
        { "temperature",
          offsetof(weft_sampling, temperature),
          { -0.1f, 101, INFINITY, -INFINITY, NAN } },
        { "top_p", offsetof(weft_sampling, top_p), { 0, -1, 1.01f, INFINITY, NAN } },
        { "min_p", offsetof(weft_sampling, min_p), { -0.1f, 1.1f, INFINITY, -INFINITY, NAN } },
        { "typical_p", offsetof(weft_sampling, typical_p), { 0, -1, 1.01f, INFINITY, NAN } },
        { "repeat_penalty",
          offsetof(weft_sampling, repeat_penalty),
          { 0, -1, INFINITY, -INFINITY, NAN } },
        { "frequency_penalty",
          offsetof(weft_sampling, frequency_penalty),
          { -2.1f, 2.1f, INFINITY, -INFINITY, NAN } },
        { "presence_penalty",
          offsetof(weft_sampling, presence_penalty),
          { -2.1f, 2.1f, INFINITY, -INFINITY, NAN } },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        for (size_t j = 0; j < 5; j++) {
            weft_sampling s = WEFT_SAMPLING_INIT;
            memcpy((char *)&s + fields[i].offset, &fields[i].bad[j], sizeof(float));
            refuse_sampling(s, fields[i].name);
        }
    }
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.top_k = -1;
    refuse_sampling(s, "top_k");
    s.top_k = 0;
    s.repeat_last_n = -2;
    refuse_sampling(s, "repeat_last_n");
}

static void test_bias(void **state)
{
    (void)state;
    weft_logit_bias biases[] = { { 1, 0.5f }, { 1, 0.5f } };
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.n_bias = 1;
    refuse_sampling(s, "bias is NULL");
    s.bias = biases;
    s.n_bias = 1025;
    refuse_sampling(s, "1025");
    s.n_bias = 2;
    refuse_sampling(s, "twice");
    s.n_bias = 1;
    biases[0].token = (int32_t)rig.n_vocab;
    refuse_sampling(s, "vocabulary");
    biases[0] = (weft_logit_bias){ 1, NAN };
    refuse_sampling(s, "nan");
    biases[0] = (weft_logit_bias){ 1, -INFINITY };
    OK(weft_seq_set_sampling(seq, &s, E));
    OK(weft_seq_set_sampling(seq, NULL, E));
}

static void test_stops(void **state)
{
    (void)state;
    char long_one[258];
    memset(long_one, 'x', 257);
    long_one[257] = '\0';
    const char *many[17];
    for (size_t i = 0; i < 17; i++) {
        many[i] = "x";
    }
    FAILS(WEFT_E_ARG, weft_seq_set_stops(seq, many, 17, E));
    WORDS("17", "16");
    OK(weft_seq_set_stops(seq, many, 16, E));
    FAILS(WEFT_E_ARG, weft_seq_set_stops(seq, (const char *const[]){ "a", long_one }, 2, E));
    WORDS("257", "256");
    FAILS(WEFT_E_ARG, weft_seq_set_stops(seq, (const char *const[]){ "a", "" }, 2, E));
    FAILS(WEFT_E_ARG, weft_seq_set_stops(seq, (const char *const[]){ NULL }, 1, E));
    OK(weft_seq_set_stops(seq, (const char *const[]){ long_one + 1 }, 1, E));
    OK(weft_seq_set_stops(seq, NULL, 0, E));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_struct_sizes),  cmocka_unit_test(test_struct_size_of_each),
        cmocka_unit_test(test_engine_params), cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_bias),          cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
