/* Weights as the CPU kernels read them: tiles of 16 rows, in which rows are lanes. A tile holds the
 * scales of all its columns, then the codes. Codes go in blocks of 32 columns: column 4 g + j of
 * row r is byte 4 r + j of vector g of 8; with fewer than 8 bits several vectors share one. The
 * layout is the same for every instruction set, so that engines share the weights, and it keeps
 * what the file says: dequantising gives the same bits. */
#ifndef WEFT_CPU_PACK_H
#define WEFT_CPU_PACK_H

#include "format/quant.h"

enum { TILE_ROWS = 16, TILE_BLOCK = 32, VECTOR = 64 };

/* What gives w = s * u + m, for unsigned codes u, of each group of `sub` columns. */
enum scale_form {
    SCALE_NONE,    /* floats, as stored: [n_cols, TILE_ROWS], no codes */
    SCALE_BIAS,    /* f16 d: s = d, m = -bias d */
    SCALE_OFFSET,  /* f16 d, m: s = d, m */
    SCALE_SIGNED,  /* f16 d of a unit, i8 k: s = d k, m = -bias s */
    SCALE_PAIR,    /* f16 d, e of a unit, u8 k, l: s = d k, m = -e l */
    SCALE_NIBBLES, /* as SCALE_PAIR, k and l in one byte, k the low half */
};

/* Bytes of scales for each row of a unit of n_subs groups. */
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

/* How a tensor type is packed. */
struct pack_type {
    uint32_t id;
    enum scale_form form;
    uint8_t bits[2]; /* of a code, in its first plane of vectors and in its second */
    uint8_t sub;     /* columns that share a scale: 16 or 32 */
    uint8_t bias;
    bool lookup; /* codes stand for values of quant_iq4_values + 128 */
};

/* Where the parts of a tile stand. A unit is a block of the tensor type: 32 or 256 columns. */
struct tile_layout {
    size_t unit_cols, unit_bytes; /* scales of one unit */
    size_t code_bytes;            /* of one block of 32 columns; of one column if SCALE_NONE */
    size_t codes, n;              /* offset of the codes; bytes of a tile, a multiple of VECTOR */
};

/* A weight matrix [n_rows, n_cols]. */
struct packed {
    const struct quant_type *type;
    const struct pack_type *how;
    struct tile_layout layout;
    size_t n_rows, n_cols;
    const uint8_t *rows; /* as in the file */
    uint8_t *tiles;      /* [ceil(n_rows / TILE_ROWS)]; NULL: packed whenever they are needed */
    size_t stride;       /* bytes from one tile to the next */
};

/* Describes a matrix whose tiles have no memory yet. */
struct packed pack_describe(const struct quant_type *type, const uint8_t *rows, size_t n_rows,
                            size_t n_cols);
static inline size_t pack_n_tiles(const struct packed *w)
{
    return (w->n_rows + TILE_ROWS - 1) / TILE_ROWS;
}

/* The i-th tile; tiles is not NULL. */
static inline uint8_t *pack_tile_at(const struct packed *w, size_t i)
{
    return w->tiles + i * w->stride;
}

/* Packs the i-th tile into room of layout.n bytes; rows past the last one are zeros. */
void pack_tile(const struct packed *w, size_t i, uint8_t *tile);

/* pack_row.c: row i of a packed matrix as floats [n_cols], bit-equal to type->decode. */
void pack_row(const struct packed *w, size_t i, float *dst);

/* pack_read.c: one block of a tensor type taken apart. */
struct pack_block {
    uint8_t codes[256];
    f16_bits d, e;
    uint8_t k[16], l[16];
};
void pack_read(const struct quant_type *type, const uint8_t *src, struct pack_block *b);

#endif
