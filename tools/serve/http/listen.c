/* Sockets that listen, and accepting within limits. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve/fault.h"
#include "serve/http/exchange.h"
#include "serve/http/inside.h"

/* Of connections that one turn of the loop takes from one socket; and how long accepting pauses
 * when there are no descriptors. */
enum { MOST_ACCEPTS = 64, PAUSE_MS = 100, BACKLOG = 1024 };

/* --- accepting --- */

static void prepare(int fd)
{
    int on = 1, unsent = 256 << 10, idle = 30, between = 10, times = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* A machine that has vanished says nothing, so it is asked: within a minute its requests end.
     */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    /* Otherwise the kernel would take megabytes for a client that does not read. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

static void refuse_connection(struct connection *c)
{
    struct fault f = { 0 };
    fault_set(&f, 503, "unavailable_error", "there are too many connections");
    f.retry_after = 2;
    c->refused = true;
    c->server->n_refused++;
    c->server->figures.n_refused++;
    exchange_refuse(c, &f);
    connection_work(c);
}

static void admit(struct server *s, int fd, const struct peer *peer)
{
    size_t n = s->figures.n_connections - s->n_refused;
    prepare(fd);
    s->figures.n_accepted++;
    if (n >= s->params.max_connections && s->n_refused >= MAX_REFUSED) {
        s->figures.n_refused++;
        close(fd);
        return;
    }
    struct connection *c = connection_open(s, fd, peer);
    if (c != NULL && n >= s->params.max_connections) {
        refuse_connection(c);
    } else if (c != NULL) {
        connection_work(c);
    }
    if (s->figures.n_connections > 0 && !event_pending(s->sweep, EV_TIMEOUT, NULL)) {
        event_add(s->sweep, &(struct timeval){ .tv_usec = 100000 });
    }
}

/* There are no descriptors: with the spare one, the client that waits gets an answer. */
static void use_spare(struct server *s, int listening)
{
    /* Without a length: its end is the end of the connection. */
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nServer: weft/" WEFT_VERSION "\r\n"
        "Retry-After: 2\r\nConnection: close\r\n"
        "Content-Type: application/json; charset=utf-8\r\n\r\n"
        "{\"error\":{\"message\":\"there are too many connections\",\"type\":"
        "\"unavailable_error\",\"code\":503,\"param\":null}}";
    char thrown_away[4096];
    if (s->spare < 0) {
        return;
    }
    close(s->spare);
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        s->figures.n_accepted++;
        s->figures.n_refused++;
        /* A request that is left unread would reset the connection before the answer is read. */
        while (recv(fd, thrown_away, sizeof thrown_away, 0) > 0) {
        }
        send(fd, text, sizeof text - 1, MSG_NOSIGNAL);
        close(fd);
    }
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connect(evutil_socket_t listening, short what, void *user)
{
    struct listener *l = user;
    struct server *s = l->server;
    (void)what;
    for (int i = 0; i < MOST_ACCEPTS; i++) {
        struct sockaddr_storage address = { .ss_family = AF_UNIX };
        socklen_t n = sizeof address;
        int fd = accept4(listening, (struct sockaddr *)&address, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            struct peer peer = peer_of(&address);
            admit(s, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            use_spare(s, listening);
            listen_accept(s, false);
            event_add(s->pause, &(struct timeval){ .tv_usec = PAUSE_MS * 1000 });
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

void listen_accept(struct server *s, bool on)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        if (s->listeners[i].event != NULL && on) {
            event_add(s->listeners[i].event, NULL);
        } else if (s->listeners[i].event != NULL) {
            event_del(s->listeners[i].event);
        }
    }
}

void listen_close(struct server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct listener *l = &s->listeners[i];
        if (l->event != NULL) {
            event_free(l->event);
            l->event = NULL;
        }
        if (l->fd >= 0) {
            close(l->fd);
            l->fd = -1;
            if (l->path != NULL) {
                unlink(l->path);
            }
            free(l->path);
            l->path = NULL;
        }
    }
}

/* --- listening --- */

/* Adds the socket, which is bound. */
static struct listener *add_listener(struct server *s, int fd)
{
    struct listener *all = realloc(s->listeners, (s->n_listeners + 1) * sizeof *all);
    if (all == NULL || listen(fd, BACKLOG) != 0) {
        s->listeners = all != NULL ? all : s->listeners;
        return NULL;
    }
    s->listeners = all;
    all[s->n_listeners] = (struct listener){ .fd = fd, .server = s };
    return &all[s->n_listeners++];
}

static void describe_address(struct listener *l)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    char host[64] = "", port[16] = "";
    if (getsockname(l->fd, (struct sockaddr *)&address, &n) == 0) {
        getnameinfo((struct sockaddr *)&address, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    }
    l->is_local = strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
    snprintf(l->text, sizeof l->text, strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s", host,
             port);
}

static int bind_address(const struct server *s, const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    /* "::" alone means the addresses of IPv4 too. */
    int only_six = s->params.n_hosts > 1;
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_six, sizeof only_six);
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

static bool listen_host(struct server *s, const char *host, char *why, size_t cap)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *all = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", s->params.port);
    int code = getaddrinfo(host, port, &hints, &all);
    if (code != 0) {
        snprintf(why, cap, "cannot listen at '%s': %s", host, gai_strerror(code));
        return false;
    }
    size_t n = s->n_listeners;
    int reason = 0;
    for (const struct addrinfo *a = all; a != NULL; a = a->ai_next) {
        int fd = bind_address(s, a);
        struct listener *l = fd >= 0 ? add_listener(s, fd) : NULL;
        if (l != NULL) {
            describe_address(l);
        } else {
            reason = errno;
            if (fd >= 0) {
                close(fd);
            }
        }
    }
    freeaddrinfo(all);
    /* A name may have an address of a kind that this machine does not speak. */
    if (s->n_listeners == n || reason == EADDRINUSE) {
        snprintf(why, cap, "cannot listen at '%s', port %d: %s", host, s->params.port,
                 strerror(reason));
        return false;
    }
    return true;
}

/* Removes the socket that a server has left behind that ended badly. Returns false if there is
 * something else, or a server that lives. */
static bool remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0) {
        return true;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool lives = fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    int code = errno;
    if (fd >= 0) {
        close(fd);
    }
    return S_ISSOCK(st.st_mode) && !lives && code == ECONNREFUSED && unlink(address->sun_path) == 0;
}

static bool listen_unix(struct server *s, const char *path, char *why, size_t cap)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path) {
        snprintf(why, cap, "the path of the socket '%.200s' is too long", path);
        return false;
    }
    strcpy(address.sun_path, path);
    if (!remove_stale(&address)) {
        snprintf(why, cap, "cannot listen at '%s': it exists and is in use, or is not a socket",
                 path);
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    struct listener *l = bound ? add_listener(s, fd) : NULL;
    if (l == NULL || (l->path = strdup(path)) == NULL) {
        snprintf(why, cap, "cannot listen at '%s': %s", path, strerror(errno));
        if (bound) {
            unlink(path);
        }
        if (l == NULL && fd >= 0) {
            close(fd);
        }
        return false;
    }
    l->is_local = true;
    snprintf(l->text, sizeof l->text, "unix:%s", path);
    return true;
}

static bool ends_in_sock(const char *host)
{
    size_t n = strlen(host);
    return n > 5 && strcmp(host + n - 5, ".sock") == 0;
}

bool listen_all(struct server *s, char *why, size_t cap)
{
    bool listens = true;
    for (size_t i = 0; i < s->params.n_hosts && listens; i++) {
        const char *host = s->params.hosts[i];
        if (strncmp(host, "unix:", 5) == 0) {
            listens = listen_unix(s, host + 5, why, cap);
        } else if (ends_in_sock(host)) {
            listens = listen_unix(s, host, why, cap);
        } else {
            listens = listen_host(s, host, why, cap);
        }
    }
    /* Events point to listeners, which may move until all are there. */
    for (size_t i = 0; i < s->n_listeners && listens; i++) {
        struct listener *l = &s->listeners[i];
        l->event = event_new(s->base, l->fd, EV_READ | EV_PERSIST, on_connect, l);
        listens = l->event != NULL;
    }
    return listens;
}
