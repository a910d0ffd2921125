/* The CPU backend: the stages of backend.h, computed with the functions of kernels/ops.h. A stage
 * is one call of threads_run(). Inside it the threads claim tasks from a counter, and meet at
 * barriers between the parts of the stage. The bits of a result never depend on which thread
 * computes it, or on how the rows are tiled. */
#include <math.h>
#include <string.h>

#include "cpu/job.h"

_Static_assert(N_LAYER_TENSORS == 18, "a tensor was added: which stage below reads it?");

/* Rows of a step, if the caller leaves the number to the backend. */
enum { DEFAULT_BATCH = 512 };

void cpu_run(struct backend *b, const struct step *step, size_t layer, void (*part)(void *, size_t))
{
    struct cpu *c = (struct cpu *)b;
    struct job job = {
        .c = c,
        .step = step,
        .what = &c->model->layers[layer],
        .w = &c->weights->layers[layer],
    };
    for (size_t i = 0; i < N_COUNTERS; i++) {
        atomic_init(&job.next[i], 0);
    }
    threads_run(c->threads, part, &job);
}

/* Normalises rows of x, and keeps the quantised results as rows of a. */
static void norm_rows(struct job *j, size_t counter, size_t thread, const float *weight,
                      struct acts *a)
{
    struct cpu *c = j->c;
    const size_t dim = c->model->config.dim;
    float *norm = c->scratch[thread].norm;
    for (size_t i; claim(&j->next[counter], j->step->n_rows, &i);) {
        c->ops->rmsnorm(c->x + i * dim, weight, dim, c->model->config.norm_eps, norm);
        c->ops->quantize(norm, a, i);
    }
}

/* ---------------------------------------------------------------- embed */

/* Finds the position of a row, and the sine and cosine of its angles. Angles are computed in
 * double: at position 100,000 a float angle may be wrong by 0.004. */
static void place_row(struct cpu *c, size_t row, const struct step_seq *seq)
{
    const size_t pos = seq->pos + (row - seq->row);
    c->row_pos[row] = pos;
    c->row_seq[row] = seq;
    for (size_t k = 0; k < c->model->n_ropes; k++) {
        const struct rope *r = &c->model->ropes[k];
        const struct turns *t = &c->turns[k];
        const size_t half = r->n_rot / 2;
        const double *angles = t->angles + seq->rope_set * half;
        for (size_t i = 0; i < half; i++) {
            const double angle = (double)pos * angles[i];
            t->cos[row * half + i] = (float)cos(angle) * r->factor;
            t->sin[row * half + i] = (float)sin(angle) * r->factor;
        }
    }
}

static void embed_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const struct tensor *table = &c->model->weights.token_embd;
    for (size_t i; claim(&j->next[0], j->step->n_seqs, &i);) {
        const struct step_seq *seq = &j->step->seqs[i];
        for (size_t r = seq->row; r < seq->row + seq->n_rows; r++) {
            size_t token = (size_t)j->step->tokens[r];
            float *x = c->x + r * table->n_cols;
            place_row(c, r, seq);
            if (c->weights->tied) {
                pack_row(c->ops, &c->weights->output, token, x, c->scratch[thread].dot);
            } else {
                table->type->decode(table->data + token * (table->n_bytes / table->n_rows), x,
                                    table->n_cols);
            }
        }
    }
}

/* ---------------------------------------------------------------- attention */

static void rope_head(const struct rope *r, const float *cos_row, const float *sin_row, float *h)
{
    size_t half = r->n_rot / 2, step = r->neox ? 1 : 2, other = r->neox ? half : 1;
    for (size_t i = 0; i < half; i++) {
        float *a = h + i * step, *b = a + other;
        float x = *a, y = *b;
        *a = x * cos_row[i] - y * sin_row[i];
        *b = x * sin_row[i] + y * cos_row[i];
    }
}

/* Applies bias, per-head norm and RoPE to the heads of one row. Bias and norm may be NULL. */
static void finish_heads(const struct job *j, size_t row, float *heads, size_t n_heads,
                         const float *bias, const float *norm)
{
    const struct cpu *c = j->c;
    const struct rope *r = j->what->attn.rope;
    const struct turns *t = &c->turns[r->at];
    const size_t dim = layer_kv(c->model, j->what)->k_dim, half = r->n_rot / 2;
    if (bias != NULL) {
        c->ops->add(heads, bias, n_heads * dim);
    }
    for (size_t h = 0; h < n_heads; h++) {
        float *head = heads + h * dim;
        if (norm != NULL) {
            c->ops->rmsnorm(head, norm, dim, c->model->config.norm_eps, head);
        }
        rope_head(r, t->cos + row * half, t->sin + row * half, head);
    }
}

static void attn_in_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const float *const *v = j->w->vector;
    const struct packed *w = j->w->matrix;
    const size_t n = j->step->n_rows, n_kv_heads = layer_kv(c->model, j->what)->n_heads;
    norm_rows(j, 0, thread, v[ATTN_NORM], &c->in);
    threads_barrier(c->threads);
    const struct product qkv[] = { { .w = &w[ATTN_Q], .out = c->q },
                                   { .w = &w[ATTN_K], .out = c->k },
                                   { .w = &w[ATTN_V], .out = c->v } };
    cpu_multiply(j, 1, thread, qkv, 3, &c->in, n);
    threads_barrier(c->threads);
    for (size_t r; claim(&j->next[2], n, &r);) {
        float *value = c->v + r * w[ATTN_V].n_rows;
        finish_heads(j, r, c->q + r * w[ATTN_Q].n_rows, j->what->attn.n_heads, v[ATTN_Q_BIAS],
                     v[ATTN_Q_NORM]);
        finish_heads(j, r, c->k + r * w[ATTN_K].n_rows, n_kv_heads, v[ATTN_K_BIAS], v[ATTN_K_NORM]);
        if (v[ATTN_V_BIAS] != NULL) {
            c->ops->add(value, v[ATTN_V_BIAS], w[ATTN_V].n_rows);
        }
        cpu_store_kv(j, r);
    }
}

/* Returns the activations with as many columns as the matrix that reads them has. The distance of
 * rows stays that of a, which has room for the longest row of any layer. */
static struct acts acts_of(const struct acts *a, const struct packed *reader)
{
    struct acts b = *a;
    b.n_cols = reader->n_cols;
    return b;
}

static void attn_out_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    struct acts mid = acts_of(&c->mid, &j->w->matrix[ATTN_OUTPUT]);
    const struct product out = { .w = &j->w->matrix[ATTN_OUTPUT],
                                 .bias = j->w->vector[ATTN_OUTPUT_BIAS],
                                 .add = true,
                                 .out = c->x };
    for (size_t r; claim(&j->next[0], j->step->n_rows, &r);) {
        c->ops->quantize(c->o + r * mid.n_cols, &mid, r);
    }
    threads_barrier(c->threads);
    cpu_multiply(j, 1, thread, &out, 1, &mid, j->step->n_rows);
}

/* ---------------------------------------------------------------- feed-forward */

static void ffn_in_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    struct acts ff = acts_of(&c->ff, &j->w->matrix[FFN_DOWN]);
    norm_rows(j, 0, thread, j->w->vector[FFN_NORM], &c->in);
    threads_barrier(c->threads);
    const struct product h = { .w = &j->w->matrix[FFN_UP],
                               .bias = j->w->vector[FFN_UP_BIAS],
                               .gate = &j->w->matrix[FFN_GATE],
                               .gate_bias = j->w->vector[FFN_GATE_BIAS],
                               .act = j->what->act,
                               .gated = &ff };
    cpu_multiply(j, 1, thread, &h, 1, &c->in, j->step->n_rows);
}

static void ffn_out_part(void *arg, size_t thread)
{
    struct job *j = arg;
    const struct acts ff = acts_of(&j->c->ff, &j->w->matrix[FFN_DOWN]);
    const struct product down = { .w = &j->w->matrix[FFN_DOWN],
                                  .bias = j->w->vector[FFN_DOWN_BIAS],
                                  .add = true,
                                  .out = j->c->x };
    cpu_multiply(j, 0, thread, &down, 1, &ff, j->step->n_rows);
}

/* ---------------------------------------------------------------- head */

static void head_norm_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    const size_t dim = c->model->config.dim;
    (void)thread;
    for (size_t i; claim(&j->next[0], j->step->n_out, &i);) {
        c->ops->rmsnorm(c->x + j->step->out_rows[i] * dim, c->weights->output_norm, dim,
                        c->model->config.norm_eps, c->norm + i * dim);
    }
}

static void head_part(void *arg, size_t thread)
{
    struct job *j = arg;
    struct cpu *c = j->c;
    for (size_t i; claim(&j->next[0], j->step->n_out, &i);) {
        c->ops->quantize(c->norm + i * c->model->config.dim, &c->in, i);
    }
    threads_barrier(c->threads);
    const struct product output = { .w = &c->weights->output,
                                    .bias = c->weights->output_bias,
                                    .out = c->logits };
    cpu_multiply(j, 1, thread, &output, 1, &c->in, j->step->n_out);
}

/* ---------------------------------------------------------------- stages and results */

static void (*const parts[N_STAGES])(void *job, size_t thread) = {
    [STAGE_EMBED] = embed_part,         [STAGE_ATTN_IN] = attn_in_part,
    [STAGE_ATTEND] = cpu_attend_part,   [STAGE_ATTN_OUT] = attn_out_part,
    [STAGE_FFN_IN] = ffn_in_part,       [STAGE_FFN_OUT] = ffn_out_part,
    [STAGE_HEAD_NORM] = head_norm_part, [STAGE_HEAD] = head_part,
};

static bool cpu_has(enum stage stage) { return parts[stage] != NULL; }

static weft_status cpu_stage(struct backend *b, enum stage stage, const struct step *s,
                             size_t layer, weft_error *err)
{
    (void)err;
    cpu_run(b, s, layer, parts[stage]);
    if (stage == STAGE_HEAD) {
        ((struct cpu *)b)->n_logits = s->n_out;
    }
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
                                   enum backend_value value, size_t layer, float *dst,
                                   weft_error *err)
{
    const struct cpu *c = (const struct cpu *)b;
    const float *const values[] = {
        [VALUE_X] = c->x,       [VALUE_Q] = c->q,         [VALUE_K] = c->k,
        [VALUE_V] = c->v,       [VALUE_ATTENTION] = c->o, [VALUE_FFN_ACT] = c->ff.x,
        [VALUE_NORM] = c->norm,
    };
    const size_t n_cols = backend_value_cols(c->model, value, layer),
                 stride = value == VALUE_FFN_ACT ? c->ff.stride : n_cols,
                 n_rows = value == VALUE_NORM ? s->n_out : s->n_rows;
    (void)err;
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(dst + r * n_cols, values[value] + r * stride, n_cols * sizeof *dst);
    }
    return WEFT_OK;
}

/* ---------------------------------------------------------------- open, close */

static void cpu_info(const struct backend *b, struct backend_info *info)
{
    const struct cpu *c = (const struct cpu *)b;
    const struct cpu_weights *w = c->weights;
    uint64_t table = w->tied ? 0 : c->model->weights.token_embd.n_bytes;
    *info = (struct backend_info){ .kernels = c->ops->name,
                                   .n_batch = c->params.n_batch,
                                   .n_out = c->params.n_out,
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
    cpu_weights_close(c->model, c->weights);
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
    .has = cpu_has,
    .acts = 1u << ACT_SILU,
    .stage = cpu_stage,
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
    TRY(state_alloc_angles(c, err));
    TRY(state_alloc_kv(c, err));
    TRY(threads_open(c->params.n_threads, c->params.pin_threads, &c->threads, err));
    c->n_threads = threads_count(c->threads);
    TRY(cpu_weights_open(c->model, &c->params, c->threads, &c->weights, err));
    return state_alloc(c, err);
}

weft_status cpu_backend_open(const struct model *m, const struct backend_params *p,
                             struct backend **out, weft_error *err)
{
    TRY(backend_check(&cpu_backend, m, err));
    struct cpu *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_nomem(err, "the CPU backend", sizeof *c);
    }
    c->base = (struct backend){ .ops = &cpu_backend, .model = m };
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
