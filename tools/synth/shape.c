/* The keys of a synthetic model that say what it is: its architecture, its sizes, its RoPE. Names:
 * gguf-py/gguf/constants.py. */
#include <stdio.h>
#include <string.h>

#include "synth/parts.h"

bool of_family(const struct synth_spec *s, const char *arch)
{
    size_t n = strlen(arch);
    return strncmp(s->arch, arch, n) == 0 && (s->arch[n] == '\0' || strcmp(s->arch + n, "vl") == 0);
}

static const char *key_of(const struct shape *p, char key[96], const char *suffix)
{
    snprintf(key, 96, "%s.%s", p->spec->arch, suffix);
    return key;
}

static void put_u32(const struct shape *p, struct gguf_writer *w, const char *suffix, size_t v)
{
    char key[96];
    writer_u32(w, key_of(p, key, suffix), (uint32_t)v);
}

static void put_f32(const struct shape *p, struct gguf_writer *w, const char *suffix, float v)
{
    char key[96];
    writer_f32(w, key_of(p, key, suffix), v);
}

/* Writes how many pairs turn with time, height and width. Where they take turns, as in Qwen3-VL,
 * each pair belongs to one of them only with these numbers. */
static void put_sections(const struct shape *p, struct gguf_writer *w)
{
    char key[96];
    const size_t pairs = p->n_rot / 2;
    const int32_t sections[4] = { (int32_t)((pairs + 2) / 3), (int32_t)((pairs + 1) / 3),
                                  (int32_t)(pairs / 3), 0 };
    writer_array(w, key_of(p, key, "rope.dimension_sections"), GGUF_I32, 4, sections,
                 sizeof sections);
}

static void put_rope(const struct shape *p, struct gguf_writer *w)
{
    const struct synth_spec *s = p->spec;
    char key[96];
    put_f32(p, w, "rope.freq_base", s->rope_base);
    put_u32(p, w, "rope.dimension_count", p->n_rot);
    if (strcmp(s->arch, "qwen2vl") == 0 || strcmp(s->arch, "qwen3vl") == 0) {
        put_sections(p, w);
    }
    if (s->rope_scaling_type != NULL) {
        writer_str(w, key_of(p, key, "rope.scaling.type"), s->rope_scaling_type);
        put_f32(p, w, "rope.scaling.factor", s->rope_scaling_factor);
    }
    if (s->n_ctx_orig > 0) {
        put_u32(p, w, "rope.scaling.original_context_length", s->n_ctx_orig);
    }
    if (s->attn_factor > 0.0f) {
        put_f32(p, w, "rope.scaling.attn_factor", s->attn_factor);
    }
}

/* Writes what llama.cpp's converter says of a reranker: its pooling, and its labels "yes", "no",
 * "label 2" and so on. */
static void put_labels(const struct shape *p, struct gguf_writer *w)
{
    char key[96], name[32];
    const size_t n = p->spec->n_labels;
    if (n == 0) {
        return;
    }
    put_u32(p, w, "pooling_type", 4);
    writer_strs(w, key_of(p, key, "classifier.output_labels"), n);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, i == 0 ? "yes" : i == 1 ? "no" : "label %zu", i);
        writer_add_str(w, name, strlen(name));
    }
}

void keys_write(const struct shape *p, struct gguf_writer *w)
{
    const struct synth_spec *s = p->spec;
    writer_str(w, "general.architecture", s->arch);
    writer_str(w, "general.type", "model");
    writer_str(w, "general.name", s->name);
    writer_u32(w, "general.file_type", p->file_type);
    writer_u32(w, "general.quantization_version", 2);
    put_u32(p, w, "context_length", s->n_ctx);
    put_u32(p, w, "embedding_length", s->dim);
    put_u32(p, w, "block_count", s->n_layers);
    put_u32(p, w, "feed_forward_length", s->n_ff);
    put_u32(p, w, "vocab_size", s->n_vocab);
    put_u32(p, w, "attention.head_count", s->n_heads);
    put_u32(p, w, "attention.head_count_kv", s->n_kv_heads);
    put_f32(p, w, "attention.layer_norm_rms_epsilon", s->norm_eps);
    if (p->head_dim * s->n_heads != s->dim || strcmp(s->arch, "llama") == 0 ||
        of_family(s, "qwen3")) {
        put_u32(p, w, "attention.key_length", p->head_dim);
        put_u32(p, w, "attention.value_length", p->head_dim);
    }
    if (s->sliding_window > 0) {
        put_u32(p, w, "attention.sliding_window", s->sliding_window);
    }
    put_rope(p, w);
    if (strcmp(s->arch, "qwen3vl") == 0) {
        put_u32(p, w, "n_deepstack_layers", s->n_layers < 3 ? s->n_layers : 3);
    }
    put_labels(p, w);
}
