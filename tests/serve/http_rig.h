/* A server in a thread of its own, and clients that read its answers. */
#ifndef HTTP_RIG_H
#define HTTP_RIG_H

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "fake_core.h"
#include "serve/http/server.h"

struct rig {
    struct core *core;
    struct server *server;
    struct server_params params;
    pthread_t thread;
    int port, code;
    char log[65536]; /* lines of the log, each behind a newline */
    size_t n_log;
    pthread_mutex_t lock;
};

static void rig_log(void *user, bool is_access, const char *line)
{
    struct rig *r = user;
    pthread_mutex_lock(&r->lock);
    int n = snprintf(r->log + r->n_log, sizeof r->log - r->n_log, "\n%c %s", is_access ? 'A' : 'R',
                     line);
    r->n_log += (size_t)n < sizeof r->log - r->n_log ? (size_t)n : 0;
    pthread_mutex_unlock(&r->lock);
}

static void *rig_run(void *user)
{
    struct rig *r = user;
    r->code = server_run(r->server);
    return NULL;
}

/* Prepares a rig; the test may change its params before rig_start(). */
static struct rig *rig_new(enum core_state state)
{
    struct rig *r = calloc(1, sizeof *r);
    r->core = fake_open(state);
    server_defaults(&r->params);
    pthread_mutex_init(&r->lock, NULL);
    r->params.core = r->core;
    r->params.port = 0;
    r->params.metrics = true;
    r->params.log = rig_log;
    r->params.log_user = r;
    return r;
}

static void rig_start(struct rig *r)
{
    char why[256];
    r->server = server_open(&r->params, why, sizeof why);
    if (r->server == NULL) {
        fail_msg("%s", why);
    }
    r->port = server_port(r->server);
    assert_int_equal(pthread_create(&r->thread, NULL, rig_run, r), 0);
}

static inline struct rig *rig_ready(void)
{
    struct rig *r = rig_new(CORE_READY);
    rig_start(r);
    return r;
}

/* Waits for the end of server_run(). */
static void rig_join(struct rig *r)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(r->thread, NULL, &end), 0);
}

static void rig_free(struct rig *r)
{
    server_close(r->server);
    fake_close(r->core);
    free(r);
}

/* Two signals end any server at once. */
static void rig_stop(struct rig *r)
{
    kill(getpid(), SIGTERM);
    poll(NULL, 0, 20);
    if (pthread_tryjoin_np(r->thread, NULL) != 0) {
        kill(getpid(), SIGTERM);
        rig_join(r);
    }
    rig_free(r);
}

static inline bool rig_has_logged(struct rig *r, const char *text)
{
    pthread_mutex_lock(&r->lock);
    bool found = strstr(r->log, text) != NULL;
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* Returns true once the log has the text. */
static inline bool rig_logged(struct rig *r, const char *text)
{
    for (int ms = 0; ms < 2000 && !rig_has_logged(r, text); ms++) {
        poll(NULL, 0, 1);
    }
    return rig_has_logged(r, text);
}

/* --- clients --- */

struct client {
    int fd;
    char *in;
    size_t n, cap;
    bool closed;
    /* of the latest answer */
    int status;
    char *head, *body;
    size_t n_body;
};

static struct client *client_of(int fd)
{
    struct client *c = calloc(1, sizeof *c);
    c->fd = fd;
    return c;
}

static int try_connect(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct client *client_open(const struct rig *r)
{
    int fd = try_connect(r->port);
    assert_true(fd >= 0);
    return client_of(fd);
}

static void client_close(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    free(c->in);
    free(c->head);
    free(c->body);
    free(c);
}

static void client_send_bytes(struct client *c, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the server may close while it is being sent to */
        }
        data += sent;
        n -= (size_t)sent;
    }
}

__attribute__((format(printf, 2, 3))) static void client_send(struct client *c, const char *fmt,
                                                              ...)
{
    char text[65536];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    client_send_bytes(c, text, (size_t)n);
}

/* Reads more. Returns false if the server has closed, or after `ms` without a byte. */
static bool client_more(struct client *c, int ms)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    if (c->cap < c->n + 65537) {
        c->cap = c->n + 262144;
        c->in = realloc(c->in, c->cap);
    }
    if (poll(&p, 1, ms) <= 0) {
        return false;
    }
    ssize_t n = recv(c->fd, c->in + c->n, 65536, 0);
    c->closed = n <= 0;
    c->n += n > 0 ? (size_t)n : 0;
    c->in[c->n] = '\0';
    return n > 0;
}

static void client_drop(struct client *c, size_t n)
{
    memmove(c->in, c->in + n, c->n - n + 1);
    c->n -= n;
}

/* Reads until the text has come, and takes all up to its end. Returns what was taken, which lives
 * until the next call. */
static char *client_until(struct client *c, const char *text)
{
    const char *at;
    while ((at = c->n > 0 ? memmem(c->in, c->n, text, strlen(text)) : NULL) == NULL) {
        if (!client_more(c, 3000)) {
            fail_msg("'%s' did not come; there is: %.600s", text, c->n > 0 ? c->in : "nothing");
        }
    }
    size_t n = (size_t)(at - c->in) + strlen(text);
    free(c->body);
    c->body = malloc(n + 1);
    memcpy(c->body, c->in, n);
    c->body[n] = '\0';
    c->n_body = n;
    client_drop(c, n);
    return c->body;
}

/* Returns a header of the latest answer, or NULL; it lives until the next call. */
static inline const char *client_header(const struct client *c, const char *name)
{
    static char value[512];
    for (const char *line = c->head; (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + strlen(name) + 2, "\r"),
                     line + strlen(name) + 2);
            return value;
        }
    }
    return NULL;
}

/* Reads the head of an answer. */
static int client_head(struct client *c)
{
    client_until(c, "\r\n\r\n");
    free(c->head);
    c->head = c->body;
    c->body = NULL;
    assert_int_equal(sscanf(c->head, "HTTP/1.1 %d ", &c->status), 1);
    return c->status;
}

static void client_take(struct client *c, size_t n)
{
    while (c->n < n) {
        if (!client_more(c, 3000)) {
            fail_msg("%zu bytes of the body are missing", n - c->n);
        }
    }
    free(c->body);
    c->body = malloc(n + 1);
    memcpy(c->body, c->in, n);
    c->body[n] = '\0';
    c->n_body = n;
    client_drop(c, n);
}

/* Reads an answer that has a length. Returns the status. */
static int client_answer(struct client *c)
{
    client_head(c);
    const char *length = client_header(c, "Content-Length");
    assert_non_null(length);
    client_take(c, strtoul(length, NULL, 10));
    return c->status;
}

/* Reads the next chunk, without its borders; the last one is empty. */
static inline const char *client_chunk(struct client *c)
{
    size_t n = strtoul(client_until(c, "\r\n"), NULL, 16);
    client_take(c, n + 2);
    assert_string_equal(c->body + n, "\r\n");
    c->body[n] = '\0';
    return c->body;
}

/* Returns true if the server closes within `ms`, whatever it sends before. */
static inline bool client_sees_end(struct client *c, int ms)
{
    while (client_more(c, ms)) {
    }
    return c->closed;
}

static inline int client_get(struct client *c, const char *path)
{
    client_send(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    return client_answer(c);
}

static inline void client_post(struct client *c, const char *path, const char *body)
{
    client_send(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", path,
                strlen(body), body);
}

/* Asks on a connection of its own. Returns the status. */
static inline int ask(const struct rig *r, const char *path)
{
    struct client *c = client_open(r);
    int status = client_get(c, path);
    client_close(c);
    return status;
}

/* Returns the number behind a name in the metrics of the fake core. */
static inline long metric(const struct rig *r, const char *name)
{
    struct client *c = client_open(r);
    assert_int_equal(client_get(c, "/metrics"), 200);
    const char *at = strstr(c->body, name);
    long value = at != NULL ? atol(at + strlen(name)) : -1;
    client_close(c);
    return value;
}

#endif
