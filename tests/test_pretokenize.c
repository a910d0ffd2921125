/* The words that text is split into, by name of the pre-tokenizer: what differs between them, white
 * space, bytes that are no UTF-8; and long runs in bounded time. Expectations follow from the
 * published patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pretokenize.h"

/* The words of `text` under a pattern, joined by '|'. */
static void expect_words(const char *pre, const char *text, const char *want)
{
    struct pretokenizer *p;
    struct splitter *s;
    weft_error err;
    const size_t *ends;
    size_t n;
    char got[128] = "";
    assert_int_equal(pretokenizer_open((struct gguf_str){ pre, strlen(pre) }, &p, &err), WEFT_OK);
    assert_int_equal(splitter_open(p, &s, &err), WEFT_OK);
    assert_int_equal(splitter_run(s, text, strlen(text), &ends, &n, &err), WEFT_OK);
    for (size_t i = 0, begin = 0; i < n; begin = ends[i++]) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i > 0 ? "|" : "",
                 (int)(ends[i] - begin), text + begin);
    }
    assert_string_equal(got, want);
    splitter_close(s);
    pretokenizer_close(p);
}

static void test_words(void **state)
{
    (void)state;
    static const char text[] = "I'LL  eat 12345 Pies!?\n (it's)";
    expect_words("gpt-2", text, "I|'|LL| | eat| 12345| Pies|!?|\n| (|it|'s|)");
    expect_words("qwen2", text, "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)");
    expect_words("llama-bpe", text, "I|'LL| | eat| |123|45| Pies|!?\n| (|it|'s|)");
    expect_words("smollm", text, "I|'|LL| | eat| |1|2|3|4|5| Pies|!?|\n| (|it|'s|)");
    expect_words("gpt-4o", text, "I'LL| | eat| |123|45| Pies|!?\n| (|it's|)");
    expect_words("tekken", text, "I|'LL| | eat| |1|2|3|4|5| Pies|!?\n| (|it|'s|)");
    expect_words("default", "a+b 1234.", "a|+|b| |123|4|.");
    expect_words("tekken", "camelCase HTTPServer", "camel|Case| HTTPServer");
    /* U+180E is no white space, U+3000 is; a byte that is no UTF-8 is a symbol */
    expect_words("qwen2", "\xe1\xa0\x8e\xe1\xa0\x8e.\xe3\x80\x80\xff!",
                 "\xe1\xa0\x8e\xe1\xa0\x8e.|\xe3\x80\x80|\xff!");
}

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

/* V11: a long run of one kind of character, or of two in turn, costs every pattern the same for
 * each byte: a megabyte in less than a second. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const names[] = { "default",   "gpt-2",  "qwen2",  "llama-bpe",
                                         "smaug-bpe", "smollm", "gpt-4o", "tekken" };
    static const char *const runs[] = { "A",         "a",
                                        "0",         ".",
                                        " ",         "\n",
                                        "\t",        "\xe4\xb8\xad",
                                        "\xcc\x81",  "\xf0\x9f\x98\x80",
                                        "'",         "\xff",
                                        " \n",       "Aa",
                                        " a",        "'s",
                                        "a\xcc\x81", "A\xcc\x81",
                                        " \r\n" };
    enum { LONG = 1 << 17 };
    static char text[LONG];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pretokenizer *p;
        struct splitter *s;
        weft_error err;
        const size_t *ends;
        size_t n;
        assert_int_equal(
            pretokenizer_open((struct gguf_str){ names[i], strlen(names[i]) }, &p, &err), WEFT_OK);
        assert_int_equal(splitter_open(p, &s, &err), WEFT_OK);
        for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
            size_t len = strlen(runs[r]), total = LONG / len * len;
            for (size_t k = 0; k < total; k++) {
                text[k] = runs[r][k % len];
            }
            double start = cpu_seconds();
            assert_int_equal(splitter_run(s, text, total, &ends, &n, &err), WEFT_OK);
            double took = cpu_seconds() - start;
            if (took > (double)LONG / (1 << 20)) {
                fail_msg("%s, run %zu: %.3f s", names[i], r, took);
            }
            assert_int_equal(ends[n - 1], total);
        }
        splitter_close(s);
        pretokenizer_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
