#include "cpu/tiles.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"

enum {
    N_LAYER = sizeof(struct layer_tiles) / sizeof(struct packed),
    TASK_TILES = 64 /* the system maps pages around one that is touched: not too small */
};

/* The i-th matrix of all; the last one is the output matrix. */
static struct packed *matrix(const struct tiles *w, size_t n_layers, size_t i)
{
    struct packed *all = (struct packed *)w->layers;
    return i < n_layers * N_LAYER ? all + i : (struct packed *)(uintptr_t)&w->output;
}

static size_t n_matrices(const struct model *m) { return m->config.n_layers * N_LAYER + 1; }

/* The vectors of a layer. */
static const size_t vectors[] = {
    offsetof(struct layer, attn_norm),        offsetof(struct layer, attn_q_bias),
    offsetof(struct layer, attn_k_bias),      offsetof(struct layer, attn_v_bias),
    offsetof(struct layer, attn_q_norm),      offsetof(struct layer, attn_k_norm),
    offsetof(struct layer, attn_output_bias), offsetof(struct layer, ffn_norm),
    offsetof(struct layer, ffn_gate_bias),    offsetof(struct layer, ffn_up_bias),
    offsetof(struct layer, ffn_down_bias)
};
enum { N_LAYER_VECTORS = sizeof vectors / sizeof vectors[0] };

/* The i-th vector of all; the last two are the norm before the output matrix and its bias. */
static struct tensor *vector(struct tiles *w, size_t n_layers, size_t i)
{
    if (i < n_layers * N_LAYER_VECTORS) {
        char *layer = (char *)&w->vectors[i / N_LAYER_VECTORS];
        return (struct tensor *)(layer + vectors[i % N_LAYER_VECTORS]);
    }
    return i == n_layers * N_LAYER_VECTORS ? &w->output_norm : &w->output_bias;
}

static size_t n_vectors(const struct model *m) { return m->config.n_layers * N_LAYER_VECTORS + 2; }

static struct packed describe(const struct tensor *t)
{
    return pack_describe(t->type, t->data, t->n_rows, t->n_cols);
}

static void tiles_free(void *object)
{
    struct tiles *w = object;
    if (w != NULL) {
        free(w->memory);
        free(w->layers);
        free(w->vectors);
        free(w);
    }
}

static struct tiles *tiles_new(size_t n_layers)
{
    struct tiles *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->layers = mem_array(n_layers, sizeof *w->layers);
    w->vectors = mem_array(n_layers, sizeof *w->vectors);
    if (w->layers == NULL || w->vectors == NULL) {
        tiles_free(w);
        return NULL;
    }
    return w;
}

static struct tiles *tiles_describe(const struct model *m)
{
    struct tiles *w = tiles_new(m->config.n_layers);
    if (w == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < m->config.n_layers; i++) {
        const struct layer *l = &m->weights.layers[i];
        w->layers[i] = (struct layer_tiles){ .attn_q = describe(&l->attn_q),
                                             .attn_k = describe(&l->attn_k),
                                             .attn_v = describe(&l->attn_v),
                                             .attn_output = describe(&l->attn_output),
                                             .ffn_gate = describe(&l->ffn_gate),
                                             .ffn_up = describe(&l->ffn_up),
                                             .ffn_down = describe(&l->ffn_down) };
        w->vectors[i] = *l;
    }
    w->output = describe(&m->weights.output);
    w->output_norm = m->weights.output_norm;
    w->output_bias = m->weights.output_bias;
    return w;
}

size_t tiles_largest(const struct tiles *w, size_t n_layers)
{
    size_t most = 0;
    for (size_t i = 0; i <= n_layers * N_LAYER; i++) {
        const struct packed *p = matrix(w, n_layers, i);
        most = p->layout.n > most ? p->layout.n : most;
    }
    return most;
}

/* ---------------------------------------------------------------- packing */

struct packing {
    const struct model *m;
    const struct backend_params *params;
    struct threads *threads;
    struct tiles *w;
    atomic_size_t next;          /* task */
    atomic_uint_fast64_t n_done; /* bytes of the file */
    uint64_t n_all;              /* that are packed */
    atomic_bool cancelled;
};

static size_t n_tasks(const struct packed *w)
{
    return (pack_n_tiles(w) + TASK_TILES - 1) / TASK_TILES;
}

/* Tiles [first, first + TASK_TILES) of w. What they were made from is not needed any more: the
 * weights are not to be in memory twice. */
static size_t pack_some(const struct model *m, const struct packed *w, size_t first)
{
    size_t n = pack_n_tiles(w), end = first + TASK_TILES < n ? first + TASK_TILES : n;
    for (size_t i = first; i < end; i++) {
        pack_tile(w, i, pack_tile_at(w, i));
    }
    size_t row_bytes = w->n_cols / w->type->block * w->type->bytes;
    size_t last = end * TILE_ROWS < w->n_rows ? end * TILE_ROWS : w->n_rows;
    size_t bytes = (last - first * TILE_ROWS) * row_bytes;
    gguf_forget(m->file, w->rows + first * TILE_ROWS * row_bytes, bytes);
    return bytes;
}

/* Bytes of a matrix in the file. */
static size_t source_bytes(const struct packed *w)
{
    return w->n_rows * (w->n_cols / w->type->block) * w->type->bytes;
}

static void forget_all(const struct model *m, const struct tiles *w)
{
    for (size_t i = 0; i < n_matrices(m); i++) {
        const struct packed *p = matrix(w, m->config.n_layers, i);
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
    size_t n = n_matrices(p->m), at = 0, i = 0;
    for (size_t task; task = atomic_fetch_add(&p->next, 1), !atomic_load(&p->cancelled);) {
        for (; i < n && task - at >= n_tasks(matrix(p->w, p->m->config.n_layers, i)); i++) {
            at += n_tasks(matrix(p->w, p->m->config.n_layers, i));
        }
        if (i == n) {
            return;
        }
        const struct packed *w = matrix(p->w, p->m->config.n_layers, i);
        uint64_t bytes = pack_some(p->m, w, (task - at) * TASK_TILES);
        uint64_t done = atomic_fetch_add(&p->n_done, bytes) + bytes;
        if (thread == 0 && done < p->n_all && !report(p, done)) {
            atomic_store(&p->cancelled, true);
        }
    }
}

static size_t vector_bytes(const struct tensor *t)
{
    return t->name != NULL ? (t->n_bytes + VECTOR - 1) / VECTOR * VECTOR : 0;
}

/* Bytes of all tiles and vectors; false when they wrap. */
static bool count_bytes(const struct model *m, struct tiles *w)
{
    size_t n_layers = m->config.n_layers, bytes;
    for (size_t i = 0; i < n_matrices(m); i++) {
        const struct packed *p = matrix(w, n_layers, i);
        if (!mul_ok(pack_n_tiles(p), p->layout.n, &bytes) ||
            !add_ok(w->n_bytes, bytes, &w->n_bytes)) {
            return false;
        }
    }
    for (size_t i = 0; i < n_vectors(m); i++) {
        if (!add_ok(w->n_bytes, vector_bytes(vector(w, n_layers, i)), &w->n_bytes)) {
            return false;
        }
    }
    return true;
}

/* Returns the end of what is placed at `at`. */
static uint8_t *place(struct packed *p, uint8_t *at)
{
    p->tiles = at;
    return at + pack_n_tiles(p) * p->layout.n;
}

/* In the order in which they are read: memory is fastest that way, and what lies ahead is known. A
 * tile of gate and the one of up that belongs to it are read in turns. */
static uint8_t *place_layer(struct layer_tiles *l, uint8_t *at)
{
    struct packed *const first[] = { &l->attn_q, &l->attn_k, &l->attn_v, &l->attn_output };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        at = place(first[i], at);
    }
    l->ffn_gate.stride = l->ffn_up.stride = l->ffn_gate.layout.n + l->ffn_up.layout.n;
    l->ffn_gate.tiles = at;
    l->ffn_up.tiles = at + l->ffn_gate.layout.n;
    return place(&l->ffn_down, at + pack_n_tiles(&l->ffn_gate) * l->ffn_gate.stride);
}

/* Gives every tile and vector its place; vectors are copied to it. */
static weft_status reserve(const struct model *m, struct tiles *w, weft_error *err)
{
    w->memory = count_bytes(m, w) ? mem_large(w->n_bytes) : NULL;
    if (w->memory == NULL) {
        return error_nomem(err, "repacked weights; no_repack reads them from the file", w->n_bytes);
    }
    uint8_t *at = w->memory;
    for (size_t i = 0; i < m->config.n_layers; i++) {
        at = place_layer(&w->layers[i], at);
    }
    at = place(&w->output, at);
    for (size_t i = 0; i < n_vectors(m); i++) {
        struct tensor *t = vector(w, m->config.n_layers, i);
        if (t->name != NULL) {
            memcpy(at, t->data, t->n_bytes);
            t->data = at;
            at += vector_bytes(t);
        }
    }
    w->tied = m->weights.output.data == m->weights.token_embd.data;
    return WEFT_OK;
}

static weft_status tiles_pack(void *arg, void **object, weft_error *err)
{
    struct packing *p = arg;
    p->w = tiles_describe(p->m);
    if (p->w == NULL) {
        return error_nomem(err, "the list of weights", 0);
    }
    weft_status status = reserve(p->m, p->w, err);
    if (status == WEFT_OK) {
        for (size_t i = 0; i < n_matrices(p->m); i++) {
            p->n_all += source_bytes(matrix(p->w, p->m->config.n_layers, i));
        }
        threads_run(p->threads, pack_part, p);
        forget_all(p->m, p->w); /* what neighbours have brought in again */
        if (atomic_load(&p->cancelled) || !report(p, p->n_all)) {
            status = error_set(err, WEFT_E_CANCELLED, "opening the engine was cancelled");
        }
    }
    if (status != WEFT_OK) {
        tiles_free(p->w);
        return status;
    }
    *object = p->w;
    return WEFT_OK;
}

weft_status tiles_open(const struct model *m, const struct backend_params *p, struct threads *t,
                       struct tiles **out, weft_error *err)
{
    if (p->no_repack) {
        *out = tiles_describe(m);
        return *out == NULL ? error_nomem(err, "the list of weights", 0) : WEFT_OK;
    }
    struct packing packing = { .m = m, .params = p, .threads = t };
    void *object = NULL;
    TRY(once_take(m->packed, tiles_pack, &packing, &object, err));
    *out = object;
    return WEFT_OK;
}

void tiles_close(const struct model *m, struct tiles *w)
{
    if (w == NULL) {
        return;
    }
    if (w->memory == NULL) {
        tiles_free(w);
    } else {
        once_drop(m->packed, tiles_free);
    }
}
