/* The launchers of the CUDA kernels, as C functions: this header is all that cuda/ knows of device
 * code. A launcher puts its kernels on the stream and returns without waiting; it returns the error
 * of the launch. Sizes are in elements unless they say bytes. Shapes are outermost first. */
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

/* A stream that kernels are put on, and what its device offers. */
struct dqueue {
    cudaStream_t stream;
    /* A kernel may start before the previous one has ended. */
    bool programmatic;
    /* A capture may contain kernels that have never run. */
    bool graphs;
    uint32_t n_sms;
    /* The most dynamic shared memory that a block can have, bytes. */
    uint32_t shared_bytes;
    uint32_t l2_bytes;
};
/* Makes the device current and fills all fields of *on but the stream. `programmatic` is true only
 * if the code that the driver has chosen for the device waits for the kernel before it, and if
 * graphs keep that dependency. Returns an error such as cudaErrorNoKernelImageForDevice if this
 * build has no code for the device. */
cudaError_t kernel_queue(int device, struct dqueue *on);

/* ---------------------------------------------------------------- weights */

/* At upload the blocks of a quantised type are taken apart: each field of the block goes to a plane
 * of its own. In a plane the fields of all blocks follow one another, row by row. So the codes of a
 * row are contiguous, and every load of them is 16 aligned bytes. Bytes and their meaning stay
 * those of the file. Float types have one plane, whose rows are padded with zeros to 16 bytes. */
enum weight_plane {
    PLANE_CODES, /* low bits, or a float type's elements */
    PLANE_HIGH,  /* the bits above the low ones */
    PLANE_SCALES,
    PLANE_SUPER, /* scales of the scales */
    WEIGHT_PLANES
};

struct plane_field {
    /* Offset and size of the field in the block. bytes 0 means that the type has no such plane. */
    uint16_t at, bytes;
};
struct plane_layout {
    struct plane_field field[WEIGHT_PLANES];
};
/* Returns the planes of a type (enum quant_id, quant.h), or NULL if the kernels cannot read the
 * type. */
const struct plane_layout *plane_layout(uint32_t type);
/* Returns the bytes of one row of a plane. */
size_t plane_row_bytes(uint32_t type, enum weight_plane plane, size_t n_cols);

/* A matrix [n_rows, n_cols] in planes. */
struct dmatrix {
    uint32_t type; /* enum quant_id */
    uint32_t n_rows, n_cols, pad;
    struct dptr plane[WEIGHT_PLANES];
};

/* Fills rows [first, first + n) of m. `file` holds these n rows in device memory, as they stand in
 * the file. Wait for the queue before you launch the first kernel that reads the rows: kernels load
 * weights before they wait for the previous kernel. */
cudaError_t kernel_repack(const struct dmatrix *m, size_t first, size_t n, struct dptr file,
                          const struct dqueue *on);
/* Writes rows [first, first + n) of m to half [n, n_cols rounded up to 8]; the padding is zero. */
cudaError_t kernel_dequant(const struct dmatrix *m, size_t first, size_t n, struct dptr half,
                           const struct dqueue *on);
/* Raises *reach (a float, not negative) to the largest sum of magnitudes of any row of m, taken as
 * halves. No product of m with a row of magnitudes up to 1 exceeds that sum. struct dacts uses
 * it. */
cudaError_t kernel_reach(const struct dmatrix *m, struct dptr reach, const struct dqueue *on);

/* ---------------------------------------------------------------- activations */

/* Rows of activations in the forms that the next product reads. Each row is padded with zeros to
 * `stride` = n_cols rounded up to 32. */
enum act_form {
    ACT_Q8 = 1,  /* q and block: for quantised weights */
    ACT_F32 = 2, /* x: for float weights */
    ACT_F16 = 4  /* half and half_scale: for tensor cores */
};
struct act_block {
    /* A value is d * q, where d = (largest magnitude of the 32 values) / 127. */
    float d;
    /* The sum of q over each half of the block (16 values). */
    int16_t sum[2];
};
struct dacts {
    uint32_t n_cols, stride;
    /* A set of enum act_form: the forms that producers write. */
    uint32_t forms, pad;
    struct dptr q;     /* int8 [n, stride] */
    struct dptr block; /* struct act_block [n, stride / 32] */
    struct dptr x;     /* float [n, stride] */
    struct dptr half;  /* half [n, stride] */
    /* float [n]. A value is half_scale * half; half_scale is a power of two. */
    struct dptr half_scale;
    /* The float of kernel_reach() for the matrices that come next. If it is set, half_scale is made
     * large enough for the products with those matrices to be stored as halves too. If it is none,
     * those products are stored as floats. */
    struct dptr reach;
};

/* ---------------------------------------------------------------- rows of a step */

struct drow {
    int32_t token;
    uint32_t pos;
    uint32_t seq; /* index of its row in the page table */
    uint32_t rope_set;
};

/* The step, described in device memory, so that one captured graph serves every step. */
struct dstep {
    struct dptr rows;     /* struct drow [n_rows] */
    struct dptr pages;    /* uint32 [n_seqs, page_stride]: pages[seq][pos / KV_PAGE] */
    uint32_t page_stride; /* pages for n_ctx positions */
    uint32_t pad;
};

/* Row i of x [n, dim] = the row of the table for the i-th token of the step. n * dim may exceed
 * 2^31. */
cudaError_t kernel_embed(const struct dmatrix *table, const struct dstep *step, size_t n,
                         struct dptr x, const struct dqueue *on);

/* ---------------------------------------------------------------- norms and the like, for GEMMs */

/* out row i = rmsnorm(x row) * weight, for rows of x [., dim]. `rows` picks the rows of x. */
struct norm {
    struct dptr x, weight; /* float [., dim], float [dim] */
    struct dptr rows;      /* uint32 [n]; none = 0, 1, 2.. */
    uint32_t dim;
    float eps;
};
cudaError_t kernel_norm(const struct norm *norm, size_t n, const struct dacts *out,
                        const struct dqueue *on);
/* out row = silu(gate) * up. Returns cudaErrorInvalidValue in two cases. One is that out->n_cols is
 * a multiple of 4 and `stride` is not: the kernel then reads four elements at once, so every row
 * must begin at a multiple of four. The other is that there is a bias and the elements are
 * halves. */
struct swiglu {
    struct dptr gate, up; /* [n, out->n_cols], rows stride elements apart */
    /* float [n], for gate and for up: a value is scale * element; none = 1. */
    struct dptr scale[2];
    /* If halves is not 0, the elements are halves, else floats. */
    uint32_t stride, halves;
    /* float [out->n_cols], added to the values of gate and of up. Both are set, or none. */
    struct dptr bias[2];
};
cudaError_t kernel_swiglu(const struct swiglu *job, size_t n, const struct dacts *out,
                          const struct dqueue *on);
/* out row = x row, for x float [n, out->n_cols] */
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
    /* The number of matrices. They all have the same n_cols; their types may differ. */
    uint32_t n_w;
    /* SWIGLU has 2 matrices of equal n_rows, ADD has 1. */
    struct dmatrix w[3];
    struct dptr bias[3]; /* for STORE: float [w[i].n_rows], may be none */
    struct dptr out[3];  /* float [n, w[i].n_rows] */
    /* For SWIGLU: takes the result, in its forms (Q8 and F32). */
    struct dacts acts;
    /* The input. If norm.x is set, each block normalises and quantises the rows itself; otherwise
     * `in` holds the rows that the producer has left. */
    struct norm norm;
    struct dacts in;
};
/* Computes rows [0, n) for any n, up to MATVEC_ROWS in one pass. The bits of a row do not depend on
 * n. Returns cudaErrorInvalidConfiguration if a row that is to be normalised does not fit into
 * shared_bytes, and cudaErrorInvalidValue if the kernels cannot read a type. */
cudaError_t kernel_matvec(const struct matvec *job, size_t n, const struct dqueue *on);

/* ---------------------------------------------------------------- attention */

/* The pool of one layer. K and V are blocks [n_pages, n_kv_heads]; each may have more than 2^31
 * elements. A block of f16 is half [KV_PAGE, head_dim]. A block of q8_0 (head_dim is then a
 * multiple of 32) is the codes, int8 [KV_PAGE, head_dim], followed by the scales, half [KV_PAGE,
 * head_dim / 32]. */
enum { ATTEND_PAGE = 64 /* positions of a page */, ATTEND_SPLITS = 64 /* at most, for one row */ };
struct dkv {
    struct dptr k, v; /* of this layer */
    uint32_t n_heads, n_kv_heads, head_dim;
    uint16_t type[2]; /* weft_kv_type of K and of V */
};

/* Adds bias, applies the per-head norm and RoPE to q and k, writes q to q_out, and k and v to the
 * pages of the rows' sequences. */
struct heads {
    struct dptr q;    /* float [n, n_heads * head_dim] */
    struct dptr k, v; /* float [n, n_kv_heads * head_dim] */
    /* float [n], for q, k and v: a value is scale * float; none = 1. */
    struct dptr scale[3];
    /* Takes q in the shape of `q`, without gaps. None leaves q in place, which needs stride 0. */
    struct dptr q_out;
    /* Floats from row to row of q, k and v; 0 means that the rows of each have no gaps. */
    uint32_t stride, pad;
    struct dptr bias[3];        /* for q, k and v; each may be none */
    struct dptr q_norm, k_norm; /* float [head_dim], may be none */
    /* double [., n_rot / 2]: half turns (angle / pi) per position, for each rope_set of a row. */
    struct dptr turns;
    uint32_t n_rot;
    /* If not 0, the pairs are (i, i + n_rot / 2), else (2i, 2i + 1). */
    uint32_t neox;
    float rope_factor; /* multiplies sine and cosine */
    float eps;
    struct dkv kv;
};
cudaError_t kernel_heads(const struct heads *job, const struct dstep *step, size_t n,
                         const struct dqueue *on);

/* A row of o is softmax attention of the row's q over its sequence's positions up to its own. */
struct attend {
    struct dptr q; /* float [., n_heads * head_dim] */
    struct dkv kv;
    float scale;
    /* The number of positions that a row sees, its own included; 0 = all. */
    uint32_t window;
    struct dacts o; /* n_cols = n_heads * head_dim */
    /* float [attend_partial_floats()]: the results of the splits. */
    struct dptr partial;
    /* uint32 [most rows of a call, n_kv_heads * groups]. All are 0 before and after the call. */
    struct dptr counters;
};
/* Computes row by row. The positions of a row are split among blocks, and the last block to finish
 * combines the results. The row's position, the heads and the device's n_sms decide how they are
 * split, so the bits of a row do not depend on the other rows of the step. list: uint32 [n], rows
 * of the step; none = 0, 1, 2... Their positions are below n_ctx. */
cudaError_t kernel_attend(const struct attend *job, const struct dstep *step, struct dptr list,
                          size_t n, size_t n_ctx, const struct dqueue *on);
/* Returns how many blocks share a row that sees n_pages pages. */
size_t attend_splits(const struct dkv *kv, size_t n_pages, const struct dqueue *on);
size_t attend_partial_floats(const struct dkv *kv, size_t n_rows, size_t n_ctx,
                             const struct dqueue *on);
size_t attend_counters(const struct dkv *kv, size_t n_rows);

/* Computes tiles of rows of one sequence on tensor cores. Writes o in the forms F16 and F32. */
enum { ATTEND_TILE = 64 };
struct attend_tile {
    /* Rows [row, row + n_rows) of the step are consecutive positions of one sequence; n_rows <=
     * ATTEND_TILE. */
    uint32_t row, n_rows;
};
/* True for 64, 80, 96 and 128. */
bool attend_tiled_supports(uint32_t head_dim);
cudaError_t kernel_attend_tiled(const struct attend *job, const struct dstep *step,
                                struct dptr tiles, size_t n_tiles, const struct dqueue *on);

/* ---------------------------------------------------------------- picking tokens */

enum { TOP_MAX = 64 };
/* Finds the k <= TOP_MAX best of each of n rows of logits [n, n_vocab]: ids int32 [n, k] and values
 * float [n, k]. The best comes first; equal logits are ordered by ascending id. If a row has a NaN
 * among its logits, its first id is -1. scratch has top_scratch_bytes() bytes. */
cudaError_t kernel_top(struct dptr logits, size_t n, size_t n_vocab, size_t k, struct dptr ids,
                       struct dptr values, struct dptr scratch, const struct dqueue *on);
size_t top_scratch_bytes(size_t n, size_t n_vocab, size_t k);
/* Goes on to the next step, where every sequence has one row: row i gets the token ids[i * k] and
 * the position after its own. history [*count, n] records the tokens, and *count (uint32) goes up
 * by one. If the id is -1, the row stays as it is, and history records -1 for it in this step and
 * in all later ones. A chain of steps begins with *count = 0. */
cudaError_t kernel_advance(const struct dstep *step, struct dptr ids, size_t k, size_t n,
                           struct dptr history, struct dptr count, const struct dqueue *on);

/* ---------------------------------------------------------------- measuring the device */

/* Adds the 32-bit words of `bytes` bytes, a multiple of 16, to *sum (uint32). Every byte is read
 * once. */
cudaError_t kernel_measure_read(struct dptr from, size_t bytes, struct dptr sum,
                                uint32_t blocks_per_sm, const struct dqueue *on);
/* Launches a kernel of n_blocks blocks that does nothing, behind the kernels already on the
 * stream. */
cudaError_t kernel_measure_nothing(uint32_t n_blocks, const struct dqueue *on);

#ifdef __cplusplus
}
#endif

#endif
