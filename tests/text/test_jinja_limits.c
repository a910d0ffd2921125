/* Chat templates: limits on size, depth, steps, memory and stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "jinja_rig.h"
#include "support/slowed.h"

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
    ends(deep, NULL, JINJA_LIMIT,
         "from_json: line 1, column 129: brackets nested more than 128 deep");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_depth), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_steps),   cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
