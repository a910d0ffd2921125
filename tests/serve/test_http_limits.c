/* What the server does with clients that leave, that are slow, or that are too many, and how it
 * ends. The core is a fake; sockets are real. */
#include "http_rig.h"

#include <sys/resource.h>

#define N_OF(a) (sizeof(a) / sizeof *(a))

/* --- clients that leave --- */

enum leaving { LEAVE_CLOSE, LEAVE_HALF, LEAVE_RESET, N_LEAVING };

static void leave(struct client *c, enum leaving how)
{
    struct linger at_once = { .l_onoff = 1 };
    if (how == LEAVE_HALF) {
        shutdown(c->fd, SHUT_WR);
        return;
    }
    if (how == LEAVE_RESET) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(c->fd);
    c->fd = -1;
}

/* Leaves at a time that `round` chooses: before there is an answer, with the stream begun, with
 * unread events, with a second request sent behind the first. Returns the seconds until the job was
 * cancelled. */
static double leave_once(struct rig *r, size_t round)
{
    struct client *c = client_open(r);
    size_t job = r->core->n_jobs, n_cancelled = r->core->n_cancelled;
    client_post(c, "/v1/chat/completions", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == job + 1);
    if (round & 1) {
        fake_begin(r->core, job, 0);
        client_head(c);
        fake_event(r->core, job, "unread");
        if (round & 2) {
            client_until(c, "unread\n\n\r\n");
        }
    } else if (round & 2) {
        client_post(c, "/v1/chat/completions", "{}");
        poll(NULL, 0, 1);
    }
    double begin = figures_now();
    leave(c, (enum leaving)(round / 4 % N_LEAVING));
    FAKE_WAIT(r->core, r->core->n_cancelled == n_cancelled + 1);
    double seconds = figures_now() - begin;
    assert_true(r->core->jobs[job].cancelled);
    client_close(c);
    return seconds;
}

static void test_leaving(void **state)
{
    enum { ROUNDS = 600 };
    struct rig *r = rig_ready();
    double most = 0;
    (void)state;
    for (size_t i = 0; i < ROUNDS; i++) {
        double seconds = leave_once(r, i);
        most = seconds > most ? seconds : most;
    }
    printf("%d of %d clients that left were seen, the last after %.1f ms at most\n", ROUNDS, ROUNDS,
           most * 1e3);
    assert_int_equal(metric(r, "gone "), ROUNDS);
    assert_int_equal(metric(r, "connections "), 1);
    assert_true(rig_logged(r, " 499 ") && rig_logged(r, "finish=abort"));
    rig_stop(r);
}

/* Who leaves together with the request leaves before there is a job. */
static void test_leaving_at_once(void **state)
{
    struct rig *r = rig_ready();
    (void)state;
    for (size_t i = 0; i < 300; i++) {
        struct client *c = client_open(r);
        if (i % 2 == 0) {
            client_post(c, "/tokenize", "{}");
        } else {
            client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{");
        }
        leave(c, (enum leaving)(i / 2 % N_LEAVING));
        client_close(c);
    }
    for (int i = 0; i < 100 && metric(r, "connections ") > 1; i++) {
        poll(NULL, 0, 10);
    }
    assert_int_equal(metric(r, "connections "), 1);
    assert_int_equal(r->core->n_cancelled, r->core->n_jobs);
    rig_stop(r);
}

/* --- slow readers --- */

static struct client *open_stream(struct rig *r)
{
    struct client *c = client_open(r);
    size_t job = r->core->n_jobs;
    client_post(c, "/completion", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == job + 1);
    fake_begin(r->core, job, -1);
    client_head(c);
    return c;
}

/* Sends events of 64 KiB until the job is paused. Returns how many. */
static size_t fill(struct rig *r, size_t job)
{
    static char text[65536];
    size_t n = 0;
    memset(text, 'x', sizeof text);
    while (!r->core->jobs[job].paused && n < 1000) {
        fake_event_of(r->core, job, text, sizeof text);
        FAKE_WAIT(r->core, r->core->n_commands == 0);
        poll(NULL, 0, 1);
        n++;
    }
    assert_true(r->core->jobs[job].paused);
    return n;
}

static void test_slow_reader(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = open_stream(r);
    (void)state;
    size_t n = fill(r, 0), n_bytes = 0;
    printf("paused after %zu KiB\n", n * 64);
    assert_int_equal(metric(r, "paused "), 1);
    /* Others do not wait. */
    assert_int_equal(ask(r, "/health"), 200);
    while (n_bytes < n * 65536) {
        assert_true(client_more(c, 3000));
        n_bytes += c->n;
        c->n = 0;
    }
    FAKE_WAIT(r->core, !r->core->jobs[0].paused);
    assert_int_equal(r->core->jobs[0].n_pauses, 1);
    fake_event(r->core, 0, "the end");
    client_until(c, "the end\n\n");
    client_close(c);
    FAKE_WAIT(r->core, r->core->n_cancelled == 1);
    rig_stop(r);
}

static void test_no_reader(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.write_timeout = 0.5;
    rig_start(r);
    struct client *c = open_stream(r);
    (void)state;
    fill(r, 0);
    double begin = figures_now();
    FAKE_WAIT(r->core, r->core->n_cancelled == 1);
    assert_true(figures_now() - begin > 0.3);
    assert_int_equal(metric(r, "slow "), 1);
    assert_int_equal(metric(r, "paused "), 0);
    client_close(c);
    rig_stop(r);
}

/* A job that ends while it is paused gives the connection its last bytes. */
static void test_end_while_paused(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = open_stream(r);
    (void)state;
    fill(r, 0);
    fake_event(r->core, 0, "the end");
    fake_end(r->core, 0, 200, NULL);
    client_until(c, "the end\n\n\r\n0\r\n\r\n");
    assert_int_equal(client_get(c, "/health"), 200);
    assert_int_equal(metric(r, "paused "), 0);
    client_close(c);
    rig_stop(r);
}

/* --- slow writers --- */

/* Sends a byte each 50 ms. Returns the seconds until the server has answered or closed. */
static double dribble(struct client *c, const char *text)
{
    double begin = figures_now();
    for (; *text != '\0' && !client_more(c, 50) && !c->closed; text++) {
        client_send_bytes(c, text, 1);
    }
    return figures_now() - begin;
}

static void test_slow_head(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.head_timeout = 0.6;
    r->params.idle_timeout = 0.3;
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    double seconds = dribble(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(client_answer(c), 408);
    assert_true(seconds > 0.5 && seconds < 1.2);
    client_close(c);
    c = client_open(r); /* who says nothing gets no answer */
    double begin = figures_now();
    assert_true(client_sees_end(c, 3000));
    assert_true(figures_now() - begin > 0.5 && c->n == 0);
    client_close(c);
    c = client_open(r);
    assert_int_equal(client_get(c, "/health"), 200);
    begin = figures_now();
    assert_true(client_sees_end(c, 3000));
    assert_true(figures_now() - begin > 0.25 && figures_now() - begin < 0.6 && c->n == 0);
    client_close(c);
    rig_stop(r);
}

static void test_slow_body(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.body_timeout = 0.4;
    rig_start(r);
    struct client *c = client_open(r);
    char kib[1024];
    (void)state;
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 10240\r\n\r\n");
    double seconds = dribble(c, "0123456789012345678901234567890");
    assert_int_equal(client_answer(c), 408);
    assert_true(seconds > 0.3 && seconds < 1.0);
    client_close(c);
    /* At a KiB a second it may take longer. */
    c = client_open(r);
    memset(kib, 'x', sizeof kib);
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 10240\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        client_send_bytes(c, kib, sizeof kib);
        poll(NULL, 0, 100);
    }
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    client_close(c);
    rig_stop(r);
}

static void test_unfinished(void **state)
{
    struct rig *r = rig_ready();
    struct client *c[100];
    size_t n_refused = 0;
    (void)state;
    for (size_t i = 0; i < N_OF(c); i++) {
        c[i] = client_open(r);
        client_send(c[i], i % 2 ? "GET /he"
                                : "POST /tokenize HTTP/1.1\r\nHost: a\r\n"
                                  "Content-Length: 9\r\n\r\n{");
    }
    poll(NULL, 0, 1500);
    for (size_t i = 0; i < N_OF(c); i++) {
        if (client_more(c[i], 0)) {
            assert_int_equal(client_answer(c[i]), 429);
            n_refused++;
        }
    }
    assert_int_equal(n_refused, N_OF(c) - 64);
    /* Whoever is quick is served. */
    assert_int_equal(ask(r, "/health"), 200);
    for (size_t i = 0; i < N_OF(c); i++) {
        client_close(c[i]);
    }
    rig_stop(r);
}

/* --- sizes --- */

static void test_sizes(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.max_body = 1 << 20;
    r->params.max_bodies = 1 << 20;
    rig_start(r);
    struct client *c = client_open(r), *d = client_open(r);
    char *big = malloc(4 << 20);
    (void)state;
    memset(big, 'x', 4 << 20);
    /* The client sends everything before it reads: the answer must survive that. */
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n");
    client_send_bytes(c, big, 4 << 20);
    assert_int_equal(client_answer(c), 413);
    assert_non_null(strstr(c->body, "4194304"));
    assert_non_null(strstr(c->body, "1048576"));
    client_close(c);
    /* One body takes all the memory that there is for bodies. */
    client_send(d, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    client_send_bytes(d, big, 999999);
    poll(NULL, 0, 100);
    c = client_open(r);
    client_post(c, "/tokenize", "{}");
    assert_int_equal(client_answer(c), 503);
    assert_non_null(client_header(c, "Retry-After"));
    client_close(c);
    client_send_bytes(d, big, 1);
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    c = client_open(r);
    client_post(c, "/tokenize", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 2);
    assert_int_equal(strlen(r->core->jobs[0].body), 1000000);
    client_close(c);
    /* The core has a copy of it until the request has an answer. */
    c = client_open(r);
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client_send_bytes(c, big, 100000);
    assert_int_equal(client_answer(c), 503);
    client_close(c);
    client_close(d);
    FAKE_WAIT(r->core, r->core->n_cancelled == 2);
    c = client_open(r);
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client_send_bytes(c, big, 100000);
    FAKE_WAIT(r->core, r->core->n_jobs == 3);
    client_close(c);
    free(big);
    rig_stop(r);
}

static void test_big_answer(void **state)
{
    enum { SIZE = 20 << 20 };
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    char *big = malloc(SIZE + 1);
    (void)state;
    memset(big, 'y', SIZE);
    big[SIZE] = '\0';
    client_post(c, "/embeddings", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    fake_end(r->core, 0, 200, big);
    poll(NULL, 0, 50);
    assert_int_equal(client_answer(c), 200);
    assert_int_equal(c->n_body, SIZE);
    assert_memory_equal(c->body, big, SIZE);
    client_close(c);
    free(big);
    rig_stop(r);
}

/* --- too many --- */

static void test_connections(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.max_connections = 8;
    rig_start(r);
    struct client *c[8];
    (void)state;
    for (size_t i = 0; i < N_OF(c); i++) {
        c[i] = client_open(r);
        assert_int_equal(client_get(c[i], "/health"), 200);
    }
    for (int i = 0; i < 100; i++) {
        struct client *more = client_open(r);
        client_send(more, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(client_answer(more), 503);
        assert_non_null(client_header(more, "Retry-After"));
        assert_true(client_sees_end(more, 1000));
        client_close(more);
    }
    assert_int_equal(client_get(c[3], "/metrics"), 200);
    assert_non_null(strstr(c[3]->body, "refused 100\n"));
    client_close(c[0]);
    poll(NULL, 0, 50);
    assert_int_equal(ask(r, "/health"), 200);
    for (size_t i = 1; i < N_OF(c); i++) {
        client_close(c[i]);
    }
    rig_stop(r);
}

/* Without descriptors every client still gets an answer, and the server goes on afterwards. */
static void test_no_descriptors(void **state)
{
    struct rig *r = rig_ready();
    struct rlimit old, few;
    struct client *c[3];
    (void)state;
    for (size_t i = 0; i < N_OF(c); i++) {
        c[i] = client_of(socket(AF_INET, SOCK_STREAM, 0));
    }
    struct client *held = client_open(r);
    assert_int_equal(client_get(held, "/health"), 200);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)dup(0); /* the lowest that is free */
    close((int)few.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)r->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (size_t i = 0; i < N_OF(c); i++) {
        assert_int_equal(connect(c[i]->fd, (struct sockaddr *)&to, sizeof to), 0);
        client_send(c[i], "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(client_head(c[i]), 503);
        client_until(c[i], "too many connections");
        assert_true(client_sees_end(c[i], 1000));
    }
    assert_int_equal(client_get(held, "/health"), 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (size_t i = 0; i < N_OF(c); i++) {
        client_close(c[i]);
    }
    poll(NULL, 0, 200);
    assert_int_equal(ask(r, "/health"), 200);
    assert_int_equal(metric(r, "refused "), 3);
    client_close(held);
    rig_stop(r);
}

/* A thousand streams at once, from one address: each gets its own events, all are seen to leave. */
static void test_many_streams(void **state)
{
    enum { MANY = 1000 };
    static struct client *c[MANY];
    struct rlimit limit;
    char text[64];
    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < 2 * MANY + 200 || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        skip();
    }
    struct rig *r = rig_ready();
    for (size_t i = 0; i < MANY; i++) {
        c[i] = client_open(r);
        snprintf(text, sizeof text, "%zu", i);
        client_post(c[i], "/completion", text);
    }
    FAKE_WAIT(r->core, r->core->n_jobs == MANY);
    for (size_t i = 0; i < MANY; i++) {
        fake_put(r->core, (struct fake_command){ .kind = FAKE_BEGIN, .job = i });
        fake_event(r->core, i, r->core->jobs[i].body);
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(client_head(c[i]), 200);
        snprintf(text, sizeof text, "data: %zu\n\n", i);
        client_until(c[i], text);
    }
    assert_int_equal(ask(r, "/health"), 200);
    double begin = figures_now();
    for (size_t i = 0; i < MANY; i++) {
        client_close(c[i]);
    }
    FAKE_WAIT(r->core, r->core->n_cancelled == MANY);
    printf("%d of %d streams cancelled %.0f ms after the first client left\n", MANY, MANY,
           (figures_now() - begin) * 1e3);
    rig_stop(r);
}

/* --- the end --- */

static double seconds_to_end(struct rig *r)
{
    double begin = figures_now();
    rig_join(r);
    return figures_now() - begin;
}

static void test_end_idle(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r), *d = client_open(r);
    (void)state;
    assert_int_equal(client_get(c, "/health"), 200);
    client_send(d, "GET /hea");
    kill(getpid(), SIGTERM);
    assert_true(seconds_to_end(r) < 0.5);
    assert_int_equal(r->code, 0);
    assert_int_equal(try_connect(r->port), -1);
    client_close(c);
    client_close(d);
    rig_free(r);
}

static void test_end_running(void **state)
{
    struct rig *r = rig_ready();
    struct client *stream = open_stream(r), *idle = client_open(r), *waits = client_open(r);
    (void)state;
    assert_int_equal(client_get(idle, "/health"), 200);
    client_send(waits, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{");
    poll(NULL, 0, 50);
    kill(getpid(), SIGTERM);
    assert_true(client_sees_end(idle, 1000));
    assert_int_equal(try_connect(r->port), -1);
    fake_event(r->core, 0, "last words");
    client_until(stream, "last words\n\n");
    fake_end(r->core, 0, 200, NULL);
    client_until(stream, "\r\n0\r\n\r\n");
    assert_true(seconds_to_end(r) < 0.5);
    assert_int_equal(r->code, 0);
    client_close(stream);
    client_close(idle);
    client_close(waits);
    rig_free(r);
}

static void test_end_late(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.drain_timeout = 0.4;
    rig_start(r);
    struct client *stream = open_stream(r), *whole = client_open(r);
    (void)state;
    client_post(whole, "/tokenize", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 2);
    kill(getpid(), SIGTERM);
    client_until(stream, "data: {\"error\":{");
    client_until(stream, "\r\n0\r\n\r\n");
    assert_int_equal(client_answer(whole), 503);
    assert_true(seconds_to_end(r) < 0.5);
    assert_int_equal(r->core->n_cancelled, 2);
    client_close(stream);
    client_close(whole);
    rig_free(r);
}

static void test_end_delayed(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.drain_delay = 0.5;
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    assert_int_equal(client_get(c, "/health"), 200);
    kill(getpid(), SIGTERM);
    poll(NULL, 0, 100);
    assert_int_equal(client_get(c, "/health"), 503);
    assert_int_equal(ask(r, "/live"), 200);
    struct client *d = client_open(r);
    client_post(d, "/tokenize", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    poll(NULL, 0, 600);
    assert_int_equal(try_connect(r->port), -1);
    fake_end(r->core, 0, 200, "1");
    assert_int_equal(client_answer(d), 200);
    assert_true(seconds_to_end(r) < 0.5);
    client_close(c);
    client_close(d);
    rig_free(r);
}

static void test_end_now(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = open_stream(r);
    (void)state;
    kill(getpid(), SIGINT);
    poll(NULL, 0, 100);
    kill(getpid(), SIGTERM);
    assert_true(seconds_to_end(r) < 0.3);
    assert_int_equal(r->code, 0);
    server_close(r->server);
    assert_int_equal(r->core->n_cancelled, 1);
    fake_close(r->core);
    free(r);
    client_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_leaving_at_once),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_no_reader),
        cmocka_unit_test(test_end_while_paused),
        cmocka_unit_test(test_slow_head),
        cmocka_unit_test(test_slow_body),
        cmocka_unit_test(test_unfinished),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_big_answer),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_many_streams),
        cmocka_unit_test(test_end_idle),
        cmocka_unit_test(test_end_running),
        cmocka_unit_test(test_end_late),
        cmocka_unit_test(test_end_delayed),
        cmocka_unit_test(test_end_now),
    };
    return cmocka_run_group_tests_name("http limits", tests, NULL, NULL);
}
