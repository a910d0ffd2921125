/* Ten thousand malformed requests, each on a connection of its own: each is refused or its
 * connection is closed, at once, and the server goes on. */
#include "http_rig.h"

#include "support/level.h"

#define N_OF(a) (sizeof(a) / sizeof *(a))

static uint64_t state_of_random = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return (uint32_t)(state_of_random >> 32) % n;
}

struct text {
    char at[65536];
    size_t n;
};

static void put(struct text *t, const char *text, size_t n)
{
    memcpy(t->at + t->n, text, n);
    t->n += n;
}

static void put_text(struct text *t, const char *text) { put(t, text, strlen(text)); }

static void put_many(struct text *t, char c, size_t n)
{
    memset(t->at + t->n, c, n);
    t->n += n;
}

/* A line in place of the request line. */
static void put_bad_line(struct text *t)
{
    static const char *const lines[] = {
        "GET /health HTTP/1.1\n",
        "GET /health\r\n",
        "GET  /health HTTP/1.1\r\n",
        "GET /health HTTP/1.1 \r\n",
        "G\xc3\x84T /health HTTP/1.1\r\n",
        "GET health HTTP/1.1\r\n",
        "GET /%zz HTTP/1.1\r\n",
        "GET /%00 HTTP/1.1\r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "GET / HTTP/3.0\r\n",
        "GET / FTP/1.1\r\n",
        "BREW /pot HTTP/1.1\r\n",
        "GET http://a@b/ HTTP/1.1\r\n",
        "CONNECT a:80 HTTP/1.1\r\n",
        "\x16\x03\x01\x02",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "GET /a#b HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    size_t i = draw(N_OF(lines) + 1);
    if (i < N_OF(lines)) {
        put_text(t, lines[i]);
    } else {
        put_text(t, "GET /");
        put_many(t, 'a', 8192 + draw(20000));
        put_text(t, " HTTP/1.1\r\n");
    }
}

/* Lines among the headers. */
static void put_bad_header(struct text *t)
{
    static const char *const lines[] = {
        "A : b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\n",
        "A: b\rc: d\r\n",
        "A\r\n",
        ": b\r\n",
        "A(b): c\r\n",
        "A: \x01\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1e3\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: \x0b"
        "chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Expect: the-unexpected\r\n",
    };
    size_t i = draw(N_OF(lines) + 3);
    if (i < N_OF(lines)) {
        put_text(t, lines[i]);
    } else if (i == N_OF(lines)) {
        put(t, "A: \0\r\n", 6);
    } else if (i == N_OF(lines) + 1) {
        put_text(t, "A: ");
        put_many(t, 'b', 16384 + draw(20000));
        put_text(t, "\r\n");
    } else {
        for (int k = 0; k < 101; k++) {
            put_text(t, "A: b\r\n");
        }
    }
}

static void put_bad_chunk(struct text *t)
{
    static const char *const chunks[] = {
        "-1\r\n",       "0x1\r\n",        "\r\n",
        "g\r\n",        "1\na\n0\n\n",    "1\r\naX",
        "1 \r\na\r\n",  "1\r\na\rX",      "fffffffffffff\r\n",
        "1;\x02\r\n",   "0\r\nA\r\n",     "0\r\nA: b\n",
        "0\r\n: b\r\n", "0\r\nA : b\r\n", "00000000000000001\r\n",
    };
    put_text(t, "POST /tokenize HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    put_text(t, draw(2) ? "3\r\nabc\r\n" : "");
    put_text(t, chunks[draw(N_OF(chunks))]);
}

/* Makes a request that has to be refused. */
static void make_bad(struct text *t)
{
    t->n = 0;
    switch (draw(3)) {
    case 0:
        put_bad_line(t);
        put_text(t, "Host: a\r\n\r\n");
        break;
    case 1:
        put_text(t, draw(2) ? "POST /tokenize HTTP/1.1\r\n" : "GET /health HTTP/1.1\r\n");
        put_text(t, draw(2) ? "User-Agent: test\r\nAccept: */*\r\n" : "");
        put_bad_header(t);
        put_text(t, "\r\nab");
        break;
    default: put_bad_chunk(t); break;
    }
}

/* Makes a good request with some bytes changed, left out or put in. */
static void make_damaged(struct text *t)
{
    t->n = 0;
    put_text(t, "POST /tokenize HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                "X-Request-Id: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    for (uint32_t k = 1 + draw(8); k > 0; k--) {
        size_t at = draw((uint32_t)t->n);
        if (draw(3) == 0) {
            memmove(t->at + at, t->at + at + 1, t->n - at - 1);
            t->n--;
        } else {
            t->at[at] = (char)draw(256);
        }
    }
}

struct times {
    size_t n_late; /* more than 50 ms */
    double most;
};

static void add_time(struct times *t, double seconds)
{
    t->n_late += seconds > 0.05;
    t->most = seconds > t->most ? seconds : t->most;
}

static void send_bad(struct rig *r, struct times *times)
{
    static struct text text;
    struct client *c = client_open(r);
    make_bad(&text);
    client_send_bytes(c, text.at, text.n);
    double begin = figures_now();
    if (client_more(c, 3000)) {
        add_time(times, figures_now() - begin);
        int status = client_head(c);
        if (status < 400 || client_header(c, "Connection") == NULL) {
            fail_msg("%d for: %.*s", status, (int)text.n, text.at);
        }
    } else if (!c->closed) {
        fail_msg("no answer to: %.*s", (int)text.n, text.at);
    } else {
        add_time(times, figures_now() - begin);
    }
    client_close(c);
}

/* What is damaged may still be good, or may never be complete: the client says that no more will
 * come. */
static void send_damaged(struct rig *r, struct times *times)
{
    static struct text text;
    struct client *c = client_open(r);
    make_damaged(&text);
    client_send_bytes(c, text.at, text.n);
    shutdown(c->fd, SHUT_WR);
    double begin = figures_now();
    if (!client_more(c, 3000) && !c->closed) {
        fail_msg("neither answer nor end for: %.*s", (int)text.n, text.at);
    }
    add_time(times, figures_now() - begin);
    client_close(c);
}

static void test_malformed(void **state)
{
    const size_t n = level_all("8,000 of 10,000 malformed requests") ? 5000 : 1000;
    struct rig *r = rig_ready();
    struct times times = { 0 };
    (void)state;
    for (size_t i = 0; i < n; i++) {
        send_bad(r, &times);
        send_damaged(r, &times);
    }
    printf("%zu requests: the latest answer after %.1f ms, %zu after more than 50 ms\n", 2 * n,
           times.most * 1e3, times.n_late);
    /* On a machine that does other work too, some threads get their turn late. */
    assert_true(times.n_late <= n / 100 && times.most < 2);
    assert_int_equal(ask(r, "/health"), 200);
    for (int i = 0; i < 100 && metric(r, "connections ") > 1; i++) {
        poll(NULL, 0, 10);
    }
    assert_int_equal(metric(r, "connections "), 1);
    rig_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_malformed) };
    return cmocka_run_group_tests_name("http malformed", tests, NULL, NULL);
}
