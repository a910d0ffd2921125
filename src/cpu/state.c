/* The memory of the CPU backend. All sizes are computed first; then one allocation is made and cut
 * into buffers. */
#include "cpu/state.h"

enum { ALIGN = 64 };

/* Places buffers one after the other. With base == NULL it only adds up their sizes. */
struct carver {
    char *base;
    size_t used;
    bool wrapped;
};

static void *carve(struct carver *v, size_t n, size_t size)
{
    size_t bytes, end, at = v->used;
    if (!mul_ok(n, size, &bytes) || !add_ok(at, bytes, &end) || !add_ok(end, ALIGN - 1, &end)) {
        v->wrapped = true;
        return NULL;
    }
    v->used = end / ALIGN * ALIGN;
    return v->base != NULL ? v->base + at : NULL;
}

/* The forms in which weights read their activations. */
struct forms {
    bool floats, codes, wide;
};

static void add_form(struct forms *f, const struct packed *w)
{
    const struct pack_type *how = w->how;
    f->floats |= how->form == SCALE_NONE;
    f->codes |= how->form != SCALE_NONE;
    f->wide |= how->form != SCALE_NONE && pack_top(how) > NARROW_TOP;
}

static void carve_acts(struct carver *v, struct acts *a, size_t n, size_t n_cols,
                       const struct forms *f)
{
    a->n_cols = n_cols;
    a->stride = round_up(n_cols, 64);
    a->q = f->codes ? carve(v, n, a->stride) : NULL;
    a->scales = f->codes ? carve(v, n, a->stride / 32 * sizeof *a->scales) : NULL;
    a->q16 = f->wide ? carve(v, n, a->stride * sizeof *a->q16) : NULL;
    a->x = f->floats ? carve(v, n, a->stride * sizeof *a->x) : NULL;
}

/* Returns the forms of the activations that a stage's products read. */
static struct forms *forms_of(enum stage stage, struct forms *in, struct forms *mid,
                              struct forms *ff)
{
    return stage == STAGE_ATTN_OUT ? mid : stage == STAGE_FFN_OUT ? ff : in;
}

static void carve_all_acts(struct carver *v, struct cpu *c)
{
    const struct maxima *max = &c->model->max;
    struct forms in = { 0 }, mid = { 0 }, ff = { .floats = c->params.values };
    add_form(&in, &c->weights->output);
    for (size_t i = 0; i < c->weights->n_layers; i++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            const struct packed *w = &c->weights->layers[i].matrix[t];
            if (w->n_rows > 0) {
                add_form(forms_of(tensor_stages[t], &in, &mid, &ff), w);
            }
        }
    }
    in.wide &= c->ops->reads_q16;
    mid.wide &= c->ops->reads_q16;
    ff.wide &= c->ops->reads_q16;
    carve_acts(v, &c->in, c->params.n_batch, c->model->config.dim, &in);
    carve_acts(v, &c->mid, c->params.n_batch, max->o_dim, &mid);
    carve_acts(v, &c->ff, c->params.n_batch, max->n_ff, &ff);
}

static void carve_state(struct carver *v, struct cpu *c)
{
    const struct maxima *max = &c->model->max;
    const size_t n = c->params.n_batch, n_out = c->params.n_out, dim = c->model->config.dim;
    const size_t tile = c->weights->memory != NULL ? 0 : cpu_weights_largest(c->weights);
    const size_t queries = size_max(max->group, ATTEND_QUERIES);
    c->x = carve(v, n, dim * sizeof(float));
    c->q = carve(v, n, max->q_dim * sizeof(float));
    c->o = carve(v, n, max->o_dim * sizeof(float));
    c->k = carve(v, n, max->k_dim * sizeof(float));
    c->v = carve(v, n, max->v_dim * sizeof(float));
    for (size_t i = 0; i < c->model->n_ropes; i++) {
        const size_t half = c->model->ropes[i].n_rot / 2;
        c->turns[i].cos = carve(v, n, half * sizeof(float));
        c->turns[i].sin = carve(v, n, half * sizeof(float));
    }
    c->logits = carve(v, n_out, c->model->config.n_vocab * sizeof(float));
    c->best = carve(v, 1, cpu_top_bytes(n_out, c->n_threads));
    c->row_pos = carve(v, n, sizeof *c->row_pos);
    c->row_seq = carve(v, n, sizeof *c->row_seq);
    carve_all_acts(v, c);
    c->scratch = carve(v, c->n_threads, sizeof *c->scratch);
    for (size_t i = 0; i < c->n_threads; i++) {
        struct scratch s = { .dot = carve(v, 1, MATMUL_SCRATCH),
                             .tile = tile > 0 ? carve(v, 1, tile) : NULL,
                             .norm = carve(v, dim, sizeof(float)),
                             .gate = carve(v, MATMUL_ROWS * GATED_COLS, sizeof(float)),
                             .up = carve(v, MATMUL_ROWS * GATED_COLS, sizeof(float)),
                             .attend = carve(v, 1, attend_scratch_bytes(queries, max->head)) };
        if (v->base != NULL) {
            c->scratch[i] = s;
        }
    }
    c->norm = carve(v, n_out, dim * sizeof(float));
}

weft_status state_alloc(struct cpu *c, weft_error *err)
{
    struct carver v = { 0 };
    carve_state(&v, c);
    c->arena_bytes = v.used;
    c->arena = v.wrapped ? NULL : aligned_alloc(ALIGN, v.used);
    if (c->arena == NULL) {
        return error_nomem(
            err, "the activations of a step; a smaller n_batch or fewer threads need less", v.used);
    }
    v = (struct carver){ .base = c->arena };
    carve_state(&v, c);
    return WEFT_OK;
}

weft_status state_alloc_angles(struct cpu *c, weft_error *err)
{
    for (size_t i = 0; i < c->model->n_ropes; i++) {
        const struct rope *r = &c->model->ropes[i];
        const size_t half = r->n_rot / 2;
        double *angles = c->turns[i].angles = mem_array(ROPE_SETS * half, sizeof *angles);
        if (angles == NULL) {
            return error_nomem(err, "the RoPE frequencies", ROPE_SETS * half * sizeof *angles);
        }
        for (size_t set = 0; set < ROPE_SETS; set++) {
            rope_angles(r, set, angles + set * half);
        }
    }
    return WEFT_OK;
}

/* Computes where the blocks of each store stand in a page. Returns false if a size wraps. */
static bool place_stores(struct cpu *c, size_t which)
{
    size_t *page = &c->page_bytes[which];
    bool ok = true;
    for (size_t i = 0; i < c->model->n_stores; i++) {
        const size_t block = kv_block_bytes(c->params.kv_type[which], cpu_kv_dim(c, which, i));
        size_t bytes;
        c->store_at[which][i] = *page;
        ok = ok && mul_ok(c->model->kv[i].n_heads, block, &bytes) && add_ok(*page, bytes, page);
    }
    return ok;
}

weft_status state_alloc_kv(struct cpu *c, weft_error *err)
{
    const size_t n_stores = c->model->n_stores;
    size_t bytes[2];
    bool ok = true;
    for (size_t i = 0; i < 2; i++) {
        c->store_at[i] = mem_array(n_stores, sizeof *c->store_at[i]);
        if (c->store_at[i] == NULL) {
            return error_nomem(err, "the list of KV stores", n_stores * sizeof *c->store_at[i]);
        }
        ok = ok && place_stores(c, i) && mul_ok(c->page_bytes[i], c->params.n_pages, &bytes[i]);
    }
    if (!ok || !add_ok(bytes[KV_K], bytes[KV_V], &c->kv_bytes)) {
        return error_set(err, WEFT_E_ARG,
                         "a KV pool of %zu pages is beyond any memory; ask for a smaller n_kv",
                         c->params.n_pages);
    }
    for (size_t i = 0; i < 2; i++) {
        /* The memory is never cleared: a page is read only where it was written, and the system
         * gives no memory to pages that were not used yet. */
        c->kv[i] = mem_large(bytes[i]);
        if (c->kv[i] == NULL) {
            return error_nomem(err, "the KV pool; a smaller n_ctx or n_kv needs less", c->kv_bytes);
        }
    }
    return WEFT_OK;
}

void state_free(struct cpu *c)
{
    for (size_t i = 0; i < 2; i++) {
        free(c->kv[i]);
        free(c->store_at[i]);
    }
    for (size_t i = 0; i < MAX_ROPES; i++) {
        free(c->turns[i].angles);
    }
    free(c->arena);
}
