/* The state of the CUDA backend, and what its files do for one another. This is plain C: the
 * kernels are behind kernels.h. Each engine computes on a stream of its own. An error poisons only
 * its engine, unless a kernel has failed: then CUDA is lost for the whole process. */
#ifndef WEFT_CUDA_H
#define WEFT_CUDA_H

#include <pthread.h>

#include "base/mem.h"
#include "blas.h"
#include "forward.h"
#include "kernels/kernels.h"
#include "memory.h"

enum {
    /* The most rows of one call of kernel_attend(). This bounds its scratch. */
    ATTEND_ROWS = 32,
    /* Steps of more rows go through cuBLAS. This limit has not been tuned on hardware yet. */
    GEMM_ROWS = 16,
    /* The most shared memory that the mat-vec kernel uses besides its rows, bytes. */
    SHARED_SPARE = 8192,
    /* A sequence with at least this many rows in the step attends in tiles. */
    ATTEND_TILE_FROM = 16,
    /* The number of parts of the slab, and so of pieces of weights that are on their way. */
    UPLOAD_PARTS = 4,
    /* The classes of steps by the length of their longest sequence, see image_bound(). */
    IMAGE_BUCKETS = 3
};

/* The weights of a layer on the device. A tensor is in `matrix` or in `vector`, or in neither if
 * the layer lacks it. Vectors are floats. */
struct dlayer {
    struct dmatrix matrix[N_LAYER_TENSORS];
    struct dptr vector[N_LAYER_TENSORS];
};

struct dweights {
    struct dmatrix token_embd, output;
    struct dptr output_norm;
    struct dptr output_bias; /* float [n_vocab]; may be none */
    struct dlayer *layers;   /* [n_layers] */
};

/* A step in pinned memory and its copy on the device: where the rows stand and what they attend
 * to. */
struct image {
    char *host;                                       /* pinned */
    struct dptr device;                               /* a copy of `host` */
    size_t rows, out_rows, list, tiles, pages, bytes; /* offsets, and the size of the whole */
    size_t page_stride;
    size_t n_list, n_tiles; /* of the step that was packed last */
    /* The class of the longest sequence, see image_bound(). */
    size_t bucket;
    /* Once this event has happened, `host` may be written again. */
    cudaEvent_t copied;
};

/* A thread opens cuBLAS. While it runs, only that thread touches `blas` and this struct. */
struct blas_thread {
    pthread_t thread;
    /* The thread has to be joined. */
    bool running;
    bool tried, found;
    cudaError_t device;
    cublasStatus_t opened;
};

struct cuda {
    struct backend base;
    const struct model *model;
    struct backend_params params;
    struct dqueue queue;
    int major, minor; /* compute capability */
    char kernels[32];
    /* An earlier call failed. */
    bool lost;
    /* No other engine of this process will compute either. */
    bool process_lost;
    /* The stage under way, for messages. */
    const char *stage;
    size_t layer;
    struct memory memory;
    struct dweights weights;
    struct image image;
    struct blas blas;
    struct blas_thread blas_thread;
    /* Steps of many rows go through cuBLAS. Becomes false if cuBLAS is not found. */
    bool tensor_cores;
    /* The activations of a step; n = n_batch rows. */
    struct dptr x; /* float [n, dim] residual stream */
    struct dptr q; /* float [n, SIZE_Q] */
    /* float [n, SIZE_K], [n, SIZE_V]. With tensor cores both lie inside qkv. */
    struct dptr k, v;
    /* qkv, y, reach and blas_workspace exist only with tensor cores. */
    struct dptr qkv; /* float [n, SIZE_Q + SIZE_K + SIZE_V], q, k and v side by side */
    struct dptr y;   /* float [n, dim] */
    /* float [n_layers], kernel_reach() of gate and up; 0 where their products are floats. */
    struct dptr reach;
    struct dptr blas_workspace;
    /* Exists only with tensor cores, or where gate and up have biases: [n, 2 n_ff] of halves (see
     * cuda_halves_out()) or floats. In a step of few rows it holds two [n, n_ff]. */
    struct dptr gate_up;
    struct dacts in, mid, ff; /* normalised x, o and h */
    struct dacts head_norm;   /* float [n_out, dim] if values are read */
    /* double [ROPE_SETS, n_rot / 2] for each rope of the model. */
    struct dptr turns[MAX_ROPES];
    struct dptr partial; /* scratch of attention */
    struct dptr counters;
    size_t counters_bytes;
    /* K and V. Each store has blocks [n_pages, KV heads], see struct dkv. */
    struct dptr kv[2];
    /* [n_stores] The offset in kv[.] where a store begins. */
    size_t *store_at[2];
    /* Pinned: a page of K or V of the largest store. NULL if both are f16. */
    uint8_t *host_page;
    struct dptr logits; /* float [n_out, n_vocab] */
    float *host_logits; /* pinned [n_vocab] */
    /* While uploading: raw rows, slab_bytes. In products: weights as halves, halves_bytes. */
    struct dptr slab;
    size_t slab_bytes, halves_bytes;
    /* Bytes of the longest row of a matrix in the file. UPLOAD_PARTS of them fit into the slab. */
    size_t row_bytes;
    /* ids and values [n_out, BACKEND_TOP], and the scratch of kernel_top(). */
    struct dptr top_ids, top_values, top_scratch;
    int32_t *host_ids; /* pinned [n_out, BACKEND_TOP] */
    float *host_values;
    struct dptr history, count; /* int32 [BACKEND_TOP, MATVEC_ROWS], uint32 */
    size_t n_out;               /* wanted rows of the last step */
    /* graphs[a][n][b] decodes n + 1 rows whose positions are in class b; with a = 1 it also picks
     * and advances. */
    cudaGraphExec_t graphs[2][MATVEC_ROWS][IMAGE_BUCKETS];
    /* The failures since a graph was last made. */
    unsigned graph_failures;
    /* The number of steps that run without a graph before the next attempt. */
    size_t graph_wait;
    /* The image of the step under way has been sent. */
    bool decoding;
    /* A graph is being made: a failure costs no more than the graph. */
    bool capturing;
};

/* Returns the number of values from one row of activations to the next. */
static inline uint32_t cuda_acts_stride(size_t n_cols) { return (uint32_t)round_up(n_cols, 32); }

/* Returns true if a step of n rows goes through tensor cores. */
static inline bool cuda_many(const struct cuda *c, size_t n)
{
    return c->tensor_cores && n > GEMM_ROWS;
}

static inline bool cuda_ffn_biased(const struct layer *l)
{
    return l->t[FFN_GATE_BIAS].name != NULL;
}

/* Returns true if the product of gate and up is stored as halves. Both must be quantised: the
 * rounding to halves is small beside the error of quantised weights, but it would show beside the
 * small error of F16 or BF16. There must be no biases: they are added after the product, so
 * cuda_reach(), which bounds the product, would not bound the sum. */
static inline bool cuda_halves_out(const struct layer *l)
{
    return l->t[FFN_GATE].type->block > 1 && l->t[FFN_UP].type->block > 1 && !cuda_ffn_biased(l);
}

/* --- check.c: errors --- */

/* Turns the first failure of a call into a message that names the call, the stage and the layer. It
 * also poisons the engine, unless the call was an attempt to make a graph. */
weft_status cuda_check(struct cuda *c, cudaError_t e, const char *call, weft_error *err);
#define CU(c, fn, ...) TRY(cuda_check(c, fn(__VA_ARGS__), #fn, err))
/* Every operation calls this on entry. Makes the device current; returns WEFT_E_DEVICE_LOST after
 * an earlier failure. */
weft_status cuda_enter(struct cuda *c, const char *stage, size_t layer, weft_error *err);
weft_status cuda_check_blas(struct cuda *c, cublasStatus_t s, const char *call, weft_error *err);
/* Returns true for an error after which CUDA computes no more in this process: a kernel has
 * failed. */
bool cuda_process_lost(cudaError_t e);
/* Waits for the stream. */
weft_status cuda_wait(struct cuda *c, weft_error *err);

void cuda_info(const struct backend *b, struct backend_info *out);
void cuda_close(struct backend *b);

/* --- state.c: what is allocated --- */

/* Lists all device memory of the engine, logs the plan, and allocates the memory. Returns
 * WEFT_E_DEVMEM with the numbers if it does not fit. */
weft_status state_open(struct cuda *c, weft_error *err);
void state_close(struct cuda *c);

/* --- upload.c --- */

/* Brings the weights to the device and repacks them on the way. Returns WEFT_E_CANCELLED if the
 * caller's progress function says so, and WEFT_E_IO if the file can no longer be read. */
weft_status upload_weights(struct cuda *c, weft_error *err);

/* --- blas_thread.c --- */

/* Starts a thread that looks for cuBLAS and makes its handle, so that the upload hides the time
 * this takes. */
void cuda_start_blas(struct cuda *c);
/* Waits for the thread of cuda_start_blas(). Called before each step of many rows and before
 * products are measured. Without cuBLAS it logs a line and sets tensor_cores to false. */
weft_status cuda_open_blas(struct cuda *c, weft_error *err);
/* Ends the thread of cuda_start_blas(). */
void cuda_join_blas(struct cuda *c);

/* --- image.c --- */

/* Packs the step and starts its copy to the device. The copy includes the pages for n_steps - 1
 * more positions of each sequence. */
weft_status image_send(struct cuda *c, const struct step *s, size_t n_steps, weft_error *err);
struct dstep image_step(const struct cuda *c);
/* Returns a number that all positions of the step packed last are below: 512, 4096 or n_ctx.
 * Attention is launched for that many positions, and one graph serves all steps with the same
 * bound. */
size_t image_bound(const struct cuda *c);
static inline struct dptr dptr_at(struct dptr d, size_t bytes)
{
    return (struct dptr){ d.at + bytes };
}

/* --- product.c: many rows, on tensor cores --- */

/* Matrices of the same n_cols that are multiplied by the same rows. */
struct joint {
    const struct dmatrix *w[3];
    size_t n_w;
    /* [n, the rows of all matrices together]: their products side by side. */
    struct dptr out;
    /* `out` is halves, else floats. */
    bool halves;
    bool add;
};
/* out (+)= a * w^T. Neighbouring matrices that are turned into halves make one product; each F32
 * matrix is a product of its own. A product of halves still has to be multiplied by
 * a->half_scale. */
weft_status cuda_multiply(struct cuda *c, const struct joint *j, const struct dacts *a, size_t n,
                          weft_error *err);
/* Computes the bounds of the products of gate and up, c->reach. Call it after the upload. */
weft_status cuda_reach(struct cuda *c, weft_error *err);

/* --- stages.c --- */

extern const struct backend_ops cuda_backend;
struct dkv cuda_attn_kv(const struct cuda *c, const struct attn *a);

/* --- results.c --- */

weft_status cuda_read_logits(struct backend *b, size_t i, float *dst, weft_error *err);
weft_status cuda_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err);
/* params.values must have been set. */
weft_status cuda_read_values(struct backend *b, const struct step *s, enum backend_value value,
                             size_t layer, float *dst, weft_error *err);
weft_status cuda_results_wait(struct backend *b, weft_error *err);

/* --- pages.c --- */

/* Bytes of K (0) or V (1) of one page in one store; cuda_page() gives its address. */
size_t cuda_page_bytes(const struct cuda *c, size_t which, size_t store);
struct dptr cuda_page(const struct cuda *c, size_t which, size_t store, uint32_t page);
/* Returns the number of values in a head of K (0) or V (1). */
static inline size_t cuda_kv_dim(const struct cuda *c, size_t which, size_t store)
{
    const struct kv *kv = &c->model->kv[store];
    return which == 0 ? kv->k_dim : kv->v_dim;
}
weft_status cuda_copy_page(struct backend *b, uint32_t dst, uint32_t src, weft_error *err);
weft_status cuda_read_kv(struct backend *b, uint32_t page, size_t n, uint8_t *dst, weft_error *err);
weft_status cuda_write_kv(struct backend *b, uint32_t page, size_t n, const uint8_t *src,
                          weft_error *err);

/* --- limits.c --- */

weft_status cuda_limits(struct backend *b, struct backend_limits *out, weft_error *err);

/* --- graph.c --- */

weft_status graph_step(struct backend *b, const struct step *s, bool *done, weft_error *err);
weft_status graph_ahead(struct backend *b, const struct step *s, size_t k, int32_t *ids,
                        weft_error *err);
void graph_close(struct cuda *c);

#endif
