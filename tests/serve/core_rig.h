/* Shared by the tests of the core: a core on a tiny model, and clients that submit requests and
 * keep what their sinks get. */
#ifndef TESTS_CORE_RIG_H
#define TESTS_CORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "serve/core.h"
#include "support/models.h"
#include "support/rig.h"

struct core_setup {
    size_t n_ctx, n_kv, n_parallel, n_waiting, n_sequences, n_threads;
    int wait_s;
    bool hold; /* load() waits until `go` */
    atomic_bool go;
    int code;          /* load() fails with this code */
    weft_model *model; /* shared with lone runs */
};

struct client {
    struct core *core;
    struct job *job; /* NULL once it has ended */
    bool begun, done, stop_reading;
    int status, retry_after;
    char *body;
    size_t n_events;
    struct bytes text; /* of the events' choices, by their index */
    struct bytes texts[8];
    char finish[16];
    struct job_figures figures;
};

static int rig_load(void *user, weft_model **model, weft_engine **engine)
{
    struct core_setup *s = user;
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    p.device = "cpu";
    p.n_ctx = s->n_ctx;
    p.n_kv = s->n_kv;
    p.n_threads = s->n_threads > 0 ? s->n_threads : 1;
    p.n_batch = 32;
    while (s->hold && !s->go) {
        poll(NULL, 0, 1);
    }
    if (s->code != 0) {
        return s->code;
    }
    OK(weft_model_open(model_file("tiny-qwen2"), NULL, model, E));
    OK(weft_engine_open(*model, &p, engine, E));
    return 0;
}

static struct core *rig_core(struct core_setup *s)
{
    struct core_params p = { .load = rig_load,
                             .load_user = s,
                             .scope = { .alias = "tiny",
                                        .path = "tiny.gguf",
                                        .sampling = WEFT_SAMPLING_INIT,
                                        .n_predict = SIZE_MAX,
                                        .n_sequences = s->n_sequences },
                             .n_parallel = s->n_parallel,
                             .n_waiting = s->n_waiting > 0 ? s->n_waiting : 256,
                             .wait_s = s->wait_s };
    struct core *core = core_open(&p);
    assert_non_null(core);
    while (!s->hold && core_state(core) == CORE_LOADING) {
        struct pollfd fd = { .fd = core_fd(core), .events = POLLIN };
        poll(&fd, 1, 1000);
    }
    return core;
}

/* ---------------------------------------------------------------- sinks */

static void rig_begin(void *user, int ping)
{
    struct client *c = user;
    (void)ping;
    assert_false(c->begun || c->done);
    c->begun = true;
}

static void rig_event(void *user, const char *name, const char *data, size_t n)
{
    struct client *c = user;
    assert_true(c->begun && !c->done);
    assert_null(name);
    c->n_events++;
    if (n == 6 && memcmp(data, "[DONE]", 6) == 0) {
        return;
    }
    json_error_t why;
    json_t *j = json_loadb(data, n, JSON_ALLOW_NUL, &why), *choice;
    size_t i;
    assert_non_null(j);
    json_array_foreach(json_object_get(j, "choices"), i, choice)
    {
        const json_t *text = json_object_get(choice, "text");
        const size_t at = (size_t)json_integer_value(json_object_get(choice, "index"));
        assert_in_range(at, 0, 7);
        if (json_is_string(text)) {
            assert_true(text_add(&c->texts[at], json_string_value(text), json_string_length(text)));
        }
    }
    json_decref(j);
}

static void rig_end(void *user, const struct outcome *o)
{
    struct client *c = user;
    assert_false(c->done);
    c->done = true;
    c->job = NULL;
    c->status = o->status;
    c->retry_after = o->retry_after;
    c->figures = o->figures;
    snprintf(c->finish, sizeof c->finish, "%s", o->finish);
    if (o->body != NULL) {
        c->body = calloc(1, o->n_body + 1);
        assert_non_null(c->body);
        memcpy(c->body, o->body, o->n_body);
    }
}

static const struct sink rig_sink = { rig_begin, rig_event, rig_end };

/* ---------------------------------------------------------------- clients */

static void rig_submit_as(struct core *core, struct client *c, enum route route, const char *key,
                          const char *body)
{
    const struct job_params p = { .route = route,
                                  .body = body,
                                  .n_body = strlen(body),
                                  .id = "r",
                                  .key = key,
                                  .sink = &rig_sink,
                                  .user = c };
    *c = (struct client){ .core = core };
    c->job = core_submit(core, &p);
    assert_non_null(c->job);
}

/* Sleeps until something happens, at most for ms. */
static void rig_drain(struct core *core, int ms)
{
    struct pollfd fd = { .fd = core_fd(core), .events = POLLIN };
    poll(&fd, 1, ms);
    core_drain(core);
}

static void rig_wait(struct core *core, struct client *clients, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (int turns = 0; !clients[i].done; turns++) {
            assert_in_range(turns, 0, 100000);
            rig_drain(core, 1000);
        }
    }
}

static void rig_forget(struct client *c)
{
    free(c->body);
    for (size_t i = 0; i < 8; i++) {
        bytes_free(&c->texts[i]);
    }
    *c = (struct client){ 0 };
}

/* Expects that no sequence is open and no page is used, soon. */
static void rig_clean(struct core *core)
{
    weft_engine_stats stats = { .size = sizeof stats };
    for (int i = 0; i < 5000; i++) {
        OK(weft_engine_get_stats(core_scope(core)->engine, &stats, E));
        if (stats.n_seqs == 0 && stats.n_pages_used == 0) {
            return;
        }
        rig_drain(core, 1);
    }
    fail_msg("%zu sequences, %zu pages are still there", stats.n_seqs, stats.n_pages_used);
}

#endif
