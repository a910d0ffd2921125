/* The grammars of answers: for every form of calls, what they let through is what the parser reads
 * as a call, at once, behind a trigger and behind reasoning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "draw/matcher.h"
#include "reply_rig.h"
#include "schema/json_schema.h"

#define DS(x) "<\xef\xbd\x9ctool\xe2\x96\x81" x "\xef\xbd\x9c>"
#define DS_BEGIN                                                                                   \
    DS("calls\xe2\x96\x81"                                                                         \
       "begin")                                                                                    \
    DS("call\xe2\x96\x81"                                                                          \
       "begin")
#define DS_END                                                                                     \
    DS("call\xe2\x96\x81"                                                                          \
       "end")                                                                                      \
    DS("calls\xe2\x96\x81"                                                                         \
       "end")

/* One or two calls in each form, as the grammar writes them. */
static const struct form {
    const char *source, *text,
        *second; /* the text of the first call, and of the second behind it */
    const char *end;
} forms[] = {
    { "tools<tool_call></tool_call>",
      "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\", \"n\": 1}}\n</tool_call>",
      "\n<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>", "" },
    { "tools<function=<parameter=",
      "<tool_call>\n<function=f>\n<parameter=s>\nx </p\n</parameter>\n<parameter=n>\n1\n"
      "</parameter>\n</function>\n</tool_call>",
      "\n<tool_call>\n<function=get_time>\n</function>\n</tool_call>", "" },
    { "tools<seed:tool_call><parameter=",
      "<seed:tool_call>\n<function=f>\n<parameter=s>x</parameter>\n</function>\n</seed:tool_call>",
      "\n<seed:tool_call>\n<function=get_time>\n</function>\n</seed:tool_call>", "" },
    { "tools<minimax:tool_call><invoke name=",
      "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"b\">true</parameter>\n"
      "</invoke>\n",
      "<invoke name=\"get_time\">\n</invoke>\n", "</minimax:tool_call>" },
    { "tools<tool_call><arg_key>",
      "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
      "\n<tool_call>get_time\n</tool_call>", "" },
    { "tools<function=</function>", "<function=f>{\"n\": 1}</function>",
      "<function=get_time>{}</function>", "" },
    { "tools" DS("call\xe2\x96\x81"
                 "begin") "```json",
      DS_BEGIN "function" DS("sep") "f\n```json\n{\"n\": 1}\n```" DS("call\xe2\x96\x81"
                                                                     "end"),
      "\n" DS("call\xe2\x96\x81"
              "begin") "function" DS("sep") "get_time\n```json\n{}\n```" DS("call\xe2\x96\x81"
                                                                            "end"),
      DS("calls\xe2\x96\x81"
         "end") },
    { "tools" DS("call\xe2\x96\x81"
                 "begin") DS("sep"),
      DS_BEGIN "f" DS("sep") "{\"n\": 1}" DS("call\xe2\x96\x81"
                                             "end"),
      DS("call\xe2\x96\x81"
         "begin") "get_time" DS("sep") "{}" DS("call\xe2\x96\x81"
                                               "end"),
      DS("calls\xe2\x96\x81"
         "end") },
    { "tools[TOOL_CALLS][ARGS]", "[TOOL_CALLS]f[ARGS]{\"n\": 1}", "[TOOL_CALLS]get_time[ARGS]{}",
      "" },
    { "tools[TOOL_CALLS]", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
      ", {\"name\": \"get_time\", \"arguments\": {}}", "]" },
    { "tools<TOOLCALL>", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
      ", {\"name\": \"get_time\", \"arguments\": {}}", "]</TOOLCALL>" },
    { "tools<tool_calls>[", "<tool_calls>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
      ", {\"name\": \"get_time\", \"arguments\": {}}", "]</tool_calls>" },
    { "tools<tool_calls></tool_calls>",
      "<tool_calls>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n",
      "{\"name\": \"get_time\", \"arguments\": {}}\n", "</tool_calls>" },
    { "tools<|tool|>", "functools[{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
      ", {\"name\": \"get_time\", \"arguments\": {}}", "]" },
    { "tools<|tool_call|>", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}",
      ", {\"name\": \"get_time\", \"arguments\": {}}", "]" },
    { "tools ipython\"parameters\": ", "{\"name\": \"f\", \"parameters\": {\"n\": 1}}", NULL, "" },
    { "", "{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"n\": 1}}}",
      "\n{\"tool_call\": {\"name\": \"get_time\", \"arguments\": {}}}", "" },
};
enum { N_FORMS = sizeof forms / sizeof *forms };

static bool allows(const struct reply *r, const char *text)
{
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    weft_error err = { 0 };
    const struct bytes *gbnf = &r->constraint.gbnf;
    if (grammar_parse(gbnf->data, gbnf->n, &g, &err) != WEFT_OK) {
        fail_msg("%s\n%.*s", err.message, (int)gbnf->n, gbnf->data);
    }
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    OK(matcher_read(m, text, strlen(text), E));
    bool ends = matcher_may_end(m);
    matcher_close(m);
    return ends;
}

/* Returns the text behind the first trigger in it. */
static const char *behind_trigger(const struct reply *r, const char *text)
{
    const char *best = NULL;
    for (size_t i = 0; i < r->constraint.n_triggers; i++) {
        const char *at = strstr(text, r->constraint.triggers[i]);
        at = at != NULL ? at + strlen(r->constraint.triggers[i]) : NULL;
        best = best == NULL || (at != NULL && at < best) ? at : best;
    }
    return best;
}

static void check_calls(const struct form *form, const weft_reply_params *params, const char *text,
                        bool allowed)
{
    struct reply r;
    const struct reply_case c = { .source = form->source, .params = *params };
    case_open(&c, &r);
    const char *rest = r.constraint.n_triggers > 0 ? behind_trigger(&r, text) : text;
    if (rest == NULL || allows(&r, rest) != allowed) {
        fail_msg("%s, choice %d: %s\n%.*s", r.format->name, (int)params->choice, text,
                 (int)r.constraint.gbnf.n, r.constraint.gbnf.data);
    }
    reply_close(&r);
}

/* What the grammar lets through must be calls and nothing else. */
static void check_parsed(const struct form *form, const char *text, const char *events)
{
    struct reply_case c = { .source = form->source, .text = text, .events = events };
    size_t n = strlen(text);
    char *line = log_run(&c, &n);
    if (strstr(line, "c(") != NULL || strchr(line, '!') != NULL || strstr(line, events) == NULL) {
        fail_msg("%s\ngives %s", text, line);
    }
    free(line);
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMS; i++) {
        const struct form *form = &forms[i];
        char one[512], two[512];
        snprintf(one, sizeof one, "%s%s", form->text, form->end);
        snprintf(two, sizeof two, "%s%s%s", form->text, form->second != NULL ? form->second : "",
                 form->end);
        check_parsed(form, one, "f{");
        check_parsed(form, two, form->second != NULL ? "get_time{}" : "f{");
        for (int choice = WEFT_TOOLS_AUTO; choice <= WEFT_TOOLS_NAMED; choice++) {
            weft_reply_params p = { .choice = (weft_tool_choice)choice,
                                    .choice_name = choice == WEFT_TOOLS_NAMED ? "f" : NULL };
            if (choice != WEFT_TOOLS_NONE) {
                check_calls(form, &p, one, true);
                check_calls(form, &p, two, choice != WEFT_TOOLS_NAMED || form->second == NULL);
                p.no_parallel = true;
                check_calls(form, &p, one, true);
                check_calls(form, &p, two, form->second == NULL);
            }
        }
    }
}

static void open_as(struct reply *r, const char *source, const char *opening,
                    const weft_reply_params *params)
{
    const struct reply_case c = { .source = source, .opening = opening, .params = *params };
    case_open(&c, r);
}

#define THINK "tools<think></think><tool_call></tool_call>"
#define CALL "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"
#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]}"

/* A call that must come comes behind the reasoning. */
static void test_reasoning(void **state)
{
    (void)state;
    struct reply r;
    weft_reply_params p = { .choice = WEFT_TOOLS_REQUIRED };
    open_as(&r, THINK, "<think>\n", &p);
    assert_int_equal(r.constraint.n_triggers, 1);
    assert_string_equal(r.constraint.triggers[0], "</think>");
    assert_true(allows(&r, "\n\n" CALL) && allows(&r, CALL) && !allows(&r, "x" CALL));
    reply_close(&r);
    open_as(&r, THINK, "", &p);
    assert_int_equal(r.constraint.n_triggers, 0);
    assert_true(allows(&r, CALL) && allows(&r, "<think>a < </thin</think>\n\n" CALL));
    assert_false(allows(&r, "<think>a\n" CALL) || allows(&r, "a" CALL));
    reply_close(&r);
    open_as(&r, THINK, "<think></think>", &p);
    assert_int_equal(r.constraint.n_triggers, 0);
    assert_true(allows(&r, CALL));
    reply_close(&r);
}

/* Reasoning announces no calls. Where the prompt has opened it, it comes once. */
static void test_hold(void **state)
{
    (void)state;
    struct reply r;
    weft_reply_params p = { .choice = WEFT_TOOLS_AUTO };
    open_as(&r, THINK, "<think>\n", &p);
    assert_string_equal(r.constraint.triggers[0], "<tool_call>");
    assert_null(r.constraint.hold_open);
    assert_string_equal(r.constraint.hold_close, "</think>");
    assert_true(r.constraint.held);
    reply_close(&r);
    open_as(&r, THINK, "", &p);
    assert_string_equal(r.constraint.hold_open, "<think>");
    assert_string_equal(r.constraint.hold_close, "</think>");
    assert_false(r.constraint.held);
    reply_close(&r);
    open_as(&r, "tools<tool_call></tool_call>", "", &p);
    assert_null(r.constraint.hold_close);
    reply_close(&r);
    p.choice = WEFT_TOOLS_REQUIRED;
    open_as(&r, THINK, "<think>\n", &p);
    assert_null(r.constraint.hold_close);
    reply_close(&r);
}

static void test_schema(void **state)
{
    (void)state;
    struct reply r;
    weft_reply_params p = { .choice = WEFT_TOOLS_NONE,
                            .schema = SCHEMA,
                            .n_schema = strlen(SCHEMA) };
    open_as(&r, THINK, "", &p);
    assert_true(allows(&r, "{\"a\": 1}") && allows(&r, "<think></think>\n{\"a\": 1}"));
    assert_false(allows(&r, "{}") || allows(&r, CALL));
    reply_close(&r);
    p.choice = WEFT_TOOLS_AUTO;
    p.strict_schema = true;
    open_as(&r, THINK, "<think>", &p);
    assert_string_equal(r.constraint.triggers[0], "</think>");
    assert_true(allows(&r, "{\"a\": 1}") && allows(&r, "\n" CALL));
    reply_close(&r);
    p.choice = WEFT_TOOLS_REQUIRED;
    open_as(&r, "tools<tool_call></tool_call>", "", &p);
    assert_true(allows(&r, CALL) && !allows(&r, "{\"a\": 1}"));
    reply_close(&r);
}

/* Without a sure sign of a call, the beginnings with the names of the tools are triggers. */
static void test_names(void **state)
{
    (void)state;
    struct reply r;
    weft_reply_params p = { 0 };
    open_as(&r, "tools ipython\"parameters\": ", "", &p);
    assert_int_equal(r.constraint.n_triggers, 3);
    assert_string_equal(r.constraint.triggers[1], "{\"name\": \"f");
    assert_string_equal(r.constraint.triggers[2], "{\"name\": \"get_time");
    assert_true(allows(&r, "\", \"parameters\": {\"n\": 1}}"));
    assert_true(allows(&r, "{\"name\": \"f\", \"parameters\": {\"n\": 1}}"));
    reply_close(&r);
}

/* Texts of an enum, required parameters, and any order of none. */
static void test_tags(void **state)
{
    (void)state;
    const char *tools =
        "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"u\":{\"enum\":[\"C\",\"F\"]},"
        "\"n\":{\"$ref\":\"#/$defs/n\"},\"w\":{\"type\":\"array\",\"items\":{\"type\":\"null\"}}},"
        "\"required\":[\"u\"],\"$defs\":{\"n\":{\"type\":\"integer\"}}}}]";
    struct reply r;
    struct reply_case c = { .source = "tools<function=<parameter=",
                            .tools = tools,
                            .params = { .choice = WEFT_TOOLS_REQUIRED } };
    case_open(&c, &r);
#define F(inside) "<tool_call>\n<function=f>\n" inside "</function>\n</tool_call>"
#define P(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"
    assert_true(allows(&r, F(P("u", "C"))));
    assert_true(allows(&r, F(P("u", "F") P("w", "[null]"))));
    assert_true(allows(&r, F(P("u", "F") P("n", "any") P("w", "[]"))));
    assert_false(allows(&r, F(P("u", "K"))) || allows(&r, F(P("w", "[]"))));
    assert_false(allows(&r, F(P("u", "F") P("w", "[1]"))));
    reply_close(&r);
}

/* Ten tools with long texts, and as many tools as there may be, with many parameters. */
static void test_many(void **state)
{
    (void)state;
    struct bytes tools = { 0 };
    char text[400];
    assert_true(text_add(&tools, "[", 1));
    for (int i = 0; i < REPLY_MAX_TOOLS; i++) {
        int n = snprintf(text, sizeof text,
                         "%s{\"name\":\"tool_with_a_long_name_%d\",\"parameters\":{\"properties\":{"
                         "\"parameter_one\":{\"type\":\"string\",\"maxLength\":10000},"
                         "\"parameter_two\":{\"type\":\"array\",\"items\":{\"type\":\"integer\","
                         "\"minimum\":-77,\"maximum\":4711},\"maxItems\":2000}}}}",
                         i > 0 ? "," : "", i);
        assert_true(text_add(&tools, text, (size_t)n));
        if (i == 9 || i == REPLY_MAX_TOOLS - 1) {
            assert_true(text_add(&tools, "]", 1));
            for (size_t k = 0; k < N_FORMS; k++) {
                struct reply r;
                struct reply_case c = { .source = forms[k].source, .tools = tools.data };
                case_open(&c, &r);
                assert_false(allows(&r, "x"));
                reply_close(&r);
            }
            tools.n--;
        }
    }
    bytes_free(&tools);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *tools;
        weft_reply_params params;
        weft_status status;
    } cases[] = {
        { "{", { 0 }, WEFT_E_ARG },
        { "{}", { 0 }, WEFT_E_ARG },
        { "[{}]", { 0 }, WEFT_E_ARG },
        { "[{\"name\":\"\"}]", { 0 }, WEFT_E_ARG },
        { "[{\"name\":\"a\\nb\"}]", { 0 }, WEFT_E_ARG },
        { "[{\"type\":\"web_search\"}]", { 0 }, WEFT_E_ARG },
        { "[{\"type\":3,\"name\":\"f\"}]", { 0 }, WEFT_E_ARG },
        { "[]", { .choice = WEFT_TOOLS_REQUIRED }, WEFT_E_ARG },
        { TOOLS, { .choice = WEFT_TOOLS_NAMED }, WEFT_E_ARG },
        { TOOLS, { .choice = WEFT_TOOLS_NAMED, .choice_name = "g" }, WEFT_E_ARG },
        { TOOLS, { .choice_name = "f" }, WEFT_E_ARG },
        { TOOLS, { .choice = (weft_tool_choice)9 }, WEFT_E_ARG },
        { TOOLS, { .schema = "{", .n_schema = 1 }, WEFT_E_FORMAT },
        { TOOLS,
          { .schema = "{\"not\":{}}", .n_schema = 10, .strict_schema = true },
          WEFT_E_FORMAT },
        { TOOLS, { .schema = "{\"not\":{}}", .n_schema = 10 }, WEFT_OK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply r;
        weft_error err = { 0 };
        struct reply_source source = {
            "", 0, "", 0, cases[i].tools, strlen(cases[i].tools), false
        };
        assert_int_equal(reply_open(&source, &cases[i].params, &r, &err), cases[i].status);
        assert_true(cases[i].status == WEFT_OK || err.message[0] != '\0');
        reply_close(&r);
    }
}

static void test_instruction(void **state)
{
    (void)state;
    struct bytes text = { 0 };
    OK(reply_instruction(TOOLS, strlen(TOOLS), &text, E));
    assert_non_null(strstr(text.data, "{\"name\": \"get_time\"}\n"));
    assert_non_null(strstr(text.data, "{\"tool_call\": {\"name\": "));
    bytes_free(&text);
    assert_int_equal(reply_instruction("3", 1, &text, NULL), WEFT_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold),        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_reasoning),   cmocka_unit_test(test_schema),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_tags),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
