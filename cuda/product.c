/* Products of many rows: matrices are turned into halves, and cuBLAS multiplies them on tensor
 * cores. */
#include "cuda.h"

static weft_status multiply_floats(struct cuda *c, const struct dmatrix *m, const struct dacts *a,
                                   struct product p, weft_error *err)
{
    p.w = m->plane[PLANE_CODES];
    p.a = a->x;
    p.n_cols = m->n_cols;
    p.ld_w = plane_row_bytes(m->type, PLANE_CODES, m->n_cols) / sizeof(float);
    p.n_w = m->n_rows;
    p.floats = true;
    return cuda_check_blas(c, blas_multiply(&c->blas, &p), "cublasGemmEx", err);
}

/* Writes rows [first, first + n) of the matrices as halves to the slab. Rows are numbered through
 * all matrices: the first row of w[1] follows the last row of w[0]. */
static weft_status dequantise(struct cuda *c, const struct dmatrix *const *w, size_t first,
                              size_t n, size_t row_bytes, weft_error *err)
{
    struct dptr to = c->slab;
    for (; n > 0; w++) {
        size_t n_rows = (*w)->n_rows, from = size_min(first, n_rows);
        size_t some = size_min(n, n_rows - from);
        CU(c, kernel_dequant, *w, from, some, to, &c->queue);
        to = dptr_at(to, some * row_bytes);
        n -= some;
        first -= from;
    }
    return WEFT_OK;
}

/* Multiplies the activations by several matrices, whose rows add up to n_rows: all at once if the
 * slab holds them, else in pieces. */
static weft_status multiply_halves(struct cuda *c, const struct dmatrix *const *w, size_t n_rows,
                                   const struct dacts *a, struct product p, weft_error *err)
{
    size_t element = p.halves_out ? sizeof(f16_bits) : sizeof(float);
    size_t row = ((*w)->n_cols + (size_t)7) / 8 * 8 * sizeof(f16_bits),
           most = c->halves_bytes / row;
    most = most < n_rows && most >= 128 ? most / 128 * 128 : most; /* whole tiles of cuBLAS */
    p.w = c->slab;
    p.a = a->half;
    p.n_cols = p.ld_w = row / sizeof(f16_bits);
    for (size_t first = 0; first < n_rows; first += most) {
        p.n_w = size_min(n_rows - first, most);
        TRY(dequantise(c, w, first, p.n_w, row, err));
        TRY(cuda_check_blas(c, blas_multiply(&c->blas, &p), "cublasGemmEx", err));
        p.out = dptr_at(p.out, p.n_w * element);
    }
    return WEFT_OK;
}

weft_status cuda_multiply(struct cuda *c, const struct joint *j, const struct dacts *a, size_t n,
                          weft_error *err)
{
    struct product p = {
        .out = j->out, .n = n, .ld_a = a->stride, .halves_out = j->halves, .add = j->add
    };
    for (size_t i = 0; i < j->n_w; i++) {
        p.ld_out += j->w[i]->n_rows;
    }
    for (size_t i = 0, end; i < j->n_w; i = end) {
        size_t n_rows = j->w[i]->n_rows;
        end = i + 1;
        if (j->w[i]->type == QUANT_F32) {
            TRY(multiply_floats(c, j->w[i], a, p, err));
        } else {
            for (; end < j->n_w && j->w[end]->type != QUANT_F32; end++) {
                n_rows += j->w[end]->n_rows;
            }
            TRY(multiply_halves(c, j->w + i, n_rows, a, p, err));
        }
        p.out = dptr_at(p.out, n_rows * (p.halves_out ? sizeof(f16_bits) : sizeof(float)));
    }
    return WEFT_OK;
}

weft_status cuda_reach(struct cuda *c, weft_error *err)
{
    for (size_t i = 0; c->tensor_cores && i < c->model->config.n_layers; i++) {
        const struct dlayer *l = &c->weights.layers[i];
        struct dptr reach = dptr_at(c->reach, i * sizeof(float));
        if (cuda_halves_out(&c->model->layers[i])) {
            CU(c, kernel_reach, &l->matrix[FFN_GATE], reach, &c->queue);
            CU(c, kernel_reach, &l->matrix[FFN_UP], reach, &c->queue);
        }
    }
    return WEFT_OK;
}
