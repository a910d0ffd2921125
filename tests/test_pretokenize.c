/* The words that text is split into, by name of the pre-tokenizer: what differs between them, white
 * space, bytes that are no UTF-8. Expectations follow from the published patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
