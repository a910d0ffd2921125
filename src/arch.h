/* What tells one architecture from another: which tensors its layers have, and what the layers are.
 * A new architecture is one file in src/arch/ with such a descriptor, and its line in describe.h
 * and arch.c there. */
#ifndef WEFT_ARCH_H
#define WEFT_ARCH_H

#include "model.h"

enum presence { ABSENT, OPTIONAL, REQUIRED };

/* A tensor of the file whose rows are those of several: NAME.weight, and, if the parts may have
 * biases, NAME.bias. */
struct fused {
    const char *name; /* NULL ends a list */
    enum {
        FUSED_IF_THERE,
        FUSED_UNLESS_APART, /* expected, unless the file has the first part by its own name */
        FUSED_ALWAYS
    } when;
    size_t n;
    enum layer_tensor parts[3];
    bool has_bias;
    enum layer_tensor biases[3]; /* of the parts */
};

struct arch {
    const char *name; /* general.architecture, and the prefix of the keys */
    enum presence tensors[N_LAYER_TENSORS];
    const struct fused *fused;     /* up to one without a name; NULL = none */
    enum presence output_bias;     /* output.bias [n_vocab] */
    enum presence rope_freqs;      /* rope_freqs.weight [n_rot / 2], divides the angles */
    enum presence rope_long_short; /* rope_factors_{long,short}.weight [n_rot / 2] */
    /* Says what each layer is, all but its tensors, which are bound afterwards. Config, the file's
     * keys, and the tensors that belong to no layer are there. */
    weft_status (*describe)(struct model *m, weft_error *err);
};

const struct arch *arch_find(const char *name, size_t n); /* NULL if unknown */
const struct arch *arch_at(size_t i);                     /* NULL past the last */

/* Fills m->layers and all that belongs to them, and binds every tensor of the file to its place;
 * config has been read. WEFT_E_FORMAT and WEFT_E_UNSUPPORTED name the tensor, WEFT_E_NOMEM. */
weft_status arch_fill(const struct arch *arch, struct model *m, weft_error *err);

#endif
