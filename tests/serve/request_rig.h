/* For the tests of requests and answers: a scope of a tiny model, requests that must be read or
 * refused, and a sink that keeps what it gets as lines. In the texts of JSON ' stands for ". */
#ifndef REQUEST_RIG_H
#define REQUEST_RIG_H

#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/mem.h"
#include "serve/answer.h"
#include "support/models.h"
#include "support/rig.h"

#define WORDS_TEMPLATE                                                                             \
    "{% if tools %}{{ tools }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% "  \
    "endfor %}"                                                                                    \
    "{% if reasoning_effort %}({{ reasoning_effort }}){% endif %}"                                 \
    "{% if enable_thinking is defined %}[{{ enable_thinking }}]{% endif %}"                        \
    "{% if add_generation_prompt %}<assistant>{% endif %}{# <tool_call></tool_call> #}"
static const char plain_template[] = WORDS_TEMPLATE;
static const char thinking_template[] = WORDS_TEMPLATE "{# <think></think> #}";

struct request_rig {
    struct rig rig;
    struct scope scope;
};

static inline void request_rig_open(struct request_rig *r, const char *path)
{
    const weft_engine_params params = {
        .size = sizeof params, .device = "cpu", .n_threads = 1, .n_ctx = 256
    };
    weft_sampling sampling = WEFT_SAMPLING_INIT;
    *r = (struct request_rig){ .rig = rig_open(path, &params) };
    r->scope = (struct scope){ .path = path,
                               .alias = "tiny",
                               .template_source = plain_template,
                               .n_template_source = strlen(plain_template),
                               .sampling = sampling,
                               .n_predict = SIZE_MAX,
                               .model = r->rig.model,
                               .engine = r->rig.engine };
    r->scope.info.size = sizeof r->scope.info;
    r->scope.engine_info.size = sizeof r->scope.engine_info;
    OK(weft_model_get_info(r->rig.model, &r->scope.info, E));
    OK(weft_engine_get_info(r->rig.engine, &r->scope.engine_info, E));
    assert_true(scope_complete(&r->scope));
}

static inline void request_rig_template(struct request_rig *r, const char *source)
{
    r->scope.template_source = source;
    r->scope.n_template_source = strlen(source);
}

static inline void request_rig_close(struct request_rig *r)
{
    scope_free(&r->scope);
    rig_close(&r->rig);
}

/* Returns the text with quotes. free() it. */
static inline char *quoted(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return copy;
}

static inline void read_ok(const struct request_rig *r, enum route route, const char *body,
                           struct request *out)
{
    struct fault fault;
    char *text = quoted(body);
    if (!request_read(&r->scope, route, text, strlen(text), out, &fault)) {
        fail_msg("%s\nis refused: %d %s", body, fault.status, fault.message);
    }
    free(text);
}

/* Expects that a request is refused, and that the message has these words. */
static inline void read_refused(const struct request_rig *r, enum route route, const char *body,
                                int status, const char *words)
{
    struct fault fault;
    struct request out;
    char *text = quoted(body), *want = quoted(words);
    if (request_read(&r->scope, route, text, strlen(text), &out, &fault)) {
        fail_msg("%s\nis read, expected: %s", body, words);
    }
    if (fault.status != status || strstr(fault.message, want) == NULL) {
        fail_msg("%s\ngives %d %s\nexpected %d %s", body, fault.status, fault.message, status,
                 want);
    }
    free(text);
    free(want);
}

/* Reads a request whose answer is there at once, and compares it. */
static inline void read_ready(const struct request_rig *r, enum route route, const char *body,
                              const char *answer)
{
    struct request out;
    char *want = quoted(answer);
    read_ok(r, route, body, &out);
    assert_int_equal(out.task, TASK_READY);
    assert_string_equal(out.answer, want);
    assert_int_equal(out.n_answer, strlen(want));
    request_free(&out);
    free(want);
}

/* ---------------------------------------------------------------- answers */

/* What a sink got: an event in each line. */
struct heard {
    struct bytes text;
    size_t n_events;
};

/* Leaves out of an answer what is always the same, or differs from run to run. */
static inline void drop_usual(json_t *v)
{
    static const char *const usual[] = { "created", "system_fingerprint", "timings", "id_slot",
                                         "generation_settings" };
    json_t *one;
    size_t i;
    for (i = 0; i < sizeof usual / sizeof *usual; i++) {
        json_object_del(v, usual[i]);
    }
    json_array_foreach(v, i, one) { drop_usual(one); }
}

/* Returns JSON in one form. free() it. */
static inline char *normal(const char *text, size_t n)
{
    json_error_t e;
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (v == NULL) {
        fail_msg("no JSON: %s: %.*s", e.text, (int)n, text);
    }
    drop_usual(v);
    char *out = json_text(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    assert_non_null(out);
    json_decref(v);
    return out;
}

static inline void heard_event(void *user, const char *name, const char *data, size_t n)
{
    struct heard *h = user;
    assert_null(name);
    char *line = n > 0 && data[0] == '{' ? normal(data, n) : strndup(data, n);
    assert_true(text_add(&h->text, line, strlen(line)) && text_add(&h->text, "\n", 1));
    h->n_events++;
    free(line);
}

static const struct sink heard_sink = { .event = heard_event };

/* Compares an answer with lines of JSON. */
static inline void same_json(const char *got, const char *want)
{
    char *text = quoted(want);
    char *expected = normal(text, strlen(text)), *found = normal(got, strlen(got));
    if (strcmp(expected, found) != 0) {
        fail_msg("the answer is\n%s\nexpected\n%s", found, expected);
    }
    free(text);
    free(expected);
    free(found);
}

/* Compares all events with JSON texts; the list ends with NULL. */
static inline void heard_same(struct heard *h, const char *const *want)
{
    char *line = h->text.n > 0 ? h->text.data : NULL;
    size_t i = 0;
    for (; line != NULL && *line != '\0' && want[i] != NULL; i++) {
        char *end = strchr(line, '\n');
        *end = '\0';
        if (want[i][0] == '{') {
            same_json(line, want[i]);
        } else {
            assert_string_equal(line, want[i]);
        }
        line = end + 1;
    }
    if (want[i] != NULL || (line != NULL && *line != '\0')) {
        fail_msg("%zu events, expected %s\nthe rest: %s", h->n_events,
                 want[i] != NULL ? "more" : "fewer", line != NULL ? line : "");
    }
    bytes_free(&h->text);
    h->n_events = 0;
}
#define HEARD(h, ...) heard_same(h, (const char *const[]){ __VA_ARGS__, NULL })

#endif
