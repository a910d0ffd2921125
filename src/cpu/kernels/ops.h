/* The arithmetic of the CPU backend, once per instruction set: dot_scalar.c, dot_avx2.c,
 * dot_avx512.c compile the same dot_body.inc over their own 16-lane vector type; the words are
 * those of pack.h. All three give the same bits: in matrix products a lane is a row of weights,
 * whose columns are added in their order; other sums run over 16 lanes in one fixed order, which
 * are folded by the tree l+8, l+4, l+2, l+1; products are fused (fmaf). The result for one row
 * never depends on how many rows are in the call. */
#ifndef WEFT_CPU_OPS_H
#define WEFT_CPU_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/kv_block.h"
#include "cpu/pack.h"

/* Of 32 activations: value i is about d * q[i]. The sums are d * (sum of q), of all and of each
 * half. */
struct act_scale {
    float d;
    float sum32, sum16[2];
};

/* Rows of activations quantised to 8 bits in blocks of 32, one scale each. Columns up to a multiple
 * of 32 are zeros; what is behind them, up to `stride` = n_cols rounded up to a multiple of 64, is
 * not read. Allocated once by the backend; what the weights do not ask for is NULL. */
struct acts {
    size_t n_cols, stride;
    /* [n_rows, stride], 64-byte aligned rows, values -127..127 */
    int8_t *q;
    /* [n_rows, stride / 32], with q */
    struct act_scale *scales;
    /* [n_rows, stride] as q, of each four the even ones before the odd ones. Kept where
     * ops->reads_q16, for weights whose pack_top() is above NARROW_TOP. */
    int16_t *q16;
    /* [n_rows, stride] the values themselves: for weights that are floats */
    float *x;
};

/* Attention of rows at consecutive positions of one sequence, in the query heads that share one KV
 * head. */
struct attention {
    /* row r and head h of both stand at r * ld + h * head_dim; head_dim is a multiple of 2 */
    const float *q;
    float *out;
    size_t ld, n_rows, n_heads, head_dim;
    /* of q . k */
    float scale;
    /* of the first row */
    size_t pos;
    /* positions that a row sees, itself included; 0 = all before it */
    size_t window;
    /* pages[p / KV_PAGE] holds position p, for all that the rows see */
    const uint32_t *pages;
    /* K and V: the block (kv_block.h) of a page stands at blocks + page * ld */
    struct {
        weft_kv_type type;
        const uint8_t *blocks;
        size_t ld;
    } kv[2];
    /* attend_scratch_bytes(n_rows * n_heads, head_dim), 64-byte aligned */
    void *scratch;
};

/* Columns [col, col + 32 n_blocks) of a tile in the one form that all packed types can be brought
 * to: w = s * u + m. */
struct piece {
    /* u, [n_blocks, 8, VECTOR] */
    const uint8_t *codes;
    /* [n_blocks * 32 / sub, TILE_ROWS] */
    float *s, *m;
    size_t col, n_blocks;
};

/* Memory that is needed soon: while a tile is multiplied with few rows of activations, as many
 * bytes as it has are brought nearer, from `at` on, and those that would come from `end` on from
 * `next` on. They are addresses, and only hints: any will do. */
struct prefetch {
    uintptr_t at, end, next;
};

/* Codes up to this can be multiplied with bytes on every instruction set; larger ones would wrap
 * the sums of AVX2. */
enum { NARROW_TOP = 63 };

#define INLINE static inline __attribute__((always_inline))

struct cpu_ops {
    /* "scalar", "avx2", "avx512-vnni" */
    const char *name;
    /* of acts, with codes above NARROW_TOP */
    bool reads_q16;

    /* Fills row `row` of a from x[n_cols]. */
    void (*quantize)(const float *x, struct acts *a, size_t row);
    /* Fills columns [col, col + 32) of rows [first, first + n_r) from x[n_r, 32]; col is a multiple
     * of 32. The same bits as of whole rows. */
    void (*quantize_part)(const float *x, struct acts *a, size_t first, size_t n_r, size_t col);

    /* out[r * ld + i] = dot(row i of the tile, activation row first + r), for i in [0, n_w), r in
     * [0, n_r); n_w <= TILE_ROWS, n_r <= MATMUL_ROWS; with `add`, out += dot. tile: one of w's,
     * 64-byte aligned. prefetch: what to ask memory for, may be NULL. scratch: MATMUL_SCRATCH
     * bytes, 64-byte aligned, per thread. */
    void (*matmul)(const struct packed *w, const uint8_t *tile, size_t n_w, const struct acts *a,
                   size_t first, size_t n_r, bool add, float *out, size_t ld,
                   const struct prefetch *prefetch, void *scratch);

    /* Columns [col, col + n_cols) of a tile, whole units and at most PIECE_COLS, of a type that has
     * codes. room: PIECE_BYTES, 64-byte aligned; the piece lies in it and in the tile. */
    struct piece (*piece)(const struct packed *w, const uint8_t *tile, size_t col, size_t n_cols,
                          void *room);

    /* out = x / sqrt(mean(x^2) + eps) * w; out may be x. */
    void (*rmsnorm)(const float *x, const float *w, size_t n, float eps, float *out);
    /* h = silu(gate) * up, [n]; h may be gate. */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *h);
    /* x += y, [n] */
    void (*add)(float *x, const float *y, size_t n);
    void (*to_f16)(const float *x, size_t n, f16_bits *out);

    /* out = sum_t softmax_t(scale * q . k[t]) v[t] over the positions t that a row sees. What
     * stands in the others is not looked at: it may be anything. The bits of a row depend on q, and
     * on the numbers and the contents of these positions alone. */
    void (*attend)(const struct attention *a);

    /* For measuring the processor. Reads p[n] as fast as it can; returns the sum. */
    uint64_t (*read)(const uint64_t *p, size_t n);
    /* Multiplies bytes of ones[BURST_BYTES], all of which are 1, and adds the products, n times
     * over, as the product of two matrices of 4-bit codes would: nothing to unpack or to scale, all
     * of it near. Returns the sum, which is the number of multiply-adds. n <= BURST_MOST. */
    uint64_t (*mac_burst)(const uint8_t *ones, size_t n);
};

enum { BURST_BYTES = 1024, BURST_MOST = 1 << 24 };

/* The most rows of activations in a call of matmul, and the most of which it counts as few. */
enum { MATMUL_ROWS = 128, MATMUL_FEW = 7 };

/* A piece: its codes stay in the first cache while rows of activations pass by. Its columns are a
 * multiple of every unit; its bytes are those of s, m and the codes. */
enum {
    PIECE_COLS = 512,
    PIECE_BYTES = (2 * PIECE_COLS / 16 * sizeof(float) + PIECE_COLS) * TILE_ROWS,
    MATMUL_SCRATCH = MATMUL_ROWS * TILE_ROWS * sizeof(float) + PIECE_BYTES
};

/* attend.c; SIZE_MAX when that is beyond any memory. */
size_t attend_scratch_bytes(size_t n_queries, size_t head_dim);

/* NULL when this processor (or this build) lacks the instructions. */
const struct cpu_ops *cpu_ops_scalar(void);
const struct cpu_ops *cpu_ops_avx2(void);
const struct cpu_ops *cpu_ops_avx512(void);

/* dot_scalar.c: what matmul computes, in plain C and to the bit, of one row of Q4_K as it is in the
 * file, [a->n_cols], with activation row `row`. For readers, and for the test that holds the
 * kernels to it. */
float dot_row_q4_k(const struct block_q4_k *w, const struct acts *a, size_t row);

#endif
