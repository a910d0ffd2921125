#include "support/layers.h"

#include <assert.h>

void layers_differ(struct model *m, struct reference_layer *as)
{
    assert(m->config.n_layers >= 2 && m->config.n_layers <= LAYERS_MAX && m->n_ropes == 1);
    m->ropes[0].factors[0] = m->ropes[0].factors[1] = (struct tensor){ 0 };
    m->ropes[1] = m->ropes[0];
    m->ropes[1].base = 300.0f;
    m->ropes[1].n_rot = m->ropes[0].n_rot / 2;
    m->ropes[1].at = m->n_ropes++;
    for (size_t l = 0; l < m->config.n_layers; l++) {
        struct attn *a = &m->layers[l].attn;
        a->window = l % 2 == 1 ? 3 + l : 0;
        a->rope = &m->ropes[l % 2];
        as[l] = (struct reference_layer){ .window = a->window,
                                          .n_rot = a->rope->n_rot,
                                          .rope_base = (double)a->rope->base };
    }
}
