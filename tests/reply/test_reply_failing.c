/* Replies: every allocation fails once. A reply is opened, an answer is added, and grammars of
 * schemas are made again and again; the k-th allocation fails, for k = 1, 2, ... until the work is
 * done without reaching it. Each time the answer must be WEFT_E_NOMEM, nothing may be left behind,
 * and the same call again must give what it gives otherwise. The program is linked with --wrap for
 * the allocator, which jansson calls too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "reply_rig.h"
#include "schema/json_schema.h"
#include "support/failing.h"

/* Everything that a schema may have. */
#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"$defs\":{\"d\":{\"type\":\"object\",\"properties\":{\"k\":{\"$ref\":"  \
    "\"#/$defs/d\"},\"l\":{\"type\":\"integer\",\"minimum\":-5}}},\"e\":{\"anyOf\":[{\"$ref\":"    \
    "\"#/$defs/"                                                                                   \
    "d\"},{\"type\":[\"string\",\"null\"]}]}},\"properties\":{\"s\":{\"type\":\"string\","         \
    "\"pattern\":\"^[a-c]+x?$\"},\"d\":{\"allOf\":[{\"$ref\":\"#/$defs/"                           \
    "d\"},{\"required\":[\"l\"],"                                                                  \
    "\"properties\":{\"m\":{\"type\":\"number\"}}}]},\"e\":{\"$ref\":\"#/$defs/"                   \
    "e\"},\"a\":{\"type\":"                                                                        \
    "\"array\",\"prefixItems\":[{\"type\":\"boolean\"},{\"format\":\"date\"}],\"items\":false}},"  \
    "\"required\":[\"s\",\"e\"],\"additionalProperties\":{\"type\":\"null\"}}"
#define VALUES "{\"enum\":[\"a\",1,2.5,[true]]}"
#define OF_SCHEMA "[{\"function\":{\"name\":\"f\",\"parameters\":" SCHEMA "}}]"

static const char hermes[] = "tools<tool_call></tool_call><think></think>";
static const char tags[] = "tools<function=<parameter=";

static const struct reply_case cases[] = {
    { .source = hermes,
      .text =
          "<think>\na\n</think>\n\nb<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\"}}"
          "\n</tool_call>c" },
    { .source = hermes,
      .tools = OF_SCHEMA,
      .params = { .choice = WEFT_TOOLS_REQUIRED },
      .text = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>" },
    { .source = tags,
      .text = "<tool_call>\n<function=f>\n<parameter=s>\nx\n</parameter>\n<parameter=n>\n1\n"
              "</parameter>\n</function>\n</tool_call>" },
    { .source = tags,
      .tools = OF_SCHEMA,
      .params = { .choice = WEFT_TOOLS_NAMED, .choice_name = "f" },
      .text = "<tool_call>\n<function=f>\n</function>\n</tool_call>" },
    { .source = "tools[TOOL_CALLS]", .text = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]" },
    { .source = hermes,
      .params = { .schema = SCHEMA, .n_schema = sizeof SCHEMA - 1 },
      .text = "{}" },
    { .source = "",
      .params = { .schema = SCHEMA, .n_schema = sizeof SCHEMA - 1, .strict_schema = true },
      .text = "{}" },
    { .source = tags,
      .params = { .schema = VALUES, .n_schema = sizeof VALUES - 1, .strict_schema = true },
      .text = "1" },
};
enum { N_CASES = sizeof cases / sizeof *cases, MAX_ALLOCATIONS = 5000 };

static weft_status open_case(const struct reply_case *c, struct reply *r)
{
    const char *tools = c->tools != NULL ? c->tools : TOOLS;
    struct reply_source source = {
        c->source, strlen(c->source), "", 0, tools, strlen(tools), false
    };
    weft_reply_params params = c->params;
    params.seed = 1;
    return reply_open(&source, &params, r, E);
}

static void check_failed(weft_status s, long before)
{
    countdown = -1;
    assert_int_equal(s, WEFT_E_NOMEM);
    assert_non_null(strstr(rig_err.message, "out of memory"));
    assert_int_equal(n_live, before);
}

static void test_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct reply r, whole;
        weft_status s = WEFT_E_NOMEM;
        OK(open_case(&cases[i], &whole));
        for (long k = 1; s != WEFT_OK; k++) {
            long before = n_live;
            countdown = k;
            s = open_case(&cases[i], &r);
            if (s != WEFT_OK) {
                check_failed(s, before);
            }
            assert_true(k < MAX_ALLOCATIONS);
        }
        countdown = -1;
        assert_int_equal(r.constraint.gbnf.n, whole.constraint.gbnf.n);
        assert_memory_equal(r.constraint.gbnf.data, whole.constraint.gbnf.data,
                            whole.constraint.gbnf.n);
        assert_int_equal(r.constraint.n_triggers, whole.constraint.n_triggers);
        reply_close(&r);
        reply_close(&whole);
    }
}

/* Adds a piece; memory is out as often as the piece needs it. */
static void add(struct reply *r, const char *text, size_t n)
{
    weft_status s = WEFT_E_NOMEM;
    for (long k = 1; s != WEFT_OK; k++) {
        long live = n_live;
        countdown = k;
        s = reply_add(r, text, n, E);
        countdown = -1;
        assert_true(s == WEFT_OK || s == WEFT_E_NOMEM);
        /* Blocks that were got before the one that failed stay in the reply. */
        assert_true(n_live <= live + 3);
        assert_true(k < 10);
    }
}

static char *events_of(const struct reply_case *c, bool failing)
{
    struct reply r;
    struct reply_log log = { 0 };
    size_t n = strlen(c->text);
    OK(open_case(c, &r));
    for (size_t at = 0; at < n; at += 7) {
        if (failing) {
            add(&r, c->text + at, size_min(n - at, 7));
        } else {
            OK(reply_add(&r, c->text + at, size_min(n - at, 7), E));
        }
        log_events(&r, &log);
    }
    OK(reply_end(&r, E));
    log_events(&r, &log);
    log_close(&log);
    log_put(&log, "", 0);
    reply_close(&r);
    return log.line.data;
}

static void test_add(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        long before = n_live;
        char *failing = events_of(&cases[i], true), *events = events_of(&cases[i], false);
        assert_string_equal(failing, events);
        free(failing);
        free(events);
        assert_int_equal(n_live, before);
    }
}

static void check_grammar(const char *schema, bool widen)
{
    struct bytes gbnf = { 0 }, whole = { 0 };
    struct schema_error e = { "" };
    bool ok = false;
    assert_true(json_schema_grammar(schema, strlen(schema), widen, &whole, &e));
    for (long k = 1; !ok; k++) {
        long before = n_live;
        countdown = k;
        ok = json_schema_grammar(schema, strlen(schema), widen, &gbnf, &e);
        countdown = -1;
        if (!ok) {
            assert_string_equal(e.text, ""); /* memory is out */
            bytes_free(&gbnf);
            assert_int_equal(n_live, before);
        }
        assert_true(k < MAX_ALLOCATIONS);
    }
    assert_int_equal(gbnf.n, whole.n);
    assert_memory_equal(gbnf.data, whole.data, whole.n);
    bytes_free(&gbnf);
    bytes_free(&whole);
}

static void test_schema(void **state)
{
    (void)state;
    for (int widen = 0; widen < 2; widen++) {
        check_grammar(SCHEMA, widen);
        check_grammar(VALUES, widen);
    }
}

static void test_constrain(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct reply r;
        struct reply_constraint c;
        weft_status s = WEFT_E_NOMEM;
        OK(open_case(&cases[i], &r));
        for (long k = 1; s != WEFT_OK; k++) {
            long before = n_live;
            countdown = k;
            s = reply_constrain(&r, &c, E);
            if (s != WEFT_OK) {
                check_failed(s, before);
            }
            assert_true(k < MAX_ALLOCATIONS);
        }
        countdown = -1;
        assert_int_equal(c.gbnf.n, r.constraint.gbnf.n);
        assert_memory_equal(c.gbnf.data, r.constraint.gbnf.data, c.gbnf.n);
        reply_constraint_free(&c);
        reply_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_constrain),
    };
    countdown = -1;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
