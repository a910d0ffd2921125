/* jinja*.c against jinja2: the small templates of tests/text/jinja, whose results
 * tools/parity/snippets.py has recorded, and which says what their lines mean. Where Weft differs
 * on purpose, a line that begins with `weft` says how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/jinja.h"

#define FOLDER "tests/text/jinja/"

enum { NOW = 1700000000, MAX_VARS = 8 };

static const char *const faults[] = { "ok",      "syntax", "raised",   "undefined",
                                      "runtime", "limit",  "no memory" };

/* A fault and its words, or a text: what is expected, and what happened. */
struct outcome {
    char fault[16]; /* "" = the text */
    struct bytes text;
};

struct snippet {
    char name[160];
    struct bytes source;
    json_t *vars;
    struct outcome expected, weft;
    bool given, differs;
};

static void snippet_clear(struct snippet *s)
{
    bytes_free(&s->source);
    bytes_free(&s->expected.text);
    bytes_free(&s->weft.text);
    json_decref(s->vars);
    memset(s, 0, sizeof *s);
}

/* Reads a JSON string at the begin of `line`, and adds it to `out`. */
static void add_string(const char *line, struct bytes *out)
{
    json_error_t err;
    json_t *text =
        json_loads(line, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &err);
    assert_true(json_is_string(text));
    assert_true(bytes_add(out, json_string_value(text), json_string_length(text)));
    json_decref(text);
}

/* `line` is a JSON string, or a kind of fault, with or without words. */
static void read_outcome(const char *line, struct outcome *o)
{
    const size_t n = strcspn(line, " :");
    if (*line == '"') {
        add_string(line, &o->text);
        return;
    }
    assert_true(n < sizeof o->fault);
    memcpy(o->fault, line, n);
    if (strncmp(line + n, " \"", 2) == 0) {
        add_string(line + n + 1, &o->text);
    }
}

static bool is(const char **line, const char *word)
{
    const size_t n = strlen(word);
    const bool same = strncmp(*line, word, n) == 0;
    *line += same ? n : 0;
    return same;
}

static void read_line(struct snippet *s, const char *line)
{
    json_error_t err;
    if (is(&line, "|")) {
        assert_true(!s->given || bytes_add(&s->source, "\n", 1));
        assert_true(bytes_add(&s->source, line, strlen(line)));
        s->given = true;
    } else if (is(&line, "json ")) {
        add_string(line, &s->source);
    } else if (is(&line, "vars ")) {
        s->vars = json_loads(line, JSON_ALLOW_NUL, &err);
        assert_non_null(s->vars);
    } else if (is(&line, "text ") || is(&line, "fault ")) {
        read_outcome(line, &s->expected);
    } else if (is(&line, "weft ")) {
        s->differs = true;
        read_outcome(line, &s->weft);
    }
}

static void render(const struct snippet *s, struct outcome *o)
{
    struct jinja_var vars[MAX_VARS];
    struct jinja_params p = { .vars = vars, .now = NOW };
    struct jinja_text text = { 0 };
    struct jinja *t = NULL;
    enum jinja_fault fault = JINJA_SYNTAX;
    weft_error err;
    const char *name;
    json_t *value;
    json_object_foreach(s->vars, name, value)
    {
        assert_true(p.n_vars < MAX_VARS);
        vars[p.n_vars++] = (struct jinja_var){ name, value, JINJA_CALLER };
    }
    if (jinja_parse(s->source.data ? s->source.data : "", s->source.n, &t, &err) == WEFT_OK) {
        jinja_render(t, &p, &text, &fault, &err);
    }
    jinja_close(t);
    strcpy(o->fault, fault == JINJA_OK ? "" : faults[fault]);
    o->text = text.text;
    memset(&text.text, 0, sizeof text.text);
    jinja_text_free(&text);
    if (fault != JINJA_OK) {
        assert_true(bytes_add(&o->text, err.message, strlen(err.message)));
    }
}

/* Messages lose their middle if they are too long, and control characters. */
static bool same_words(const struct bytes *expected, const struct bytes *found)
{
    struct bytes clean = { 0 };
    weft_error err;
    assert_true(text_add(&clean, expected->n ? expected->data : "", expected->n));
    error_set(&err, WEFT_E_ARG, "%s", clean.data ? clean.data : "");
    bytes_free(&clean);
    return found->n == strlen(err.message) && memcmp(found->data, err.message, found->n) == 0;
}

static bool same(const struct outcome *expected, const struct outcome *found)
{
    if (strcmp(expected->fault, found->fault) != 0) {
        return false;
    }
    if (*expected->fault != '\0') {
        return strcmp(expected->fault, "raised") != 0 || same_words(&expected->text, &found->text);
    }
    return expected->text.n == found->text.n &&
           (found->text.n == 0 ||
            memcmp(expected->text.data, found->text.data, found->text.n) == 0);
}

static void print_outcome(const char *who, const struct outcome *o)
{
    json_t *text = json_stringn(o->text.n ? o->text.data : "", o->text.n);
    char *shown = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    printf("  %s %s %s\n", who, o->fault, shown ? shown : "(not UTF-8)");
    free(shown);
    json_decref(text);
}

/* Returns 1 if the snippet is not rendered as it should be. */
static int check(const char *file, const struct snippet *s)
{
    struct outcome found = { 0 };
    int bad = 0;
    render(s, &found);
    if (!same(s->differs ? &s->weft : &s->expected, &found)) {
        bad = 1;
        printf("%s: %s\n", file, s->name);
        print_outcome("expected", s->differs ? &s->weft : &s->expected);
        print_outcome("found   ", &found);
    } else if (s->differs && same(&s->expected, &found)) {
        bad = 1;
        printf("%s: %s: the line `weft` says what jinja2 does, too\n", file, s->name);
    }
    bytes_free(&found.text);
    return bad;
}

/* Checks all snippets of a file, and says which are bad. */
static void check_file(const char *file)
{
    char path[128], *line = NULL;
    struct snippet s = { 0 };
    size_t cap = 0;
    int n = 0, n_bad = 0;
    snprintf(path, sizeof path, FOLDER "%s", file);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    for (ssize_t length; (length = getline(&line, &cap, in)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "== ", 3) == 0) {
            n_bad += n++ > 0 ? check(file, &s) : 0;
            snippet_clear(&s);
            snprintf(s.name, sizeof s.name, "%s", line + 3);
        } else {
            read_line(&s, line);
        }
    }
    n_bad += check(file, &s);
    snippet_clear(&s);
    free(line);
    fclose(in);
    printf("%s: %d snippets\n", file, n);
    assert_int_equal(n_bad, 0);
}

#define FILES(X)                                                                                   \
    X(filters)                                                                                     \
    X(formats) X(json) X(loops) X(macros) X(scopes) X(space) X(strings) X(tests) X(undefined)      \
        X(values)

#define TEST(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        check_file(#name ".txt");                                                                  \
    }
FILES(TEST)

int main(void)
{
#define UNIT(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = { FILES(UNIT) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
