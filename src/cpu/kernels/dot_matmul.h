/* Part of dot_body.h: matrix products over packed tiles (dot_tile.h). A lane is a row of weights,
 * and its sum runs over the columns in their order, however many rows of activations there are. */

/* sum[r] += 16 weight rows . activation row `row` + r, for r < n, over the k-th `sub` columns of
 * the block that begins at column col. All but the pointers, row and col are constants. */
INLINE void add_dots(v16 *sum, const uint8_t *block, struct codes how, int top, size_t sub,
                     size_t k, v16 s, v16 m, const struct acts *a, size_t row, size_t col, size_t n)
{
    const struct act_scale *in = a->scales + (row * a->stride + col) / 32;
    i32x16 dot[ROWS];
    i_dots(block, how, (int)(k * sub / 4), a, row, col + k * sub, n, (int)sub / 4, top, dot);
    for (size_t r = 0; r < n; r++, in += a->stride / 32) {
        v16 scale = v_mul(s, v_set1(in->d));
        sum[r] = v_fma(v_from_i32(dot[r]), scale, sum[r]);
        sum[r] = v_fma(m, v_set1(sub == 32 ? in->sum32 : in->sum16[k]), sum[r]);
    }
}

/* sums[r, lane] += 16 weight rows . activation row `row` + r, over the columns of p, for r < n.
 * top >= every code, sub and n are constants. */
INLINE void dot_rows(const struct piece *p, const struct acts *a, size_t row, int top, size_t sub,
                     size_t n, float *sums)
{
    const struct codes bytes = { 8, 0, false };
    v16 sum[ROWS];
    for (size_t r = 0; r < n; r++) {
        sum[r] = v_load(sums + r * TILE_ROWS);
    }
    const float *s = p->s, *m = p->m;
    for (size_t b = 0; b < p->n_blocks; b++) {
        const uint8_t *block = p->codes + b * 8 * VECTOR;
        const size_t col = p->col + b * 32;
        add_dots(sum, block, bytes, top, sub, 0, v_load(s), v_load(m), a, row, col, n);
        if (sub == 16) {
            s += TILE_ROWS, m += TILE_ROWS;
            add_dots(sum, block, bytes, top, sub, 1, v_load(s), v_load(m), a, row, col, n);
        }
        s += TILE_ROWS, m += TILE_ROWS;
    }
    for (size_t r = 0; r < n; r++) {
        v_store(sums + r * TILE_ROWS, sum[r]);
    }
}

/* Many rows, of codes that are bytes; as many at a time as registers hold. */
#define DOT(name, top, sub)                                                                        \
    static void name(const struct piece *p, const struct acts *a, size_t row, size_t n,            \
                     float *sums)                                                                  \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= n; r += ROWS) {                                                         \
            dot_rows(p, a, row + r, top, sub, ROWS, sums + r * TILE_ROWS);                         \
        }                                                                                          \
        for (; ROWS > 2 && r + ROWS / 2 <= n; r += ROWS / 2) {                                     \
            dot_rows(p, a, row + r, top, sub, (ROWS + 1) / 2, sums + r * TILE_ROWS);               \
        }                                                                                          \
        for (; r < n; r++) {                                                                       \
            dot_rows(p, a, row + r, top, sub, 1, sums + r * TILE_ROWS);                            \
        }                                                                                          \
    }
DOT(dot_15_by_32, 15, 32)
DOT(dot_31_by_32, 31, 32)
DOT(dot_255_by_32, 255, 32)
DOT(dot_15_by_16, 15, 16)
DOT(dot_63_by_16, 63, 16)

/* n rows, of codes and scales as they are packed: for a few rows it does not pay to expand them
 * first. All but the pointers, row and ahead are constants. */
INLINE void dot_packed(const struct packed *w, const uint8_t *tile, const struct acts *a,
                       size_t row, struct ahead ahead, enum scale_form form, size_t unit_cols,
                       struct codes how, int top, size_t sub, size_t n, float *sums)
{
    const v16 minus_bias = v_set1(-(float)w->how->bias);
    const size_t block_bytes = (size_t)(how.low + how.high) * VECTOR;
    const uint8_t *block = tile + w->layout.codes;
    v16 sum[ROWS];
    for (size_t r = 0; r < n; r++) {
        sum[r] = v_set1(0.0f);
    }
    for (size_t col = 0; col < w->n_cols; tile += w->layout.unit_bytes) {
        const struct unit u = unit_of(tile, form);
        for (size_t i = 0; i < unit_cols / sub; col += 32, block += block_bytes) {
            ask(&ahead, block_bytes + TILE_ROWS * pack_scale_bytes(form, unit_cols / sub) *
                                          TILE_BLOCK / unit_cols);
            v16 s, m;
            scale_of(&u, form, minus_bias, unit_cols / sub, i++, &s, &m);
            add_dots(sum, block, how, top, sub, 0, s, m, a, row, col, n);
            if (sub == 16) {
                scale_of(&u, form, minus_bias, unit_cols / sub, i++, &s, &m);
                add_dots(sum, block, how, top, sub, 1, s, m, a, row, col, n);
            }
        }
    }
    for (size_t r = 0; r < n; r++) {
        v_store(sums + r * TILE_ROWS, sum[r]);
    }
}

#define DOT_FEW(name, form, unit_cols, low, high, lookup, top, sub)                                \
    static void name(const struct packed *w, const uint8_t *tile, const struct acts *a,            \
                     size_t row, size_t n, struct ahead ahead, float *sums)                        \
    {                                                                                              \
        const struct codes how = { low, high, lookup };                                            \
        size_t r = 0;                                                                              \
        for (; ROWS >= 4 && r + 4 <= n; r += 4, ahead = nothing_ahead(tile)) {                     \
            dot_packed(w, tile, a, row + r, ahead, form, unit_cols, how, top, sub, 4,              \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
        for (; ROWS >= 2 && r + 2 <= n; r += 2, ahead = nothing_ahead(tile)) {                     \
            dot_packed(w, tile, a, row + r, ahead, form, unit_cols, how, top, sub, 2,              \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
        for (; r < n; r++, ahead = nothing_ahead(tile)) {                                          \
            dot_packed(w, tile, a, row + r, ahead, form, unit_cols, how, top, sub, 1,              \
                       sums + r * TILE_ROWS);                                                      \
        }                                                                                          \
    }
DOT_FEW(few_q4_0, SCALE_BIAS, 32, 4, 0, false, 15, 32)
DOT_FEW(few_q4_1, SCALE_OFFSET, 32, 4, 0, false, 15, 32)
DOT_FEW(few_q5_0, SCALE_BIAS, 32, 4, 1, false, 31, 32)
DOT_FEW(few_q5_1, SCALE_OFFSET, 32, 4, 1, false, 31, 32)
DOT_FEW(few_q8_0, SCALE_BIAS, 32, 8, 0, false, 255, 32)
DOT_FEW(few_q2_k, SCALE_NIBBLES, 256, 2, 0, false, 15, 16)
DOT_FEW(few_q3_k, SCALE_SIGNED, 256, 2, 1, false, 15, 16)
DOT_FEW(few_q4_k, SCALE_PAIR, 256, 4, 0, false, 15, 32)
DOT_FEW(few_q5_k, SCALE_PAIR, 256, 4, 1, false, 31, 32)
DOT_FEW(few_q6_k, SCALE_SIGNED, 256, 4, 2, false, 63, 16)
DOT_FEW(few_iq4_nl, SCALE_BIAS, 32, 4, 0, true, 255, 32)
DOT_FEW(few_iq4_xs, SCALE_SIGNED, 256, 4, 0, true, 255, 32)

/* Weights that are floats: each 32 columns are summed by themselves first, so that errors do not
 * grow with the whole row. `load` reads 16 of them, `bytes` each. */
#define DOT_FLOAT(name, load, bytes)                                                               \
    INLINE void name##_rows(const uint8_t *w, const struct acts *a, size_t row, size_t n,          \
                            struct ahead ahead, float *sums)                                       \
    {                                                                                              \
        const float *x = a->x + row * a->stride;                                                   \
        v16 sum[ROWS];                                                                             \
        for (size_t r = 0; r < n; r++) {                                                           \
            sum[r] = v_set1(0.0f);                                                                 \
        }                                                                                          \
        for (size_t i = 0; i < a->n_cols; i += 32) {                                               \
            v16 part[ROWS];                                                                        \
            ask(&ahead, TILE_BLOCK *TILE_ROWS *bytes);                                             \
            for (size_t r = 0; r < n; r++) {                                                       \
                part[r] = v_set1(0.0f);                                                            \
            }                                                                                      \
            const size_t end = i + 32 < a->n_cols ? i + 32 : a->n_cols;                            \
            for (size_t k = i; k < end; k++) {                                                     \
                const v16 u = load(w + k * TILE_ROWS * bytes);                                     \
                for (size_t r = 0; r < n; r++) {                                                   \
                    part[r] = v_fma(u, v_set1(x[r * a->stride + k]), part[r]);                     \
                }                                                                                  \
            }                                                                                      \
            for (size_t r = 0; r < n; r++) {                                                       \
                sum[r] = v_add(sum[r], part[r]);                                                   \
            }                                                                                      \
        }                                                                                          \
        for (size_t r = 0; r < n; r++) {                                                           \
            v_store(sums + r * TILE_ROWS, sum[r]);                                                 \
        }                                                                                          \
    }                                                                                              \
    static void name(const uint8_t *w, const struct acts *a, size_t row, size_t n,                 \
                     struct ahead ahead, float *sums)                                              \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + ROWS <= n; r += ROWS, ahead = nothing_ahead(w)) {                               \
            name##_rows(w, a, row + r, ROWS, ahead, sums + r * TILE_ROWS);                         \
        }                                                                                          \
        for (; r < n; r++, ahead = nothing_ahead(w)) {                                             \
            name##_rows(w, a, row + r, 1, ahead, sums + r * TILE_ROWS);                            \
        }                                                                                          \
    }
DOT_FLOAT(dot_f32, v_load_bytes, 4)
DOT_FLOAT(dot_f16, v_load_f16, 2)
DOT_FLOAT(dot_bf16, v_load_bf16, 2)

/* How each tensor type is computed. */
static const struct {
    void (*of_floats)(const uint8_t *, const struct acts *, size_t, size_t, struct ahead, float *);
    void (*few)(const struct packed *, const uint8_t *, const struct acts *, size_t, size_t,
                struct ahead, float *);
    void (*expand)(const uint8_t *, size_t, uint8_t *); /* NULL: packed codes are bytes */
    void (*many)(const struct piece *, const struct acts *, size_t, size_t, float *);
} kernels[] = {
    [QUANT_F32] = { .of_floats = dot_f32 },
    [QUANT_F16] = { .of_floats = dot_f16 },
    [QUANT_BF16] = { .of_floats = dot_bf16 },
    [QUANT_Q4_0] = { NULL, few_q4_0, expand_4, dot_15_by_32 },
    [QUANT_Q4_1] = { NULL, few_q4_1, expand_4, dot_15_by_32 },
    [QUANT_Q5_0] = { NULL, few_q5_0, expand_4_1, dot_31_by_32 },
    [QUANT_Q5_1] = { NULL, few_q5_1, expand_4_1, dot_31_by_32 },
    [QUANT_Q8_0] = { NULL, few_q8_0, NULL, dot_255_by_32 },
    [QUANT_Q2_K] = { NULL, few_q2_k, expand_2, dot_15_by_16 },
    [QUANT_Q3_K] = { NULL, few_q3_k, expand_2_1, dot_15_by_16 },
    [QUANT_Q4_K] = { NULL, few_q4_k, expand_4, dot_15_by_32 },
    [QUANT_Q5_K] = { NULL, few_q5_k, expand_4_1, dot_31_by_32 },
    [QUANT_Q6_K] = { NULL, few_q6_k, expand_4_2, dot_63_by_16 },
    [QUANT_IQ4_NL] = { NULL, few_iq4_nl, expand_4_lookup, dot_255_by_32 },
    [QUANT_IQ4_XS] = { NULL, few_iq4_xs, expand_4_lookup, dot_255_by_32 },
};

/* Of scratch: sums, s and m of a piece, and its codes. */
_Static_assert((DOT_ROWS + 2 * PIECE / 16) * TILE_ROWS * sizeof(float) + PIECE * TILE_ROWS <=
                   DOT_SCRATCH,
               "DOT_SCRATCH is too small");

static void multiply_quant(const struct packed *w, const uint8_t *tile, const struct acts *a,
                           size_t first, size_t n_r, struct ahead ahead, float *sums, float *room)
{
    const uint32_t id = w->type->id;
    if (n_r <= DOT_FEW_ROWS) {
        kernels[id].few(w, tile, a, first, n_r, ahead, sums);
        return;
    }
    memset(sums, 0, n_r * TILE_ROWS * sizeof *sums);
    for (size_t col = 0; col < a->n_cols; col += PIECE) {
        size_t n = a->n_cols - col < PIECE ? a->n_cols - col : PIECE;
        struct piece p = piece_of(w, tile, col, n, room);
        if (kernels[id].expand != NULL) {
            uint8_t *u = (uint8_t *)(room + 2 * PIECE / 16 * TILE_ROWS);
            kernels[id].expand(p.codes, p.n_blocks, u);
            p.codes = u;
        }
        kernels[id].many(&p, a, first, n_r, sums);
    }
}

static void op_matmul(const struct packed *w, const uint8_t *tile, size_t n_w, const struct acts *a,
                      size_t first, size_t n_r, bool add, float *out, size_t ld,
                      const struct ahead *next, void *scratch)
{
    const struct ahead ahead = next != NULL ? *next : nothing_ahead(tile);
    float *sums = scratch;
    if (w->how->form == SCALE_NONE) {
        kernels[w->type->id].of_floats(tile, a, first, n_r, ahead, sums);
    } else {
        multiply_quant(w, tile, a, first, n_r, ahead, sums, sums + DOT_ROWS * TILE_ROWS);
    }
    for (size_t r = 0; r < n_r; r++, out += ld, sums += TILE_ROWS) {
        const v16 sum = v_load(sums);
        store_part(out, n_w, add ? v_add(load_part(out, n_w), sum) : sum);
    }
}
