#include "serve/http/looks.h"

#include <stdlib.h>
#include <string.h>

#include "serve/describe.h"
#include "serve/http/inside.h"
#include "serve/http/response.h"

/* Nothing was computed for so long although something could have been. */
enum { STUCK_SECONDS = 120 };

/* Answers with text made by describe.c, and frees it. */
static void answer_text(struct connection *c, char *text, const char *type)
{
    struct fault f = { 0 };
    if (text == NULL) {
        fault_memory(&f);
        response_fault(c, &f);
        return;
    }
    response_whole(c,
                   &(struct reply){ .status = 200, .type = type, .body = text, .n = strlen(text) });
    free(text);
}

static void answer_fault(struct connection *c, int status, const char *type, const char *text)
{
    struct fault f = { 0 };
    fault_set(&f, status, type, "%s", text);
    f.retry_after = status == 503 ? 1 : 0;
    response_fault(c, &f);
}

static void unavailable(struct connection *c, const char *text)
{
    answer_fault(c, 503, "unavailable_error", text);
}

static void missing(struct connection *c, const char *text)
{
    answer_fault(c, 501, "not_supported_error", text);
}

static void fine(struct connection *c)
{
    static const char text[] = "{\"status\":\"ok\"}";
    response_whole(c, &(struct reply){ .status = 200, .body = text, .n = sizeof text - 1 });
}

static void health(struct connection *c)
{
    struct server *s = c->server;
    enum core_state state = core_state(s->core);
    if (s->drain != DRAIN_NOT) {
        unavailable(c, "the server is shutting down");
    } else if (state == CORE_READY) {
        fine(c);
    } else {
        unavailable(c, state == CORE_LOADING ? "Loading model" : "the device has failed");
    }
}

static bool is_stuck(struct server *s)
{
    struct core_figures *figures = calloc(1, sizeof *figures);
    if (figures == NULL) {
        return false;
    }
    core_figures(s->core, figures);
    bool waits = s->n_jobs > 0 && figures->n_running > s->figures.n_paused;
    double last = figures->last_step > s->busy_since ? figures->last_step : s->busy_since;
    free(figures);
    return waits && figures_now() - last > STUCK_SECONDS;
}

static void live(struct connection *c)
{
    enum core_state state = core_state(c->server->core);
    if (state == CORE_LOST || state == CORE_FAILED) {
        unavailable(c, "the device has failed");
    } else if (state == CORE_READY && is_stuck(c->server)) {
        unavailable(c, "nothing was computed for two minutes, although requests wait");
    } else {
        fine(c);
    }
}

static void model(struct connection *c)
{
    const struct head *h = &c->parser.head;
    const char *path = routes_behind(h->text + h->path, c->server->params.prefix);
    char *text = describe_model(c->server->core, path + strlen(c->x.entry->path));
    if (text == NULL) {
        answer_fault(c, 404, "not_found_error", "there is no such model; /v1/models lists it");
    } else {
        answer_text(c, text, NULL);
    }
}

static bool is_full(struct server *s)
{
    struct core_figures *figures = calloc(1, sizeof *figures);
    bool full = false;
    if (figures != NULL) {
        core_figures(s->core, figures);
        full = figures->n_running >= core_scope(s->core)->n_parallel;
    }
    free(figures);
    return full;
}

static void slots(struct connection *c)
{
    if (!c->server->params.slots) {
        missing(c, "this server was started with --no-slots");
    } else if (head_query_is(&c->parser.head, "fail_on_no_slot", "1") && is_full(c->server)) {
        unavailable(c, "no slot is free");
    } else {
        answer_text(c, describe_slots(c->server->core), NULL);
    }
}

static void metrics(struct connection *c)
{
    struct server *s = c->server;
    if (!s->params.metrics) {
        missing(c, "metrics are off: start the server with --metrics");
        return;
    }
    answer_text(c, describe_metrics(s->core, &s->figures),
                "text/plain; version=0.0.4; charset=utf-8");
}

void looks_answer(struct connection *c)
{
    struct core *core = c->server->core;
    switch (c->x.entry->action) {
    case ACTION_MODELS: answer_text(c, describe_models(core), NULL); break;
    case ACTION_MODEL: model(c); break;
    case ACTION_PROPS: answer_text(c, describe_props(core), NULL); break;
    case ACTION_SLOTS: slots(c); break;
    case ACTION_METRICS: metrics(c); break;
    case ACTION_HEALTH: health(c); break;
    case ACTION_LIVE: live(c); break;
    case ACTION_MISSING: missing(c, "this server does not have this route"); break;
    case ACTION_JOB: break;
    }
}
