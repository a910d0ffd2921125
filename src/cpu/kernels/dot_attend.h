/* Part of dot_body.h: softmax attention, page by page, with a running maximum and sum. K and V of a
 * page become floats once if there are many queries, and both products are of one kind: scores
 * [queries, positions] = q [queries, head_dim] * K [head_dim, positions], and out [queries,
 * head_dim] += weights [queries, positions] * V [positions, head_dim].
 *
 * What makes a row's bits its own: a sum runs over head_dim, or over the positions that the row
 * sees, in ascending order, in a lane of its own; pages are cut at absolute positions; and a
 * position that the row does not see is left out of its sums, not weighed with 0, which would let
 * NaN through. */

/* What the scratch holds. A query is one head of one row; those of a row follow each other. */
struct attend_work {
    size_t ld;  /* head_dim rounded up to 16 */
    float *k;   /* [head_dim, KV_PAGE] */
    float *v;   /* [KV_PAGE, ld] */
    float *q;   /* [n_queries, ld], scaled */
    float *out; /* [n_queries, ld] */
    float *sum; /* [n_queries, 16] of the weights, by position modulo 16 */
    float *max; /* [n_queries] of the scores */
};

/* Positions [lo, hi) of a page. */
struct seen {
    size_t lo, hi;
};

static struct attend_work work_of(const struct attention *a)
{
    const size_t n = a->n_rows * a->n_heads, ld = (a->head_dim + 15) / 16 * 16;
    struct attend_work w = { .ld = ld, .k = a->scratch };
    w.v = w.k + KV_PAGE * ld;
    w.q = w.v + KV_PAGE * ld;
    w.out = w.q + n * ld;
    w.sum = w.out + n * ld;
    w.max = w.sum + n * 16;
    return w;
}

/* ---------------------------------------------------------------- pages to floats */

/* k[i, t] for the positions [lo, hi), multiples of 16. */
static void load_k_f16(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *k)
{
    const f16_bits *h = (const f16_bits *)(const void *)block;
    for (size_t i = 0; i < head_dim * KV_PAGE; i += KV_PAGE) {
        for (size_t t = lo; t < hi; t += 16) {
            v_store(k + i + t, v_load_f16(h + i + t));
        }
    }
}

static void load_k_q8_0(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *k)
{
    const int8_t *codes = (const int8_t *)block;
    const f16_bits *scales = kv_block_scales(block, head_dim);
    for (size_t b = 0; b < head_dim / 32; b++) {
        for (size_t t = lo; t < hi; t += 16) {
            v16 scale = v_load_f16(scales + b * KV_PAGE + t);
            for (size_t i = 32 * b * KV_PAGE + t; i < 32 * (b + 1) * KV_PAGE; i += KV_PAGE) {
                v_store(k + i, v_mul(v_from_i8(codes + i), scale));
            }
        }
    }
}

/* v[t, i] for the positions [lo, hi); up to ld with zeros. */
static void load_v_f16(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *v,
                       size_t ld)
{
    const f16_bits *h = (const f16_bits *)(const void *)block;
    for (size_t t = lo; t < hi; t++) {
        size_t i = 0;
        for (; i + 16 <= head_dim; i += 16) {
            v_store(v + t * ld + i, v_load_f16(h + t * head_dim + i));
        }
        if (i < head_dim) {
            v_store(v + t * ld + i, v_load_f16_n(h + t * head_dim + i, head_dim - i));
        }
    }
}

static void load_v_q8_0(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *v,
                        size_t ld)
{
    const int8_t *codes = (const int8_t *)block;
    const f16_bits *scales = kv_block_scales(block, head_dim);
    for (size_t t = lo; t < hi; t++) {
        for (size_t i = 0; i < head_dim; i += 32) {
            v16 scale = v_set1(f16_one(scales[(t * head_dim + i) / 32]));
            const int8_t *c = codes + t * head_dim + i;
            v_store(v + t * ld + i, v_mul(v_from_i8(c), scale));
            v_store(v + t * ld + i + 16, v_mul(v_from_i8(c + 16), scale));
        }
    }
}

static const struct {
    void (*k)(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *k);
    void (*v)(const uint8_t *block, size_t head_dim, size_t lo, size_t hi, float *v, size_t ld);
} loads[] = {
    [WEFT_KV_F16] = { load_k_f16, load_v_f16 },
    [WEFT_KV_Q8_0] = { load_k_q8_0, load_v_q8_0 },
};

/* ---------------------------------------------------------------- the product */

/* What b is: floats, or a block as it stands in the pool, of which both ways make the same. */
enum operand { IN_FLOATS, IN_F16, IN_Q8_0_K, IN_Q8_0_V };

/* c [n_q, n_cols] = (add ? c : 0) + a [n_q, n] * b [n, n_cols], with rows of b from `first` on and
 * columns of b and c from `at` on; both are multiples of 16 columns. */
struct small_product {
    const float *a;
    float *c;
    size_t ld_a, ld_c;
    enum operand kind;
    const void *b, *next; /* next: the block after b, which is asked for on the way */
    const f16_bits *scales;
    size_t ld_b, first, n, at, n_cols;
    bool add;
};

/* 16 values of row i of b. kind is a constant. */
INLINE v16 operand(const struct small_product *p, enum operand kind, size_t i, size_t at)
{
    const size_t k = i * p->ld_b + at;
    const int8_t *codes = p->b;
    if (kind != IN_FLOATS) {
        __builtin_prefetch((const char *)p->next + k * (kind == IN_F16 ? 2 : 1), 0, 2);
    }
    switch (kind) {
    case IN_F16: return v_load_f16((const f16_bits *)p->b + k);
    case IN_Q8_0_K:
        return v_mul(v_from_i8(codes + k), v_load_f16(p->scales + i / 32 * KV_PAGE + at));
    case IN_Q8_0_V: return v_mul(v_from_i8(codes + k), v_set1(f16_one(p->scales[k / 32])));
    default: return v_load((const float *)p->b + k);
    }
}

/* Columns [at, at + 16 n_v). kind, n_q and n_v are constants. */
INLINE void tile(const struct small_product *p, enum operand kind, size_t at, size_t n_q,
                 size_t n_v)
{
    v16 acc[QUERIES][4];
    for (size_t q = 0; q < n_q; q++) {
        for (size_t j = 0; j < n_v; j++) {
            acc[q][j] = p->add ? v_load(p->c + q * p->ld_c + at + 16 * j) : v_set1(0.0f);
        }
    }
    for (size_t i = 0; i < p->n; i++) {
        v16 x[4];
        for (size_t j = 0; j < n_v; j++) {
            x[j] = operand(p, kind, p->first + i, at + 16 * j);
        }
        for (size_t q = 0; q < n_q; q++) {
            v16 w = v_set1(p->a[q * p->ld_a + i]);
            for (size_t j = 0; j < n_v; j++) {
                acc[q][j] = v_fma(w, x[j], acc[q][j]);
            }
        }
    }
    for (size_t q = 0; q < n_q; q++) {
        for (size_t j = 0; j < n_v; j++) {
            v_store(p->c + q * p->ld_c + at + 16 * j, acc[q][j]);
        }
    }
}

/* The fewer queries, the wider the tile: additions must not wait for each other. */
INLINE void tiles(const struct small_product *p, enum operand kind, size_t n_q)
{
    const size_t n_v = TILE >= 4 * n_q ? 4 : TILE >= 2 * n_q ? 2 : 1, end = p->at + p->n_cols;
    size_t at = p->at;
    for (; at + 16 * n_v <= end; at += 16 * n_v) {
        tile(p, kind, at, n_q, n_v);
    }
    for (; n_v > 1 && at < end; at += 16) {
        tile(p, kind, at, n_q, 1);
    }
}

INLINE void tiles_of(const struct small_product *p, enum operand kind, size_t n_q)
{
    switch (n_q) {
    case 1: tiles(p, kind, 1); break;
#if QUERIES >= 4
    case 2: tiles(p, kind, 2); break;
    case 3: tiles(p, kind, 3); break;
    case 4: tiles(p, kind, 4); break;
#endif
#if QUERIES >= 6
    case 5: tiles(p, kind, 5); break;
    case 6: tiles(p, kind, 6); break;
#endif
    }
}

static void multiply_small(const struct small_product *p, size_t n_q)
{
    switch (p->kind) {
    case IN_FLOATS: tiles_of(p, IN_FLOATS, n_q); break;
    case IN_F16: tiles_of(p, IN_F16, n_q); break;
    case IN_Q8_0_K: tiles_of(p, IN_Q8_0_K, n_q); break;
    case IN_Q8_0_V: tiles_of(p, IN_Q8_0_V, n_q); break;
    }
}

/* ---------------------------------------------------------------- softmax */

static void scale_row(float *x, size_t n, v16 by)
{
    for (size_t i = 0; i < n; i += 16) {
        v_store(x + i, v_mul(v_load(x + i), by));
    }
}

/* The scores s[KV_PAGE] of query q become weights, relative to the largest score so far; what was
 * weighed before is scaled to that. */
static void softmax_page(const struct attend_work *w, size_t q, struct seen seen, float *s)
{
    const size_t lo = seen.lo / 16 * 16, hi = (seen.hi + 15) / 16 * 16;
    for (size_t t = lo; t < seen.lo; t++) {
        s[t] = -INFINITY;
    }
    for (size_t t = seen.hi; t < hi; t++) {
        s[t] = -INFINITY;
    }
    v16 top = v_load(s + lo);
    for (size_t t = lo + 16; t < hi; t += 16) {
        top = v_max(top, v_load(s + t));
    }
    const float before = w->max[q], page = v_top(top), max = before > page ? before : page;
    /* nothing but -Inf so far: all weights are 0, and later pages may still have others */
    const float base = max == -INFINITY ? 0.0f : max;
    if (max != before) {
        v16 by = v_exp(v_set1(before - base));
        scale_row(w->sum + q * 16, 16, by);
        scale_row(w->out + q * w->ld, w->ld, by);
        w->max[q] = max;
    }
    v16 sum = v_load(w->sum + q * 16);
    for (size_t t = lo; t < hi; t += 16) {
        v16 e = v_exp(v_sub(v_load(s + t), v_set1(base)));
        v_store(s + t, e);
        sum = v_add(sum, e);
    }
    v_store(w->sum + q * 16, sum);
}

/* ---------------------------------------------------------------- pages */

/* What row r sees of the page that begins at position `base`. */
INLINE struct seen seen_by(const struct attention *a, size_t r, size_t base)
{
    const size_t end = a->pos + r + 1;
    const size_t first = a->window > 0 && end > a->window ? end - a->window : 0;
    struct seen s = { first > base ? first - base : 0, end > base ? end - base : 0 };
    s.lo = s.lo < KV_PAGE ? s.lo : KV_PAGE;
    s.hi = s.hi < KV_PAGE ? s.hi : KV_PAGE;
    return s;
}

/* out of n queries += weights s [n, KV_PAGE] * V over the positions [lo, hi). */
static void weigh(const struct attend_work *w, const struct small_product *v, size_t q, size_t n,
                  const float *s, size_t lo, size_t hi)
{
    struct small_product p = *v;
    p.a = s + lo;
    p.c = w->out + q * w->ld;
    p.first = lo;
    p.n = hi - lo;
    if (lo < hi) {
        multiply_small(&p, n);
    }
}

/* The queries see more and more of the page from its end, and less from its beginning: what all of
 * them see they go through together, the rest each alone. */
static void weigh_all(const struct attend_work *w, const struct small_product *v, size_t q,
                      size_t n, const struct seen *seen, const float *s)
{
    size_t lo = seen[n - 1].lo, hi = seen[0].hi;
    hi = hi > lo ? hi : lo;
    for (size_t i = 0; i < n; i++) {
        weigh(w, v, q + i, 1, s + i * KV_PAGE, seen[i].lo, lo < seen[i].hi ? lo : seen[i].hi);
    }
    weigh(w, v, q, n, s, lo, hi);
    for (size_t i = 0; i < n; i++) {
        weigh(w, v, q + i, 1, s + i * KV_PAGE, hi, seen[i].hi);
    }
}

/* Queries [q, q + n) go through a page that all of them see something of. */
static void attend_queries(const struct attention *a, const struct attend_work *w,
                           const struct small_product kv[2], size_t q, size_t n, size_t base)
{
    float s[QUERIES * KV_PAGE];
    struct seen seen[QUERIES]; /* to the end: the compiler does not see that n are enough */
    for (size_t i = 0; i < QUERIES; i++) {
        seen[i] = seen_by(a, (q + (i < n ? i : 0)) / a->n_heads, base);
    }
    struct small_product k = kv[KV_K];
    k.a = w->q + q * w->ld;
    k.c = s;
    k.at = seen[0].lo / 16 * 16;
    k.n_cols = (seen[n - 1].hi + 15) / 16 * 16 - k.at;
    multiply_small(&k, n);
    for (size_t i = 0; i < n; i++) {
        softmax_page(w, q + i, seen[i], s + i * KV_PAGE);
    }
    weigh_all(w, &kv[KV_V], q, n, seen, s);
}

/* Both products over a page as it stands in the pool; their other halves are the queries'. */
static void page_products(const struct attention *a, const struct attend_work *w, size_t page,
                          struct small_product kv[2])
{
    static const enum operand kinds[][2] = {
        [WEFT_KV_F16] = { IN_F16, IN_F16 }, [WEFT_KV_Q8_0] = { IN_Q8_0_K, IN_Q8_0_V }
    };
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *block = a->kv[i].blocks + a->pages[page] * a->kv[i].ld;
        const size_t next = (page + 1) * KV_PAGE < a->pos + a->n_rows ? page + 1 : page;
        kv[i] = (struct small_product){ .kind = kinds[a->kv[i].type][i],
                                        .b = block,
                                        .next = a->kv[i].blocks + a->pages[next] * a->kv[i].ld,
                                        .scales = kv_block_scales(block, a->head_dim) };
    }
    kv[KV_K].ld_a = w->ld;
    kv[KV_K].ld_b = kv[KV_K].ld_c = KV_PAGE;
    kv[KV_K].n = a->head_dim;
    kv[KV_V].ld_a = KV_PAGE;
    kv[KV_V].ld_b = a->head_dim;
    kv[KV_V].ld_c = kv[KV_V].n_cols = w->ld;
    kv[KV_V].add = true;
}

static void attend_page(const struct attention *a, const struct attend_work *w, size_t page)
{
    const size_t base = page * KV_PAGE;
    size_t r = base > a->pos ? base - a->pos : 0, end = r; /* the rows that see some of it */
    while (end < a->n_rows && seen_by(a, end, base).lo < KV_PAGE) {
        end++;
    }
    const size_t last = end * a->n_heads;
    struct small_product kv[2];
    page_products(a, w, page, kv);
    /* for one or two groups of queries to write floats and to read them again would take longer */
    if (last - r * a->n_heads > 2 * QUERIES || a->head_dim % 16 != 0) {
        const size_t lo = seen_by(a, r, base).lo, hi = seen_by(a, end - 1, base).hi;
        loads[a->kv[KV_K].type].k(kv[KV_K].b, a->head_dim, lo / 16 * 16, (hi + 15) / 16 * 16, w->k);
        loads[a->kv[KV_V].type].v(kv[KV_V].b, a->head_dim, lo, hi, w->v, w->ld);
        kv[KV_K].kind = kv[KV_V].kind = IN_FLOATS;
        kv[KV_K].b = w->k;
        kv[KV_V].b = w->v;
        kv[KV_V].ld_b = w->ld;
    }
    for (size_t q = r * a->n_heads; q < last; q += QUERIES) {
        attend_queries(a, w, kv, q, last - q < QUERIES ? last - q : QUERIES, base);
    }
}

static void op_attend(const struct attention *a)
{
    const struct attend_work w = work_of(a);
    const size_t n = a->n_rows * a->n_heads, dim = a->head_dim;
    for (size_t q = 0; q < n; q++) {
        const float *from = a->q + q / a->n_heads * a->ld + q % a->n_heads * dim;
        for (size_t i = 0; i < dim; i++) {
            w.q[q * w.ld + i] = from[i] * a->scale;
        }
        if (kv_type_rotates(a->kv[KV_K].type)) {
            kv_rotate(w.q + q * w.ld, dim);
        }
        w.max[q] = -INFINITY;
    }
    memset(w.out, 0, n * w.ld * sizeof *w.out);
    memset(w.sum, 0, n * 16 * sizeof *w.sum);
    const size_t last = (a->pos + a->n_rows - 1) / KV_PAGE;
    size_t page = a->window > 0 && a->pos + 1 > a->window ? (a->pos + 1 - a->window) / KV_PAGE : 0;
    for (; page <= last; page++) {
        attend_page(a, &w, page);
    }
    for (size_t q = 0; q < n; q++) {
        float *to = a->out + q / a->n_heads * a->ld + q % a->n_heads * dim;
        v16 sum = v_set1(v_fold(v_load(w.sum + q * 16)));
        for (size_t i = 0; i < dim; i += 16) {
            store_part(to + i, dim - i, v_div(v_load(w.out + q * w.ld + i), sum));
        }
    }
}
