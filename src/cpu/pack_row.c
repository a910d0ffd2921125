/* Reads a row back from its tile, with the same bits as quant_type.decode. */
#include "cpu/kernels/ops.h"

/* Where there is a bias, a decoder computes s * (u - bias). That equals s * u + m except for
 * rounding, so this function computes it in the decoder's way. */
static void row_of_piece(const struct pack_type *how, const struct piece *p, size_t row, float *dst)
{
    const bool biased = how->form == SCALE_BIAS || how->form == SCALE_SIGNED;
    for (size_t i = 0; i < p->n_blocks * BLOCK_COLS; i++) {
        const int code = p->codes[i / 4 * VECTOR + 4 * row + i % 4];
        const size_t at = i / how->sub * TILE_ROWS + row;
        dst[i] = biased ? p->s[at] * (float)(code - how->bias) : p->s[at] * (float)code + p->m[at];
    }
}

void pack_row(const struct cpu_ops *ops, const struct packed *w, size_t i, float *dst, void *room)
{
    const uint8_t *tile = pack_tile_at(w, i / TILE_ROWS);
    const size_t row = i % TILE_ROWS, bytes = w->type->bytes;
    if (w->how->form == SCALE_NONE) {
        for (size_t col = 0; col < w->n_cols; col++) {
            w->type->decode(tile + (col * TILE_ROWS + row) * bytes, dst + col, 1);
        }
        return;
    }
    for (size_t col = 0; col < w->n_cols; col += PIECE_COLS) {
        const size_t left = w->n_cols - col;
        const struct piece p =
            ops->piece(w, tile, col, left < PIECE_COLS ? left : PIECE_COLS, room);
        row_of_piece(w->how, &p, row, dst + col);
    }
}
