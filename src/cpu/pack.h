/* How the CPU keeps weights: in tiles of 16 rows. A vector holds the same columns of 16 rows, so a
 * row is a lane of it, and 16 dot products are computed side by side. The layout is the same for
 * every instruction set, so that engines share the weights. It keeps what the file says:
 * dequantising a tile gives the bits that dequantising the file gives.
 *
 * A tile holds all columns of its rows, first the scales of all units, then the codes of all blocks
 * (tests/cpu/test_pack.c holds the code to these drawings):
 *
 *     | scales: unit 0 | unit 1 | ... | pad to 64 | codes: block 0 | block 1 | ... | pad to 64 |
 *
 * A unit of scales is made of fields, each of which holds the values of the 16 rows in their order.
 * The form of the tensor type says which fields there are. Q4_K has 320 bytes:
 *
 *     | d: 32 | e: 32 | k of sub 0: 16 | of sub 1: 16 | ... | l of sub 0: 16 | of sub 1: 16 | ... |
 *
 * A block of codes holds 32 columns. Codes that are bytes, as those of Q8_0 are, fill 8 vectors of
 * 64 bytes, one for each group of 4 columns (c0 is the first column of the block):
 *
 *                  row 0               row 1                    row 15
 *     vector 0   | c0  c1  c2  c3  |   c0  c1  c2  c3  | ... |  c0  c1  c2  c3  |   group 0
 *     vector 1   | c4  c5  c6  c7  |   c4  c5  c6  c7  | ... |  c4  c5  c6  c7  |   group 1
 *     ...
 *     vector 7   | c28 c29 c30 c31 |   c28 c29 c30 c31 | ... |  c28 c29 c30 c31 |   group 7
 *       byte       0   1   2   3       4   5   6   7            60  61  62  63
 *
 * Codes of fewer bits share vectors: a byte holds the codes of several groups, for the same row and
 * the same place in the group. A code may be cut into two planes. Q5_K keeps 4 low bits in the
 * first plane and 1 high bit in the second, so its blocks are 5 vectors:
 *
 *                  bits 7 6 5 4   bits 3 2 1 0   of each byte
 *     vector 0   | group 4      | group 0      |   first plane
 *     vector 1   | group 5      | group 1      |
 *     vector 2   | group 6      | group 2      |
 *     vector 3   | group 7      | group 3      |
 *     vector 4   | groups 7 6 5 4 3 2 1 0      |   second plane, a bit for each group
 *
 * The words that the CPU's products use:
 *     row         a row of the weight matrix; those of the input are called rows of activations
 *     lane        the part of a vector that belongs to one row
 *     tile        16 rows with all their columns
 *     unit        the columns that share d and e: a block of the tensor type, 32 or 256 columns
 *     sub         the columns that share s and m: a part of a unit, 16 or 32 columns
 *     block       32 columns of a tile
 *     group       4 columns of a block
 *     vector      64 bytes, 4 for each row
 *     plane       the vectors of a block that hold the low bits of its codes, or the high bits
 *     code, u     a weight as the file has it, an unsigned integer
 *     s, m        scale and offset, which make a weight of a code: s * u + m
 *     d, e        what s and m of a whole unit are made of, f16
 *     k, l        what s and m of one sub are made of, integers
 *     form        the formula that makes s and m
 *     piece       up to 512 columns of a tile, brought to codes of a byte and to s and m as floats
 *     few, many   few rows of activations are multiplied with codes as they are packed; with more
 *                 than MATMUL_FEW of them a piece is made first, and serves them all */
#ifndef WEFT_CPU_PACK_H
#define WEFT_CPU_PACK_H

#include "format/quant.h"

/* VECTOR is in bytes. */
enum { TILE_ROWS = 16, BLOCK_COLS = 32, VECTOR = 64 };

/* How s and m of a sub are computed. `bias` is what the type subtracts from its codes. */
enum scale_form {
    /* There are no codes. The weights are floats [n_cols, TILE_ROWS], in the format of the file. */
    SCALE_NONE,
    /* d: s = d, m = -bias d */
    SCALE_BIAS,
    /* d, e: s = d, m = e */
    SCALE_OFFSET,
    /* d, signed k: s = d k, m = -bias s */
    SCALE_SIGNED,
    /* d, e, k, l: s = d k, m = -e l */
    SCALE_PAIR,
    /* The formula of SCALE_PAIR, but k is in the low half of a byte and l in the high half. */
    SCALE_NIBBLES,
};

/* Lists every tensor type whose weights are codes. The CPU knows of a type only its row here and
 * its reader in pack_read.c: the table of pack.c and the kernels of every instruction set are made
 * from the row.
 *
 * Columns: type; the same name in lower case; form; columns of a unit; bits of a code in the first
 * plane; bits in the second; columns of a sub; bias; whether the codes stand for quant_iq4_values +
 * 128. */
#define PACK_TYPES(X)                                                                              \
    X(Q4_0, q4_0, SCALE_BIAS, 32, 4, 0, 32, 8, false)                                              \
    X(Q4_1, q4_1, SCALE_OFFSET, 32, 4, 0, 32, 0, false)                                            \
    X(Q5_0, q5_0, SCALE_BIAS, 32, 4, 1, 32, 16, false)                                             \
    X(Q5_1, q5_1, SCALE_OFFSET, 32, 4, 1, 32, 0, false)                                            \
    X(Q8_0, q8_0, SCALE_BIAS, 32, 8, 0, 32, 128, false)                                            \
    X(Q2_K, q2_k, SCALE_NIBBLES, 256, 2, 0, 16, 0, false)                                          \
    X(Q3_K, q3_k, SCALE_SIGNED, 256, 2, 1, 16, 4, false)                                           \
    X(Q4_K, q4_k, SCALE_PAIR, 256, 4, 0, 32, 0, false)                                             \
    X(Q5_K, q5_k, SCALE_PAIR, 256, 4, 1, 32, 0, false)                                             \
    X(Q6_K, q6_k, SCALE_SIGNED, 256, 4, 2, 16, 32, false)                                          \
    X(IQ4_NL, iq4_nl, SCALE_BIAS, 32, 4, 0, 32, 128, true)                                         \
    X(IQ4_XS, iq4_xs, SCALE_SIGNED, 256, 4, 0, 32, 128, true)

/* The types whose weights are floats: type, name, bytes of a weight. */
#define PACK_FLOATS(X)                                                                             \
    X(F32, f32, 4)                                                                                 \
    X(F16, f16, 2)                                                                                 \
    X(BF16, bf16, 2)

/* How a tensor type is packed, from a row of PACK_TYPES. bits[] is for the two planes. */
struct pack_type {
    uint32_t id;
    enum scale_form form;
    uint16_t unit;
    uint8_t bits[2], sub, bias;
    bool lookup;
};

/* PACK_TYPES(X) with this gives initialisers of struct pack_type. */
#define PACK_TYPE(type, name, form, unit, low, high, sub, bias, lookup)                            \
    {                                                                                              \
        QUANT_##type, form, unit, { low, high }, sub, bias, lookup                                 \
    }

/* Returns the largest code of a type, or the largest value that a code stands for. */
static inline int pack_top(const struct pack_type *how)
{
    return how->lookup ? 255 : (1 << (how->bits[0] + how->bits[1])) - 1;
}

/* Returns the bytes of scales that each row has in a unit of n_subs subs. */
static inline size_t pack_scale_bytes(enum scale_form form, size_t n_subs)
{
    switch (form) {
    case SCALE_NONE: return 0;
    case SCALE_BIAS: return 2;
    case SCALE_OFFSET: return 4;
    case SCALE_SIGNED: return 2 + n_subs;
    case SCALE_PAIR: return 4 + 2 * n_subs;
    case SCALE_NIBBLES: return 4 + n_subs;
    }
    return 0;
}

/* The layout of a tile, in bytes. unit_bytes: a unit of scales. code_bytes: a block of codes, or a
 * column if SCALE_NONE. codes: where the codes begin. n: the whole tile, a multiple of VECTOR. */
struct tile_layout {
    size_t unit_bytes, code_bytes, codes, n;
};

/* A weight matrix [n_rows, n_cols]. rows: the rows in the file. tiles: [ceil(n_rows / TILE_ROWS)],
 * each `stride` bytes behind the tile before it; NULL if a tile is packed only when it is
 * needed. */
struct packed {
    const struct quant_type *type;
    const struct pack_type *how;
    struct tile_layout layout;
    size_t n_rows, n_cols;
    const uint8_t *rows;
    uint8_t *tiles;
    size_t stride;
};

/* Describes a matrix whose tiles have no memory yet. */
struct packed pack_describe(const struct quant_type *type, const uint8_t *rows, size_t n_rows,
                            size_t n_cols);
static inline size_t pack_n_tiles(const struct packed *w)
{
    return (w->n_rows + TILE_ROWS - 1) / TILE_ROWS;
}

/* Returns the i-th tile. tiles must not be NULL. */
static inline uint8_t *pack_tile_at(const struct packed *w, size_t i)
{
    return w->tiles + i * w->stride;
}

/* Packs the i-th tile into `tile`, which has layout.n bytes. Rows past the last one become
 * zeros. */
void pack_tile(const struct packed *w, size_t i, uint8_t *tile);

/* In pack_row.c: writes row i of a packed matrix as floats [n_cols], bit-equal to type->decode.
 * room: PIECE_BYTES (ops.h), 64-byte aligned. */
struct cpu_ops;
void pack_row(const struct cpu_ops *ops, const struct packed *w, size_t i, float *dst, void *room);

/* In pack_read.c: reads a unit of one row, which is a block of the file, and separates its
 * parts. */
struct pack_unit {
    uint8_t codes[256];
    f16_bits d, e;
    uint8_t k[16], l[16];
};
void pack_read(const struct quant_type *type, const uint8_t *src, struct pack_unit *u);

#endif
