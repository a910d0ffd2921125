/* An architecture is described by the tensors of its layers and by what its layers are. A new
 * architecture is one file in src/arch/ with such a descriptor, and its line in describe.h and in
 * arch.c there. */
#ifndef WEFT_ARCH_H
#define WEFT_ARCH_H

#include "model.h"

enum presence { ABSENT, OPTIONAL, REQUIRED };

/* One tensor of the file that holds the rows of several tensors of a layer: NAME.weight and, if the
 * parts may have biases, NAME.bias. */
struct fused {
    const char *name; /* NULL ends a list */
    enum {
        FUSED_IF_THERE,
        /* Expected, unless the file has the first part under its own name. */
        FUSED_UNLESS_APART,
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
    /* A list that ends with an entry without a name; NULL = none. */
    const struct fused *fused;
    enum presence output_bias; /* output.bias [n_vocab] */
    /* rope_freqs.weight [n_rot / 2]; the angles are divided by it. */
    enum presence rope_freqs;
    enum presence rope_long_short; /* rope_factors_{long,short}.weight [n_rot / 2] */
    /* What the model's makers let it read besides text; NULL = nothing. */
    const char *unread;
    /* cls.output.weight [n_labels, dim]: there are rerankers of this architecture. */
    enum presence classifier;
    /* Says what each layer is. It leaves out the tensors, which are bound afterwards. The config,
     * the file's keys and the tensors that belong to no layer have been read before. */
    weft_status (*describe)(struct model *m, weft_error *err);
};

/* Finds an architecture by name; NULL if the name is unknown. */
const struct arch *arch_find(const char *name, size_t n);
/* Returns the i-th architecture, NULL past the last. */
const struct arch *arch_at(size_t i);

/* Fills m->layers and everything that belongs to them, and binds every tensor of the file to its
 * place. The config must have been read. WEFT_E_FORMAT and WEFT_E_UNSUPPORTED name the tensor;
 * WEFT_E_NOMEM. */
weft_status arch_fill(const struct arch *arch, struct model *m, weft_error *err);

#endif
