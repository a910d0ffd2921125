/* The core of the server: many requests at once give what each would give alone, whatever else
 * happens: a full KV pool, clients that leave, clients that are paused. */
#include "core_rig.h"

enum { N_CTX = 256 };

/* What the text of this request is, drawn from a sequence of its own. */
static struct bytes lone_text(struct core *core, const int32_t *prompt, size_t n, uint64_t seed,
                              double temperature, size_t n_new)
{
    weft_engine *engine = NULL;
    weft_engine_params p = { .size = sizeof p, .device = "cpu", .n_ctx = N_CTX, .n_threads = 1 };
    weft_sampling s = core_scope(core)->sampling;
    weft_seq *seq = NULL;
    struct bytes text = { 0 };
    size_t n_got;
    int32_t token;
    assert_true(text_reserve(&text, 1 << 14));
    s.seed = seed;
    s.temperature = (float)temperature;
    OK(weft_engine_open(core_scope(core)->model, &p, &engine, E));
    OK(weft_seq_open(engine, &s, &seq, E));
    OK(weft_seq_append(seq, prompt, n, E));
    for (size_t i = 0; i < n_new && weft_seq_finish(seq) == WEFT_RUNNING; i++) {
        while (weft_seq_pending(seq) > 0) {
            OK(weft_engine_step(engine, NULL, E));
        }
        OK(weft_seq_next(seq, &token, E));
        if (i + 1 == n_new && weft_seq_finish(seq) == WEFT_RUNNING) {
            OK(weft_seq_end(seq, E));
        }
        OK(weft_seq_text(seq, text.data + text.n, text.cap - text.n, &n_got, E));
        text.n += n_got;
    }
    weft_seq_release(&seq);
    weft_engine_release(&engine);
    return text;
}

static char *body_of(const int32_t *prompt, size_t n, uint64_t seed, double temperature,
                     size_t n_new, bool stream)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(ids, json_integer(prompt[i]));
    }
    json_t *j =
        json_pack("{s:o, s:I, s:f, s:I, s:b}", "prompt", ids, "seed", (json_int_t)seed,
                  "temperature", temperature, "max_tokens", (json_int_t)n_new, "stream", stream);
    char *text = json_dumps(j, 0);
    json_decref(j);
    assert_non_null(text);
    return text;
}

struct task {
    int32_t prompt[128];
    size_t n, n_new;
    uint64_t seed;
    double temperature;
    bool stream;
    char *body;
};

static void make_task(struct core *core, uint64_t *random, struct task *t)
{
    const struct rig r = { .n_vocab = core_scope(core)->info.n_vocab };
    t->n = 1 + rig_random(random, 119);
    t->n_new = 1 + rig_random(random, 120);
    t->seed = rig_random(random, 1000);
    t->temperature = rig_random(random, 2) == 0 ? 0 : 1.1;
    t->stream = rig_random(random, 2) == 0;
    rig_tokens(&r, rig_random(random, 5), t->prompt, t->n); /* some share their beginning */
    t->body = body_of(t->prompt, t->n, t->seed, t->temperature, t->n_new, t->stream);
}

/* Expects that the client has got this text, which is freed. */
static void expect_text(struct client *c, size_t choice, struct bytes want)
{
    struct bytes *got = &c->texts[choice];
    if (c->body != NULL) {
        json_t *j = json_loads(c->body, JSON_ALLOW_NUL, NULL);
        const json_t *text =
            json_object_get(json_array_get(json_object_get(j, "choices"), choice), "text");
        assert_true(json_is_string(text));
        assert_true(text_add(got, json_string_value(text), json_string_length(text)));
        json_decref(j);
    }
    assert_int_equal(got->n, want.n);
    if (want.n > 0) {
        assert_memory_equal(got->data, want.data, want.n);
    }
    bytes_free(&want);
}

/* Each answer is that of a lone run. */
static void run_many(size_t n_kv, size_t n, bool parks)
{
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = n_kv, .n_parallel = 16 };
    struct core *core = rig_core(&setup);
    struct client *clients = calloc(n, sizeof *clients);
    struct task *tasks = calloc(n, sizeof *tasks);
    struct core_figures figures;
    uint64_t random = 5;
    for (size_t i = 0; i < n; i++) {
        make_task(core, &random, &tasks[i]);
        rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, i % 3 == 0 ? "a" : "b", tasks[i].body);
    }
    rig_wait(core, clients, n);
    for (size_t i = 0; i < n; i++) {
        const struct task *t = &tasks[i];
        assert_int_equal(clients[i].status, 200);
        assert_int_equal(clients[i].begun, t->stream);
        expect_text(&clients[i], 0,
                    lone_text(core, t->prompt, t->n, t->seed, t->temperature, t->n_new));
        free(t->body);
        rig_forget(&clients[i]);
    }
    core_figures(core, &figures);
    if (parks) {
        assert_true(figures.n_parked > 0);
    }
    assert_int_equal(figures.n_running, 0);
    assert_int_equal(figures.n_waiting, 0);
    rig_clean(core);
    core_close(core);
    free(clients);
    free(tasks);
}

static void test_many(void **state)
{
    (void)state;
    run_many(64 * N_CTX, 60, false);
}

/* The pool is as large as one context: answers give their pages to others, and get them back. */
static void test_full_pool(void **state)
{
    (void)state;
    run_many(N_CTX, 60, true);
}

/* Clients leave at any time; the others get their texts. */
static void test_leave(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = 2 * N_CTX, .n_parallel = 8 };
    struct core *core = rig_core(&setup);
    enum { N = 40 };
    static struct client clients[N];
    static struct task tasks[N];
    for (uint64_t round = 0; round < 10; round++) {
        uint64_t random = 100 + round;
        size_t n_left = N;
        for (size_t i = 0; i < N; i++) {
            make_task(core, &random, &tasks[i]);
            rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a", tasks[i].body);
        }
        while (n_left > N / 4) {
            const size_t i = rig_random(&random, N);
            if (clients[i].job != NULL) {
                core_cancel(core, clients[i].job, NULL);
                clients[i].job = NULL;
                clients[i].done = true;
                clients[i].status = -1;
                n_left--;
            }
            n_left -= rig_random(&random, 8) == 0 && n_left > 0;
            rig_drain(core, (int)rig_random(&random, 3));
        }
        rig_wait(core, clients, N);
        for (size_t i = 0; i < N; i++) {
            struct task *t = &tasks[i];
            if (clients[i].status == 200) {
                expect_text(&clients[i], 0,
                            lone_text(core, t->prompt, t->n, t->seed, t->temperature, t->n_new));
            } else {
                assert_int_equal(clients[i].status, -1);
            }
            free(t->body);
            rig_forget(&clients[i]);
        }
        rig_clean(core);
    }
    core_close(core);
}

/* A request that is closed with the core gets no more calls. */
static void test_close(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 2 };
        struct core *core = rig_core(&setup);
        static struct client clients[8];
        for (size_t k = 0; k < 8; k++) {
            rig_submit_as(core, &clients[k], ROUTE_COMPLETIONS, "a",
                          "{\"prompt\": [5, 6, 7], \"max_tokens\": 200, \"ignore_eos\": true}");
        }
        for (int k = 0; k < i; k++) {
            rig_drain(core, 2);
        }
        bool done[8];
        for (size_t k = 0; k < 8; k++) {
            done[k] = clients[k].done; /* some may have got all of their text */
        }
        core_close(core);
        for (size_t k = 0; k < 8; k++) {
            assert_int_equal(clients[k].done, done[k]);
            rig_forget(&clients[k]);
        }
    }
}

static void test_loading(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .hold = true };
    struct core *core = rig_core(&setup);
    struct client c;
    assert_int_equal(core_state(core), CORE_LOADING);
    rig_submit_as(core, &c, ROUTE_COMPLETIONS, "a", "{\"prompt\": [5]}");
    rig_wait(core, &c, 1);
    assert_int_equal(c.status, 503);
    assert_true(c.retry_after > 0);
    assert_non_null(strstr(c.body, "Loading model"));
    rig_forget(&c);
    setup.go = true;
    while (core_state(core) == CORE_LOADING) {
        rig_drain(core, 100);
    }
    rig_submit_as(core, &c, ROUTE_COMPLETIONS, "a", "{\"prompt\": [5], \"max_tokens\": 3}");
    rig_wait(core, &c, 1);
    assert_int_equal(c.status, 200);
    rig_forget(&c);
    core_close(core);
    struct core_setup broken = { .n_ctx = N_CTX, .code = 3 };
    core = rig_core(&broken);
    assert_int_equal(core_state(core), CORE_FAILED);
    assert_int_equal(core_load_code(core), 3);
    core_close(core);
}

static const char slow[] = "{\"prompt\": [5, 6], \"max_tokens\": 200, \"ignore_eos\": true, "
                           "\"stream\": true}";

/* The queue is bounded, and nobody waits for longer than agreed. */
static void test_queue(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 1, .n_waiting = 3, .wait_s = 1 };
    struct core *core = rig_core(&setup);
    static struct client clients[12];
    for (size_t i = 0; i < 12; i++) {
        rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a", slow);
        if (i == 0) {
            while (!clients[0].begun) {
                rig_drain(core, 100);
            }
            core_pause(core, clients[0].job, true); /* it keeps its place */
        }
    }
    rig_wait(core, clients + 1, 11);
    for (size_t i = 1; i < 12; i++) {
        assert_int_equal(clients[i].status, 503);
        assert_true(clients[i].retry_after > 0);
        assert_non_null(strstr(clients[i].body, i < 4 ? "has waited for 1 seconds" : "3 requests"));
    }
    assert_false(clients[0].done);
    core_pause(core, clients[0].job, false);
    rig_wait(core, clients, 1);
    assert_int_equal(clients[0].status, 200);
    for (size_t i = 0; i < 12; i++) {
        rig_forget(&clients[i]);
    }
    core_close(core);
}

/* A client with many requests does not make another one wait for all of them. */
static void test_fair(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_parallel = 1 };
    struct core *core = rig_core(&setup);
    enum { N = 20 };
    static struct client clients[N + 1];
    for (size_t i = 0; i <= N; i++) {
        rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, i < N ? "many" : "one", slow);
    }
    size_t n_before = 0;
    while (!clients[N].done) {
        rig_drain(core, 1000);
    }
    for (size_t i = 0; i < N; i++) {
        n_before += clients[i].done;
    }
    assert_in_range(n_before, 0, 4);
    rig_wait(core, clients, N);
    for (size_t i = 0; i <= N; i++) {
        rig_forget(&clients[i]);
    }
    core_close(core);
}

/* A paused answer stands still, and others go on. */
static void test_pause(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = 4 * N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    struct client a, b;
    rig_submit_as(core, &a, ROUTE_COMPLETIONS, "a", slow);
    while (a.n_events < 5) {
        rig_drain(core, 1000);
    }
    core_pause(core, a.job, true);
    rig_drain(core, 50);
    rig_drain(core, 50);
    const size_t n = a.n_events;
    rig_submit_as(core, &b, ROUTE_COMPLETIONS, "a", slow);
    rig_wait(core, &b, 1);
    assert_true(a.n_events <= n + 1);
    assert_false(a.done);
    core_pause(core, a.job, false);
    rig_wait(core, &a, 1);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.figures.n_generated, 200);
    assert_string_equal(a.finish, "length");
    rig_forget(&a);
    rig_forget(&b);
    rig_clean(core);
    core_close(core);
}

/* Several prompts and several answers to each. */
static void test_choices(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    struct client c;
    rig_submit_as(core, &c, ROUTE_COMPLETIONS, "a",
                  "{\"prompt\": [[5, 6, 7], [8, 9]], \"n\": 3, \"max_tokens\": 40, \"seed\": 11, "
                  "\"temperature\": 1.1, \"stream\": true, \"ignore_eos\": false}");
    rig_wait(core, &c, 1);
    assert_int_equal(c.status, 200);
    const int32_t prompts[2][3] = { { 5, 6, 7 }, { 8, 9 } };
    for (size_t i = 0; i < 6; i++) {
        expect_text(&c, i, lone_text(core, prompts[i / 3], i < 3 ? 3 : 2, 11 + i, 1.1, 40));
    }
    rig_forget(&c);
    rig_clean(core);
    core_close(core);
}

/* Several answers in a pool that has room for one of them: they take turns. */
static void test_choices_in_turn(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = WEFT_KV_PAGE, .n_kv = WEFT_KV_PAGE, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    struct client c;
    rig_submit_as(core, &c, ROUTE_COMPLETIONS, "a",
                  "{\"prompt\": [5, 6, 7], \"n\": 3, \"max_tokens\": 40, \"seed\": 11, "
                  "\"temperature\": 1.1, \"stream\": true}");
    rig_wait(core, &c, 1);
    assert_int_equal(c.status, 200);
    for (size_t i = 0; i < 3; i++) {
        expect_text(&c, i, lone_text(core, (const int32_t[]){ 5, 6, 7 }, 3, 11 + i, 1.1, 40));
    }
    rig_forget(&c);
    rig_clean(core);
    core_close(core);
}

/* Embeddings and texts at the same time, in a pool that is too small for both at once. */
static void test_embeddings(void **state)
{
    (void)state;
    struct core_setup setup = { .n_ctx = N_CTX, .n_kv = N_CTX, .n_parallel = 4 };
    struct core *core = rig_core(&setup);
    static struct client clients[16];
    for (size_t i = 0; i < 16; i++) {
        if (i % 2 == 0) {
            rig_submit_as(core, &clients[i], ROUTE_COMPLETIONS, "a", slow);
        } else {
            rig_submit_as(core, &clients[i], ROUTE_EMBEDDINGS, "a",
                          "{\"input\": [[5, 6, 7], [8, 9]]}");
        }
    }
    rig_wait(core, clients, 16);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(clients[i].status, 200);
        if (i % 2 == 1) {
            assert_string_equal(clients[i].body, clients[1].body);
        }
    }
    for (size_t i = 0; i < 16; i++) {
        rig_forget(&clients[i]);
    }
    rig_clean(core);
    core_close(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),       cmocka_unit_test(test_full_pool),
        cmocka_unit_test(test_leave),      cmocka_unit_test(test_close),
        cmocka_unit_test(test_loading),    cmocka_unit_test(test_queue),
        cmocka_unit_test(test_fair),       cmocka_unit_test(test_pause),
        cmocka_unit_test(test_choices),    cmocka_unit_test(test_choices_in_turn),
        cmocka_unit_test(test_embeddings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
