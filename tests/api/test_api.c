/* Every public function with what it must refuse: NULL and mixed-up handles, missing outputs,
 * buffers too small, tokens and flags that do not exist. Nothing crashes, a call that fails changes
 * nothing, and the message names the thing and the numbers. Parameter structs are in test_params.c.
 * Includes only weft.h of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "support/edit.h"
#include "support/models.h"
#include "support/rig.h"

#define WORDS(...) rig_message((const char *const[]){ __VA_ARGS__, NULL })

static struct rig rig;
static weft_seq *seq;
static weft_file *file;

static int setup(void **state)
{
    (void)state;
    rig = rig_open(model_file("tiny-qwen2"), NULL);
    OK(weft_file_open(model_file("tiny-qwen2"), &file, E));
    int32_t tokens[5];
    rig_tokens(&rig, 1, tokens, 5);
    seq = rig_fed(&rig, tokens, 5);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_seq_release(&seq);
    weft_file_release(&file);
    rig_close(&rig);
    return 0;
}

/* ---------------------------------------------------------------- handles */

/* Calls all functions of a model with this handle. */
static void refuse_model(weft_model *m, weft_status want)
{
    weft_model_info info = { .size = sizeof info };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    weft_engine *engine = NULL;
    const weft_message message = { "user", "x" };
    int32_t token = 0;
    char c;
    size_t n;
    FAILS(want, weft_model_get_info(m, &info, E));
    FAILS(want, weft_model_get_sampling(m, &sampling, NULL, E));
    FAILS(want, weft_tokenize(m, "x", 1, 0, &token, 1, &n, E));
    FAILS(want, weft_detokenize(m, &token, 1, 0, &c, 1, &n, E));
    FAILS(want, weft_token_text(m, 0, &c, 1, &n, E));
    FAILS(want, weft_chat_tokens(m, &message, 1, NULL, &token, 1, &n, E));
    FAILS(want, weft_engine_open(m, NULL, &engine, E));
    assert_null(engine);
    assert_false(weft_token_is_end(m, 0));
}

static void refuse_engine(weft_engine *e, weft_status want)
{
    weft_engine_info info = { .size = sizeof info };
    weft_seq *s = NULL;
    size_t ready = 7;
    FAILS(want, weft_engine_get_info(e, &info, E));
    FAILS(want, weft_engine_step(e, &ready, E));
    FAILS(want, weft_seq_open(e, NULL, &s, E));
    assert_int_equal(ready, 7);
    assert_null(s);
}

static void refuse_seq(weft_seq *s, weft_status want)
{
    weft_seq *copy = NULL;
    int32_t token = 0;
    float logit;
    char c;
    size_t n;
    FAILS(want, weft_seq_fork(s, &copy, E));
    FAILS(want, weft_seq_set_sampling(s, NULL, E));
    FAILS(want, weft_seq_set_stops(s, NULL, 0, E));
    FAILS(want, weft_seq_append(s, &token, 1, E));
    FAILS(want, weft_seq_next(s, &token, E));
    FAILS(want, weft_seq_text(s, &c, 1, &n, E));
    FAILS(want, weft_seq_logits(s, &logit, 1, &n, E));
    FAILS(want, weft_seq_tokens(s, &token, 1, &n, E));
    FAILS(want, weft_seq_rewind(s, 0, E));
    FAILS(want, weft_seq_save(s, &c, 1, &n, E));
    FAILS(want, weft_seq_load(s, &c, 1, E));
    FAILS(want, weft_seq_save_file(s, "/none/state", E));
    FAILS(want, weft_seq_load_file(s, "/none/state", E));
    assert_null(copy);
    assert_int_equal(weft_seq_len(s), 0);
    assert_int_equal(weft_seq_pending(s), 0);
    assert_int_equal(weft_seq_finish(s), WEFT_FINISH_END);
    weft_seq_cancel(s);
}

static void refuse_file(const weft_file *f)
{
    weft_key_info key;
    weft_key_use use;
    weft_tensor_info tensor;
    char c;
    size_t n;
    assert_int_not_equal(weft_file_key(f, 0, &key, E), WEFT_OK);
    assert_int_not_equal(weft_file_key_use(f, 0, &use, E), WEFT_OK);
    assert_int_not_equal(weft_file_tensor(f, 0, &tensor, E), WEFT_OK);
    assert_int_not_equal(weft_file_value(f, 0, 0, &c, 1, &n, E), WEFT_OK);
    assert_int_equal(weft_file_version(f), 0);
    assert_int_equal(weft_file_bytes(f), 0);
    assert_int_equal(weft_file_n_parts(f), 0);
    assert_int_equal(weft_file_n_keys(f), 0);
    assert_int_equal(weft_file_n_tensors(f), 0);
}

static void test_null_handles(void **state)
{
    (void)state;
    refuse_model(NULL, WEFT_E_ARG);
    WORDS("model", "NULL");
    refuse_engine(NULL, WEFT_E_ARG);
    WORDS("engine", "NULL");
    refuse_seq(NULL, WEFT_E_ARG);
    WORDS("sequence", "NULL");
    refuse_file(NULL);
}

static void test_mixed_up_handles(void **state)
{
    (void)state;
    void *const handles[] = { rig.model, rig.engine, seq, file };
    for (size_t i = 0; i < 4; i++) {
        if (i != 0) {
            refuse_model(handles[i], WEFT_E_HANDLE);
        }
        if (i != 1) {
            refuse_engine(handles[i], WEFT_E_HANDLE);
        }
        if (i != 2) {
            refuse_seq(handles[i], WEFT_E_HANDLE);
        }
        if (i != 3) {
            refuse_file(handles[i]);
        }
    }
    FAILS(WEFT_E_HANDLE, weft_engine_step((void *)rig.model, NULL, E));
    WORDS("engine handle");
}

static void test_release_anything(void **state)
{
    (void)state;
    weft_model *m = NULL;
    weft_engine *e = NULL;
    weft_seq *s = NULL;
    weft_file *f = NULL;
    weft_model_release(NULL);
    weft_model_release(&m);
    weft_engine_release(NULL);
    weft_engine_release(&e);
    weft_seq_release(NULL);
    weft_seq_release(&s);
    weft_file_release(NULL);
    weft_file_release(&f);
    /* A release leaves a handle of another type as it is. */
    m = (void *)rig.engine;
    weft_model_release(&m);
    assert_ptr_equal(m, rig.engine);
    s = (void *)rig.model;
    weft_seq_release(&s);
    assert_ptr_equal(s, rig.model);
    e = (void *)seq;
    weft_engine_release(&e);
    assert_ptr_equal(e, seq);
    assert_int_equal(rig_info(&rig).n_seqs, 1);
}

static void test_missing_outputs(void **state)
{
    (void)state;
    FAILS(WEFT_E_ARG, weft_model_open(NULL, NULL, &(weft_model *){ NULL }, E));
    WORDS("path");
    FAILS(WEFT_E_ARG, weft_model_open("x", NULL, NULL, E));
    WORDS("out");
    FAILS(WEFT_E_ARG, weft_file_open(NULL, &(weft_file *){ NULL }, E));
    FAILS(WEFT_E_ARG, weft_file_open("x", NULL, E));
    FAILS(WEFT_E_ARG, weft_engine_open(rig.model, NULL, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_open(rig.engine, NULL, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_fork(seq, NULL, E));
    FAILS(WEFT_E_ARG, weft_seq_next(seq, NULL, E));
    WORDS("token", "NULL");
    FAILS(WEFT_E_ARG, weft_model_get_info(rig.model, NULL, E));
    FAILS(WEFT_E_ARG, weft_engine_get_info(rig.engine, NULL, E));
    FAILS(WEFT_E_ARG, weft_file_key(file, 0, NULL, E));
    FAILS(WEFT_E_ARG, weft_file_tensor(file, 0, NULL, E));
    /* err may be NULL everywhere, and so may the output of a step. */
    assert_int_equal(weft_model_open(NULL, NULL, NULL, NULL), WEFT_E_ARG);
    assert_int_equal(weft_seq_next(seq, NULL, NULL), WEFT_E_ARG);
    assert_int_equal(weft_engine_step(rig.engine, NULL, NULL), WEFT_OK);
}

/* ---------------------------------------------------------------- inputs */

static void test_missing_inputs(void **state)
{
    (void)state;
    int32_t token;
    size_t n = 9;
    FAILS(WEFT_E_ARG, weft_tokenize(rig.model, NULL, 3, 0, &token, 1, &n, E));
    WORDS("NULL", "3");
    FAILS(WEFT_E_ARG, weft_detokenize(rig.model, NULL, 2, 0, NULL, 0, &n, E));
    FAILS(WEFT_E_ARG, weft_chat_tokens(rig.model, NULL, 1, NULL, &token, 1, &n, E));
    FAILS(WEFT_E_ARG, weft_seq_append(seq, NULL, 1, E));
    FAILS(WEFT_E_ARG, weft_seq_set_stops(seq, NULL, 1, E));
    OK(weft_tokenize(rig.model, NULL, 0, 0, NULL, 0, &n, E));
    assert_int_equal(n, 0);
    OK(weft_detokenize(rig.model, NULL, 0, 0, NULL, 0, &n, E));
    assert_int_equal(n, 0);
    OK(weft_seq_append(seq, NULL, 0, E));
    OK(weft_seq_set_stops(seq, NULL, 0, E));
    assert_int_equal(weft_seq_len(seq), 5);
}

static void test_small_buffers(void **state)
{
    (void)state;
    static const char text[] = "the capital of the world";
    int32_t tokens[32], again[32];
    char bytes[64];
    size_t n, m;
    FAILS(WEFT_E_BUFFER, weft_tokenize(rig.model, text, sizeof text - 1, 0, NULL, 0, &n, E));
    assert_in_range(n, 3, 32);
    tokens[n - 1] = -77;
    FAILS(WEFT_E_BUFFER, weft_tokenize(rig.model, text, sizeof text - 1, 0, tokens, n - 1, &m, E));
    assert_int_equal(tokens[n - 1], -77);
    assert_int_equal(m, n);
    OK(weft_tokenize(rig.model, text, sizeof text - 1, 0, tokens, n, NULL, E));
    FAILS(WEFT_E_BUFFER, weft_detokenize(rig.model, tokens, n, 0, bytes, 5, &m, E));
    assert_int_equal(m, sizeof text - 1);
    WORDS("5", "24");
    OK(weft_detokenize(rig.model, tokens, n, 0, bytes, m, &m, E));
    assert_memory_equal(bytes, text, sizeof text - 1);
    FAILS(WEFT_E_BUFFER, weft_token_text(rig.model, tokens[0], bytes, 0, &m, E));
    assert_true(m > 0);
    FAILS(WEFT_E_BUFFER, weft_seq_tokens(seq, again, 4, &m, E));
    assert_int_equal(m, 5);
    OK(weft_seq_tokens(seq, again, 5, &m, E));
    FAILS(WEFT_E_BUFFER, weft_seq_logits(seq, NULL, 0, &m, E));
    assert_int_equal(m, rig.n_vocab);
    FAILS(WEFT_E_BUFFER, weft_file_value(file, 0, 0, NULL, 0, &m, E));
    assert_true(m > 0);
    const weft_message hello = { "user", "Hello" };
    FAILS(WEFT_E_BUFFER, weft_chat_tokens(rig.model, &hello, 1, NULL, tokens, 1, &m, E));
    assert_in_range(m, 3, 32);
    OK(weft_chat_tokens(rig.model, &hello, 1, NULL, tokens, 32, &n, E));
    assert_int_equal(n, m);
}

/* If a buffer is too small for the text, the text stays to be taken. */
static void test_text_not_consumed(void **state)
{
    (void)state;
    weft_logit_bias bias = { 300, 1e4f };
    weft_sampling s = WEFT_SAMPLING_INIT;
    s.temperature = 0.0f;
    s.bias = &bias;
    s.n_bias = 1;
    weft_seq *copy = NULL;
    int32_t token;
    char a[64], b[64];
    size_t n, m;
    OK(weft_seq_fork(seq, &copy, E));
    OK(weft_seq_set_sampling(copy, &s, E));
    OK(weft_seq_next(copy, &token, E));
    assert_int_equal(token, 300);
    OK(weft_detokenize(rig.model, &token, 1, 0, a, sizeof a, &n, E));
    assert_true(n > 0);
    FAILS(WEFT_E_BUFFER, weft_seq_text(copy, b, n - 1, &m, E));
    assert_int_equal(m, n);
    FAILS(WEFT_E_BUFFER, weft_seq_text(copy, NULL, 0, NULL, E));
    OK(weft_seq_text(copy, b, n, &m, E));
    assert_int_equal(m, n);
    assert_memory_equal(a, b, n);
    OK(weft_seq_text(copy, NULL, 0, &m, E));
    assert_int_equal(m, 0);
    weft_seq_release(&copy);
}

static void test_bad_tokens(void **state)
{
    (void)state;
    char bytes[64], vocab[32];
    size_t n;
    const int32_t bad[] = { -1, (int32_t)rig.n_vocab, INT32_MAX, INT32_MIN };
    snprintf(vocab, sizeof vocab, "%zu", rig.n_vocab - 1);
    for (size_t i = 0; i < 4; i++) {
        const int32_t two[] = { 1, bad[i] };
        char number[32];
        snprintf(number, sizeof number, "%d", bad[i]);
        FAILS(WEFT_E_ARG, weft_seq_append(seq, two, 2, E));
        WORDS("token 1", number, vocab);
        FAILS(WEFT_E_ARG, weft_detokenize(rig.model, two, 2, 0, bytes, 64, &n, E));
        WORDS(number, vocab);
        FAILS(WEFT_E_ARG, weft_token_text(rig.model, bad[i], bytes, 64, &n, E));
        assert_false(weft_token_is_end(rig.model, bad[i]));
    }
    assert_int_equal(weft_seq_len(seq), 5);
    assert_int_equal(weft_seq_pending(seq), 0);
}

static void test_bad_flags(void **state)
{
    (void)state;
    int32_t tokens[8];
    char bytes[8];
    size_t n;
    FAILS(WEFT_E_ARG, weft_tokenize(rig.model, "x", 1, 16u, tokens, 8, &n, E));
    WORDS("flags", "10");
    FAILS(WEFT_E_ARG, weft_tokenize(rig.model, "x", 1, ~0u, tokens, 8, &n, E));
    FAILS(WEFT_E_ARG, weft_detokenize(rig.model, tokens, 0, 2u, bytes, 8, &n, E));
    for (unsigned flags = 0; flags < 16; flags++) {
        OK(weft_tokenize(rig.model, "x", 1, flags, tokens, 8, &n, E));
    }
}

static void test_messages(void **state)
{
    (void)state;
    int32_t tokens[64];
    size_t n;
    const weft_message wrong[] = { { NULL, "x" }, { "user", NULL }, { "nobody", "x" } };
    for (size_t i = 0; i < 3; i++) {
        FAILS(WEFT_E_ARG, weft_chat_tokens(rig.model, &wrong[i], 1, NULL, tokens, 64, &n, E));
    }
    WORDS("nobody");
    weft_chat_params p = WEFT_CHAT_PARAMS_INIT;
    const weft_message hello = { "user", "Hello" };
    p.template_name = "no-such-template";
    FAILS(WEFT_E_UNSUPPORTED, weft_chat_tokens(rig.model, &hello, 1, &p, tokens, 64, &n, E));
    WORDS("chatml");
    const int32_t outside[] = { -1, INT32_MAX };
    for (size_t i = 0; i < 2; i++) {
        weft_chat_params q = { .size = sizeof q, .continues = true, .last = &outside[i] };
        FAILS(WEFT_E_ARG, weft_chat_tokens(rig.model, &hello, 1, &q, tokens, 64, &n, E));
    }
    size_t n_templates = 0;
    while (weft_chat_template_name(n_templates) != NULL) {
        n_templates++;
    }
    assert_true(n_templates > 0);
    assert_null(weft_chat_template_name(SIZE_MAX));
}

static void test_indices(void **state)
{
    (void)state;
    weft_key_info key;
    weft_tensor_info tensor;
    char c[256];
    size_t n;
    FAILS(WEFT_E_ARG, weft_file_key(file, weft_file_n_keys(file), &key, E));
    FAILS(WEFT_E_ARG, weft_file_tensor(file, weft_file_n_tensors(file), &tensor, E));
    FAILS(WEFT_E_ARG, weft_file_value(file, SIZE_MAX, 0, c, sizeof c, &n, E));
    FAILS(WEFT_E_ARG, weft_file_value(file, 0, 1, c, sizeof c, &n, E));
    OK(weft_file_key(file, 0, &key, E));
    OK(weft_file_tensor(file, 0, &tensor, E));
    OK(weft_file_value(file, 0, 0, c, sizeof c, &n, E));
    assert_string_equal(key.name, "general.architecture");
    assert_memory_equal(c, "qwen2", 5);
}

/* ---------------------------------------------------------------- files and the rest */

static void test_files(void **state)
{
    (void)state;
    weft_model *m = NULL;
    weft_file *f = NULL;
    FAILS(WEFT_E_IO, weft_model_open("/no/such/model.gguf", NULL, &m, E));
    WORDS("/no/such/model.gguf", "No such file");
    FAILS(WEFT_E_IO, weft_file_open("/no/such/model.gguf", &f, E));
    FAILS(WEFT_E_IO, weft_model_open("/tmp", NULL, &m, E));
    FAILS(WEFT_E_IO, weft_model_open("", NULL, &m, E));
    FAILS(WEFT_E_FORMAT, weft_model_open("/proc/self/exe", NULL, &m, E));
    assert_null(m);
    assert_null(f);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(weft_version(), WEFT_VERSION);
    assert_int_equal(weft_abi_version(), WEFT_ABI_VERSION);
    assert_string_equal(weft_status_name(WEFT_OK), "WEFT_OK");
    assert_string_equal(weft_status_name(WEFT_E_KV_FULL), "WEFT_E_KV_FULL");
    assert_string_equal(weft_status_name(WEFT_E_INTERNAL), "WEFT_E_INTERNAL");
    assert_string_equal(weft_status_name(WEFT_E_ENGINE), "WEFT_E_ENGINE");
    assert_non_null(weft_status_name((weft_status)99));
    assert_non_null(weft_status_name((weft_status)-1));
}

struct lines {
    size_t n;
    char last[512];
};

static void take_line(void *user, weft_log_level level, const char *text)
{
    struct lines *l = user;
    assert_true(level == WEFT_LOG_INFO || level == WEFT_LOG_WARN);
    for (const char *c = text; *c != '\0'; c++) {
        assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    snprintf(l->last, sizeof l->last, "%s", text);
    l->n++;
}

/* The path is longer than the message: the cause still stands at the end, and the characters around
 * the gap are whole. */
static void test_long_path(void **state)
{
    (void)state;
    char path[3000];
    weft_model *model = NULL;
    weft_error err;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(path, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof path; i += 3) {
            memcpy(path + i, "\xe2\x82\xac", 4);
        }
        assert_int_equal(weft_model_open(path, NULL, &model, &err), WEFT_E_IO);
        assert_true(strlen(err.message) < sizeof err.message);
        assert_non_null(strstr(err.message, " ... \xe2\x82\xac"));
        assert_non_null(strstr(err.message, "too long"));
        const char *gap = strstr(err.message, " ... ");
        assert_int_equal((size_t)(gap - err.message - (ptrdiff_t)shift) % 3, 0);
    }
}

static void test_log(void **state)
{
    (void)state;
    struct lines lines = { 0 };
    const weft_model_params p = { .size = sizeof p, .log = take_line, .log_user = &lines };
    const weft_engine_params ep = { .size = sizeof ep, .device = "cpu", .n_threads = 1 };
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    OK(weft_model_open(model_file("tiny-qwen2"), &p, &model, E));
    assert_int_equal(lines.n, 1);
    assert_non_null(strstr(lines.last, "Tiny Qwen2"));
    OK(weft_engine_open(model, &ep, &engine, E));
    assert_int_equal(lines.n, 2);
    assert_non_null(strstr(lines.last, "cpu"));
    weft_engine_release(&engine);
    weft_model_release(&model);
    /* The name in the file has a line break and an escape; the warning is still one line. */
    const char *path = model_path("two\nlines.gguf");
    const struct edit name = { .what = EDIT_KEY_STR, .name = "general.name", .s = "a\n\x1b[31mb" };
    edit_model(model_file("tiny-qwen2"), path, &name, 1);
    OK(weft_model_open(path, &p, &model, E));
    assert_int_equal(lines.n, 3);
    assert_non_null(strstr(lines.last, "a??[31mb"));
    weft_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_handles),
        cmocka_unit_test(test_mixed_up_handles),
        cmocka_unit_test(test_release_anything),
        cmocka_unit_test(test_missing_outputs),
        cmocka_unit_test(test_missing_inputs),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_text_not_consumed),
        cmocka_unit_test(test_bad_tokens),
        cmocka_unit_test(test_bad_flags),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_indices),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
