/* The arithmetic of the CPU backend. dot_scalar.c, dot_avx2.c and dot_avx512.c compile the same
 * dot_body.inc, each over its own type of vectors with 16 lanes; pack.h explains the words. All
 * three give the same bits. In a matrix product a lane is a row of weights, whose columns are added
 * in their order. Other sums run over 16 lanes in one fixed order, and the lanes are folded by the
 * tree l+8, l+4, l+2, l+1. Products are fused (fmaf). The result for a row never depends on how
 * many rows are in the call. */
#ifndef WEFT_CPU_OPS_H
#define WEFT_CPU_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/kv_block.h"
#include "cpu/pack.h"

/* The scale of 32 quantised activations: value i is about d * q[i]. The sums are d * (sum of q),
 * over all 32 and over each half. */
struct act_scale {
    float d;
    float sum32, sum16[2];
};

/* Rows of activations, quantised to 8 bits in blocks of 32 with one scale each. Columns behind
 * n_cols are zeros up to a multiple of 32; the columns behind those, up to `stride` = n_cols
 * rounded up to a multiple of 64, are not read. The backend allocates the arrays once; an array
 * that no weights read is NULL. */
struct acts {
    size_t n_cols, stride;
    /* [n_rows, stride] Rows are 64-byte aligned, values are -127..127. */
    int8_t *q;
    /* [n_rows, stride / 32] The scales of q. */
    struct act_scale *scales;
    /* [n_rows, stride] The values of q; of each four, the even ones come before the odd ones.
     * Present if ops->reads_q16, for weights whose pack_top() is above NARROW_TOP. */
    int16_t *q16;
    /* [n_rows, stride] The values before quantisation, for weights that are floats. */
    float *x;
};

/* Attention of rows at consecutive positions of one sequence, in the query heads that share a KV
 * head. */
struct attention {
    /* In both q and out, head h of row r stands at r * ld + h * head_dim. head_dim is a multiple of
     * 2. */
    const float *q;
    float *out;
    size_t ld, n_rows, n_heads, head_dim;
    /* The factor of q . k. */
    float scale;
    /* The position of the first row. */
    size_t pos;
    /* The number of positions that a row sees, itself included; 0 = all up to its own. */
    size_t window;
    /* pages[p / KV_PAGE] holds position p, for all positions that the rows see. */
    const uint32_t *pages;
    /* For K and for V: the block (kv_block.h) of a page stands at blocks + page * ld. */
    struct {
        weft_kv_type type;
        const uint8_t *blocks;
        size_t ld;
    } kv[2];
    /* attend_scratch_bytes(n_rows * n_heads, head_dim) bytes, 64-byte aligned. */
    void *scratch;
};

/* Columns [col, col + 32 n_blocks) of a tile, in the form w = s * u + m, to which all packed types
 * can be converted. */
struct piece {
    /* [n_blocks, 8, VECTOR] The codes u. */
    const uint8_t *codes;
    /* [n_blocks * 32 / sub, TILE_ROWS] The scales and offsets. */
    float *s, *m;
    size_t col, n_blocks;
};

/* The memory to request while a tile is multiplied with few rows of activations. As many bytes are
 * requested as the tile has, from `at` on; when `end` is reached, the request continues at `next`.
 * The addresses are only hints, so any value is allowed. */
struct prefetch {
    uintptr_t at, end, next;
};

/* The largest code that every instruction set can multiply as a byte. Larger codes would overflow
 * the 16-bit sums of AVX2. */
enum { NARROW_TOP = 63 };

#define INLINE static inline __attribute__((always_inline))

struct cpu_ops {
    /* "scalar", "avx2", "avx512-vnni" */
    const char *name;
    /* True if matmul reads acts.q16 for codes above NARROW_TOP. */
    bool reads_q16;

    /* Fills row `row` of a from x[n_cols]. */
    void (*quantize)(const float *x, struct acts *a, size_t row);
    /* Fills columns [col, col + 32) of rows [first, first + n_r) from x[n_r, 32], with the bits
     * that quantize() gives. col is a multiple of 32. */
    void (*quantize_part)(const float *x, struct acts *a, size_t first, size_t n_r, size_t col);

    /* Computes out[r * ld + i] = dot(row i of the tile, activation row first + r), for i in [0,
     * n_w) and r in [0, n_r). With `add`, out += dot. n_w <= TILE_ROWS, n_r <= MATMUL_ROWS. tile: a
     * tile of w, 64-byte aligned. prefetch: the memory to request; may be NULL. scratch:
     * MATMUL_SCRATCH bytes, 64-byte aligned, for each thread. */
    void (*matmul)(const struct packed *w, const uint8_t *tile, size_t n_w, const struct acts *a,
                   size_t first, size_t n_r, bool add, float *out, size_t ld,
                   const struct prefetch *prefetch, void *scratch);

    /* Converts columns [col, col + n_cols) of a tile, whose type has codes. The columns are whole
     * units, at most PIECE_COLS. room: PIECE_BYTES, 64-byte aligned. The piece points into room and
     * into the tile. */
    struct piece (*piece)(const struct packed *w, const uint8_t *tile, size_t col, size_t n_cols,
                          void *room);

    /* out = x / sqrt(mean(x^2) + eps) * w; out may be x. */
    void (*rmsnorm)(const float *x, const float *w, size_t n, float eps, float *out);
    /* h = silu(gate) * up, [n]; h may be gate. */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *h);
    /* x += y, [n] */
    void (*add)(float *x, const float *y, size_t n);
    void (*to_f16)(const float *x, size_t n, f16_bits *out);

    /* Computes out = sum_t softmax_t(scale * q . k[t]) v[t] over the positions t that a row sees.
     * Positions that no row sees are never read; they may hold garbage. The bits of a row depend
     * only on q, and on the numbers and the contents of the positions that the row sees. */
    void (*attend)(const struct attention *a);

    /* For measuring the processor: reads p[n] as fast as it can, and returns the sum. */
    uint64_t (*read)(const uint64_t *p, size_t n);
    /* For measuring the processor: multiplies bytes of ones[BURST_BYTES], which are all 1, and adds
     * the products, in n rounds. This is what the product of two matrices of 4-bit codes does,
     * without unpacking and scaling, and with all bytes in the nearest cache. Returns the sum,
     * which is the number of multiply-adds. n <= BURST_MOST. */
    uint64_t (*mac_burst)(const uint8_t *ones, size_t n);
};

enum { BURST_BYTES = 1024, BURST_MOST = 1 << 24 };

/* The most rows of activations in a call of matmul, and the most rows that are multiplied with
 * packed codes ("few" in pack.h). */
enum { MATMUL_ROWS = 128, MATMUL_FEW = 7 };

/* A piece is so small that its codes stay in the first cache while rows of activations are
 * multiplied with it. PIECE_COLS is a multiple of every unit. PIECE_BYTES is for s, m and the
 * codes. */
enum {
    PIECE_COLS = 512,
    PIECE_BYTES = (2 * PIECE_COLS / 16 * sizeof(float) + PIECE_COLS) * TILE_ROWS,
    MATMUL_SCRATCH = MATMUL_ROWS * TILE_ROWS * sizeof(float) + PIECE_BYTES
};

/* In attend.c. Returns SIZE_MAX if the size does not fit into size_t. */
size_t attend_scratch_bytes(size_t n_queries, size_t head_dim);

/* These return NULL if this processor or this build lacks the instructions. */
const struct cpu_ops *cpu_ops_scalar(void);
const struct cpu_ops *cpu_ops_avx2(void);
const struct cpu_ops *cpu_ops_avx512(void);

/* In dot_scalar.c, for readers, and for the test of the kernels: computes in plain C, and to the
 * bit, what matmul computes for one row of Q4_K in the format of the file, [a->n_cols], and
 * activation row `row`. */
float dot_row_q4_k(const struct block_q4_k *w, const struct acts *a, size_t row);

#endif
