/* The hyper-parameters of a model, read from the keys of its file and checked. src/arch/ makes the
 * layers from them: struct layer says what a layer does and how large it is. Backends read from
 * here only what concerns the model as a whole: n_vocab, dim, n_layers, norm_eps. */
#ifndef WEFT_CONFIG_H
#define WEFT_CONFIG_H

#include "base/error.h"
#include "format/gguf.h"
#include "layer.h"

/* The numbers of .pooling_type. */
enum { POOLING_NONE, POOLING_MEAN, POOLING_CLS, POOLING_LAST, POOLING_RANK };

struct config {
    size_t n_vocab, dim, n_layers, n_heads, n_kv_heads, head_dim, n_ff;
    /* The longest context: the length that the model was trained for, or the length to which YaRN
     * stretches the original context, if that is longer. */
    size_t n_ctx_train;
    float norm_eps;
    size_t n_rot; /* leading values of a head that RoPE turns */
    float rope_base;
    float rope_scale;       /* positions are multiplied by it; 1 = none */
    float rope_attn_factor; /* multiplies sine and cosine; includes the factor of YaRN */
    struct yarn yarn;
    bool longrope;     /* the file says that it carries long and short factors */
    size_t n_ctx_orig; /* longer texts use the long factors */
    size_t pooling;    /* pooling_type: POOLING_*, or a number that Weft does not know */
    /* The number of positions that a position sees, its own included; 0 = all up to its own. */
    size_t sliding_window;
};

/* Fills all of *c but n_vocab. Every size lies in a range where the product of two of them does not
 * wrap, and no divisor is zero. WEFT_E_FORMAT, WEFT_E_UNSUPPORTED. */
weft_status config_read(const struct gguf *file, const char *arch, struct config *c,
                        weft_error *err);

#endif
