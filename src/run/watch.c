#include "run/watch.h"

#include <time.h>

#include "base/mem.h"
#include "cost.h"

/* Something that a stage leaves behind. */
struct point {
    const char *name;
    enum backend_value value;
};

static const struct {
    const char *name;
    size_t n_points;
    struct point points[3];
} stages[N_STAGES] = {
    [STAGE_EMBED] = { "embed", 1, { { "embed", VALUE_X } } },
    [STAGE_ATTN_IN] = { "attn_in", 3, { { "q", VALUE_Q }, { "k", VALUE_K }, { "v", VALUE_V } } },
    [STAGE_ATTEND] = { "attend", 1, { { "attention", VALUE_ATTENTION } } },
    [STAGE_ATTN_OUT] = { "attn_out", 1, { { "attn_out", VALUE_X } } },
    [STAGE_FFN_IN] = { "ffn_in", 1, { { "ffn_act", VALUE_FFN_ACT } } },
    [STAGE_FFN_OUT] = { "ffn_out", 1, { { "ffn_out", VALUE_X } } },
    [STAGE_HEAD] = { .name = "head" },
};

struct probe {
    struct backend base;
    struct backend_ops ops; /* the real one's, but for the stages and its shortcuts past them */
    struct backend *real;
    const struct model *model;
    weft_kv_type kv_type[2];
    weft_trace_fn trace;
    void *trace_user;
    weft_profile_fn profile;
    void *profile_user;
    float *values; /* [cap_values] what is shown to the trace function */
    size_t cap_values;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- values --- */

static weft_status reserve(struct probe *p, size_t n_rows, size_t n_cols, weft_error *err)
{
    size_t n;
    if (!mul_ok(n_rows, n_cols, &n) ||
        !mem_reserve(&p->values, &p->cap_values, n, sizeof *p->values)) {
        return error_nomem(err, "the values of a trace", n_rows * n_cols * sizeof *p->values);
    }
    return WEFT_OK;
}

static size_t n_cols(const struct config *g, enum backend_value value)
{
    switch (value) {
    case VALUE_Q:
    case VALUE_ATTENTION: return g->n_heads * g->head_dim;
    case VALUE_K:
    case VALUE_V: return g->n_kv_heads * g->head_dim;
    case VALUE_FFN_ACT: return g->n_ff;
    case VALUE_X: break;
    }
    return g->dim;
}

static weft_status tell_values(struct probe *p, enum stage stage, size_t layer,
                               const struct step *s, weft_error *err)
{
    for (size_t i = 0; i < stages[stage].n_points; i++) {
        const struct point *point = &stages[stage].points[i];
        weft_checkpoint c = { .name = point->name,
                              .layer = layer,
                              .n_rows = s->n_rows,
                              .n_cols = n_cols(&p->model->config, point->value) };
        TRY(reserve(p, c.n_rows, c.n_cols, err));
        TRY(p->real->ops->read_values(p->real, s, point->value, p->values, err));
        c.values = p->values;
        p->trace(p->trace_user, &c);
    }
    return WEFT_OK;
}

static weft_status tell_logits(struct probe *p, const struct step *s, weft_error *err)
{
    weft_checkpoint c = {
        .name = "logits", .layer = SIZE_MAX, .n_rows = s->n_out, .n_cols = p->model->config.n_vocab
    };
    TRY(reserve(p, c.n_rows, c.n_cols, err));
    for (size_t i = 0; i < c.n_rows; i++) {
        TRY(p->real->ops->read_logits(p->real, i, p->values + i * c.n_cols, err));
    }
    c.values = p->values;
    p->trace(p->trace_user, &c);
    return WEFT_OK;
}

/* --- stages --- */

static struct probe *probe_of(struct backend *b) { return (struct probe *)b; }

/* Tells of a stage that began at `begin`. */
static weft_status done(struct probe *p, enum stage stage, size_t layer, const struct step *s,
                        double begin, weft_error *err)
{
    bool of_a_layer = stage != STAGE_EMBED && stage != STAGE_HEAD;
    size_t shown = of_a_layer ? layer : SIZE_MAX;
    if (p->real->ops->wait != NULL) {
        TRY(p->real->ops->wait(p->real, err));
    }
    if (p->profile != NULL) {
        double end = seconds();
        struct cost cost = cost_of_stage(p->model, p->kv_type, stage, layer, s);
        const weft_stage told = { .name = stages[stage].name,
                                  .layer = shown,
                                  .n_rows = stage == STAGE_HEAD ? s->n_out : s->n_rows,
                                  .seconds = end - begin,
                                  .bytes = cost.bytes,
                                  .n_macs = cost.macs };
        p->profile(p->profile_user, &told);
    }
    if (p->trace == NULL) {
        return WEFT_OK;
    }
    return stage == STAGE_HEAD ? tell_logits(p, s, err) : tell_values(p, stage, shown, s, err);
}

#define LAYER_STAGE(name, stage)                                                                   \
    static weft_status name(struct backend *b, const struct step *s, size_t layer,                 \
                            weft_error *err)                                                       \
    {                                                                                              \
        struct probe *p = probe_of(b);                                                             \
        double begin = seconds();                                                                  \
        TRY(p->real->ops->name(p->real, s, layer, err));                                           \
        return done(p, stage, layer, s, begin, err);                                               \
    }

LAYER_STAGE(attn_in, STAGE_ATTN_IN)
LAYER_STAGE(attend, STAGE_ATTEND)
LAYER_STAGE(attn_out, STAGE_ATTN_OUT)
LAYER_STAGE(ffn_in, STAGE_FFN_IN)
LAYER_STAGE(ffn_out, STAGE_FFN_OUT)

static weft_status embed(struct backend *b, const struct step *s, weft_error *err)
{
    struct probe *p = probe_of(b);
    double begin = seconds();
    TRY(p->real->ops->embed(p->real, s, err));
    return done(p, STAGE_EMBED, 0, s, begin, err);
}

static weft_status head(struct backend *b, const struct step *s, weft_error *err)
{
    struct probe *p = probe_of(b);
    double begin = seconds();
    TRY(p->real->ops->head(p->real, s, err));
    return done(p, STAGE_HEAD, 0, s, begin, err);
}

/* --- everything else goes through --- */

static weft_status top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->top(real, k, ids, values, err);
}

static weft_status read_logits(struct backend *b, size_t i, float *dst, weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->read_logits(real, i, dst, err);
}

static weft_status read_values(struct backend *b, const struct step *s, enum backend_value value,
                               float *dst, weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->read_values(real, s, value, dst, err);
}

static weft_status limits(struct backend *b, struct backend_limits *out, weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->limits(real, out, err);
}

static weft_status copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->copy_page(real, dst, src, err);
}

static weft_status read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst,
                           weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->read_kv(real, page, n, dst, err);
}

static weft_status write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                            weft_error *err)
{
    struct backend *real = probe_of(b)->real;
    return real->ops->write_kv(real, page, n, src, err);
}

static void info(const struct backend *b, struct backend_info *out)
{
    const struct backend *real = ((const struct probe *)b)->real;
    real->ops->info(real, out);
}

static void close_probe(struct backend *b)
{
    struct probe *p = probe_of(b);
    p->real->ops->close(p->real);
    free(p->values);
    free(p);
}

bool probe_wanted(const weft_engine_params *p) { return p->trace != NULL || p->profile != NULL; }

weft_status probe_open(const struct model *m, const weft_engine_params *params, struct backend **b,
                       weft_error *err)
{
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_nomem(err, "the probe of a backend", sizeof *p);
    }
    *p = (struct probe){ .base = { .ops = &p->ops },
                         .ops = { .name = (*b)->ops->name,
                                  .embed = embed,
                                  .attn_in = attn_in,
                                  .attend = attend,
                                  .attn_out = attn_out,
                                  .ffn_in = ffn_in,
                                  .ffn_out = ffn_out,
                                  .head = head,
                                  .top = (*b)->ops->top != NULL ? top : NULL,
                                  .read_logits = read_logits,
                                  .read_values = read_values,
                                  .limits = limits,
                                  .copy_page = copy_page,
                                  .read_kv = read_kv,
                                  .write_kv = write_kv,
                                  .info = info,
                                  .close = close_probe },
                         .real = *b,
                         .model = m,
                         .kv_type = { params->type_k, params->type_v },
                         .trace = params->trace,
                         .trace_user = params->trace_user,
                         .profile = params->profile,
                         .profile_user = params->profile_user };
    *b = &p->base;
    return WEFT_OK;
}
