/* What tells one architecture from another: flags that model.c reads when it binds the tensors of a
 * file, and that forward.c never needs. Adding an architecture is one file with such a descriptor,
 * and its line in arch.c. */
#ifndef WEFT_ARCH_H
#define WEFT_ARCH_H

#include <stdbool.h>
#include <stddef.h>

enum presence { ABSENT, OPTIONAL, REQUIRED };

struct arch {
    const char *name;               /* general.architecture, and the prefix of the keys */
    bool rope_neox;                 /* RoPE pairs (i, i + n_rot/2); otherwise (2i, 2i + 1) */
    bool fused;                     /* ffn_up = rows of gate, up; and attn_qkv = rows of q, k, v, as
                                       which any architecture may have them */
    enum presence qkv_bias;         /* blk.N.attn_{q,k,v}.bias, or blk.N.attn_qkv.bias */
    enum presence attn_output_bias; /* blk.N.attn_output.bias [dim] */
    enum presence ffn_bias;         /* blk.N.ffn_{gate,up}.bias [n_ff], blk.N.ffn_down.bias [dim] */
    enum presence output_bias;      /* output.bias [n_vocab] */
    enum presence qk_norm;          /* blk.N.attn_{q,k}_norm.weight [head_dim] */
    enum presence rope_freqs;       /* rope_freqs.weight [n_rot / 2], divides the frequencies */
    enum presence rope_long_short;  /* rope_factors_{long,short}.weight [n_rot / 2] */
};

extern const struct arch arch_llama, arch_phi3, arch_qwen2, arch_qwen3;

const struct arch *arch_find(const char *name, size_t n); /* NULL if unknown */
const struct arch *arch_at(size_t i);                     /* NULL past the last */

#endif
