/* The CPU backend: the stages of backend.h over the arithmetic of dot.h. A stage is one call of
 * threads_run(); inside it the threads claim tasks from a counter, and meet at barriers between its
 * parts. Which thread computes what, and how rows are tiled, never changes a bit of the result. */
#include <math.h>
#include <string.h>

#include "cpu/job.h"

enum { DEFAULT_BATCH = 512 }; /* rows of a step, if the caller leaves them to the backend */

void cpu_run(struct backend *b, const struct step *step, size_t layer, void (*part)(void *, size_t))
{
    struct cpu *c = (struct cpu *)b;
    struct job job = {
        .c = c,
        .step = step,
        .layer = layer,
        .vectors = &c->tiles->vectors[layer],
        .tiles = &c->tiles->layers[layer],
    };
    for (size_t i = 0; i < N_COUNTERS; i++) {
        atomic_init(&job.next[i], 0);
    }
    threads_run(c->threads, part, &job);
}

/* Row i of a = quantised rmsnorm of x's row rows[i] (rows NULL: i). */
static void norm_rows(struct job *j, size_t counter, size_t thread, const struct tensor *weight,
                      size_t n, const uint32_t *rows, struct acts *a)
{
    struct cpu *c = j->c;
    size_t dim = c->model->config.dim;
    float *norm = c->scratch[thread].norm;
    for (size_t i; claim(&j->next[counter], n, &i);) {
        size_t row = rows != NULL ? rows[i] : i;
        c->ops->rmsnorm(c->x + row * dim, (const float *)(const void *)weight->data, dim,
                        c->model->config.norm_eps, norm);
        c->ops->quantize(norm, a, i);
    }
}

/* ---------------------------------------------------------------- embed */

/* Where each row stands, and the sine and cosine of its angles. Angles are taken in double: at
 * position 100,000 a float angle is off by up to 0.004. */
static void place_row(struct cpu *c, size_t row, const struct step_seq *seq)
{
    const struct config *g = &c->model->config;
    size_t pos = seq->pos + (row - seq->row), half = g->n_rot / 2;
    c->row_pos[row] = pos;
    c->row_seq[row] = seq;
    for (size_t i = 0; i < half; i++) {
        double angle = (double)pos * c->freq[i];
        c->cos[row * half + i] = (float)cos(angle) * g->rope_attn_factor;
        c->sin[row * half + i] = (float)sin(angle) * g->rope_attn_factor;
    }
}

static void embed_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const struct tensor *table = &c->model->weights.token_embd;
    (void)thread;
    for (size_t i; claim(&j->next[0], j->step->n_seqs, &i);) {
        const struct step_seq *seq = &j->step->seqs[i];
        for (size_t r = seq->row; r < seq->row + seq->n_rows; r++) {
            size_t token = (size_t)j->step->tokens[r];
            float *x = c->x + r * table->n_cols;
            place_row(c, r, seq);
            if (c->tiles->tied) {
                pack_row(&c->tiles->output, token, x);
            } else {
                table->type->decode(table->data + token * (table->n_bytes / table->n_rows), x,
                                    table->n_cols);
            }
        }
    }
}

static weft_status cpu_embed(struct backend *b, const struct step *s, weft_error *err)
{
    (void)err;
    cpu_run(b, s, 0, embed_part);
    return WEFT_OK;
}

/* ---------------------------------------------------------------- attention */

static void rope_head(const struct config *g, const float *cos_row, const float *sin_row, float *h)
{
    size_t half = g->n_rot / 2, step = g->arch->rope_neox ? 1 : 2,
           other = g->arch->rope_neox ? half : 1;
    for (size_t i = 0; i < half; i++) {
        float *a = h + i * step, *b = a + other;
        float x = *a, y = *b;
        *a = x * cos_row[i] - y * sin_row[i];
        *b = x * sin_row[i] + y * cos_row[i];
    }
}

/* NULL if there is none */
static const float *floats(const struct tensor *t) { return (const float *)(const void *)t->data; }

/* Bias, per-head norm and RoPE on the heads of one row. */
static void finish_heads(const struct cpu *c, size_t row, float *heads, size_t n_heads,
                         const struct tensor *bias, const struct tensor *norm)
{
    const struct config *g = &c->model->config;
    size_t half = g->n_rot / 2;
    if (bias->name != NULL) {
        c->ops->add(heads, floats(bias), n_heads * g->head_dim);
    }
    for (size_t h = 0; h < n_heads; h++) {
        float *head = heads + h * g->head_dim;
        if (norm->name != NULL) {
            c->ops->rmsnorm(head, floats(norm), g->head_dim, g->norm_eps, head);
        }
        rope_head(g, c->cos + row * half, c->sin + row * half, head);
    }
}

static void attn_in_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const struct layer *w = j->vectors;
    const struct config *g = &c->model->config;
    size_t n = j->step->n_rows, q_dim = g->n_heads * g->head_dim,
           kv_dim = g->n_kv_heads * g->head_dim;
    norm_rows(j, 0, thread, &w->attn_norm, n, NULL, &c->in);
    threads_barrier(c->threads);
    const struct product qkv[] = { { .w = &j->tiles->attn_q, .out = c->q },
                                   { .w = &j->tiles->attn_k, .out = c->k },
                                   { .w = &j->tiles->attn_v, .out = c->v } };
    cpu_multiply(j, 1, thread, qkv, 3, &c->in, n);
    threads_barrier(c->threads);
    for (size_t r; claim(&j->next[2], n, &r);) {
        finish_heads(c, r, c->q + r * q_dim, g->n_heads, &w->attn_q_bias, &w->attn_q_norm);
        finish_heads(c, r, c->k + r * kv_dim, g->n_kv_heads, &w->attn_k_bias, &w->attn_k_norm);
        if (w->attn_v_bias.name != NULL) {
            c->ops->add(c->v + r * kv_dim, floats(&w->attn_v_bias), kv_dim);
        }
        cpu_store_kv(c, j->layer, r);
    }
}

static weft_status cpu_attn_in(struct backend *b, const struct step *s, size_t layer,
                               weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, attn_in_part);
    return WEFT_OK;
}

static weft_status cpu_attend(struct backend *b, const struct step *s, size_t layer,
                              weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, cpu_attend_part);
    return WEFT_OK;
}

static void attn_out_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    size_t q_dim = c->model->config.n_heads * c->model->config.head_dim;
    for (size_t r; claim(&j->next[0], j->step->n_rows, &r);) {
        c->ops->quantize(c->o + r * q_dim, &c->mid, r);
    }
    threads_barrier(c->threads);
    const struct product out = { .w = &j->tiles->attn_output,
                                 .bias = floats(&j->vectors->attn_output_bias),
                                 .add = true,
                                 .out = c->x };
    cpu_multiply(j, 1, thread, &out, 1, &c->mid, j->step->n_rows);
}

static weft_status cpu_attn_out(struct backend *b, const struct step *s, size_t layer,
                                weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, attn_out_part);
    return WEFT_OK;
}

/* ---------------------------------------------------------------- feed-forward */

static void ffn_in_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    norm_rows(j, 0, thread, &j->vectors->ffn_norm, j->step->n_rows, NULL, &c->in);
    threads_barrier(c->threads);
    const struct product h = { .w = &j->tiles->ffn_up,
                               .bias = floats(&j->vectors->ffn_up_bias),
                               .gate = &j->tiles->ffn_gate,
                               .gate_bias = floats(&j->vectors->ffn_gate_bias),
                               .gated = &c->ff };
    cpu_multiply(j, 1, thread, &h, 1, &c->in, j->step->n_rows);
}

static weft_status cpu_ffn_in(struct backend *b, const struct step *s, size_t layer,
                              weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, ffn_in_part);
    return WEFT_OK;
}

static void ffn_out_part(void *arg, size_t thread)
{
    struct job *j = arg;
    const struct product down = { .w = &j->tiles->ffn_down,
                                  .bias = floats(&j->vectors->ffn_down_bias),
                                  .add = true,
                                  .out = j->c->x };
    cpu_multiply(j, 0, thread, &down, 1, &j->c->ff, j->step->n_rows);
}

static weft_status cpu_ffn_out(struct backend *b, const struct step *s, size_t layer,
                               weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, ffn_out_part);
    return WEFT_OK;
}

/* ---------------------------------------------------------------- head */

static void head_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    norm_rows(j, 0, thread, &c->tiles->output_norm, j->step->n_out, j->step->out_rows, &c->in);
    threads_barrier(c->threads);
    const struct product output = { .w = &c->tiles->output,
                                    .bias = floats(&c->tiles->output_bias),
                                    .out = c->logits };
    cpu_multiply(j, 1, thread, &output, 1, &c->in, j->step->n_out);
}

static weft_status cpu_head(struct backend *b, const struct step *s, weft_error *err)
{
    (void)err;
    cpu_run(b, s, 0, head_part);
    ((struct cpu *)b)->n_logits = s->n_out;
    return WEFT_OK;
}

static weft_status cpu_read_logits(struct backend *b, size_t i, float *dst, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    (void)err;
    memcpy(dst, c->logits + i * c->model->config.n_vocab, c->model->config.n_vocab * sizeof *dst);
    return WEFT_OK;
}

static weft_status cpu_read_values(struct backend *b, const struct step *s,
                                   enum backend_value value, float *dst, weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    const struct config *g = &c->model->config;
    const size_t q_dim = g->n_heads * g->head_dim, kv_dim = g->n_kv_heads * g->head_dim;
    const struct {
        const float *at;
        size_t n_cols, stride;
    } values[] = { [VALUE_X] = { c->x, g->dim, g->dim },
                   [VALUE_Q] = { c->q, q_dim, q_dim },
                   [VALUE_K] = { c->k, kv_dim, kv_dim },
                   [VALUE_V] = { c->v, kv_dim, kv_dim },
                   [VALUE_ATTENTION] = { c->o, q_dim, q_dim },
                   [VALUE_FFN_ACT] = { c->ff.x, g->n_ff, c->ff.stride } };
    (void)err;
    for (size_t r = 0; r < s->n_rows; r++, dst += values[value].n_cols) {
        memcpy(dst, values[value].at + r * values[value].stride,
               values[value].n_cols * sizeof *dst);
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- open, close */

static void cpu_info(const struct backend *b, struct backend_info *info)
{
    const struct cpu *c = (const struct cpu *)b;
    const struct tiles *w = c->tiles;
    uint64_t table = w->tied ? 0 : c->model->weights.token_embd.n_bytes;
    *info = (struct backend_info){ .kernels = c->ops->name,
                                   .n_batch = c->params.n_batch,
                                   .n_threads = c->n_threads,
                                   .weight_bytes =
                                       w->memory != NULL ? w->n_bytes + table : c->model->n_bytes,
                                   .kv_bytes = c->kv_bytes,
                                   .scratch_bytes = c->arena_bytes };
}

static void cpu_close(struct backend *b)
{
    struct cpu *c = (struct cpu *)b;
    threads_close(c->threads);
    tiles_close(c->model, c->tiles);
    state_free(c);
    free(c);
}

weft_status cpu_ops_choose(weft_cpu_isa isa, const struct cpu_ops **out, weft_error *err)
{
    static const struct {
        weft_cpu_isa isa;
        const char *name;
        const struct cpu_ops *(*get)(void);
    } sets[] = {
        { WEFT_ISA_AVX512, "avx512", cpu_ops_avx512 },
        { WEFT_ISA_AVX2, "avx2", cpu_ops_avx2 },
        { WEFT_ISA_SCALAR, "scalar", cpu_ops_scalar },
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (isa == WEFT_ISA_AUTO || isa == sets[i].isa) {
            *out = sets[i].get();
            if (*out != NULL) {
                return WEFT_OK;
            }
            if (isa != WEFT_ISA_AUTO) {
                return error_set(err, WEFT_E_UNSUPPORTED,
                                 "this processor lacks the instructions of cpu_isa %s",
                                 sets[i].name);
            }
        }
    }
    return error_set(err, WEFT_E_ARG, "cpu_isa is %d, expected a WEFT_ISA_* value", (int)isa);
}

static const struct backend_ops cpu_backend = {
    .name = "cpu",
    .embed = cpu_embed,
    .attn_in = cpu_attn_in,
    .attend = cpu_attend,
    .attn_out = cpu_attn_out,
    .ffn_in = cpu_ffn_in,
    .ffn_out = cpu_ffn_out,
    .head = cpu_head,
    .top = cpu_top,
    .read_logits = cpu_read_logits,
    .read_values = cpu_read_values,
    .limits = cpu_limits,
    .copy_page = cpu_copy_page,
    .read_kv = cpu_read_kv,
    .write_kv = cpu_write_kv,
    .info = cpu_info,
    .close = cpu_close,
};

static weft_status cpu_init(struct cpu *c, weft_error *err)
{
    TRY(cpu_ops_choose(c->params.isa, &c->ops, err));
    c->freq = mem_array(c->model->config.n_rot / 2, sizeof *c->freq);
    if (c->freq == NULL) {
        return error_nomem(err, "the RoPE frequencies",
                           c->model->config.n_rot / 2 * sizeof *c->freq);
    }
    model_rope(c->model, c->params.n_ctx, c->freq);
    TRY(state_alloc_kv(c, err));
    TRY(threads_open(c->params.n_threads, c->params.pin_threads, &c->threads, err));
    c->n_threads = threads_count(c->threads);
    TRY(tiles_open(c->model, &c->params, c->threads, &c->tiles, err));
    return state_alloc(c, err);
}

weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err)
{
    struct cpu *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_nomem(err, "the CPU backend", sizeof *c);
    }
    c->base.ops = &cpu_backend;
    c->model = m;
    c->params = *p;
    c->params.n_batch = p->n_batch != 0 ? p->n_batch : DEFAULT_BATCH;
    weft_status status = cpu_init(c, err);
    if (status != WEFT_OK) {
        cpu_close(&c->base);
        return status;
    }
    *out = &c->base;
    return WEFT_OK;
}
