/* JSON schemas to grammars: which texts each keyword lets through, ranges of integers against
 * counting, names of properties against comparing, and what is refused, by name and place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "draw/matcher.h"
#include "schema/json_schema.h"
#include "support/rig.h"

static struct matcher *open_schema(const char *schema)
{
    struct bytes gbnf = { 0 };
    struct schema_error err;
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    if (!json_schema_grammar(schema, schema != NULL ? strlen(schema) : 0, false, &gbnf, &err)) {
        fail_msg("schema %s: %s", schema, err.text);
    }
    OK(grammar_parse(gbnf.data, gbnf.n, &g, E));
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    bytes_free(&gbnf);
    return m;
}

static bool accepts(struct matcher *m, const char *text)
{
    matcher_restart(m);
    OK(matcher_read(m, text, strlen(text), E));
    return matcher_may_end(m);
}

/* Checks texts that the schema allows, then NULL, then texts that it does not allow, then NULL. */
static void check_texts(const char *schema, const char *const *texts)
{
    struct matcher *m = open_schema(schema);
    for (int good = 1; good >= 0; good--, texts++) {
        for (; *texts != NULL; texts++) {
            if (accepts(m, *texts) != good) {
                fail_msg("schema %s: the text %s is %s", schema, *texts,
                         good ? "refused" : "let through");
            }
        }
    }
    matcher_close(m);
}
#define TEXTS(schema, ...) check_texts(schema, (const char *const[]){ __VA_ARGS__, NULL })

static void test_values(void **state)
{
    (void)state;
    TEXTS(NULL, "{}", "[ ]", "[1,\n  {\"a\":\n\t[null, true]}]", "\"\\u00e9\\n\\\"x\xc3\xa9\"",
          "-0.5e+10", "0", "{\"a\" : 1, \"b\":[]}", "\"\\ud83d\\ude00\"", NULL, "", " {}", "{} ",
          "{\"a\"}", "[1,]", "01", "+1", "1.", ".5", "\"\\x\"", "\"\n\"", "'a'", "nul",
          "\"\\ud83d\"", "\"\\ude00\"", "[1  ,2]", "{a:1}");
    TEXTS("{}", "{\"a\":1}", "3", NULL, "}");
    TEXTS("true", "null", NULL, "x");
    TEXTS("{\"type\":\"null\"}", "null", NULL, "0", "");
    TEXTS("{\"type\":\"boolean\"}", "true", "false", NULL, "null", "\"true\"");
    TEXTS("{\"type\":\"integer\"}", "0", "-12", "1234567890123456", NULL, "1.0", "-", "1e3");
    TEXTS("{\"type\":\"number\"}", "0", "-1.5", "1e-7", NULL, "\"1\"", "- 1");
    TEXTS("{\"type\":\"number\",\"minimum\":0}", "0.5", "12", NULL, "-1", "-0");
    TEXTS("{\"type\":[\"integer\",\"null\"]}", "1", "null", NULL, "1.5", "true");
    TEXTS("{\"enum\":[\"a\\\"b\",1,0.1,null,{\"k\":[]}]}", "\"a\\\"b\"", "1", "0.1", "null",
          "{\"k\":[]}", NULL, "a", "0.10", "{}");
    TEXTS("{\"type\":\"string\",\"enum\":[\"x\",3,\"\xe4\xb8\xad\"]}", "\"x\"", "\"\xe4\xb8\xad\"",
          NULL, "3");
    TEXTS("{\"type\":[\"array\",\"object\",\"boolean\",\"number\"],"
          "\"enum\":[[],{},true,1.5,\"s\",null]}",
          "[]", "{}", "true", "1.5", NULL, "\"s\"", "null");
    TEXTS("{\"type\":\"integer\",\"enum\":[1,2.0,2.5]}", "1", "2.0", NULL, "2.5");
    TEXTS("{\"const\":\"\\n\\u0001\"}", "\"\\n\\u0001\"", NULL, "\"\n\"");
    TEXTS("{\"anyOf\":[{\"type\":\"null\"},{\"const\":5}],\"title\":\"t\"}", "null", "5", NULL,
          "nul", "6");
    TEXTS("{\"oneOf\":[{\"type\":\"null\"},{\"type\":\"array\"}]}", "null", "[1]", NULL, "5");
}

static void test_strings(void **state)
{
    (void)state;
    TEXTS("{\"type\":\"string\"}", "\"\"", "\"a b\"", NULL, "\"", "a");
    TEXTS("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"ab\"",
          "\"\\n\\u00e9\xc3\xa9\"", "\"\\ud83d\\ude00x\"", NULL, "\"a\"", "\"abcd\"");
    TEXTS("{\"minLength\":1}", "\"a\"", "\"aaaaaa\"", NULL, "\"\"", "1");
    TEXTS("{\"type\":\"string\",\"format\":\"date\"}", "\"2024-02-29\"", NULL, "\"2023-02-29\"",
          "\"2024-13-01\"", "\"2024-1-01\"", "\"2024-01-32\"");
    TEXTS("{\"type\":\"string\",\"format\":\"time\"}", "\"23:59:59Z\"", "\"00:00:00.5+01:30\"",
          NULL, "\"24:00:00Z\"", "\"00:00:00\"");
    TEXTS("{\"type\":\"string\",\"format\":\"date-time\"}", "\"2024-02-29T23:59:59Z\"", NULL,
          "\"2024-02-29\"");
    TEXTS("{\"type\":\"string\",\"format\":\"uuid\"}", "\"123e4567-e89b-12d3-a456-426614174000\"",
          NULL, "\"123e4567e89b12d3a456426614174000\"");
}

/* Returns the number of days in a month, by the definition of the calendar. */
static int days_of(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month < 1 || month > 12 ? 0 : days[month - 1] + (month == 2 && leap);
}

static void check_date(struct matcher *m, int year, int month, int day, const char *rest)
{
    char text[64];
    snprintf(text, sizeof text, "\"%04d-%02d-%02d%s\"", year, month, day, rest);
    bool there_is = day >= 1 && day <= days_of(year, month);
    if (accepts(m, text) != there_is) {
        fail_msg("%s is %s", text, there_is ? "refused" : "let through");
    }
}

/* Every day of years of all kinds, and the end of every February. */
static void test_dates(void **state)
{
    (void)state;
    static const int years[] = { 0, 1, 4, 1582, 1900, 2000, 2023, 2024, 2100, 9999 };
    static const char *const rests[] = { "", "T23:59:59Z" };
    for (size_t r = 0; r < 2; r++) {
        struct matcher *m = open_schema(r == 0 ? "{\"type\":\"string\",\"format\":\"date\"}"
                                               : "{\"type\":\"string\",\"format\":\"date-time\"}");
        for (size_t y = 0; y < sizeof years / sizeof years[0]; y++) {
            for (int month = 0; month <= 19; month++) {
                for (int day = 0; day <= 39; day++) {
                    check_date(m, years[y], month, day, rests[r]);
                }
            }
        }
        for (int year = 0; year <= 9999; year++) {
            for (int day = 28; day <= 30; day++) {
                check_date(m, year, 2, day, rests[r]);
            }
        }
        matcher_close(m);
    }
}

static void test_patterns(void **state)
{
    (void)state;
    TEXTS("{\"pattern\":\"^[a-z]{2,3}-\\\\d+$\"}", "\"ab-1\"", "\"xyz-123\"", NULL, "\"a-1\"",
          "\"ab-\"", "\"ab-1x\"");
    TEXTS("{\"pattern\":\"^(foo|ba[rz])?\\\\.x$\"}", "\".x\"", "\"foo.x\"", "\"baz.x\"", NULL,
          "\"foox\"", "\"bar\"");
    TEXTS("{\"pattern\":\"b\"}", "\"abc\"", "\"b\"", "\"\\nb\\\"\"", NULL, "\"ac\"", "\"\"");
    TEXTS("{\"pattern\":\"a|bc\"}", "\"xbcx\"", "\"a\"", NULL, "\"b\"");
    TEXTS("{\"pattern\":\"^[^a-c\xc3\xa9]$\"}", "\"d\"", "\"\xe4\xb8\xad\"", NULL, "\"a\"",
          "\"\\n\"", "\"\"\"", "\"\xc3\xa9\"");
    TEXTS("{\"pattern\":\"^[-\\\\w.]+(?:\\\\s.)*$\"}", "\"a-b_.\"", "\"a b c\"", NULL, "\"a \"",
          "\" \"");
    TEXTS("{\"pattern\":\"^\"}", "\"\"", "\"xyz\"", NULL, "xyz");
    TEXTS("{\"pattern\":\"^$\"}", "\"\"", NULL, "\"x\"");
    TEXTS("{\"pattern\":\"^(|a)b{0}c{2}$\"}", "\"cc\"", "\"acc\"", NULL, "\"bcc\"", "\"ac\"");
}

static void test_arrays(void **state)
{
    (void)state;
    TEXTS("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[]", "[1]", "[1, 2,3]", NULL,
          "[\"a\"]", "[1,]", "[,1]");
    TEXTS("{\"items\":{\"const\":1},\"minItems\":2,\"maxItems\":3}", "[1,1]", "[1,1,1]", NULL,
          "[1]", "[1,1,1,1]", "[]");
    TEXTS("{\"items\":{\"const\":1},\"minItems\":1}", "[1]", "[1,1,1,1]", NULL, "[]");
    TEXTS("{\"items\":{\"const\":1},\"maxItems\":1}", "[]", "[1]", NULL, "[1,1]");
    TEXTS("{\"type\":\"array\",\"maxItems\":0}", "[]", NULL, "[1]");
    TEXTS("{\"type\":\"array\",\"items\":false}", "[]", "[ ]", NULL, "[1]");
    TEXTS("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"minItems\":2}", "[1,2]", NULL, "[1]",
          "[1,2,3]", "[2,1]");
    TEXTS("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3}}", "[]", "[1]",
          "[1,2]", "[1,2,3,3]", NULL, "[3]", "[1,3]");
    TEXTS("{\"prefixItems\":[{\"const\":1}],\"items\":{\"const\":3},\"minItems\":3,\"maxItems\":4}",
          "[1,3,3]", "[1,3,3,3]", NULL, "[1,3]", "[1,3,3,3,3]");
}

static void test_objects(void **state)
{
    (void)state;
    const char *ab =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
        "\"null\"},\"c\":{}},\"required\":[\"b\"]}";
    TEXTS(ab, "{\"b\":null}", "{\"a\": 1, \"b\":null}", "{\"a\":1,\"b\":null,\"c\":[2]}",
          "{\n  \"b\": null,\n  \"c\": \"x\"\n}", NULL, "{}", "{\"a\":1}", "{\"b\":null,\"a\":1}",
          "{\"b\":1}", "{\"b\":null,\"d\":1}", "{\"b\":null,}");
    TEXTS("{\"type\":\"object\"}", "{}", "{\"x\":1}", NULL, "[]");
    TEXTS("{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}}}", "{}", "{\"a\":1}",
          "{\"b\":2}", "{\"a\":1,\"b\":2}", NULL, "{\"b\":2,\"a\":1}", "{\"c\":1}");
    TEXTS("{\"type\":\"object\",\"additionalProperties\":{\"const\":1}}", "{}", "{\"x\":1,\"y\":1}",
          NULL, "{\"x\":2}");
    TEXTS("{\"type\":\"object\",\"additionalProperties\":false}", "{}", "{ }", NULL, "{\"x\":2}");
    TEXTS("{\"properties\":{\"ab\":{\"const\":1},\"ac-]\":{\"const\":2}},\"additionalProperties\":"
          "true}",
          "{}", "{\"ab\":1}", "{\"ab\":1,\"a\":3,\"\":4,\"abc\":0,\"ac-\":1}", "{\"x\":0}", NULL,
          "{\"ab\":2}", "{\"x\":1,\"ab\":2}", "{\"x\":1,\"ac-]\":1}", "{\"\\u0061b\":2}");
    TEXTS("{\"type\":\"object\",\"required\":[\"k\"]}", "{\"k\":1}", "{\"k\":1,\"z\":2}", NULL,
          "{}", "{\"z\":2}", "{\"k\":1,\"k\":2}");
    TEXTS("{\"required\":[\"k\"],\"additionalProperties\":{\"const\":1}}", "{\"k\":1}", NULL,
          "{\"k\":2}");
    TEXTS("{\"properties\":{\"a\\\"\\n\":{}},\"required\":[\"a\\\"\\n\"]}", "{\"a\\\"\\n\":1}",
          NULL, "{\"a\":1}");
}

static void test_references(void **state)
{
    (void)state;
    TEXTS("{\"$ref\":\"#/$defs/list\",\"$defs\":{\"list\":{\"anyOf\":[{\"type\":\"null\"},"
          "{\"properties\":{\"next\":{\"$ref\":\"#/$defs/list\"}},\"required\":[\"next\"]}]}}}",
          "null", "{\"next\":{\"next\":null}}", NULL, "{}", "{\"next\":1}");
    TEXTS("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", "[]", "[[],[[]]]", NULL, "[1]");
    TEXTS(
        "{\"items\":{\"$ref\":\"#/definitions/a~1b~0\"},\"definitions\":{\"a/b~\":{\"const\":7}}}",
        "[7,7]", NULL, "[1]");
    TEXTS("{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"properties\":{\"y\":{\"const\":2}},\"required\":"
          "[\"y\"]}],\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"const\":1}},"
          "\"required\":[\"x\"]}}}",
          "{\"x\":1,\"y\":2}", NULL, "{\"x\":1}", "{\"y\":2}");
    TEXTS("{\"allOf\":[{\"type\":\"string\"}],\"maxLength\":1}", "\"a\"", NULL, "\"ab\"", "1");
}

/* ---------------------------------------------------------------- against counting */

static void check_range(int64_t min, int64_t max, bool exclusive)
{
    char schema[160], text[32];
    const char *e = exclusive ? "exclusiveM" : "m";
    snprintf(schema, sizeof schema,
             "{\"type\":\"integer\",\"%sinimum\":%" PRId64 ",\"%saximum\":%" PRId64 "}", e,
             min - exclusive, e, max + exclusive);
    struct matcher *m = open_schema(schema);
    for (int64_t i = min - 120; i <= max + 120; i++) {
        if (i == min + 2000) {
            i = max - 2000 > i ? max - 2000 : i;
        }
        snprintf(text, sizeof text, "%" PRId64, i);
        if (accepts(m, text) != (i >= min && i <= max)) {
            fail_msg("%s: %s", schema, text);
        }
    }
    assert_false(accepts(m, "-0"));
    assert_false(accepts(m, "00"));
    matcher_close(m);
}

static void test_ranges(void **state)
{
    (void)state;
    uint64_t seed = 1;
    static const int64_t edges[] = { 0, 1, 9, 10, 11, 99, 100, 101, 199, 1000, 123456 };
    const size_t n = sizeof edges / sizeof *edges;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i; k < n; k++) {
            check_range(edges[i], edges[k], false);
            check_range(-edges[k], -edges[i], false);
            check_range(-edges[i], edges[k], true);
        }
    }
    for (int i = 0; i < 60; i++) {
        int64_t a = (int64_t)rig_random(&seed, 4000) - 2000,
                b = (int64_t)rig_random(&seed, 1000000) - 500000;
        check_range(a < b ? a : b, a < b ? b : a, false);
    }
    check_range(999999999999999900, 999999999999999999, false);
    TEXTS("{\"type\":\"integer\",\"minimum\":5}", "5", "10", "1234567890123456", NULL, "4", "0",
          "-7");
    TEXTS("{\"type\":\"integer\",\"maximum\":5}", "5", "0", "-99999", NULL, "6", "10");
    TEXTS("{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":2.5}", "1", "2", NULL, "0", "3");
    TEXTS("{\"type\":\"integer\",\"exclusiveMinimum\":0.5,\"exclusiveMaximum\":3}", "1", "2", NULL,
          "0", "3");
}

/* Random keys: the schema has one rule for its named properties and another for all other keys, and
 * each key must fall under the right one. */
static void test_names(void **state)
{
    (void)state;
    static const char letters[] = "ab]";
    uint64_t seed = 2;
    for (int round = 0; round < 100; round++) {
        char names[4][8] = { "" }, schema[400], text[64];
        size_t n = (size_t)snprintf(schema, sizeof schema,
                                    "{\"additionalProperties\":{\"const\":1},"
                                    "\"properties\":{");
        for (int i = 0; i < 4; i++) {
            bool again = true;
            while (again) {
                size_t len = 1 + rig_random(&seed, 3);
                for (size_t k = 0; k <= len; k++) {
                    names[i][k] = k < len ? letters[rig_random(&seed, 3)] : '\0';
                }
                again = false;
                for (int k = 0; k < i; k++) {
                    again |= strcmp(names[i], names[k]) == 0;
                }
            }
            n += (size_t)snprintf(schema + n, sizeof schema - n, "%s\"%s\":{\"const\":0}",
                                  i > 0 ? "," : "", names[i]);
        }
        snprintf(schema + n, sizeof schema - n, "}}");
        struct matcher *m = open_schema(schema);
        for (int k = 0; k < 200; k++) {
            char key[8] = "";
            bool known = false;
            for (uint32_t i = 0, len = rig_random(&seed, 5); i < len; i++) {
                key[i] = letters[rig_random(&seed, 3)];
                key[i + 1] = '\0';
            }
            for (int i = 0; i < 4; i++) {
                known |= strcmp(key, names[i]) == 0;
            }
            snprintf(text, sizeof text, "{\"%s\":1}", key);
            if (accepts(m, text) == known) {
                fail_msg("%s: %s", schema, text);
            }
        }
        matcher_close(m);
    }
}

/* ---------------------------------------------------------------- widened */

static struct matcher *open_wide(const char *schema, size_t n)
{
    struct bytes gbnf = { 0 };
    struct schema_error err;
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    if (!json_schema_grammar(schema, n, true, &gbnf, &err)) {
        fail_msg("schema %s: %s", schema, err.text);
    }
    OK(grammar_parse(gbnf.data, gbnf.n, &g, E));
    OK(matcher_open(g, &m, E));
    grammar_release(g);
    bytes_free(&gbnf);
    return m;
}

/* What is refused becomes wider by no more than it must. */
static void test_widened(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *good, *bad; /* NULL = nothing */
    } cases[] = {
        { "5", "[{}]", "x" },
        { "false", "null", "x" },
        { "[]", "1", "x" },
        { "{\"a\":1e999}", "1", "x" },
        { "{\"type\":\"integer\",\"multipleOf\":2}", "3", "\"3\"" },
        { "{\"type\":\"strin\"}", "3", "x" },
        { "{\"type\":[]}", "3", "x" },
        { "{\"type\":[\"strin\",\"integer\"]}", "3", "x" },
        { "{\"properties\":{\"a\":{\"not\":{}}}}", "{\"a\":3}", "{\"b\":3}" },
        { "{\"properties\":{\"a\":false,\"b\":{}}}", "{\"b\":3}", "{\"a\":3}" },
        { "{\"properties\":{\"a\":false},\"required\":[\"a\"]}", "{\"a\":3}", "{}" },
        { "{\"enum\":[]}", "3", "x" },
        { "{\"type\":\"string\",\"enum\":[1]}", "\"x\"", "1" },
        { "{\"enum\":[1,3],\"minimum\":2}", "1", "2" },
        { "{\"type\":[\"null\",\"string\"],\"const\":1}", "null", "1" },
        { "{\"allOf\":[]}", "3", "x" },
        { "{\"allOf\":[{\"allOf\":[{\"required\":[\"a\"]}]},{\"properties\":{\"a\":{}}}]}",
          "{\"a\":3}", "{}" },
        { "{\"type\":\"object\",\"allOf\":[3]}", "{\"q\":3}", "3" },
        { "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "\"\"", "3" },
        { "{\"allOf\":[{\"properties\":{\"a\":{\"const\":1}}},{\"properties\":{\"a\":{}}}]}",
          "{\"a\":1}", "{\"a\":2}" },
        { "{\"allOf\":[{\"additionalProperties\":false},{\"properties\":{\"a\":{}}}]}", "{\"a\":2}",
          "3" },
        { "{\"minItems\":3,\"maxItems\":2}", "[1]", "1" },
        { "{\"pattern\":3}", "\"x\"", "1" },
        { "{\"pattern\":\"a(?=b)\",\"maxLength\":2}", "\"xy\"", "\"xyz\"" },
        { "{\"pattern\":\"^a$\",\"maxLength\":2}", "\"a\"", "\"b\"" },
        { "{\"pattern\":\"^(a{9999}){9999}$\"}", "\"b\"", "3" },
        { "{\"pattern\":\"^a{99999999999999999999}$\"}", "\"b\"", "3" },
        { "{\"pattern\":\"[^ -\xf4\x8f\xbf\xbf]\"}", "\"b\"", "3" },
        { "{\"format\":\"email\"}", "\"b\"", "3" },
        { "{\"format\":\"uuid\",\"pattern\":\"(\"}", NULL, "\"b\"" },
        { "{\"anyOf\":[{}],\"type\":\"null\"}", "3", "x" },
        { "{\"anyOf\":[{\"required\":[\"a\"]}],\"properties\":{\"a\":{},\"b\":{}}}", "{\"b\":1}",
          "{\"c\":1}" },
        { "{\"anyOf\":{},\"type\":\"null\"}", "null", "3" },
        { "{\"$ref\":\"other.json\"}", "3", "x" },
        { "{\"$ref\":\"#\"}", "3", "x" },
        { "{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#\"}]}", "null", "x" },
        { "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"required\":[\"b\"],\"properties\":{"
          "\"b\":{\"$ref\":\"#/$defs/a\"}}}}}",
          "3", "x" },
        { "{\"type\":\"string\",\"minLength\":-1,\"maxLength\":1}", "\"\"", "\"ab\"" },
        { "{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "\"\"", "1" },
        { "{\"type\":\"number\",\"minimum\":3,\"maximum\":3}", "4", "-1" },
        { "{\"type\":\"number\",\"minimum\":-3}", "-4", "x" },
        { "{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "-1", "1.5" },
        { "{\"type\":\"integer\",\"maximum\":1e30}", "-1", "1.5" },
        { "{\"items\":[{}]}", "[1]", "1" },
        { "{\"prefixItems\":[]}", "[1]", "1" },
        { "{\"prefixItems\":[{\"const\":1}],\"minItems\":2}", "[1]", "[2]" },
        { "{\"properties\":3}", "{\"a\":1}", "1" },
        { "{\"required\":[3]}", "{}", "1" },
        { "{\"properties\":{},\"required\":[\"x\"]}", "{\"x\":1}", "{}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct matcher *m = open_wide(cases[i].schema, strlen(cases[i].schema));
        if ((cases[i].good != NULL && !accepts(m, cases[i].good)) || accepts(m, cases[i].bad)) {
            fail_msg("schema %s", cases[i].schema);
        }
        matcher_close(m);
    }
    matcher_close(open_wide("\"\\u0000\"", 8));
    struct bytes gbnf = { 0 };
    struct schema_error err;
    assert_false(json_schema_grammar("{", 1, true, &gbnf, &err));
    assert_true(err.text[0] != '\0');
}

/* Lengths above 2,000 have no bound. Where a grammar would be too large, a bound goes. */
static void test_widened_lengths(void **state)
{
    (void)state;
    char text[2100] = "\"", schema[100];
    memset(text + 1, 'x', sizeof text - 1);
    for (size_t most = 2000; most <= 2001; most++) {
        snprintf(schema, sizeof schema, "{\"type\":\"string\",\"maxLength\":%zu}", most);
        struct matcher *m = open_wide(schema, strlen(schema));
        memcpy(text + most + 1, "\"", 2);
        assert_true(accepts(m, text));
        text[most + 1] = 'x';
        memcpy(text + most + 2, "\"", 2);
        assert_int_equal(accepts(m, text), most > 2000);
        text[most + 2] = 'x';
        matcher_close(m);
    }
}

/* Returns the grammar of n schemas {"a": string of maxLength} and one of {"b": null}. */
static void check_several(size_t n, size_t max_length, enum schema_level expected)
{
    struct schema_item items[200];
    struct bytes gbnf = { 0 };
    struct grammar *g = NULL;
    const struct schema_size room = { SCHEMA_TEXT / 2, SCHEMA_RULES / 2, SCHEMA_ELEMENTS / 2 };
    json_t *a = json_pack("{s:{s:{s:s,s:i}}}", "properties", "a", "type", "string", "maxLength",
                          (int)max_length);
    json_t *b = json_pack("{s:{s:{s:s}}}", "properties", "b", "type", "null");
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct schema_item){ .root = a, .at = a, .object = true };
    }
    items[n] = (struct schema_item){ .root = b, .at = b, .object = true };
    assert_true(json_schema_items(items, n + 1, room, &gbnf));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(items[i].level, expected);
    }
    assert_int_equal(items[n].level, SCHEMA_WIDE);
    char root[64];
    int len = snprintf(root, sizeof root, "root ::= %s | %s\n", items[0].rule, items[n].rule);
    assert_true(bytes_add(&gbnf, root, (size_t)len));
    OK(grammar_parse(gbnf.data, gbnf.n, &g, E));
    grammar_release(g);
    bytes_free(&gbnf);
    json_decref(a);
    json_decref(b);
}

static void test_several(void **state)
{
    (void)state;
    check_several(10, 10000, SCHEMA_WIDE);
    check_several(20, 2000, SCHEMA_WIDE);
    check_several(40, 2000, SCHEMA_PLAIN);
    check_several(199, 10000, SCHEMA_WIDE);
}

/* A scalar, an array or an absent schema as the arguments of a tool: an object comes out. */
static void test_only_objects(void **state)
{
    (void)state;
    static const char *const schemas[] = { "3",
                                           "true",
                                           "{\"type\":\"string\"}",
                                           "{}",
                                           "{\"anyOf\":[{\"type\":\"object\"},{}]}",
                                           "{\"$ref\":\"#\"}" };
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct bytes gbnf = { 0 };
        json_t *schema = json_loads(schemas[i], JSON_DECODE_ANY, NULL);
        struct schema_item item = { .root = schema, .at = schema, .object = true };
        const struct schema_size room = { SCHEMA_TEXT, SCHEMA_RULES, SCHEMA_ELEMENTS };
        assert_true(json_schema_items(&item, 1, room, &gbnf));
        assert_string_equal(item.rule, "object");
        bytes_free(&gbnf);
        json_decref(schema);
    }
}

/* ---------------------------------------------------------------- refusals */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *place, *what;
    } cases[] = {
        { "{", "line 1", "" },
        { "{\"a\":1,\"a\":2}", "line 1", "duplicate" },
        { "5", "#: ", "expected a schema" },
        { "false", "#: ", "allows nothing" },
        { "{\"type\":\"strin\"}", "#: ", "'strin' is unknown" },
        { "{\"type\":[]}", "#: ", "type: expected" },
        { "{\"type\":[1]}", "#: ", "type: expected" },
        { "{\"properties\":{\"a/b\":{\"items\":{\"not\":{}}}}}",
          "#/properties/a~1b/items: ", "'not' is not supported" },
        { "{\"type\":\"array\",\"uniqueItems\":true}", "#: ", "'uniqueItems'" },
        { "{\"anyOf\":[{},{\"multipleOf\":2}]}", "#/anyOf/1: ", "'multipleOf'" },
        { "{\"patternProperties\":{}}", "#: ", "'patternProperties'" },
        { "{\"requird\":[]}", "#: ", "'requird'" },
        { "{\"enum\":[]}", "#: ", "enum" },
        { "{\"enum\":[1],\"minimum\":0}", "#: ", "minimum beside enum" },
        { "{\"type\":\"string\",\"const\":1}", "#: ", "another type" },
        { "{\"type\":\"nul\",\"const\":null}", "#: ", "another type" },
        { "{\"type\":\"nul\",\"enum\":[null]}", "#: ", "value of the type" },
        { "{\"allOf\":[]}", "#: ", "allOf: expected" },
        { "{\"allOf\":[{\"allOf\":[{}]},{}]}", "#: ", "only schemas of objects" },
        { "{\"minItems\":3,\"maxItems\":2}", "#: ", "minItems is 3" },
        { "{\"pattern\":3}", "#: ", "pattern: expected" },
        { "{\"pattern\":\"[[]\"}", "#: ", "[ in a class" },
        { "{\"pattern\":\"[b-a]\"}", "#: ", "this range" },
        { "{\"anyOf\":[{}],\"type\":\"object\"}", "#: ", "type beside anyOf" },
        { "{\"anyOf\":{}}", "#: ", "anyOf: expected" },
        { "{\"$ref\":\"other.json\"}", "#: ", "'other.json'" },
        { "{\"$ref\":\"#/$defs/x\"}", "#: ", "'#/$defs/x'" },
        { "{\"items\":{\"$ref\":\"#\",\"minItems\":1}}", "#/items: ", "minItems beside $ref" },
        { "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "#: ", "type is there twice" },
        { "{\"allOf\":[{\"properties\":{\"a\":{}}},{\"properties\":{\"a\":true}}]}",
          "#: ", "property 'a'" },
        { "{\"allOf\":[{\"additionalProperties\":false},{\"properties\":{}}]}",
          "#: ", "additionalProperties with allOf" },
        { "{\"type\":\"string\",\"minLength\":-1}", "#: ", "minLength" },
        { "{\"type\":\"string\",\"maxLength\":10001}", "#: ", "10000" },
        { "{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "#: ", "minLength is 3" },
        { "{\"type\":\"string\",\"format\":\"email\"}", "#: ", "'email'" },
        { "{\"type\":\"string\",\"format\":\"date\",\"maxLength\":3}", "#: ", "only one" },
        { "{\"type\":\"number\",\"maximum\":3}", "#: ", "maximum of a number" },
        { "{\"type\":\"number\",\"minimum\":3}", "#: ", "minimum of a number" },
        { "{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "#: ", "no integer" },
        { "{\"type\":\"integer\",\"minimum\":\"3\"}", "#: ", "minimum: expected" },
        { "{\"type\":\"integer\",\"maximum\":1e30}", "#: ", "18 digits" },
        { "{\"items\":[{}]}", "#: ", "prefixItems" },
        { "{\"prefixItems\":[]}", "#: ", "prefixItems" },
        { "{\"prefixItems\":[{}],\"minItems\":2}", "#: ", "minItems" },
        { "{\"items\":false,\"minItems\":1}", "#: ", "minItems" },
        { "{\"properties\":3}", "#: ", "properties" },
        { "{\"required\":[3]}", "#: ", "required" },
        { "{\"properties\":{},\"required\":[\"x\"]}", "#: ", "'x'" },
        { "{\"pattern\":\"a(?=b)\"}", "#: ", "byte 3" },
        { "{\"pattern\":\"(a\"}", "#: ", "without end" },
        { "{\"pattern\":\"a)\"}", "#: ", "this )" },
        { "{\"pattern\":\"[a\"}", "#: ", "this class" },
        { "{\"pattern\":\"[A-z]\"}", "#: ", "range that holds" },
        { "{\"pattern\":\"a**\"}", "#: ", "second repetition" },
        { "{\"pattern\":\"*a\"}", "#: ", "repetition" },
        { "{\"pattern\":\"a{x}\"}", "#: ", "this repetition" },
        { "{\"pattern\":\"\\\\bx\"}", "#: ", "this escape" },
        { "{\"pattern\":\"a^b\"}", "#: ", "anchor" },
        { "{\"pattern\":\"^a|b\"}", "#: ", "beside a |" },
        { "{\"pattern\":\"\\\"\"}", "#: ", "escaped in JSON" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes gbnf = { 0 };
        struct schema_error err;
        if (json_schema_grammar(cases[i].schema, strlen(cases[i].schema), false, &gbnf, &err)) {
            fail_msg("schema %s is accepted", cases[i].schema);
        }
        if (strncmp(err.text, cases[i].place, strlen(cases[i].place)) != 0 ||
            strstr(err.text, cases[i].what) == NULL) {
            fail_msg("schema %s: '%s', expected '%s' and '%s'", cases[i].schema, err.text,
                     cases[i].place, cases[i].what);
        }
        bytes_free(&gbnf);
    }
    /* Schemas lie in schemas, as deep as the parser goes. */
    char deep[2000] = "";
    for (int i = 0; i < 210; i++) {
        memcpy(deep + i * 9, "{\"items\":", 9);
    }
    memcpy(deep + 1890, "1", 2);
    memset(deep + 1891, '}', 100);
    struct bytes gbnf = { 0 };
    struct schema_error err;
    assert_false(json_schema_grammar(deep, strlen(deep), false, &gbnf, &err));
    bytes_free(&gbnf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_strings),
        cmocka_unit_test(test_dates),      cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_arrays),     cmocka_unit_test(test_objects),
        cmocka_unit_test(test_references), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_widened),    cmocka_unit_test(test_widened_lengths),
        cmocka_unit_test(test_several),    cmocka_unit_test(test_only_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
