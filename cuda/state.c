/* What an engine holds on the device: this file lists, plans, allocates and frees it. */
#include <string.h>

#include "cuda.h"

enum {
    /* The weights are uploaded through a slab that has at most this size, unless rows are very
     * long. If memory is short, products turn matrices into halves in pieces of this size, too. */
    SLAB_BYTES = 32 << 20,
    /* Left for the driver: code of the kernels, cuBLAS. */
    RESERVE_BYTES = 256 << 20,
};

/* The rows of a step if the caller leaves the number to the backend: as many as there is room for.
 * With 2048 rows the products of large models fill a large GPU, and weights are turned into halves
 * only once. */
static const size_t default_batches[] = { 2048, 1024, 512 };
enum { N_DEFAULTS = sizeof default_batches / sizeof default_batches[0] };
/* The most rows with logits in the plan that is tried last. */
enum { FEW_OUT = 64 };

static void want_matrix(struct cuda *c, const struct tensor *t, struct dmatrix *m)
{
    *m = (struct dmatrix){ .type = t->type->id,
                           .n_rows = (uint32_t)t->n_rows,
                           .n_cols = (uint32_t)t->n_cols };
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        memory_want(&c->memory, MEMORY_WEIGHTS, &m->plane[p], t->n_rows,
                    plane_row_bytes(m->type, p, t->n_cols));
    }
    /* The slab has UPLOAD_PARTS parts, each with room for at least one whole row. */
    size_t row = t->n_bytes / t->n_rows, halves = round_up(t->n_cols, 8) * 2, bytes;
    if (!mul_ok(t->n_rows, halves, &bytes) || bytes > SLAB_BYTES) {
        bytes = SLAB_BYTES;
    }
    const size_t rows = UPLOAD_PARTS * row, unit = UPLOAD_PARTS * MEMORY_ALIGN;
    bytes = round_up(size_max(bytes, rows), unit);
    c->slab_bytes = size_max(c->slab_bytes, bytes);
    c->row_bytes = size_max(c->row_bytes, row);
}

static void want_vector(struct cuda *c, const struct tensor *t, struct dptr *v)
{
    if (t->name != NULL) {
        memory_want(&c->memory, MEMORY_WEIGHTS, v, t->n_cols, sizeof(float));
    }
}

static void want_layer(struct cuda *c, const struct layer *l, struct dlayer *d)
{
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        if (!layer_tensor_is_matrix(t)) {
            want_vector(c, &l->t[t], &d->vector[t]);
        } else if (l->t[t].name != NULL) {
            want_matrix(c, &l->t[t], &d->matrix[t]);
        }
    }
}

static void want_weights(struct cuda *c)
{
    const struct weights *w = &c->model->weights;
    want_matrix(c, &w->token_embd, &c->weights.token_embd);
    if (w->output.data != w->token_embd.data) { /* otherwise they are one matrix, see upload.c */
        want_matrix(c, &w->output, &c->weights.output);
    }
    want_vector(c, &w->output_norm, &c->weights.output_norm);
    want_vector(c, &w->output_bias, &c->weights.output_bias);
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        want_layer(c, &c->model->layers[i], &c->weights.layers[i]);
    }
}

static void scratch(struct cuda *c, struct dptr *at, size_t n, size_t size)
{
    memory_want(&c->memory, MEMORY_SCRATCH, at, n, size);
}

/* Returns the forms (ACT_*) in which products with this matrix read their activations. */
static uint32_t forms_of(const struct cuda *c, const struct tensor *t)
{
    bool is_float = t->type->block == 1;
    uint32_t many = t->type->id == QUANT_F32 ? ACT_F32 : ACT_F16;
    return (is_float ? ACT_F32 : ACT_Q8) | (c->tensor_cores ? many : 0u);
}

static void want_acts(struct cuda *c, struct dacts *a, size_t n, size_t n_cols, uint32_t forms)
{
    size_t stride = cuda_acts_stride(n_cols);
    *a = (struct dacts){ .n_cols = (uint32_t)n_cols, .stride = (uint32_t)stride };
    if (forms & ACT_Q8) {
        scratch(c, &a->q, n, stride);
        scratch(c, &a->block, n, stride / 32 * sizeof(struct act_block));
    }
    if (forms & ACT_F32) {
        scratch(c, &a->x, n, stride * sizeof(float));
    }
    if (forms & ACT_F16) {
        scratch(c, &a->half, n, stride * sizeof(f16_bits));
        scratch(c, &a->half_scale, n, sizeof(float));
    }
}

/* Makes room for the halves of the matrices that a stage multiplies in one product. *piece is
 * raised to at least one row of them. */
static void want_halves(struct cuda *c, const struct layer *l, enum stage stage, size_t *piece)
{
    size_t n_rows = 0, row = 0, bytes;
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        const struct tensor *w = &l->t[t];
        if (tensor_stages[t] == stage && layer_tensor_is_matrix(t) && w->name != NULL) {
            n_rows += w->type->id == QUANT_F32 ? 0 : w->n_rows;
            row = round_up(w->n_cols, 8) * sizeof(f16_bits);
        }
    }
    if (!mul_ok(n_rows, row, &bytes)) {
        bytes = SIZE_MAX;
    }
    *piece = *piece > row ? *piece : row;
    c->halves_bytes = size_max(c->halves_bytes, bytes);
}

/* Lists what products of many rows need beside the activations. If `whole` is true, there is room
 * for the halves of a whole product; otherwise for a piece of it, which is at least one row. */
static void want_products(struct cuda *c, bool whole)
{
    const struct maxima *max = &c->model->max;
    const size_t n_layers = c->model->config.n_layers, n = c->params.n_batch;
    size_t piece = SLAB_BYTES;
    c->halves_bytes = 0;
    for (size_t i = 0; i < n_layers; i++) {
        for (enum stage s = 0; s < N_STAGES; s++) {
            want_halves(c, &c->model->layers[i], s, &piece);
        }
    }
    c->halves_bytes = whole ? c->halves_bytes : size_min(c->halves_bytes, piece);
    scratch(c, &c->qkv, n, (max->q_dim + max->k_dim + max->v_dim) * sizeof(float));
    scratch(c, &c->y, n, c->model->config.dim * sizeof(float));
    scratch(c, &c->reach, n_layers, sizeof(float));
    scratch(c, &c->blas_workspace, 1, BLAS_WORKSPACE);
}

/* Lists the memory for gate and up, where one kernel leaves them for the next. Its elements are as
 * large as the most demanding layer needs. */
static void want_gate_up(struct cuda *c)
{
    size_t element = c->tensor_cores ? sizeof(f16_bits) : 0;
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        const struct layer *l = &c->model->layers[i];
        bool floats = cuda_ffn_biased(l) || (c->tensor_cores && !cuda_halves_out(l));
        element = floats ? sizeof(float) : element;
    }
    if (element > 0) {
        scratch(c, &c->gate_up, c->params.n_batch, 2 * c->model->max.n_ff * element);
    }
}

/* Returns the forms in which the matrices of a stage read their activations, in any layer. */
static uint32_t forms_of_stage(const struct cuda *c, enum stage stage)
{
    uint32_t forms = 0;
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            const struct tensor *w = &c->model->layers[i].t[t];
            bool read = tensor_stages[t] == stage && layer_tensor_is_matrix(t) && w->name != NULL;
            forms |= read ? forms_of(c, w) : 0;
        }
    }
    return forms;
}

static void want_activations(struct cuda *c)
{
    const struct maxima *max = &c->model->max;
    const size_t n = c->params.n_batch, dim = c->model->config.dim;
    const uint32_t values = c->params.values ? ACT_F32 : 0,
                   in = forms_of_stage(c, STAGE_ATTN_IN) | forms_of_stage(c, STAGE_FFN_IN);
    scratch(c, &c->x, n, dim * sizeof(float));
    scratch(c, &c->q, n, max->q_dim * sizeof(float));
    want_acts(c, &c->mid, n, max->o_dim, forms_of_stage(c, STAGE_ATTN_OUT) | values);
    want_acts(c, &c->ff, n, max->n_ff, forms_of_stage(c, STAGE_FFN_OUT) | values);
    want_acts(c, &c->head_norm, c->params.n_out, dim, values);
    if (c->tensor_cores) { /* otherwise a product normalises its rows itself */
        want_acts(c, &c->in, n, dim, in & (ACT_F16 | ACT_F32));
    } else { /* with tensor cores k and v lie inside qkv */
        scratch(c, &c->k, n, max->k_dim * sizeof(float));
        scratch(c, &c->v, n, max->v_dim * sizeof(float));
    }
}

/* Plans where the parts of a step's image stand. */
static void want_image(struct cuda *c)
{
    struct image *m = &c->image;
    size_t n = c->params.n_batch;
    m->page_stride = ceil_div(c->params.n_ctx, KV_PAGE);
    m->rows = 0;
    m->out_rows = m->rows + n * sizeof(struct drow);
    m->list = m->out_rows + c->params.n_out * sizeof(uint32_t);
    m->tiles = m->list + n * sizeof(uint32_t);
    m->pages = m->tiles + n * sizeof(struct attend_tile);
    m->bytes = m->pages + n * m->page_stride * sizeof(uint32_t);
    scratch(c, &m->device, 1, m->bytes);
}

/* Lists the scratch of attention, for the layer that needs the most. */
static void want_attention(struct cuda *c)
{
    size_t floats = 0, counters = 0;
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        const struct dkv kv = cuda_attn_kv(c, &c->model->layers[i].attn);
        const size_t n_floats = attend_partial_floats(&kv, ATTEND_ROWS, c->params.n_ctx, &c->queue),
                     n_counters = attend_counters(&kv, ATTEND_ROWS);
        floats = size_max(floats, n_floats);
        counters = size_max(counters, n_counters);
    }
    scratch(c, &c->partial, floats, sizeof(float));
    c->counters_bytes = counters * sizeof(uint32_t);
    scratch(c, &c->counters, 1, c->counters_bytes);
}

/* Lists the pool and plans where its stores stand in it. If an offset wraps, the size of the pool
 * wraps too, and is refused. */
static void want_kv(struct cuda *c)
{
    for (size_t i = 0; i < 2; i++) {
        size_t bytes = 0; /* bytes of a page in all stores */
        for (size_t k = 0; k < c->model->n_stores; k++) {
            c->store_at[i][k] = bytes * c->params.n_pages;
            bytes += cuda_page_bytes(c, i, k);
        }
        memory_want(&c->memory, MEMORY_KV, &c->kv[i], c->params.n_pages, bytes);
    }
}

static void want_state(struct cuda *c, bool whole)
{
    const size_t n_out = c->params.n_out, n_vocab = c->model->config.n_vocab;
    want_activations(c);
    want_gate_up(c);
    if (c->tensor_cores) {
        want_products(c, whole);
    }
    want_image(c);
    for (size_t i = 0; i < c->model->n_ropes; i++) {
        scratch(c, &c->turns[i], ROPE_SETS * (c->model->ropes[i].n_rot / 2), sizeof(double));
    }
    want_attention(c);
    scratch(c, &c->logits, n_out, n_vocab * sizeof(float));
    scratch(c, &c->slab, 1, size_max(c->slab_bytes, c->halves_bytes));
    scratch(c, &c->top_ids, n_out * BACKEND_TOP, sizeof(int32_t));
    scratch(c, &c->top_values, n_out * BACKEND_TOP, sizeof(float));
    scratch(c, &c->top_scratch, 1, top_scratch_bytes(n_out, n_vocab, BACKEND_TOP));
    scratch(c, &c->history, BACKEND_TOP * MATVEC_ROWS, sizeof(int32_t));
    scratch(c, &c->count, 1, sizeof(uint32_t));
    want_kv(c);
}

static double mib(uint64_t bytes) { return (double)bytes / 1048576.0; }

/* Lists what steps of n_batch rows need; `whole` is as in want_products(). */
static weft_status make_plan(struct cuda *c, size_t n_batch, bool whole, weft_error *err)
{
    const struct memory *m = &c->memory;
    memory_free(&c->memory);
    c->memory.apart = c->params.no_arena;
    c->params.n_batch = n_batch;
    c->slab_bytes = c->row_bytes = 0;
    want_weights(c);
    want_state(c, whole);
    if (m->nomem) {
        return error_nomem(err, "the list of device buffers", m->cap * sizeof *m->requests);
    }
    if (m->wrapped) {
        return error_set(err, WEFT_E_ARG,
                         "cuda:%d: a buffer of n_batch %zu or n_kv %zu is beyond any memory; ask "
                         "for less",
                         c->params.device, c->params.n_batch, c->params.n_pages * KV_PAGE);
    }
    return WEFT_OK;
}

/* Chooses the first plan that fits. For each number of rows it first tries products of whole
 * matrices, then products in pieces, because pieces cost less speed than a step of fewer rows does.
 * At last it tries fewer rows with logits. If more sequences than that want logits, they take
 * turns. */
static weft_status choose_plan(struct cuda *c, weft_error *err)
{
    const struct memory *m = &c->memory;
    size_t asked = c->params.n_batch, n = asked != 0 ? 1 : N_DEFAULTS, available, total;
    CU(c, cudaMemGetInfo, &available, &total);
    uint64_t reserve = size_min(total / 16, RESERVE_BYTES);
    for (size_t i = 0; i < 2 * n + 1; i++) {
        if (i == 2 * n) {
            c->params.n_out = size_min(c->params.n_out, FEW_OUT);
        }
        const size_t n_batch = asked != 0 ? asked : default_batches[size_min(i / 2, n - 1)];
        TRY(make_plan(c, n_batch, i % 2 == 0 && i < 2 * n, err));
        if (memory_taken(m) + reserve <= available) {
            break;
        }
    }
    log_line(c->params.log, WEFT_LOG_INFO,
             "cuda:%d: plan: batch %zu, weights %.1f MiB, KV %.1f MiB, scratch %.1f MiB, together "
             "%.1f MiB of %.1f MiB free",
             c->params.device, c->params.n_batch, mib(m->bytes[MEMORY_WEIGHTS]),
             mib(m->bytes[MEMORY_KV]), mib(m->bytes[MEMORY_SCRATCH]), mib(memory_total(m)),
             mib(available));
    if (memory_taken(m) + reserve > available) {
        return error_set(err, WEFT_E_DEVMEM,
                         "cuda:%d: the model does not fit: weights %.1f MiB, KV %.1f MiB, scratch "
                         "%.1f MiB and %.1f MiB for the driver, but only %.1f MiB are free; ask "
                         "for a smaller n_ctx, n_kv or n_batch, or run on the CPU (device cpu)",
                         c->params.device, mib(m->bytes[MEMORY_WEIGHTS]), mib(m->bytes[MEMORY_KV]),
                         mib(m->bytes[MEMORY_SCRATCH]), mib(reserve), mib(available));
    }
    return WEFT_OK;
}

static weft_status alloc_pinned(struct cuda *c, weft_error *err)
{
    size_t n = c->params.n_out * BACKEND_TOP;
    CU(c, cudaMallocHost, (void **)&c->image.host, c->image.bytes);
    CU(c, cudaMallocHost, (void **)&c->host_logits,
       c->model->config.n_vocab * sizeof *c->host_logits);
    CU(c, cudaMallocHost, (void **)&c->host_ids, n * sizeof *c->host_ids);
    CU(c, cudaMallocHost, (void **)&c->host_values, n * sizeof *c->host_values);
    if (c->params.kv_type[0] == WEFT_KV_Q8_0 || c->params.kv_type[1] == WEFT_KV_Q8_0) {
        size_t most = 0;
        for (size_t i = 0; i < 2 * c->model->n_stores; i++) {
            const size_t bytes = cuda_page_bytes(c, i % 2, i / 2);
            most = size_max(most, bytes);
        }
        CU(c, cudaMallocHost, (void **)&c->host_page, most);
    }
    CU(c, cudaEventCreateWithFlags, &c->image.copied, cudaEventDisableTiming);
    return WEFT_OK;
}

static weft_status send_turns(struct cuda *c, size_t at, weft_error *err)
{
    const struct rope *r = &c->model->ropes[at];
    const size_t half = r->n_rot / 2, n = ROPE_SETS * half;
    double *turns = mem_array(n, sizeof *turns);
    if (turns == NULL) {
        return error_nomem(err, "the RoPE frequencies", n * sizeof *turns);
    }
    for (size_t set = 0; set < ROPE_SETS; set++) {
        rope_angles(r, set, turns + set * half);
    }
    for (size_t i = 0; i < n; i++) {
        turns[i] /= 3.14159265358979323846;
    }
    weft_status status =
        cuda_check(c,
                   cudaMemcpyAsync((void *)c->turns[at].at, turns, n * sizeof *turns,
                                   cudaMemcpyHostToDevice, c->queue.stream),
                   "cudaMemcpyAsync", err);
    if (status == WEFT_OK) {
        status = cuda_wait(c, err);
    }
    free(turns);
    return status;
}

/* Places k and v. With tensor cores they lie in the memory of qkv. Steps of many rows write q, k
 * and v there side by side. Steps of few rows write all of k, then all of v. This second layout has
 * room for n_batch rows, too, because without cuBLAS large steps use it as well. */
static void place_kv(struct cuda *c)
{
    if (c->tensor_cores) {
        c->k = c->qkv;
        c->v = dptr_at(c->k, c->params.n_batch * c->model->max.k_dim * sizeof(float));
    }
}

static weft_status alloc_lists(struct cuda *c, weft_error *err)
{
    const size_t n_layers = c->model->config.n_layers, n_stores = c->model->n_stores;
    c->weights.layers = mem_array(n_layers, sizeof *c->weights.layers);
    for (size_t i = 0; i < 2; i++) {
        c->store_at[i] = mem_array(n_stores, sizeof *c->store_at[i]);
    }
    if (c->weights.layers == NULL || c->store_at[0] == NULL || c->store_at[1] == NULL) {
        return error_nomem(err, "the layers",
                           n_layers * sizeof *c->weights.layers + 2 * n_stores * sizeof(size_t));
    }
    return WEFT_OK;
}

weft_status state_open(struct cuda *c, weft_error *err)
{
    TRY(alloc_lists(c, err));
    c->stage = "opening";
    TRY(choose_plan(c, err));
    TRY(cuda_check(c, memory_alloc(&c->memory), "cudaMalloc", err));
    place_kv(c);
    TRY(alloc_pinned(c, err));
    CU(c, cudaMemsetAsync, (void *)c->counters.at, 0, c->counters_bytes, c->queue.stream);
    if (c->tensor_cores) {
        CU(c, cudaMemsetAsync, (void *)c->reach.at, 0, c->model->config.n_layers * sizeof(float),
           c->queue.stream);
    }
    for (size_t i = 0; i < c->model->n_ropes; i++) {
        TRY(send_turns(c, i, err));
    }
    return WEFT_OK;
}

void state_close(struct cuda *c)
{
    blas_close(&c->blas);
    memory_free(&c->memory);
    void *const pinned[] = { c->image.host, c->host_logits, c->host_ids, c->host_values,
                             c->host_page };
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        if (pinned[i] != NULL) {
            (void)cudaFreeHost(pinned[i]);
        }
    }
    if (c->image.copied != NULL) {
        (void)cudaEventDestroy(c->image.copied);
    }
    free(c->weights.layers);
    free(c->store_at[0]);
    free(c->store_at[1]);
}
