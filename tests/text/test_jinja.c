/* Chat templates: what is refused, with line and column; who wrote each byte, through every
 * operation; rare arguments and values. That the texts are those of jinja2 is checked by
 * test_jinja_snippets.c and tools/parity/jinja.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jinja_rig.h"

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

/* Integers at the ends of their range, wherever a template may give one. */
static void test_integers(void **state)
{
    static const char *const least[][2] = {
        { "{{ 'x'.center(i) }}{{ 'x'.ljust(i) }}{{ 'x'.rjust(i) }}{{ 'x'|center(i) }}", "xxxx" },
        { "{{ '-1'.zfill(i) }}{{ '1'.zfill(i) }}", "-11" },
        { "{{ 'a b'.split(none, i) }}{{ 'a b'.rsplit(none, i) }}", "['a', 'b']['a', 'b']" },
        { "{{ 'a-b'.split('-', i) }}{{ 'a-b'.rsplit('-', i) }}", "['a', 'b']['a', 'b']" },
        { "{{ 'aa'.replace('a', 'b', i) }}{{ 'aa'.replace('', 'b', i) }}", "bbbabab" },
        { "{{ 'abc'[i:] }}{{ 'abc'[:i] }}{{ 'abc'[::i] }}{{ [1, 2][i:] }}", "abcc[1, 2]" },
        { "{{ 'abc'[i] }}{{ [1][i] }}{{ 'abc'.find('c', i) }}{{ 'abc'.count('c', 0, i) }}", "20" },
        { "{{ 'x' * i }}{{ [1] * i }}{{ 'a\n'|indent(i) }}{{ 1 is divisibleby i }}", "[]a\nFalse" },
        { "{{ i % -1 }}{{ i // 1 }}{{ i|int }}{{ i|string|int == i }}",
          "0-9223372036854775808-9223372036854775808True" },
        { "{{ 5|round(i) }}{{ 5.5|round(i) }}{{ i|round(-18) }}", "00.0-9000000000000000000" },
        { "{{ [1]|batch(i)|list }}{{ [1]|slice(i)|list }}", "[[1]][]" },
        { "{{ range(i, i) }}{{ range(5, i, i)|list }}{{ range(i, i + 2)|list|length }}",
          "range(-9223372036854775808, -9223372036854775808)[5, -9223372036854775803]2" },
        { "{{ '%d' % i }}{{ '{:d}'.format(i) }}{{ '{:x}'.format(i) }}",
          "-9223372036854775808-9223372036854775808-8000000000000000" },
        { "{{ {i: 1}[i] }}{{ i == i * 1.0 }}{{ i < 0.5 }}", "1TrueTrue" },
    };
    static const char *const faults[] = {
        "{{ -i }}",
        "{{ i|abs }}",
        "{{ i - 1 }}",
        "{{ i * 2 }}",
        "{{ i // -1 }}",
        "{{ i|round(-1) }}",
        "{{ -(i + 1)|round(-1) }}",
        "{{ (i + 1) * -1 + 1 }}",
        "{{ i ** 3 }}",
        "{{ [i, i]|sum }}",
        "{{ (-(i + 1))|round(-1) }}",
        "{{ (-(i + 1))|round(-19) }}",
        "{{ range(i, -(i + 1), -(i + 1))[2:] }}",
        "{{ range(i, 0, -(i + 1))[::3] }}",
        "{{ 1e19|int }}",
        "{{ '9223372036854775808'|int }}",
    };
    static const char vars[] = "{\"i\": -9223372036854775808}";
    (void)state;
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        gives(least[i][0], vars, least[i][1]);
    }
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        ends(faults[i], vars, JINJA_RUNTIME, "more than 64 bits");
    }
    gives("{{ 15|round(-1) }} {{ 25|round(-1) }} {{ 26|round(-1) }} {{ -15|round(-1) }} "
          "{{ 9223372036854775807|round(-2) }} {{ true|round(-1) }} {{ 6|round(-19) }}",
          NULL, "20 20 30 -20 9223372036854775800 0 0");
    ends("{{ 'x'.center(9223372036854775807) }}", NULL, JINJA_LIMIT, "more than");
    ends("{{ '+1'.zfill(9223372036854775807) }}", NULL, JINJA_LIMIT, "more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),   cmocka_unit_test(test_faults),
        cmocka_unit_test(test_raised),   cmocka_unit_test(test_no_error),
        cmocka_unit_test(test_who),      cmocka_unit_test(test_reads),
        cmocka_unit_test(test_time),     cmocka_unit_test(test_rest),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
