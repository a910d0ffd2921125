/* utf8.c: every code point that is written is read again; texts are cut only between characters;
 * and no character that a terminal obeys is left. text/test_stream.c tests bytes that are not
 * characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/utf8.h"

static bool is_surrogate(uint32_t c) { return c >= 0xd800 && c <= 0xdfff; }

static void test_write(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char text[UTF8_MAX];
        size_t len, n = utf8_write(c, text);
        assert_int_equal(n, 1 + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000));
        /* Surrogates are written like any other number, but they are not characters. */
        if (is_surrogate(c)) {
            assert_int_equal(utf8_next(text, n, &len), UTF8_INVALID);
            continue;
        }
        assert_int_equal(utf8_next(text, n, &len), UTF8_CHAR);
        assert_int_equal(len, n);
        assert_int_equal(utf8_code_point(text, len), c);
    }
}

static void test_fit(void **state)
{
    (void)state;
    /* The characters have 1, 2, 3 and 4 bytes, so they begin at 0, 1, 3, 6 and 10. */
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z";
    static const size_t want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11 };
    const size_t n = sizeof text - 1;
    assert_int_equal(n, 11);
    for (size_t most = 0; most <= n; most++) {
        assert_int_equal(utf8_fit(text, n, most), want[most]);
        assert_int_equal(utf8_fit(text, n, n + most), n);
    }
    for (size_t at = 0; at <= n; at++) {
        size_t begin = at;
        while (want[begin] != begin) {
            begin++;
        }
        assert_ptr_equal(utf8_start(text + at), text + begin);
    }
    /* These bytes continue nothing: nothing is shown, and nothing behind the end is read. */
    assert_int_equal(utf8_fit("\x80\x80\x80", 3, 2), 0);
    assert_int_equal(*utf8_start("\x80\x80"), '\0');
}

static void test_printable(void **state)
{
    (void)state;
    char text[] = "\x1b[2J\na\x7f\xc2\x9bz\xc2\xa0\xc3\xa9\x01\xc2";
    utf8_printable(text, '\n');
    assert_string_equal(text, "?[2J\na???z\xc2\xa0\xc3\xa9?\xc2");
    utf8_printable(text, '\0');
    assert_string_equal(text, "?[2J?a???z\xc2\xa0\xc3\xa9?\xc2");
}

/* A message that is too long for its buffer keeps its characters whole, wherever it is cut. */
static void test_message(void **state)
{
    (void)state;
    char name[1024];
    for (size_t shift = 0; shift < 4; shift++) {
        size_t n = shift, chars = 0;
        memset(name, 'x', shift);
        for (; n + 3 < sizeof name; n += 3) {
            memcpy(name + n, "\xe2\x82\xac", 3);
        }
        name[n] = '\0';
        weft_error err;
        assert_int_equal(error_set(&err, WEFT_E_IO, "%s: gone", name), WEFT_E_IO);
        n = strlen(err.message);
        assert_true(n < sizeof err.message && n > sizeof err.message - 8);
        for (size_t at = 0, len; at < n; at += len, chars++) {
            assert_int_equal(utf8_next(err.message + at, n - at, &len), UTF8_CHAR);
        }
        assert_true(chars > 100);
        assert_non_null(strstr(err.message, ": gone"));
    }
    /* A text that vsnprintf has cut. */
    char cut[] = "ab\xe2\x82";
    error_clean(cut);
    assert_string_equal(cut, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
