/* Part of dot_body.h: packed tiles (pack.h) brought into the one form that the dot products read,
 * w = s * u + m with an unsigned byte u for each weight: in pieces, or group by group. */

/* Columns brought in at a time: their codes stay in the first cache while rows of activations pass
 * by. A multiple of every unit. */
enum { PIECE = 512 };

/* What is near already: the tile itself. */
INLINE struct ahead nothing_ahead(const uint8_t *tile)
{
    return (struct ahead){ .at = (uintptr_t)tile, .end = UINTPTR_MAX };
}

/* Asks memory for the next n bytes. Into the second cache: the first one waits for few lines at a
 * time. n is a constant. */
INLINE void ask(struct ahead *a, size_t n)
{
    for (size_t i = 0; i < n; i += VECTOR) {
        __builtin_prefetch((const void *)(a->at + i), 0, 2);
    }
    a->at += n;
    if (a->at >= a->end) {
        a->at = a->next + (a->at - a->end);
        a->end = UINTPTR_MAX;
    }
}

/* How codes stand in a block: `low` bits in the first plane, `high` in the second; low == 8: bytes.
 * Constants wherever they are used. */
struct codes {
    int low, high;
    bool lookup;
};

struct piece {
    const uint8_t *codes; /* [n_blocks, 8 * VECTOR] once they are bytes */
    float *s, *m;         /* [n_blocks * 32 / sub, TILE_ROWS] */
    size_t col, n_blocks;
};

/* What all scales of a unit have in common. `form` is a constant wherever it is used. */
struct unit {
    const uint8_t *bytes; /* one or two for each row of each sub */
    v16 d, e;
};

INLINE struct unit unit_of(const uint8_t *at, enum scale_form form)
{
    struct unit u = { .d = v_load_f16(at), .e = v_set1(0.0f) };
    at += 2 * TILE_ROWS;
    if (form != SCALE_BIAS && form != SCALE_SIGNED) {
        u.e = v_load_f16(at);
        at += 2 * TILE_ROWS;
    }
    if (form == SCALE_PAIR || form == SCALE_NIBBLES) {
        u.e = v_mul(u.e, v_set1(-1.0f));
    }
    u.bytes = at;
    return u;
}

/* s and m of the k-th of n_subs groups of columns. */
INLINE void scale_of(const struct unit *u, enum scale_form form, v16 minus_bias, size_t n_subs,
                     size_t k, v16 *s, v16 *m)
{
    const uint8_t *bytes = u->bytes + k * TILE_ROWS;
    uint8_t low[TILE_ROWS], high[TILE_ROWS];
    switch (form) {
    case SCALE_BIAS:
        *s = u->d;
        *m = v_mul(u->d, minus_bias);
        return;
    case SCALE_OFFSET:
        *s = u->d;
        *m = u->e;
        return;
    case SCALE_SIGNED:
        *s = v_mul(u->d, v_from_i8((const int8_t *)bytes));
        *m = v_mul(*s, minus_bias);
        return;
    case SCALE_PAIR:
        *s = v_mul(u->d, v_from_u8(bytes));
        *m = v_mul(u->e, v_from_u8(bytes + n_subs * TILE_ROWS));
        return;
    default:
        for (size_t r = 0; r < TILE_ROWS; r++) {
            low[r] = bytes[r] & 15;
            high[r] = bytes[r] >> 4;
        }
        *s = v_mul(u->d, v_from_u8(low));
        *m = v_mul(u->e, v_from_u8(high));
    }
}

/* s and m of n units. */
INLINE void scales_of(const struct packed *w, enum scale_form form, const uint8_t *unit, size_t n,
                      float *s, float *m)
{
    const v16 minus_bias = v_set1(-(float)w->how->bias);
    const size_t n_subs = w->layout.unit_cols / w->how->sub;
    for (size_t i = 0; i < n; i++, unit += w->layout.unit_bytes) {
        const struct unit u = unit_of(unit, form);
        for (size_t k = 0; k < n_subs; k++, s += TILE_ROWS, m += TILE_ROWS) {
            v16 x, y;
            scale_of(&u, form, minus_bias, n_subs, k, &x, &y);
            v_store(s, x);
            v_store(m, y);
        }
    }
}

static void scales(const struct packed *w, const uint8_t *unit, size_t n, float *s, float *m)
{
    switch (w->how->form) {
    case SCALE_BIAS: scales_of(w, SCALE_BIAS, unit, n, s, m); return;
    case SCALE_OFFSET: scales_of(w, SCALE_OFFSET, unit, n, s, m); return;
    case SCALE_SIGNED: scales_of(w, SCALE_SIGNED, unit, n, s, m); return;
    case SCALE_PAIR: scales_of(w, SCALE_PAIR, unit, n, s, m); return;
    default: scales_of(w, SCALE_NIBBLES, unit, n, s, m);
    }
}

/* Group g of 8 of a block, as bytes. */
INLINE c64 group_of(const uint8_t *block, int g, struct codes how)
{
    /* quant_iq4_values + 128 */
    static const uint8_t iq4[16] = { 1,   24,  45,  63,  79,  93,  106, 118,
                                     129, 141, 153, 166, 181, 197, 217, 241 };
    if (how.low == 8) {
        return c_load(block + g * VECTOR);
    }
    c64 x = c_load(block + g % how.low * VECTOR);
    x = c_field(x, g / how.low * how.low, 0, how.low);
    if (how.high > 0) {
        c64 top = c_load(block + (how.low + g % how.high) * VECTOR);
        x = c_or(x, c_field(top, g / how.high * how.high, how.low, how.high));
    }
    return how.lookup ? c_lookup(iq4, x) : x;
}

#define EXPAND(name, low_bits, high_bits, in_table)                                                \
    static void name(const uint8_t *src, size_t n_blocks, uint8_t *u)                              \
    {                                                                                              \
        const struct codes how = { low_bits, high_bits, in_table };                                \
        for (size_t b = 0; b < n_blocks; b++, u += 8 * VECTOR) {                                   \
            const uint8_t *block = src + b * (low_bits + high_bits) * VECTOR;                      \
            _Pragma("GCC unroll 8") for (int g = 0; g < 8; g++)                                    \
            {                                                                                      \
                c_store(u + g * VECTOR, group_of(block, g, how));                                  \
            }                                                                                      \
        }                                                                                          \
    }
EXPAND(expand_2, 2, 0, false)
EXPAND(expand_2_1, 2, 1, false)
EXPAND(expand_4, 4, 0, false)
EXPAND(expand_4_1, 4, 1, false)
EXPAND(expand_4_2, 4, 2, false)
EXPAND(expand_4_lookup, 4, 0, true)

/* Columns [col, col + n_cols) of a tile, with scales in `room`. */
static struct piece piece_of(const struct packed *w, const uint8_t *tile, size_t col, size_t n_cols,
                             float *room)
{
    const struct tile_layout *l = &w->layout;
    struct piece p = { .codes = tile + l->codes + col / TILE_BLOCK * l->code_bytes,
                       .s = room,
                       .m = room + PIECE / 16 * TILE_ROWS,
                       .col = col,
                       .n_blocks = n_cols / TILE_BLOCK };
    scales(w, tile + col / l->unit_cols * l->unit_bytes, n_cols / l->unit_cols, p.s, p.m);
    return p;
}
