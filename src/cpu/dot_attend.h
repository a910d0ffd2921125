/* Part of dot_body.h: softmax attention of the query heads that share one KV head, in three passes
 * over the positions: scores, softmax, weighted sum of values. Every sum has an order fixed by the
 * positions alone: scores run over head_dim in 16 lanes, the softmax sum over positions in 16
 * lanes, values are added position after position. */

/* scores[h * ld + t] = scale * q[h] . k[t] for n_h heads and n_t = 4 or 1 positions, both
 * constants. */
INLINE void score_block(const float *q, const f16_bits *k, size_t head_dim, size_t n_h, size_t n_t,
                        float scale, float *scores, size_t ld)
{
    v16 acc[HEADS][4];
    for (size_t h = 0; h < n_h; h++) {
        acc[h][0] = acc[h][1] = acc[h][2] = acc[h][3] = v_set1(0.0f);
    }
    size_t i = 0;
    for (; i + 16 <= head_dim; i += 16) {
        for (size_t t = 0; t < n_t; t++) {
            v16 kt = v_load_f16(k + t * head_dim + i);
            for (size_t h = 0; h < n_h; h++) {
                acc[h][t] = v_fma(v_load(q + h * head_dim + i), kt, acc[h][t]);
            }
        }
    }
    if (i < head_dim) {
        for (size_t t = 0; t < n_t; t++) {
            v16 kt = v_load_f16_n(k + t * head_dim + i, head_dim - i);
            for (size_t h = 0; h < n_h; h++) {
                acc[h][t] = v_fma(v_load_n(q + h * head_dim + i, head_dim - i), kt, acc[h][t]);
            }
        }
    }
    for (size_t h = 0; h < n_h; h++) {
        float sum[4];
        v_fold4(acc[h][0], acc[h][1], acc[h][2], acc[h][3], sum);
        for (size_t t = 0; t < n_t; t++) {
            scores[h * ld + t] = sum[t] * scale;
        }
    }
}

INLINE void score_span(const float *q, size_t head_dim, size_t n_h, float scale,
                       const struct kv_span *s, float *scores, size_t ld)
{
    size_t t = 0;
    for (; t + 4 <= s->n; t += 4) {
        score_block(q, s->k + t * head_dim, head_dim, n_h, 4, scale, scores + t, ld);
    }
    for (; t < s->n; t++) {
        score_block(q, s->k + t * head_dim, head_dim, n_h, 1, scale, scores + t, ld);
    }
}

/* s[t] = e^(s[t] - max s), returns their sum; lanes go by position. */
static float softmax(float *s, size_t n)
{
    float top = -INFINITY;
    size_t t = 0;
    if (n >= 16) {
        v16 max = v_load(s);
        for (t = 16; t + 16 <= n; t += 16) {
            max = v_max(max, v_load(s + t));
        }
        float lanes[16];
        v_store(lanes, max);
        for (int l = 0; l < 16; l++) {
            top = lanes[l] > top ? lanes[l] : top;
        }
    }
    for (; t < n; t++) {
        top = s[t] > top ? s[t] : top;
    }
    v16 acc = v_set1(0.0f);
    for (t = 0; t < n; t += 16) {
        store_part(s + t, n - t, v_exp(v_sub(load_part(s + t, n - t), v_set1(top))));
        acc = v_add(acc, load_part(s + t, n - t));
    }
    return v_fold(acc);
}

/* out[h, 0:16 n_v] += p[h * ld + t] * v[t, 0:16 n_v] for n_h heads, position after position.
 * Constants: n_h, n_v = 4, or n_v = 1 for `part` <= 16 lanes. */
INLINE void mix_block(const float *p, size_t ld, const f16_bits *v, size_t n_t, size_t head_dim,
                      size_t n_h, size_t n_v, size_t part, float *out)
{
    v16 acc[HEADS][4];
    for (size_t h = 0; h < n_h; h++) {
        for (size_t i = 0; i < n_v; i++) {
            acc[h][i] = load_part(out + h * head_dim + 16 * i, part);
        }
    }
    for (size_t t = 0; t < n_t; t++) {
        v16 pt[HEADS];
        for (size_t h = 0; h < n_h; h++) {
            pt[h] = v_set1(p[h * ld + t]);
        }
        for (size_t i = 0; i < n_v; i++) {
            const f16_bits *vt = v + t * head_dim + 16 * i;
            v16 x = part >= 16 ? v_load_f16(vt) : v_load_f16_n(vt, part);
            for (size_t h = 0; h < n_h; h++) {
                acc[h][i] = v_fma(pt[h], x, acc[h][i]);
            }
        }
    }
    for (size_t h = 0; h < n_h; h++) {
        for (size_t i = 0; i < n_v; i++) {
            store_part(out + h * head_dim + 16 * i, part, acc[h][i]);
        }
    }
}

INLINE void mix_span(const float *p, size_t ld, size_t head_dim, size_t n_h,
                     const struct kv_span *s, float *out)
{
    size_t i = 0;
    for (; i + 64 <= head_dim; i += 64) {
        mix_block(p, ld, s->v + i, s->n, head_dim, n_h, 4, 16, out + i);
    }
    for (; i + 16 <= head_dim; i += 16) {
        mix_block(p, ld, s->v + i, s->n, head_dim, n_h, 1, 16, out + i);
    }
    if (i < head_dim) {
        mix_block(p, ld, s->v + i, s->n, head_dim, n_h, 1, head_dim - i, out + i);
    }
}

/* Query heads handled at a time, so that their sums fit in a fixed array. */
#define MAX_HEADS 16

/* Spans outside, heads inside: keys and values are read from memory once for all heads. */
static void attend_heads(const float *q, size_t n_h, size_t head_dim, float scale,
                         const struct kv_span *spans, size_t n_spans, size_t total, float *scores,
                         float *out)
{
    float *s = scores;
    for (size_t i = 0; i < n_spans; s += spans[i].n, i++) {
        size_t h = 0;
        for (; h + HEADS <= n_h; h += HEADS) {
            score_span(q + h * head_dim, head_dim, HEADS, scale, spans + i, s + h * total, total);
        }
        for (; h < n_h; h++) {
            score_span(q + h * head_dim, head_dim, 1, scale, spans + i, s + h * total, total);
        }
    }
    float sum[MAX_HEADS];
    for (size_t h = 0; h < n_h; h++) {
        sum[h] = softmax(scores + h * total, total);
    }
    memset(out, 0, n_h * head_dim * sizeof *out);
    s = scores;
    for (size_t i = 0; i < n_spans; s += spans[i].n, i++) {
        size_t h = 0;
        for (; h + HEADS <= n_h; h += HEADS) {
            mix_span(s + h * total, total, head_dim, HEADS, spans + i, out + h * head_dim);
        }
        for (; h < n_h; h++) {
            mix_span(s + h * total, total, head_dim, 1, spans + i, out + h * head_dim);
        }
    }
    for (size_t h = 0; h < n_h; h++) {
        for (size_t i = 0; i < head_dim; i++) {
            out[h * head_dim + i] /= sum[h];
        }
    }
}

static void op_attend(const float *q, size_t n_q, size_t head_dim, float scale,
                      const struct kv_span *spans, size_t n_spans, float *scores, float *out)
{
    size_t total = 0;
    for (size_t i = 0; i < n_spans; i++) {
        total += spans[i].n;
    }
    for (size_t h = 0; h < n_q; h += MAX_HEADS) {
        size_t n_h = n_q - h < MAX_HEADS ? n_q - h : MAX_HEADS;
        attend_heads(q + h * head_dim, n_h, head_dim, scale, spans, n_spans, total,
                     scores + h * total, out + h * head_dim);
    }
}
