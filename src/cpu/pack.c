#include "cpu/pack.h"

#include "base/mem.h"

#include <string.h>

static const struct pack_type types[] = {
#define FLOATS(type, name, bytes) { QUANT_##type, SCALE_NONE, 1, { 0 }, 1, 0, false },
#define CODES(...) PACK_TYPE(__VA_ARGS__),
    PACK_FLOATS(FLOATS) PACK_TYPES(CODES)
};

struct packed pack_describe(const struct quant_type *type, const uint8_t *rows, size_t n_rows,
                            size_t n_cols)
{
    const struct pack_type *p = types;
    while (p->id != type->id) {
        p++;
    }
    struct tile_layout l = { 0 };
    if (p->form == SCALE_NONE) {
        l.code_bytes = TILE_ROWS * type->bytes;
        l.n = n_cols * l.code_bytes;
    } else {
        l.unit_bytes = TILE_ROWS * pack_scale_bytes(p->form, p->unit / p->sub);
        l.code_bytes = (size_t)(p->bits[0] + p->bits[1]) * VECTOR;
        l.codes = round_up(n_cols / p->unit * l.unit_bytes, VECTOR);
        l.n = l.codes + n_cols / BLOCK_COLS * l.code_bytes;
    }
    l.n = round_up(l.n, VECTOR);
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

/* Four codes of each row, which stand side by side in a word. */
typedef uint32_t words[TILE_ROWS];

static const uint32_t every_byte = 0x01010101;

/* Packs one plane of a block: `bits` bits, from bit `at` on, of the codes of the block's 8 groups.
 * Group g stands in vector g mod bits. */
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

/* Packs the scales of one row of a unit, which is at `at`. */
static void pack_scales(const struct pack_type *p, const struct pack_unit *u, size_t row,
                        uint8_t *at)
{
    const size_t n_subs = p->unit / p->sub;
    memcpy(at + 2 * row, &u->d, 2);
    at += 2 * TILE_ROWS;
    if (p->form == SCALE_OFFSET || p->form == SCALE_PAIR || p->form == SCALE_NIBBLES) {
        memcpy(at + 2 * row, &u->e, 2);
        at += 2 * TILE_ROWS;
    }
    if (p->form >= SCALE_SIGNED) {
        for (size_t k = 0; k < n_subs; k++) {
            at[k * TILE_ROWS + row] = u->k[k];
        }
        at += n_subs * TILE_ROWS;
    }
    for (size_t k = 0; p->form == SCALE_PAIR && k < n_subs; k++) {
        at[k * TILE_ROWS + row] = u->l[k];
    }
}

/* Packs one unit of up to TILE_ROWS rows: its scales and its blocks. */
static void pack_rows(const struct packed *w, size_t unit, const uint8_t *rows, size_t row_bytes,
                      size_t n_rows, uint8_t *tile)
{
    const struct pack_type *p = w->how;
    const size_t n_blocks = p->unit / BLOCK_COLS;
    words groups[256 / 4];
    memset(groups, 0, sizeof groups);
    for (size_t r = 0; r < n_rows; r++) {
        struct pack_unit u;
        pack_read(w->type, rows + r * row_bytes + unit * w->type->bytes, &u);
        pack_scales(p, &u, r, tile + unit * w->layout.unit_bytes);
        for (size_t g = 0; g < p->unit / 4; g++) {
            memcpy(&groups[g][r], u.codes + 4 * g, 4);
        }
    }
    for (size_t k = 0; k < n_blocks; k++) {
        uint8_t *out = tile + w->layout.codes + (unit * n_blocks + k) * w->layout.code_bytes;
        pack_plane(groups + 8 * k, 0, p->bits[0], out);
        pack_plane(groups + 8 * k, p->bits[0], p->bits[1], out + (size_t)p->bits[0] * VECTOR);
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
    for (size_t u = 0; u < w->n_cols / w->how->unit; u++) {
        pack_rows(w, u, rows, row_bytes, n_rows, tile);
    }
}
