/* The text stream: every Unicode scalar value in every division, invalid bytes against a table of
 * the Unicode standard and against a slow decoder, stop strings against a slow search, and that the
 * division into pushes never matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "text/stream.h"

static const char replacement[] = "\xef\xbf\xbd";

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static void push(struct stream *s, const char *data, size_t n)
{
    weft_error err;
    assert_int_equal(stream_push(s, data, n, &err), WEFT_OK);
}

static void finish(struct stream *s)
{
    weft_error err;
    assert_int_equal(stream_finish(s, &err), WEFT_OK);
    assert_int_equal(s->in.n, 0);
}

static void set_stops(struct stream *s, const char *const *stops, size_t n)
{
    weft_error err;
    assert_int_equal(stream_set_stops(s, stops, n, &err), WEFT_OK);
}

static void expect_out(const struct stream *s, const char *want, size_t n)
{
    assert_int_equal(s->out.n, n);
    if (n > 0) {
        assert_memory_equal(s->out.data, want, n);
    }
}

static void expect_text(const struct stream *s, const char *want)
{
    expect_out(s, want, strlen(want));
}

static size_t encode(uint32_t c, char *to)
{
    unsigned char *b = (unsigned char *)to;
    if (c < 0x80) {
        b[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        b[0] = (unsigned char)(0xc0 | c >> 6);
        b[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        b[0] = (unsigned char)(0xe0 | c >> 12);
        b[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        b[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    b[0] = (unsigned char)(0xf0 | c >> 18);
    b[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    b[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    b[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

/* A division of n bytes is named by a bit mask of n - 1 bits: if bit i is set, a new push starts at
 * byte i + 1. */
static void test_every_scalar_value_in_every_division(void **state)
{
    (void)state;
    struct stream s;
    stream_init(&s);
    size_t n_values = 0;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }
        n_values++;
        char text[4];
        size_t n = encode(c, text);
        for (unsigned division = 0; division < 1u << (n - 1); division++) {
            size_t from = 0;
            for (size_t i = 1; i <= n; i++) {
                if (i == n || (division >> (i - 1) & 1) != 0) {
                    push(&s, text + from, i - from);
                    from = i;
                    /* No byte is shown before the character is whole. */
                    assert_int_equal(s.out.n, i == n ? n : 0);
                }
            }
            assert_int_equal(s.in.n, 0);
            assert_memory_equal(s.out.data, text, n);
            s.out.n = 0;
        }
    }
    assert_int_equal(n_values, 1112064);
    stream_free(&s);
}

/* Rows of the Unicode standard, chapter 3.9, and similar ones. `want` shows how many U+FFFD the
 * bytes become; each is written as '.'. */
static void test_invalid_sequences_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        { "\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", "........A" }, /* table 3-8: non-shortest forms */
        { "\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", "........A" }, /* table 3-9: surrogates */
        { "\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", ".....A..B" }, /* table 3-10: other ill-formed */
        { "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "....A" },     /* table 3-11: truncated */
        { "\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a...b.c..d" },
        { "\xc1\x80", ".." },
        { "\xf5\x80\x80\x80", "...." },
        { "\xf8\x88\x80\x80\x80", "....." },
        { "\xe0\x9f\x80", "..." },
        { "\xf0\x8f\x80\x80", "...." },
        { "\xf4\x90\x80\x80", "...." },
        { "\x80", "." },
        { "\xe2\x82", "." },
        { "\xf0\x9f\x98", "." },
        { "\xf0\x9f\x98\xf0\x9f\x98\x80", ".\xf0\x9f\x98\x80" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes want = { 0 };
        for (const char *c = rows[i].want; *c != '\0'; c++) {
            assert_true(*c == '.' ? bytes_add(&want, replacement, 3) : bytes_add(&want, c, 1));
        }
        size_t n = strlen(rows[i].bytes);
        for (size_t cut = 0; cut <= n; cut++) {
            struct stream s;
            stream_init(&s);
            push(&s, rows[i].bytes, cut);
            push(&s, rows[i].bytes + cut, n - cut);
            finish(&s);
            expect_out(&s, want.data, want.n);
            stream_free(&s);
        }
        free(want.data);
    }
}

/* Decides by trying: either a character begins at `at`, or the longest beginning of a character
 * that stands there is replaced. */
static void slow_decode(const unsigned char *in, size_t n, struct bytes *out)
{
    size_t at = 0;
    while (at < n) {
        size_t best = 0;
        bool whole = false;
        static const uint32_t first[] = { 0, 0x80, 0x800, 0x10000 };
        static const uint32_t last[] = { 0x7f, 0x7ff, 0xffff, 0x10ffff };
        for (size_t len = 1; len <= 4 && !whole; len++) {
            /* For each k: does some character of this length begin with in[at, at + k)? Its code
             * point is built byte by byte. */
            for (size_t k = 1; k <= len && at + k <= n; k++) {
                static const unsigned char lead_mask[] = { 0x80, 0xe0, 0xf0, 0xf8 };
                static const unsigned char lead_bits[] = { 0x00, 0xc0, 0xe0, 0xf0 };
                if ((in[at] & lead_mask[len - 1]) != lead_bits[len - 1]) {
                    break;
                }
                uint32_t low = in[at] & (unsigned)~lead_mask[len - 1];
                bool good = true;
                for (size_t i = 1; i < k; i++) {
                    good = good && (in[at + i] & 0xc0) == 0x80;
                    low = low << 6 | (in[at + i] & 63u);
                }
                uint32_t high = low;
                for (size_t i = k; i < len; i++) {
                    low <<= 6;
                    high = high << 6 | 63;
                }
                /* The range [low, high] must hold a scalar value of this length. */
                low = low < first[len - 1] ? first[len - 1] : low;
                high = high > last[len - 1] ? last[len - 1] : high;
                if (!good || low > high || (low >= 0xd800 && high <= 0xdfff)) {
                    break;
                }
                best = k > best ? k : best;
                whole = k == len;
            }
        }
        assert_true(whole ? bytes_add(out, in + at, best) : bytes_add(out, replacement, 3));
        at += best > 0 ? best : 1;
    }
}

/* The bytes are those at the borders of the table, so that every kind of wrong sequence is
 * likely. */
static void test_random_bytes_against_slow_decoder(void **state)
{
    (void)state;
    static const unsigned char border[] = { 0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                            0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                            0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
    random_state = 1;
    for (int round = 0; round < 20000; round++) {
        unsigned char in[12];
        size_t n = 1 + random_below(sizeof in);
        for (size_t i = 0; i < n; i++) {
            in[i] = random_below(4) == 0 ? (unsigned char)random_below(256)
                                         : border[random_below(sizeof border)];
        }
        struct bytes want = { 0 };
        slow_decode(in, n, &want);
        struct stream s;
        stream_init(&s);
        for (size_t at = 0; at < n;) {
            size_t k = 1 + random_below((uint32_t)(n - at));
            push(&s, (const char *)in + at, k);
            /* Only an incomplete character may wait. */
            assert_true(s.in.n <= 3);
            at += k;
        }
        finish(&s);
        expect_out(&s, want.data, want.n);
        free(want.data);
        stream_free(&s);
    }
}

static void test_invalid_byte_does_not_stall(void **state)
{
    (void)state;
    struct stream s;
    stream_init(&s);
    push(&s, "\xff", 1);
    expect_text(&s, "\xef\xbf\xbd");
    push(&s, "\xe2\x82", 2);
    expect_text(&s, "\xef\xbf\xbd");
    push(&s, "x", 1);
    expect_text(&s, "\xef\xbf\xbd\xef\xbf\xbdx");
    push(&s, "\0", 1);
    assert_int_equal(s.out.n, 8);
    stream_free(&s);
}

static void test_stop_across_pushes(void **state)
{
    (void)state;
    static const char *const stops[] = { "aab" };
    struct stream s;
    stream_init(&s);
    set_stops(&s, stops, 1);
    push(&s, "a", 1);
    expect_text(&s, "");
    push(&s, "a", 1);
    expect_text(&s, "");
    /* After its first letter, "aaa" can no longer become "aab". */
    push(&s, "a", 1);
    expect_text(&s, "a");
    assert_false(s.stopped);
    push(&s, "b", 1);
    expect_text(&s, "a");
    assert_true(s.stopped);
    push(&s, "more", 4);
    finish(&s);
    expect_text(&s, "a");
    stream_reset(&s);
    assert_false(s.stopped);
    push(&s, "xaabx", 5);
    expect_text(&s, "x");
    assert_true(s.stopped);
    stream_free(&s);
}

static void test_held_prefix_is_released(void **state)
{
    (void)state;
    static const char *const stops[] = { "</s>", "<|end|>" };
    struct stream s;
    stream_init(&s);
    set_stops(&s, stops, 2);
    push(&s, "x <", 3);
    expect_text(&s, "x ");
    push(&s, "|en", 3);
    expect_text(&s, "x ");
    push(&s, "t", 1);
    expect_text(&s, "x <|ent");
    push(&s, "</", 2);
    expect_text(&s, "x <|ent");
    finish(&s);
    expect_text(&s, "x <|ent</");
    /* Text that finish gave out is no longer part of a stop string. */
    push(&s, "s>", 2);
    assert_false(s.stopped);
    expect_text(&s, "x <|ent</s>");
    stream_free(&s);
}

static void test_stop_of_many_bytes_per_character(void **state)
{
    (void)state;
    static const char *const stops[] = { "\xe7\x94\xa8\xe6\x88\xb7", "\xf0\x9f\x98\x80" };
    /* U+7528 stands alone; then the stop string U+7528 U+6237 comes byte by byte. */
    static const char text[] = "\xe7\x94\xa8x\xe7\x94\xa8\xe6\x88\xb7";
    struct stream s;
    stream_init(&s);
    set_stops(&s, stops, 2);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        push(&s, text + i, 1);
    }
    assert_true(s.stopped);
    expect_text(&s, "\xe7\x94\xa8x");
    /* An incomplete character in front of a stop string is an invalid character. */
    stream_reset(&s);
    push(&s, "\xf0\x9f\x98\xf0\x9f\x98\x80", 7);
    assert_true(s.stopped);
    expect_text(&s, replacement);
    stream_free(&s);
}

/* Follows the definition: the first byte that ends a stop string ends the text, before the longest
 * stop string that ends there. */
static size_t slow_stop(const char *text, size_t n, const char *const *stops, size_t n_stops,
                        bool *stopped)
{
    *stopped = false;
    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n_stops; i++) {
            size_t len = strlen(stops[i]);
            if (len <= end && memcmp(text + end - len, stops[i], len) == 0 && len > longest) {
                longest = len;
            }
        }
        if (longest > 0) {
            *stopped = true;
            return end - longest;
        }
    }
    return n;
}

static void check_stops(const char *text, size_t n, const char *const *stops, size_t n_stops)
{
    bool stopped;
    size_t keep = slow_stop(text, n, stops, n_stops, &stopped);
    struct bytes want = { 0 };
    slow_decode((const unsigned char *)text, keep, &want);
    struct stream s;
    stream_init(&s);
    set_stops(&s, stops, n_stops);
    for (size_t at = 0; at < n;) {
        size_t k = 1 + random_below((uint32_t)(n - at));
        push(&s, text + at, k);
        at += k;
        /* Text that may still be taken back is never shown. */
        assert_true(s.out.n <= want.n);
    }
    assert_int_equal(s.stopped, stopped);
    finish(&s);
    expect_out(&s, want.data, want.n);
    free(want.data);
    stream_free(&s);
}

static void test_random_stops_against_slow_search(void **state)
{
    (void)state;
    random_state = 2;
    for (int round = 0; round < 20000; round++) {
        char text[24];
        char stop[4][8];
        const char *stops[4];
        static const char letters[] = "ab\xc3\xa4"; /* two letters, and the two bytes of a third */
        size_t n = 1 + random_below(sizeof text);
        for (size_t i = 0; i < n; i++) {
            text[i] = letters[random_below(4)];
        }
        size_t n_stops = random_below(5);
        for (size_t i = 0; i < n_stops; i++) {
            size_t len = 1 + random_below(7);
            for (size_t j = 0; j < len; j++) {
                stop[i][j] = letters[random_below(4)];
            }
            stop[i][len] = '\0';
            stops[i] = stop[i];
        }
        check_stops(text, n, stops, n_stops);
    }
}

static void test_several_stops(void **state)
{
    (void)state;
    static const struct {
        const char *text, *first, *second, *want;
    } rows[] = {
        /* The stop string that is complete first ends the text. */
        { "xabcd", "abcd", "bc", "xa" },
        /* Of two that are complete together, the longer one ends the text. */
        { "xabcd", "bcd", "abcd", "x" },
        { "xabcd", "abcd", "bcd", "x" },
        { "xabab", "abc", "bab", "xa" },
        { "one\ntwo", "two", "\n", "one" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t cut = 0; cut <= strlen(rows[i].text); cut++) {
            const char *const stops[] = { rows[i].first, rows[i].second };
            struct stream s;
            stream_init(&s);
            set_stops(&s, stops, 2);
            push(&s, rows[i].text, cut);
            push(&s, rows[i].text + cut, strlen(rows[i].text) - cut);
            assert_true(s.stopped);
            expect_text(&s, rows[i].want);
            stream_free(&s);
        }
    }
}

static void expect_refused(struct stream *s, const char *const *stops, size_t n, const char *part)
{
    weft_error err;
    assert_int_equal(stream_set_stops(s, stops, n, &err), WEFT_E_ARG);
    assert_non_null(strstr(err.message, part));
}

static void test_bad_stops_are_refused(void **state)
{
    (void)state;
    char longest[SEARCH_MAX_TEXT + 2];
    memset(longest, 'a', sizeof longest);
    longest[SEARCH_MAX_TEXT + 1] = '\0';
    const char *many[SEARCH_MAX_TEXTS + 1];
    for (size_t i = 0; i <= SEARCH_MAX_TEXTS; i++) {
        many[i] = longest + 1;
    }
    struct stream s;
    stream_init(&s);
    static const char *const kept[] = { "stop" };
    set_stops(&s, kept, 1);
    expect_refused(&s, (const char *const[]){ "ok", "" }, 2, "stop string 1 is empty");
    expect_refused(&s, (const char *const[]){ longest }, 1, "257");
    expect_refused(&s, (const char *const[]){ NULL }, 1, "NULL");
    expect_refused(&s, NULL, 1, "NULL");
    expect_refused(&s, many, SEARCH_MAX_TEXTS + 1, "17 stop strings");
    push(&s, "stop", 4);
    assert_true(s.stopped);
    set_stops(&s, many, SEARCH_MAX_TEXTS);
    stream_reset(&s);
    push(&s, longest, SEARCH_MAX_TEXT - 1);
    expect_text(&s, "");
    push(&s, "a", 1);
    assert_true(s.stopped);
    set_stops(&s, NULL, 0);
    assert_int_equal(s.stops.n, 0);
    stream_free(&s);
}

static void test_new_stops_release_what_was_held(void **state)
{
    (void)state;
    static const char *const old[] = { "abcd" };
    static const char *const fresh[] = { "cx" };
    struct stream s;
    stream_init(&s);
    set_stops(&s, old, 1);
    push(&s, "abc\xc3", 4);
    push(&s,
         "\xa4"
         "abc",
         4);
    expect_text(&s, "abc\xc3\xa4");
    set_stops(&s, fresh, 1);
    expect_text(&s, "abc\xc3\xa4"
                    "abc");
    push(&s, "x", 1);
    assert_false(s.stopped);
    push(&s, "cx", 2);
    assert_true(s.stopped);
    stream_free(&s);
}

static void test_copy_is_independent(void **state)
{
    (void)state;
    static const char *const stops[] = { "stop" };
    weft_error err;
    struct stream a;
    struct stream b;
    stream_init(&a);
    set_stops(&a, stops, 1);
    push(&a, "text st\xc3", 8);
    push(&a, "st", 2);
    assert_int_equal(stream_copy(&b, &a, &err), WEFT_OK);
    push(&a, "op", 2);
    assert_true(a.stopped);
    push(&b, "ill", 3);
    assert_false(b.stopped);
    expect_text(&a, "text st\xef\xbf\xbd");
    expect_text(&b, "text st\xef\xbf\xbdstill");
    stream_free(&a);
    push(&b, "stop", 4);
    assert_true(b.stopped);
    stream_free(&b);
    stream_init(&a);
    assert_int_equal(stream_copy(&b, &a, &err), WEFT_OK);
    expect_text(&b, "");
    stream_free(&b);
    stream_free(&a);
}

/* The worst text for a naive search: for each byte it would compare sixteen stop strings at up to
 * 200 held positions. */
static void test_worst_case_is_linear(void **state)
{
    (void)state;
    char text[SEARCH_MAX_TEXTS][SEARCH_MAX_TEXT + 1];
    const char *stops[SEARCH_MAX_TEXTS];
    for (size_t i = 0; i < SEARCH_MAX_TEXTS; i++) {
        memset(text[i], 'a', SEARCH_MAX_TEXT);
        text[i][SEARCH_MAX_TEXT - i - 1] = 'b';
        text[i][SEARCH_MAX_TEXT - i] = '\0';
        stops[i] = text[i];
    }
    struct stream s;
    stream_init(&s);
    set_stops(&s, stops, SEARCH_MAX_TEXTS);
    size_t n = 1 << 20;
    for (size_t i = 0; i < n; i++) {
        push(&s, i % 200 == 199 ? "b" : "a", 1);
    }
    assert_false(s.stopped);
    finish(&s);
    assert_int_equal(s.out.n, n);
    stream_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_scalar_value_in_every_division),
        cmocka_unit_test(test_invalid_sequences_of_the_standard),
        cmocka_unit_test(test_random_bytes_against_slow_decoder),
        cmocka_unit_test(test_invalid_byte_does_not_stall),
        cmocka_unit_test(test_stop_across_pushes),
        cmocka_unit_test(test_held_prefix_is_released),
        cmocka_unit_test(test_stop_of_many_bytes_per_character),
        cmocka_unit_test(test_random_stops_against_slow_search),
        cmocka_unit_test(test_several_stops),
        cmocka_unit_test(test_bad_stops_are_refused),
        cmocka_unit_test(test_new_stops_release_what_was_held),
        cmocka_unit_test(test_copy_is_independent),
        cmocka_unit_test(test_worst_case_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
