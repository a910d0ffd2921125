/* What valid GGUF files give: values of every type through every typed look-up, versions 2 and
 * 3, tensors and their bytes, offsets beyond 4 GiB, split files and everything that can be wrong
 * with their parts, the public weft_file_* functions, and the synthetic models of all
 * architectures. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "support/scratch.h"
#include "synth/synth.h"
#include "synth/writer.h"

static const char *finish(struct gguf_writer *w, const char *name)
{
    struct bytes b = { 0 };
    assert_int_equal(writer_finish(w, &b, NULL), WEFT_OK);
    writer_free(w);
    const char *path = scratch_write(name, b.data, b.n);
    free(b.data);
    return path;
}

static struct gguf *open_ok(const char *path)
{
    struct gguf *g = NULL;
    weft_error err = { 0 };
    if (gguf_open(path, true, &g, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return g;
}

static void open_bad(const char *path, weft_status status, const char *fragment)
{
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        struct gguf *g = NULL;
        weft_error err = { 0 };
        weft_status got = gguf_open(path, use_mmap, &g, &err);
        if (got != status || g != NULL || strstr(err.message, fragment) == NULL) {
            fail_msg("%s '%s', expected %s '%s'", weft_status_name(got), err.message,
                     weft_status_name(status), fragment);
        }
    }
}

/* Writes keys of every type, with values at the borders of u32. */
static const char *write_values(uint32_t version)
{
    static const int8_t i8 = -5;
    static const int16_t i16 = -300;
    static const int64_t big = (int64_t)UINT32_MAX + 1;
    static const int64_t minus = -1;
    static const int64_t fits = UINT32_MAX;
    static const float floats[] = { 0.5f, -1.25f, 3e38f };
    static const int32_t ints[] = { 1, -2, INT32_MAX };
    static const uint8_t bools[] = { 1, 0 };
    static const uint32_t none = GGUF_U8;
    struct gguf_writer w;
    writer_init(&w);
    w.version = version;
    writer_u8(&w, "u8", 200);
    writer_raw(&w, "i8", GGUF_I8, &i8, sizeof i8);
    writer_u16(&w, "u16", 60000);
    writer_raw(&w, "i16", GGUF_I16, &i16, sizeof i16);
    writer_u32(&w, "u32", UINT32_MAX);
    writer_i32(&w, "i32", 7);
    writer_i32(&w, "i32.min", INT32_MIN);
    writer_raw(&w, "i64.big", GGUF_I64, &big, sizeof big);
    writer_raw(&w, "i64.minus", GGUF_I64, &minus, sizeof minus);
    writer_raw(&w, "i64.fits", GGUF_I64, &fits, sizeof fits);
    writer_u64(&w, "u64", 12);
    writer_u64(&w, "u64.max", UINT64_MAX);
    writer_f32(&w, "f32", 0.1f);
    writer_f64(&w, "f64", 1e-6);
    writer_bool(&w, "true", true);
    writer_bool(&w, "false", false);
    writer_str(&w, "str", "h\xc3\xa9llo");
    writer_str(&w, "str.empty", "");
    writer_array(&w, "floats", GGUF_F32, 3, floats, sizeof floats);
    writer_array(&w, "ints", GGUF_I32, 3, ints, sizeof ints);
    writer_array(&w, "bools", GGUF_BOOL, 2, bools, sizeof bools);
    writer_array(&w, "nothing", none, 0, NULL, 0);
    writer_strs(&w, "strs", 3);
    writer_add_str(&w, "one", 3);
    writer_add_str(&w, "", 0);
    writer_add_str(&w, "t\0o", 3);
    return finish(&w, "values.gguf");
}

static void expect_u32(const struct gguf *g, const char *key, weft_status status, uint32_t value,
                       const char *fragment)
{
    uint32_t v = 99;
    weft_error err = { 0 };
    assert_int_equal(gguf_get_u32(g, key, &v, &err), status);
    assert_int_equal(v, status == WEFT_OK ? value : 99);
    v = 99;
    assert_int_equal(gguf_opt_u32(g, key, &v, &err), status);
    assert_int_equal(v, status == WEFT_OK ? value : 99);
    if (status != WEFT_OK &&
        (strstr(err.message, fragment) == NULL || strstr(err.message, key) == NULL)) {
        fail_msg("%s: '%s' lacks '%s'", key, err.message, fragment);
    }
}

/* A value of each type is read as each other type. */
static void test_integers(void **state)
{
    (void)state;
    struct gguf *g = open_ok(write_values(3));
    expect_u32(g, "u8", WEFT_OK, 200, "");
    expect_u32(g, "u16", WEFT_OK, 60000, "");
    expect_u32(g, "u32", WEFT_OK, UINT32_MAX, "");
    expect_u32(g, "i32", WEFT_OK, 7, "");
    expect_u32(g, "u64", WEFT_OK, 12, "");
    expect_u32(g, "i64.fits", WEFT_OK, UINT32_MAX, "");
    expect_u32(g, "i8", WEFT_E_FORMAT, 0, "is -5; 0 to 4294967295");
    expect_u32(g, "i16", WEFT_E_FORMAT, 0, "is -300");
    expect_u32(g, "i32.min", WEFT_E_FORMAT, 0, "is -2147483648");
    expect_u32(g, "i64.big", WEFT_E_FORMAT, 0, "is 4294967296");
    expect_u32(g, "i64.minus", WEFT_E_FORMAT, 0, "is -1");
    expect_u32(g, "u64.max", WEFT_E_FORMAT, 0, "is 18446744073709551615");
    expect_u32(g, "f32", WEFT_E_FORMAT, 0, "is f32, but an integer is expected");
    expect_u32(g, "f64", WEFT_E_FORMAT, 0, "is f64");
    expect_u32(g, "true", WEFT_E_FORMAT, 0, "is bool");
    expect_u32(g, "str", WEFT_E_FORMAT, 0, "is str");
    expect_u32(g, "ints", WEFT_E_FORMAT, 0, "is an array of i32");
    expect_u32(g, "strs", WEFT_E_FORMAT, 0, "is an array of str");
    expect_u32(g, "nothing", WEFT_E_FORMAT, 0, "is an array of u8");
    uint32_t v = 5;
    weft_error err = { 0 };
    assert_int_equal(gguf_opt_u32(g, "absent", &v, &err), WEFT_OK);
    assert_int_equal(v, 5);
    assert_int_equal(gguf_get_u32(g, "absent", &v, &err), WEFT_E_FORMAT);
    assert_non_null(strstr(err.message, "'absent' is missing"));
    gguf_close(g);
}

static void test_other_scalars(void **state)
{
    (void)state;
    struct gguf *g = open_ok(write_values(2));
    assert_int_equal(g->version, 2);
    float f = 9.0f;
    bool b = false;
    struct gguf_str s = { "old", 3 };
    assert_int_equal(gguf_get_f32(g, "f32", &f, NULL), WEFT_OK);
    assert_true(f == 0.1f);
    assert_int_equal(gguf_opt_f32(g, "f64", &f, NULL), WEFT_OK);
    assert_true(f == 1e-6f);
    assert_int_equal(gguf_opt_f32(g, "absent", &f, NULL), WEFT_OK);
    assert_true(f == 1e-6f);
    assert_int_equal(gguf_get_f32(g, "absent", &f, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_opt_f32(g, "u32", &f, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_opt_f32(g, "floats", &f, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_opt_bool(g, "true", &b, NULL), WEFT_OK);
    assert_true(b);
    assert_int_equal(gguf_opt_bool(g, "absent", &b, NULL), WEFT_OK);
    assert_true(b);
    assert_int_equal(gguf_opt_bool(g, "u8", &b, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_opt_bool(g, "bools", &b, NULL), WEFT_E_FORMAT);
    assert_true(b);
    assert_int_equal(gguf_opt_bool(g, "false", &b, NULL), WEFT_OK);
    assert_false(b);
    assert_int_equal(gguf_opt_str(g, "absent", &s, NULL), WEFT_OK);
    assert_true(gguf_str_is(s, "old"));
    assert_int_equal(gguf_get_str(g, "absent", &s, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_get_str(g, "strs", &s, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_get_str(g, "str", &s, NULL), WEFT_OK);
    assert_true(gguf_str_is(s, "h\xc3\xa9llo"));
    assert_false(gguf_str_is(s, "h\xc3\xa9ll"));
    assert_int_equal(gguf_get_str(g, "str.empty", &s, NULL), WEFT_OK);
    assert_true(gguf_str_is(s, ""));
    gguf_close(g);
}

static void test_arrays(void **state)
{
    (void)state;
    struct gguf *g = open_ok(write_values(3));
    const struct gguf_kv *kv = NULL;
    weft_error err = { 0 };
    assert_int_equal(gguf_get_array(g, "floats", GGUF_F32, &kv, NULL), WEFT_OK);
    assert_int_equal(kv->n, 3);
    assert_true(gguf_f32_at(kv, 1) == -1.25f && gguf_f32_at(kv, 2) == 3e38f);
    assert_int_equal(gguf_get_array(g, "ints", GGUF_I32, &kv, NULL), WEFT_OK);
    assert_int_equal(gguf_i32_at(kv, 1), -2);
    assert_int_equal(gguf_i32_at(kv, 2), INT32_MAX);
    assert_int_equal(gguf_opt_array(g, "strs", GGUF_STR, &kv, NULL), WEFT_OK);
    assert_int_equal(kv->n, 3);
    assert_int_equal(kv->strs[1].n, 0);
    assert_memory_equal(kv->strs[2].s, "t\0o", 3);
    assert_int_equal(gguf_opt_array(g, "nothing", GGUF_U8, &kv, NULL), WEFT_OK);
    assert_int_equal(kv->n, 0);
    const struct gguf_kv *before = kv;
    assert_int_equal(gguf_opt_array(g, "absent", GGUF_U8, &kv, NULL), WEFT_OK);
    assert_int_equal(gguf_get_array(g, "absent", GGUF_U8, &kv, NULL), WEFT_E_FORMAT);
    assert_int_equal(gguf_get_array(g, "ints", GGUF_F32, &kv, &err), WEFT_E_FORMAT);
    assert_non_null(
        strstr(err.message, "'ints' is an array of i32, but an array of f32 is expected"));
    assert_int_equal(gguf_opt_array(g, "u32", GGUF_U32, &kv, &err), WEFT_E_FORMAT);
    assert_non_null(strstr(err.message, "'u32' is u32, but an array of u32 is expected"));
    assert_ptr_equal(kv, before);
    gguf_close(g);
}

/* The offset and the bytes of a tensor that lies beyond 4 GiB are right; the file is sparse. */
static void test_far_offset(void **state)
{
    (void)state;
    const uint64_t far = (uint64_t)5 << 30;
    const float values[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct gguf_writer w;
    writer_init(&w);
    writer_tensor(&w, "huge", 2, (uint64_t[]){ 1 << 15, 5 << 13 }, QUANT_F32, NULL, far);
    writer_tensor(&w, "last", 1, (uint64_t[]){ 8 }, QUANT_F32, NULL, sizeof values);
    struct bytes b = { 0 };
    assert_int_equal(writer_finish(&w, &b, NULL), WEFT_OK);
    writer_free(&w);
    const char *path = scratch_write("far.gguf", b.data, b.n);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, values, sizeof values, (off_t)(b.n + far)), sizeof values);
    close(fd);
    struct gguf *g = open_ok(path);
    const struct gguf_tensor *t = gguf_find_tensor(g, "last");
    assert_non_null(t);
    assert_true(t->offset == far);
    assert_memory_equal(t->data, values, sizeof values);
    assert_true(gguf_find_tensor(g, "huge")->n_bytes == far);
    gguf_close(g);
    assert_int_equal(truncate(path, (off_t)(b.n + far + sizeof values - 1)), 0);
    struct gguf *none = NULL;
    assert_int_equal(gguf_open(path, true, &none, NULL), WEFT_E_FORMAT);
    assert_int_equal(unlink(path), 0);
    free(b.data);
}

/* The keys of one part of a split file, as gguf-split writes them: u16, u16, i32. `tensor` may be
 * NULL: the part has none. */
struct part {
    uint16_t no, count;
    int32_t n_tensors;
    const char *tensor;
};

static const char *write_part(const char *file, const struct part *p)
{
    float values[8];
    for (size_t i = 0; i < 8; i++) {
        values[i] = (float)p->no + (float)i / 8.0f;
    }
    struct gguf_writer w;
    writer_init(&w);
    if (p->no == 0) {
        writer_str(&w, "general.architecture", "test");
    }
    writer_u16(&w, "split.no", p->no);
    writer_u16(&w, "split.count", p->count);
    writer_i32(&w, "split.tensors.count", p->n_tensors);
    if (p->tensor != NULL) {
        writer_tensor(&w, p->tensor, 1, (uint64_t[]){ 8 }, QUANT_F32, values, sizeof values);
    }
    return finish(&w, file);
}

#define PART(i) "s-0000" #i "-of-00003.gguf"

static const char *write_split(void)
{
    write_part(PART(3), &(struct part){ 2, 3, 2, "c" });
    write_part(PART(2), &(struct part){ 1, 3, 2, "b" });
    return write_part(PART(1), &(struct part){ 0, 3, 2, NULL });
}

static void test_split(void **state)
{
    (void)state;
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        struct gguf *g = NULL;
        assert_int_equal(gguf_open(write_split(), use_mmap, &g, NULL), WEFT_OK);
        assert_int_equal(g->n_parts, 3);
        assert_int_equal(g->n_tensors, 2);
        assert_int_equal(g->n_bytes, g->parts[0].n + g->parts[1].n + g->parts[2].n);
        assert_non_null(gguf_find(g, "general.architecture"));
        for (size_t i = 0; i < 2; i++) {
            const struct gguf_tensor *t = gguf_find_tensor(g, i == 0 ? "b" : "c");
            float v[8];
            assert_non_null(t);
            assert_int_equal(t->part, i + 1);
            memcpy(v, t->data, sizeof v);
            assert_true(v[0] == (float)(i + 1) && v[7] == (float)(i + 1) + 0.875f);
        }
        assert_int_equal(gguf_check(g, NULL), WEFT_OK);
        assert_int_equal(truncate(scratch_path(PART(3)), 40), 0);
        assert_int_equal(gguf_check(g, NULL), use_mmap ? WEFT_E_IO : WEFT_OK);
        gguf_close(g);
    }
}

static void test_split_refused(void **state)
{
    (void)state;
    char first[1024];
    snprintf(first, sizeof first, "%s", write_split());
    open_bad(scratch_path(PART(2)), WEFT_E_ARG,
             "is part 2 of 3 of a split model; open the first part instead: ");
    open_bad(scratch_path(PART(3)), WEFT_E_ARG, PART(1));
    write_part(PART(2), &(struct part){ 2, 3, 2, "b" });
    open_bad(first, WEFT_E_FORMAT, "says it is part 3 of 3");
    write_part(PART(2), &(struct part){ 1, 4, 2, "b" });
    open_bad(first, WEFT_E_FORMAT, "says it is part 2 of 4");
    write_part(PART(2), &(struct part){ 1, 3, 9, "b" });
    open_bad(first, WEFT_E_FORMAT, "with 9 tensors in all");
    write_part(PART(2), &(struct part){ 1, 3, 2, "c" });
    open_bad(first, WEFT_E_FORMAT, "tensor 'c' is there twice");
    write_part(PART(2), &(struct part){ 1, 3, 2, NULL });
    open_bad(first, WEFT_E_FORMAT, "have 1 tensors, but split.tensors.count is 2");
    write_part(PART(2), &(struct part){ 1, 3, -1, "b" });
    open_bad(first, WEFT_E_FORMAT, "'split.tensors.count' is -1");
    write_part(PART(2), &(struct part){ 1, 3, 2, "b" });
    assert_int_equal(truncate(scratch_path(PART(2)), 60), 0);
    open_bad(first, WEFT_E_FORMAT, PART(2) ": ");
    assert_int_equal(unlink(scratch_path(PART(2))), 0);
    open_bad(first, WEFT_E_IO, "part 2 of 3 of a split model: ");
    assert_int_equal(rename(first, scratch_path("renamed.gguf")), 0);
    open_bad(scratch_path("renamed.gguf"), WEFT_E_ARG, "...-00001-of-00003.gguf");
    open_bad(write_part("x.gguf", &(struct part){ 1, 2, 1, "t" }), WEFT_E_ARG, "is part 2 of 2");
    struct gguf *g = open_ok(write_part("one.gguf", &(struct part){ 0, 1, 1, "t" }));
    assert_int_equal(g->n_parts, 1);
    gguf_close(g);
}

static void check_value(const weft_file *f, const char *name, size_t j, const char *text)
{
    weft_key_info k = { .name = "" };
    size_t i = 0;
    while (strcmp(k.name, name) != 0) {
        assert_int_equal(weft_file_key(f, i++, &k, NULL), WEFT_OK);
    }
    char buf[64];
    size_t n = 0;
    assert_int_equal(weft_file_value(f, i - 1, j, NULL, 0, &n, NULL),
                     strlen(text) > 0 ? WEFT_E_BUFFER : WEFT_OK);
    assert_int_equal(weft_file_value(f, i - 1, j, buf, sizeof buf, &n, NULL), WEFT_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buf, text, n);
    assert_int_equal(weft_file_value(f, i - 1, k.n, buf, sizeof buf, &n, NULL), WEFT_E_ARG);
}

static void test_weft_file(void **state)
{
    (void)state;
    weft_file *f = NULL;
    weft_error err = { 0 };
    weft_key_info k;
    weft_tensor_info t;
    assert_int_equal(weft_file_open(NULL, &f, &err), WEFT_E_ARG);
    assert_int_equal(weft_file_open("x", NULL, &err), WEFT_E_ARG);
    assert_int_equal(weft_file_open(scratch_path("absent"), &f, &err), WEFT_E_IO);
    assert_null(f);
    assert_int_equal(weft_file_n_keys(NULL), 0);
    assert_int_equal(weft_file_key(NULL, 0, &k, &err), WEFT_E_ARG);
    assert_int_equal(weft_file_open(write_values(3), &f, &err), WEFT_OK);
    assert_int_equal(weft_file_version(f), 3);
    assert_int_equal(weft_file_n_parts(f), 1);
    assert_non_null(weft_file_part(f, 0));
    assert_null(weft_file_part(f, 1));
    assert_int_equal(weft_file_n_tensors(f), 0);
    assert_int_equal(weft_file_key(f, 0, NULL, &err), WEFT_E_ARG);
    assert_int_equal(weft_file_key(f, weft_file_n_keys(f), &k, &err), WEFT_E_ARG);
    assert_int_equal(weft_file_tensor(f, 0, &t, &err), WEFT_E_ARG);
    check_value(f, "u8", 0, "200");
    check_value(f, "i8", 0, "-5");
    check_value(f, "i16", 0, "-300");
    check_value(f, "i32.min", 0, "-2147483648");
    check_value(f, "u64.max", 0, "18446744073709551615");
    check_value(f, "i64.minus", 0, "-1");
    check_value(f, "f32", 0, "0.1");
    check_value(f, "f64", 0, "1e-06");
    check_value(f, "floats", 2, "3e+38");
    check_value(f, "true", 0, "true");
    check_value(f, "bools", 1, "false");
    check_value(f, "str", 0, "h\xc3\xa9llo");
    check_value(f, "strs", 1, "");
    weft_file_release(&f);
    assert_null(f);
    weft_file_release(&f);
    weft_file_release(NULL);
}

/* Every preset of test size opens and has what its architecture needs, in f32, in q8_0 and in three
 * mixes of types. */
static void test_synth(void **state)
{
    (void)state;
    static const char *const mixes[] = { "f32", "q8_0", "q4_k_m", "q2_k", "iq4_xs" };
    for (size_t i = 0; synth_preset_name(i) != NULL; i++) {
        struct synth_spec spec;
        assert_true(synth_preset(synth_preset_name(i), &spec));
        if (spec.dim > 128) {
            continue;
        }
        for (size_t m = 0; m < sizeof mixes / sizeof mixes[0]; m++) {
            weft_error err = { 0 };
            spec.type_mix = mixes[m];
            const char *path = scratch_path("synth.gguf");
            if (synth_write(&spec, path, &err) != WEFT_OK) {
                fail_msg("%s", err.message);
            }
            struct gguf *g = open_ok(path);
            const struct gguf_tensor *t = gguf_find_tensor(g, "token_embd.weight");
            assert_int_equal(t->ne[0], spec.dim);
            assert_int_equal(t->ne[1], spec.n_vocab);
            assert_int_equal(gguf_find_tensor(g, "output.weight") == NULL, spec.tied);
            assert_int_equal(gguf_find_tensor(g, "blk.1.attn_qkv.weight") != NULL,
                             strcmp(spec.arch, "phi3") == 0);
            const struct gguf_kv *tokens = NULL;
            assert_int_equal(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STR, &tokens, NULL),
                             WEFT_OK);
            assert_int_equal(tokens->n, spec.n_vocab);
            gguf_close(g);
        }
    }
}

/* A file that was read into memory is not looked at again: it may be cut. A mapped file would give
 * SIGBUS. */
static void test_loaded(void **state)
{
    (void)state;
    weft_file *f = NULL;
    const char *path = write_values(3);
    assert_int_equal(weft_file_load(NULL, &f, NULL), WEFT_E_ARG);
    assert_int_equal(weft_file_load(path, NULL, NULL), WEFT_E_ARG);
    assert_int_equal(weft_file_load(path, &f, NULL), WEFT_OK);
    assert_int_equal(truncate(path, 0), 0);
    check_value(f, "u8", 0, "200");
    check_value(f, "str", 0, "h\xc3\xa9llo");
    weft_file_release(&f);
}

/* The same spec gives the same bytes, another seed gives other bytes; no half-written file stays
 * behind. */
static void test_synth_files(void **state)
{
    (void)state;
    struct synth_spec spec;
    weft_error err = { 0 };
    assert_true(synth_preset("tiny-llama", &spec));
    struct file f[3];
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "same%zu", i);
        spec.seed = i < 2 ? 7 : 8;
        const char *path = scratch_path(name);
        assert_int_equal(synth_write(&spec, path, &err), WEFT_OK);
        assert_int_equal(file_open(path, &(struct file_how){ 0 }, &f[i], &err), WEFT_OK);
    }
    assert_int_equal(f[0].n, f[1].n);
    assert_memory_equal(f[0].data, f[1].data, f[0].n);
    assert_memory_not_equal(f[0].data, f[2].data, f[0].n);
    for (size_t i = 0; i < 3; i++) {
        file_close(&f[i]);
    }
    assert_int_equal(synth_write(&spec, scratch_path("no/such/directory"), &err), WEFT_E_IO);
    spec.type_mix = "q9_z";
    assert_int_equal(synth_write(&spec, scratch_path("bad"), &err), WEFT_E_ARG);
    assert_non_null(strstr(err.message, "q9_z"));
    spec.type_mix = "f32";
    spec.n_vocab = 100;
    assert_int_equal(synth_write(&spec, scratch_path("bad"), &err), WEFT_E_ARG);
    assert_int_equal(access(scratch_path("bad.part"), F_OK), -1);
}

/* A sparse model is described like any other: its matrices hold only zeros, its vectors hold real
 * values. */
static void test_synth_sparse(void **state)
{
    (void)state;
    static const char *const names[] = { "token_embd.weight", "blk.0.attn_norm.weight",
                                         "blk.1.ffn_down.weight", "output.weight" };
    struct synth_spec spec;
    weft_error err = { 0 };
    struct gguf *g[2];
    assert_true(synth_preset("tiny-llama", &spec));
    for (size_t i = 0; i < 2; i++) {
        const char *path = scratch_path(i == 0 ? "whole" : "sparse");
        spec.sparse = i == 1;
        assert_int_equal(synth_write(&spec, path, &err), WEFT_OK);
        g[i] = open_ok(path);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct gguf_tensor *whole = gguf_find_tensor(g[0], names[i]);
        const struct gguf_tensor *sparse = gguf_find_tensor(g[1], names[i]);
        uint8_t bits = 0;
        assert_int_equal(whole->offset, sparse->offset);
        assert_int_equal(whole->n_bytes, sparse->n_bytes);
        for (size_t k = 0; k < sparse->n_bytes; k++) {
            bits |= sparse->data[k];
        }
        assert_int_equal(bits == 0, strstr(names[i], "norm") == NULL);
    }
    gguf_close(g[0]);
    gguf_close(g[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),     cmocka_unit_test(test_other_scalars),
        cmocka_unit_test(test_arrays),       cmocka_unit_test(test_far_offset),
        cmocka_unit_test(test_split),        cmocka_unit_test(test_split_refused),
        cmocka_unit_test(test_weft_file),    cmocka_unit_test(test_synth),
        cmocka_unit_test(test_loaded),       cmocka_unit_test(test_synth_files),
        cmocka_unit_test(test_synth_sparse),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
