#include "cpu/weights.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

/* The tiles that a task packs. There are many, because the system maps the pages around a page that
 * is touched, and would bring back pages that another task has just forgotten. */
enum { TASK_TILES = 64 };

/* Returns the i-th matrix. Each tensor of each layer counts as one; a tensor that the layer lacks,
 * or that is a vector, has no rows. The last one is the output matrix. */
static struct packed *matrix(struct cpu_weights *w, size_t i)
{
    return i < w->n_layers * N_LAYER_TENSORS
               ? &w->layers[i / N_LAYER_TENSORS].matrix[i % N_LAYER_TENSORS]
               : &w->output;
}

static size_t n_matrices(const struct cpu_weights *w) { return w->n_layers * N_LAYER_TENSORS + 1; }

static struct packed describe(const struct tensor *t)
{
    return pack_describe(t->type, t->data, t->n_rows, t->n_cols);
}

static const float *floats(const struct tensor *t)
{
    return t->name != NULL ? (const float *)(const void *)t->data : NULL;
}

static void weights_free(void *object)
{
    struct cpu_weights *w = object;
    if (w != NULL) {
        free(w->memory);
        free(w->layers);
        free(w);
    }
}

static struct cpu_weights *weights_describe(const struct model *m)
{
    struct cpu_weights *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->n_layers = m->config.n_layers;
    w->layers = mem_array(w->n_layers, sizeof *w->layers);
    if (w->layers == NULL) {
        free(w);
        return NULL;
    }
    for (size_t l = 0; l < w->n_layers; l++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            const struct tensor *from = &m->layers[l].t[t];
            if (!layer_tensor_is_matrix(t)) {
                w->layers[l].vector[t] = floats(from);
            } else if (from->name != NULL) {
                w->layers[l].matrix[t] = describe(from);
            }
        }
    }
    w->output = describe(&m->weights.output);
    w->output_norm = floats(&m->weights.output_norm);
    w->output_bias = floats(&m->weights.output_bias);
    return w;
}

size_t cpu_weights_largest(const struct cpu_weights *w)
{
    size_t most = w->output.layout.n;
    for (size_t l = 0; l < w->n_layers; l++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            const size_t n = w->layers[l].matrix[t].layout.n;
            most = size_max(n, most);
        }
    }
    return most;
}

/* ---------------------------------------------------------------- packing */

struct packing {
    const struct model *m;
    const struct backend_params *params;
    struct threads *threads;
    struct cpu_weights *w;
    atomic_size_t next;          /* the next task */
    atomic_uint_fast64_t n_done; /* bytes of the file that are packed so far */
    uint64_t n_all;              /* bytes of the file that will be packed */
    atomic_bool cancelled;
};

static size_t n_tasks(const struct packed *w) { return ceil_div(pack_n_tiles(w), TASK_TILES); }

/* Packs tiles [first, first + TASK_TILES) of w. Then the bytes of the file that they were made from
 * are forgotten, so that the weights are not in memory twice. */
static size_t pack_some(const struct model *m, const struct packed *w, size_t first)
{
    size_t n = pack_n_tiles(w), end = size_min(first + TASK_TILES, n);
    for (size_t i = first; i < end; i++) {
        pack_tile(w, i, pack_tile_at(w, i));
    }
    size_t row_bytes = w->n_cols / w->type->block * w->type->bytes;
    size_t last = size_min(end * TILE_ROWS, w->n_rows);
    size_t bytes = (last - first * TILE_ROWS) * row_bytes;
    gguf_forget(m->file, w->rows + first * TILE_ROWS * row_bytes, bytes);
    return bytes;
}

/* Returns the bytes of a matrix in the file. */
static size_t source_bytes(const struct packed *w)
{
    return w->n_rows > 0 ? w->n_rows * (w->n_cols / w->type->block) * w->type->bytes : 0;
}

static void forget_all(const struct model *m, struct cpu_weights *w)
{
    for (size_t i = 0; i < n_matrices(w); i++) {
        const struct packed *p = matrix(w, i);
        gguf_forget(m->file, p->rows, source_bytes(p));
    }
}

static bool report(const struct packing *p, uint64_t done)
{
    const struct backend_params *params = p->params;
    return params->progress == NULL || params->progress(params->progress_user, done, p->n_all);
}

static void pack_part(void *arg, size_t thread)
{
    struct packing *p = arg;
    size_t n = n_matrices(p->w), at = 0, i = 0;
    for (size_t task; task = atomic_fetch_add(&p->next, 1), !atomic_load(&p->cancelled);) {
        for (; i < n && task - at >= n_tasks(matrix(p->w, i)); i++) {
            at += n_tasks(matrix(p->w, i));
        }
        if (i == n) {
            return;
        }
        const struct packed *w = matrix(p->w, i);
        uint64_t bytes = pack_some(p->m, w, (task - at) * TASK_TILES);
        uint64_t done = atomic_fetch_add(&p->n_done, bytes) + bytes;
        if (thread == 0 && done < p->n_all && !report(p, done)) {
            atomic_store(&p->cancelled, true);
        }
    }
}

static size_t vector_bytes(const struct tensor *t)
{
    return t->name != NULL ? round_up(t->n_bytes, VECTOR) : 0;
}

/* Adds up the bytes of all tiles and vectors. Returns false if the sum wraps. */
static bool count_bytes(const struct model *m, struct cpu_weights *w)
{
    size_t bytes;
    bool ok = true;
    for (size_t i = 0; i < n_matrices(w); i++) {
        const struct packed *p = matrix(w, i);
        ok = ok && mul_ok(pack_n_tiles(p), p->layout.n, &bytes) &&
             add_ok(w->n_bytes, bytes, &w->n_bytes);
    }
    for (size_t l = 0; l < w->n_layers; l++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            bytes = layer_tensor_is_matrix(t) ? 0 : vector_bytes(&m->layers[l].t[t]);
            ok = ok && add_ok(w->n_bytes, bytes, &w->n_bytes);
        }
    }
    return ok && add_ok(w->n_bytes, vector_bytes(&m->weights.output_norm), &w->n_bytes) &&
           add_ok(w->n_bytes, vector_bytes(&m->weights.output_bias), &w->n_bytes);
}

/* Gives a matrix its place at `at`. Returns the end of the matrix. */
static uint8_t *place(struct packed *p, uint8_t *at)
{
    p->tiles = at;
    return at + pack_n_tiles(p) * p->layout.n;
}

/* Places the matrices in the order in which they are read: reading memory in order is fastest, and
 * the address that is needed next is known. A tile of gate is followed by the tile of up that
 * belongs to it, because they are read in turn. */
static uint8_t *place_matrices(struct packed *all, uint8_t *at)
{
    struct packed *gate = &all[FFN_GATE], *up = &all[FFN_UP];
    for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
        if (t == FFN_GATE && gate->n_rows > 0) {
            gate->stride = up->stride = gate->layout.n + up->layout.n;
            gate->tiles = at;
            up->tiles = at + gate->layout.n;
            at += pack_n_tiles(gate) * gate->stride;
        } else if ((t != FFN_UP || gate->n_rows == 0) && all[t].n_rows > 0) {
            at = place(&all[t], at);
        }
    }
    return at;
}

static uint8_t *place_vector(const struct tensor *t, const float **v, uint8_t *at)
{
    if (t->name == NULL) {
        return at;
    }
    memcpy(at, t->data, t->n_bytes);
    *v = (const float *)(const void *)at;
    return at + vector_bytes(t);
}

/* Gives every tile and vector its place, and copies the vectors to it. */
static weft_status weights_place(const struct model *m, struct cpu_weights *w, weft_error *err)
{
    w->memory = count_bytes(m, w) ? mem_large(w->n_bytes) : NULL;
    if (w->memory == NULL) {
        return error_nomem(err, "repacked weights; no_repack reads them from the file", w->n_bytes);
    }
    uint8_t *at = w->memory;
    for (size_t l = 0; l < w->n_layers; l++) {
        at = place_matrices(w->layers[l].matrix, at);
    }
    at = place(&w->output, at);
    for (size_t l = 0; l < w->n_layers; l++) {
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            if (!layer_tensor_is_matrix(t)) {
                at = place_vector(&m->layers[l].t[t], &w->layers[l].vector[t], at);
            }
        }
    }
    at = place_vector(&m->weights.output_norm, &w->output_norm, at);
    (void)place_vector(&m->weights.output_bias, &w->output_bias, at);
    w->tied = m->weights.output.data == m->weights.token_embd.data;
    return WEFT_OK;
}

static weft_status weights_pack(void *arg, void **object, weft_error *err)
{
    struct packing *p = arg;
    p->w = weights_describe(p->m);
    if (p->w == NULL) {
        return error_nomem(err, "the list of weights", 0);
    }
    weft_status status = weights_place(p->m, p->w, err);
    if (status == WEFT_OK) {
        for (size_t i = 0; i < n_matrices(p->w); i++) {
            p->n_all += source_bytes(matrix(p->w, i));
        }
        threads_run(p->threads, pack_part, p);
        forget_all(p->m, p->w); /* The system may have read neighbouring pages of the file again. */
        if (atomic_load(&p->cancelled) || !report(p, p->n_all)) {
            status = error_set(err, WEFT_E_CANCELLED, "opening the engine was cancelled");
        }
    }
    if (status != WEFT_OK) {
        weights_free(p->w);
        return status;
    }
    *object = p->w;
    return WEFT_OK;
}

weft_status cpu_weights_open(const struct model *m, const struct backend_params *p,
                             struct threads *t, struct cpu_weights **out, weft_error *err)
{
    if (p->no_repack) {
        *out = weights_describe(m);
        return *out == NULL ? error_nomem(err, "the list of weights", 0) : WEFT_OK;
    }
    struct packing packing = { .m = m, .params = p, .threads = t };
    void *object = NULL;
    TRY(once_take(m->packed, weights_pack, &packing, &object, err));
    *out = object;
    return WEFT_OK;
}

void cpu_weights_close(const struct model *m, struct cpu_weights *w)
{
    if (w == NULL) {
        return;
    }
    if (w->memory == NULL) {
        weights_free(w);
    } else {
        once_drop(m->packed, weights_free);
    }
}
