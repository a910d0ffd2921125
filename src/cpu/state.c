/* Everything is sized first, allocated once, and carved. */
#include "cpu/state.h"

enum { ALIGN = 64 };

/* Lays buffers out one after the other. With base == NULL it only adds up the sizes. */
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

/* In which forms weights read their activations. */
struct forms {
    bool floats, codes, wide;
};

static void add_form(struct forms *f, const struct packed *w)
{
    const struct pack_type *how = w->how;
    f->floats |= how->form == SCALE_NONE;
    f->codes |= how->form != SCALE_NONE;
    f->wide |= how->form != SCALE_NONE && (how->bits[0] == 8 || how->lookup);
}

static void carve_acts(struct carver *v, struct acts *a, size_t n, size_t n_cols,
                       const struct forms *f)
{
    a->n_cols = n_cols;
    a->stride = (n_cols + 63) / 64 * 64;
    a->q = f->codes ? carve(v, n, a->stride) : NULL;
    a->scales = f->codes ? carve(v, n, a->stride / 32 * sizeof *a->scales) : NULL;
    a->q16 = f->wide ? carve(v, n, a->stride * sizeof *a->q16) : NULL;
    a->x = f->floats ? carve(v, n, a->stride * sizeof *a->x) : NULL;
}

static void carve_all_acts(struct carver *v, struct cpu *c)
{
    const struct config *g = &c->model->config;
    struct forms in = { 0 }, mid = { 0 }, ff = { .floats = c->params.values };
    add_form(&in, &c->tiles->output);
    for (size_t i = 0; i < g->n_layers; i++) {
        const struct layer_tiles *l = &c->tiles->layers[i];
        const struct packed *of_in[] = { &l->attn_q, &l->attn_k, &l->attn_v, &l->ffn_gate,
                                         &l->ffn_up };
        for (size_t k = 0; k < sizeof of_in / sizeof *of_in; k++) {
            add_form(&in, of_in[k]);
        }
        add_form(&mid, &l->attn_output);
        add_form(&ff, &l->ffn_down);
    }
    in.wide &= c->ops->reads_q16;
    mid.wide &= c->ops->reads_q16;
    ff.wide &= c->ops->reads_q16;
    carve_acts(v, &c->in, c->params.n_batch, g->dim, &in);
    carve_acts(v, &c->mid, c->params.n_batch, g->n_heads * g->head_dim, &mid);
    carve_acts(v, &c->ff, c->params.n_batch, g->n_ff, &ff);
}

static void carve_state(struct carver *v, struct cpu *c)
{
    const struct config *g = &c->model->config;
    size_t n = c->params.n_batch, q_dim = g->n_heads * g->head_dim,
           kv_dim = g->n_kv_heads * g->head_dim;
    size_t tile = c->tiles->memory != NULL ? 0 : tiles_largest(c->tiles, g->n_layers);
    size_t queries = g->n_heads / g->n_kv_heads;
    queries = queries > ATTEND_QUERIES ? queries : ATTEND_QUERIES;
    c->x = carve(v, n, g->dim * sizeof(float));
    c->q = carve(v, n, q_dim * sizeof(float));
    c->o = carve(v, n, q_dim * sizeof(float));
    c->k = carve(v, n, kv_dim * sizeof(float));
    c->v = carve(v, n, kv_dim * sizeof(float));
    c->cos = carve(v, n, g->n_rot / 2 * sizeof(float));
    c->sin = carve(v, n, g->n_rot / 2 * sizeof(float));
    c->logits = carve(v, c->params.n_out, g->n_vocab * sizeof(float));
    c->best = carve(v, 1, cpu_top_bytes(c->params.n_out, c->n_threads));
    c->row_pos = carve(v, n, sizeof *c->row_pos);
    c->row_seq = carve(v, n, sizeof *c->row_seq);
    carve_all_acts(v, c);
    c->scratch = carve(v, c->n_threads, sizeof *c->scratch);
    for (size_t i = 0; i < c->n_threads; i++) {
        struct scratch s = { .dot = carve(v, 1, DOT_SCRATCH),
                             .tile = tile > 0 ? carve(v, 1, tile) : NULL,
                             .norm = carve(v, g->dim, sizeof(float)),
                             .gate = carve(v, DOT_ROWS * GATED_COLS, sizeof(float)),
                             .up = carve(v, DOT_ROWS * GATED_COLS, sizeof(float)),
                             .attend = carve(v, 1, attend_scratch_bytes(queries, g->head_dim)) };
        if (v->base != NULL) {
            c->scratch[i] = s;
        }
    }
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

weft_status state_alloc_kv(struct cpu *c, weft_error *err)
{
    const struct config *g = &c->model->config;
    size_t blocks, bytes[2];
    bool ok = mul_ok(g->n_layers * g->n_kv_heads, c->params.n_pages, &blocks);
    for (size_t i = 0; i < 2; i++) {
        ok = ok && mul_ok(blocks, kv_block_bytes(c->params.kv_type[i], g->head_dim), &bytes[i]);
    }
    if (!ok || !add_ok(bytes[KV_K], bytes[KV_V], &c->kv_bytes)) {
        return error_set(err, WEFT_E_ARG,
                         "a KV pool of %zu pages is beyond any memory; ask for a smaller n_kv",
                         c->params.n_pages);
    }
    for (size_t i = 0; i < 2; i++) {
        /* never cleared: a page is read only where it was written, and what is behind the last page
         * in use takes no memory */
        c->kv[i] = mem_large(bytes[i]);
        if (c->kv[i] == NULL) {
            return error_nomem(err, "the KV pool; a smaller n_ctx or n_kv needs less", c->kv_bytes);
        }
    }
    return WEFT_OK;
}

void state_free(struct cpu *c)
{
    free(c->kv[0]);
    free(c->kv[1]);
    free(c->arena);
    free(c->freq);
}
