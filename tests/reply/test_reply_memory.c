/* What a reply holds: long texts of every kind leave little behind, wherever they are cut, and
 * reading a piece for which memory is out changes nothing. The program is linked with --wrap for
 * realloc(), with which the buffers grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reply_rig.h"

#define HERMES "tools<tool_call></tool_call>"
#define XML "tools<function=<parameter="
#define LLAMA "tools ipython\"parameters\": "
#define MIB ((size_t)1 << 20)

static long countdown; /* the allocation that brings it to 0 fails; < 0 = none */
static size_t largest; /* the most that was asked for */

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    countdown -= countdown >= 0;
    largest = size_max(largest, n);
    return countdown == 0 ? NULL : __real_realloc(p, n);
}

/* A text that begins with `head` and goes on with `unit`, n bytes in all. */
static char *make(const char *head, const char *unit, size_t n)
{
    char *text = malloc(n);
    size_t len = strlen(head), period = strlen(unit);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text[i] = i < len ? head[i] : unit[(i - len) % period];
    }
    return text;
}

static void take_all(struct reply *r)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (reply_next(r, &e)) {
    }
}

struct long_case {
    const char *source, *opening, *head, *unit;
};

static const struct long_case longs[] = {
    { HERMES, "", "", " " },
    { HERMES, "", "", "text " },
    { HERMES, "", "a", "\xc3\xa9" },
    { HERMES, "", "", "<tool_call>" },
    { HERMES, "", "", "<tool_call>{\"name\": \"f" },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"id\": \"", "x" },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {", " " },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {\"s\": \"", "x" },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {}", " " },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {}, \"id\": \"", "x" },
    { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {}}", "\n" },
    { XML, "", "<function=f>", "\n" },
    { XML, "", "<function=f><parameter=s>a</parameter>", " " },
    { XML, "", "<function=f><parameter=", "k" },
    { XML, "", "<function=f><parameter=s>", "\n" },
    { XML, "", "<function=f><parameter=s>", "</param" },
    { "tools<tool_call><arg_key>", "", "<tool_call>f<arg_key>s</arg_key>", " " },
    { LLAMA, "", "<|python_tag|>f.call(", " " },
    { LLAMA, "", "<|python_tag|>f.call(s=\"a\"", " " },
    { LLAMA, "", "<|python_tag|>f.call(s=\"a\", ", "\n" },
    { LLAMA, "", "<|python_tag|>f.call(", "k" },
    { LLAMA, "", "<|python_tag|>f.call(k", " " },
    { "tools<think></think>", "", "", "\n" },
    { "tools<think></think>", "<think>", "", "\n" },
    { "tools<think></think>", "<think>", "so", "</thin" },
};

static void open_long(const struct long_case *c, struct reply *r)
{
    const struct reply_case opened = { .source = c->source, .opening = c->opening };
    case_open(&opened, r);
}

static void check_held(const struct long_case *c, size_t n, size_t piece)
{
    struct reply r;
    char *text = make(c->head, c->unit, n);
    open_long(c, &r);
    largest = 0;
    for (size_t at = 0; at < n; at += piece) {
        OK(reply_add(&r, text + at, piece, E));
        size_t held = r.in.n - r.at;
        size_t events = r.out.cap + r.cap_events * sizeof *r.events;
        if (held > REPLY_MAX_HEAD + REPLY_MAX_HEAD / 8 || largest > 4 * piece + MIB / 4 ||
            events > 4 * piece + MIB / 4) {
            fail_msg("%s: %zu bytes of '%s' are unread, %zu at once, %zu in events", c->source,
                     held, c->unit, largest, events);
        }
        take_all(&r);
    }
    OK(reply_add(&r, "x", 1, E));
    size_t left = r.in.cap + r.out.cap + r.cap_events * sizeof *r.events;
    if (left > MIB / 2) {
        fail_msg("%s: '%s' leaves %zu bytes", c->source, c->unit, left);
    }
    reply_close(&r);
    free(text);
}

static void test_held(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++) {
        check_held(&longs[i], 4 * MIB, 4 * MIB);
        check_held(&longs[i], 4 * MIB, 64 * 1024);
        check_held(&longs[i], MIB / 16, 1);
    }
}

/* A value that must be whole to be read is held, and nothing of it is left behind. */
static void test_value(void **state)
{
    (void)state;
    struct reply r;
    const struct long_case c = { XML, "", "<function=f><parameter=o>", " " };
    char *text = make(c.head, c.unit, 4 * MIB);
    open_long(&c, &r);
    largest = 0;
    for (size_t at = 0; at < 4 * MIB; at += 64 * 1024) {
        OK(reply_add(&r, text + at, 64 * 1024, E));
    }
    assert_true(largest < 8 * MIB && r.out.cap < MIB);
    OK(reply_add(&r, "{}</parameter>", 14, E));
    take_all(&r);
    OK(reply_add(&r, "</function>", 11, E));
    assert_true(r.in.cap + r.out.cap < MIB);
    reply_close(&r);
    free(text);
}

/* ---------------------------------------------------------------- limits */

/* Gives the line of head, n bytes of the unit, and rest, cut in front of the last n_last bytes. */
static char *line_of(const struct long_case *c, size_t n, const char *rest, size_t n_last)
{
    size_t len = strlen(c->head) + n, all = len + strlen(rest);
    char *text = make(c->head, c->unit, all + 1);
    for (size_t i = len; i <= all; i++) {
        text[i] = rest[i - len];
    }
    const struct reply_case run = { .source = c->source, .opening = c->opening, .text = text };
    char *line = log_run(&run, (size_t[]){ all - n_last, all });
    free(text);
    return line;
}

static void check_limit(const struct long_case *c, size_t n, const char *rest)
{
    char *whole = line_of(c, n, rest, 0);
    for (size_t n_last = strlen(rest); n_last > 0; n_last--) {
        char *line = line_of(c, n, rest, n_last);
        if (strcmp(line, whole) != 0) {
            fail_msg("%s: %zu units, cut %zu in front of the end: %.80s... is not %.80s...",
                     c->source, n, n_last, line, whole);
        }
        free(line);
    }
    free(whole);
}

/* Where the limit is does not depend on where the text is cut. */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct long_case c;
        const char *rest;
    } cases[] = {
        { { XML, "", "<function=f>", " " }, "<parameter=s>a</parameter></function>" },
        { { XML, "", "<function=f><parameter=s>a</parameter>", " " }, "</function>" },
        { { XML, "", "<function=f><parameter=", "k" }, ">a</parameter></function>" },
        { { "tools<tool_call><arg_key>", "", "<tool_call>f<arg_key>s</arg_key>", " " },
          "<arg_value>a</arg_value></tool_call>" },
        { { LLAMA, "", "<|python_tag|>f.call(", " " }, ")" },
        { { LLAMA, "", "<|python_tag|>f.call(s=\"a\",", " " }, "n = 1)" },
        { { LLAMA, "", "<|python_tag|>f.call(s", " " }, "=1)" },
        { { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {}", " " }, "}</tool_call>" },
        { { HERMES, "", "<tool_call>{\"name\": \"f\", \"arguments\": {}}", " " }, "</tool_call>" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t n = REPLY_MAX_HEAD - 60; n < REPLY_MAX_HEAD + 60; n += 3) {
            check_limit(&cases[i].c, n, cases[i].rest);
        }
    }
}

/* ---------------------------------------------------------------- memory is out */

/* Adds a piece or ends the answer, after it failed as often as it can. */
static void add_failing(struct reply *r, const char *text, size_t n)
{
    weft_status status = WEFT_E_NOMEM;
    for (long k = 1; status != WEFT_OK; k++) {
        size_t events = r->n_events - r->next_event;
        countdown = k;
        status = text != NULL ? reply_add(r, text, n, E) : reply_end(r, E);
        countdown = -1;
        assert_true(status == WEFT_OK || status == WEFT_E_NOMEM);
        assert_true(status == WEFT_OK || events == r->n_events - r->next_event);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    const struct reply_case c = { .source = HERMES };
    struct reply r;
    struct reply_log log = { 0 };
    const char *unit = "ab <tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"x\\n\"}}</tool_call>";
    size_t period = strlen(unit), n = period * 2000;
    char *text = make("", unit, n);
    case_open(&c, &r);
    add_failing(&r, "begin <tool_c", 13);
    add_failing(&r, "x", 1); /* the content grows, which is not taken yet */
    add_failing(&r, text, n);
    log_events(&r, &log);
    add_failing(&r, text, period - 5);
    add_failing(&r, NULL, 0);
    log_events(&r, &log);
    assert_int_equal(log.n_calls, 2001);
    const char expected[] = "c(begin <tool_cxab)f{\"s\":\"x\\n\"}c(ab)f{\"s\"";
    assert_memory_equal(log.line.data, expected, sizeof expected - 1);
    assert_int_equal(log.line.n, 14 + 2001 * strlen("c(ab)f{\"s\":\"x\\n\"}"));
    bytes_free(&log.line);
    reply_close(&r);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };
    countdown = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
