/* The time that tools and schemas take grows like their size, whatever they refer to. Each hostile
 * schema is made in two sizes, and the times are compared; 100 KB of tools take less than a second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "reply_rig.h"
#include "support/slowed.h"

#ifdef SLOWED
enum { SLOWER = 20 };
#else
enum { SLOWER = 1 };
#endif
enum { SMALL = 25000, LARGE = 100000 };

static void put(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct bytes *b, const char *fmt, ...)
{
    char text[700];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof text && text_add(b, text, (size_t)n));
}

/* Fills b up to n bytes with parts, in which %zu is their number, and commas between them. */
static void fill(struct bytes *b, size_t n, const char *part)
{
    const char *number = strstr(part, "%zu");
    for (size_t i = 0; b->n < n; i++) {
        put(b, "%s%.*s", i > 0 ? "," : "", (int)(number != NULL ? number - part : 600), part);
        if (number != NULL) {
            put(b, "%zu%s", i, number + 3);
        }
    }
}

/* ---------------------------------------------------------------- schemas */

/* Three lists of references, each to the next. */
static void lists(struct bytes *b, size_t n)
{
    put(b, "{\"$defs\":{\"c\":{\"type\":\"object\"},\"b\":{\"anyOf\":[");
    fill(b, n / 3, "{\"$ref\":\"#/$defs/c\"}");
    put(b, "]},\"a\":{\"anyOf\":[");
    fill(b, 2 * n / 3, "{\"$ref\":\"#/$defs/b\"}");
    put(b, "]}},\"anyOf\":[");
    fill(b, n, "{\"$ref\":\"#/$defs/a\"}");
    put(b, "]}");
}

/* Schemas that refer twice to the next one; the last needs the first. */
static void doubled(struct bytes *b, size_t n)
{
    size_t i = 0;
    put(b, "{\"type\":\"object\",\"required\":[\"x\"],\"properties\":{\"x\":{\"$ref\":\"#/d/0\"}},"
           "\"d\":{");
    for (; b->n < n; i++) {
        put(b, "\"%zu\":{\"anyOf\":[{\"$ref\":\"#/d/%zu\"},{\"$ref\":\"#/d/%zu\"}]},", i, i + 1,
            i + 1);
    }
    put(b, "\"%zu\":{\"$ref\":\"#\"}}}", i);
}

/* Many schemas of which each leads to many that have no end. */
static void endless(struct bytes *b, size_t n)
{
    put(b, "{\"type\":\"object\",\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"z\":"
           "{\"$ref\":\"#/$defs/a\"}},\"required\":[");
    fill(b, n / 3, "\"a%zu\"");
    put(b, ",\"z\"]},\"b\":{\"anyOf\":[");
    fill(b, 2 * n / 3, "{\"$ref\":\"#/$defs/a\"}");
    put(b, "]}},\"properties\":{");
    fill(b, n, "\"%zu\":{\"$ref\":\"#/$defs/b\"}");
    put(b, "}}");
}

/* A schema of many properties that is merged again and again into one. */
static void merged(struct bytes *b, size_t n)
{
    put(b, "{\"d\":{\"type\":\"object\",\"properties\":{");
    fill(b, n / 2, "\"p%zu\":{}");
    put(b, "}},\"type\":\"object\",\"properties\":{\"x\":{\"allOf\":[");
    fill(b, n, "{\"$ref\":\"#/d\"}");
    put(b, "]}}}");
}

/* The same with names that are required, and with schemas that cannot be merged. */
static void merged_in_vain(struct bytes *b, size_t n)
{
    put(b, "{\"d\":{\"type\":\"object\",\"required\":[");
    fill(b, n / 4, "\"a%zu\"");
    put(b, "],\"properties\":{");
    fill(b, n / 2, "\"p%zu\":{}");
    put(b, "}},\"type\":\"object\",\"properties\":{");
    fill(b, n, "\"x%zu\":{\"allOf\":[{\"$ref\":\"#/d\"},{\"$ref\":\"#/d\"},1]}");
    put(b, "}}");
}

/* Two large schemas that are equal and merged by turns. */
static void compared(struct bytes *b, size_t n)
{
    put(b, "{\"d\":{\"items\":[");
    fill(b, n / 4, "[1]");
    put(b, "]},\"e\":{\"items\":[");
    fill(b, n / 2, "[1]");
    put(b, "]},\"type\":\"object\",\"properties\":{\"x\":{\"allOf\":[");
    fill(b, n, "{\"$ref\":\"#/d\"},{\"$ref\":\"#/e\"}");
    put(b, "]}}}");
}

/* Values of which each is compared with each type. */
static void types(struct bytes *b, size_t n)
{
    put(b, "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":[");
    fill(b, n / 2, "\"t%zu\"");
    put(b, "],\"enum\":[");
    fill(b, n, "1");
    put(b, "]}}}");
}

/* Properties that are all required. */
static void required(struct bytes *b, size_t n)
{
    put(b, "{\"type\":\"object\",\"properties\":{");
    fill(b, n / 2, "\"p%zu\":{}");
    put(b, "},\"required\":[");
    fill(b, n, "\"q%zu\"");
    put(b, "]}");
}

/* Properties that refer to one schema, of which hardly anything is kept. */
static void shared(struct bytes *b, size_t n)
{
    put(b, "{\"d\":{\"type\":\"array\",");
    fill(b, n / 2, "\"x-%zu\":1");
    put(b, "},\"type\":\"object\",\"properties\":{");
    fill(b, n, "\"p%zu\":{\"$ref\":\"#/d\"}");
    put(b, "}}");
}

/* Long names, of which other members must be different. */
static void names(struct bytes *b, size_t n)
{
    static const char aaa[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    char part[300];
    snprintf(part, sizeof part, "\"%%zu%s%s%s\":{}", aaa, aaa, aaa);
    put(b, "{\"type\":\"object\",\"additionalProperties\":true,\"properties\":{");
    fill(b, n, part);
    put(b, "}}");
}

/* Patterns that are refused at their end. */
static void patterns(struct bytes *b, size_t n)
{
    put(b, "{\"d\":{\"type\":[\"string\",\"array\"],\"pattern\":\"");
    for (size_t i = 0; i < 9000; i++) {
        put(b, "%c", 'a');
    }
    put(b, "(?=b)\"},\"type\":\"object\",\"properties\":{");
    fill(b, n, "\"p%zu\":{\"allOf\":[{\"$ref\":\"#/d\"},{}]}");
    put(b, "}}");
}

/* As deep as it can be, with a reference to the whole on each level. */
static void deep(struct bytes *b, size_t n)
{
    size_t levels = 0;
    put(b, "{\"anyOf\":[");
    for (; levels < 200; levels++) {
        put(b, "{\"anyOf\":[");
        fill(b, b->n + n / 200 - 20, "{\"$ref\":\"#/anyOf/0\"}");
        put(b, ",");
    }
    put(b, "{}");
    while (levels-- > 0) {
        put(b, "]}");
    }
    put(b, "]}");
}

/* ---------------------------------------------------------------- times */

/* Makes one tool, or with `each` > 0 as many tools of so many bytes as n bytes hold. */
static struct bytes make_tools(void (*schema)(struct bytes *, size_t), size_t n, size_t each)
{
    struct bytes b = { 0 };
    each = each > 0 ? each : n;
    put(&b, "[");
    for (size_t i = 0; b.n + each / 2 < n; i++) {
        struct bytes one = { 0 };
        schema(&one, each - 60);
        put(&b, "%s{\"type\":\"function\",\"function\":{\"name\":\"f%zu\",\"parameters\":",
            i > 0 ? "," : "", i);
        assert_true(text_add(&b, one.data, one.n));
        put(&b, "}}");
        bytes_free(&one);
    }
    put(&b, "]");
    return b;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Returns the best time of three. A schema that is refused counts too. */
static double seconds(const struct reply_source *source, const weft_reply_params *params)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        struct reply r;
        double begin = now();
        if (reply_open(source, params, &r, E) == WEFT_OK) {
            reply_close(&r);
        }
        double took = now() - begin;
        best = took < best ? took : best;
    }
    return best;
}

static void check(const char *what, double small, double large)
{
    /* Four times, and as much again for caches and tables. */
    if (large > 8 * small + 0.05 * SLOWER || large > 1.0 * SLOWER) {
        fail_msg("%s: %.3f s for %d bytes, %.3f s for %d", what, small, SMALL, large, LARGE);
    }
}

static const struct {
    const char *name;
    void (*make)(struct bytes *, size_t);
} schemas[] = {
    { "lists", lists },   { "doubled", doubled },   { "endless", endless },
    { "merged", merged }, { "compared", compared }, { "merged in vain", merged_in_vain },
    { "types", types },   { "required", required }, { "shared", shared },
    { "names", names },   { "patterns", patterns }, { "deep", deep },
};
enum { N_SCHEMAS = sizeof schemas / sizeof *schemas };

static double time_of_tools(const char *form, size_t i, size_t n, size_t each)
{
    struct bytes tools = make_tools(schemas[i].make, n, each);
    struct reply_source source = { form, strlen(form), "", 0, tools.data, tools.n, false };
    weft_reply_params params = WEFT_REPLY_PARAMS_INIT;
    double took = seconds(&source, &params);
    bytes_free(&tools);
    return took;
}

static void test_tools(void **state)
{
    static const char *const forms[] = { "tools<tool_call></tool_call>",
                                         "tools<function=<parameter=" };
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < N_SCHEMAS; i++) {
            check(schemas[i].name, time_of_tools(forms[f], i, SMALL, 0),
                  time_of_tools(forms[f], i, LARGE, 0));
        }
    }
}

/* Many tools, of which each has a part of the schemas' size only. */
static void test_many_tools(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SCHEMAS; i++) {
        size_t each = schemas[i].make == patterns ? 12000 : 1000;
        check(schemas[i].name, time_of_tools("tools<tool_call></tool_call>", i, SMALL, each),
              time_of_tools("tools<tool_call></tool_call>", i, LARGE, each));
    }
}

static double time_of_schema(size_t i, size_t n, bool strict)
{
    struct bytes schema = { 0 };
    struct reply_source source = { "", 0, "", 0, NULL, 0, false };
    weft_reply_params params = WEFT_REPLY_PARAMS_INIT;
    schemas[i].make(&schema, n);
    params.schema = schema.data;
    params.n_schema = schema.n;
    params.strict_schema = strict;
    double took = seconds(&source, &params);
    bytes_free(&schema);
    return took;
}

static void test_schema(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        for (size_t i = 0; i < N_SCHEMAS; i++) {
            check(schemas[i].name, time_of_schema(i, SMALL, strict),
                  time_of_schema(i, LARGE, strict));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_many_tools),
        cmocka_unit_test(test_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
