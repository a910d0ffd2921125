#include "cost.h"

#include "format/kv_type.h"

static void add_matrix(struct cost *c, const struct tensor *t, size_t n_rows)
{
    c->bytes += t->n_bytes;
    c->macs += (uint64_t)n_rows * t->n_rows * t->n_cols;
}

static uint64_t layer_kv_bytes(const struct config *g, const weft_kv_type kv[2])
{
    return (uint64_t)g->n_kv_heads *
           (kv_type_bytes(kv[0], g->head_dim) + kv_type_bytes(kv[1], g->head_dim));
}

/* Positions that the row at `pos` sees. */
static size_t n_visible(const struct config *g, size_t pos)
{
    size_t n = pos + 1;
    return g->sliding_window > 0 && n > g->sliding_window ? g->sliding_window : n;
}

static struct cost of_attention(const struct config *g, const weft_kv_type kv[2],
                                const struct step *s)
{
    struct cost c = { 0 };
    uint64_t row_macs = (uint64_t)2 * g->n_heads * g->head_dim;
    for (size_t i = 0; i < s->n_seqs; i++) {
        const struct step_seq *q = &s->seqs[i];
        size_t union_of_rows = n_visible(g, q->pos) + q->n_rows - 1;
        c.bytes += union_of_rows * layer_kv_bytes(g, kv);
        for (size_t r = 0; r < q->n_rows; r++) {
            c.macs += n_visible(g, q->pos + r) * row_macs;
        }
    }
    return c;
}

static struct cost of_layer(const struct layer *l, enum stage stage, size_t n_rows)
{
    struct cost c = { 0 };
    switch (stage) {
    case STAGE_ATTN_IN:
        add_matrix(&c, &l->attn_q, n_rows);
        add_matrix(&c, &l->attn_k, n_rows);
        add_matrix(&c, &l->attn_v, n_rows);
        break;
    case STAGE_ATTN_OUT: add_matrix(&c, &l->attn_output, n_rows); break;
    case STAGE_FFN_IN:
        add_matrix(&c, &l->ffn_gate, n_rows);
        add_matrix(&c, &l->ffn_up, n_rows);
        break;
    case STAGE_FFN_OUT: add_matrix(&c, &l->ffn_down, n_rows); break;
    default: break;
    }
    return c;
}

struct cost cost_of_stage(const struct model *m, const weft_kv_type kv[2], enum stage stage,
                          size_t layer, const struct step *s)
{
    const struct weights *w = &m->weights;
    struct cost c = { 0 };
    if (stage == STAGE_EMBED) {
        c.bytes = s->n_rows * (w->token_embd.n_bytes / w->token_embd.n_rows);
    } else if (stage == STAGE_HEAD) {
        add_matrix(&c, &w->output, s->n_out);
    } else if (stage == STAGE_ATTEND) {
        c = of_attention(&m->config, kv, s);
    } else {
        c = of_layer(&w->layers[layer], stage, s->n_rows);
    }
    return c;
}

struct cost cost_of_row(const struct model *m)
{
    struct cost c = { 0 };
    for (size_t l = 0; l < m->config.n_layers; l++) {
        for (int s = STAGE_ATTN_IN; s <= STAGE_FFN_OUT; s++) {
            struct cost one = of_layer(&m->weights.layers[l], (enum stage)s, 1);
            c.bytes += one.bytes;
            c.macs += one.macs;
        }
    }
    add_matrix(&c, &m->weights.output, 1);
    return c;
}

uint64_t cost_kv_bytes(const struct model *m, const weft_kv_type kv[2])
{
    return m->config.n_layers * layer_kv_bytes(&m->config, kv);
}
