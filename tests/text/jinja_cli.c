/* Renders chat templates for the comparison with jinja2. usage: jinja_cli [--time N]. It reads
 * lines of JSON from standard input and writes a line for each:
 *
 *   in   {"template": source, "vars": {...}, "template_vars": {...}, "marked": [key or index...],
 *         "now": seconds}
 *   out  {"text": ..., "runs": [[bytes, who]...]}, or {"fault": ..., "message": ...}
 *
 * Without "template" a line means the template of the line before. The template is the author of
 * template_vars, a caller that of vars. "marked" is the way from vars to a string, as in
 * ["messages", 0, "content"]. With --time, each line is rendered N times, and the answer also has
 * "seconds", the least time of them, and "parse_seconds". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/jinja.h"

enum { MAX_VARS = 64 };

static const char *const faults[] = { "ok",      "syntax", "raised",   "undefined",
                                      "runtime", "limit",  "no memory" };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    fprintf(stderr, "jinja_cli: %s\n", what);
    exit(2);
}

/* The template of the last line that had one. */
struct source {
    struct jinja *parsed; /* NULL = refused, for the reason in err */
    weft_error err;
    double seconds;
};

static void read_source(struct source *s, const json_t *line)
{
    const json_t *text = json_object_get(line, "template");
    if (text == NULL) {
        return;
    }
    jinja_close(s->parsed);
    s->parsed = NULL;
    const double start = now();
    jinja_parse(json_string_value(text), json_string_length(text), &s->parsed, &s->err);
    s->seconds = now() - start;
}

static const json_t *find(const json_t *value, const json_t *way)
{
    for (size_t i = 0; i < json_array_size(way) && value != NULL; i++) {
        const json_t *step = json_array_get(way, i);
        value = json_is_string(step) ? json_object_get(value, json_string_value(step))
                                     : json_array_get(value, (size_t)json_integer_value(step));
    }
    return value;
}

static size_t add_vars(struct jinja_var *vars, size_t n, json_t *object, uint8_t who)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (n == MAX_VARS) {
            fail("too many variables");
        }
        vars[n++] = (struct jinja_var){ name, value, who };
    }
    return n;
}

static json_t *refusal(enum jinja_fault fault, const weft_error *err)
{
    return json_pack("{s:s, s:s}", "fault", faults[fault], "message", err->message);
}

static json_t *rendering(const struct jinja_text *t)
{
    json_t *runs = json_array();
    for (size_t i = 0; i < t->n_runs; i++) {
        json_array_append_new(runs,
                              json_pack("[I, i]", (json_int_t)t->runs[i].n, (int)t->runs[i].who));
    }
    json_t *text = json_stringn(t->text.n ? t->text.data : "", t->text.n);
    if (text == NULL) {
        fail("a rendered text is not UTF-8");
    }
    return json_pack("{s:o, s:o}", "text", text, "runs", runs);
}

static json_t *render(const struct jinja *parsed, const struct jinja_params *p, int times)
{
    struct jinja_text text = { 0 };
    enum jinja_fault fault = JINJA_OK;
    weft_error err;
    double least = 1e30;
    weft_status status = WEFT_OK;
    for (int i = 0; i < (times ? times : 1); i++) {
        const double start = now();
        status = jinja_render(parsed, p, &text, &fault, &err);
        const double took = now() - start;
        least = took < least ? took : least;
    }
    if ((status == WEFT_OK) != (fault == JINJA_OK)) {
        fail("the status and the fault of a rendering contradict each other");
    }
    json_t *answer = status == WEFT_OK ? rendering(&text) : refusal(fault, &err);
    jinja_text_free(&text);
    if (times) {
        json_object_set_new(answer, "seconds", json_real(least));
    }
    return answer;
}

static json_t *answer_to(struct source *s, const json_t *line, int times)
{
    struct jinja_var vars[MAX_VARS];
    json_t *given = json_object_get(line, "vars");
    read_source(s, line);
    if (s->parsed == NULL) {
        return refusal(JINJA_SYNTAX, &s->err);
    }
    size_t n = add_vars(vars, 0, given, JINJA_CALLER);
    n = add_vars(vars, n, json_object_get(line, "template_vars"), JINJA_TEMPLATE);
    const json_t *way = json_object_get(line, "marked");
    const struct jinja_writer marked = { way != NULL ? find(given, way) : NULL, JINJA_MARKED };
    const struct jinja_params p = { .vars = vars,
                                    .n_vars = n,
                                    .writers = &marked,
                                    .n_writers = 1,
                                    .now = json_integer_value(json_object_get(line, "now")) };
    json_t *answer = render(s->parsed, &p, times);
    if (times) {
        json_object_set_new(answer, "parse_seconds", json_real(s->seconds));
    }
    return answer;
}

int main(int argc, char **argv)
{
    const int times = argc == 3 && strcmp(argv[1], "--time") == 0 ? atoi(argv[2]) : 0;
    struct source source = { 0 };
    char *text = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&text, &cap, stdin)) > 0;) {
        json_error_t err;
        json_t *line = json_loadb(text, (size_t)n, JSON_ALLOW_NUL, &err);
        if (line == NULL) {
            fail(err.text);
        }
        json_t *answer = answer_to(&source, line, times);
        if (json_dumpf(answer, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
            fflush(stdout) != 0) {
            fail("an answer cannot be written");
        }
        json_decref(answer);
        json_decref(line);
    }
    jinja_close(source.parsed);
    free(text);
    return 0;
}
