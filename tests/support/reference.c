#include "support/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"

/* A decoded matrix or vector. w is NULL if the file has no such tensor. */
struct matrix {
    float *w; /* [rows, cols] */
    size_t rows, cols;
    bool quantised;
};

struct reference {
    struct gguf *g;
    const struct reference_options *options;
    char arch[32];
    size_t dim, n_layers, n_heads, n_kv, head_dim, n_ff, n_rot, window;
    double eps;
    double *freq; /* [n_rot / 2] radians per position */
    double attn_factor;
    size_t n;      /* positions */
    double *x;     /* [n, dim] */
    double *k, *v; /* [n, n_kv, head_dim] of the current layer */
};

static double *doubles(size_t n)
{
    double *p = calloc(n, sizeof *p);
    if (p == NULL) {
        abort();
    }
    return p;
}

/* ---------------------------------------------------------------- the file */

static size_t key_size(const struct reference *r, const char *suffix, size_t absent)
{
    char key[96];
    uint32_t v = (uint32_t)absent;
    snprintf(key, sizeof key, "%s.%s", r->arch, suffix);
    return gguf_opt_u32(r->g, key, &v, NULL) == WEFT_OK ? v : absent;
}

static double key_float(const struct reference *r, const char *suffix, double absent)
{
    char key[96];
    float v = (float)absent;
    snprintf(key, sizeof key, "%s.%s", r->arch, suffix);
    return gguf_opt_f32(r->g, key, &v, NULL) == WEFT_OK ? (double)v : absent;
}

static bool key_is(const struct reference *r, const char *suffix, const char *value)
{
    char key[96];
    struct gguf_str v = { "", 0 };
    snprintf(key, sizeof key, "%s.%s", r->arch, suffix);
    return gguf_opt_str(r->g, key, &v, NULL) == WEFT_OK && gguf_str_is(v, value);
}

static struct matrix read_matrix(const struct reference *r, const char *name)
{
    struct matrix m = { 0 };
    const struct gguf_tensor *t = gguf_find_tensor(r->g, name);
    if (t != NULL) {
        m.cols = (size_t)t->ne[0];
        m.rows = (size_t)t->ne[1];
        m.quantised = t->type->block > 1;
        m.w = calloc(m.rows * m.cols, sizeof *m.w);
        if (m.w == NULL) {
            abort();
        }
        t->type->decode(t->data, m.w, m.rows * m.cols);
    }
    return m;
}

static struct matrix read_layer(const struct reference *r, size_t layer, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%zu.%s", layer, suffix);
    return read_matrix(r, name);
}

/* ---------------------------------------------------------------- arithmetic */

/* Rounds to the nearest of 255 steps between -max and max of each block of 32. */
static void round_8bit(double *x, size_t n)
{
    for (size_t b = 0; b < n; b += 32) {
        size_t end = b + 32 < n ? b + 32 : n;
        double max = 0.0;
        for (size_t i = b; i < end; i++) {
            max = fmax(max, fabs(x[i]));
        }
        for (size_t i = b; max > 0.0 && i < end; i++) {
            x[i] = nearbyint(x[i] * 127.0 / max) * max / 127.0;
        }
    }
}

static void round_half(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)f16_to_f32(f32_to_f16((float)x[i]));
    }
}

static void round_q8_0(double *x, size_t n)
{
    const struct quant_type *type = quant_find(QUANT_Q8_0);
    struct block_q8_0 block;
    float values[32];
    for (size_t b = 0; b < n; b += 32) {
        for (size_t i = 0; i < 32; i++) {
            values[i] = (float)x[b + i];
        }
        type->encode(values, &block, 32);
        type->decode(&block, values, 32);
        for (size_t i = 0; i < 32; i++) {
            x[b + i] = (double)values[i];
        }
    }
}

/* Multiplies by the Walsh-Hadamard matrix, in blocks of the largest power of two, at most 256, that
 * divides head_dim. */
static void rotate(double *x, size_t n, size_t head_dim)
{
    size_t block = 256;
    while (head_dim % block != 0) {
        block /= 2;
    }
    double *in = doubles(n);
    memcpy(in, x, n * sizeof *in);
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.0;
        for (size_t j = 0; j < block; j++) {
            double sign = __builtin_parityll(i % block & j) ? -1.0 : 1.0;
            x[i] += sign * in[i / block * block + j] / sqrt((double)block);
        }
    }
    free(in);
}

/* Rounds K or V as the cache does. */
static void round_kv(const struct reference *r, size_t which, double *x, size_t n)
{
    const struct reference_options *o = r->options;
    if (o->kv_q8_0[which] && which == 0) {
        rotate(x, n, r->head_dim);
        round_q8_0(x, n);
        rotate(x, n, r->head_dim);
    } else if (o->kv_q8_0[which]) {
        round_q8_0(x, n);
    } else if (o->kv_half) {
        round_half(x, n);
    }
}

/* out[rows] = rows [first, first + rows) of m times x[m.cols] */
static void product(const struct reference *r, const struct matrix *m, size_t first, size_t rows,
                    const double *x, double *out)
{
    double *in = doubles(m->cols);
    memcpy(in, x, m->cols * sizeof *in);
    if (m->quantised && r->options->acts_8bit) {
        round_8bit(in, m->cols);
    }
    for (size_t i = 0; i < rows; i++) {
        const float *w = m->w + (first + i) * m->cols;
        double sum[4] = { 0 };
        for (size_t j = 0; j < m->cols; j++) {
            sum[j % 4] += (double)w[j] * in[j];
        }
        out[i] = sum[0] + sum[1] + sum[2] + sum[3];
    }
    free(in);
}

static void rmsnorm(const struct reference *r, const double *x, const struct matrix *w, double *out)
{
    double sum = 0.0;
    for (size_t i = 0; i < w->cols; i++) {
        sum += x[i] * x[i];
    }
    double scale = 1.0 / sqrt(sum / (double)w->cols + r->eps);
    for (size_t i = 0; i < w->cols; i++) {
        out[i] = x[i] * scale * (double)w->w[i];
    }
}

/* Turns pair i of the first n_rot dimensions by pos * freq[i]. Files of llama pair neighbours, all
 * others pair halves. */
static void rope(const struct reference *r, double *head, size_t pos)
{
    bool neighbours = strcmp(r->arch, "llama") == 0;
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        size_t a = neighbours ? 2 * i : i;
        size_t b = neighbours ? 2 * i + 1 : i + r->n_rot / 2;
        double angle = (double)pos * r->freq[i];
        double x = head[a];
        double y = head[b];
        head[a] = (x * cos(angle) - y * sin(angle)) * r->attn_factor;
        head[b] = (x * sin(angle) + y * cos(angle)) * r->attn_factor;
    }
}

/* ---------------------------------------------------------------- a layer */

struct attention {
    struct matrix norm, qkv, q, k, v, qkv_bias, q_bias, k_bias, v_bias, q_norm, k_norm, out,
        out_bias;
};

/* Adds elements [first, first + n) of a bias, if there is one, to x[n]. */
static void add_bias_part(double *x, const struct matrix *bias, size_t first, size_t n)
{
    for (size_t i = 0; bias->w != NULL && i < n; i++) {
        x[i] += (double)bias->w[first + i];
    }
}

static void add_bias(double *x, const struct matrix *bias)
{
    add_bias_part(x, bias, 0, bias->cols);
}

/* Applies the norm and the rotation to each head. */
static void finish_heads(const struct reference *r, double *heads, size_t n_heads,
                         const struct matrix *norm, size_t pos)
{
    for (size_t h = 0; h < n_heads; h++) {
        double *head = heads + h * r->head_dim;
        if (norm->w != NULL) {
            rmsnorm(r, head, norm, head);
        }
        rope(r, head, pos);
    }
}

/* Computes query head h of position pos over all positions that it may see. */
static void attend(const struct reference *r, const double *q, size_t h, size_t pos, double *out)
{
    size_t first = r->window > 0 && pos + 1 > r->window ? pos + 1 - r->window : 0;
    size_t kv = h / (r->n_heads / r->n_kv);
    double *p = doubles(pos + 1);
    double top = -INFINITY;
    double sum = 0.0;
    for (size_t t = first; t <= pos; t++) {
        const double *k = r->k + (t * r->n_kv + kv) * r->head_dim;
        for (size_t i = 0; i < r->head_dim; i++) {
            p[t] += q[i] * k[i];
        }
        p[t] /= sqrt((double)r->head_dim);
        top = fmax(top, p[t]);
    }
    for (size_t t = first; t <= pos; t++) {
        p[t] = exp(p[t] - top);
        sum += p[t];
    }
    memset(out, 0, r->head_dim * sizeof *out);
    for (size_t t = first; t <= pos; t++) {
        const double *v = r->v + (t * r->n_kv + kv) * r->head_dim;
        for (size_t i = 0; i < r->head_dim; i++) {
            out[i] += p[t] / sum * v[i];
        }
    }
    free(p);
}

static void attention_of(struct reference *r, const struct attention *a)
{
    size_t q_dim = r->n_heads * r->head_dim;
    size_t kv_dim = r->n_kv * r->head_dim;
    bool fused = a->qkv.w != NULL;
    const struct matrix *wq = fused ? &a->qkv : &a->q;
    const struct matrix *wk = fused ? &a->qkv : &a->k;
    const struct matrix *wv = fused ? &a->qkv : &a->v;
    double *in = doubles(r->dim);
    double *q = doubles(q_dim);
    double *o = doubles(q_dim);
    double *y = doubles(r->dim);
    for (size_t pos = 0; pos < r->n; pos++) {
        double *x = r->x + pos * r->dim;
        double *k = r->k + pos * kv_dim;
        double *v = r->v + pos * kv_dim;
        rmsnorm(r, x, &a->norm, in);
        product(r, wq, 0, q_dim, in, q);
        product(r, wk, fused ? q_dim : 0, kv_dim, in, k);
        product(r, wv, fused ? q_dim + kv_dim : 0, kv_dim, in, v);
        add_bias(q, &a->q_bias);
        add_bias(k, &a->k_bias);
        add_bias(v, &a->v_bias);
        add_bias_part(q, &a->qkv_bias, 0, q_dim);
        add_bias_part(k, &a->qkv_bias, q_dim, kv_dim);
        add_bias_part(v, &a->qkv_bias, q_dim + kv_dim, kv_dim);
        finish_heads(r, q, r->n_heads, &a->q_norm, pos);
        finish_heads(r, k, r->n_kv, &a->k_norm, pos);
        round_kv(r, 0, k, kv_dim);
        round_kv(r, 1, v, kv_dim);
        for (size_t h = 0; h < r->n_heads; h++) {
            attend(r, q + h * r->head_dim, h, pos, o + h * r->head_dim);
        }
        product(r, &a->out, 0, r->dim, o, y);
        add_bias(y, &a->out_bias);
        for (size_t i = 0; i < r->dim; i++) {
            x[i] += y[i];
        }
    }
    free(in);
    free(q);
    free(o);
    free(y);
}

static void attention_layer(struct reference *r, size_t l)
{
    struct attention a = {
        .norm = read_layer(r, l, "attn_norm.weight"),
        .qkv = read_layer(r, l, "attn_qkv.weight"),
        .q = read_layer(r, l, "attn_q.weight"),
        .k = read_layer(r, l, "attn_k.weight"),
        .v = read_layer(r, l, "attn_v.weight"),
        .qkv_bias = read_layer(r, l, "attn_qkv.bias"),
        .q_bias = read_layer(r, l, "attn_q.bias"),
        .k_bias = read_layer(r, l, "attn_k.bias"),
        .v_bias = read_layer(r, l, "attn_v.bias"),
        .q_norm = read_layer(r, l, "attn_q_norm.weight"),
        .k_norm = read_layer(r, l, "attn_k_norm.weight"),
        .out = read_layer(r, l, "attn_output.weight"),
        .out_bias = read_layer(r, l, "attn_output.bias"),
    };
    attention_of(r, &a);
    float *const all[] = { a.norm.w,     a.qkv.w,    a.q.w,       a.k.w,      a.v.w,
                           a.qkv_bias.w, a.q_bias.w, a.k_bias.w,  a.v_bias.w, a.q_norm.w,
                           a.k_norm.w,   a.out.w,    a.out_bias.w };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

/* x += down * (silu(gate * norm(x)) * (up * norm(x))), each product with its bias. A fused ffn_up
 * holds the rows of gate, then those of up. */
static void ffn_layer(struct reference *r, size_t l)
{
    struct matrix norm = read_layer(r, l, "ffn_norm.weight");
    struct matrix gate = read_layer(r, l, "ffn_gate.weight");
    struct matrix up = read_layer(r, l, "ffn_up.weight");
    struct matrix down = read_layer(r, l, "ffn_down.weight");
    struct matrix gate_bias = read_layer(r, l, "ffn_gate.bias");
    struct matrix up_bias = read_layer(r, l, "ffn_up.bias");
    struct matrix down_bias = read_layer(r, l, "ffn_down.bias");
    bool fused = gate.w == NULL;
    const size_t n_ff = r->options->layers != NULL ? r->options->layers[l].n_ff : r->n_ff;
    down.cols = n_ff;
    double *in = doubles(r->dim);
    double *g = doubles(r->n_ff);
    double *u = doubles(r->n_ff);
    double *y = doubles(r->dim);
    for (size_t pos = 0; pos < r->n; pos++) {
        double *x = r->x + pos * r->dim;
        rmsnorm(r, x, &norm, in);
        product(r, fused ? &up : &gate, 0, n_ff, in, g);
        product(r, &up, fused ? r->n_ff : 0, n_ff, in, u);
        add_bias(g, &gate_bias);
        add_bias(u, &up_bias);
        for (size_t i = 0; i < n_ff; i++) {
            g[i] = g[i] / (1.0 + exp(-g[i])) * u[i];
        }
        product(r, &down, 0, r->dim, g, y);
        add_bias(y, &down_bias);
        for (size_t i = 0; i < r->dim; i++) {
            x[i] += y[i];
        }
    }
    free(in);
    free(g);
    free(u);
    free(y);
    free(norm.w);
    free(gate.w);
    free(up.w);
    free(down.w);
    free(gate_bias.w);
    free(up_bias.w);
    free(down_bias.w);
}

/* ---------------------------------------------------------------- the whole model */

static void set_angles(struct reference *r, double base, double factor, const struct matrix *freqs)
{
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        r->freq[i] = 1.0 / pow(base, 2.0 * (double)i / (double)r->n_rot);
        r->freq[i] /= factor * (freqs != NULL && freqs->w != NULL ? (double)freqs->w[i] : 1.0);
    }
}

/* Slows the pairs as YaRN does. The pairs that make at least `fast` turns within the original
 * context keep the share `ext` of their own angle; `ext` is mostly 1. The pairs that make at most
 * `slow` turns are slowed by the factor. From the last pair of the first kind to the first pair of
 * the second kind, the share falls linearly with the index. */
static void stretch(struct reference *r, double base, double factor, double original)
{
    double fast = key_float(r, "rope.scaling.yarn_beta_fast", 32.0);
    double slow = key_float(r, "rope.scaling.yarn_beta_slow", 1.0);
    double ext = key_float(r, "rope.scaling.yarn_ext_factor", 1.0);
    size_t last_fast = 0, first_slow = 0;
#define TURNS(i) (original / (2.0 * acos(-1.0) * pow(base, 2.0 * (double)(i) / (double)r->n_rot)))
    while (TURNS(last_fast + 1) >= fast) {
        last_fast++;
    }
    while (first_slow < r->n_rot - 1 && TURNS(first_slow) > slow) {
        first_slow++;
    }
#undef TURNS
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        double own = i <= last_fast ? 1.0
                     : i >= first_slow
                         ? 0.0
                         : (double)(first_slow - i) / (double)(first_slow - last_fast);
        own *= ext >= 0.0 ? ext : 1.0;
        r->freq[i] = r->freq[i] * own + r->freq[i] / factor * (1.0 - own);
    }
    r->attn_factor *= factor > 1.0 ? 0.1 * log(factor) + 1.0 : 1.0;
}

static void read_rope(struct reference *r)
{
    double base = key_float(r, "rope.freq_base", 10000.0);
    double factor = key_float(r, "rope.scaling.factor", 1.0);
    bool linear = key_is(r, "rope.scaling.type", "linear");
    size_t trained = key_size(r, "context_length", 0);
    size_t original = key_size(r, "rope.scaling.original_context_length", trained);
    struct matrix freqs = read_matrix(r, "rope_freqs.weight");
    if (freqs.w == NULL) {
        /* LongRoPE: the text's length decides for all its positions. */
        freqs = read_matrix(r, r->n > original ? "rope_factors_long.weight"
                                               : "rope_factors_short.weight");
    }
    r->attn_factor = key_float(r, "rope.scaling.attn_factor", 1.0);
    r->freq = doubles(r->n_rot / 2);
    set_angles(r, base, linear ? factor : 1.0, &freqs);
    if (key_is(r, "rope.scaling.type", "yarn")) {
        stretch(r, base, factor, (double)original);
    }
    free(freqs.w);
}

static void read_config(struct reference *r)
{
    struct gguf_str arch = { "", 0 };
    (void)gguf_opt_str(r->g, "general.architecture", &arch, NULL);
    snprintf(r->arch, sizeof r->arch, "%.*s", (int)arch.n, arch.s);
    r->dim = key_size(r, "embedding_length", 0);
    r->n_layers = key_size(r, "block_count", 0);
    r->n_ff = key_size(r, "feed_forward_length", 0);
    r->n_heads = key_size(r, "attention.head_count", 1);
    r->n_kv = key_size(r, "attention.head_count_kv", r->n_heads);
    r->head_dim = key_size(r, "attention.key_length", r->dim / r->n_heads);
    r->n_rot = key_size(r, "rope.dimension_count", r->head_dim);
    r->window = key_size(r, "attention.sliding_window", 0);
    r->eps = key_float(r, "attention.layer_norm_rms_epsilon", 0.0);
    read_rope(r);
}

/* Returns the state of every position: what the last layer left in x, normed. */
static double *states(const struct reference *r)
{
    struct matrix norm = read_matrix(r, "output_norm.weight");
    double *states = doubles(r->n * r->dim);
    for (size_t pos = 0; pos < r->n; pos++) {
        rmsnorm(r, r->x + pos * r->dim, &norm, states + pos * r->dim);
    }
    free(norm.w);
    return states;
}

/* Computes the logits of every position from its state. */
static double *head(const struct reference *r, const double *states, size_t *n_vocab)
{
    struct matrix output = read_matrix(r, "output.weight");
    struct matrix bias = read_matrix(r, "output.bias");
    if (output.w == NULL) {
        output = read_matrix(r, "token_embd.weight");
    }
    double *logits = doubles(r->n * output.rows);
    for (size_t pos = 0; pos < r->n; pos++) {
        product(r, &output, 0, output.rows, states + pos * r->dim, logits + pos * output.rows);
        add_bias(logits + pos * output.rows, &bias);
    }
    *n_vocab = output.rows;
    free(output.w);
    free(bias.w);
    return logits;
}

/* Runs the tokens through all layers; returns the states. */
static double *run(struct reference *r, const int32_t *tokens)
{
    struct matrix table = read_matrix(r, "token_embd.weight");
    r->x = doubles(r->n * r->dim);
    r->k = doubles(r->n * r->n_kv * r->head_dim);
    r->v = doubles(r->n * r->n_kv * r->head_dim);
    for (size_t pos = 0; pos < r->n; pos++) {
        for (size_t i = 0; i < r->dim; i++) {
            r->x[pos * r->dim + i] = (double)table.w[(size_t)tokens[pos] * r->dim + i];
        }
    }
    free(table.w);
    for (size_t l = 0; l < r->n_layers; l++) {
        const struct reference_layer *what = r->options->layers;
        if (what != NULL) {
            r->window = what[l].window;
            r->n_rot = what[l].n_rot;
            set_angles(r, what[l].rope_base, 1.0, NULL);
        }
        attention_layer(r, l);
        ffn_layer(r, l);
    }
    double *out = states(r);
    free(r->x);
    free(r->k);
    free(r->v);
    return out;
}

double *reference_logits(const char *path, const struct reference_options *options,
                         const int32_t *tokens, size_t n, size_t *n_vocab)
{
    struct reference r = { .options = options, .n = n };
    if (gguf_open(path, true, &r.g, NULL) != WEFT_OK) {
        return NULL;
    }
    read_config(&r);
    double *all = run(&r, tokens);
    double *logits = head(&r, all, n_vocab);
    free(all);
    free(r.freq);
    gguf_close(r.g);
    return logits;
}

double *reference_states(const char *path, const struct reference_options *options,
                         const int32_t *tokens, size_t n, size_t *dim)
{
    struct reference r = { .options = options, .n = n };
    if (gguf_open(path, true, &r.g, NULL) != WEFT_OK) {
        return NULL;
    }
    read_config(&r);
    double *all = run(&r, tokens);
    *dim = r.dim;
    free(r.freq);
    gguf_close(r.g);
    return all;
}

double reference_nmse(const float *got, const double *want, size_t n)
{
    double error = 0.0;
    double power = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += want[i] * want[i];
    }
    return error / power;
}
