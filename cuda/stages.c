/* The stages of backend.h as launches of kernels. Steps of few rows run on mat-vec kernels, which
 * read the quantised weights once for up to MATVEC_ROWS rows; steps of many rows turn a matrix into
 * halves, slab by slab, and multiply on tensor cores. */
#include <math.h>
#include <string.h>

#include "cuda.h"

/* --- many rows --- */

/* out [n, m->n_rows] (+)= a * m^T, on tensor cores. */
static weft_status multiply(struct cuda *c, const struct dmatrix *m, const struct dacts *a,
                            struct dptr out, bool add, size_t n, weft_error *err)
{
    bool floats = m->type == QUANT_F32;
    size_t row = floats ? plane_row_bytes(m->type, PLANE_CODES, m->n_cols)
                        : (m->n_cols + 7) / 8 * 8 * sizeof(f16_bits);
    size_t most = floats ? m->n_rows : c->slab_bytes / row;
    most = most < m->n_rows && most >= 128 ? most / 128 * 128 : most; /* whole tiles of cuBLAS */
    for (size_t first = 0; first < m->n_rows; first += most) {
        size_t n_w = m->n_rows - first < most ? m->n_rows - first : most;
        struct product p = { .w = floats ? m->plane[PLANE_CODES] : c->slab,
                             .a = floats ? a->x : a->half,
                             .out = dptr_at(out, first * sizeof(float)),
                             .n_w = n_w,
                             .n = n,
                             .n_cols = floats ? m->n_cols : row / sizeof(f16_bits),
                             .ld_w = row / (floats ? sizeof(float) : sizeof(f16_bits)),
                             .ld_a = a->stride,
                             .ld_out = m->n_rows,
                             .floats = floats,
                             .add = add };
        if (!floats) {
            CU(c, kernel_dequant, m, first, n_w, c->slab, &c->queue);
        }
        TRY(cuda_check_blas(c, blas_multiply(&c->blas, &p), "cublasGemmEx", err));
    }
    return WEFT_OK;
}

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
    if (!c->capturing) {
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

static weft_status qkv(struct cuda *c, const struct dlayer *l, size_t n, weft_error *err)
{
    struct dptr outs[3] = { c->q, c->k, c->v };
    struct norm norm = norm_of(c, l->attn_norm, (struct dptr){ 0 });
    if (!cuda_many(c, n)) {
        struct matvec job = { .mode = MATVEC_STORE, .n_w = 3, .norm = norm };
        for (size_t i = 0; i < 3; i++) {
            job.w[i] = l->qkv[i];
            job.out[i] = outs[i];
        }
        CU(c, kernel_matvec, &job, n, &c->queue);
        return WEFT_OK;
    }
    uint32_t forms = 0;
    for (size_t i = 0; i < 3; i++) {
        forms |= form(c, &l->qkv[i], n);
    }
    struct dacts in = with_forms(&c->in, forms);
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    for (size_t i = 0; i < 3; i++) {
        TRY(multiply(c, &l->qkv[i], &in, outs[i], false, n, err));
    }
    return WEFT_OK;
}

static weft_status attn_in(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct config *g = &c->model->config;
    const struct dlayer *l = &c->weights.layers[layer];
    TRY(cuda_enter(c, "attn_in", layer, err));
    TRY(qkv(c, l, s->n_rows, err));
    const struct heads job = { .q = c->q,
                               .k = c->k,
                               .v = c->v,
                               .bias = { l->qkv_bias[0], l->qkv_bias[1], l->qkv_bias[2] },
                               .q_norm = l->q_norm,
                               .k_norm = l->k_norm,
                               .turns = c->turns,
                               .n_rot = (uint32_t)g->n_rot,
                               .neox = g->arch->rope_neox,
                               .rope_factor = g->rope_attn_factor,
                               .eps = g->norm_eps,
                               .kv = cuda_layer_kv(c, layer) };
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
        CU(c, kernel_attend, &job, &step, list, n, c->params.n_ctx, &c->queue);
    }
    if (m->n_tiles > 0) {
        CU(c, kernel_attend_tiled, &job, &step, dptr_at(m->device, m->tiles), m->n_tiles,
           &c->queue);
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
        return multiply(c, &l->attn_output, &c->mid, c->x, true, s->n_rows, err);
    }
    const struct matvec job = {
        .mode = MATVEC_ADD,
        .n_w = 1,
        .w = { l->attn_output },
        .out = { c->x },
        .in = with_forms(&c->mid, form(c, &l->attn_output, s->n_rows)),
    };
    CU(c, kernel_matvec, &job, s->n_rows, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_in(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct dlayer *l = &c->weights.layers[layer];
    size_t n = s->n_rows;
    TRY(cuda_enter(c, "ffn_in", layer, err));
    struct norm norm = norm_of(c, l->ffn_norm, (struct dptr){ 0 });
    struct dacts out = with_forms(&c->ff, left_forms(c, &l->ffn_down, n));
    if (!cuda_many(c, n)) {
        const struct matvec job = { .mode = MATVEC_SWIGLU,
                                    .n_w = 2,
                                    .w = { l->ffn_gate, l->ffn_up },
                                    .acts = out,
                                    .norm = norm };
        CU(c, kernel_matvec, &job, n, &c->queue);
        return WEFT_OK;
    }
    struct dacts in = with_forms(&c->in, form(c, &l->ffn_gate, n) | form(c, &l->ffn_up, n));
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    TRY(multiply(c, &l->ffn_gate, &in, c->gate, false, n, err));
    TRY(multiply(c, &l->ffn_up, &in, c->up, false, n, err));
    CU(c, kernel_swiglu, c->gate, c->up, n, &out, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_out(struct backend *b, const struct step *s, size_t layer, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    const struct dmatrix *down = &c->weights.layers[layer].ffn_down;
    size_t n = s->n_rows;
    TRY(cuda_enter(c, "ffn_out", layer, err));
    if (cuda_many(c, n)) {
        struct dptr scale = down->type == QUANT_F32 ? (struct dptr){ 0 } : c->ff.half_scale;
        TRY(multiply(c, down, &c->ff, c->y, false, n, err));
        CU(c, kernel_add, c->x, c->y, scale, n, c->model->config.dim, &c->queue);
        return WEFT_OK;
    }
    const struct matvec job = { .mode = MATVEC_ADD,
                                .n_w = 1,
                                .w = { *down },
                                .out = { c->x },
                                .in = with_forms(&c->ff, form(c, down, n)) };
    CU(c, kernel_matvec, &job, n, &c->queue);
    return WEFT_OK;
}

static weft_status head(struct backend *b, const struct step *s, weft_error *err)
{
    struct cuda *c = cuda_of(b);
    TRY(cuda_enter(c, "head", c->model->config.n_layers, err));
    const struct matvec job = { .mode = MATVEC_STORE,
                                .n_w = 1,
                                .w = { c->weights.output },
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
