/* The parser of requests: what it takes and refuses, its limits, and that every cut of the input
 * gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/http/api_keys.h"
#include "serve/http/hosts.h"
#include "serve/http/parser.h"
#include "serve/http/routes.h"

#define N_OF(a) (sizeof(a) / sizeof *(a))

/* What an input gave: a line for each request. */
struct story {
    char text[65536];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void tell(struct story *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(s->text + s->n, sizeof s->text - s->n, fmt, args);
    va_end(args);
    s->n += (size_t)n < sizeof s->text - s->n ? (size_t)n : 0;
}

static void tell_head(struct story *s, const struct head *h)
{
    tell(s, "%s %s ?%s 1.%d host=%s%s%s%s n=%llu [", head_method_name(h->method), h->text + h->path,
         h->query != 0 ? h->text + h->query : "", h->minor, head_host(h), h->close ? " close" : "",
         h->expects ? " expects" : "", h->chunked ? " chunked" : "", (unsigned long long)h->length);
    for (size_t i = 0; i < h->n_fields; i++) {
        tell(s, "%s=%s|", h->text + h->fields[i].name, h->text + h->fields[i].value);
    }
    tell(s, "] ");
}

/* Feeds data[n]. Returns false if it was refused. */
static bool feed(struct parser *p, struct story *s, const char *data, size_t n)
{
    enum parsed what;
    do {
        size_t used = parser_feed(p, data, n, &what);
        data += used;
        n -= used;
        if (what == PARSED_HEAD) {
            tell_head(s, &p->head);
        } else if (what == PARSED_BODY) {
            tell(s, "%.*s", (int)p->n_piece, p->piece);
        } else if (what == PARSED_END) {
            tell(s, "!\n");
            parser_reset(p);
        } else if (what == PARSED_BAD) {
            tell(s, "BAD %d %s", p->status, p->why);
        }
    } while (what != PARSED_MORE && what != PARSED_BAD);
    return what != PARSED_BAD;
}

/* Feeds the input cut at two places, or byte by byte (first > n). */
static void feed_cut(struct story *s, const char *data, size_t n, size_t first, size_t second)
{
    struct parser p;
    parser_init(&p, 100);
    s->n = 0;
    s->text[0] = '\0';
    if (first > n) {
        for (size_t i = 0; i < n && feed(&p, s, data + i, 1); i++) {
        }
    } else if (feed(&p, s, data, first) && feed(&p, s, data + first, second - first)) {
        feed(&p, s, data + second, n - second);
    }
    parser_free(&p);
}

/* Returns what the input gives, after a check that every cut gives the same. */
static const char *story_of(const char *data, size_t n)
{
    static struct story whole, cut;
    feed_cut(&whole, data, n, n, n);
    feed_cut(&cut, data, n, n + 1, 0);
    assert_string_equal(cut.text, whole.text);
    for (size_t i = 0; i <= n && n < 1000; i++) {
        for (size_t k = i; k <= n; k += 1 + n / 40) {
            feed_cut(&cut, data, n, i, k);
            if (strcmp(cut.text, whole.text) != 0) {
                fail_msg("cut at %zu and %zu: %s, whole: %s", i, k, cut.text, whole.text);
            }
        }
    }
    return whole.text;
}

static void assert_story(const char *data, const char *expected)
{
    const char *text = story_of(data, strlen(data));
    if (strcmp(text, expected) != 0) {
        fail_msg("'%s' gives '%s', not '%s'", data, text, expected);
    }
}

static void assert_bad(const char *data, size_t n, int status)
{
    char expected[16];
    snprintf(expected, sizeof expected, "BAD %d ", status);
    const char *text = story_of(data, n);
    if (strstr(text, expected) == NULL) {
        fail_msg("'%.*s' gives '%s', not '%s'", (int)n, data, text, expected);
    }
}

#define H "Host: h\r\n"

static void test_taken(void **state)
{
    (void)state;
    assert_story("GET / HTTP/1.1\r\n" H "\r\n", "GET / ? 1.1 host=h n=0 [host=h|] !\n");
    assert_story("\r\nGET /a?b=c HTTP/1.1\r\n" H "\r\n",
                 "GET /a ?b=c 1.1 host=h n=0 [host=h|] !\n");
    assert_story("GET /%41%2f%20?%41 HTTP/1.0\r\n\r\n", "GET /A/  ?%41 1.0 host= close n=0 [] !\n");
    assert_story("GET http://a:1/b?c HTTP/1.1\r\nHost: d\r\n\r\n",
                 "GET /b ?c 1.1 host=a:1 n=0 [host=d|] !\n");
    assert_story("GET HTTPS://a HTTP/1.1\r\n" H "\r\n", "GET / ? 1.1 host=a n=0 [host=h|] !\n");
    assert_story("GET http://a?b HTTP/1.1\r\n" H "\r\n", "GET / ?b 1.1 host=a n=0 [host=h|] !\n");
    assert_story("OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS * ? 1.1 host=h n=0 [host=h|] !\n");
    assert_story("GET / HTTP/1.1\r\nHOST:h\r\nA: \t b\tc \t\r\nEmpty:\r\n\r\n",
                 "GET / ? 1.1 host=h n=0 [host=h|a=b\tc|empty=|] !\n");
    assert_story("GET / HTTP/1.1\r\n" H "Connection: x, CLOSE\r\n\r\n",
                 "GET / ? 1.1 host=h close n=0 [host=h|connection=x, CLOSE|] !\n");
    assert_story("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                 "GET / ? 1.0 host= n=0 [connection=Keep-Alive|] !\n");
    assert_story("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / ? 1.1 host= n=0 [host=|] !\n");
    assert_story("GET / HTTP/1.1\r\n" H "A: \xc3\xa4\r\n\r\n",
                 "GET / ? 1.1 host=h n=0 [host=h|a=\xc3\xa4|] !\n");
}

static void test_bodies(void **state)
{
    (void)state;
    assert_story("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello\r\n"
                 "POST / HTTP/1.1\r\n" H "Content-Length: 000\r\n\r\n",
                 "POST / ? 1.1 host=h n=5 [host=h|content-length=5|] hello!\n"
                 "POST / ? 1.1 host=h n=0 [host=h|content-length=000|] !\n");
    assert_story("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n"
                 "3\r\nabc\r\n00A;x=\"y z\";q\r\n0123456789\r\n0;end\r\nT: u\r\nV: w\r\n\r\n"
                 "GET / HTTP/1.1\r\n" H "\r\n",
                 "POST / ? 1.1 host=h chunked n=0 [host=h|transfer-encoding=Chunked|] "
                 "abc0123456789!\nGET / ? 1.1 host=h n=0 [host=h|] !\n");
    assert_story("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
                 "POST / ? 1.1 host=h expects n=1 [host=h|expect=100-Continue|content-length=1|] "
                 "x!\n");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        { "GET /\r\n", 400 },
        { "GET  / HTTP/1.1\r\n", 400 },
        { "GET / HTTP/1.1 \r\n", 400 },
        { " GET / HTTP/1.1\r\n", 400 },
        { "GET / HTTP/1.1\n", 400 },
        { "GET / HTTP/1.1\rX", 400 },
        { "\r\n\r\n", 400 },
        { "\n", 400 },
        { "\x16\x03\x01", 400 },
        { "G(T / HTTP/1.1\r\n", 400 },
        { "get / HTTP/1.1\r\n", 501 },
        { "BREW / HTTP/1.1\r\n", 501 },
        { "CONNECT a:1 HTTP/1.1\r\n", 501 },
        { "TRACE / HTTP/1.1\r\n", 501 },
        { "GET / HTTP/1.2\r\n", 505 },
        { "GET / HTTP/2.0\r\n", 505 },
        { "GET / HTTP/0.9\r\n", 505 },
        { "PRI * HTTP/2.0\r\n\r\n", 505 },
        { "GET / HTTP/1.10\r\n", 400 },
        { "GET / http/1.1\r\n", 400 },
        { "GET / HTTP/1\r\n", 400 },
        { "GET a HTTP/1.1\r\n", 400 },
        { "GET * HTTP/1.1\r\n", 400 },
        { "GET /\xc3\xa4 HTTP/1.1\r\n", 400 },
        { "GET /#a HTTP/1.1\r\n", 400 },
        { "GET /\t HTTP/1.1\r\n", 400 },
        { "GET /%4 HTTP/1.1\r\n", 400 },
        { "GET /%4g HTTP/1.1\r\n", 400 },
        { "GET /%00 HTTP/1.1\r\n", 400 },
        { "GET /%0a HTTP/1.1\r\n", 400 },
        { "GET http:// HTTP/1.1\r\n", 400 },
        { "GET http:///a HTTP/1.1\r\n", 400 },
        { "GET http://u@h/ HTTP/1.1\r\n", 400 },
        { "GET ftp://h/ HTTP/1.1\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H H "\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n", 400 },
        { "GET / HTTP/1.1\r\n A: b\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A : b\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H ": b\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\n", 400 },
        { "GET / HTTP/1.1\r\n" H "A: b\rc", 400 },
        { "GET / HTTP/1.1\r\n" H "A: \x01", 400 },
        { "GET / HTTP/1.1\r\n" H "A: \x7f", 400 },
        { "GET / HTTP/1.1\r\n" H "(: b\r\n", 400 },
        { "GET / HTTP/1.1\r\n" H "Expect: a\r\n\r\n", 417 },
        { "GET / HTTP/1.1\r\n" H "Content-Encoding: gzip\r\n\r\n", 415 },
    };
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        assert_bad(cases[i].text, strlen(cases[i].text), cases[i].status);
    }
    assert_bad("GET / HTTP/1.1\r\nA: b\0c\r\n", 24, 400);
    assert_bad("GET /\0 HTTP/1.1\r\n", 17, 400);
}

static void test_refused_bodies(void **state)
{
    static const struct {
        const char *fields, *body;
        int status;
    } cases[] = {
        { "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", 400 },
        { "Content-Length: 5\r\nContent-Length: 6\r\n", "hello", 400 },
        { "Content-Length: 5, 5\r\n", "hello", 400 },
        { "Content-Length: +5\r\n", "hello", 400 },
        { "Content-Length: -1\r\n", "hello", 400 },
        { "Content-Length: 0x5\r\n", "hello", 400 },
        { "Content-Length: 5 5\r\n", "hello", 400 },
        { "Content-Length:\r\n", "hello", 400 },
        { "Content-Length: 101\r\n", "", 413 },
        { "Content-Length: 18446744073709551616\r\n", "", 413 },
        { "Content-Length: 99999999999999999999999999\r\n", "", 413 },
        { "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "", 400 },
        { "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "", 400 },
        { "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "", 400 },
        { "Transfer-Encoding: chunked, gzip\r\n", "", 400 },
        { "Transfer-Encoding: gzip, chunked\r\n", "", 501 },
        { "Transfer-Encoding: gzip\r\n", "", 400 },
        { "Transfer-Encoding: xchunked\r\n", "", 400 },
        { "Transfer-Encoding: chunked;x\r\n", "", 400 },
        { "Transfer-Encoding:\r\n", "", 400 },
        { "Transfer-Encoding: chunked\r\n", "\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", ";x\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "-1\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "0x5\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", " 5\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "5 \r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "5\nhello\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "5\r\nhelloX", 400 },
        { "Transfer-Encoding: chunked\r\n", "5\r\nhello\rX", 400 },
        { "Transfer-Encoding: chunked\r\n", "5;\x01\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "65\r\n", 413 },
        { "Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n", 413 },
        { "Transfer-Encoding: chunked\r\n", "10000000000000000\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "0\r\nA : b\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "0\r\n A: b\r\n", 400 },
        { "Transfer-Encoding: chunked\r\n", "0\r\nA: b\n", 400 },
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" H "%s\r\n%s", cases[i].fields,
                 cases[i].body);
        assert_bad(text, strlen(text), cases[i].status);
    }
    assert_bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 47, 400);
    assert_non_null(strstr(story_of("POST / HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n", 49),
                           "101 bytes or more, the limit is 100"));
}

/* Writes a request with a target, a header value and a number of headers of given sizes. */
static size_t write_sized(char *dst, size_t target, size_t value, size_t n_fields)
{
    char *to = dst + sprintf(dst, "GET /");
    memset(to, 'a', target - 1);
    to += target - 1;
    to += sprintf(to, " HTTP/1.1\r\n" H);
    for (size_t i = 1; i < n_fields; i++) {
        to += sprintf(to, "A: ");
        memset(to, 'b', value);
        to += value;
        to += sprintf(to, "\r\n");
    }
    return (size_t)(to - dst) + (size_t)sprintf(to, "\r\n");
}

static void test_limits(void **state)
{
    static char text[1 << 16];
    (void)state;
    assert_null(strstr(story_of(text, write_sized(text, 8192, 1, 100)), "BAD"));
    assert_bad(text, write_sized(text, 8193, 1, 1), 414);
    assert_bad(text, write_sized(text, 20000, 1, 1), 414);
    assert_bad(text, write_sized(text, 1, 1, 101), 431);
    assert_null(strstr(story_of(text, write_sized(text, 1, 16371, 2)), "BAD"));
    assert_bad(text, write_sized(text, 1, 16400, 2), 431);
    assert_bad(text, write_sized(text, 1, 1000, 20), 431);
    /* Trailers and extensions are thrown away, but not without a limit. */
    size_t n = (size_t)sprintf(text, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0");
    memset(text + n, ';', 20000);
    assert_bad(text, n + 20000, 400);
    n += (size_t)sprintf(text + n, "\r\n");
    for (int i = 0; i < 2000; i++) {
        n += (size_t)sprintf(text + n, "Trailer: value\r\n");
    }
    assert_bad(text, n, 431);
}

static void test_query(void **state)
{
    struct parser p;
    enum parsed what;
    static const char text[] = "GET /?a=1&bc=de&f HTTP/1.1\r\n" H "\r\n";
    (void)state;
    parser_init(&p, 1);
    parser_feed(&p, text, strlen(text), &what);
    assert_int_equal(what, PARSED_HEAD);
    assert_true(head_query_is(&p.head, "a", "1") && head_query_is(&p.head, "bc", "de"));
    assert_false(head_query_is(&p.head, "a", "") || head_query_is(&p.head, "a", "12"));
    assert_false(head_query_is(&p.head, "b", "de") || head_query_is(&p.head, "f", ""));
    parser_free(&p);
}

static void test_keys(void **state)
{
    struct api_keys keys = { 0 };
    char good[] = "# comment\n\n one\r\nbob\ttwo\n  \n", bad[] = "a b\na b c\n";
    (void)state;
    assert_int_equal(api_keys_read(&keys, good), 0);
    assert_int_equal(keys.n, 2);
    assert_string_equal(api_keys_find(&keys, "one")->name, "key1");
    assert_string_equal(api_keys_find(&keys, "two")->name, "bob");
    assert_null(api_keys_find(&keys, ""));
    assert_null(api_keys_find(&keys, "on"));
    assert_null(api_keys_find(&keys, "oneone"));
    assert_null(api_keys_find(&keys, "bob"));
    assert_int_equal(api_keys_read(&keys, bad), 2);
    api_keys_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),   cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_refused_bodies),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_query),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests_name("http parser", tests, NULL, NULL);
}
