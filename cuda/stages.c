/* The stages of backend.h as launches of kernels. Steps of few rows run on mat-vec kernels, which
 * read the quantised weights once for up to MATVEC_ROWS rows; steps of many rows turn matrices into
 * halves and multiply on tensor cores. */
#include <math.h>
#include <string.h>

#include "cuda.h"

/* The form that a product with this matrix reads. */
static uint32_t form(const struct cuda *c, const struct dmatrix *m, size_t n)
{
    if (cuda_many(c, n)) {
        return m->type == QUANT_F32 ? ACT_F32 : ACT_F16;
    }
    return quant_find(m->type)->block == 1 ? ACT_F32 : ACT_Q8;
}

/* The forms of what a stage leaves for a product with this matrix; a trace wants floats as well. */
static uint32_t left_forms(const struct cuda *c, const struct dmatrix *m, size_t n)
{
    return form(c, m, n) | (c->params.values ? ACT_F32 : 0u);
}

static struct dacts with_forms(const struct dacts *a, uint32_t forms)
{
    struct dacts b = *a;
    b.forms = forms;
    return b;
}

/* --- stages --- */

static struct cuda *cuda_of(struct backend *b) { return (struct cuda *)b; }

static struct norm norm_of(const struct cuda *c, struct dptr weight, struct dptr rows)
{
    return (struct norm){ .x = c->x,
                          .weight = weight,
                          .rows = rows,
                          .dim = (uint32_t)c->model->config.dim,
                          .eps = c->model->config.norm_eps };
}

static weft_status embed(struct backend *b, const struct step *s, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    TRY(cuda_enter(c, "embed", 0, err));
    if (s->n_rows > GEMM_ROWS) {
        TRY(cuda_open_blas(c, err));
    }
    if (!c->decoding) {
        TRY(image_send(c, s, 1, err));
    }
    struct dstep step = image_step(c);
    CU(c, kernel_embed, &c->weights.token_embd, &step, s->n_rows, c->x, &c->queue);
    return WEFT_OK;
}

struct dkv cuda_layer_kv(const struct cuda *c, size_t layer)
{
    const struct config *g = &c->model->config;
    return (
        struct dkv){ .k = cuda_page(c, 0, layer, 0),
                     .v = cuda_page(c, 1, layer, 0),
                     .n_heads = (uint32_t)g->n_heads,
                     .n_kv_heads = (uint32_t)g->n_kv_heads,
                     .head_dim = (uint32_t)g->head_dim,
                     .type = { (uint16_t)c->params.kv_type[0], (uint16_t)c->params.kv_type[1] } };
}

/* What a product with this matrix has still to be multiplied by. */
static struct dptr scale_of(const struct dmatrix *m, const struct dacts *a)
{
    return m->type == QUANT_F32 ? (struct dptr){ 0 } : a->half_scale;
}

/* q, k and v as products: where they are, and what is to be multiplied yet, goes to `heads`. */
static weft_status qkv(struct cuda *c, const struct dlayer *l, size_t n, struct heads *heads,
                       weft_error *err)
{
    const struct config *g = &c->model->config;
    struct norm norm = norm_of(c, l->attn_norm, (struct dptr){ 0 });
    heads->q = c->q, heads->k = c->k, heads->v = c->v;
    if (!cuda_many(c, n)) {
        const struct matvec job = { .mode = MATVEC_STORE,
                                    .n_w = 3,
                                    .w = { l->qkv[0], l->qkv[1], l->qkv[2] },
                                    .out = { c->q, c->k, c->v },
                                    .norm = norm };
        CU(c, kernel_matvec, &job, n, &c->queue);
        return WEFT_OK;
    }
    const struct joint j = { .w = { &l->qkv[0], &l->qkv[1], &l->qkv[2] }, .n_w = 3, .out = c->qkv };
    uint32_t forms = 0;
    for (size_t i = 0; i < 3; i++) {
        forms |= form(c, j.w[i], n);
        heads->scale[i] = scale_of(j.w[i], &c->in);
    }
    struct dacts in = with_forms(&c->in, forms);
    size_t q_dim = g->n_heads * g->head_dim, kv_dim = g->n_kv_heads * g->head_dim;
    heads->q = c->qkv;
    heads->k = dptr_at(c->qkv, q_dim * sizeof(float));
    heads->v = dptr_at(c->qkv, (q_dim + kv_dim) * sizeof(float));
    heads->stride = (uint32_t)(q_dim + 2 * kv_dim);
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    return cuda_multiply(c, &j, &in, n, err);
}

static weft_status attn_in(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct config *g = &c->model->config;
    const struct dlayer *l = &c->weights.layers[layer];
    TRY(cuda_enter(c, "attn_in", layer, err));
    struct heads job = { .q_out = c->q,
                         .bias = { l->qkv_bias[0], l->qkv_bias[1], l->qkv_bias[2] },
                         .q_norm = l->q_norm,
                         .k_norm = l->k_norm,
                         .turns = c->turns,
                         .n_rot = (uint32_t)g->n_rot,
                         .neox = g->arch->rope_neox,
                         .rope_factor = g->rope_attn_factor,
                         .eps = g->norm_eps,
                         .kv = cuda_layer_kv(c, layer) };
    TRY(qkv(c, l, s->n_rows, &job, err));
    struct dstep step = image_step(c);
    CU(c, kernel_heads, &job, &step, s->n_rows, &c->queue);
    return WEFT_OK;
}

static weft_status attend(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct config *g = &c->model->config;
    TRY(cuda_enter(c, "attend", layer, err));
    uint32_t forms = left_forms(c, &c->weights.layers[layer].attn_output, s->n_rows);
    const struct attend job = { .q = c->q,
                                .kv = cuda_layer_kv(c, layer),
                                .scale = 1.0f / sqrtf((float)g->head_dim),
                                .window = (uint32_t)g->sliding_window,
                                .o = with_forms(&c->mid, forms),
                                .partial = c->partial,
                                .counters = c->counters };
    struct dstep step = image_step(c);
    const struct image *m = &c->image;
    for (size_t i = 0; i < m->n_list; i += ATTEND_ROWS) {
        size_t n = m->n_list - i < ATTEND_ROWS ? m->n_list - i : ATTEND_ROWS;
        struct dptr list = dptr_at(m->device, m->list + i * sizeof(uint32_t));
        CU(c, kernel_attend, &job, &step, list, n, image_bound(c), &c->queue);
    }
    if (m->n_tiles > 0) {
        CU(c, kernel_attend_tiled, &job, &step, dptr_at(m->device, m->tiles), m->n_tiles,
           &c->queue);
    }
    return WEFT_OK;
}

/* The bias of a product that has been added to x, if it has one. */
static weft_status add_bias(struct cuda *c, struct dptr bias, size_t n, weft_error *err)
{
    if (bias.at != 0) {
        CU(c, kernel_add_bias, c->x, bias, n, c->model->config.dim, &c->queue);
    }
    return WEFT_OK;
}

static weft_status attn_out(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct dlayer *l = &c->weights.layers[layer];
    TRY(cuda_enter(c, "attn_out", layer, err));
    if (cuda_many(c, s->n_rows)) {
        /* attention cannot exceed what V holds, so its halves are not scaled */
        const struct joint j = { .w = { &l->attn_output }, .n_w = 1, .out = c->x, .add = true };
        TRY(cuda_multiply(c, &j, &c->mid, s->n_rows, err));
        return add_bias(c, l->attn_output_bias, s->n_rows, err);
    }
    const struct matvec job = {
        .mode = MATVEC_ADD,
        .n_w = 1,
        .w = { l->attn_output },
        .out = { c->x },
        .in = with_forms(&c->mid, form(c, &l->attn_output, s->n_rows)),
    };
    CU(c, kernel_matvec, &job, s->n_rows, &c->queue);
    return add_bias(c, l->attn_output_bias, s->n_rows, err);
}

/* Gate and up on tensor cores, and what follows from them to `out`. If they come out of the product
 * as halves, half_scale follows from the reach of the matrices, so that none overflows. */
static weft_status gate_up(struct cuda *c, size_t layer, size_t n, const struct dacts *out,
                           weft_error *err)
{
    const struct dlayer *l = &c->weights.layers[layer];
    struct dptr reach = dptr_at(c->reach, layer * sizeof(float));
    bool halves = cuda_halves_out(&c->model->weights.layers[layer]);
    size_t n_ff = c->model->config.n_ff;
    struct norm norm = norm_of(c, l->ffn_norm, (struct dptr){ 0 });
    struct dacts in = with_forms(&c->in, form(c, &l->ffn_gate, n) | form(c, &l->ffn_up, n));
    in.reach = halves ? reach : (struct dptr){ 0 };
    const struct joint j = {
        .w = { &l->ffn_gate, &l->ffn_up }, .n_w = 2, .out = c->gate_up, .halves = halves
    };
    const struct swiglu job = { .gate = c->gate_up,
                                .up = dptr_at(c->gate_up,
                                              n_ff * (halves ? sizeof(f16_bits) : sizeof(float))),
                                .scale = { scale_of(&l->ffn_gate, &in), scale_of(&l->ffn_up, &in) },
                                .stride = (uint32_t)(2 * n_ff),
                                .halves = halves,
                                .bias = { l->ffn_bias[0], l->ffn_bias[1] } };
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    TRY(cuda_multiply(c, &j, &in, n, err));
    CU(c, kernel_swiglu, &job, n, out, &c->queue);
    return WEFT_OK;
}

/* The same of few rows, where gate and up have biases: the mat-vec kernel, which makes one of the
 * two otherwise, leaves both. */
static weft_status few_biased(struct cuda *c, const struct dlayer *l, size_t n,
                              const struct dacts *out, weft_error *err)
{
    size_t n_ff = c->model->config.n_ff;
    struct dptr up = dptr_at(c->gate_up, n * n_ff * sizeof(float));
    const struct matvec products = { .mode = MATVEC_STORE,
                                     .n_w = 2,
                                     .w = { l->ffn_gate, l->ffn_up },
                                     .out = { c->gate_up, up },
                                     .norm = norm_of(c, l->ffn_norm, (struct dptr){ 0 }) };
    const struct swiglu job = { .gate = c->gate_up,
                                .up = up,
                                .stride = (uint32_t)n_ff,
                                .bias = { l->ffn_bias[0], l->ffn_bias[1] } };
    CU(c, kernel_matvec, &products, n, &c->queue);
    CU(c, kernel_swiglu, &job, n, out, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_in(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct dlayer *l = &c->weights.layers[layer];
    size_t n = s->n_rows;
    TRY(cuda_enter(c, "ffn_in", layer, err));
    struct dacts out = with_forms(&c->ff, left_forms(c, &l->ffn_down, n));
    if (cuda_many(c, n)) {
        return gate_up(c, layer, n, &out, err);
    }
    if (cuda_ffn_biased(&c->model->weights.layers[layer])) {
        return few_biased(c, l, n, &out, err);
    }
    const struct matvec job = { .mode = MATVEC_SWIGLU,
                                .n_w = 2,
                                .w = { l->ffn_gate, l->ffn_up },
                                .acts = out,
                                .norm = norm_of(c, l->ffn_norm, (struct dptr){ 0 }) };
    CU(c, kernel_matvec, &job, n, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_out(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct dlayer *l = &c->weights.layers[layer];
    const struct dmatrix *down = &l->ffn_down;
    size_t n = s->n_rows;
    TRY(cuda_enter(c, "ffn_out", layer, err));
    if (cuda_many(c, n)) {
        const struct joint j = { .w = { down }, .n_w = 1, .out = c->y };
        TRY(cuda_multiply(c, &j, &c->ff, n, err));
        CU(c, kernel_add, c->x, c->y, scale_of(down, &c->ff), n, c->model->config.dim, &c->queue);
        return add_bias(c, l->ffn_down_bias, n, err);
    }
    const struct matvec job = { .mode = MATVEC_ADD,
                                .n_w = 1,
                                .w = { *down },
                                .out = { c->x },
                                .in = with_forms(&c->ff, form(c, down, n)) };
    CU(c, kernel_matvec, &job, n, &c->queue);
    return add_bias(c, l->ffn_down_bias, n, err);
}

static weft_status head(struct backend *b, const struct step *s, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    TRY(cuda_enter(c, "head", c->model->config.n_layers, err));
    const struct matvec job = { .mode = MATVEC_STORE,
                                .n_w = 1,
                                .w = { c->weights.output },
                                .bias = { c->weights.output_bias },
                                .out = { c->logits },
                                .norm = norm_of(c, c->weights.output_norm,
                                                dptr_at(c->image.device, c->image.out_rows)) };
    CU(c, kernel_matvec, &job, s->n_out, &c->queue);
    return WEFT_OK;
}

const struct backend_ops cuda_backend = {
    .name = "cuda",
    .embed = embed,
    .attn_in = attn_in,
    .attend = attend,
    .attn_out = attn_out,
    .ffn_in = ffn_in,
    .ffn_out = ffn_out,
    .head = head,
    .top = cuda_top,
    .step = graph_step,
    .ahead = graph_ahead,
    .ahead_rows = MATVEC_ROWS,
    .read_logits = cuda_read_logits,
    .read_values = cuda_read_values,
    .wait = cuda_results_wait,
    .limits = cuda_limits,
    .copy_page = cuda_copy_page,
    .read_kv = cuda_read_kv,
    .write_kv = cuda_write_kv,
    .info = cuda_info,
    .close = cuda_close,
};
