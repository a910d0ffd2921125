/* What tells one architecture from another: which tensors its layers have, and what the layers are.
 * A new architecture is one file in src/arch/ with such a descriptor, and its line in
 * arch/arch.c. */
#ifndef WEFT_ARCH_H
#define WEFT_ARCH_H

#include "model.h"

enum presence { ABSENT, OPTIONAL, REQUIRED };

/* A tensor of the file whose rows are those of several: NAME.weight, and NAME.bias where the parts
 * may have biases. */
struct fused {
    const char *name; /* NULL ends a list */
    enum {
        FUSED_IF_THERE,
        FUSED_UNLESS_APART, /* expected, unless the file has the first part by its own name */
        FUSED_ALWAYS
    } when;
    size_t n;
    enum layer_tensor parts[3], biases[3];
};

struct arch {
    const char *name; /* general.architecture, and the prefix of the keys */
    enum presence tensors[N_LAYER_TENSORS];
    const struct fused *fused;
    enum presence output_bias;     /* output.bias [n_vocab] */
    enum presence rope_freqs;      /* rope_freqs.weight [n_rot / 2], divides the angles */
    enum presence rope_long_short; /* rope_factors_{long,short}.weight [n_rot / 2] */
    /* Says what each layer is, all but its tensors, which are bound afterwards. Config and the
     * tensors that belong to no layer are there. */
    void (*describe)(struct model *m);
};

/* What most layers have: attention and a gated feed-forward network, each behind a norm. */
#define ARCH_DENSE                                                                                 \
    [ATTN_NORM] = REQUIRED, [ATTN_Q] = REQUIRED, [ATTN_K] = REQUIRED, [ATTN_V] = REQUIRED,         \
    [ATTN_OUTPUT] = REQUIRED, [FFN_NORM] = REQUIRED, [FFN_GATE] = REQUIRED, [FFN_UP] = REQUIRED,   \
    [FFN_DOWN] = REQUIRED
#define ARCH_QKV_BIAS(presence)                                                                    \
    [ATTN_Q_BIAS] = presence, [ATTN_K_BIAS] = presence, [ATTN_V_BIAS] = presence
#define ARCH_FFN_BIAS(presence)                                                                    \
    [FFN_GATE_BIAS] = presence, [FFN_UP_BIAS] = presence, [FFN_DOWN_BIAS] = presence

const struct arch *arch_find(const char *name, size_t n); /* NULL if unknown */
const struct arch *arch_at(size_t i);                     /* NULL past the last */

/* Fills m->layers and all that belongs to them, and binds every tensor of the file to its place;
 * config has been read. WEFT_E_FORMAT and WEFT_E_UNSUPPORTED name the tensor, WEFT_E_NOMEM. */
weft_status arch_fill(const struct arch *arch, struct model *m, weft_error *err);

#endif
