/* A core without a model: the test says what happens to each job. It defines the functions of
 * core.h and describe.h, so the archive's own are not linked. */
#ifndef FAKE_CORE_H
#define FAKE_CORE_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "serve/describe.h"

enum { FAKE_JOBS = 8192, FAKE_COMMANDS = 65536 };

struct job {
    enum route route;
    char *body, *key;
    char id[JOB_ID_MAX + 1];
    const struct sink *sink;
    void *user;
    bool cancelled, ended, paused;
    size_t n_pauses;
};

enum fake_kind { FAKE_BEGIN, FAKE_EVENT, FAKE_END };

struct fake_command {
    enum fake_kind kind;
    size_t job;
    char *name, *text;
    size_t n;
    int number; /* ping or status */
};

struct core {
    pthread_mutex_t lock;
    int fd;
    enum core_state state;
    struct job jobs[FAKE_JOBS];
    size_t n_jobs, n_cancelled;
    struct fake_command commands[FAKE_COMMANDS];
    size_t n_commands;
    struct scope scope;
    bool echoes; /* each job ends at once, with its own body as the answer */
};

/* --- for the test --- */

static struct core *fake_open(enum core_state state)
{
    struct core *core = calloc(1, sizeof *core);
    pthread_mutex_init(&core->lock, NULL);
    core->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    core->state = state;
    core->scope.n_parallel = 4;
    return core;
}

static void fake_close(struct core *core)
{
    for (size_t i = 0; i < core->n_jobs; i++) {
        free(core->jobs[i].body);
        free(core->jobs[i].key);
    }
    close(core->fd);
    free(core);
}

static void fake_wake(struct core *core)
{
    uint64_t one = 1;
    if (write(core->fd, &one, sizeof one) != sizeof one) {
        abort();
    }
}

static inline void fake_set_state(struct core *core, enum core_state state)
{
    pthread_mutex_lock(&core->lock);
    core->state = state;
    pthread_mutex_unlock(&core->lock);
    fake_wake(core);
}

/* Adds a command without waking the server. */
static void fake_put(struct core *core, struct fake_command command)
{
    pthread_mutex_lock(&core->lock);
    if (core->n_commands == FAKE_COMMANDS) {
        abort();
    }
    core->commands[core->n_commands++] = command;
    pthread_mutex_unlock(&core->lock);
}

static inline void fake_begin(struct core *core, size_t job, int ping)
{
    fake_put(core, (struct fake_command){ .kind = FAKE_BEGIN, .job = job, .number = ping });
    fake_wake(core);
}

static inline void fake_event_of(struct core *core, size_t job, const char *data, size_t n)
{
    char *copy = malloc(n + 1);
    memcpy(copy, data, n);
    copy[n] = '\0';
    fake_put(core, (struct fake_command){ .kind = FAKE_EVENT, .job = job, .text = copy, .n = n });
    fake_wake(core);
}

static inline void fake_event(struct core *core, size_t job, const char *data)
{
    fake_event_of(core, job, data, strlen(data));
}

static inline void fake_end(struct core *core, size_t job, int status, const char *body)
{
    fake_put(core, (struct fake_command){ .kind = FAKE_END,
                                          .job = job,
                                          .number = status,
                                          .text = body != NULL ? strdup(body) : NULL,
                                          .n = body != NULL ? strlen(body) : 0 });
    fake_wake(core);
}

/* Waits until something is so, for at most three seconds. */
#define FAKE_WAIT(core, condition)                                                                 \
    do {                                                                                           \
        bool fake_so = false;                                                                      \
        for (int fake_ms = 0; fake_ms < 3000 && !fake_so; fake_ms++) {                             \
            pthread_mutex_lock(&(core)->lock);                                                     \
            fake_so = (condition);                                                                 \
            pthread_mutex_unlock(&(core)->lock);                                                   \
            if (!fake_so) {                                                                        \
                poll(NULL, 0, 1);                                                                  \
            }                                                                                      \
        }                                                                                          \
        if (!fake_so) {                                                                            \
            fail_msg("not so after three seconds: %s", #condition);                                \
        }                                                                                          \
    } while (0)

/* --- core.h --- */

enum core_state core_state(struct core *core)
{
    pthread_mutex_lock(&core->lock);
    enum core_state state = core->state;
    pthread_mutex_unlock(&core->lock);
    return state;
}

int core_load_code(struct core *core)
{
    (void)core;
    return 3;
}

const struct scope *core_scope(struct core *core) { return &core->scope; }
int core_fd(struct core *core) { return core->fd; }

static void fake_execute(struct job *job, const struct fake_command *c)
{
    struct outcome outcome = { .status = c->number,
                               .body = c->text,
                               .n_body = c->n,
                               .retry_after = c->number == 503 ? 3 : 0,
                               .finish = "stop",
                               .figures = { .n_prompt = 31,
                                            .n_cached = 16,
                                            .n_generated = 3,
                                            .arrived = 1,
                                            .admitted = 1.5,
                                            .first = 2,
                                            .done = 3 } };
    if (job->cancelled || job->ended) {
        return;
    }
    switch (c->kind) {
    case FAKE_BEGIN: job->sink->begin(job->user, c->number); break;
    case FAKE_EVENT: job->sink->event(job->user, c->name, c->text, c->n); break;
    case FAKE_END:
        job->ended = true;
        job->sink->end(job->user, &outcome);
        break;
    }
}

void core_drain(struct core *core)
{
    uint64_t n;
    if (read(core->fd, &n, sizeof n) != sizeof n) {
        return;
    }
    pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->n_commands; i++) {
        fake_execute(&core->jobs[core->commands[i].job], &core->commands[i]);
        free(core->commands[i].name);
        free(core->commands[i].text);
    }
    core->n_commands = 0;
    pthread_mutex_unlock(&core->lock);
}

struct job *core_submit(struct core *core, const struct job_params *p)
{
    pthread_mutex_lock(&core->lock);
    struct job *job = core->n_jobs < FAKE_JOBS ? &core->jobs[core->n_jobs++] : NULL;
    if (job != NULL) {
        job->route = p->route;
        job->body = malloc(p->n_body + 1);
        memcpy(job->body, p->body, p->n_body);
        job->body[p->n_body] = '\0';
        job->key = strdup(p->key);
        snprintf(job->id, sizeof job->id, "%s", p->id);
        job->sink = p->sink;
        job->user = p->user;
    }
    size_t number = core->n_jobs - 1;
    pthread_mutex_unlock(&core->lock);
    if (job != NULL && core->echoes) {
        fake_end(core, number, 200, job->body);
    }
    return job;
}

void core_cancel(struct core *core, struct job *job, struct job_figures *figures)
{
    if (figures != NULL) {
        *figures = (struct job_figures){ 0 };
    }
    pthread_mutex_lock(&core->lock);
    if (job->cancelled || job->ended) {
        abort(); /* the handle was not valid any more */
    }
    job->cancelled = true;
    core->n_cancelled++;
    pthread_mutex_unlock(&core->lock);
}

void core_pause(struct core *core, struct job *job, bool paused)
{
    pthread_mutex_lock(&core->lock);
    if (job->cancelled || job->ended || job->paused == paused) {
        abort();
    }
    job->paused = paused;
    job->n_pauses += paused;
    pthread_mutex_unlock(&core->lock);
}

void core_figures(struct core *core, struct core_figures *figures)
{
    *figures = (struct core_figures){ .n_running = core->n_jobs };
}

/* --- describe.h --- */

char *describe_models(struct core *core)
{
    (void)core;
    return strdup("{\"object\":\"list\"}");
}

char *describe_model(struct core *core, const char *id)
{
    (void)core;
    return strcmp(id, "a/b") == 0 ? strdup("{\"id\":\"a/b\"}") : NULL;
}

char *describe_props(struct core *core)
{
    (void)core;
    return strdup("{\"props\":1}");
}

char *describe_slots(struct core *core)
{
    (void)core;
    return strdup("[]");
}

char *describe_metrics(struct core *core, const struct http_figures *http)
{
    char *text = malloc(65536);
    size_t n = 0;
    (void)core;
    n += (size_t)sprintf(text + n, "connections %zu\naccepted %zu\nrefused %zu\npaused %zu\n",
                         http->n_connections, (size_t)http->n_accepted, (size_t)http->n_refused,
                         http->n_paused);
    n += (size_t)sprintf(text + n, "gone %zu\nslow %zu\n", (size_t)http->n_gone,
                         (size_t)http->n_slow);
    for (size_t i = 0; i < http->n_counts; i++) {
        n += (size_t)sprintf(text + n, "%s %d %zu\n", http->counts[i].route, http->counts[i].status,
                             (size_t)http->counts[i].n);
    }
    return text;
}

#endif
