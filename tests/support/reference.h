/* The forward pass of every architecture once more, written from the definitions: slow, in double
 * precision, one text at a time. It reads the file through gguf.h and quant.h only and shares no
 * code with model.c, forward.c or a backend, so that the two agree only if both are right. */
#ifndef TESTS_REFERENCE_H
#define TESTS_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a layer is, in the place of what the keys say. */
struct reference_layer {
    size_t window, n_rot;
    double rope_base;
    size_t n_ff; /* rows of gate and up; ffn_down is its first values, in rows of so many */
};

struct reference_options {
    size_t n_ctx;   /* the engine's context: decides between long and short RoPE factors */
    bool acts_8bit; /* before a product with a quantised matrix, round its input to 8 bits in blocks
                       of 32 */
    bool kv_half;   /* round K and V to half precision, as a KV cache does */
    bool kv_q8_0[2];                      /* K, V: round them to q8_0 instead, K rotated */
    const struct reference_layer *layers; /* [n_layers]; NULL = all are what the keys say */
};

/* Logits [n, *n_vocab] of every position of the text, to be freed; NULL when the file cannot be
 * read. */
double *reference_logits(const char *path, const struct reference_options *options,
                         const int32_t *tokens, size_t n, size_t *n_vocab);

/* Sum of squared differences over the sum of squares of `want`, [n]. */
double reference_nmse(const float *got, const double *want, size_t n);

#endif
