/* Chat templates: what is refused, with line and column; limits on size, depth, steps, memory and
 * stack; who wrote each byte, through every operation. That the texts are those of jinja2 is
 * checked by test_jinja_snippets.c and tools/parity/jinja.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/rig.h"
#include "support/slowed.h"
#include "text/jinja.h"

enum { NOW = 1700000000, MAX_VARS = 16 };

/* A rendering: what went in, and what came out. */
struct job {
    const char *source;
    size_t n;
    const char *vars; /* JSON, written by the caller; NULL = none */
    const char *mark; /* the variable that is JINJA_MARKED; NULL = none */
    struct jinja_text text;
    enum jinja_fault fault;
    weft_status status;
    weft_error err;
};

static void do_job(struct job *j)
{
    struct jinja_var vars[MAX_VARS];
    struct jinja_params p = { .vars = vars, .now = NOW };
    struct jinja *t = NULL;
    const char *name;
    json_t *value, *all = json_loads(j->vars != NULL ? j->vars : "{}", JSON_ALLOW_NUL, NULL);
    assert_non_null(all);
    json_object_foreach(all, name, value)
    {
        assert_true(p.n_vars < MAX_VARS);
        vars[p.n_vars++] = (struct jinja_var){ name, value, JINJA_CALLER };
    }
    const struct jinja_writer marked = { j->mark != NULL ? json_object_get(all, j->mark) : NULL,
                                         JINJA_MARKED };
    p.writers = &marked;
    p.n_writers = 1;
    j->fault = JINJA_SYNTAX;
    j->status = jinja_parse(j->source, j->n, &t, &j->err);
    if (j->status == WEFT_OK) {
        j->status = jinja_render(t, &p, &j->text, &j->fault, &j->err);
        assert_int_equal(j->status == WEFT_OK, j->fault == JINJA_OK);
    }
    assert_true(j->status == WEFT_OK || j->text.text.n == 0);
    jinja_close(t);
    json_decref(all);
}

static struct job run(const char *source, const char *vars, const char *mark)
{
    struct job j = { .source = source, .n = strlen(source), .vars = vars, .mark = mark };
    do_job(&j);
    return j;
}

/* Expects a text. */
static void gives(const char *source, const char *vars, const char *text)
{
    struct job j = run(source, vars, NULL);
    if (j.status != WEFT_OK || j.text.text.n != strlen(text) ||
        (j.text.text.n > 0 && memcmp(j.text.text.data, text, j.text.text.n) != 0)) {
        fail_msg("%s: expected %s, found %s", source, text,
                 j.status != WEFT_OK ? j.err.message : j.text.text.data);
    }
    jinja_text_free(&j.text);
}

/* Expects a fault whose message holds the words. */
static void ends(const char *source, const char *vars, enum jinja_fault fault, const char *words)
{
    struct job j = run(source, vars, NULL);
    if (j.status == WEFT_OK || j.fault != fault || strstr(j.err.message, words) == NULL) {
        fail_msg("%s: expected fault %d, %s; found %d, %s", source, fault, words, j.fault,
                 j.status != WEFT_OK ? j.err.message : "a text");
    }
    bool refused = fault == JINJA_SYNTAX || fault == JINJA_LIMIT;
    assert_int_equal(j.status, refused ? WEFT_E_UNSUPPORTED : WEFT_E_ARG);
    jinja_text_free(&j.text);
}

/* ---------------------------------------------------------------- faults */

static void test_syntax(void **state)
{
    static const struct {
        const char *source, *words;
    } rows[] = {
        { "a\n{{ }}", "line 2, column 4: an expression is missing" },
        { "{{ 1", "line 1, column 5: expected }}" },
        { "{{ a b }}", "line 1, column 6: expected }}, found 'b'" },
        { "\xc3\xa9{% if a %}", "column 10: this block has no {% endif %}" },
        { "{% for a in b %}{% endif %}", "column 20: the tag 'endif'" },
        { "{% for a of b %}", "expected `in`" },
        { "{% for in b %}", "expected `in`" },
        { "{% for true in b %}", "true is a constant" },
        { "{% for a in b recursive %}{% endfor %}", "recursive loops are not supported" },
        { "{% set %}", "a name to assign to is missing" },
        { "{% set 1 = 2 %}", "expected a name, found '1'" },
        { "{% break %}", "outside of a loop" },
        { "{% for a in b %}{% macro c() %}{% continue %}", "outside of a loop" },
        { "{% include 'a' %}", "the tag 'include' is not supported" },
        { "{% import 'a' as b %}", "the tag 'import'" },
        { "{% from 'a' import b %}", "the tag 'from'" },
        { "{% extends 'a' %}", "the tag 'extends'" },
        { "{% block a %}", "the tag 'block'" },
        { "{% autoescape true %}", "the tag 'autoescape'" },
        { "{% call a %}{% endcall %}", "needs the call of a macro" },
        { "{% macro a(b=1, c) %}", "without a default behind one" },
        { "{% macro a(b c) %}", "a comma or )" },
        { "{{ a(b=1, 2) }}", "a positional argument behind" },
        { "{{ a(b=1, b=2) }}", "two arguments of a call are named 'b'" },
        { "{{ a(*b) }}", "not supported; write the arguments out" },
        { "{{ a(1 2) }}", "a comma or )" },
        { "{{ a is b is c }}", "cannot be chained" },
        { "{{ a|b }}", "line 1, column 6: there is no filter named 'b'" },
        { "{{ a is b }}", "there is no test named 'b'" },
        { "{{ a.'b' }}", "expected a name" },
        { "{{ a[1:2, 3] }}", "expected ]" },
        { "{{ a[1 2] }}", "a comma or ]" },
        { "{{ [1 2] }}", "a comma or ]" },
        { "{{ {1 2} }}", "a colon" },
        { "{{ {1:2 3} }}", "a comma or }" },
        { "{{ (1 2) }}", "a comma or )" },
        { "{{ 1 ) }}", "closes nothing" },
        { "{{ (1] }}", "closes nothing" },
        { "{{ 'a }}", "line 1, column 4: this string has no end" },
        { "{{ 'a\\", "this string has no end" },
        { "{{ a ! }}", "line 1, column 6: a character that has no meaning" },
        { "{{ a \x01 }}", "a character that has no meaning" },
        { "{{ '\\xg' }}", "an escape that is no character: \\x" },
        { "{{ '\\ud800' }}", "an escape that is no character" },
        { "{{ '\\U00110000' }}", "an escape that is no character" },
        { "{{ '\\N{DOT}' }}", "an escape that is no character" },
        { "a {# b", "line 1, column 3: this comment has no #}" },
        { "{% raw %} {% endra %}", "this raw block has no" },
        { "{{ 99999999999999999999 }}", "more than 64 bits" },
        { "{% with a 1 %}", "expected =" },
        { "{% with a=1 b=2 %}", "expected a comma" },
        { "{% %}", "the tag '%}'" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ends(rows[i].source, NULL, JINJA_SYNTAX, rows[i].words);
    }
}

static void test_faults(void **state)
{
    static const struct {
        const char *source;
        enum jinja_fault fault;
        const char *words;
    } rows[] = {
        { "a\n  {{ b.c }}", JINJA_UNDEFINED, "line 2, column 8: 'b' is undefined" },
        { "{{ {}.a.b }}", JINJA_UNDEFINED, "column 9: 'dict' has no attribute or item 'a'" },
        { "{{ [][1].b }}", JINJA_UNDEFINED, "'list' has no attribute or item '[]'" },
        { "{{ a + 1 }}", JINJA_UNDEFINED, "column 6: 'a' is undefined" },
        { "{{ 1 - a }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ -a }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a() }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a < 1 }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a['b'] }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a[1:] }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a|int }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a|float }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ a|dictsort }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ dict(a) }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ range(a) }}", JINJA_UNDEFINED, "'a' is undefined" },
        { "{{ ([]|first).a }}", JINJA_UNDEFINED, "has no first item" },
        { "{{ ([]|last).a }}", JINJA_UNDEFINED, "has no last item" },
        { "{{ ([]|min).a }}", JINJA_UNDEFINED, "no least or greatest item" },
        { "{{ (1 if false).a }}", JINJA_UNDEFINED, "inline if has no else" },
        { "{% macro m(b) %}{{ b.c }}{% endmacro %}{{ m() }}", JINJA_UNDEFINED, "'b' is undefined" },
        { "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", JINJA_UNDEFINED, "'caller'" },
        { "{% for a in [1] %}{{ loop.previtem.b }}{% endfor %}", JINJA_UNDEFINED, "no previous" },
        { "{% for a in [1] %}{{ loop.nextitem.b }}{% endfor %}", JINJA_UNDEFINED, "no next item" },
        { "{{ {}.update({}) }}", JINJA_RUNTIME, "the sandbox forbids 'update'" },
        { "{{ [].sort() }}", JINJA_RUNTIME, "the sandbox forbids 'sort'" },
        { "{{ ''.__class__() }}", JINJA_RUNTIME, "the sandbox forbids '__class__'" },
        { "{{ 1 + 'a' }}", JINJA_RUNTIME, "+ cannot be applied to 'int' and 'str'" },
        { "{{ 'a' - 1 }}", JINJA_RUNTIME, "- cannot be applied" },
        { "{{ none // 1 }}", JINJA_RUNTIME, "// cannot be applied" },
        { "{{ none ** 1 }}", JINJA_RUNTIME, "** cannot be applied" },
        { "{{ 1 / 0 }}", JINJA_RUNTIME, "division by zero" },
        { "{{ 1 % 0 }}", JINJA_RUNTIME, "division by zero" },
        { "{{ 0 ** -1 }}", JINJA_RUNTIME, "division by zero" },
        { "{{ (-1.0) ** 0.5 }}", JINJA_RUNTIME, "complex" },
        { "{{ 9223372036854775807 + 1 }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ 2 ** 64 }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ 3 ** 41 }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ -9223372036854775808 // -1 }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ '99999999999999999999'|int }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ 1e300|int }}", JINJA_RUNTIME, "more than 64 bits" },
        { "{{ -'a' }}", JINJA_RUNTIME, "bad operand type for unary -" },
        { "{{ +'a' }}", JINJA_RUNTIME, "bad operand type for unary +" },
        { "{{ 1 < 'a' }}", JINJA_RUNTIME, "'<' has no order for 'int' and 'str'" },
        { "{{ 1 in 'a' }}", JINJA_RUNTIME, "'in' a string needs a string" },
        { "{{ 1 in 1 }}", JINJA_RUNTIME, "'int' cannot be iterated over" },
        { "{{ {[]: 1} }}", JINJA_RUNTIME, "'list' cannot be the key of a dict" },
        { "{{ {(1, []): 1} }}", JINJA_RUNTIME, "'list' cannot be the key of a dict" },
        { "{{ 1[1:] }}", JINJA_RUNTIME, "has no slices" },
        { "{{ 'a'[::0] }}", JINJA_RUNTIME, "the step of a slice is zero" },
        { "{{ 'a'['b':] }}", JINJA_RUNTIME, "the bounds of a slice must be integers" },
        { "{{ 1() }}", JINJA_RUNTIME, "'int' cannot be called" },
        { "{% set a, b = [1] %}", JINJA_RUNTIME, "2 names cannot take 1 values" },
        { "{% set a.b = 1 %}", JINJA_RUNTIME, "can be assigned to a namespace only" },
        { "{{ 1|length }}", JINJA_RUNTIME, "'int' has no length" },
        { "{{ 'a'|replace('b') }}", JINJA_RUNTIME, "replace(): there is no argument 'new'" },
        { "{{ 'a'|upper(1) }}", JINJA_RUNTIME, "upper() takes no more than 0 arguments, 1" },
        { "{{ 'a'|trim(x=1) }}", JINJA_RUNTIME, "trim(): there is no parameter 'x'" },
        { "{{ 'a'|trim(chars='b', x=1) }}", JINJA_RUNTIME, "trim(): there is no parameter 'x'" },
        { "{{ 'a'|trim('b', chars='c') }}", JINJA_RUNTIME, "two values for 'chars'" },
        { "{{ 'a'.strip(1) }}", JINJA_RUNTIME, "of type 'int' where a string is needed" },
        { "{{ 'a'|center('b') }}", JINJA_RUNTIME, "of type 'str' where an integer is needed" },
        { "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", JINJA_RUNTIME,
          "macro 'm' takes no more than 1 arguments, 2 were given" },
        { "{% macro m(a) %}{% endmacro %}{{ m(1, b=2) }}", JINJA_RUNTIME,
          "macro 'm' takes no argument named 'b'" },
        { "{{ 'a'.split('') }}", JINJA_RUNTIME, "an empty separator" },
        { "{{ 'a'.partition('') }}", JINJA_RUNTIME, "an empty separator" },
        { "{{ 'a'.index('b') }}", JINJA_RUNTIME, "not found" },
        { "{{ [1].index(2) }}", JINJA_RUNTIME, "not in the list" },
        { "{{ [1].pop(1) }}", JINJA_RUNTIME, "a list of 1 items has no such item" },
        { "{{ 'a'.join([1]) }}", JINJA_RUNTIME, "item 0 is of type 'int'" },
        { "{{ 'a'.center(9, 'bc') }}", JINJA_RUNTIME, "exactly one character" },
        { "{{ dict([[1]]) }}", JINJA_RUNTIME, "item 0 has 1 values" },
        { "{{ dict({}, {}) }}", JINJA_RUNTIME, "at most one value" },
        { "{{ range(1, 2, 0) }}", JINJA_RUNTIME, "the step is zero" },
        { "{{ range(100001) }}", JINJA_RUNTIME, "at most 100000" },
        { "{% for a in [1] %}{{ loop.cycle() }}{% endfor %}", JINJA_RUNTIME, "cycle() needs" },
        { "{% for a in [1] %}{{ loop(1) }}{% endfor %}", JINJA_RUNTIME, "cannot be called" },
        { "{{ strftime_now('%Q') }}", JINJA_RUNTIME, "%Q is not supported" },
        { "{{ [1]|map }}", JINJA_RUNTIME, "map() needs the name of a filter" },
        { "{{ [1]|map(attribute='a', b=1) }}", JINJA_RUNTIME, "map() takes" },
        { "{{ [1]|map('nothing')|list }}", JINJA_RUNTIME, "no filter named 'nothing'" },
        { "{{ [1]|map(1)|list }}", JINJA_RUNTIME, "no filter named '1'" },
        { "{{ [1]|select('nothing')|list }}", JINJA_RUNTIME, "no test named 'nothing'" },
        { "{{ [1]|selectattr|list }}", JINJA_RUNTIME, "the name of an attribute" },
        { "{% if true %}{{ 1|nothing }}{% endif %}", JINJA_RUNTIME, "no filter named 'nothing'" },
        { "{{ (1 is nothing) if true else 2 }}", JINJA_RUNTIME, "no test named 'nothing'" },
        { "{{ {}|items|last }}", JINJA_RUNTIME, "use |list first" },
        { "{{ 1|items }}", JINJA_RUNTIME, "items: 'int' is no mapping" },
        { "{{ 1|dictsort }}", JINJA_RUNTIME, "dictsort: 'int' is no mapping" },
        { "{{ {}|dictsort(by='a') }}", JINJA_RUNTIME, "by must be 'key' or 'value'" },
        { "{{ ['a']|sum('', '') }}", JINJA_RUNTIME, "use |join" },
        { "{{ [1]|slice(0) }}", JINJA_RUNTIME, "division by zero" },
        { "{{ 'a'|round }}", JINJA_RUNTIME, "round: 'str' is no number" },
        { "{{ 1|round(0, 'a') }}", JINJA_RUNTIME, "common, ceil or floor" },
        { "{{ 'a'|truncate(1) }}", JINJA_RUNTIME, "the length must be at least 3" },
        { "{{ a|tojson }}", JINJA_RUNTIME, "tojson: a value of type 'Undefined'" },
        { "{{ {(1, 2): 3}|tojson }}", JINJA_RUNTIME, "tojson: a key of type 'tuple'" },
        { "{{ []|tojson(separators=1) }}", JINJA_RUNTIME, "cannot be iterated over" },
        { "{{ []|tojson(separators=[1, 2]) }}", JINJA_RUNTIME, "must be two strings" },
        { "{{ '['|from_json }}", JINJA_RUNTIME, "from_json: " },
        { "{{ '{'.format() }}", JINJA_RUNTIME, "a single brace" },
        { "{{ '{}'.format() }}", JINJA_RUNTIME, "no value for {}" },
        { "{{ '{a}'.format() }}", JINJA_RUNTIME, "no value for {a}" },
        { "{{ '{:?}'.format(1) }}", JINJA_RUNTIME, "the format '?' is not supported" },
        { "{{ '{:d}'.format('a') }}", JINJA_RUNTIME, "does not fit a value of type 'str'" },
        { "{{ '{:d}'.format(1.5) }}", JINJA_RUNTIME, "needs an integer" },
        { "{{ '{:.200f}'.format(1.5) }}", JINJA_RUNTIME, "more than 100 digits" },
        { "{{ '%d' % 'a' }}", JINJA_RUNTIME, "%d needs a number" },
        { "{{ '%d %d' % 1 }}", JINJA_RUNTIME, "fewer values than places" },
        { "{{ '%d' % (1, 2) }}", JINJA_RUNTIME, "more values than places" },
        { "{{ '%(a)s' % 1 }}", JINJA_RUNTIME, "needs a dict" },
        { "{{ '%(a)s' % {} }}", JINJA_RUNTIME, "there is no value 'a'" },
        { "{{ '%y' % 1 }}", JINJA_RUNTIME, "this format is not supported" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ends(rows[i].source, NULL, rows[i].fault, rows[i].words);
    }
}

/* The template's words stand alone, without a place. */
static void test_raised(void **state)
{
    (void)state;
    struct job j = run("a{{ raise_exception('No \"tool\" role!') }}", NULL, NULL);
    assert_int_equal(j.fault, JINJA_RAISED);
    assert_int_equal(j.status, WEFT_E_ARG);
    assert_string_equal(j.err.message, "No \"tool\" role!");
    j = run("{{ raise_exception('a' * 5000 ~ 'b') }}", NULL, NULL);
    assert_int_equal(j.fault, JINJA_RAISED);
    assert_non_null(strstr(j.err.message, "aaa"));
}

static void test_no_error(void **state)
{
    struct jinja *t = NULL;
    struct jinja_params p = { .now = NOW };
    struct jinja_text text = { 0 };
    (void)state;
    assert_int_equal(jinja_parse("{{", 2, &t, NULL), WEFT_E_UNSUPPORTED);
    assert_null(t);
    OK(jinja_parse("{{ a.b }}", 9, &t, E));
    assert_int_equal(jinja_render(t, &p, &text, NULL, NULL), WEFT_E_ARG);
    jinja_close(t);
    jinja_close(NULL);
}

/* ---------------------------------------------------------------- limits */

/* Returns begin, n times part, middle, n times other, end. */
static char *repeated(const char *begin, const char *part, size_t n, const char *middle,
                      const char *other, const char *end)
{
    size_t len = strlen(begin) + strlen(middle) + strlen(end) + n * (strlen(part) + strlen(other));
    char *text = malloc(len + 1), *at = text;
    assert_non_null(text);
    at = stpcpy(at, begin);
    for (size_t i = 0; i < n; i++) {
        at = stpcpy(at, part);
    }
    at = stpcpy(at, middle);
    for (size_t i = 0; i < n; i++) {
        at = stpcpy(at, other);
    }
    stpcpy(at, end);
    return text;
}

/* n nested parts are let through, and more of them end with a limit that the words name. */
static void nests(const char *const parts[5], size_t n, size_t more, const char *words)
{
    char *text = repeated(parts[0], parts[1], n, parts[2], parts[3], parts[4]);
    struct job j = run(text, NULL, NULL);
    if (j.status != WEFT_OK) {
        fail_msg("%.60s...: %s", text, j.err.message);
    }
    jinja_text_free(&j.text);
    free(text);
    text = repeated(parts[0], parts[1], more, parts[2], parts[3], parts[4]);
    ends(text, NULL, JINJA_SYNTAX, words); /* jinja_parse() says nothing else */
    free(text);
}

static void test_nesting(void **state)
{
    static const char blocks[] = "blocks and brackets are nested deeper than 128";
    (void)state;
    nests((const char *const[]){ "{{ ", "(", "1", ")", " }}" }, 120, 200, "nested deeper than 128");
    nests((const char *const[]){ "{{ ", "[", "1", "]", " }}" }, 120, 200, "nested deeper than 128");
    nests((const char *const[]){ "{{ ", "- ", "1", "", " }}" }, 100, 200, blocks);
    nests((const char *const[]){ "{{ ", "not ", "1", "", " }}" }, 100, 200, blocks);
    nests((const char *const[]){ "{{ 1", " if 1", "", "", " }}" }, 100, 200, blocks);
    nests((const char *const[]){ "{{ ", "1 if 0 else ", "2", "", " }}" }, 100, 200, blocks);
    nests((const char *const[]){ "", "{% if 1 %}", "a", "{% endif %}", "" }, 100, 200, blocks);
    nests((const char *const[]){ "{% if 0 %}{% set ", "(", "a", ", b)", " = 1 %}{% endif %}" }, 100,
          200, "nested deeper");
    nests((const char *const[]){ "{{ 1", " is eq [1", "", "]", " }}" }, 30, 200, "nested deeper");
    /* No depth at all: long chains. */
    char *text = repeated("{{ 1", "+1", 30000, "", "", " }}");
    gives(text, NULL, "30001");
    free(text);
    text = repeated("{% if 0 %}", "{% elif 0 %}", 30000, "{% else %}a{% endif %}", "", "");
    gives(text, NULL, "a");
    free(text);
}

static void test_depth(void **state)
{
    static const char *const uses[] = { "a|tojson", "a|string", "a == b",
                                        "a < b",    "{c: 1}",   "'%s' % [a]" };
    char text[400];
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        snprintf(text, sizeof text,
                 "{%% set n = namespace(a=[], b=[], c=()) %%}{%% for i in range(200) %%}"
                 "{%% set n.a = [n.a] %%}{%% set n.b = [n.b] %%}{%% set n.c = (n.c,) %%}"
                 "{%% endfor %%}{%% set a, b, c = n.a, n.b, n.c %%}{{ %s }}",
                 uses[i]);
        if (strcmp(uses[i], "{c: 1}") == 0) {
            struct job j = run(text, NULL, NULL);
            assert_int_equal(j.fault, JINJA_LIMIT);
            continue;
        }
        ends(text, NULL, JINJA_LIMIT, "nested deeper than 128");
    }
    ends("{% set a = [] %}{{ a.append(a) }}{{ a }}", NULL, JINJA_LIMIT, "nested deeper than 128");
    char *deep = repeated("{\"a\": ", "[", 200, "", "]", "}");
    ends("{{ a|length }}", deep, JINJA_LIMIT, "nested deeper than 128");
    gives("{{ b }}", deep, ""); /* a is not read */
    free(deep);
    deep = repeated("{{ '", "[", 200, "", "]", "'|from_json }}");
    ends(deep, NULL, JINJA_LIMIT, "from_json: nested deeper than 128");
    free(deep);
    deep = repeated("{{ [1]|map('map'", ", 'map'", 200, ", 'string')|list }}", "", "");
    struct job j = run(deep, NULL, NULL);
    assert_int_not_equal(j.fault, JINJA_OK);
    free(deep);
    deep = repeated("{% set n = namespace(a=[1]) %}{% for i in range(200) %}{% set n.a = [n.a] %}"
                    "{% endfor %}{{ n.a|map('map'",
                    ", 'map'", 199, ", 'string')|list }}", "", "");
    ends(deep, NULL, JINJA_LIMIT, "filters that call filters are nested deeper than 128");
    free(deep);
}

static void test_sizes(void **state)
{
    struct job j = { .n = JINJA_MAX_SOURCE + 1 };
    char *text = malloc(j.n);
    (void)state;
    assert_non_null(text);
    memset(text, 'a', j.n);
    j.source = text;
    do_job(&j);
    assert_int_equal(j.status, WEFT_E_UNSUPPORTED);
    assert_non_null(strstr(j.err.message, "at most 1048576 are supported"));
    j.n--;
    do_job(&j);
    assert_int_equal(j.status, WEFT_OK);
    assert_int_equal(j.text.text.n, JINJA_MAX_SOURCE);
    jinja_text_free(&j.text);
    free(text);
    char *names = malloc(300 * 8);
    assert_non_null(names);
    for (size_t i = 0; i < 300; i++) {
        snprintf(names + 7 * i, 8, "a%03zu=1,", i);
    }
    text = repeated("{{ m(", names, 1, ") }}", "", "");
    ends(text, NULL, JINJA_SYNTAX, "more than 254 arguments with names");
    free(names);
    free(text);
    text = repeated("{{ m(", "1, ", 70000, ") }}", "", "");
    ends(text, NULL, JINJA_SYNTAX, "more than 65535 values");
    free(text);
}

#ifdef SLOWED
enum { SECONDS = 40 };
#else
enum { SECONDS = 2 };
#endif

/* Templates that would work for a very long time end soon, whatever they spend it on. */
static void test_steps(void **state)
{
    static const char *const bodies[] = {
        "",
        "{{ 'abc'|upper|trim|replace('a', 'b') }}",
        "{{ 1.25e-300 }}",
        "{{ '%s %5.2f'|format('a', 2.5) }}",
        "{{ s.rfind('b') }}{{ s.count('ab') }}",
        "{{ s|e }}",
        "{{ s|title|length }}{{ s|wordcount }}",
        "{{ s|trim('a') }}",
        "{{ s[::-1]|length }}",
        "{{ l|sort|length }}",
        "{{ l|tojson|length }}",
        "{{ l|tojson|from_json|length }}",
        "{{ l == m }}",
        "{% set x = l.pop(0) %}{{ l.append(1) }}",
        "{{ l|map('string')|join }}",
        "{% with d = 1 %}{{ nothing }}{% endwith %}",
        "{{ {'a': 1, 'b': 2, 'c': b}.c }}",
        "{{ strftime_now('%Y-%m-%d %H:%M:%S %B') }}",
        "{% set n.s = n.s ~ 'aaaaaaaa' %}",
        "{{ s.split('a')|length }}{{ s.splitlines() }}",
        "{{ s.replace('', 'a')|length }}",
        "{{ n.d.a }}{% set n.d = dict(n.d, a=n.d) %}",
    };
    char text[500];
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        snprintf(text, sizeof text,
                 "{%% set s, l, m = 'a' * 50000, range(9999)|list, range(9999)|list %%}"
                 "{%% set n = namespace(s='', d={}) %%}{%% for a in range(100000) %%}"
                 "{%% for b in range(100000) %%}%s{%% endfor %%}{%% endfor %%}",
                 bodies[i]);
        clock_t begin = clock();
        struct job j = run(text, NULL, NULL);
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (j.fault != JINJA_LIMIT || seconds > SECONDS) {
            fail_msg("%s: %.2f s, fault %d %s", bodies[i], seconds, j.fault, j.err.message);
        }
    }
    ends("{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
         "{% endfor %}",
         NULL, JINJA_LIMIT, "more than 256 MiB of memory");
    ends("{{ 'a' * 9999999999 }}", NULL, JINJA_LIMIT, "more than");
    ends("{{ 'a'.center(9999999999999) }}", NULL, JINJA_LIMIT, "more than");
}

/* A thread with a small stack renders what nests deepest. */
static void *small_stack(void *arg)
{
    static const char *const sources[] = {
        "{% macro m(n) %}{% if n %}{{ [m(n - 1)]|join }}{% endif %}{% endmacro %}{{ m(255) }}",
        "{% set n = namespace(a=[]) %}{% for i in range(120) %}{% set n.a = [n.a] %}{% endfor %}"
        "{{ n.a|tojson(indent=1)|from_json == n.a }}{{ n.a < n.a }}{{ n.a }}",
    };
    (void)arg;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct job j = run(sources[i], NULL, NULL);
        assert_int_equal(j.fault, JINJA_OK);
        jinja_text_free(&j.text);
    }
    ends("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", NULL, JINJA_LIMIT,
         "more than 256 macros are inside each other");
    test_nesting(NULL);
    test_depth(NULL);
    return NULL;
}

static void test_stack(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_attr_init(&attr), 0);
#ifdef SLOWED
    assert_int_equal(pthread_attr_setstacksize(&attr, 4 << 20), 0);
#else
    assert_int_equal(pthread_attr_setstacksize(&attr, 512 << 10), 0);
#endif
    assert_int_equal(pthread_create(&thread, &attr, small_stack, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}

/* ---------------------------------------------------------------- who wrote it */

/* Expects the text, and beneath it who wrote each byte: t, c or m. */
static void writes(const char *source, const char *vars, const char *text, const char *who)
{
    struct job j = run(source, vars, "m");
    char found[256] = "";
    size_t at = 0;
    if (j.status != WEFT_OK) {
        fail_msg("%s: %s", source, j.err.message);
    }
    for (size_t i = 0; i < j.text.n_runs; i++) {
        assert_true(j.text.runs[i].n > 0);
        assert_true(i == 0 || j.text.runs[i].who != j.text.runs[i - 1].who);
        for (size_t k = 0; k < j.text.runs[i].n; k++) {
            assert_true(at + 1 < sizeof found);
            found[at++] = "tcm"[j.text.runs[i].who];
        }
    }
    assert_int_equal(at, j.text.text.n);
    found[at] = '\0';
    if (strlen(text) != at || (at > 0 && memcmp(text, j.text.text.data, at) != 0) ||
        strcmp(who, found) != 0) {
        fail_msg("%s\n  expected %s\n           %s\n  found    %s\n           %s", source, text,
                 who, at > 0 ? j.text.text.data : "", found);
    }
    jinja_text_free(&j.text);
}

#define VARS                                                                                       \
    "{\"s\": \"xy\", \"n\": -12, \"f\": 1.5, \"b\": true, \"e\": null, \"m\": \"MN\", "            \
    "\"d\": {\"k\": \"v\"}, \"l\": [\"p\", \"q\"], \"u\": \" x \"}"

static void test_who(void **state)
{
    static const struct {
        const char *source, *text, *who;
    } rows[] = {
        { "", "", "" },
        { "ab", "ab", "tt" },
        { "{{ s }}", "xy", "cc" },
        { "a{{ s }}b", "axyb", "tcct" },
        { "{{ m }}{{ s }}", "MNxy", "mmcc" },
        { "{{ n }}{{ f }}{{ b }}{{ e }}", "-121.5TrueNone", "cccccccccccccc" },
        { "{{ 1 }}{{ n + 1 }}", "1-11", "tccc" },
        { "{{ -n }}{{ n|abs }}{{ f|round }}", "12122.0", "ccccccc" },
        { "{{ 'a' + s + 'b' }}", "axyb", "tcct" },
        { "{{ 'a' ~ n ~ m }}", "a-12MN", "tcccmm" },
        { "{{ ('a' + s + 'b')[1:3] }}", "xy", "cc" },
        { "{{ ('a' + s)[::-1] }}", "yxa", "cct" },
        { "{{ ('a' + s)[1] }}", "x", "c" },
        { "{{ ('a' + s)|list|join('-') }}", "a-x-y", "ttctc" },
        { "{{ ('a' + s) * 2 }}", "axyaxy", "tcctcc" },
        { "{{ ('a' + s).replace('x', 'z') }}", "azy", "ttc" },
        { "{{ 'ab'.replace('a', s) }}", "xyb", "cct" },
        { "{{ 'ab'.replace('', m) }}", "MNaMNbMN", "mmtmmtmm" },
        { "{{ (' ' + u + ' ')|trim }}", "x", "c" },
        { "{{ ('a' + s)|upper }}{{ s|capitalize }}", "AXYXy", "tcccc" },
        { "{{ ('a' + s)|title }}", "Axy", "tcc" },
        { "{{ (s + 'a-b').split('-')|join('+') }}", "xya+b", "ccttt" },
        { "{{ ('a\n' + s)|indent(2, true) }}", "  a\n  xy", "ttttttcc" },
        { "{{ ('<' + s)|e }}", "&lt;xy", "ttttcc" },
        { "{{ s|center(6) }}", "  xy  ", "ttcctt" },
        { "{{ '12'.zfill(4) }}{{ s.rjust(3, '0') }}", "00120xy", "tttttcc" },
        { "{{ s|tojson }}", "\"xy\"", "cccc" },
        { "{{ 'a'|tojson }}", "\"a\"", "ttt" },
        { "{{ m|tojson }}", "\"MN\"", "cmmc" },
        { "{{ ('\"' + s)|tojson }}", "\"\\\"xy\"", "tttccc" },
        { "{{ d|tojson }}", "{\"k\": \"v\"}",
          "tccctt"
          "ccct" },
        { "{{ l|tojson(indent=1) }}", "[\n \"p\",\n \"q\"\n]", "tttccctttccctt" },
        { "{{ [n, f, b, e]|tojson }}", "[-12, 1.5, true, null]", "tcccttcccttccccttcccct" },
        { "{{ [1, true]|tojson }}", "[1, true]", "ttttttttt" },
        { "{{ d }}", "{'k': 'v'}",
          "tccctt"
          "ccct" },
        { "{{ l }}", "['p', 'q']", "tcccttccct" },
        { "{{ (l[0], 'a') }}", "('p', 'a')", "tccctttttt" },
        { "{{ '[1]'|from_json }}", "[1]", "ttt" },
        { "{{ ('[' ~ '\"a\"' ~ ']')|from_json|first }}", "a", "t" },
        { "{{ ('[\"' ~ s ~ '\"]')|from_json|first }}", "xy", "cc" },
        { "{{ '{} {}'.format(s, 1) }}", "xy 1", "cctt" },
        { "{{ '{:>4}'.format(s) }}{{ '{:03d}'.format(n) }}", "  xy-12", "ttccccc" },
        { "{{ '%s-%d' % (s, n) }}", "xy--12", "cctccc" },
        { "{{ s|string ~ '' }}{{ [s]|string }}", "xy['xy']", "cctcccct" },
        { "{{ '12'|int }}{{ n|string|int }}", "12-12", "ttccc" },
        { "{{ '1'|float }}{{ n|float }}", "1.0-12.0", "tttccccc" },
        { "{% set x %}a{{ s }}{% endset %}{{ x }}", "axy", "tcc" },
        { "{% filter upper %}a{{ s }}{% endfilter %}", "AXY", "tcc" },
        { "{% macro z(x) %}a{{ x }}{% endmacro %}{{ z(s) }}{{ z(m)|lower }}", "axyamn", "tcctmm" },
        { "{% macro z() %}<{{ caller() }}>{% endmacro %}{% call z() %}{{ s }}{% endcall %}", "<xy>",
          "tcct" },
        { "{% for c in s %}{{ c }}.{% endfor %}", "x.y.", "ctct" },
        { "{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "k=v", "ctc" },
        { "{% for k in d %}{{ k }}{% endfor %}{{ d.keys()|list|join }}", "kk", "cc" },
        { "{{ l|join(', ') }}", "p, q", "cttc" },
        { "{{ l|sort(reverse=true)|first }}{{ l|max }}", "qq", "cc" },
        { "{{ l|map('upper')|join }}{{ [d]|map(attribute='k')|join }}", "PQv", "ccc" },
        { "{{ d.k or 'a' }}{{ s if s else 'b' }}", "vxy", "ccc" },
        { "{{ l.pop() }}{{ s.partition('x')[2] }}", "qy", "cc" },
        { "{{ s.splitlines()[0] }}{{ s.removeprefix('x') }}", "xyy", "ccc" },
        { "{{ ('a' * 40 + s)|truncate(9, true) }}", "aaaaaa...", "ttttttttt" },
        { "{{ s|length }}{{ strftime_now('%Y') }}", "22023", "ttttt" },
        { "{{ namespace(a=s) }}", "<Namespace {'a': 'xy'}>",
          "ttttttttttttttttt"
          "cccc"
          "tt" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        writes(rows[i].source, VARS, rows[i].text, rows[i].who);
    }
}

/* ---------------------------------------------------------------- the rest */

static void test_reads(void **state)
{
    static const char source[] = "{% set a = b.c %}{% macro d(e) %}{{ f|default(g) }}{% endmacro %}"
                                 "{% for h in i if j %}{% endfor %}{{ k.l(m=n) }}";
    static const char read[] = "bfgijkn", not_read[] = "acdehlm";
    struct jinja *t;
    (void)state;
    OK(jinja_parse(source, sizeof source - 1, &t, E));
    for (const char *c = read; *c != '\0'; c++) {
        assert_true(jinja_reads(t, (const char[]){ *c, '\0' }));
    }
    for (const char *c = not_read; *c != '\0'; c++) {
        assert_false(jinja_reads(t, (const char[]){ *c, '\0' }));
    }
    assert_false(jinja_reads(t, "nothing"));
    jinja_close(t);
}

static void test_time(void **state)
{
    static const struct {
        int64_t now;
        const char *format, *text;
    } rows[] = {
        { NOW, "%Y-%m-%d %H:%M:%S", "2023-11-14 22:13:20" },
        { NOW, "%A %a %B %b %h %d %e %-d %j %y %C",
          "Tuesday Tue November Nov Nov 14 14 14 318 23 20" },
        { NOW, "%I %l %k %p %P %-H %f %s %u %w %U %W",
          "10 10 22 PM pm 22 000000 1700000000 2 2 46 46" },
        { NOW, "%c|%D|%x|%F|%R|%r|%T|%X",
          "Tue Nov 14 22:13:20 2023|11/14/23|11/14/23|2023-11-14|"
          "22:13|10:13:20 PM|22:13:20|22:13:20" },
        { NOW, "%n%t%%%z%Z%", "\n\t%%" },
        { 0, "%d %b %Y %I %p %u %U %W", "01 Jan 1970 12 AM 4 00 00" },
        { -1, "%d %b %Y %e %-e", "31 Dec 1969 31 31" },
        { 951782400, "%d %b %Y %j", "29 Feb 2000 060" },
        { 951868800, "%d %b %Y %j", "01 Mar 2000 061" },
        { 1735603200, "%d %b %Y %j", "31 Dec 2024 366" },
        { 4107542400, "%d %b %Y %j", "01 Mar 2100 060" },
        { INT64_MAX, "%Y %m", "9999 12" },
        { INT64_MIN, "%Y %m", "1 01" },
        { 5 * 86400, "%e|%-d|%_d", " 6|6|06" },
        { 3 * 86400, "%u %w %A", "7 0 Sunday" },
    };
    struct jinja *t;
    static const char source[] = "{{ strftime_now(f) }}";
    (void)state;
    OK(jinja_parse(source, sizeof source - 1, &t, E));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *f = json_string(rows[i].format);
        struct jinja_var var = { "f", f, JINJA_TEMPLATE };
        struct jinja_params p = { .vars = &var, .n_vars = 1, .now = rows[i].now };
        struct jinja_text text = { 0 };
        OK(jinja_render(t, &p, &text, NULL, E));
        assert_string_equal(text.text.data, rows[i].text);
        jinja_text_free(&text);
        json_decref(f);
    }
    jinja_close(t);
}

/* What the recorded snippets leave out: rare arguments and kinds of values. */
static void test_rest(void **state)
{
    (void)state;
    gives("{% set a = namespace() %}{% set a.b = 1 %}{{ a['b'] }}{{ a.c }}", NULL, "1");
    gives("{{ dict }}{{ 'a'.upper }}", NULL, "<function><function>");
    gives("{% for a in [1] %}{{ loop }}{% endfor %}", NULL, "<LoopContext 1/1>");
    gives("{% macro m(a, b=1) %}{% endmacro %}{{ m }}{{ m.arguments }}{{ m.name }}{{ m.x }}", NULL,
          "<Macro 'm'>('a', 'b')m");
    gives("{{ {}.items }}{{ [].append is defined }}{{ [].sort }}", NULL, "<function>True");
    gives("{{ [1]|map('string') }}{{ {'a': 1}.items() }}", NULL,
          "<generator>dict_items([('a', 1)])");
    gives("{{ range(3) == range(3) }}{{ range(2) in [range(2)] }}", NULL, "TrueTrue");
    gives("{{ dict is sameas dict }}{{ [] is sameas [] }}{{ 1 is sameas 1 }}", NULL,
          "FalseFalseTrue");
    gives("{{ {1.5: 1, none: 2, true: 3}[1] }}{{ {2: 1}[2.0] }}{{ {1e300: 4}[1e300] }}", NULL,
          "314");
    gives("{% set n = namespace(d={}) %}{% for i in range(40) %}{% set n.d = dict(n.d.items()|list"
          " + [(i, i * i)]) %}{% endfor %}{{ n.d[39] }} {{ n.d|length }}",
          NULL, "1521 40");
    gives("{% set d = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, dict: 9} %}{{ d[dict] }}",
          NULL, "9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),  cmocka_unit_test(test_faults),
        cmocka_unit_test(test_raised),  cmocka_unit_test(test_no_error),
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_steps),
        cmocka_unit_test(test_stack),   cmocka_unit_test(test_who),
        cmocka_unit_test(test_reads),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
