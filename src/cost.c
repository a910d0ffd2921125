#include "cost.h"

#include "format/kv_type.h"

static void add_matrix(struct cost *c, const struct tensor *t, size_t n_rows)
{
    c->bytes += t->n_bytes;
    c->macs += (uint64_t)n_rows * t->n_rows * t->n_cols;
}

static uint64_t store_bytes(const struct kv *s, const weft_kv_type kv[2])
{
    return (uint64_t)s->n_heads * (kv_type_bytes(kv[0], s->k_dim) + kv_type_bytes(kv[1], s->v_dim));
}

/* Returns the number of positions that the row at `pos` sees. */
static size_t n_visible(const struct attn *a, size_t pos)
{
    size_t n = pos + 1;
    return a->window > 0 ? size_min(n, a->window) : n;
}

static struct cost of_attention(const struct model *m, const struct layer *l,
                                const weft_kv_type kv[2], const struct step *s)
{
    struct cost c = { 0 };
    uint64_t row_macs = layer_size(m, l, SIZE_Q) + layer_size(m, l, SIZE_O);
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct step_seq *q = &s->seqs[i];
        size_t union_of_rows = n_visible(&l->attn, q->pos) + q->n_rows - 1;
        c.bytes += union_of_rows * store_bytes(layer_kv(m, l), kv);
        for (size_t r = 0; r < q->n_rows; r++) {
            c.macs += n_visible(&l->attn, q->pos + r) * row_macs;
        }
    }
    return c;
}

/* Returns the cost of the matrices that a stage of a layer multiplies. */
static struct cost of_matrices(const struct layer *l, enum stage stage, size_t n_rows)
{
    struct cost c = { 0 };
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        if (tensor_stages[t] == stage && layer_tensor_is_matrix(t)) {
            add_matrix(&c, &l->t[t], n_rows);
        }
    }
    return c;
}

struct cost cost_of_stage(const struct model *m, const weft_kv_type kv[2], enum stage stage,
                          size_t layer, const struct step *s)
{
    const struct weights *w = &m->weights;
    struct cost c = { 0 };
    switch (stage) {
    case STAGE_EMBED:
        c.bytes = s->n_rows * (w->token_embd.n_bytes / w->token_embd.n_rows);
        return c;
    case STAGE_ATTEND: return of_attention(m, &m->layers[layer], kv, s);
    case STAGE_HEAD_NORM: return c;
    case STAGE_HEAD: add_matrix(&c, &w->output, s->n_out); return c;
    default: return of_matrices(&m->layers[layer], stage, s->n_rows);
    }
}

struct cost cost_of_row(const struct model *m)
{
    struct cost c = { 0 };
    for (size_t l = 0; l < m->config.n_layers; l++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            if (layer_tensor_is_matrix(t)) {
                add_matrix(&c, &m->layers[l].t[t], 1);
            }
        }
    }
    add_matrix(&c, &m->weights.output, 1);
    return c;
}

uint64_t cost_kv_bytes(const struct model *m, const weft_kv_type kv[2])
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n_stores; i++) {
        bytes += store_bytes(&m->kv[i], kv);
    }
    return bytes;
}

uint64_t cost_kv_read(const struct model *m, const weft_kv_type kv[2], size_t pos)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->config.n_layers; i++) {
        const struct layer *l = &m->layers[i];
        if (l->mixer == MIX_ATTENTION) {
            bytes += n_visible(&l->attn, pos) * store_bytes(layer_kv(m, l), kv);
        }
    }
    return bytes;
}
