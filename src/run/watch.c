#include "run/watch.h"

#include <time.h>

#include "base/mem.h"
#include "cost.h"

/* A value that a stage writes, and its name in a checkpoint. */
struct point {
    const char *name;
    enum backend_value value;
};

static const struct {
    size_t n;
    struct point points[3];
} stage_points[N_STAGES] = {
    [STAGE_EMBED] = { 1, { { "embed", VALUE_X } } },
    [STAGE_ATTN_IN] = { 3, { { "q", VALUE_Q }, { "k", VALUE_K }, { "v", VALUE_V } } },
    [STAGE_ATTEND] = { 1, { { "attention", VALUE_ATTENTION } } },
    [STAGE_ATTN_OUT] = { 1, { { "attn_out", VALUE_X } } },
    [STAGE_FFN_IN] = { 1, { { "ffn_act", VALUE_FFN_ACT } } },
    [STAGE_FFN_OUT] = { 1, { { "ffn_out", VALUE_X } } },
    [STAGE_HEAD_NORM] = { 1, { { "head_norm", VALUE_NORM } } },
};

struct watch {
    struct watcher base;
    weft_kv_type kv_type[2];
    weft_trace_fn trace;
    void *trace_user;
    weft_profile_fn profile;
    void *profile_user;
    double begin;  /* when the current stage began */
    float *values; /* [cap_values] for the trace function */
    size_t cap_values;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool of_the_head(enum stage stage)
{
    return stage == STAGE_HEAD_NORM || stage == STAGE_HEAD;
}

/* Returns the number of rows that a stage works on. */
static size_t n_rows_of(enum stage stage, const struct step *s)
{
    return of_the_head(stage) ? s->n_out : s->n_rows;
}

/* Returns the layer that the caller is told; SIZE_MAX outside the layers. */
static size_t shown_layer(enum stage stage, size_t layer)
{
    return stage == STAGE_EMBED || of_the_head(stage) ? SIZE_MAX : layer;
}

/* Makes room for the values of a checkpoint in w->values. */
static weft_status watch_reserve(struct watch *w, weft_checkpoint *c, weft_error *err)
{
    size_t n;
    if (!mul_ok(c->n_rows, c->n_cols, &n) ||
        !mem_reserve(&w->values, &w->cap_values, n, sizeof *w->values)) {
        return error_nomem(err, "the values of a trace", c->n_rows * c->n_cols * sizeof *w->values);
    }
    c->values = w->values;
    return WEFT_OK;
}

static weft_status tell_values(struct watch *w, struct backend *b, enum stage stage, size_t layer,
                               const struct step *s, weft_error *err)
{
    for (size_t i = 0; i < stage_points[stage].n; i++) {
        const struct point *point = &stage_points[stage].points[i];
        weft_checkpoint c = { .name = point->name,
                              .layer = shown_layer(stage, layer),
                              .n_rows = n_rows_of(stage, s),
                              .n_cols = backend_value_cols(b->model, point->value, layer) };
        TRY(watch_reserve(w, &c, err));
        TRY(b->ops->read_values(b, s, point->value, layer, w->values, err));
        w->trace(w->trace_user, &c);
    }
    return WEFT_OK;
}

static weft_status tell_logits(struct watch *w, struct backend *b, const struct step *s,
                               weft_error *err)
{
    weft_checkpoint c = {
        .name = "logits", .layer = SIZE_MAX, .n_rows = s->n_out, .n_cols = b->model->config.n_vocab
    };
    TRY(watch_reserve(w, &c, err));
    for (size_t i = 0; i < c.n_rows; i++) {
        TRY(b->ops->read_logits(b, i, w->values + i * c.n_cols, err));
    }
    w->trace(w->trace_user, &c);
    return WEFT_OK;
}

static void watch_begin(struct watcher *base) { ((struct watch *)base)->begin = seconds(); }

static weft_status watch_end(struct watcher *base, struct backend *b, enum stage stage,
                             const struct step *s, size_t layer, weft_error *err)
{
    struct watch *w = (struct watch *)base;
    if (b->ops->wait != NULL) {
        TRY(b->ops->wait(b, err));
    }
    if (w->profile != NULL) {
        const double end = seconds();
        const struct cost cost = cost_of_stage(b->model, w->kv_type, stage, layer, s);
        const weft_stage told = { .name = stage_names[stage],
                                  .layer = shown_layer(stage, layer),
                                  .n_rows = n_rows_of(stage, s),
                                  .seconds = end - w->begin,
                                  .bytes = cost.bytes,
                                  .n_macs = cost.macs };
        w->profile(w->profile_user, &told);
    }
    if (w->trace == NULL) {
        return WEFT_OK;
    }
    return stage == STAGE_HEAD ? tell_logits(w, b, s, err)
                               : tell_values(w, b, stage, layer, s, err);
}

weft_status watch_open(const weft_engine_params *p, struct backend *b, struct watch **out,
                       weft_error *err)
{
    *out = NULL;
    if (p->trace == NULL && p->profile == NULL) {
        return WEFT_OK;
    }
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_nomem(err, "what watches the stages", sizeof *w);
    }
    *w = (struct watch){ .base = { .begin = watch_begin, .end = watch_end },
                         .kv_type = { p->type_k, p->type_v },
                         .trace = p->trace,
                         .trace_user = p->trace_user,
                         .profile = p->profile,
                         .profile_user = p->profile_user };
    b->watcher = &w->base;
    *out = w;
    return WEFT_OK;
}

void watch_close(struct watch *w)
{
    if (w != NULL) {
        free(w->values);
        free(w);
    }
}
