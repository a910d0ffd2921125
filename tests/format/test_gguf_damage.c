/* gguf_open on a small file that is cut to every length, and that has every bit of its header and
 * metadata flipped. It must open or give a clean error, and a file that opens must be safe to use
 * to its last byte. A file that shrinks while open is noticed, and a string of more than 16 MiB is
 * refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/gguf.h"
#include "support/scratch.h"
#include "synth/writer.h"

/* A small file with every type of value and three tensors. */
static void small_file(struct bytes *out, size_t *n_meta)
{
    static const float f[3] = { 1, 2, 3 };
    static const float values[64];
    struct gguf_writer w;
    writer_init(&w);
    writer_str(&w, "general.architecture", "test");
    writer_u32(&w, "general.alignment", 32);
    writer_u8(&w, "u8", 1);
    writer_u64(&w, "u64", 1);
    writer_f64(&w, "f64", 1.0);
    writer_bool(&w, "bool", true);
    writer_array(&w, "floats", GGUF_F32, 3, f, sizeof f);
    writer_strs(&w, "strings", 2);
    writer_add_str(&w, "a", 1);
    writer_add_str(&w, "", 0);
    writer_tensor(&w, "one", 2, (uint64_t[]){ 4, 4 }, QUANT_F32, values, 64);
    writer_tensor(&w, "two", 1, (uint64_t[]){ 32 }, QUANT_Q8_0, values, 34);
    writer_tensor(&w, "three", 3, (uint64_t[]){ 2, 2, 2 }, QUANT_F16, values, 16);
    *n_meta = 24 + w.kv.n + w.infos.n;
    assert_int_equal(writer_finish(&w, out, NULL), WEFT_OK);
    writer_free(&w);
}

/* The file is cut at every length from 0 on. Only the padding after the last tensor may be
 * missing. */
static void test_truncated(void **state)
{
    (void)state;
    struct bytes b = { 0 };
    size_t n_meta;
    small_file(&b, &n_meta);
    const char *path = scratch_write("cut.gguf", b.data, b.n);
    for (size_t n = b.n; n-- > 0;) {
        assert_int_equal(truncate(path, (off_t)n), 0);
        for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
            struct gguf *g = NULL;
            weft_error err = { 0 };
            weft_status status = gguf_open(path, use_mmap, &g, &err);
            weft_status expected = n >= b.n - 16 ? WEFT_OK : WEFT_E_FORMAT;
            if (status != expected || (status != WEFT_OK && err.message[0] == '\0')) {
                fail_msg("%zu of %zu bytes: %s '%s'", n, b.n, weft_status_name(status),
                         err.message);
            }
            gguf_close(g);
        }
    }
    free(b.data);
}

/* Uses everything that the file describes, to its last byte. */
static uint64_t touch(const struct gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        assert_ptr_equal(gguf_find(g, kv->key), kv);
        for (size_t j = 0; kv->strs != NULL && j < kv->n; j++) {
            sum += kv->strs[j].n > 0 ? (unsigned char)kv->strs[j].s[kv->strs[j].n - 1] : 0;
        }
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        assert_ptr_equal(gguf_find_tensor(g, t->name), t);
        sum += t->data[0] + t->data[t->n_bytes - 1];
    }
    return sum;
}

static void test_flipped(void **state)
{
    (void)state;
    struct bytes b = { 0 };
    size_t n_meta;
    size_t n_ok = 0;
    small_file(&b, &n_meta);
    const char *path = scratch_write("flip.gguf", b.data, b.n);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < n_meta * 8; i++) {
        char *byte = b.data + i / 8;
        *byte = (char)(*byte ^ 1 << i % 8);
        assert_int_equal(pwrite(fd, byte, 1, (off_t)(i / 8)), 1);
        struct gguf *g = NULL;
        weft_error err = { 0 };
        weft_status status = gguf_open(path, true, &g, &err);
        if (status == WEFT_OK) {
            n_ok++;
            touch(g);
        } else if ((status != WEFT_E_FORMAT && status != WEFT_E_UNSUPPORTED) || g != NULL ||
                   strstr(err.message, "flip.gguf") == NULL) {
            fail_msg("bit %zu: %s '%s'", i, weft_status_name(status), err.message);
        }
        gguf_close(g);
        *byte = (char)(*byte ^ 1 << i % 8);
        assert_int_equal(pwrite(fd, byte, 1, (off_t)(i / 8)), 1);
    }
    close(fd);
    free(b.data);
    /* A flipped bit of a letter or of a value may pass; elsewhere it has to be noticed. */
    assert_in_range(n_ok, 1, n_meta * 4);
}

/* The file shrinks after the check. */
static void test_shrinks(void **state)
{
    (void)state;
    struct bytes b = { 0 };
    size_t n_meta;
    small_file(&b, &n_meta);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        const char *path = scratch_write("shrinks.gguf", b.data, b.n);
        struct gguf *g = NULL;
        weft_error err = { 0 };
        assert_int_equal(gguf_open(path, use_mmap, &g, &err), WEFT_OK);
        assert_int_equal(gguf_check(g, &err), WEFT_OK);
        assert_int_equal(truncate(path, (off_t)b.n - 1), 0);
        assert_int_equal(gguf_check(g, &err), use_mmap ? WEFT_E_IO : WEFT_OK);
        if (use_mmap) {
            assert_non_null(strstr(err.message, "shrinks.gguf has shrunk"));
        } else {
            touch(g);
        }
        gguf_close(g);
    }
    free(b.data);
}

/* Strings that are longer than allowed are refused even if the file, a sparse one, really holds
 * them. */
static void test_large(void **state)
{
    (void)state;
    const uint64_t lengths[] = { ((uint64_t)1 << 24) + 1, (uint64_t)1 << 31 };
    for (size_t i = 0; i < 2; i++) {
        struct gguf_writer w;
        struct bytes b = { 0 };
        struct gguf *g = NULL;
        weft_error err = { 0 };
        char says[64];
        writer_init(&w);
        writer_raw(&w, "k", GGUF_STR, &lengths[i], sizeof lengths[i]);
        assert_int_equal(writer_finish(&w, &b, &err), WEFT_OK);
        writer_free(&w);
        const char *path = scratch_write("large.gguf", b.data, b.n);
        free(b.data);
        assert_int_equal(truncate(path, (off_t)lengths[i] + 4096), 0);
        clock_t start = clock();
        assert_int_equal(gguf_open(path, true, &g, &err), WEFT_E_FORMAT);
        assert_true(clock() - start < CLOCKS_PER_SEC / 20);
        snprintf(says, sizeof says, "%llu bytes; at most 16777216 are allowed",
                 (unsigned long long)lengths[i]);
        assert_non_null(strstr(err.message, says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
