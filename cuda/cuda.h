/* What the CUDA backend keeps, and what its files do for one another. Plain C: kernels are behind
 * kernels.h. One stream per engine; an error poisons the engine and nothing else. */
#ifndef WEFT_CUDA_H
#define WEFT_CUDA_H

#include <pthread.h>

#include "base/mem.h"
#include "blas.h"
#include "forward.h"
#include "kernels/kernels.h"
#include "memory.h"

enum {
    ATTEND_ROWS = 32,      /* rows of one launch of attention by rows; bounds its scratch */
    GEMM_ROWS = 16,        /* steps of more rows go through cuBLAS; not yet tuned on hardware */
    SHARED_SPARE = 8192,   /* shared memory that the mat-vec kernel has besides its rows, at most */
    ATTEND_TILE_FROM = 16, /* sequences with at least so many rows attend in tiles */
    UPLOAD_PARTS = 4,      /* of the slab, for pieces of weights that are on their way at once */
    IMAGE_BUCKETS = 3      /* of how long the sequences of a step are */
};

/* Weights of a layer on the device: of each tensor one of the two, or neither if the layer lacks
 * it. Vectors are floats. */
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

/* A step in pinned memory and its copy on the device: where the rows stand, what they attend to. */
struct image {
    char *host;                                       /* pinned */
    struct dptr device;                               /* the same bytes */
    size_t rows, out_rows, list, tiles, pages, bytes; /* offsets, and the size of it all */
    size_t page_stride;
    size_t n_list, n_tiles; /* of the step that was packed last */
    size_t bucket;          /* of its longest sequence, see image_bound() */
    cudaEvent_t copied;     /* `host` may be written again */
};

/* cuBLAS is opened by a thread, while it runs the only one that touches `blas` and this. */
struct blas_thread {
    pthread_t thread;
    bool running; /* to be joined */
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
    bool lost;         /* an earlier call failed */
    bool process_lost; /* and no other engine of this process will compute either */
    const char *stage; /* under way, for messages */
    size_t layer;
    struct memory memory;
    struct dweights weights;
    struct image image;
    struct blas blas;
    struct blas_thread blas_thread;
    bool tensor_cores; /* many rows go through cuBLAS; false when it turns out that there is none */
    /* activations of a step, n = n_batch rows */
    struct dptr x;    /* float [n, dim] residual stream */
    struct dptr q;    /* float [n, SIZE_Q] */
    struct dptr k, v; /* float [n, SIZE_K], [n, SIZE_V]; with tensor cores in the place of qkv */
    /* only with tensor cores */
    struct dptr qkv;   /* float [n, SIZE_Q + SIZE_K + SIZE_V], q, k and v side by side */
    struct dptr y;     /* float [n, dim] */
    struct dptr reach; /* float [n_layers], kernel_reach() of gate and up, 0 if they leave floats */
    struct dptr blas_workspace;
    /* only with tensor cores, or where gate and up have biases; halves (see cuda_halves_out()) or
     * floats [n, 2 n_ff], in a step of few rows two of [n, n_ff] */
    struct dptr gate_up;
    struct dacts in, mid, ff;     /* normalised x, o and h */
    struct dacts head_norm;       /* float [n_out, dim] if values are read */
    struct dptr turns[MAX_ROPES]; /* double [n_rot / 2] of each rope of the model */
    struct dptr partial;          /* of attention */
    struct dptr counters;
    size_t counters_bytes;
    struct dptr kv[2];   /* K, V: of each store blocks [n_pages, KV heads], see struct dkv */
    size_t *store_at[2]; /* [n_stores] where in them a store begins */
    uint8_t *host_page;  /* pinned, a page of K or V of the largest store; NULL if both are f16 */
    struct dptr logits;  /* float [n_out, n_vocab] */
    float *host_logits;  /* pinned [n_vocab] */
    /* upload: raw rows, slab_bytes; products: weights as halves, halves_bytes */
    struct dptr slab;
    size_t slab_bytes, halves_bytes;
    size_t row_bytes; /* in the file, the longest of a matrix; UPLOAD_PARTS of them fit the slab */
    struct dptr top_ids, top_values, top_scratch; /* [n_out, BACKEND_TOP] */
    int32_t *host_ids;                            /* pinned [n_out, BACKEND_TOP] */
    float *host_values;
    struct dptr history, count; /* int32 [BACKEND_TOP, MATVEC_ROWS], uint32 */
    size_t n_out;               /* wanted rows of the last step */
    /* decode of n + 1 rows with positions of a bucket; [1]: with pick and advance */
    cudaGraphExec_t graphs[2][MATVEC_ROWS][IMAGE_BUCKETS];
    unsigned graph_failures; /* since a graph was made */
    size_t graph_wait;       /* steps that do without before the next is tried */
    bool decoding;           /* the image of the step under way has been sent */
    bool capturing;          /* a graph is being made; what fails costs no more than the graph */
};

/* From a row of activations to the next, in values. */
static inline uint32_t cuda_acts_stride(size_t n_cols) { return (uint32_t)round_up(n_cols, 32); }

/* A step of n rows goes through tensor cores. */
static inline bool cuda_many(const struct cuda *c, size_t n)
{
    return c->tensor_cores && n > GEMM_ROWS;
}

static inline bool cuda_ffn_biased(const struct layer *l)
{
    return l->t[FFN_GATE_BIAS].name != NULL;
}

/* gate and up leave their product as halves if both are quantised: beside the error of such weights
 * the rounding is small. Weights of F16 or BF16 have so little error that it would show. Biases
 * come behind the product: what bounds it, see cuda_reach(), would not bound the sum. */
static inline bool cuda_halves_out(const struct layer *l)
{
    return l->t[FFN_GATE].type->block > 1 && l->t[FFN_UP].type->block > 1 && !cuda_ffn_biased(l);
}

/* --- check.c: errors --- */

/* Turns the first failure of a call into a message that names it, the stage and the layer, and
 * poisons the engine, unless that was trying to make a graph. */
weft_status cuda_check(struct cuda *c, cudaError_t e, const char *call, weft_error *err);
#define CU(c, fn, ...) TRY(cuda_check(c, fn(__VA_ARGS__), #fn, err))
/* On entry of every operation: WEFT_E_DEVICE_LOST after a failure; makes the device current. */
weft_status cuda_enter(struct cuda *c, const char *stage, size_t layer, weft_error *err);
weft_status cuda_check_blas(struct cuda *c, cublasStatus_t s, const char *call, weft_error *err);
/* Errors after which CUDA computes no more in this process: a kernel failed. */
bool cuda_process_lost(cudaError_t e);
/* Waits for the stream. */
weft_status cuda_wait(struct cuda *c, weft_error *err);

void cuda_info(const struct backend *b, struct backend_info *out);
void cuda_close(struct backend *b);

/* --- state.c: what is allocated --- */

/* Lists all device memory of the engine, logs the plan, refuses what does not fit (WEFT_E_DEVMEM
 * with the numbers), allocates. */
weft_status state_open(struct cuda *c, weft_error *err);
void state_close(struct cuda *c);

/* --- upload.c --- */

/* Weights to the device, repacked on the way. WEFT_E_CANCELLED when the caller's progress function
 * says so, WEFT_E_IO when the file cannot be read any more. */
weft_status upload_weights(struct cuda *c, weft_error *err);

/* --- blas_thread.c --- */

/* Begins to look for cuBLAS and to make its handle, in a thread, so that the upload hides it. */
void cuda_start_blas(struct cuda *c);
/* Before each step of many rows, and before measuring products: waits for it. Without cuBLAS the
 * log says so, and tensor_cores is false from then on. */
weft_status cuda_open_blas(struct cuda *c, weft_error *err);
/* Ends the thread. */
void cuda_join_blas(struct cuda *c);

/* --- image.c --- */

/* Packs the step and starts its copy; pages for n_steps - 1 more positions of each sequence go with
 * it. */
weft_status image_send(struct cuda *c, const struct step *s, size_t n_steps, weft_error *err);
struct dstep image_step(const struct cuda *c);
/* All positions of the step that was packed last are below this: 512, 4096 or n_ctx. Attention is
 * launched for so many, and a graph serves the steps of one bound. */
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
    struct dptr out; /* [n, rows of them all]: their products side by side */
    bool halves;     /* out is; else floats */
    bool add;
};
/* out (+)= a * w^T. Matrices that are turned into halves, and stand next to each other, are one
 * product; F32 ones are one each. A product of halves has still to be multiplied by
 * a->half_scale. */
weft_status cuda_multiply(struct cuda *c, const struct joint *j, const struct dacts *a, size_t n,
                          weft_error *err);
/* What products are bounded by; after the upload. */
weft_status cuda_reach(struct cuda *c, weft_error *err);

/* --- stages.c --- */

extern const struct backend_ops cuda_backend;
struct dkv cuda_attn_kv(const struct cuda *c, const struct attn *a);

/* --- results.c --- */

weft_status cuda_read_logits(struct backend *b, size_t i, float *dst, weft_error *err);
weft_status cuda_top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err);
/* params.values must have been set */
weft_status cuda_read_values(struct backend *b, const struct step *s, enum backend_value value,
                             size_t layer, float *dst, weft_error *err);
weft_status cuda_results_wait(struct backend *b, weft_error *err);

/* --- pages.c --- */

/* Bytes of K (0) or V (1) of one page in one store, and where they are. */
size_t cuda_page_bytes(const struct cuda *c, size_t which, size_t store);
struct dptr cuda_page(const struct cuda *c, size_t which, size_t store, uint32_t page);
/* Values of a head of K (0) or V (1). */
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
