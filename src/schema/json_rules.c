/* The parts of a schema's grammar that need only numbers, names or texts. */
#include "schema/json_rules.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---------------------------------------------------------------- text */

void schema_put(struct schema *c, struct bytes *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !text_reserve(b, (size_t)n + 1)) {
        c->no_memory = true;
        return;
    }
    va_start(args, fmt);
    vsnprintf(b->data + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}

bool json_gbnf_literal(struct bytes *b, const char *text, size_t n)
{
    bool ok = text_add(b, "\"", 1);
    for (size_t i = 0; i < n && ok; i++) {
        unsigned char byte = (unsigned char)text[i];
        char escape[8];
        bool escaped = byte == '"' || byte == '\\' || byte < 0x20 || byte == 0x7f;
        snprintf(escape, sizeof escape, byte < 0x20 || byte == 0x7f ? "\\x%02X" : "\\%c", byte);
        ok = text_add(b, escaped ? escape : text + i, escaped ? strlen(escape) : 1);
    }
    return ok && text_add(b, "\"", 1);
}

void schema_literal(struct schema *c, struct bytes *b, const char *text, size_t n)
{
    c->no_memory |= !json_gbnf_literal(b, text, n);
}

void schema_rule(struct schema *c, size_t rule, struct bytes *b)
{
    schema_put(c, c->out, "s%zu ::= ", rule);
    if (!text_add(c->out, b->n > 0 ? b->data : "\"\"", b->n > 0 ? b->n : 2)) {
        c->no_memory = true;
    }
    schema_put(c, c->out, "\n");
    b->n = 0;
}

void schema_times(struct schema *c, struct bytes *b, size_t min, size_t max)
{
    if (max == SIZE_MAX) {
        schema_put(c, b, "{%zu,}", min);
    } else {
        schema_put(c, b, "{%zu,%zu}", min, max);
    }
}

bool schema_refuse(struct schema *c, const char *fmt, ...)
{
    char what[200];
    va_list args;
    if (c->level != SCHEMA_EXACT) {
        return true;
    }
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    int n = (int)c->path.n;
    snprintf(c->err->text, sizeof c->err->text, "#%.*s: %s", n < 100 ? n : 100,
             c->path.n > 0 ? c->path.data : "", what);
    return false;
}

/* ---------------------------------------------------------------- common rules */

void json_common_rules(struct schema *c)
{
    schema_put(c, c->out, "%s",
               "value ::= object | array | string | number | boolean | null\n"
               "object ::= \"{\" ws (member (\",\" ws member)*)? \"}\"\n"
               "member ::= string ws \":\" ws value ws\n"
               "array ::= \"[\" ws (value ws (\",\" ws value ws)*)? \"]\"\n"
               "string ::= \"\\\"\" char* \"\\\"\"\n"
               "char ::= " JSON_PLAIN "] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" unit)\n"
               /* surrogates only as whole pairs */
               "unit ::= [0-9a-cefA-CEF] hex{3} | [dD] ([0-7] hex{2} | "
               "[89abAB] hex{2} \"\\\\u\" [dD] [c-fC-F] hex{2})\n"
               "hex ::= [0-9a-fA-F]\n"
               "natural ::= \"0\" | [1-9] [0-9]{0,15}\n"
               "integer ::= \"-\"? natural\n"
               "fraction ::= (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
               "number ::= \"-\"? natural fraction\n"
               "boolean ::= \"true\" | \"false\"\n"
               "null ::= \"null\"\n"
               /* only days that exist: of the multiples of 100, those of 400 are leap years */
               "date ::= [0-9]{4} \"-\" day | "
               "([0-9]{2} leap | (leap | \"00\") \"00\") \"-02-29\"\n"
               "leap ::= \"0\" [48] | [2468] [048] | [13579] [26]\n"
               "day ::= (\"0\" [13578] | \"1\" [02]) \"-\" (day28 | \"29\" | \"3\" [01]) | "
               "(\"0\" [469] | \"11\") \"-\" (day28 | \"29\" | \"30\") | \"02-\" day28\n"
               "day28 ::= \"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]\n"
               "clock ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]\n"
               "time ::= clock \":\" [0-5] [0-9] (\".\" [0-9]{1,6})? (\"Z\" | [-+] clock)\n"
               "uuid ::= hex{8} (\"-\" hex{4}){3} \"-\" hex{12}\n"
               "ws ::= \"\" | \" \" | \"\\n\" [ \\t]{0,20}\n");
}

/* ---------------------------------------------------------------- integers */

static bool all(const char *digits, size_t n, char digit)
{
    for (size_t i = 0; i < n; i++) {
        if (digits[i] != digit) {
            return false;
        }
    }
    return true;
}

static void any_digits(struct schema *c, struct bytes *b, char first, char last, size_t n)
{
    schema_put(c, b, "[%c-%c]", first, last);
    if (n > 0) {
        schema_put(c, b, " [0-9]{%zu}", n);
    }
}

/* Appends the numbers from min to max, both of n digits, split by their first digit. */
static void same_length(struct schema *c, struct bytes *b, const char *min, const char *max,
                        size_t n)
{
    char least[24], most[24];
    if (n == 0) {
        return;
    }
    memset(least, '0', sizeof least);
    memset(most, '9', sizeof most);
    char low = min[0], high = max[0];
    if (low == high) {
        schema_put(c, b, "\"%c\" ", low);
        same_length(c, b, min + 1, max + 1, n - 1);
        return;
    }
    bool from_zero = all(min + 1, n - 1, '0'), to_nine = all(max + 1, n - 1, '9');
    schema_put(c, b, "(");
    if (!from_zero) {
        schema_put(c, b, "\"%c\" ", low++);
        same_length(c, b, min + 1, most, n - 1);
        schema_put(c, b, " | ");
    }
    char last = to_nine ? high : (char)(high - 1);
    if (low <= last) {
        any_digits(c, b, low, last, n - 1);
    }
    if (!to_nine) {
        schema_put(c, b, "%s\"%c\" ", low <= last ? " | " : "", high);
        same_length(c, b, least, max + 1, n - 1);
    }
    schema_put(c, b, ")");
}

/* 0 <= min <= max. */
static void natural_range(struct schema *c, struct bytes *b, uint64_t min, uint64_t max)
{
    char low[24], high[24];
    int n_max = snprintf(high, sizeof high, "%" PRIu64, max);
    for (const char * or = ""; min <= max; or = " | ") {
        int n = snprintf(low, sizeof low, "%" PRIu64, min);
        char last[24];
        memset(last, '9', sizeof last);
        schema_put(c, b, "%s", or);
        same_length(c, b, low, n == n_max ? high : last, (size_t)n);
        if (n == n_max) {
            return;
        }
        for (min = 1; n > 0; n--) {
            min *= 10;
        }
    }
}

void json_range(struct schema *c, struct bytes *b, int64_t min, int64_t max)
{
    if (min < 0) {
        uint64_t least = max < 0 ? (uint64_t)-max : 1;
        schema_put(c, b, "\"-\" (");
        natural_range(c, b, least, -(uint64_t)min);
        schema_put(c, b, ")%s", max >= 0 ? " | " : "");
    }
    if (max >= 0) {
        natural_range(c, b, min > 0 ? (uint64_t)min : 0, (uint64_t)max);
    }
}

/* ---------------------------------------------------------------- keys */

enum { MAX_NAME = 256 };

/* Returns the bytes of the character at text, which is UTF-8 and ends with NUL. */
static size_t length_at(const char *text)
{
    size_t len;
    utf8_next(text, UTF8_MAX, &len);
    return len;
}

/* Appends a character inside a class. */
static void put_member(struct schema *c, struct bytes *b, const char *text, size_t n)
{
    schema_put(c, b, "%s%.*s", strchr("[]-^", *text) != NULL ? "\\" : "", (int)n, text);
}

/* Makes a rule for the rest of a name: names[n] begin with the same `at` bytes, and the rule allows
 * what may follow these. */
static bool keys_from(struct schema *c, const char **names, size_t n, size_t at, size_t *rule)
{
    struct bytes b = { 0 }, others = { 0 };
    bool ends = false, ok = true;
    if (c->out->n > SCHEMA_MAX_BYTES &&
        !schema_refuse(c, "the grammar has more than %d bytes", SCHEMA_MAX_BYTES)) {
        return false;
    }
    *rule = c->n_rules++;
    for (size_t i = 0; i < n && ok;) {
        if (names[i][at] == '\0') {
            ends = true;
            i++;
            continue;
        }
        size_t len = length_at(names[i] + at), k = i, below;
        while (k < n && strncmp(names[k] + at, names[i] + at, len) == 0) {
            k++;
        }
        ok = keys_from(c, names + i, k - i, at + len, &below);
        schema_put(c, &b, "[");
        put_member(c, &b, names[i] + at, len);
        schema_put(c, &b, "] s%zu | ", below);
        put_member(c, &others, names[i] + at, len);
        i = k;
    }
    schema_put(c, &b, JSON_PLAIN "%.*s] " JSON_PLAIN "]*%s", (int)others.n,
               others.n > 0 ? others.data : "", ends ? "" : " | \"\"");
    schema_rule(c, *rule, &b);
    bytes_free(&b);
    bytes_free(&others);
    return ok;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool json_other_keys(struct schema *c, const char **names, size_t n, size_t *rule)
{
    size_t kept = 0;
    *rule = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        bool escaped = strpbrk(names[i], "\"\\\x7f") != NULL;
        for (const char *t = names[i]; *t != '\0' && !escaped; t++) {
            escaped = (unsigned char)*t < 0x20;
        }
        if (strlen(names[i]) > MAX_NAME) {
            return schema_refuse(c, "a property's name has more than %d bytes", MAX_NAME);
        }
        /* Names with escapes are left out: a key without escapes cannot be equal to them. */
        names[kept] = names[i];
        kept += !escaped;
    }
    qsort(names, kept, sizeof *names, by_text);
    return keys_from(c, names, kept, 0, rule);
}
