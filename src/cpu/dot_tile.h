/* Part of dot_body.h: a piece of a packed tile (pack.h) brought into the one form that the dot
 * products read: w = s * u + m with an unsigned byte u for each weight. */

/* Columns brought in at a time: their codes stay in the first cache while rows of activations pass
 * by. A multiple of every unit. */
enum { PIECE = 512 };

struct piece {
    const uint8_t
        *u;       /* [n_blocks, 8, VECTOR]: room, or the tile itself when nothing is to be done */
    float *s, *m; /* [n_blocks * 32 / sub, TILE_ROWS] */
    size_t col, n_blocks;
};

/* out = d times the bytes of each sub; v_from gives them their sign. */
#define SCALE(out, d, bytes, n_subs, v_from)                                                       \
    for (size_t k = 0; k < (n_subs); k++) {                                                        \
        v_store((out) + k * TILE_ROWS, v_mul(d, v_from((bytes) + k * TILE_ROWS)));                 \
    }

/* The same with the low halves of bytes for s, the high ones for m. */
INLINE void scale_nibbles(const uint8_t *bytes, v16 d, v16 e, size_t n_subs, float *s, float *m)
{
    uint8_t low[TILE_ROWS], high[TILE_ROWS];
    for (size_t k = 0; k < n_subs; k++) {
        for (size_t r = 0; r < TILE_ROWS; r++) {
            low[r] = bytes[k * TILE_ROWS + r] & 15;
            high[r] = bytes[k * TILE_ROWS + r] >> 4;
        }
        v_store(s + k * TILE_ROWS, v_mul(d, v_from_u8(low)));
        v_store(m + k * TILE_ROWS, v_mul(e, v_from_u8(high)));
    }
}

/* s and m of n units with scales in two steps. */
static void scales_of_units(const struct packed *w, const uint8_t *unit, size_t n, float *s,
                            float *m)
{
    const size_t n_subs = w->layout.unit_cols / w->how->sub, n_out = n_subs * TILE_ROWS;
    for (size_t i = 0; i < n; i++, unit += w->layout.unit_bytes, s += n_out, m += n_out) {
        const v16 d = v_load_f16(unit);
        const uint8_t *bytes = unit + 2 * TILE_ROWS;
        if (w->how->form == SCALE_SIGNED) {
            SCALE(s, d, (const int8_t *)bytes, n_subs, v_from_i8)
            for (size_t k = 0; k < n_subs; k++) {
                v16 bias = v_set1(-(float)w->how->bias);
                v_store(m + k * TILE_ROWS, v_mul(v_load(s + k * TILE_ROWS), bias));
            }
            continue;
        }
        const v16 e = v_mul(v_load_f16(bytes), v_set1(-1.0f));
        bytes += 2 * TILE_ROWS;
        if (w->how->form == SCALE_NIBBLES) {
            scale_nibbles(bytes, d, e, n_subs, s, m);
        } else {
            SCALE(s, d, bytes, n_subs, v_from_u8)
            SCALE(m, e, bytes + n_subs * TILE_ROWS, n_subs, v_from_u8)
        }
    }
}

/* s and m of n units. */
static void scales(const struct packed *w, const uint8_t *unit, size_t n, float *s, float *m)
{
    const v16 bias = v_set1(-(float)w->how->bias);
    const size_t step = w->layout.unit_bytes;
    switch (w->how->form) {
    case SCALE_BIAS:
        for (size_t i = 0; i < n; i++) {
            v16 d = v_load_f16(unit + i * step);
            v_store(s + i * TILE_ROWS, d);
            v_store(m + i * TILE_ROWS, v_mul(d, bias));
        }
        return;
    case SCALE_OFFSET:
        for (size_t i = 0; i < n; i++) {
            v_store(s + i * TILE_ROWS, v_load_f16(unit + i * step));
            v_store(m + i * TILE_ROWS, v_load_f16(unit + i * step + 2 * TILE_ROWS));
        }
        return;
    default: scales_of_units(w, unit, n, s, m);
    }
}

/* Codes of n_blocks: `low` bits from the first plane, `high` from the second; all constants. */
INLINE void expand(const uint8_t *src, size_t n_blocks, int low, int high, bool lookup, uint8_t *u)
{
    uint8_t table[16];
    for (int j = 0; lookup && j < 16; j++) {
        table[j] = (uint8_t)(quant_iq4_values[j] + 128);
    }
    for (size_t b = 0; b < n_blocks; b++, src += (low + high) * VECTOR, u += 8 * VECTOR) {
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            c64 v = c_field(c_load(src + g % low * VECTOR), g / low * low, 0, low);
            if (high > 0) {
                c64 top = c_load(src + (low + g % high) * VECTOR);
                v = c_or(v, c_field(top, g / high * high, low, high));
            }
            c_store(u + g * VECTOR, lookup ? c_lookup(table, v) : v);
        }
    }
}

#define EXPAND(name, low, high, lookup)                                                            \
    static void name(const uint8_t *src, size_t n_blocks, uint8_t *u)                              \
    {                                                                                              \
        expand(src, n_blocks, low, high, lookup, u);                                               \
    }
EXPAND(expand_2, 2, 0, false)
EXPAND(expand_2_1, 2, 1, false)
EXPAND(expand_4, 4, 0, false)
EXPAND(expand_4_1, 4, 1, false)
EXPAND(expand_4_2, 4, 2, false)
EXPAND(expand_4_lookup, 4, 0, true)

/* Columns [col, col + n_cols) of a tile, in `room`. */
static struct piece piece_of(const struct packed *w, const uint8_t *tile, size_t col, size_t n_cols,
                             void (*expand_codes)(const uint8_t *, size_t, uint8_t *), float *room)
{
    const struct tile_layout *l = &w->layout;
    const uint8_t *codes = tile + l->codes + col / TILE_BLOCK * l->code_bytes;
    struct piece p = { .u = codes,
                       .s = room,
                       .m = room + PIECE / 16 * TILE_ROWS,
                       .col = col,
                       .n_blocks = n_cols / TILE_BLOCK };
    scales(w, tile + col / l->unit_cols * l->unit_bytes, n_cols / l->unit_cols, p.s, p.m);
    if (expand_codes != NULL) {
        uint8_t *u = (uint8_t *)(room + 2 * PIECE / 16 * TILE_ROWS);
        expand_codes(codes, p.n_blocks, u);
        p.u = u;
    }
    return p;
}
