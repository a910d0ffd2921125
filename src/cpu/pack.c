#include "cpu/pack.h"

#include <string.h>

static const struct pack_type types[] = {
    { QUANT_F32, SCALE_NONE, { 0 }, 32, 0, false },
    { QUANT_F16, SCALE_NONE, { 0 }, 32, 0, false },
    { QUANT_BF16, SCALE_NONE, { 0 }, 32, 0, false },
    { QUANT_Q4_0, SCALE_BIAS, { 4 }, 32, 8, false },
    { QUANT_Q4_1, SCALE_OFFSET, { 4 }, 32, 0, false },
    { QUANT_Q5_0, SCALE_BIAS, { 4, 1 }, 32, 16, false },
    { QUANT_Q5_1, SCALE_OFFSET, { 4, 1 }, 32, 0, false },
    { QUANT_Q8_0, SCALE_BIAS, { 8 }, 32, 128, false },
    { QUANT_Q2_K, SCALE_NIBBLES, { 2 }, 16, 0, false },
    { QUANT_Q3_K, SCALE_SIGNED, { 2, 1 }, 16, 4, false },
    { QUANT_Q4_K, SCALE_PAIR, { 4 }, 32, 0, false },
    { QUANT_Q5_K, SCALE_PAIR, { 4, 1 }, 32, 0, false },
    { QUANT_Q6_K, SCALE_SIGNED, { 4, 2 }, 16, 32, false },
    { QUANT_IQ4_NL, SCALE_BIAS, { 4 }, 32, 128, true },
    { QUANT_IQ4_XS, SCALE_SIGNED, { 4 }, 32, 128, true },
};

struct packed pack_describe(const struct quant_type *type, const uint8_t *rows, size_t n_rows,
                            size_t n_cols)
{
    const struct pack_type *p = types;
    while (p->id != type->id) {
        p++;
    }
    struct tile_layout l = { .unit_cols = type->block };
    if (p->form == SCALE_NONE) {
        l.code_bytes = TILE_ROWS * type->bytes;
        l.n = n_cols * l.code_bytes;
    } else {
        l.unit_bytes = TILE_ROWS * pack_scale_bytes(p->form, type->block / p->sub);
        l.code_bytes = (size_t)(p->bits[0] + p->bits[1]) * VECTOR;
        l.codes = (n_cols / type->block * l.unit_bytes + VECTOR - 1) / VECTOR * VECTOR;
        l.n = l.codes + n_cols / TILE_BLOCK * l.code_bytes;
    }
    l.n = (l.n + VECTOR - 1) / VECTOR * VECTOR;
    return (struct packed){ .type = type,
                            .how = p,
                            .layout = l,
                            .n_rows = n_rows,
                            .n_cols = n_cols,
                            .rows = rows,
                            .stride = l.n };
}

static void pack_floats(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t n_cols,
                        size_t bytes, uint8_t *tile)
{
    memset(tile, 0, n_cols * TILE_ROWS * bytes);
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *src = rows + r * row_bytes;
        for (size_t i = 0; i < n_cols; i++) {
            memcpy(tile + (i * TILE_ROWS + r) * bytes, src + i * bytes, bytes);
        }
    }
}

/* Four codes of each row, one behind the other in a word. */
typedef uint32_t words[TILE_ROWS];

static const uint32_t every_byte = 0x01010101;

/* One plane of 8 groups of codes: `bits` of each, from bit `at` on. Group g stands in vector g mod
 * bits. */
static void pack_plane(words w[8], unsigned at, unsigned bits, uint8_t *out)
{
    const uint32_t mask = every_byte * ((1u << bits) - 1);
    for (unsigned v = 0; v < bits; v++) {
        words vector = { 0 };
        for (unsigned g = v, to = 0; g < 8; g += bits, to += bits) {
            for (int r = 0; r < TILE_ROWS; r++) {
                vector[r] |= (w[g][r] >> at & mask) << to;
            }
        }
        memcpy(out + v * VECTOR, vector, VECTOR);
    }
}

static void pack_scales(const struct pack_type *p, size_t n_subs, const struct pack_block *b,
                        size_t row, uint8_t *unit)
{
    memcpy(unit + 2 * row, &b->d, 2);
    unit += 2 * TILE_ROWS;
    if (p->form == SCALE_OFFSET || p->form == SCALE_PAIR || p->form == SCALE_NIBBLES) {
        memcpy(unit + 2 * row, &b->e, 2);
        unit += 2 * TILE_ROWS;
    }
    if (p->form >= SCALE_SIGNED) {
        for (size_t k = 0; k < n_subs; k++) {
            unit[k * TILE_ROWS + row] = b->k[k];
        }
        unit += n_subs * TILE_ROWS;
    }
    for (size_t k = 0; p->form == SCALE_PAIR && k < n_subs; k++) {
        unit[k * TILE_ROWS + row] = b->l[k];
    }
}

/* One unit of up to TILE_ROWS rows. */
static void pack_unit(const struct packed *m, size_t unit, const uint8_t *rows, size_t row_bytes,
                      size_t n_rows, uint8_t *tile)
{
    const struct pack_type *p = m->how;
    const size_t block = m->type->block, n_blocks = block / TILE_BLOCK;
    words w[256 / 4];
    memset(w, 0, sizeof w);
    for (size_t r = 0; r < n_rows; r++) {
        struct pack_block b;
        pack_read(m->type, rows + r * row_bytes + unit * m->type->bytes, &b);
        pack_scales(p, block / p->sub, &b, r, tile + unit * m->layout.unit_bytes);
        for (size_t g = 0; g < block / 4; g++) {
            memcpy(&w[g][r], b.codes + 4 * g, 4);
        }
    }
    for (size_t k = 0; k < n_blocks; k++) {
        uint8_t *out = tile + m->layout.codes + (unit * n_blocks + k) * m->layout.code_bytes;
        pack_plane(w + 8 * k, 0, p->bits[0], out);
        pack_plane(w + 8 * k, p->bits[0], p->bits[1], out + (size_t)p->bits[0] * VECTOR);
    }
}

void pack_tile(const struct packed *w, size_t i, uint8_t *tile)
{
    const size_t row_bytes = w->n_cols / w->type->block * w->type->bytes;
    const size_t first = i * TILE_ROWS, left = w->n_rows - first;
    const size_t n_rows = left < TILE_ROWS ? left : TILE_ROWS;
    const uint8_t *rows = w->rows + first * row_bytes;
    if (w->how->form == SCALE_NONE) {
        pack_floats(rows, row_bytes, n_rows, w->n_cols, w->type->bytes, tile);
        return;
    }
    memset(tile, 0, w->layout.codes);
    for (size_t u = 0; u < w->n_cols / w->type->block; u++) {
        pack_unit(w, u, rows, row_bytes, n_rows, tile);
    }
}
