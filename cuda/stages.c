/* The stages of backend.h as launches of kernels. Steps of few rows run on mat-vec kernels, which
 * read the quantised weights once for up to MATVEC_ROWS rows. Steps of many rows turn matrices into
 * halves and multiply on tensor cores. */
#include "cuda.h"

_Static_assert(N_LAYER_TENSORS == 18, "a tensor was added: which stage below reads it?");

/* Returns the form in which a product with this matrix reads its activations. */
static uint32_t form(const struct cuda *c, const struct dmatrix *m, size_t n)
{
    if (cuda_many(c, n)) {
        return m->type == QUANT_F32 ? ACT_F32 : ACT_F16;
    }
    return quant_find(m->type)->block == 1 ? ACT_F32 : ACT_Q8;
}

/* Returns the forms in which a stage writes activations for a product with this matrix; a trace
 * needs floats as well. */
static uint32_t left_forms(const struct cuda *c, const struct dmatrix *m, size_t n)
{
    return form(c, m, n) | (c->params.values ? ACT_F32 : 0u);
}

/* Returns `a` with these forms and with the row length of the matrix that reads it; `a` itself has
 * room for the layer with the longest rows. */
static struct dacts with_forms(const struct dacts *a, const struct dmatrix *reader, uint32_t forms)
{
    struct dacts b = *a;
    b.n_cols = reader->n_cols;
    b.stride = cuda_acts_stride(reader->n_cols);
    b.forms = forms;
    return b;
}

/* --- stages --- */

static struct norm norm_of(const struct cuda *c, struct dptr weight, struct dptr rows)
{
    return (struct norm){ .x = c->x,
                          .weight = weight,
                          .rows = rows,
                          .dim = (uint32_t)c->model->config.dim,
                          .eps = c->model->config.norm_eps };
}

static weft_status embed(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    (void)layer;
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

struct dkv cuda_attn_kv(const struct cuda *c, const struct attn *a)
{
    const struct kv *kv = &c->model->kv[a->kv];
    return (
        struct dkv){ .k = cuda_page(c, 0, a->kv, 0),
                     .v = cuda_page(c, 1, a->kv, 0),
                     .n_heads = (uint32_t)a->n_heads,
                     .n_kv_heads = (uint32_t)kv->n_heads,
                     .head_dim = (uint32_t)kv->k_dim,
                     .type = { (uint16_t)c->params.kv_type[0], (uint16_t)c->params.kv_type[1] } };
}

/* Returns the scales that a product with this matrix still has to be multiplied by. */
static struct dptr scale_of(const struct dmatrix *m, const struct dacts *a)
{
    return m->type == QUANT_F32 ? (struct dptr){ 0 } : a->half_scale;
}

/* Computes q, k and v as products. Writes to `heads` where they are, and the scales that they still
 * have to be multiplied by. */
static weft_status qkv(struct cuda *c, const struct dlayer *l, size_t n, struct heads *heads,
                       weft_error *err)
{
    const struct dmatrix *q = &l->matrix[ATTN_Q], *k = &l->matrix[ATTN_K], *v = &l->matrix[ATTN_V];
    struct norm norm = norm_of(c, l->vector[ATTN_NORM], (struct dptr){ 0 });
    heads->q = c->q, heads->k = c->k, heads->v = c->v;
    if (!cuda_many(c, n)) {
        const struct matvec job = { .mode = MATVEC_STORE,
                                    .n_w = 3,
                                    .w = { *q, *k, *v },
                                    .out = { c->q, c->k, c->v },
                                    .norm = norm };
        CU(c, kernel_matvec, &job, n, &c->queue);
        return WEFT_OK;
    }
    const struct joint j = { .w = { q, k, v }, .n_w = 3, .out = c->qkv };
    uint32_t forms = 0;
    for (size_t i = 0; i < 3; i++) {
        forms |= form(c, j.w[i], n);
        heads->scale[i] = scale_of(j.w[i], &c->in);
    }
    struct dacts in = with_forms(&c->in, q, forms);
    heads->q = c->qkv;
    heads->k = dptr_at(c->qkv, q->n_rows * sizeof(float));
    heads->v = dptr_at(heads->k, k->n_rows * sizeof(float));
    heads->stride = q->n_rows + k->n_rows + v->n_rows;
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    return cuda_multiply(c, &j, &in, n, err);
}

static weft_status attn_in(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    const struct layer *what = &c->model->layers[layer];
    const struct dlayer *l = &c->weights.layers[layer];
    const struct rope *rope = what->attn.rope;
    const struct dptr *v = l->vector;
    struct heads job = { .q_out = c->q,
                         .bias = { v[ATTN_Q_BIAS], v[ATTN_K_BIAS], v[ATTN_V_BIAS] },
                         .q_norm = v[ATTN_Q_NORM],
                         .k_norm = v[ATTN_K_NORM],
                         .turns = c->turns[rope->at],
                         .n_rot = (uint32_t)rope->n_rot,
                         .neox = rope->neox,
                         .rope_factor = rope->factor,
                         .eps = c->model->config.norm_eps,
                         .kv = cuda_attn_kv(c, &what->attn) };
    TRY(qkv(c, l, s->n_rows, &job, err));
    struct dstep step = image_step(c);
    CU(c, kernel_heads, &job, &step, s->n_rows, &c->queue);
    return WEFT_OK;
}

static weft_status attend(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    const struct attn *what = &c->model->layers[layer].attn;
    const struct dmatrix *reader = &c->weights.layers[layer].matrix[ATTN_OUTPUT];
    uint32_t forms = left_forms(c, reader, s->n_rows);
    const struct attend job = { .q = c->q,
                                .kv = cuda_attn_kv(c, what),
                                .scale = what->scale,
                                .window = (uint32_t)what->window,
                                .o = with_forms(&c->mid, reader, forms),
                                .partial = c->partial,
                                .counters = c->counters };
    struct dstep step = image_step(c);
    const struct image *m = &c->image;
    for (size_t i = 0; i < m->n_list; i += ATTEND_ROWS) {
        size_t n = size_min(m->n_list - i, ATTEND_ROWS);
        struct dptr list = dptr_at(m->device, m->list + i * sizeof(uint32_t));
        CU(c, kernel_attend, &job, &step, list, n, image_bound(c), &c->queue);
    }
    if (m->n_tiles > 0) {
        CU(c, kernel_attend_tiled, &job, &step, dptr_at(m->device, m->tiles), m->n_tiles,
           &c->queue);
    }
    return WEFT_OK;
}

/* Adds a bias to x, if there is one. The product that it belongs to has been added to x before. */
static weft_status add_bias(struct cuda *c, struct dptr bias, size_t n, weft_error *err)
{
    if (bias.at != 0) {
        CU(c, kernel_add_bias, c->x, bias, n, c->model->config.dim, &c->queue);
    }
    return WEFT_OK;
}

static weft_status attn_out(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    const struct dlayer *l = &c->weights.layers[layer];
    const struct dmatrix *w = &l->matrix[ATTN_OUTPUT];
    const struct dptr bias = l->vector[ATTN_OUTPUT_BIAS];
    if (cuda_many(c, s->n_rows)) {
        /* The result of attention cannot exceed the largest V, so its halves are not scaled. */
        const struct joint j = { .w = { w }, .n_w = 1, .out = c->x, .add = true };
        const struct dacts mid = with_forms(&c->mid, w, form(c, w, s->n_rows));
        TRY(cuda_multiply(c, &j, &mid, s->n_rows, err));
        return add_bias(c, bias, s->n_rows, err);
    }
    const struct matvec job = {
        .mode = MATVEC_ADD,
        .n_w = 1,
        .w = { *w },
        .out = { c->x },
        .in = with_forms(&c->mid, w, form(c, w, s->n_rows)),
    };
    CU(c, kernel_matvec, &job, s->n_rows, &c->queue);
    return add_bias(c, bias, s->n_rows, err);
}

/* Computes gate and up on tensor cores, then writes h = silu(gate) * up to `out`. If gate and up
 * are stored as halves, kernel_norm() chooses half_scale from their reach, so that no half
 * overflows. */
static weft_status gate_up(struct cuda *c, size_t layer, size_t n, const struct dacts *out,
                           weft_error *err)
{
    const struct dlayer *l = &c->weights.layers[layer];
    struct dptr reach = dptr_at(c->reach, layer * sizeof(float));
    const struct dmatrix *gate = &l->matrix[FFN_GATE], *up = &l->matrix[FFN_UP];
    bool halves = cuda_halves_out(&c->model->layers[layer]);
    size_t n_ff = gate->n_rows;
    struct norm norm = norm_of(c, l->vector[FFN_NORM], (struct dptr){ 0 });
    struct dacts in = with_forms(&c->in, gate, form(c, gate, n) | form(c, up, n));
    in.reach = halves ? reach : (struct dptr){ 0 };
    const struct joint j = { .w = { gate, up }, .n_w = 2, .out = c->gate_up, .halves = halves };
    const struct swiglu job = { .gate = c->gate_up,
                                .up = dptr_at(c->gate_up,
                                              n_ff * (halves ? sizeof(f16_bits) : sizeof(float))),
                                .scale = { scale_of(gate, &in), scale_of(up, &in) },
                                .stride = (uint32_t)(2 * n_ff),
                                .halves = halves,
                                .bias = { l->vector[FFN_GATE_BIAS], l->vector[FFN_UP_BIAS] } };
    CU(c, kernel_norm, &norm, n, &in, &c->queue);
    TRY(cuda_multiply(c, &j, &in, n, err));
    CU(c, kernel_swiglu, &job, n, out, &c->queue);
    return WEFT_OK;
}

/* Computes h of few rows if gate and up have biases. The mat-vec kernel, which otherwise combines
 * the two, then stores them separately. */
static weft_status few_biased(struct cuda *c, const struct dlayer *l, size_t n,
                              const struct dacts *out, weft_error *err)
{
    size_t n_ff = l->matrix[FFN_GATE].n_rows;
    struct dptr up = dptr_at(c->gate_up, n * n_ff * sizeof(float));
    const struct matvec products = { .mode = MATVEC_STORE,
                                     .n_w = 2,
                                     .w = { l->matrix[FFN_GATE], l->matrix[FFN_UP] },
                                     .out = { c->gate_up, up },
                                     .norm = norm_of(c, l->vector[FFN_NORM], (struct dptr){ 0 }) };
    const struct swiglu job = { .gate = c->gate_up,
                                .up = up,
                                .stride = (uint32_t)n_ff,
                                .bias = { l->vector[FFN_GATE_BIAS], l->vector[FFN_UP_BIAS] } };
    CU(c, kernel_matvec, &products, n, &c->queue);
    CU(c, kernel_swiglu, &job, n, out, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_in(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    const struct dlayer *l = &c->weights.layers[layer];
    size_t n = s->n_rows;
    const struct dmatrix *reader = &l->matrix[FFN_DOWN];
    struct dacts out = with_forms(&c->ff, reader, left_forms(c, reader, n));
    if (cuda_many(c, n)) {
        return gate_up(c, layer, n, &out, err);
    }
    if (cuda_ffn_biased(&c->model->layers[layer])) {
        return few_biased(c, l, n, &out, err);
    }
    const struct matvec job = { .mode = MATVEC_SWIGLU,
                                .n_w = 2,
                                .w = { l->matrix[FFN_GATE], l->matrix[FFN_UP] },
                                .acts = out,
                                .norm = norm_of(c, l->vector[FFN_NORM], (struct dptr){ 0 }) };
    CU(c, kernel_matvec, &job, n, &c->queue);
    return WEFT_OK;
}

static weft_status ffn_out(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    const struct dlayer *l = &c->weights.layers[layer];
    const struct dmatrix *down = &l->matrix[FFN_DOWN];
    const struct dptr bias = l->vector[FFN_DOWN_BIAS];
    size_t n = s->n_rows;
    const struct dacts ff = with_forms(&c->ff, down, form(c, down, n));
    if (cuda_many(c, n)) {
        const struct joint j = { .w = { down }, .n_w = 1, .out = c->y };
        TRY(cuda_multiply(c, &j, &ff, n, err));
        CU(c, kernel_add, c->x, c->y, scale_of(down, &ff), n, c->model->config.dim, &c->queue);
        return add_bias(c, bias, n, err);
    }
    const struct matvec job = {
        .mode = MATVEC_ADD, .n_w = 1, .w = { *down }, .out = { c->x }, .in = ff
    };
    CU(c, kernel_matvec, &job, n, &c->queue);
    return add_bias(c, bias, n, err);
}

/* Returns the norm before the output matrix, for the rows whose logits are wanted. */
static struct norm last_norm(const struct cuda *c)
{
    return norm_of(c, c->weights.output_norm, dptr_at(c->image.device, c->image.out_rows));
}

/* The product with the output matrix normalises its rows itself, so this stage does something only
 * if values are read. */
static weft_status head_norm(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    (void)layer;
    if (c->params.values) {
        const struct norm norm = last_norm(c);
        const struct dacts out = with_forms(&c->head_norm, &c->weights.output, ACT_F32);
        CU(c, kernel_norm, &norm, s->n_out, &out, &c->queue);
    }
    return WEFT_OK;
}

static weft_status head(struct cuda *c, const struct step *s, size_t layer, weft_error *err)
{
    (void)layer;
    const struct matvec job = { .mode = MATVEC_STORE,
                                .n_w = 1,
                                .w = { c->weights.output },
                                .bias = { c->weights.output_bias },
                                .out = { c->logits },
                                .norm = last_norm(c) };
    CU(c, kernel_matvec, &job, s->n_out, &c->queue);
    return WEFT_OK;
}

static weft_status (*const stages[N_STAGES])(struct cuda *, const struct step *, size_t layer,
                                             weft_error *) = {
    [STAGE_EMBED] = embed,         [STAGE_ATTN_IN] = attn_in, [STAGE_ATTEND] = attend,
    [STAGE_ATTN_OUT] = attn_out,   [STAGE_FFN_IN] = ffn_in,   [STAGE_FFN_OUT] = ffn_out,
    [STAGE_HEAD_NORM] = head_norm, [STAGE_HEAD] = head,
};

static bool cuda_has(enum stage stage) { return stages[stage] != NULL; }

static weft_status cuda_stage(struct backend *b, enum stage stage, const struct step *s,
                              size_t layer, weft_error *err)
{
    struct cuda *c = (struct cuda *)b;
    TRY(cuda_enter(c, stage_names[stage], layer, err));
    return stages[stage](c, s, layer, err);
}

const struct backend_ops cuda_backend = {
    .name = "cuda",
    .has = cuda_has,
    .acts = 1u << ACT_SILU,
    .stage = cuda_stage,
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
