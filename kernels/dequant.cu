// Converts rows of weights to halves, for products on tensor cores.
//
//   half [n, n_cols rounded up to 8] = w, rounded to nearest, at most 65504 in magnitude
//
// Every byte of the rows is read once, and 2 bytes are written for each weight. A weight beyond the
// range of halves (in an F32 or BF16 file) becomes the largest half, so that products with it stay
// finite; a NaN stays a NaN. One block of 256 threads for each row; each thread writes 16 bytes at
// a time.
//
//   reach = max over the rows of sum |w as half|, from which the half_scale of the activations
//   (struct dacts) is chosen, so that the products fit into halves
// reach_row reads the same bytes and writes one float. It takes the maximum of the floats' bits as
// integers, which have the same order for floats >= 0. Test: tests/cuda/test_weights.c.
#include "dequant.cuh"

enum { THREADS = 256 };

__device__ __forceinline__ uint32_t two_halves(float a, float b)
{
    const __half2 most = __half2half2(__ushort_as_half(0x7bff));
    const __half2 h = __hmax2_nan(__hmin2_nan(__floats2half2_rn(a, b), most), __hneg2(most));
    return __half_as_ushort(__low2half(h)) | (uint32_t)__half_as_ushort(__high2half(h)) << 16;
}

__global__ void dequant_row(struct dmatrix m, size_t first, size_t stride, __half *out)
{
    grid_dependency_release();
    grid_dependency_wait();
    __half *row = out + blockIdx.x * stride;
    decode_row(m, first + blockIdx.x, [&](int col, const float w[8]) {
        *(uint4 *)(row + col) = make_uint4(two_halves(w[0], w[1]), two_halves(w[2], w[3]),
                                           two_halves(w[4], w[5]), two_halves(w[6], w[7]));
    });
}

__global__ void __launch_bounds__(THREADS) reach_row(struct dmatrix m, unsigned *reach)
{
    SHARED(float[WARP], partial);
    grid_dependency_release();
    grid_dependency_wait();
    float sum = 0.0f;
    decode_row(m, blockIdx.x, [&](int, const float w[8]) {
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            const uint32_t h = two_halves(w[k], w[k + 1]);
            sum = __fadd_rn(sum, __fadd_rn(fabsf(low_half(h)), fabsf(high_half(h))));
        }
    });
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) {
        atomicMax(reach, __float_as_uint(sum));
    }
}

cudaError_t kernel_reach(const struct dmatrix *m, struct dptr reach, const struct dqueue *on)
{
    return launch(reach_row,
                  { .grid = m->n_rows,
                    .block = THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  *m, ptr<unsigned>(reach));
}

cudaError_t kernel_dequant(const struct dmatrix *m, size_t first, size_t n, struct dptr half,
                           const struct dqueue *on)
{
    if (n == 0) {
        return cudaSuccess;
    }
    const size_t stride = ((size_t)m->n_cols + 7) / 8 * 8;
    return launch(dequant_row,
                  { .grid = (unsigned)n,
                    .block = THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  *m, first, stride, ptr<__half>(half));
}
