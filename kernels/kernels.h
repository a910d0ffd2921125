/* The launchers of the CUDA kernels, as C functions: all that cuda/ knows of device code. Each puts
 * its kernels on the stream and returns without waiting; what they return is the error of the
 * launch. Sizes are in elements unless they say bytes. Shapes are outermost first. */
#ifndef WEFT_KERNELS_H
#define WEFT_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An address in device memory. Host code carries it about and cannot read through it. */
struct dptr {
#ifdef __cplusplus
    void *at;
#else
    uintptr_t at; /* 0 = none */
#endif
};

/* Where kernels are put, and what the device offers. */
struct dqueue {
    cudaStream_t stream;
    bool programmatic; /* a kernel may start before the one before it has ended */
    bool graphs;       /* kernels may be captured before they ever ran */
    uint32_t n_sms;
    uint32_t shared_bytes; /* most dynamic shared memory of a block */
    uint32_t l2_bytes;
};
/* Fills all but the stream for this device and makes it current. Kernels overlap if the code that
 * the driver has chosen for the device waits for the kernel before, and if graphs can say so.
 * cudaErrorNoKernelImageForDevice and the like: this build has no code for the device. */
cudaError_t kernel_queue(int device, struct dqueue *on);

/* ---------------------------------------------------------------- weights */

/* Blocks of a quantised type are taken apart at upload: each field of the block goes to a plane of
 * its own, in which the fields of all blocks follow one another, row by row. So the codes of a row
 * are contiguous and every load of them is 16 aligned bytes; bytes and their meaning stay those of
 * the file. Float types have one plane, whose rows are padded with zeros to 16 bytes. */
enum weight_plane {
    PLANE_CODES, /* low bits; all of a float type */
    PLANE_HIGH,  /* bits above the low ones */
    PLANE_SCALES,
    PLANE_SUPER, /* scales of the scales */
    WEIGHT_PLANES
};

struct plane_field {
    uint16_t at, bytes; /* place and size in the block; bytes 0 = the type has no such plane */
};
struct plane_layout {
    struct plane_field field[WEIGHT_PLANES];
};
/* The planes of a type (enum quant_id, quant.h), NULL if kernels do not read it. */
const struct plane_layout *plane_layout(uint32_t type);
/* Bytes of one row of a plane. */
size_t plane_row_bytes(uint32_t type, enum weight_plane plane, size_t n_cols);

/* A matrix [n_rows, n_cols] in planes. */
struct dmatrix {
    uint32_t type; /* enum quant_id */
    uint32_t n_rows, n_cols, pad;
    struct dptr plane[WEIGHT_PLANES];
};

/* Rows [first, first + n) of m from `file`, n rows as they stand in the file, in device memory.
 * Wait for the queue before the first kernel that reads them: kernels load weights ahead of what
 * they wait for themselves. */
cudaError_t kernel_repack(const struct dmatrix *m, size_t first, size_t n, struct dptr file,
                          const struct dqueue *on);
/* half [n, n_cols rounded up to 8] = rows [first, first + n) of m; the padding is zero. */
cudaError_t kernel_dequant(const struct dmatrix *m, size_t first, size_t n, struct dptr half,
                           const struct dqueue *on);
/* *reach (float, not negative) = the larger of itself and of the largest sum of the magnitudes of a
 * row of m, as halves: no product with a row of magnitudes up to 1 is larger. See struct dacts. */
cudaError_t kernel_reach(const struct dmatrix *m, struct dptr reach, const struct dqueue *on);

/* ---------------------------------------------------------------- activations */

/* Rows of activations as the next product wants them. Rows are padded with zeros to `stride` =
 * n_cols rounded up to 32. */
enum act_form {
    ACT_Q8 = 1,  /* q and block: for quantised weights */
    ACT_F32 = 2, /* x: for float weights */
    ACT_F16 = 4  /* half and half_scale: for tensor cores */
};
struct act_block {
    float d;        /* a value is d * q; d = largest magnitude of the 32 / 127 */
    int16_t sum[2]; /* of q, of each 16 */
};
struct dacts {
    uint32_t n_cols, stride;
    uint32_t forms, pad;    /* enum act_form, those that producers write */
    struct dptr q;          /* int8 [n, stride] */
    struct dptr block;      /* struct act_block [n, stride / 32] */
    struct dptr x;          /* float [n, stride] */
    struct dptr half;       /* half [n, stride] */
    struct dptr half_scale; /* float [n]: a value is half_scale * half; a power of two */
    struct dptr reach;      /* float, of kernel_reach(): half_scale is so large that products of the
                               halves with those matrices are halves too; none = they are floats */
};

/* ---------------------------------------------------------------- rows of a step */

struct drow {
    int32_t token;
    uint32_t pos;
    uint32_t seq; /* row of the page table */
    uint32_t pad;
};

/* What the step is, in device memory, so that a captured graph serves every step. */
struct dstep {
    struct dptr rows;     /* struct drow [n_rows] */
    struct dptr pages;    /* uint32 [n_seqs, page_stride]: pages[seq][pos / KV_PAGE] */
    uint32_t page_stride; /* pages of n_ctx */
    uint32_t pad;
};

/* x [n, dim] = rows of the table that the step's tokens name. n_rows * dim may exceed 2^31. */
cudaError_t kernel_embed(const struct dmatrix *table, const struct dstep *step, size_t n,
                         struct dptr x, const struct dqueue *on);

/* ---------------------------------------------------------------- norms and the like, for GEMMs */

/* out row i = rmsnorm(x row) * weight, x [., dim]; `rows` (uint32 [n], may be none) picks rows. */
struct norm {
    struct dptr x, weight; /* float [., dim], float [dim] */
    struct dptr rows;      /* uint32 [n]; none = 0, 1, 2.. */
    uint32_t dim;
    float eps;
};
cudaError_t kernel_norm(const struct norm *norm, size_t n, const struct dacts *out,
                        const struct dqueue *on);
/* out row = silu(gate) * up. cudaErrorInvalidValue if out->n_cols is a multiple of 4 and stride is
 * not: four elements are then read at once, and gate and up begin where four may be; or if there is
 * a bias and elements are halves. */
struct swiglu {
    struct dptr gate, up;    /* [n, out->n_cols], rows stride elements apart */
    struct dptr scale[2];    /* float [n], of gate and up: a value is scale * element; none = 1 */
    uint32_t stride, halves; /* halves not 0: elements are halves, else floats */
    struct dptr bias[2]; /* float [out->n_cols], of gate and up, added to values: both or none */
};
cudaError_t kernel_swiglu(const struct swiglu *job, size_t n, const struct dacts *out,
                          const struct dqueue *on);
/* out row = x row, x [n, out->n_cols] float */
cudaError_t kernel_convert(struct dptr x, size_t n, const struct dacts *out,
                           const struct dqueue *on);
/* x row += scale[row] * y row, both [n, dim]; scale none = 1 */
cudaError_t kernel_add(struct dptr x, struct dptr y, struct dptr scale, size_t n, size_t dim,
                       const struct dqueue *on);

/* x row += bias, x [n, dim], bias [dim] */
cudaError_t kernel_add_bias(struct dptr x, struct dptr bias, size_t n, size_t dim,
                            const struct dqueue *on);

/* ---------------------------------------------------------------- few rows: matrix-vector */

enum { MATVEC_ROWS = 8 }; /* rows of activations that share one pass over the weights */

enum matvec_mode {
    MATVEC_STORE, /* out[i] = w[i] * a */
    MATVEC_ADD,   /* out[0] += w[0] * a: the residual */
    MATVEC_SWIGLU /* acts = silu(w[0] * a) * (w[1] * a) */
};
struct matvec {
    enum matvec_mode mode;
    uint32_t n_w;        /* matrices, all with the same n_cols; types may differ */
    struct dmatrix w[3]; /* 2 for SWIGLU, of equal n_rows; 1 for ADD */
    struct dptr bias[3]; /* STORE: float [w[i].n_rows], may be none */
    struct dptr out[3];  /* float [n, w[i].n_rows] */
    struct dacts acts;   /* SWIGLU: where the result goes, in its forms (Q8 and F32) */
    /* the input: either norm.x is set, and each block normalises and quantises the rows itself, or
     * the producer has left them in `in` */
    struct norm norm;
    struct dacts in;
};
/* Rows [0, n), any n; passes of up to MATVEC_ROWS. A row's bits do not depend on n.
 * cudaErrorInvalidConfiguration if not even one row that is to be normalised fits into
 * shared_bytes; cudaErrorInvalidValue if kernels do not read a type. */
cudaError_t kernel_matvec(const struct matvec *job, size_t n, const struct dqueue *on);

/* ---------------------------------------------------------------- attention */

/* The pool of one layer: K and V are blocks [n_pages, n_kv_heads], together maybe more than 2^31
 * elements. A block of f16 is half [KV_PAGE, head_dim]; one of q8_0, whose head_dim is a multiple
 * of 32, has codes int8 [KV_PAGE, head_dim] and behind them scales half [KV_PAGE, head_dim / 32].
 */
enum { ATTEND_PAGE = 64 /* positions of a page */, ATTEND_SPLITS = 64 /* most for one row */ };
struct dkv {
    struct dptr k, v; /* of this layer */
    uint32_t n_heads, n_kv_heads, head_dim;
    uint16_t type[2]; /* weft_kv_type of K and of V */
};

/* Bias, per-head norm and RoPE on q and k; q to q_out, and k, v into the rows' pages. */
struct heads {
    struct dptr q;              /* float [n, n_heads * head_dim] */
    struct dptr k, v;           /* float [n, n_kv_heads * head_dim] */
    struct dptr scale[3];       /* of q, k, v, float [n]: a value is scale * float; none = 1 */
    struct dptr q_out;          /* as q, without gaps; none = in place, if stride is 0 */
    uint32_t stride, pad;       /* floats from row to row of q, k and v; 0 = each has no gaps */
    struct dptr bias[3];        /* of q, k, v; may be none */
    struct dptr q_norm, k_norm; /* float [head_dim], may be none */
    struct dptr turns;          /* double [n_rot / 2]: half turns (angle / pi) per position */
    uint32_t n_rot;
    uint32_t neox;     /* not 0: pairs (i, i + n_rot / 2), else (2i, 2i + 1) */
    float rope_factor; /* multiplies sine and cosine */
    float eps;
    struct dkv kv;
};
cudaError_t kernel_heads(const struct heads *job, const struct dstep *step, size_t n,
                         const struct dqueue *on);

/* o row = softmax attention of a row's q over the positions of its sequence up to itself. */
struct attend {
    struct dptr q; /* float [., n_heads * head_dim] */
    struct dkv kv;
    float scale;
    uint32_t window;      /* positions that a row sees, itself included; 0 = all */
    struct dacts o;       /* n_cols = n_heads * head_dim */
    struct dptr partial;  /* float, attend_partial_floats(): the splits' results */
    struct dptr counters; /* uint32 [most rows of a call, n_kv_heads * groups]; zero, and left so */
};
/* Rows one by one: the positions of a row are split among blocks, the last of which combines. How
 * they are split follows from the row's position, the heads and the device's n_sms, so that a row's
 * bits do not depend on the step. list: uint32 [n] rows of the step, none = 0, 1, 2.. ; n_ctx
 * bounds their positions. */
cudaError_t kernel_attend(const struct attend *job, const struct dstep *step, struct dptr list,
                          size_t n, size_t n_ctx, const struct dqueue *on);
/* How many blocks share a row that sees n_pages pages. */
size_t attend_splits(const struct dkv *kv, size_t n_pages, const struct dqueue *on);
size_t attend_partial_floats(const struct dkv *kv, size_t n_rows, size_t n_ctx,
                             const struct dqueue *on);
size_t attend_counters(const struct dkv *kv, size_t n_rows);

/* Rows of one sequence in tiles, on tensor cores; writes forms F16 and F32 of o. */
enum { ATTEND_TILE = 64 };
struct attend_tile {
    uint32_t row, n_rows; /* rows [row, row + n_rows) of the step, consecutive positions of one
                             sequence; n_rows <= ATTEND_TILE */
};
bool attend_tiled_supports(uint32_t head_dim); /* 64, 80, 96, 128 */
cudaError_t kernel_attend_tiled(const struct attend *job, const struct dstep *step,
                                struct dptr tiles, size_t n_tiles, const struct dqueue *on);

/* ---------------------------------------------------------------- picking tokens */

enum { TOP_MAX = 64 };
/* For each of n rows of logits [n, n_vocab]: the k <= TOP_MAX best, best first, equal ones by
 * ascending id: ids int32 [n, k], values float [n, k]. A row with a NaN among its logits gives id
 * -1 first. scratch: top_scratch_bytes(). */
cudaError_t kernel_top(struct dptr logits, size_t n, size_t n_vocab, size_t k, struct dptr ids,
                       struct dptr values, struct dptr scratch, const struct dqueue *on);
size_t top_scratch_bytes(size_t n, size_t n_vocab, size_t k);
/* After a step of one row per sequence: row i gets token ids[i * k], and the position behind it;
 * history [*count, n] records the tokens, and *count (uint32) goes up by one. A row with id -1
 * stays as it is and -1 is recorded, in this step and, as history tells, in all later ones: a chain
 * of steps begins with *count = 0. */
cudaError_t kernel_advance(const struct dstep *step, struct dptr ids, size_t k, size_t n,
                           struct dptr history, struct dptr count, const struct dqueue *on);

/* ---------------------------------------------------------------- measuring the device */

/* *sum (uint32) += the 32-bit words of `bytes` bytes, a multiple of 16: each is read once. */
cudaError_t kernel_measure_read(struct dptr from, size_t bytes, struct dptr sum,
                                uint32_t blocks_per_sm, const struct dqueue *on);
/* A kernel of n_blocks blocks that does nothing, after the one before it. */
cudaError_t kernel_measure_nothing(uint32_t n_blocks, const struct dqueue *on);

#ifdef __cplusplus
}
#endif

#endif
