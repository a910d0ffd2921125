/* For the tests of replies: opens a reply, feeds it a text in pieces, and writes its events as one
 * line: c(content) r(reasoning) f{"arguments"}. An incomplete call ends with ! behind it. */
#ifndef REPLY_RIG_H
#define REPLY_RIG_H

#include <string.h>

#include "reply/reply.h"
#include "support/rig.h"

#define TOOLS                                                                                      \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","    \
    "\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"b\":{\"type\":"    \
    "\"boolean\"},\"o\":{\"type\":\"object\"},\"x\":{},\"q\":{\"type\":[\"string\",\"null\"]}}}}}" \
    ","                                                                                            \
    "{\"type\":\"function\",\"function\":{\"name\":\"get_time\"}}]"

struct reply_case {
    const char *source, *opening, *tools;
    weft_reply_params params;
    const char *text, *events;
};

static inline void case_open(const struct reply_case *c, struct reply *r)
{
    const char *tools = c->tools != NULL ? c->tools : TOOLS;
    const char *opening = c->opening != NULL ? c->opening : "";
    struct reply_source source = { c->source, strlen(c->source), opening, strlen(opening),
                                   tools,     strlen(tools),     false };
    weft_reply_params params = c->params;
    params.seed = 1;
    OK(reply_open(&source, &params, r, E));
}

/* The events of a reply so far. */
struct reply_log {
    const char *text; /* the answer; NULL = places are not checked */
    struct bytes line;
    char open; /* c r or ( for arguments: what the line is inside of */
    size_t n_calls;
};

static inline void log_put(struct reply_log *log, const char *text, size_t n)
{
    assert_true(text_add(&log->line, text, n));
}

static inline void log_close(struct reply_log *log)
{
    if (log->open == 'c' || log->open == 'r') {
        log_put(log, ")", 1);
    }
    log->open = 0;
}

/* An id is five letters and 16 others, or nine. */
static inline void log_check_id(const char *id)
{
    size_t n = strlen(id), prefix = strncmp(id, "call_", 5) == 0 ? 5 : 0;
    assert_true(n == 21 ? prefix == 5 : n == 9);
    assert_int_equal(prefix + strspn(id + prefix, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                     n);
}

static inline void log_event(struct reply_log *log, const weft_reply_event *e)
{
    char kind = e->kind == WEFT_REPLY_CONTENT ? 'c' : e->kind == WEFT_REPLY_REASONING ? 'r' : 0;
    if (kind != 0 && kind != log->open) {
        log_close(log);
        log_put(log, kind == 'c' ? "c(" : "r(", 2);
        log->open = kind;
    }
    if (e->kind == WEFT_REPLY_CALL) {
        log_close(log);
        log_check_id(e->id);
        assert_int_equal(e->index, log->n_calls++);
        log_put(log, e->name, strlen(e->name));
    } else if (e->kind == WEFT_REPLY_CALL_END) {
        assert_int_equal(e->index, log->n_calls - 1);
        log_put(log, "!", !e->complete);
    } else {
        assert_true(e->n_text > 0);
        if (kind != 0 && log->text != NULL) {
            assert_true(e->from + e->n_text <= strlen(log->text));
            assert_memory_equal(log->text + e->from, e->text, e->n_text);
        }
        log_put(log, e->text, e->n_text);
    }
}

static inline void log_events(struct reply *r, struct reply_log *log)
{
    weft_reply_event e = WEFT_REPLY_EVENT_INIT;
    while (reply_next(r, &e)) {
        log_event(log, &e);
    }
}

/* Feeds text[n] in pieces that end at the places in `cuts`, which is in order and ends with n.
 * Returns the line of its events; free() it. */
static inline char *log_run(const struct reply_case *c, const size_t *cuts)
{
    struct reply r;
    struct reply_log log = { .text = c->text };
    size_t at = 0, n = strlen(c->text);
    case_open(c, &r);
    do {
        char *piece = malloc(*cuts - at + 1); /* of its own, so that reading behind it is noticed */
        assert_non_null(piece);
        memcpy(piece, c->text + at, *cuts - at);
        OK(reply_add(&r, piece, *cuts - at, E));
        free(piece);
        at = *cuts;
        log_events(&r, &log);
    } while (*cuts++ < n);
    OK(reply_end(&r, E));
    log_events(&r, &log);
    log_close(&log);
    log_put(&log, "", 0);
    reply_close(&r);
    return log.line.data != NULL ? log.line.data : strdup("");
}

static inline void log_check(const struct reply_case *c, const size_t *cuts, const char *how)
{
    char *line = log_run(c, cuts);
    if (strcmp(line, c->events) != 0) {
        fail_msg("%s: text\n%s\ngives\n%s\nexpected\n%s", how, c->text, line, c->events);
    }
    free(line);
}

/* The events do not depend on where the text is cut. */
static inline void log_check_all(const struct reply_case *c)
{
    size_t n = strlen(c->text), *cuts = mem_array(n + 2, sizeof *cuts);
    uint64_t seed = 1;
    assert_non_null(cuts);
    log_check(c, &n, "as a whole");
    for (size_t i = 0; i < n; i++) {
        log_check(c, (size_t[]){ i, n }, "in two");
        cuts[i] = i + 1;
    }
    cuts[n > 0 ? n - 1 : 0] = n;
    log_check(c, cuts, "byte by byte");
    for (int round = 0; round < 50; round++) {
        size_t k = 0;
        for (size_t at = 0; at < n; k++) {
            at += rig_random(&seed, 12);
            cuts[k] = at < n ? at : n;
        }
        cuts[k] = n;
        log_check(c, cuts, "in pieces");
    }
    free(cuts);
}

static inline void log_check_list(const struct reply_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        log_check_all(&cases[i]);
    }
}
#define CHECK(cases) log_check_list(cases, sizeof cases / sizeof *cases)

#endif
