/* A line for each request: who asked, for what, and how it went; never what was written. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json_text.h"
#include "serve/http/inside.h"

void server_count(struct server *s, const char *route, int status)
{
    for (size_t i = 0; i < s->figures.n_counts; i++) {
        /* The names of routes are static, so equal ones stand at one place. */
        if (s->counts[i].route == route && s->counts[i].status == status) {
            s->counts[i].n++;
            return;
        }
    }
    if (s->figures.n_counts < MAX_COUNTS) {
        s->counts[s->figures.n_counts++] = (struct http_count){ route, status, 1 };
    }
}

static void write_time(char *dst, size_t cap)
{
    struct timespec t;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(dst, cap, "%s.%03ldZ", text, t.tv_nsec / 1000000);
}

/* Milliseconds between two events, 0 if one of them has not happened. */
static double between(double from, double to)
{
    return from > 0 && to > from ? (to - from) * 1e3 : 0;
}

struct access {
    char time[48];
    const char *method, *route, *key;
    double queued, first, whole;
};

/* Logs an object, whose reference it takes. */
static void log_object(const struct server *s, bool is_access, json_t *line)
{
    char *text = line != NULL ? json_text(line, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(line);
    if (text != NULL) {
        s->params.log(s->params.log_user, is_access, text);
    }
    free(text);
}

void server_remark(struct server *s, const char *fmt, ...)
{
    char text[512], when[48];
    va_list args;
    if (s->params.log == NULL) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (s->params.log_json) {
        write_time(when, sizeof when);
        log_object(s, false, json_pack("{ss ss}", "time", when, "message", text));
    } else {
        s->params.log(s->params.log_user, false, text);
    }
}

static void log_text(const struct connection *c, const struct access *a)
{
    char text[640];
    const struct job_figures *f = &c->x.figures;
    snprintf(text, sizeof text,
             "%s %s %s %s %s %d prompt=%zu cached=%zu generated=%zu queue=%.1fms first=%.1fms "
             "total=%.1fms finish=%s key=%s",
             a->time, c->x.id, c->peer.text, a->method, a->route, c->x.status, f->n_prompt,
             f->n_cached, f->n_generated, a->queued, a->first, a->whole,
             c->x.finish[0] != '\0' ? c->x.finish : "-", a->key != NULL ? a->key : "-");
    c->server->params.log(c->server->params.log_user, true, text);
}

static void log_json(const struct connection *c, const struct access *a)
{
    const struct job_figures *f = &c->x.figures;
    json_t *line =
        json_pack("{ss ss ss ss ss si sI sI sI sf sf sf ss ss*}", "time", a->time, "id", c->x.id,
                  "client", c->peer.text, "method", a->method, "route", a->route, "status",
                  c->x.status, "prompt", (json_int_t)f->n_prompt, "cached", (json_int_t)f->n_cached,
                  "generated", (json_int_t)f->n_generated, "queue_ms", a->queued, "first_ms",
                  a->first, "total_ms", a->whole, "finish", c->x.finish, "key", a->key);
    log_object(c->server, true, line);
}

void access_log(const struct connection *c)
{
    const struct server_params *p = &c->server->params;
    const struct job_figures *f = &c->x.figures;
    struct access a = {
        .method = head_method_name(c->x.method),
        .route = routes_name(c->x.entry),
        .key = c->x.key != NULL ? c->x.key->name : NULL,
        .queued = between(f->arrived, f->admitted),
        .first = between(f->arrived, f->first),
        .whole = between(c->x.began, figures_now()),
    };
    if (p->log == NULL) {
        return;
    }
    write_time(a.time, sizeof a.time);
    if (p->log_json) {
        log_json(c, &a);
    } else {
        log_text(c, &a);
    }
}
