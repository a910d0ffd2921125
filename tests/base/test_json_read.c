/* The reader of JSON: what it accepts and what it gives; what it refuses, with kind, place and
 * words; every character; depth; every allocation fails once; long texts take few allocations; and
 * on texts with random mistakes it agrees with jansson's parser. The program is linked with --wrap
 * for the allocator, which jansson calls too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/utf8.h"
#include "support/failing.h"
#include "support/level.h"
#include "support/rig.h"

enum { MOST = 128 };

/* Reads a copy of the text that ends where the text ends, so that a sanitizer notices a byte that
 * is read behind it. */
static json_t *parse(const char *text, size_t n, size_t most, unsigned flags, struct json_fault *f)
{
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    memset(f, 0, sizeof *f);
    json_t *value = json_parse(copy, n, most, flags, f);
    free(copy);
    return value;
}

/* ---------------------------------------------------------------- what is accepted */

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value; /* NULL: the same text */
    } cases[] = {
        { "null", NULL },
        { "true", NULL },
        { "false", NULL },
        { " \t\r\n{ } \n", "{}" },
        { "[]", NULL },
        { "[[[]],{},[{}]]", NULL },
        { " [ 1 , 2 ,\n3 ] ", "[1,2,3]" },
        { "{ \"a\" : 1 , \"b\" : [ ] }", "{\"a\":1,\"b\":[]}" },
        { "{\"a\":{\"b\":{\"a\":[{\"cde\":1}]},\"f\":2},\"b\":3}", NULL },
        { "{\"b\":1,\"a\":2,\"b\":3}", "{\"b\":3,\"a\":2}" },
        { "{\"\":0}", NULL },
        { "{\"\\n\":\"\\n\",\"k\":{\"\\t\":1}}", NULL },
        { "0", NULL },
        { "-0", "0" },
        { "-1", NULL },
        { "9223372036854775807", NULL },
        { "-9223372036854775808", NULL },
        { "0.0", NULL },
        { "1e0", "1.0" },
        { "1E+2", "100.0" },
        { "-2.5e-1", "-0.25" },
        { "1e-400", "0.0" },
        { "\"\"", NULL },
        { "\"a\x7f\"", NULL },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
        { "\"\\u0041\\u00e9\\u20AC\\ud83D\\uDe42z\"",
          "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z\"" },
        { "\"a\\u0000b\"", NULL },
        { "\"\\u005c\\u0022\"", "\"\\\\\\\"\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_fault f;
        json_t *value = parse(cases[i].text, strlen(cases[i].text), MOST, JSON_READ_NUL, &f);
        char *text = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT);
        assert_non_null(text);
        assert_string_equal(text, cases[i].value != NULL ? cases[i].value : cases[i].text);
        free(text);
        json_decref(value);
    }
}

/* ---------------------------------------------------------------- what is refused */

#define SYNTAX JSON_FAULT_SYNTAX
#define BEYOND JSON_FAULT_BEYOND

struct refusal {
    const char *text;
    enum json_fault_kind kind;
    size_t line, column;
    const char *words;
};

static void check_refused(const struct refusal *r, size_t n, unsigned flags)
{
    struct json_fault f;
    assert_null(parse(r->text, n, MOST, flags, &f));
    if (f.kind != r->kind || f.line != r->line || f.column != r->column ||
        strstr(f.text, r->words) == NULL) {
        fail_msg("%s: kind %d, line %zu, column %zu: %s; expected kind %d, line %zu, column %zu: "
                 "%s",
                 r->text, f.kind, f.line, f.column, f.text, r->kind, r->line, r->column, r->words);
    }
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        { "", SYNTAX, 1, 1, "found the end of the text, expected a value" },
        { " \n ", SYNTAX, 2, 2, "found the end of the text, expected a value" },
        { "x", SYNTAX, 1, 1, "found 'x', expected a value" },
        { "\xc3\xa9", SYNTAX, 1, 1, "found '\xc3\xa9', expected a value" },
        { "\xef\xbb\xbf{}", SYNTAX, 1, 1, "expected a value" },
        { "\xff", SYNTAX, 1, 1, "found the byte 0xFF, expected a value" },
        { "\x01", SYNTAX, 1, 1, "found the byte 0x01, expected a value" },
        { "1 2", SYNTAX, 1, 3, "found '2', expected the end of the text" },
        { "{}}", SYNTAX, 1, 3, "found '}', expected the end of the text" },
        { "[", SYNTAX, 1, 2, "found the end of the text, expected a value" },
        { "[1", SYNTAX, 1, 3, "found the end of the text, expected , or ]" },
        { "[1 2]", SYNTAX, 1, 4, "found '2', expected , or ]" },
        { "[1,]", SYNTAX, 1, 4, "found ']', expected a value" },
        { "[1}", SYNTAX, 1, 3, "found '}', expected , or ]" },
        { "{", SYNTAX, 1, 2, "found the end of the text, expected a key in double quotes" },
        { "{a:1}", SYNTAX, 1, 2, "found 'a', expected a key in double quotes" },
        { "{'a':1}", SYNTAX, 1, 2, "found ''', expected a key in double quotes" },
        { "{\"a\"}", SYNTAX, 1, 5, "found '}', expected :" },
        { "{\"a\":}", SYNTAX, 1, 6, "found '}', expected a value" },
        { "{\"a\":1", SYNTAX, 1, 7, "found the end of the text, expected , or }" },
        { "{\"a\":1,}", SYNTAX, 1, 8, "found '}', expected a key in double quotes" },
        { "{\"a\":1,\n\"b\":2 \"c\"}", SYNTAX, 2, 7, "found '\"', expected , or }" },
        { "tru", SYNTAX, 1, 4, "found the end of the text, expected the word true" },
        { "[nul]", SYNTAX, 1, 5, "found ']', expected the word null" },
        { "False", SYNTAX, 1, 1, "found 'F', expected a value" },
        { "truex", SYNTAX, 1, 5, "found 'x', expected the end" },
        { "NaN", SYNTAX, 1, 1, "found 'N', expected a value" },
        { "nan", SYNTAX, 1, 2, "found 'a', expected the word null" },
        { "-Infinity", SYNTAX, 1, 2, "found 'I', expected a digit" },
        { "-", SYNTAX, 1, 2, "found the end of the text, expected a digit" },
        { "+1", SYNTAX, 1, 1, "found '+', expected a value" },
        { "01", SYNTAX, 1, 2, "found '1', expected no digit behind a 0" },
        { "-00", SYNTAX, 1, 3, "found '0', expected no digit behind a 0" },
        { ".5", SYNTAX, 1, 1, "found '.', expected a value" },
        { "1.", SYNTAX, 1, 3, "found the end of the text, expected a digit" },
        { "1.e3", SYNTAX, 1, 3, "found 'e', expected a digit" },
        { "1e", SYNTAX, 1, 3, "found the end of the text, expected a digit" },
        { "1e+-1", SYNTAX, 1, 4, "found '-', expected a digit" },
        { "0x10", SYNTAX, 1, 2, "found 'x', expected the end" },
        { "1,5", SYNTAX, 1, 2, "found ',', expected the end" },
        { "[1\n/*a*/]", SYNTAX, 2, 1, "found '/', expected , or ]" },
        { "[\v1]", SYNTAX, 1, 2, "found the byte 0x0B, expected a value" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_refused(&cases[i], strlen(cases[i].text), JSON_READ_NUL);
        check_refused(&cases[i], strlen(cases[i].text), JSON_READ_ONCE);
    }
}

static void test_strings(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        { "\"abc", SYNTAX, 1, 5, "found the end of the text, expected \" at the end of a string" },
        { "\"a\nb\"", SYNTAX, 1, 3, "found the end of the line, expected an escape" },
        { "\"a\x1f\"", SYNTAX, 1, 3, "found the byte 0x1F, expected an escape" },
        { "\"\xc3\xa9\t\"", SYNTAX, 1, 3, "found the byte 0x09, expected an escape" },
        { "\"\\", SYNTAX, 1, 3, "found the end of the text, expected one of" },
        { "\"\\q\"", SYNTAX, 1, 3, "found 'q', expected one of \" \\ / b f n r t u" },
        { "\"\\U0041\"", SYNTAX, 1, 3, "found 'U', expected one of" },
        { "\"\\u12", SYNTAX, 1, 6, "found the end of the text, expected four hexadecimal" },
        { "\"\\u12g4\"", SYNTAX, 1, 6, "found 'g', expected four hexadecimal digits" },
        { "\"\\u-001\"", SYNTAX, 1, 4, "found '-', expected four hexadecimal digits" },
        { "\"a\\ud800\"", SYNTAX, 1, 3, "found \\ud800, half of a pair" },
        { "\"\\udc00\\ud800\"", SYNTAX, 1, 2, "found \\udc00, half of a pair" },
        { "\"\\ud800\\ud800\"", SYNTAX, 1, 2, "found \\ud800, half of a pair" },
        { "\"\\ud800\\u0041\"", SYNTAX, 1, 2, "found \\ud800, half of a pair" },
        { "\"\\ud800\\n\"", SYNTAX, 1, 2, "found \\ud800, half of a pair" },
        { "\"\\ud800\\u", SYNTAX, 1, 10, "found the end of the text, expected four" },
        { "\"\x80\"", SYNTAX, 1, 2, "found the byte 0x80, expected UTF-8" },
        { "\"\xc0\x80\"", SYNTAX, 1, 2, "found the byte 0xC0, expected UTF-8" },
        { "\"\xed\xa0\x80\"", SYNTAX, 1, 2, "found the byte 0xED, expected UTF-8" },
        { "\"\xf4\x90\x80\x80\"", SYNTAX, 1, 2, "found the byte 0xF4, expected UTF-8" },
        { "\"\xe2\x82\"", SYNTAX, 1, 2, "found the byte 0xE2, expected UTF-8" },
        { "{\"\xff\":1}", SYNTAX, 1, 3, "found the byte 0xFF, expected UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_refused(&cases[i], strlen(cases[i].text), JSON_READ_NUL);
    }
    const struct refusal nul = { "[\"a\0\"]", SYNTAX, 1, 4, "found the byte 0x00" };
    check_refused(&nul, 6, JSON_READ_NUL);
    const struct refusal behind = { "1\0", SYNTAX, 1, 2, "found the byte 0x00" };
    check_refused(&behind, 2, JSON_READ_NUL);
}

static void test_beyond(void **state)
{
    (void)state;
    static const struct refusal always[] = {
        { "[9223372036854775808]", BEYOND, 1, 2, "found an integer beyond 64 bits" },
        { "-9223372036854775809", BEYOND, 1, 1, "found an integer beyond 64 bits" },
        { "123456789012345678901234567890", BEYOND, 1, 1, "found an integer beyond 64 bits" },
        { "[0,\n 1e999]", BEYOND, 2, 2, "found a number beyond" },
        { "-1.8e308", BEYOND, 1, 1, "found a number beyond" },
        { "{\"a\\u0000b\":1}", BEYOND, 1, 2, "\\u0000 in a key" },
    };
    static const struct refusal twice[] = {
        { "{\"a\":1,\n \"a\":2}", BEYOND, 2, 2, "the key \"a\" as a duplicate" },
        { "{\"b\":{\"a\":1},\"\\u0062\":2}", BEYOND, 1, 14, "the key \"b\" as a duplicate" },
        { "{\"\\n\":1,\"\\n\":2}", BEYOND, 1, 9, "the key \"?\" as a duplicate" },
    };
    static const struct refusal nul = { "[\"a\\u0000\"]", BEYOND, 1, 4, "found \\u0000" };
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        check_refused(&always[i], strlen(always[i].text), JSON_READ_NUL);
    }
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
        struct json_fault f;
        check_refused(&twice[i], strlen(twice[i].text), JSON_READ_ONCE);
        json_t *value = parse(twice[i].text, strlen(twice[i].text), MOST, 0, &f);
        assert_non_null(value);
        json_decref(value);
    }
    check_refused(&nul, strlen(nul.text), 0);
}

/* A key that is too long for a message is cut between characters. */
static void test_long_key(void **state)
{
    (void)state;
    struct json_fault f;
    struct bytes key = { 0 }, text = { 0 };
    for (int i = 0; i < 300; i++) {
        assert_true(text_add(&key, "\xe2\x82\xac", 3));
    }
    for (int i = 0; i < 2; i++) {
        assert_true(text_add(&text, i == 0 ? "{\"" : ",\"", 2) &&
                    text_add(&text, key.data, key.n) && text_add(&text, "\":1", 3));
    }
    assert_null(parse(text.data, text.n, MOST, JSON_READ_ONCE, &f));
    assert_int_equal(f.kind, BEYOND);
    assert_int_equal(utf8_partial(f.text, strlen(f.text)), 0);
    assert_int_equal(f.column, 307);
    bytes_free(&key);
    bytes_free(&text);
}

/* ---------------------------------------------------------------- characters */

/* Expects that the text, a string, is read as want[n]. */
static void check_string(const char *text, size_t n_text, const char *want, size_t n)
{
    struct json_fault f;
    json_t *value = parse(text, n_text, 0, JSON_READ_NUL, &f);
    if (value == NULL || json_string_length(value) != n ||
        memcmp(json_string_value(value), want, n) != 0) {
        fail_msg("%s", text);
    }
    json_decref(value);
}

/* Every code point, as it is and as an escape, beside others. */
static void test_characters(void **state)
{
    (void)state;
    const uint32_t step = level_all("15 of 16 characters") ? 1 : 16;
    for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x3000 || c > 0xff00 ? 1 : step) {
        char want[UTF8_MAX + 2] = "a", text[32];
        const size_t n = 1 + utf8_write(c, want + 1);
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }
        if (c >= 0x20 && c != '"' && c != '\\') {
            int n_text = snprintf(text, sizeof text, "\"%.*s\"", (int)n, want);
            check_string(text, (size_t)n_text, want, n);
        }
        want[n] = 'b';
        int n_text = c < 0x10000 ? snprintf(text, sizeof text, "\"a\\u%04xb\"", c)
                                 : snprintf(text, sizeof text, "\"a\\u%04x\\u%04Xb\"",
                                            0xd800 + ((c - 0x10000) >> 10), 0xdc00 + (c & 0x3ff));
        check_string(text, (size_t)n_text, want, n + 1);
        if (c > 0x30000) {
            c += 0xfd; /* these differ in nothing */
        }
    }
}

/* ---------------------------------------------------------------- numbers */

static void test_numbers(void **state)
{
    (void)state;
    static const char *const places[] = { "C", "de_DE.UTF-8", "fr_FR.UTF-8", "fa_IR.UTF-8" };
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        { "1.5", 1.5 },
        { "-0.0", -0.0 },
        { "0.1", 0.1 },
        { "1e-7", 1e-7 },
        { "1.7976931348623157e308", 1.7976931348623157e308 },
        { "4.9e-324", 4.9e-324 },
        { "2.2250738585072011e-308", 2.2250738585072011e-308 },
        { "9007199254740993.0", 9007199254740992.0 },
        { "1000000000000000000000.5", 1e21 },
    };
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        if (setlocale(LC_NUMERIC, places[p]) == NULL) {
            continue;
        }
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct json_fault f;
            char *end;
            json_t *value = parse(cases[i].text, strlen(cases[i].text), MOST, 0, &f);
            double got = json_real_value(value), want = cases[i].value;
            assert_true(json_is_real(value));
            assert_memory_equal(&got, &want, sizeof got);
            got = number_read(cases[i].text, &end);
            assert_memory_equal(&got, &want, sizeof got);
            assert_true(*end == '\0');
            json_decref(value);
        }
    }
    setlocale(LC_NUMERIC, "C");
}

/* ---------------------------------------------------------------- depth */

static void test_depth(void **state)
{
    (void)state;
    static const char *const begin[] = { "[", "{\"a\":", "[0,{\"[[[[\":" };
    static const char *const end[] = { "]", "}", "}]" };
    static const size_t levels[] = { 1, 1, 2 };
    for (size_t kind = 0; kind < 3; kind++) {
        for (size_t n = 1; n < 40; n++) {
            struct json_fault f;
            struct bytes b = { 0 };
            for (size_t i = 0; i < 2 * n; i++) {
                const char *part = i < n ? begin[kind] : end[kind];
                assert_true(text_add(&b, i == n ? "1" : "", i == n) &&
                            text_add(&b, part, strlen(part)));
            }
            const size_t deep = n * levels[kind];
            json_t *value = parse(b.data, b.n, deep, 0, &f);
            assert_non_null(value);
            json_decref(value);
            assert_null(parse(b.data, b.n, deep - 1, 0, &f));
            assert_int_equal(f.kind, JSON_FAULT_DEPTH);
            assert_non_null(strstr(f.text, "brackets nested more than"));
            assert_int_equal(f.line, 1);
            const char *inner = begin[kind];
            inner += kind == 2 ? 3 : 0;
            assert_int_equal(f.column, n * strlen(begin[kind]) - strlen(inner) + 1);
            bytes_free(&b);
        }
    }
    struct json_fault f;
    json_t *value = parse("[[],[],{\"a\":[]},[],{}]", 22, 3, 0, &f); /* side by side is not deep */
    assert_non_null(value);
    json_decref(value);
    value = parse("1", 1, 0, 0, &f);
    assert_int_equal(json_integer_value(value), 1);
    json_decref(value);
}

/* ---------------------------------------------------------------- memory */

#define WIDE                                                                                       \
    "{\"a\":[1,2.5,\"x\",null,true,{\"\\u00e9\\n\":\"b\\tc\"}],\"b\":{\"c\":{\"d\":-7}},\"a\":0,"  \
    "\"e\":[[],[],[],[],[],[],[],[],[],\"\\ud83d\\ude42\"],\"f\":1,\"g\":1,\"h\":1,\"i\":1,"       \
    "\"j\":1,\"k\":1,\"l\":{}}"
#define DIGITS "0123456789012345678901234567890123456789012345678901234567890123456789"
#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_memory(void **state)
{
    (void)state;
    /* The strings are long enough to grow the stack, also in the middle. */
    static const char *const texts[] = { WIDE,
                                         "[\"" LONG LONG "\\n" LONG LONG "\\n" LONG
                                         "\",1." DIGITS DIGITS DIGITS "]",
                                         "{\"" LONG "\":{\"" LONG LONG LONG
                                         "\":\"\\n" LONG LONG LONG LONG LONG "\"}}",
                                         "\"\"",
                                         "1",
                                         "1.5",
                                         "{\"a\":1,\"a\":[2" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const size_t n = strlen(texts[i]);
        json_t *value = NULL;
        struct json_fault f = { .kind = JSON_FAULT_MEMORY };
        const long before = n_live;
        for (long k = 1; value == NULL && f.kind == JSON_FAULT_MEMORY; k++) {
            countdown = k;
            value = json_parse(texts[i], n, MOST, JSON_READ_NUL, &f);
            countdown = -1;
            assert_true(value != NULL || n_live == before);
            assert_true(k < 1000);
        }
        if (value == NULL) { /* the text with a mistake */
            assert_int_equal(i, sizeof texts / sizeof *texts - 1);
            assert_int_equal(f.kind, SYNTAX);
            continue;
        }
        json_t *want = json_loadb(texts[i], n, JSON_DECODE_ANY, NULL);
        assert_true(json_equal(value, want));
        json_decref(want);
        json_decref(value);
        assert_int_equal(n_live, before);
    }
}

static void test_status(void **state)
{
    (void)state;
    json_t *value = NULL;
    weft_error err;
    weft_status s = WEFT_E_NOMEM;
    for (long k = 1; s != WEFT_OK; k++) {
        countdown = k;
        s = json_read("the words", WIDE, sizeof WIDE - 1, &value, &err);
        countdown = -1;
        assert_true(s == WEFT_OK || (s == WEFT_E_NOMEM && strstr(err.message, "the words")));
    }
    json_decref(value);
    FAILS(WEFT_E_ARG, json_read("the words", "{", (size_t)JSON_READ_MAX + 1, &value, E));
    rig_message((const char *const[]){ "the words: ", "268435456", NULL });
    FAILS(WEFT_E_ARG, json_read("the words", "[\n1", 3, &value, E));
    rig_message((const char *const[]){ "the words: line 2, column 2: found the end", NULL });
    char deep[JSON_READ_DEPTH + 1];
    memset(deep, '[', sizeof deep);
    FAILS(WEFT_E_ARG, json_read("the words", deep, sizeof deep, &value, E));
    rig_message((const char *const[]){ "column 129: brackets nested more than 128 deep", NULL });
    FAILS(WEFT_E_ARG, json_read("the words", NULL, 0, &value, E));
    OK(json_read("the words", "\"\\u0000\"", 8, &value, E));
    assert_int_equal(json_string_length(value), 1);
    json_decref(value);
}

/* A long string, as it is and with an escape for each character, takes a few allocations. */
static void test_few_allocations(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static const char *const parts[] = { "x", "\\n", "\\u00e9", "\xe2\x82\xac" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct json_fault f;
        struct bytes b = { 0 };
        const size_t n = strlen(parts[i]);
        assert_true(text_add(&b, "\"", 1));
        for (size_t k = 0; k < N; k++) {
            assert_true(text_add(&b, parts[i], n));
        }
        assert_true(text_add(&b, "\"", 1));
        countdown = LONG_MAX;
        json_t *value = json_parse(b.data, b.n, MOST, 0, &f);
        const long taken = LONG_MAX - countdown;
        countdown = -1;
        assert_non_null(value);
        assert_int_equal(json_string_length(value), i == 0 ? N : i == 3 ? 3 * N : i * N);
        assert_in_range(taken, 1, 60);
        json_decref(value);
        bytes_free(&b);
    }
}

/* ---------------------------------------------------------------- beside jansson */

static bool is_beyond(const json_error_t *e)
{
    const enum json_error_code code = json_error_code(e);
    return code == json_error_numeric_overflow || code == json_error_null_character ||
           code == json_error_null_byte_in_key || code == json_error_duplicate_key;
}

/* Returns true if what was found may be JSON, but not there. */
static bool is_misplaced(const struct json_fault *f)
{
    static const char *const words[] = { "expected , or", "expected :", "expected the end of",
                                         "expected a key" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(f->text, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* A byte 0, which can stand nowhere in JSON, is overlooked by jansson behind a number. Otherwise
 * the two accept the same, and differ only in what they complain of first. Where a string has both
 * \u0000 and a mistake, or where a byte that is no UTF-8 stands behind a number, jansson names
 * these mistakes. A number that is too large and cannot stand where it stands is too large for
 * jansson, and misplaced for us. */
static void check_same(const char *text, size_t n, unsigned flags)
{
    struct json_fault f;
    json_error_t e;
    const size_t theirs = JSON_DECODE_ANY | ((flags & JSON_READ_NUL) != 0 ? JSON_ALLOW_NUL : 0) |
                          ((flags & JSON_READ_ONCE) != 0 ? JSON_REJECT_DUPLICATES : 0);
    json_t *mine = parse(text, n, 2000, flags, &f), *other = json_loadb(text, n, theirs, &e);
    const bool zero = n > 0 && memchr(text, 0, n) != NULL;
    bool same = mine != NULL ? other != NULL && json_equal(mine, other) : other == NULL || zero;
    if (same && mine == NULL && other == NULL) {
        const bool beyond = f.kind == BEYOND;
        same =
            f.line > 0 && f.column > 0 && f.text[0] != '\0' && f.kind != JSON_FAULT_MEMORY &&
            (beyond == is_beyond(&e) || (beyond ? strstr(f.text, "\\u0000") != NULL ||
                                                      json_error_code(&e) == json_error_invalid_utf8
                                                : is_misplaced(&f)));
    }
    if (!same) {
        fail_msg("%.*s: %s, but jansson: %s", (int)n, text, mine != NULL ? "a value" : f.text,
                 other != NULL ? "a value" : e.text);
    }
    json_decref(mine);
    json_decref(other);
}

/* Makes a few random changes: bytes of JSON, any bytes, parts that are dropped or said again. */
static size_t mutate(char *text, size_t n, size_t cap, uint64_t *random)
{
    static const char bytes[] = "{}[]:,\"\"\\u0d89aefn-+.E1 \t\n\xc3\xa9\xe2\x80\xf0\xff";
    for (uint32_t changes = 1 + rig_random(random, 3); changes > 0 && n > 0; changes--) {
        const size_t at = rig_random(random, (uint32_t)n);
        const size_t part = 1 + rig_random(random, (uint32_t)size_min(n - at, 9));
        switch (rig_random(random, 5)) {
        case 0: text[at] = (char)rig_random(random, 256); break;
        case 1: text[at] = bytes[rig_random(random, sizeof bytes - 1)]; break;
        case 2:
            memmove(text + at, text + at + part, n - at - part);
            n -= part;
            break;
        case 3:
            if (n + part <= cap) {
                memmove(text + at + part, text + at, n - at);
                n += part;
            }
            break;
        default: n = at + 1; break;
        }
    }
    return n;
}

static void test_beside_jansson(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        WIDE,
        "[1e5, -0.25, 123456789012345678, 9223372036854775807, 1.7e308, 0, -0, 1E-3]",
        "\"\\u00e9\\ud83d\\ude42 \xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82 \\\\ \\/ \\b\\f\\n\\r\\t\"",
        "{\"a\\u0000\": \"b\\u0000c\", \"a\": {\"a\": {}, \"b\": []}, \"\": [\"\"]}",
        "[true, false, null, [true], {\"x\": null}]",
        "[[[[[[[[[[\"\\u12345\"]]]]]]]]]]",
    };
    const int rounds = level_all("9 of 10 random mistakes") ? 60000 : 6000;
    uint64_t random = 1;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        for (int k = 0; k < rounds; k++) {
            char text[1024];
            size_t n = strlen(seeds[i]);
            memcpy(text, seeds[i], n);
            n = k == 0 ? n : mutate(text, n, sizeof text, &random);
            check_same(text, n, (unsigned)k % 4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_strings),         cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_long_key),        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory),          cmocka_unit_test(test_status),
        cmocka_unit_test(test_few_allocations), cmocka_unit_test(test_beside_jansson),
    };
    countdown = -1;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
