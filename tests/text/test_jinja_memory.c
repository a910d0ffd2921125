/* Chat templates: every allocation fails once. A template that uses all kinds of values is parsed
 * and rendered again and again; the k-th allocation of the library or of jansson fails, for k =
 * 1, 2, ... until the work is done without reaching it. Each time the answer must be WEFT_E_NOMEM,
 * nothing may be left behind, and the same call again must give the text. The program is linked
 * with --wrap for the allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "support/failing.h"
#include "support/rig.h"
#include "text/jinja.h"

static const char source[] =
    "{% macro m(a, b=[1, 2.5, none]) %}{{ a }}{{ b|tojson(indent=2) }}{% endmacro %}"
    "{% set n = namespace(s='', l=[]) %}"
    "{% for i in range(300) if i % 3 %}{{ m(i) }}{% set n.s = n.s ~ x ~ i %}"
    "{% set n.l = n.l + [{'k': i, 'v': n.s[:9]}] %}{% endfor %}"
    "{% set y %}{{ n.l|map(attribute='v')|sort|join(', ') }}{% endset %}"
    "{{ y|upper|replace('X', x) }}{{ n.l|tojson|from_json|length }}{{ '%s-%5.2f'|format(x, 1.5) }}"
    "{% filter trim %}{{ y|indent }}{% endfilter %}{{ y.split('X')|unique|list }}{{ d }}";

static weft_status parse(struct jinja **t) { return jinja_parse(source, sizeof source - 1, t, E); }

static void test_parse(void **state)
{
    struct jinja *t;
    weft_status s = WEFT_E_NOMEM;
    (void)state;
    for (long k = 1; s != WEFT_OK; k++) {
        long before = n_live;
        countdown = k;
        s = parse(&t);
        if (s != WEFT_OK) {
            assert_int_equal(s, WEFT_E_NOMEM);
            assert_null(t);
            assert_int_equal(n_live, before);
            assert_non_null(strstr(rig_err.message, "out of memory"));
        }
        assert_true(k < 1000);
    }
    countdown = -1;
    jinja_close(t);
}

static void test_render(void **state)
{
    struct jinja *t;
    json_t *x = json_string("x"), *d = json_loads("{\"a\": [1, {\"b\": \"c\"}]}", 0, NULL);
    struct jinja_var vars[] = { { "x", x, JINJA_CALLER }, { "d", d, JINJA_CALLER } };
    struct jinja_params p = { .vars = vars, .n_vars = 2, .now = 1700000000 };
    struct jinja_text text = { 0 }, whole = { 0 };
    weft_status s = WEFT_E_NOMEM;
    enum jinja_fault fault;
    long k = 1;
    (void)state;
    countdown = -1;
    OK(parse(&t));
    OK(jinja_render(t, &p, &whole, NULL, E));
    for (; s != WEFT_OK; k++) {
        long before = n_live;
        countdown = k;
        s = jinja_render(t, &p, &text, &fault, E);
        countdown = -1;
        if (s != WEFT_OK) {
            assert_int_equal(s, WEFT_E_NOMEM);
            assert_int_equal(fault, JINJA_NO_MEMORY);
            assert_int_equal(text.text.n, 0);
            assert_int_equal(n_live, before);
            assert_non_null(strstr(rig_err.message, "out of memory"));
        }
        assert_true(k < 100000);
    }
    assert_true(k > 20);
    assert_int_equal(text.text.n, whole.text.n);
    assert_memory_equal(text.text.data, whole.text.data, whole.text.n);
    jinja_text_free(&text);
    jinja_text_free(&whole);
    jinja_close(t);
    json_decref(x);
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_render),
    };
    countdown = -1;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
