/* A second forward pass of every architecture, written from the definitions: slow, in double
 * precision, one text at a time. It reads the file only through gguf.h and quant.h and shares no
 * code with model.c, forward.c or a backend, so that both agree only if both are right. */
#ifndef TESTS_REFERENCE_H
#define TESTS_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Describes a layer, in place of the keys. */
struct reference_layer {
    size_t window, n_rot;
    double rope_base;
    /* The rows of gate and up. ffn_down is the first values of its tensor, in rows of this
     * length. */
    size_t n_ff;
};

struct reference_options {
    /* Before a product with a quantised matrix, rounds its input to 8 bits in blocks of 32. */
    bool acts_8bit;
    /* Rounds K and V to half precision, as a KV cache does. */
    bool kv_half;
    /* For K and V: rounds to q8_0 instead, with K rotated. */
    bool kv_q8_0[2];
    /* [n_layers]; NULL = all layers are as the keys say. */
    const struct reference_layer *layers;
};

/* Returns the logits [n, *n_vocab] of every position of the text, which the caller frees; NULL if
 * the file cannot be read. */
double *reference_logits(const char *path, const struct reference_options *options,
                         const int32_t *tokens, size_t n, size_t *n_vocab);

/* Returns the state [n, *dim] of every position behind the last layer and its norm, which the
 * caller frees; NULL if the file cannot be read. */
double *reference_states(const char *path, const struct reference_options *options,
                         const int32_t *tokens, size_t n, size_t *dim);

/* Returns the sum of squared differences over the sum of squares of `want`, [n]. */
double reference_nmse(const float *got, const double *want, size_t n);

#endif
