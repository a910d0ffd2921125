/* The core at its limits: requests that wait for too long, sinks that cancel, clients that are
 * paused while the KV pool is full, texts that can never fit. */
#include "core_rig.h"

#include <dirent.h>

enum { N_CTX = 256 };

static const char slow[] = "{\"prompt\": [5, 6], \"max_tokens\": 200, \"ignore_eos\": true, "
                           "\"stream\": true}";

/* Waits for the end, at most so many seconds. */
static void wait_for_end(struct core *core, struct client *c, double seconds)
{
    const double until = figures_now() + seconds;
    while (!c->done && figures_now() < until) {
        rig_drain(core, 100);
    }
}

/* Submits a request whose client does not read: it takes its place, and draws little. Where this
 * thread stood still for so long that the answer was complete, it is asked for again. */
static void submit_paused(struct core *core, struct client *c, const char *body)
{
    rig_submit_as(core, c, ROUTE_COMPLETIONS, "a", body);
    core_pause(core, c->job, true);
    while (!c->begun) {
        rig_drain(core, 100);
    }
    rig_drain(core, 20);
    rig_drain(core, 20);
    if (c->done) {
        rig_forget(c);
        submit_paused(core, c, body);
    }
}

/* Writes a request with n tokens in the list `name`. */
static void write_body(char *dst, size_t cap, const char *name, size_t n, const char *more)
{
    size_t at = (size_t)snprintf(dst, cap, "{\"%s\": [5", name);
    for (size_t i = 1; i < n; i++) {
        at += (size_t)snprintf(dst + at, cap - at, ",%zu", 5 + i % 40);
    }
    at += (size_t)snprintf(dst + at, cap - at, "]%s}", more);
    assert_in_range(at, 1, cap - 1);
}

/* A request with a grammar has a sequence while it waits; it is released when it is refused. */
static void test_refused_grammar(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 1, .wait_s = 1 };
    struct core *core = rig_core(&setup);
    static struct client clients[4];
    submit_paused(core, &clients[0], slow);
    for (size_t i = 1; i < 4; i++) {
        rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a",
                      "{\"prompt\": [5], \"grammar\": \"root ::= [a-z]+\"}");
    }
    rig_wait(core, clients + 1, 3);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(clients[i].status, 503);
    }
    core_cancel(core, clients[0].job, NULL);
    for (size_t i = 0; i < 4; i++) {
        rig_forget(&clients[i]);
    }
    rig_clean(core);
    core_close(core);
}

static size_t count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;
    assert_non_null(tasks);
    while (readdir(tasks) != NULL) {
        n++;
    }
    closedir(tasks);
    return n;
}

/* Sequences that wait when the core closes are released. One that is left keeps its engine, whose
 * threads show it. */
static void test_close_waiting(void **state)
{
    (void)state;
    enum { N = 7 };
    const size_t n_threads = count_threads();
    for (int k = 0; k < 20; k++) {
        struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 1, .n_threads = 2 };
        struct core *core = rig_core(&setup);
        static struct client clients[N];
        weft_engine_stats stats = { .size = sizeof stats };
        submit_paused(core, &clients[0], slow);
        for (size_t i = 1; i < N; i++) {
            rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a",
                          "{\"prompt\": [5], \"grammar\": \"root ::= [a-z]+\"}");
        }
        while (stats.n_seqs < N) {
            rig_drain(core, 1);
            OK(weft_engine_get_stats(core_scope(core)->engine, &stats, E));
        }
        weft_engine_wake(core_scope(core)->engine);
        core_close(core);
        for (size_t i = 0; i < N; i++) {
            rig_forget(&clients[i]);
        }
    }
    assert_int_equal(count_threads(), n_threads);
}

/* Tokens found in the pool count once, however often a request has to look for room. */
static void test_cached_once(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    struct client a, b;
    char body[2048];
    write_body(body, sizeof body, "prompt", 65,
               ", \"max_tokens\": 150, \"ignore_eos\": true, \"stream\": true");
    rig_submit_as(core, &a, ROUTE_COMPLETIONS, "a", body);
    while (a.n_events < 1) {
        rig_drain(core, 100);
    }
    rig_submit_as(core, &b, ROUTE_COMPLETIONS, "a", body);
    rig_wait(core, &a, 1);
    rig_wait(core, &b, 1);
    assert_int_equal(b.figures.n_prompt, 65);
    assert_int_equal(b.figures.n_cached, 64);
    rig_forget(&a);
    rig_forget(&b);
    core_close(core);
}

/* ---------------------------------------------------------------- sinks that cancel */

struct canceller {
    struct core *core;
    struct job *job;
    size_t n_events, at; /* cancels with this event; 0 = with the beginning */
    bool gone;
};

static void cancel(struct canceller *c)
{
    c->gone = true;
    core_cancel(c->core, c->job, NULL);
}

static void cancel_begin(void *user, int ping)
{
    struct canceller *c = user;
    (void)ping;
    assert_false(c->gone);
    if (c->at == 0) {
        cancel(c);
    }
}

static void cancel_event(void *user, const char *name, const char *data, size_t n)
{
    struct canceller *c = user;
    (void)name;
    (void)data;
    (void)n;
    assert_false(c->gone);
    if (++c->n_events == c->at) {
        cancel(c);
    }
}

static void cancel_end(void *user, const struct outcome *outcome)
{
    struct canceller *c = user;
    (void)outcome;
    assert_false(c->gone);
    c->gone = true;
}

static void test_cancelling_sinks(void **state)
{
    (void)state;
    static const struct sink sink = { cancel_begin, cancel_event, cancel_end };
    static const char body[] = "{\"prompt\": [5, 6], \"max_tokens\": 3, \"ignore_eos\": true, "
                               "\"stream\": true, \"echo\": true, \"n\": 2, "
                               "\"stream_options\": {\"include_usage\": true}}";
    struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    for (size_t at = 0; at < 16; at++) {
        struct canceller c = { .core = core, .at = at };
        c.job = core_submit(core, &(struct job_params){ .route = ROUTE_COMPLETIONS,
                                                        .body = body,
                                                        .n_body = sizeof body - 1,
                                                        .id = "r",
                                                        .key = "",
                                                        .sink = &sink,
                                                        .user = &c });
        assert_non_null(c.job);
        for (int turns = 0; !c.gone; turns++) {
            assert_in_range(turns, 0, 1000);
            rig_drain(core, 1000);
        }
        rig_clean(core);
    }
    core_close(core);
}

/* ---------------------------------------------------------------- a full pool */

/* A client that does not read keeps nobody waiting, although it has pages that others need to begin
 * or to go on. */
static void test_paused_gives_room(void **state)
{
    (void)state;
    const size_t lengths[] = { 129, 2 };
    for (size_t k = 0; k < 2; k++) {
        struct core_setup setup = { .n_ctx = N_CTX, .n_kv = N_CTX, .n_parallel = 4 };
        struct core *core = rig_core(&setup);
        struct client a, b;
        char body[2048];
        write_body(body, sizeof body, "prompt", lengths[k],
                   ", \"max_tokens\": 100, \"ignore_eos\": true, \"stream\": true");
        submit_paused(core, &a, body);
        rig_submit_as(core, &b, ROUTE_COMPLETIONS, "b", slow);
        wait_for_end(core, &b, 20);
        assert_true(b.done);
        core_pause(core, a.job, false);
        rig_wait(core, &a, 1);
        assert_int_equal(a.figures.n_generated, 100);
        rig_forget(&a);
        rig_forget(&b);
        rig_clean(core);
        core_close(core);
    }
}

/* What is longer than the pool can never be computed, and is refused for good. */
static void test_longer_than_pool(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = N_CTX / 2, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    const enum route routes[] = { ROUTE_COMPLETIONS, ROUTE_EMBEDDINGS };
    char body[2048];
    for (size_t k = 0; k < 2; k++) {
        struct client c;
        write_body(body, sizeof body, k == 0 ? "prompt" : "input", 200, "");
        rig_submit_as(core, &c, routes[k], "a", body);
        wait_for_end(core, &c, 20);
        assert_true(c.done);
        assert_int_equal(c.status, 400);
        assert_non_null(strstr(c.body, "available context size"));
        rig_forget(&c);
    }
    core_close(core);
}

/* Never more sequences than n_parallel, unless one request alone has more answers. */
static void test_parallel(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = 16 * N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    static struct client clients[5];
    size_t most = 0;
    for (size_t i = 0; i < 5; i++) {
        rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a",
                      i == 0 ? "{\"prompt\": [5, 6], \"n\": 4, \"max_tokens\": 100, "
                               "\"ignore_eos\": true, \"stream\": true}"
                             : slow);
    }
    for (size_t i = 0; i < 5; i++) {
        while (!clients[i].done) {
            weft_engine_stats stats = { .size = sizeof stats };
            rig_drain(core, 1);
            OK(weft_engine_get_stats(core_scope(core)->engine, &stats, E));
            most = size_max(most, stats.n_seqs);
        }
    }
    assert_in_range(most, 1, 4);
    for (size_t i = 0; i < 5; i++) {
        rig_forget(&clients[i]);
    }
    core_close(core);
}

/* A request with many prompts does not make another one wait for all of them. */
static void test_many_prompts(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 1 };
    struct core *core = rig_core(&setup);
    struct client many, one;
    char body[2048] = "{\"max_tokens\": 200, \"ignore_eos\": true, \"prompt\": [[5]";
    for (size_t i = 1; i < 20; i++) {
        strcat(body, ",[6]");
    }
    rig_submit_as(core, &many, ROUTE_COMPLETIONS, "a", strcat(body, "]}"));
    rig_submit_as(core, &one, ROUTE_COMPLETIONS, "b", slow);
    rig_wait(core, &one, 1);
    assert_false(many.done);
    rig_wait(core, &many, 1);
    assert_int_equal(many.figures.n_generated, 20 * 200);
    rig_forget(&many);
    rig_forget(&one);
    rig_clean(core);
    core_close(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_grammar),  cmocka_unit_test(test_close_waiting),
        cmocka_unit_test(test_cached_once),      cmocka_unit_test(test_paused_gives_room),
        cmocka_unit_test(test_longer_than_pool), cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_many_prompts),     cmocka_unit_test(test_cancelling_sinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
