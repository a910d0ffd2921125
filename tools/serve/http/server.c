#include "serve/http/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve/http/inside.h"

/* Descriptors besides those of connections: listeners, the model's files, devices. */
enum { OTHER_DESCRIPTORS = 128 };

void server_defaults(struct server_params *params)
{
    static const char *const hosts[] = { "127.0.0.1" };
    *params = (struct server_params){
        .hosts = hosts,
        .n_hosts = 1,
        .port = SERVER_PORT,
        .prefix = "",
        .slots = true,
        .max_connections = SERVER_CONNECTIONS,
        .max_unfinished = SERVER_UNFINISHED,
        .max_body = MAX_BODY,
        .max_bodies = (size_t)256 << 20,
        .max_unsent = 1 << 20,
        .head_timeout = 10,
        .body_timeout = 60,
        .idle_timeout = 75,
        .write_timeout = SERVER_TIMEOUT,
        .ping_interval = SERVER_PING,
        .drain_timeout = SERVER_DRAIN,
    };
}

/* --- what wakes the loop --- */

static void end_if_done(struct server *s)
{
    if (s->stopping) {
        event_base_loopbreak(s->base);
    }
}

static void on_drained(struct server *s)
{
    while (s->dirty != NULL) {
        struct connection *c = s->dirty;
        s->dirty = c->next_dirty;
        c->dirty = false;
        connection_work(c);
    }
}

static void look_at_core(struct server *s)
{
    enum core_state state = core_state(s->core);
    if (state == CORE_FAILED) {
        s->code = core_load_code(s->core);
        s->stopping = true;
    } else if (state == CORE_READY && !s->told_ready) {
        s->told_ready = true;
        server_remark(s, "ready after %.1f s", figures_now() - s->opened);
    } else if (state == CORE_LOST && s->told_ready) {
        s->told_ready = false;
        server_remark(s, "the device has failed: nothing can be computed any more");
    }
}

static void on_core(evutil_socket_t fd, short what, void *user)
{
    struct server *s = user;
    (void)fd;
    (void)what;
    core_drain(s->core);
    on_drained(s);
    look_at_core(s);
    if (s->drain == DRAIN_REFUSING && s->n_jobs == 0) {
        sweep_all(s);
    }
    end_if_done(s);
}

static void on_sweep(evutil_socket_t fd, short what, void *user)
{
    struct server *s = user;
    (void)fd;
    (void)what;
    sweep_all(s);
    if (s->figures.n_connections == 0 && s->drain == DRAIN_NOT) {
        /* An idle server does not wake up. */
        event_del(s->sweep);
    }
    end_if_done(s);
}

static void on_pause_over(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    listen_accept(user, true);
}

static void free_dead(struct server *s)
{
    while (s->dead != NULL) {
        struct connection *c = s->dead;
        s->dead = c->next;
        connection_free(c);
    }
}

static void on_reap(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    free_dead(user);
}

static void on_signal(evutil_socket_t number, short what, void *user)
{
    struct server *s = user;
    (void)number;
    (void)what;
    if (s->drain != DRAIN_NOT) {
        s->stopping = true;
    } else {
        s->drain = DRAIN_DELAY;
        s->figures.draining = true;
        s->drain_began = figures_now();
        server_remark(s, "shutting down: %zu requests run", s->n_jobs);
        event_add(s->sweep, &(struct timeval){ .tv_usec = 100000 });
        sweep_all(s);
    }
    end_if_done(s);
}

/* --- opening --- */

/* Raises the number of descriptors, and lowers that of connections if it cannot be raised enough.
 */
static void fit_descriptors(struct server *s)
{
    struct rlimit limit;
    rlim_t needed = s->params.max_connections + MAX_REFUSED + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < needed) {
        rlim_t rest = limit.rlim_cur > MAX_REFUSED + OTHER_DESCRIPTORS + 16
                          ? limit.rlim_cur - MAX_REFUSED - OTHER_DESCRIPTORS
                          : 16;
        server_remark(s, "at most %llu connections, because the limit of open files is %llu",
                      (unsigned long long)rest, (unsigned long long)limit.rlim_cur);
        s->params.max_connections = rest;
    }
}

static bool open_base(struct server *s)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return false;
    }
    /* A client that leaves while its request is answered must be seen. */
    event_config_require_features(config, EV_FEATURE_EARLY_CLOSE | EV_FEATURE_ET);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    s->base = event_base_new_with_config(config);
    event_config_free(config);
    return s->base != NULL;
}

static bool open_events(struct server *s)
{
    s->woken = event_new(s->base, core_fd(s->core), EV_READ | EV_PERSIST, on_core, s);
    s->sweep = event_new(s->base, -1, EV_PERSIST, on_sweep, s);
    s->pause = event_new(s->base, -1, 0, on_pause_over, s);
    s->reap = event_new(s->base, -1, 0, on_reap, s);
    s->terminate = evsignal_new(s->base, SIGTERM, on_signal, s);
    s->interrupt = evsignal_new(s->base, SIGINT, on_signal, s);
    return s->woken != NULL && s->sweep != NULL && s->pause != NULL && s->reap != NULL &&
           s->terminate != NULL && s->interrupt != NULL && event_add(s->woken, NULL) == 0;
}

struct server *server_open(const struct server_params *params, char *why, size_t cap)
{
    struct server *s = calloc(1, sizeof *s);
    snprintf(why, cap, "not enough memory for the server");
    if (s == NULL) {
        return NULL;
    }
    s->params = *params;
    s->core = params->core;
    s->opened = figures_now();
    s->figures.counts = s->counts;
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (getrandom(&s->id_seed, sizeof s->id_seed, GRND_NONBLOCK) != sizeof s->id_seed) {
        s->id_seed = (uint64_t)(s->opened * 1e9);
    }
    fit_descriptors(s);
    if (!open_base(s) || !open_events(s) || !listen_all(s, why, cap)) {
        server_close(s);
        return NULL;
    }
    listen_accept(s, true);
    return s;
}

const char *server_address(const struct server *s, size_t i)
{
    return i < s->n_listeners ? s->listeners[i].text : NULL;
}

int server_port(const struct server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        const char *colon = strrchr(s->listeners[i].text, ':');
        if (strncmp(s->listeners[i].text, "http:", 5) == 0 && colon != NULL) {
            return atoi(colon + 1);
        }
    }
    return 0;
}

/* --- running --- */

static void say_addresses(struct server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        server_remark(s, "listening at %s%s", s->listeners[i].text, s->params.prefix);
    }
    for (size_t i = 0; i < s->n_listeners && s->params.keys.n == 0; i++) {
        if (!s->listeners[i].is_local) {
            server_remark(s,
                          "everybody who reaches %s may use this server: --api-key asks for a key",
                          s->listeners[i].text);
        }
    }
}

int server_run(struct server *s)
{
    signal(SIGPIPE, SIG_IGN);
    event_add(s->terminate, NULL);
    event_add(s->interrupt, NULL);
    say_addresses(s);
    look_at_core(s);
    if (!s->stopping) {
        event_base_dispatch(s->base);
    }
    return s->code;
}

static void free_event(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

void server_close(struct server *s)
{
    if (s == NULL) {
        return;
    }
    while (s->connections != NULL) {
        connection_close(s->connections);
    }
    free_dead(s);
    listen_close(s);
    free(s->listeners);
    free_event(s->woken);
    free_event(s->sweep);
    free_event(s->pause);
    free_event(s->reap);
    free_event(s->terminate);
    free_event(s->interrupt);
    if (s->base != NULL) {
        event_base_free(s->base);
    }
    if (s->spare >= 0) {
        close(s->spare);
    }
    free(s);
}
