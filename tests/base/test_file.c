/* file.c: what it opens and what it refuses (missing files, directories, pipes, devices, empty
 * files), that mapped and read files hold the same bytes, and that a file which shrinks is
 * noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "support/scratch.h"

static void refuse(const char *path, weft_status status, const char *fragment)
{
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        struct file f;
        weft_error err = { 0 };
        assert_int_equal(file_open(path, &(struct file_how){ .use_mmap = use_mmap }, &f, &err),
                         status);
        assert_int_equal(err.code, status);
        if (strstr(err.message, fragment) == NULL || strstr(err.message, path) == NULL) {
            fail_msg("'%s' lacks '%s' or the path", err.message, fragment);
        }
        assert_int_equal(file_open(path, &(struct file_how){ .use_mmap = use_mmap }, &f, NULL),
                         status);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const char *pipe = scratch_path("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    refuse(scratch_path("missing"), WEFT_E_IO, "No such file");
    refuse(scratch_path("."), WEFT_E_IO, "is a directory");
    refuse(pipe, WEFT_E_IO, "is a pipe");
    refuse("/dev/null", WEFT_E_IO, "is a character device");
    refuse(scratch_write("empty", "", 0), WEFT_E_FORMAT, "is empty");
    refuse("", WEFT_E_IO, "No such file");
}

static void test_unreadable(void **state)
{
    (void)state;
    const char *path = scratch_write("locked", "x", 1);
    assert_int_equal(chmod(path, 0), 0);
    if (access(path, R_OK) == 0) {
        skip(); /* root may read everything */
    }
    refuse(path, WEFT_E_IO, "Permission denied");
}

static void test_bytes(void **state)
{
    (void)state;
    static uint8_t data[100003];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    const char *path = scratch_write("bytes", data, sizeof data);
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        struct file f;
        assert_int_equal(file_open(path, &(struct file_how){ .use_mmap = use_mmap }, &f, NULL),
                         WEFT_OK);
        assert_string_equal(f.path, path);
        assert_int_equal(f.mapped, use_mmap);
        assert_int_equal(f.fd >= 0, use_mmap);
        assert_int_equal(f.n, sizeof data);
        assert_memory_equal(f.data, data, sizeof data);
        assert_int_equal((uintptr_t)f.data % 64, 0);
        static uint8_t copy[sizeof data];
        assert_int_equal(file_read(&f, f.data + 4097, sizeof data - 4097, copy, NULL), WEFT_OK);
        assert_memory_equal(copy, data + 4097, sizeof data - 4097);
        assert_int_equal(file_check(&f, NULL), WEFT_OK);
        file_close(&f);
        assert_null(f.data);
    }
}

static void test_shrinks(void **state)
{
    (void)state;
    static const uint8_t data[5000];
    for (int use_mmap = 0; use_mmap < 2; use_mmap++) {
        const char *path = scratch_write("shrinks", data, sizeof data);
        struct file f;
        weft_error err = { 0 };
        assert_int_equal(file_open(path, &(struct file_how){ .use_mmap = use_mmap }, &f, &err),
                         WEFT_OK);
        assert_int_equal(truncate(path, 6000), 0);
        assert_int_equal(file_check(&f, &err), WEFT_OK);
        assert_int_equal(truncate(path, 4999), 0);
        assert_int_equal(file_check(&f, &err), use_mmap ? WEFT_E_IO : WEFT_OK);
        uint8_t last[100];
        const uint8_t *from = f.data + sizeof data - sizeof last;
        assert_int_equal(file_read(&f, f.data, sizeof last, last, &err), WEFT_OK);
        if (use_mmap) {
            assert_non_null(strstr(err.message, "has shrunk to 4999 bytes"));
            assert_int_equal(file_read(&f, from, sizeof last, last, &err), WEFT_E_IO);
            assert_non_null(strstr(err.message, path));
            assert_non_null(strstr(err.message, "ends before byte 4999, but had 5000 bytes"));
        } else {
            assert_memory_equal(f.data, data, sizeof data);
        }
        file_close(&f);
    }
}

/* What a judge is given, and the verdict that it returns. */
struct seen {
    uint8_t head[FILE_HEAD];
    size_t n, n_calls;
    weft_status verdict;
};

static weft_status look(void *user, const uint8_t *head, size_t n, weft_error *err)
{
    struct seen *s = user;
    memcpy(s->head, head, n < FILE_HEAD ? n : FILE_HEAD);
    s->n = n;
    s->n_calls++;
    return s->verdict == WEFT_OK ? WEFT_OK : error_set(err, s->verdict, "refused");
}

static void test_judged(void **state)
{
    (void)state;
    static uint8_t data[FILE_HEAD + 9];
    const size_t sizes[] = { 1, FILE_HEAD - 1, FILE_HEAD, FILE_HEAD + 1, sizeof data };
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 3 + 1);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct seen s = { .verdict = WEFT_OK };
        struct file_how how = { .judge = look, .user = &s };
        struct file f;
        weft_error err = { 0 };
        const char *path = scratch_write("judged", data, sizes[i]);
        assert_int_equal(file_open(path, &how, &f, &err), WEFT_OK);
        assert_int_equal(s.n, sizes[i]);
        assert_memory_equal(s.head, data, sizes[i] < FILE_HEAD ? sizes[i] : FILE_HEAD);
        assert_int_equal(f.n, sizes[i]);
        assert_memory_equal(f.data, data, sizes[i]);
        file_close(&f);
        s.verdict = WEFT_E_FORMAT;
        assert_int_equal(file_open(path, &how, &f, &err), WEFT_E_FORMAT);
        assert_string_equal(err.message, "refused");
        assert_int_equal(s.n_calls, 2);
        /* Mapping costs nothing, whatever the size, so the judge is not called for a mapped file.
         */
        how.use_mmap = true;
        assert_int_equal(file_open(path, &how, &f, &err), WEFT_OK);
        assert_int_equal(s.n_calls, 2);
        file_close(&f);
    }
    /* This file is larger than memory, and the judge refuses it. */
    struct seen s = { .verdict = WEFT_E_FORMAT };
    struct file f;
    const char *path = scratch_write("judged", data, sizeof data);
    assert_int_equal(truncate(path, (off_t)1 << 42), 0);
    assert_int_equal(file_open(path, &(struct file_how){ .judge = look, .user = &s }, &f, NULL),
                     WEFT_E_FORMAT);
    assert_int_equal(s.n, (size_t)1 << 42);
}

/* A zeroed struct has fd 0, which belongs to somebody else and must stay open. */
static void test_close_zeroed(void **state)
{
    (void)state;
    int copy = dup(0);
    bool open_before = copy >= 0;
    close(copy);
    struct file f = { 0 };
    file_close(&f);
    file_close(&f);
    copy = dup(0);
    assert_int_equal(copy >= 0, open_before);
    close(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_bytes),        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_close_zeroed), cmocka_unit_test(test_judged),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
