/* Lays out a synthetic model: its tensors in the order of llama.cpp's converter, and the type of
 * each. Then it streams the weights to disk. Names: gguf-py/gguf/constants.py; the Q4_K_M mix:
 * src/llama-quant.cpp. */
#include "synth/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "synth/parts.h"

/* Weights are drawn from pools of at most this many elements: larger pools would only take longer
 * to encode. */
#define POOL_ELEMENTS ((size_t)1 << 20)
#define MAX_LAYERS 1024

/* The purpose of a tensor decides its type in a mix, and how its numbers are made. */
enum role {
    EMBD,
    OUTPUT,
    ATTN_Q,
    ATTN_K,
    ATTN_V,
    ATTN_QKV,
    ATTN_O,
    FFN_GATE,
    FFN_UP,
    FFN_DOWN,
    NORM,
    BIAS,
    ROPE_FREQS,
    ROPE_LONG,
    ROPE_SHORT
};

struct tensor {
    char name[64];
    enum role role;
    const struct quant_type *type;
    size_t n_rows, n_cols; /* vectors have one row */
};

struct plan {
    const struct synth_spec *spec;
    size_t head_dim, n_rot;
    bool mix;                          /* Q4_K_M */
    const struct quant_type *types[8]; /* otherwise matrices take these in turn */
    size_t n_types, n_matrices;
    struct tensor *tensor;
    size_t n, cap;
    uint64_t n_elements;
    weft_error *err;
};

static bool is_vector(enum role r) { return r >= NORM; }

static uint64_t tensor_bytes(const struct tensor *t)
{
    return (uint64_t)t->n_rows * t->n_cols / t->type->block * t->type->bytes;
}

/* Returns true for layers that the quantiser gives more bits: the first and last eighth, and every
 * third between. */
static bool more_bits(size_t layer, size_t n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static uint32_t mixed_type(const struct plan *p, enum role role, size_t layer)
{
    bool more = more_bits(layer, p->spec->n_layers);
    switch (role) {
    case EMBD: return p->spec->tied ? QUANT_Q6_K : QUANT_Q4_K;
    case OUTPUT: return QUANT_Q6_K;
    case ATTN_V:
    case FFN_DOWN: return more ? QUANT_Q6_K : QUANT_Q4_K;
    case ATTN_QKV: return QUANT_Q5_K;
    default: return QUANT_Q4_K;
    }
}

/* Returns the type for rows that are not a multiple of a block, as llama.cpp falls back. */
static uint32_t fallback(uint32_t id, size_t n_cols)
{
    if (n_cols % 256 != 0) {
        switch (id) {
        case QUANT_Q2_K:
        case QUANT_Q3_K: id = QUANT_Q4_0; break;
        case QUANT_Q4_K: id = QUANT_Q5_0; break;
        case QUANT_Q5_K: id = QUANT_Q5_1; break;
        case QUANT_Q6_K: id = QUANT_Q8_0; break;
        case QUANT_IQ4_XS: id = QUANT_IQ4_NL; break;
        default: break;
        }
    }
    const struct quant_type *t = quant_find(id);
    return t != NULL && n_cols % t->block != 0 ? QUANT_F16 : id;
}

static weft_status add(struct plan *p, enum role role, size_t layer, size_t n_rows, size_t n_cols,
                       const char *name)
{
    if (!mem_reserve(&p->tensor, &p->cap, p->n + 1, sizeof *p->tensor)) {
        return error_nomem(p->err, "a list of tensors", p->cap * sizeof *p->tensor);
    }
    struct tensor *t = &p->tensor[p->n++];
    *t = (struct tensor){ .role = role, .n_rows = n_rows, .n_cols = n_cols };
    snprintf(t->name, sizeof t->name, "%s", name);
    if (is_vector(role)) {
        t->type = quant_find(QUANT_F32);
    } else {
        uint32_t id =
            p->mix ? mixed_type(p, role, layer) : p->types[p->n_matrices++ % p->n_types]->id;
        t->type = quant_find(fallback(id, n_cols));
    }
    p->n_elements += (uint64_t)n_rows * n_cols;
    return WEFT_OK;
}

static weft_status add_in_layer(struct plan *p, enum role role, size_t layer, size_t n_rows,
                                size_t n_cols, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%zu.%s", layer, suffix);
    return add(p, role, layer, n_rows, n_cols, name);
}

/* Adds a bias to a product if the spec asks for biases and the model has this architecture, the
 * only one with such a bias. */
static weft_status add_bias(struct plan *p, const char *arch, size_t l, size_t n,
                            const char *suffix)
{
    const struct synth_spec *s = p->spec;
    bool wanted = s->biases && strcmp(s->arch, arch) == 0;
    return wanted ? add_in_layer(p, BIAS, l, 1, n, suffix) : WEFT_OK;
}

static weft_status add_qkv(struct plan *p, size_t l)
{
    const struct synth_spec *s = p->spec;
    size_t q = s->n_heads * p->head_dim;
    size_t kv = s->n_kv_heads * p->head_dim;
    bool bias = s->biases || of_family(s, "qwen2");
    if (s->fused_qkv || strcmp(s->arch, "phi3") == 0) {
        TRY(add_in_layer(p, ATTN_QKV, l, q + 2 * kv, s->dim, "attn_qkv.weight"));
        return bias ? add_in_layer(p, BIAS, l, 1, q + 2 * kv, "attn_qkv.bias") : WEFT_OK;
    }
    TRY(add_in_layer(p, ATTN_Q, l, q, s->dim, "attn_q.weight"));
    TRY(add_in_layer(p, ATTN_K, l, kv, s->dim, "attn_k.weight"));
    TRY(add_in_layer(p, ATTN_V, l, kv, s->dim, "attn_v.weight"));
    if (bias) {
        TRY(add_in_layer(p, BIAS, l, 1, q, "attn_q.bias"));
        TRY(add_in_layer(p, BIAS, l, 1, kv, "attn_k.bias"));
        TRY(add_in_layer(p, BIAS, l, 1, kv, "attn_v.bias"));
    }
    return WEFT_OK;
}

static weft_status add_attention(struct plan *p, size_t l)
{
    const struct synth_spec *s = p->spec;
    TRY(add_in_layer(p, NORM, l, 1, s->dim, "attn_norm.weight"));
    TRY(add_qkv(p, l));
    if (of_family(s, "qwen3")) {
        TRY(add_in_layer(p, NORM, l, 1, p->head_dim, "attn_q_norm.weight"));
        TRY(add_in_layer(p, NORM, l, 1, p->head_dim, "attn_k_norm.weight"));
    }
    TRY(add_in_layer(p, ATTN_O, l, s->dim, s->n_heads * p->head_dim, "attn_output.weight"));
    return add_bias(p, "llama", l, s->dim, "attn_output.bias");
}

static weft_status add_ffn(struct plan *p, size_t l)
{
    const struct synth_spec *s = p->spec;
    TRY(add_in_layer(p, NORM, l, 1, s->dim, "ffn_norm.weight"));
    if (strcmp(s->arch, "phi3") == 0) {
        TRY(add_in_layer(p, FFN_UP, l, 2 * s->n_ff, s->dim, "ffn_up.weight"));
    } else {
        TRY(add_in_layer(p, FFN_GATE, l, s->n_ff, s->dim, "ffn_gate.weight"));
        TRY(add_in_layer(p, FFN_UP, l, s->n_ff, s->dim, "ffn_up.weight"));
    }
    TRY(add_in_layer(p, FFN_DOWN, l, s->dim, s->n_ff, "ffn_down.weight"));
    TRY(add_bias(p, "llama", l, s->n_ff, "ffn_gate.bias"));
    TRY(add_bias(p, "llama", l, s->n_ff, "ffn_up.bias"));
    return add_bias(p, "llama", l, s->dim, "ffn_down.bias");
}

static weft_status plan_tensors(struct plan *p)
{
    const struct synth_spec *s = p->spec;
    TRY(add(p, EMBD, 0, s->n_vocab, s->dim, "token_embd.weight"));
    if (s->rope_freqs) {
        TRY(add(p, ROPE_FREQS, 0, 1, p->n_rot / 2, "rope_freqs.weight"));
    }
    if (s->rope_long_short) {
        TRY(add(p, ROPE_LONG, 0, 1, p->n_rot / 2, "rope_factors_long.weight"));
        TRY(add(p, ROPE_SHORT, 0, 1, p->n_rot / 2, "rope_factors_short.weight"));
    }
    for (size_t l = 0; l < s->n_layers; l++) {
        TRY(add_attention(p, l));
        TRY(add_ffn(p, l));
    }
    TRY(add(p, NORM, 0, 1, s->dim, "output_norm.weight"));
    if (s->biases && strcmp(s->arch, "qwen2") == 0) {
        TRY(add(p, BIAS, 0, 1, s->n_vocab, "output.bias"));
    }
    if (!s->tied) {
        TRY(add(p, OUTPUT, 0, s->n_vocab, s->dim, "output.weight"));
    }
    return s->n_labels > 0 ? add(p, OUTPUT, 0, s->n_labels, s->dim, "cls.output.weight") : WEFT_OK;
}

/* Returns general.file_type, as llama.cpp numbers its mixes. */
static uint32_t file_type(const struct plan *p)
{
    static const uint8_t of[][2] = {
        { QUANT_F32, 0 },   { QUANT_F16, 1 },     { QUANT_Q4_0, 2 },    { QUANT_Q4_1, 3 },
        { QUANT_Q8_0, 7 },  { QUANT_Q5_0, 8 },    { QUANT_Q5_1, 9 },    { QUANT_Q2_K, 10 },
        { QUANT_Q3_K, 12 }, { QUANT_Q4_K, 14 },   { QUANT_Q5_K, 16 },   { QUANT_Q6_K, 18 },
        { QUANT_BF16, 32 }, { QUANT_IQ4_NL, 25 }, { QUANT_IQ4_XS, 30 },
    };
    for (size_t i = 0; !p->mix && i < sizeof of / sizeof of[0]; i++) {
        if (of[i][0] == p->types[0]->id) {
            return of[i][1];
        }
    }
    return 15;
}

/* Returns Llama 3.1's divisor of a RoPE frequency: 1 for short waves, 32 for long ones, a smooth
 * transition between them. */
static float llama3_factor(const struct plan *p, size_t i)
{
    double old_ctx = 8192.0;
    double freq = pow((double)p->spec->rope_base, -2.0 * (double)i / (double)p->n_rot);
    double wave = 2.0 * 3.14159265358979 / freq;
    if (wave < old_ctx / 4.0) {
        return 1.0f;
    }
    if (wave > old_ctx / 1.0) {
        return 32.0f;
    }
    double smooth = (old_ctx / wave - 1.0) / 3.0;
    return (float)(1.0 / ((1.0 - smooth) / 32.0 + smooth));
}

/* Returns element i of a vector. */
static float vector_at(const struct plan *p, enum role role, size_t i, uint64_t *state)
{
    float along = (float)i / (float)(p->n_rot / 2);
    switch (role) {
    case NORM: return 1.0f + 0.1f * rng_normal(state);
    case ROPE_FREQS: return llama3_factor(p, i);
    case ROPE_LONG: return 1.0f + 31.0f * along;
    case ROPE_SHORT: return 1.0f + 0.5f * along;
    default: return 0.1f * rng_normal(state);
    }
}

/* Returns the scale of a tensor's weights. Logits get a spread of about three, so that there is
 * something to choose. */
static float scale_of(const struct tensor *t)
{
    float gain = t->role == EMBD || t->role == OUTPUT ? 3.0f : 1.0f;
    return gain / sqrtf((float)t->n_cols);
}

static weft_status write_all(int fd, const void *data, size_t n, const struct plan *p,
                             const char *path)
{
    const uint8_t *from = data;
    while (n > 0) {
        ssize_t got = write(fd, from, n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return error_set(p->err, WEFT_E_IO, "%s: writing failed: %s", path, strerror(errno));
        }
        from += got;
        n -= (size_t)got;
    }
    return WEFT_OK;
}

static weft_status write_vector(int fd, const struct tensor *t, const struct plan *p,
                                uint64_t *state, const char *path)
{
    float *v = mem_array(t->n_cols, sizeof *v);
    if (v == NULL) {
        return error_nomem(p->err, t->name, t->n_cols * sizeof *v);
    }
    for (size_t i = 0; i < t->n_cols; i++) {
        v[i] = vector_at(p, t->role, i, state);
    }
    weft_status status = write_all(fd, v, t->n_cols * sizeof *v, p, path);
    free(v);
    return status;
}

/* Skips n_bytes, which are not written. */
static weft_status write_hole(int fd, uint64_t n_bytes, const struct plan *p, const char *path)
{
    if (lseek(fd, (off_t)n_bytes, SEEK_CUR) < 0) {
        return error_set(p->err, WEFT_E_IO, "%s: seeking failed: %s", path, strerror(errno));
    }
    return WEFT_OK;
}

/* Cuts the tensor out of the pool, from a random place on, and continues at the pool's start when
 * its end is reached; after a whole round it takes another place. Places are counted in elements,
 * so that all types with an encoder get the same weights. */
static weft_status write_matrix(int fd, const struct tensor *t, const struct plan *p,
                                struct pools *pools, uint64_t *state, const char *path)
{
    const struct pool *pool = NULL;
    if (p->spec->sparse) {
        return write_hole(fd, tensor_bytes(t), p, path);
    }
    TRY(pools_get(pools, t->type, scale_of(t), &pool, p->err));
    uint64_t left = (uint64_t)t->n_rows * t->n_cols / t->type->block;
    while (left > 0) {
        size_t place = (size_t)(rng_next(state) % (pools->n_elements / 256)) * 256;
        size_t start = place / t->type->block;
        for (int half = 0; half < 2 && left > 0; half++) {
            size_t from = half == 0 ? start : 0;
            size_t n = half == 0 ? pool->n_blocks - start : start;
            n = n < left ? n : (size_t)left;
            TRY(write_all(fd, pool->data + from * t->type->bytes, n * t->type->bytes, p, path));
            left -= n;
        }
    }
    return WEFT_OK;
}

static weft_status write_tensors(int fd, const struct plan *p, const char *path)
{
    struct pools pools;
    size_t pool = p->n_elements < POOL_ELEMENTS ? (size_t)p->n_elements : POOL_ELEMENTS;
    TRY(pools_init(&pools, pool, p->spec->seed, p->err));
    uint64_t state = p->spec->seed ^ 0x5eed;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < p->n && status == WEFT_OK; i++) {
        static const uint8_t zeros[32];
        const struct tensor *t = &p->tensor[i];
        status = is_vector(t->role) ? write_vector(fd, t, p, &state, path)
                                    : write_matrix(fd, t, p, &pools, &state, path);
        if (status == WEFT_OK) {
            status = write_all(fd, zeros, (32 - tensor_bytes(t) % 32) % 32, p, path);
        }
    }
    pools_free(&pools);
    return status;
}

static weft_status make_header(struct plan *p, struct bytes *out)
{
    struct gguf_writer w;
    writer_init(&w);
    keys_write(&(struct shape){ p->spec, p->head_dim, p->n_rot, file_type(p) }, &w);
    weft_status status = vocab_write(p->spec, &w, p->err);
    for (size_t i = 0; i < p->spec->n_keys && status == WEFT_OK; i++) {
        status = key_write(p->spec->keys[i], &w, p->err);
    }
    for (size_t i = 0; i < p->n && status == WEFT_OK; i++) {
        const struct tensor *t = &p->tensor[i];
        uint64_t ne[2] = { t->n_cols, t->n_rows };
        writer_tensor(&w, t->name, is_vector(t->role) ? 1 : 2, ne, t->type->id, NULL,
                      tensor_bytes(t));
    }
    if (status == WEFT_OK) {
        status = writer_finish(&w, out, p->err);
    }
    writer_free(&w);
    return status;
}

static weft_status write_model(struct plan *p, const char *part)
{
    struct bytes header = { 0 };
    TRY(plan_tensors(p));
    TRY(make_header(p, &header));
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        free(header.data);
        return error_set(p->err, WEFT_E_IO, "%s: cannot be created: %s", part, strerror(errno));
    }
    weft_status status = write_all(fd, header.data, header.n, p, part);
    free(header.data);
    if (status == WEFT_OK) {
        status = write_tensors(fd, p, part);
    }
    if (status == WEFT_OK && p->spec->sparse) { /* a hole at the end is part of the file too */
        off_t end = lseek(fd, 0, SEEK_CUR);
        if (end < 0 || ftruncate(fd, end) != 0) {
            status = error_set(p->err, WEFT_E_IO, "%s: writing failed: %s", part, strerror(errno));
        }
    }
    /* Some file systems report a full disk only here. */
    if (close(fd) != 0 && status == WEFT_OK) {
        status = error_set(p->err, WEFT_E_IO, "%s: writing failed: %s", part, strerror(errno));
    }
    return status;
}

static weft_status check_size(const char *field, size_t v, size_t low, size_t high, weft_error *err)
{
    return v >= low && v <= high ? WEFT_OK
                                 : error_set(err, WEFT_E_ARG, "%s is %zu; %zu to %zu is expected",
                                             field, v, low, high);
}

/* Finds the types of type_mix, which are separated by +. */
static weft_status find_types(struct plan *p)
{
    for (const char *at = p->spec->type_mix;; p->n_types++) {
        char name[16];
        size_t n = strcspn(at, "+");
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : 0, at);
        const struct quant_type *type = quant_find_name(name);
        if (type == NULL || p->n_types == sizeof p->types / sizeof p->types[0]) {
            return error_set(p->err, WEFT_E_ARG,
                             "tensor type '%.*s' is not known or one too many; q4_k_m or a type "
                             "such as q8_0 is expected, or up to 8 with a + between them",
                             (int)n, at);
        }
        p->types[p->n_types] = type;
        if (at[n] == '\0') {
            p->n_types++;
            return WEFT_OK;
        }
        at += n + 1;
    }
}

static weft_status check_spec(struct plan *p)
{
    static const char *const archs[] = { "qwen2", "qwen2vl", "qwen3", "qwen3vl", "phi3", "llama" };
    enum { N = sizeof archs / sizeof archs[0] };
    const struct synth_spec *s = p->spec;
    size_t i = 0;
    while (i < N && strcmp(s->arch, archs[i]) != 0) {
        i++;
    }
    if (i == N) {
        return error_set(p->err, WEFT_E_ARG,
                         "architecture '%s' is not known; qwen2, qwen2vl, qwen3, qwen3vl, phi3 or "
                         "llama is expected",
                         s->arch);
    }
    TRY(check_size("n_layers", s->n_layers, 1, MAX_LAYERS, p->err));
    TRY(check_size("dim", s->dim, 1, 1 << 20, p->err));
    TRY(check_size("n_ff", s->n_ff, 1, 1 << 20, p->err));
    TRY(check_size("n_heads", s->n_heads, 1, 1024, p->err));
    TRY(check_size("n_kv_heads", s->n_kv_heads, 1, s->n_heads, p->err));
    TRY(check_size("n_ctx", s->n_ctx, 1, INT32_MAX, p->err));
    p->head_dim = s->head_dim > 0 ? s->head_dim : s->dim / s->n_heads;
    TRY(check_size("head_dim", p->head_dim, 2, 1024, p->err));
    p->n_rot = s->n_rot > 0 ? s->n_rot : p->head_dim;
    p->mix = strcasecmp(s->type_mix, "q4_k_m") == 0;
    return p->mix ? WEFT_OK : find_types(p);
}

weft_status synth_write(const struct synth_spec *spec, const char *path, weft_error *err)
{
    struct plan p = { .spec = spec, .err = err };
    struct stat old;
    TRY(check_spec(&p));
    /* The new file replaces the old one, which must not be a device or a link. */
    if (lstat(path, &old) == 0 && !S_ISREG(old.st_mode)) {
        return error_set(err, WEFT_E_ARG, "%s exists and is no regular file; name another", path);
    }
    size_t n = strlen(path) + sizeof ".part";
    char *part = mem_array(n, 1);
    if (part == NULL) {
        return error_nomem(err, "a path", n);
    }
    snprintf(part, n, "%s.part", path);
    weft_status status = write_model(&p, part);
    if (status == WEFT_OK && rename(part, path) != 0) {
        status = error_set(err, WEFT_E_IO, "%s: cannot be renamed to %s: %s", part, path,
                           strerror(errno));
    }
    if (status != WEFT_OK) {
        unlink(part);
    }
    free(part);
    free(p.tensor);
    return status;
}
