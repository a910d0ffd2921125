// Looks up the rows of the embedding table for the tokens of a step.
//
//   x [n, dim] = table [token of row i, dim], as quant.c decodes it, without padding
//
// Reads n rows of the table and writes 4 bytes for each of their weights. One block of 256 threads
// for each row. A token outside the table gives zeros: in a chain of steps that the host does not
// watch, a row whose logits had a NaN has token -1. Test: tests/cuda/test_weights.c.
#include "dequant.cuh"

enum { THREADS = 256 };

__global__ void embed_row(struct dmatrix table, const struct drow *rows, float *x)
{
    grid_dependency_release();
    grid_dependency_wait();
    const int dim = (int)table.n_cols;
    const uint32_t token = (uint32_t)rows[blockIdx.x].token;
    float *out = x + (size_t)blockIdx.x * dim;
    if (token >= table.n_rows) {
        for (int i = threadIdx.x; i < dim; i += THREADS) {
            out[i] = 0.0f;
        }
        return;
    }
    decode_row(table, token, [&](int col, const float w[8]) {
        if (dim % 4 == 0 && col + 8 <= dim) { // rows begin at multiples of 16 bytes
            *(float4 *)(out + col) = make_float4(w[0], w[1], w[2], w[3]);
            *(float4 *)(out + col + 4) = make_float4(w[4], w[5], w[6], w[7]);
            return;
        }
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if (col + k < dim) {
                out[col + k] = w[k];
            }
        }
    });
}

cudaError_t kernel_embed(const struct dmatrix *table, const struct dstep *step, size_t n,
                         struct dptr x, const struct dqueue *on)
{
    if (n == 0) {
        return cudaSuccess;
    }
    return launch(embed_row,
                  { .grid = (unsigned)n,
                    .block = THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  *table, ptr<const struct drow>(step->rows), ptr<float>(x));
}
