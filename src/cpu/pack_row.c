/* One row read back from its tile, as quant_type.decode gives it, bit by bit. */
#include <string.h>

#include "cpu/pack.h"

/* w = scale * (code - bias) + offset */
struct scale {
    float scale, offset;
};

static float half_at(const uint8_t *p)
{
    f16_bits h;
    memcpy(&h, p, sizeof h);
    return f16_to_f32(h);
}

/* Of the k-th group of columns of a unit. */
static struct scale scale_of(const struct packed *w, const uint8_t *unit, size_t row, size_t k)
{
    const size_t n_subs = w->layout.unit_cols / w->how->sub;
    const float d = half_at(unit + 2 * row);
    const uint8_t *bytes = unit + 2 * TILE_ROWS;
    if (w->how->form == SCALE_BIAS) {
        return (struct scale){ d, 0 };
    }
    if (w->how->form == SCALE_SIGNED) {
        return (struct scale){ d * (float)(int8_t)bytes[k * TILE_ROWS + row], 0 };
    }
    const float e = half_at(bytes + 2 * row);
    if (w->how->form == SCALE_OFFSET) {
        return (struct scale){ d, e };
    }
    bytes += 2 * TILE_ROWS + k * TILE_ROWS + row;
    if (w->how->form == SCALE_NIBBLES) {
        return (struct scale){ d * (float)(*bytes & 15), -(e * (float)(*bytes >> 4)) };
    }
    return (struct scale){ d * (float)*bytes, -(e * (float)bytes[n_subs * TILE_ROWS]) };
}

/* Of group g of four columns, the j-th. */
static int code_at(const struct pack_type *p, const uint8_t *block, size_t row, unsigned g,
                   unsigned j)
{
    const unsigned low = p->bits[0], high = p->bits[1];
    const uint8_t *at = block + 4 * row + j;
    int code = at[g % low * VECTOR] >> g / low * low & ((1 << low) - 1);
    if (high > 0) {
        int top = at[(low + g % high) * VECTOR] >> g / high * high & ((1 << high) - 1);
        code |= top << low;
    }
    return p->lookup ? quant_iq4_values[code] + p->bias : code;
}

static void row_of_codes(const struct packed *w, const uint8_t *tile, size_t row, float *dst)
{
    const struct tile_layout *l = &w->layout;
    const bool biased = w->how->form == SCALE_BIAS || w->how->form == SCALE_SIGNED;
    for (size_t col = 0; col < w->n_cols; col += w->how->sub) {
        const uint8_t *unit = tile + col / l->unit_cols * l->unit_bytes;
        const uint8_t *block = tile + l->codes + col / TILE_BLOCK * l->code_bytes;
        struct scale s = scale_of(w, unit, row, col % l->unit_cols / w->how->sub);
        for (unsigned i = 0; i < w->how->sub; i++) {
            unsigned at = (unsigned)(col % TILE_BLOCK) + i;
            float code = (float)(code_at(w->how, block, row, at / 4, at % 4) - w->how->bias);
            dst[col + i] = biased ? s.scale * code : s.scale * code + s.offset;
        }
    }
}

void pack_row(const struct packed *w, size_t i, float *dst)
{
    const uint8_t *tile = pack_tile_at(w, i / TILE_ROWS);
    const size_t row = i % TILE_ROWS, bytes = w->type->bytes;
    if (w->how->form != SCALE_NONE) {
        row_of_codes(w, tile, row, dst);
        return;
    }
    for (size_t col = 0; col < w->n_cols; col++) {
        w->type->decode(tile + (col * TILE_ROWS + row) * bytes, dst + col, 1);
    }
}
