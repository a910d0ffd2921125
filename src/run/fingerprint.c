#include "run/fingerprint.h"

#include "base/hash.h"

/* Bytes at each end of a tensor. Reading all bytes would take seconds. */
enum { SAMPLE = 4096 };

static uint64_t add_text(uint64_t h, const char *text) { return hash64(h, text, strlen(text)); }

static uint64_t add_config(uint64_t h, const struct config *c)
{
    const uint64_t sizes[] = { c->n_vocab,    c->dim,        c->n_layers,      c->n_heads,
                               c->n_kv_heads, c->head_dim,   c->n_ff,          c->n_rot,
                               c->longrope,   c->n_ctx_orig, c->sliding_window };
    const float floats[] = { c->norm_eps, c->rope_base, c->rope_scale, c->rope_attn_factor };
    h = hash64(hash64(h, sizes, sizeof sizes), floats, sizeof floats);
    /* K depends on the numbers of YaRN too, for which a saved state has no fields. Without YaRN
     * they are left out, so that the fingerprint stays the one that saved states have. */
    const float yarn[] = { c->yarn.mix, c->yarn.beta_fast, c->yarn.beta_slow };
    return c->yarn.mix != 0.0f ? hash64(h, yarn, sizeof yarn) : h;
}

static uint64_t add_tensor(uint64_t h, const struct gguf_tensor *t)
{
    size_t n = t->n_bytes < SAMPLE ? (size_t)t->n_bytes : SAMPLE;
    h = add_text(add_text(h, t->name), t->type->name);
    h = hash64(h, t->ne, sizeof t->ne);
    h = hash64(h, t->data, n);
    return hash64(h, t->data + (t->n_bytes - n), n);
}

static uint64_t compute(const struct model *m)
{
    uint64_t h = add_config(add_text(HASH64_START, m->arch_name), &m->config);
    for (size_t i = 0; i < tokenizer_n_vocab(m->tokenizer); i++) {
        struct gguf_str text = tokenizer_text(m->tokenizer, (int32_t)i);
        h = hash64(h, text.s, text.n);
    }
    for (size_t i = 0; i < m->file->n_tensors; i++) {
        h = add_tensor(h, &m->file->tensors[i]);
    }
    return h != 0 ? h : 1;
}

uint64_t fingerprint_of(struct weft_model *m)
{
    uint64_t h = atomic_load(&m->fingerprint);
    if (h == 0) {
        /* Two threads that arrive here at the same time compute the same value. */
        h = compute(m->model);
        atomic_store(&m->fingerprint, h);
    }
    return h;
}
