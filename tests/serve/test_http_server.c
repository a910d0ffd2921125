/* What the server answers: paths, methods, keys, pages of others, jobs and streams. The core is a
 * fake; sockets are real. */
#include "http_rig.h"

#define N_OF(a) (sizeof(a) / sizeof *(a))

static void assert_error(const struct client *c, int status, const char *type, const char *text)
{
    char code[32];
    snprintf(code, sizeof code, "\"code\":%d", status);
    assert_int_equal(c->status, status);
    assert_string_equal(client_header(c, "Content-Type"), "application/json; charset=utf-8");
    if (strstr(c->body, type) == NULL || strstr(c->body, text) == NULL ||
        strstr(c->body, code) == NULL) {
        fail_msg("%d '%s' has not '%s', '%s', '%s'", status, c->body, type, text, code);
    }
}

static void test_looks(void **state)
{
    static const struct {
        const char *path, *body;
        int status;
    } cases[] = {
        { "/health", "{\"status\":\"ok\"}", 200 },
        { "/v1/health?x=1", "{\"status\":\"ok\"}", 200 },
        { "/ready", "{\"status\":\"ok\"}", 200 },
        { "/live", "{\"status\":\"ok\"}", 200 },
        { "/v1/models", "{\"object\":\"list\"}", 200 },
        { "/models", "{\"object\":\"list\"}", 200 },
        { "/v1/models/a%2Fb", "{\"id\":\"a/b\"}", 200 },
        { "/v1/models/a/b", "{\"id\":\"a/b\"}", 200 },
        { "http://localhost/props?a=b", "{\"props\":1}", 200 },
        { "/slots", "[]", 200 },
        { "/v1/models/c", "not_found_error", 404 },
        { "/v1/models/", "there is no such path", 404 },
        { "/", "there is no such path", 404 },
        { "/V1/models", "there is no such path", 404 },
        { "/v1//models", "there is no such path", 404 },
    };
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        assert_int_equal(client_get(c, cases[i].path), cases[i].status);
        assert_non_null(strstr(c->body, cases[i].body));
        assert_non_null(client_header(c, "X-Request-Id"));
        assert_string_equal(client_header(c, "Server"), "weft/" WEFT_VERSION);
    }
    client_close(c);
    rig_stop(r);
}

static void test_methods(void **state)
{
    static const struct {
        const char *method, *path, *allow;
        int status;
    } cases[] = {
        { "POST", "/health", "GET, HEAD, OPTIONS", 405 },
        { "GET", "/v1/chat/completions", "POST, OPTIONS", 405 },
        { "HEAD", "/v1/chat/completions", "POST, OPTIONS", 405 },
        { "PUT", "/props", "GET, HEAD, POST, OPTIONS", 405 },
        { "DELETE", "/nothing", NULL, 404 },
        { "PATCH", "/tokenize", "POST, OPTIONS", 405 },
    };
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        client_send(c, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].method, cases[i].path);
        client_head(c);
        assert_int_equal(c->status, cases[i].status);
        const char *allow = client_header(c, "Allow");
        assert_true((allow == NULL) == (cases[i].allow == NULL));
        assert_true(allow == NULL || strcmp(allow, cases[i].allow) == 0);
        if (strcmp(cases[i].method, "HEAD") != 0) {
            client_take(c, strtoul(client_header(c, "Content-Length"), NULL, 10));
        }
    }
    client_send(c, "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_head(c), 200);
    assert_string_equal(client_header(c, "Content-Length"), "15");
    assert_int_equal(client_get(c, "/health"), 200); /* no body came before it */
    client_close(c);
    rig_stop(r);
}

static void test_missing(void **state)
{
    static const char *const paths[] = { "/props",     "/v1/responses",
                                         "/responses", "/v1/messages",
                                         "/infill",    "/v1/messages/count_tokens" };
    struct rig *r = rig_new(CORE_READY);
    r->params.metrics = r->params.slots = false;
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    for (size_t i = 0; i < N_OF(paths); i++) {
        client_post(c, paths[i], "{}");
        client_answer(c);
        assert_error(c, 501, "not_supported_error", "does not have this route");
    }
    client_get(c, "/metrics");
    assert_error(c, 501, "not_supported_error", "--metrics");
    client_get(c, "/slots");
    assert_error(c, 501, "not_supported_error", "--no-slots");
    client_close(c);
    rig_stop(r);
}

static void test_prefix(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.prefix = "/llm";
    rig_start(r);
    (void)state;
    assert_int_equal(ask(r, "/llm/health"), 200);
    assert_int_equal(ask(r, "/llm/v1/models/a%2fb"), 200);
    assert_int_equal(ask(r, "/health"), 404);
    assert_int_equal(ask(r, "/llmhealth"), 404);
    rig_stop(r);
}

static void test_loading(void **state)
{
    struct rig *r = rig_new(CORE_LOADING);
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    client_get(c, "/health");
    assert_error(c, 503, "unavailable_error", "\"Loading model\"");
    assert_int_equal(client_get(c, "/live"), 200);
    assert_int_equal(client_get(c, "/metrics"), 200);
    client_post(c, "/v1/chat/completions", "");
    client_answer(c);
    assert_error(c, 503, "unavailable_error", "Loading model");
    assert_string_equal(client_header(c, "Retry-After"), "2");
    fake_set_state(r->core, CORE_READY);
    assert_true(rig_logged(r, "ready after"));
    assert_int_equal(client_get(c, "/health"), 200);
    fake_set_state(r->core, CORE_LOST);
    client_get(c, "/health");
    assert_error(c, 503, "unavailable_error", "device");
    assert_int_equal(client_get(c, "/live"), 503);
    client_close(c);
    rig_stop(r);
}

static void test_load_fails(void **state)
{
    struct rig *r = rig_new(CORE_LOADING);
    rig_start(r);
    (void)state;
    fake_set_state(r->core, CORE_FAILED);
    rig_join(r);
    assert_int_equal(r->code, 3);
    rig_free(r);
}

static void test_no_slot(void **state)
{
    struct rig *r = rig_ready();
    struct client *c[4];
    (void)state;
    assert_int_equal(ask(r, "/slots?fail_on_no_slot=1"), 200);
    for (size_t i = 0; i < N_OF(c); i++) {
        c[i] = client_open(r);
        client_post(c[i], "/completion", "{}");
    }
    FAKE_WAIT(r->core, r->core->n_jobs == 4);
    assert_int_equal(ask(r, "/slots?x=2&fail_on_no_slot=1"), 503);
    assert_int_equal(ask(r, "/slots?fail_on_no_slot=10"), 200);
    for (size_t i = 0; i < N_OF(c); i++) {
        client_close(c[i]);
    }
    rig_stop(r);
}

/* --- who may ask --- */

static int with_headers(struct client *c, const char *path, const char *headers)
{
    client_send(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers);
    return client_answer(c);
}

static void test_keys(void **state)
{
    static char file[] = "# those of the house\r\nalice secret-a\n\nsecret-b\n";
    struct rig *r = rig_new(CORE_READY);
    assert_true(api_keys_add(&r->params.keys, NULL, "secret-0"));
    assert_int_equal(api_keys_read(&r->params.keys, file), 0);
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    assert_int_equal(client_get(c, "/v1/models"), 401);
    assert_error(c, 401, "authentication_error", "a key is needed");
    assert_string_equal(client_header(c, "WWW-Authenticate"), "Bearer");
    assert_int_equal(client_get(c, "/nothing"), 401);
    assert_int_equal(client_get(c, "/health"), 200);
    assert_int_equal(client_get(c, "/live"), 200);
    assert_int_equal(with_headers(c, "/props", "Authorization: Bearer secret-0\r\n"), 200);
    assert_int_equal(with_headers(c, "/props", "authorization: bearer  secret-a\r\n"), 200);
    assert_int_equal(with_headers(c, "/props", "X-Api-Key: secret-b\r\n"), 200);
    assert_int_equal(with_headers(c, "/props", "api-key: secret-b\r\n"), 200);
    assert_int_equal(with_headers(c, "/props", "api-key: secret-\r\n"), 401);
    assert_int_equal(with_headers(c, "/props", "api-key: secret-bb\r\n"), 401);
    assert_int_equal(with_headers(c, "/props", "api-key: alice\r\n"), 401);
    assert_int_equal(with_headers(c, "/props", "api-key:\r\n"), 401);
    assert_int_equal(with_headers(c, "/props", "Authorization: Basic secret-0\r\n"), 401);
    assert_true(rig_logged(r, "/props 200") && rig_logged(r, "key=alice"));
    assert_true(rig_logged(r, "key=key1") && rig_logged(r, "key=key3"));
    assert_false(rig_has_logged(r, "secret"));
    client_close(c);
    struct api_keys keys = r->params.keys;
    rig_stop(r);
    api_keys_free(&keys);
}

/* A request without a key whose body is still coming: it is answered before. */
static void test_key_before_body(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    assert_true(api_keys_add(&r->params.keys, NULL, "secret"));
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{");
    assert_int_equal(client_answer(c), 401);
    assert_string_equal(client_header(c, "Connection"), "close");
    client_close(c);
    struct api_keys keys = r->params.keys;
    rig_stop(r);
    api_keys_free(&keys);
}

static void test_origins_with_key(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    assert_true(api_keys_add(&r->params.keys, NULL, "k"));
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "OPTIONS /completions HTTP/1.1\r\nHost: evil.example\r\nOrigin: web.example\r\n"
                   "Access-Control-Request-Method: POST\r\n\r\n");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(client_header(c, "Access-Control-Allow-Origin"), "web.example");
    assert_string_equal(client_header(c, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(client_header(c, "Access-Control-Allow-Methods"),
                        "GET, POST, DELETE, OPTIONS");
    assert_string_equal(client_header(c, "Access-Control-Allow-Headers"),
                        "Authorization, Content-Type, X-Api-Key, *");
    assert_int_equal(with_headers(c, "/props", "Origin: http://a.b\r\napi-key: k\r\n"), 200);
    assert_string_equal(client_header(c, "Access-Control-Allow-Origin"), "http://a.b");
    /* The page must be able to read why it was refused. */
    assert_int_equal(with_headers(c, "/props", "Origin: http://a.b\r\n"), 401);
    assert_string_equal(client_header(c, "Access-Control-Allow-Origin"), "http://a.b");
    client_close(c);
    struct api_keys keys = r->params.keys;
    rig_stop(r);
    api_keys_free(&keys);
}

static void test_origins_without_key(void **state)
{
    static const struct {
        const char *host, *origin;
        int status;
    } cases[] = {
        { "localhost:8080", "http://localhost:3000", 200 },
        { "localhost", "https://127.0.0.1", 200 },
        { "localhost", "http://[::1]:99", 200 },
        { "box:8080", "http://box:8080", 200 },
        { "localhost", "http://evil.example", 403 },
        { "localhost", "http://localhost.evil.example", 403 },
        { "localhost", "http://127.0.0.1.evil.example", 403 },
        { "localhost", "null", 403 },
        { "localhost", "https://good.example", 200 },
        { "evil.example", NULL, 403 },
        { "evil.example:80", NULL, 403 },
        { "localhost.evil.example", NULL, 403 },
        { "127.0.0.1.evil.example", NULL, 403 },
        { "weft.example", NULL, 200 },
        { "WEFT.example.:1", NULL, 200 },
        { "[::1]:8080", NULL, 200 },
        { "192.168.1.7:8080", NULL, 200 },
        { "weft.default.svc.cluster.local", NULL, 200 },
    };
    static const char *const names[] = { "weft.example" }, *const origins[] = {
        "https://good.example"
    };
    struct rig *r = rig_new(CORE_READY);
    r->params.names = names;
    r->params.origins = origins;
    r->params.n_names = r->params.n_origins = 1;
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        client_send(c, "GET /props HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", cases[i].host,
                    cases[i].origin != NULL ? "Origin: " : "",
                    cases[i].origin != NULL ? cases[i].origin : "",
                    cases[i].origin != NULL ? "\r\n" : "");
        if (client_answer(c) != cases[i].status) {
            fail_msg("%s, %s: %d", cases[i].host, cases[i].origin, c->status);
        }
        bool granted = client_header(c, "Access-Control-Allow-Origin") != NULL;
        assert_true(granted == (cases[i].origin != NULL && cases[i].status == 200));
    }
    client_close(c);
    rig_stop(r);
}

/* --- jobs --- */

static void test_job(void **state)
{
    static const struct {
        const char *path;
        enum route route;
    } cases[] = {
        { "/v1/chat/completions", ROUTE_CHAT },
        { "/chat/completions", ROUTE_CHAT },
        { "/v1/completions", ROUTE_COMPLETIONS },
        { "/completion", ROUTE_COMPLETION },
        { "/completions", ROUTE_COMPLETION },
        { "/v1/embeddings", ROUTE_EMBEDDINGS },
        { "/embeddings", ROUTE_EMBEDDINGS },
        { "/v1/rerank", ROUTE_RERANK },
        { "/rerank", ROUTE_RERANK },
        { "/reranking", ROUTE_RERANK },
        { "/v1/reranking", ROUTE_RERANK },
        { "/tokenize", ROUTE_TOKENIZE },
        { "/detokenize", ROUTE_DETOKENIZE },
        { "/apply-template", ROUTE_TEMPLATE },
    };
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    for (size_t i = 0; i < N_OF(cases); i++) {
        client_post(c, cases[i].path, "{\"a\":1}");
        FAKE_WAIT(r->core, r->core->n_jobs == i + 1);
        assert_int_equal(r->core->jobs[i].route, cases[i].route);
        assert_string_equal(r->core->jobs[i].body, "{\"a\":1}");
        assert_string_equal(r->core->jobs[i].key, "127.0.0.1");
        fake_end(r->core, i, i % 2 == 0 ? 200 : 503, "{\"answer\":42}");
        assert_int_equal(client_answer(c), i % 2 == 0 ? 200 : 503);
        assert_string_equal(c->body, "{\"answer\":42}");
        assert_true((client_header(c, "Retry-After") != NULL) == (i % 2 == 1));
        assert_string_equal(client_header(c, "X-Request-Id"), r->core->jobs[i].id);
    }
    client_close(c);
    rig_stop(r);
}

static void test_request_id(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    char longest[JOB_ID_MAX + 1], first[512];
    (void)state;
    memset(longest, 'x', JOB_ID_MAX);
    longest[JOB_ID_MAX] = '\0';
    client_send(c, "GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: %s\r\n\r\n", longest);
    client_answer(c);
    assert_string_equal(client_header(c, "X-Request-Id"), longest);
    client_send(c, "GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: %sx\r\n\r\n", longest);
    client_answer(c);
    snprintf(first, sizeof first, "%s", client_header(c, "X-Request-Id"));
    assert_int_equal(strspn(first, "0123456789abcdef"), 24);
    assert_int_equal(with_headers(c, "/health", "X-Request-Id: a b\r\n"), 200);
    assert_string_not_equal(client_header(c, "X-Request-Id"), "a b");
    assert_string_not_equal(client_header(c, "X-Request-Id"), first);
    client_close(c);
    rig_stop(r);
}

static void test_body_kinds(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    r->core->echoes = true;
    (void)state;
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "abcde");
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                   "Expect: 100-continue\r\n\r\n");
    client_until(c, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(c, "fghij");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "fghij");
    client_post(c, "/tokenize", "");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "");
    client_close(c);
    c = client_open(r);
    client_send(c, "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: x\r\n\r\n");
    assert_int_equal(client_answer(c), 417);
    client_close(c);
    rig_stop(r);
}

static void test_pipelining(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
                   "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                   "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo\r\n"
                   "GET /props HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /more");
    assert_int_equal(client_answer(c), 200);
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    poll(NULL, 0, 20);
    assert_int_equal(r->core->n_jobs, 1);
    fake_end(r->core, 0, 200, "1");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "1");
    FAKE_WAIT(r->core, r->core->n_jobs == 2);
    assert_string_equal(r->core->jobs[1].body, "two");
    fake_end(r->core, 1, 200, "2");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "2");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(c->body, "{\"props\":1}");
    assert_true(client_sees_end(c, 1000));
    client_close(c);
    rig_stop(r);
}

static void test_old_version(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(client_header(c, "Connection"), "keep-alive");
    client_send(c, "GET /health HTTP/1.0\r\n\r\n");
    assert_int_equal(client_answer(c), 200);
    assert_string_equal(client_header(c, "Connection"), "close");
    assert_true(client_sees_end(c, 1000));
    client_close(c);
    rig_stop(r);
}

/* --- streams --- */

static void test_stream(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    client_post(c, "/v1/chat/completions", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    fake_begin(r->core, 0, 0);
    assert_int_equal(client_head(c), 200);
    assert_string_equal(client_header(c, "Content-Type"), "text/event-stream");
    assert_string_equal(client_header(c, "Cache-Control"), "no-cache");
    assert_string_equal(client_header(c, "X-Accel-Buffering"), "no");
    assert_string_equal(client_header(c, "Transfer-Encoding"), "chunked");
    assert_string_equal(client_chunk(c), ":\n\n");
    fake_event(r->core, 0, "{\"x\":1}");
    assert_string_equal(client_chunk(c), "data: {\"x\":1}\n\n");
    /* What happens between two calls of core_drain() is one chunk. */
    fake_put(r->core, (struct fake_command){
                          .kind = FAKE_EVENT, .name = strdup("n"), .text = strdup("1"), .n = 1 });
    fake_put(r->core, (struct fake_command){ .kind = FAKE_EVENT, .text = strdup("2"), .n = 1 });
    fake_event(r->core, 0, "[DONE]");
    assert_string_equal(client_chunk(c), "event: n\ndata: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
    fake_end(r->core, 0, 200, NULL);
    assert_string_equal(client_chunk(c), "");
    assert_int_equal(client_get(c, "/health"), 200);
    assert_true(rig_logged(r, "/v1/chat/completions 200 prompt=31 cached=16 generated=3 "
                              "queue=500.0ms first=1000.0ms"));
    client_close(c);
    rig_stop(r);
}

static void test_stream_old_version(void **state)
{
    struct rig *r = rig_ready();
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "POST /completion HTTP/1.0\r\nConnection: keep-alive\r\n"
                   "Content-Length: 2\r\n\r\n{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    fake_begin(r->core, 0, 0);
    assert_int_equal(client_head(c), 200);
    assert_string_equal(client_header(c, "Connection"), "close");
    assert_null(client_header(c, "Transfer-Encoding"));
    fake_event(r->core, 0, "1");
    fake_end(r->core, 0, 200, NULL);
    assert_string_equal(client_until(c, "data: 1\n\n"), ":\n\ndata: 1\n\n");
    assert_true(client_sees_end(c, 1000));
    client_close(c);
    rig_stop(r);
}

static void test_ping(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.ping_interval = 0.15;
    rig_start(r);
    struct client *often = client_open(r), *never = client_open(r);
    (void)state;
    client_post(often, "/completion", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    client_post(never, "/completion", "{}");
    FAKE_WAIT(r->core, r->core->n_jobs == 2);
    fake_begin(r->core, 0, 0);
    fake_begin(r->core, 1, -1);
    client_head(often);
    client_head(never);
    double begin = figures_now();
    for (int i = 0; i < 4; i++) {
        assert_string_equal(client_chunk(often), ":\n\n");
    }
    assert_true(figures_now() - begin > 0.4);
    assert_string_equal(client_chunk(never), ":\n\n");
    assert_false(client_more(never, 100));
    client_close(often);
    client_close(never);
    rig_stop(r);
}

/* --- listening, and the log --- */

static void test_unix_socket(void **state)
{
    char path[64], why[256];
    snprintf(path, sizeof path, "/tmp/weft-test-%d.sock", (int)getpid());
    const char *hosts[] = { path, "127.0.0.1", "::1" };
    struct rig *r = rig_new(CORE_READY);
    r->params.hosts = hosts;
    r->params.n_hosts = 1;
    rig_start(r);
    (void)state;
    /* A second server does not take the socket of one that lives. */
    assert_null(server_open(&r->params, why, sizeof why));
    assert_non_null(strstr(why, "in use"));
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } to = { .family = AF_UNIX };
    snprintf(to.path, sizeof to.path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    struct client *c = client_of(fd);
    client_send(c, "GET /props HTTP/1.1\r\nHost: anything.example\r\n\r\n");
    assert_int_equal(client_answer(c), 200);
    client_close(c);
    rig_stop(r);
    assert_int_not_equal(access(path, F_OK), 0);
    /* One that was left behind is replaced. */
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    close(fd);
    r = rig_new(CORE_READY);
    r->params.hosts = hosts;
    r->params.n_hosts = 2;
    rig_start(r);
    assert_int_equal(strncmp(server_address(r->server, 0), "unix:", 5), 0);
    assert_int_equal(strncmp(server_address(r->server, 1), "http://127.0.0.1:", 17), 0);
    assert_int_equal(ask(r, "/health"), 200);
    rig_stop(r);
}

static void test_log_json(void **state)
{
    struct rig *r = rig_new(CORE_READY);
    r->params.log_json = true;
    rig_start(r);
    struct client *c = client_open(r);
    (void)state;
    client_send(c, "POST /tokenize?secret HTTP/1.1\r\nHost: a\r\nX-Request-Id: \"id\"\r\n"
                   "Content-Length: 6\r\n\r\nsecret");
    FAKE_WAIT(r->core, r->core->n_jobs == 1);
    fake_end(r->core, 0, 200, "1");
    client_answer(c);
    assert_true(rig_logged(r, "\"id\":\"\\\"id\\\"\",\"client\":\"127.0.0.1\",\"method\":\"POST\","
                              "\"route\":\"/tokenize\",\"status\":200,\"prompt\":31,\"cached\":16,"
                              "\"generated\":3,\"queue_ms\":500.0,\"first_ms\":1000.0,"));
    assert_false(rig_has_logged(r, "secret"));
    assert_int_equal(metric(r, "\n/tokenize 200 "), 1);
    client_close(c);
    rig_stop(r);
}

static void test_open_warning(void **state)
{
    static const char *const hosts[] = { "0.0.0.0" }, *const wrong[] = { "no host" };
    char why[256];
    struct rig *r = rig_new(CORE_READY);
    (void)state;
    r->params.hosts = wrong;
    r->params.n_hosts = 1;
    assert_null(server_open(&r->params, why, sizeof why));
    assert_non_null(strstr(why, "cannot listen at 'no host'"));
    r->params.hosts = hosts;
    rig_start(r);
    assert_true(rig_logged(r, "listening at http://0.0.0.0:"));
    assert_true(rig_logged(r, "--api-key asks for a key"));
    rig_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_looks),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_load_fails),
        cmocka_unit_test(test_no_slot),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_key_before_body),
        cmocka_unit_test(test_origins_with_key),
        cmocka_unit_test(test_origins_without_key),
        cmocka_unit_test(test_job),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_body_kinds),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_old_version),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_log_json),
        cmocka_unit_test(test_open_warning),
    };
    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
