#include "support/layers.h"

#include <assert.h>

/* Turns the tensor into [n_rows, n_cols], of its first values. */
static void reshape(struct tensor *t, size_t n_rows, size_t n_cols)
{
    assert(t->name != NULL && n_cols % t->type->block == 0);
    t->n_rows = n_rows;
    t->n_cols = n_cols;
    t->n_bytes = n_rows * (n_cols / t->type->block) * t->type->bytes;
}

static void narrow(struct layer *l, size_t n_ff)
{
    reshape(&l->t[FFN_GATE], n_ff, l->t[FFN_GATE].n_cols);
    reshape(&l->t[FFN_UP], n_ff, l->t[FFN_UP].n_cols);
    reshape(&l->t[FFN_DOWN], l->t[FFN_DOWN].n_rows, n_ff);
    l->n_ff = n_ff;
}

void layers_differ(struct model *m, struct reference_layer *as)
{
    assert(m->config.n_layers >= 2 && m->config.n_layers <= LAYERS_MAX && m->n_ropes == 1);
    m->ropes[0].factors[0] = m->ropes[0].factors[1] = (struct tensor){ 0 };
    m->ropes[1] = m->ropes[0];
    m->ropes[1].base = 300.0f;
    m->ropes[1].n_rot = m->ropes[0].n_rot / 2;
    m->ropes[1].at = m->n_ropes++;
    for (size_t l = 0; l < m->config.n_layers; l++) {
        struct layer *layer = &m->layers[l];
        layer->attn.window = l % 2 == 1 ? 3 + l : 0;
        layer->attn.rope = &m->ropes[l % 2];
        if (l % 2 == 1) {
            narrow(layer, layer->n_ff - 32);
        }
        as[l] = (struct reference_layer){ .window = layer->attn.window,
                                          .n_rot = layer->attn.rope->n_rot,
                                          .rope_base = (double)layer->attn.rope->base,
                                          .n_ff = layer->n_ff };
    }
}
