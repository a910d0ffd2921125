// Prepares rows of activations for the GEMMs of a step of many rows, in the forms of struct dacts:
//
//   kernel_norm     row = x / sqrt(mean of squares + eps) * weight
//   kernel_swiglu   row = silu(gate) * up, or silu(gate + bias) * (up + bias)
//   kernel_convert  row = x
//
// The input is [n, n_cols] float (gate and up may be halves), the output has rows of `stride`,
// padded with zeros:
//
//   Q8    d = (largest magnitude of a block's 32 values) / 127, q = round(value / d)
//   F16   half = value / half_scale. half_scale is the least power of two, at least 1, that brings
//         every magnitude of the row to 32768 or less, so that halves do not overflow.
//         With `reach`, products of the row that are stored as halves do not overflow either, see
//         half_scale()
//
// kernel_add computes x += scale * y, and kernel_add_bias x += bias. A NaN or Inf makes its block
// of Q8 NaN; in F16 and F32 it stays a NaN or Inf, with half_scale 1.
//
// Bytes: a row is read once from memory (and again from the L1 cache: by norm for the sum of
// squares, by F16 for the largest magnitude); each form is written once. One block of 256 threads
// for each row; kernel_add and kernel_add_bias have one block for each 1024 columns of a row. Test:
// tests/cuda/test_rows.c.
#include "rows.cuh"

struct NormRows {
    struct norm norm;
    struct Row {
        const struct norm &norm;
        const float *x;
        float scale;
        __device__ __forceinline__ void load(size_t col, float v[4]) const
        {
            if (norm.dim % 4 == 0) {
                normed4<true>(norm, x, scale, col, v);
            } else {
                normed4<false>(norm, x, scale, col, v);
            }
        }
    };
    __device__ __forceinline__ Row row(size_t i, NormSums &sums) const
    {
        norm_scales<1>(norm, i, 1, sums);
        return { norm, norm_row(norm, i), sums.scale[0] };
    }
};

// load4() for a row of halves.
__device__ __forceinline__ void load4(const __half *row, size_t n, size_t col, float v[4])
{
    if (n % 4 == 0) {
        const uint2 h = col < n ? *(const uint2 *)(row + col) : make_uint2(0, 0);
        v[0] = half_bits((uint16_t)h.x), v[1] = half_bits((uint16_t)(h.x >> 16));
        v[2] = half_bits((uint16_t)h.y), v[3] = half_bits((uint16_t)(h.y >> 16));
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            v[k] = col + k < n ? __half2float(row[col + k]) : 0.0f;
        }
    }
}

template <class T> struct SwigluRows { // T: float or __half
    struct dptr gate, up, scale[2];    // as in struct swiglu
    uint32_t stride, pad;
    size_t n_cols;
    struct Row {
        const T *gate, *up;
        float gate_scale, up_scale;
        size_t n_cols;
        __device__ __forceinline__ void load(size_t col, float v[4]) const
        {
            float u[4];
            load4(gate, n_cols, col, v);
            load4(up, n_cols, col, u);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float g = __fmul_rn(gate_scale, v[k]);
                v[k] = __fmul_rn(silu(g), __fmul_rn(up_scale, u[k]));
            }
        }
    };
    __device__ __forceinline__ float scale_of(int which, size_t i) const
    {
        const float *scales = ptr<const float>(scale[which]);
        return scales != nullptr ? scales[i] : 1.0f;
    }
    __device__ __forceinline__ Row row(size_t i, NormSums &) const
    {
        return { ptr<const T>(gate) + i * stride, ptr<const T>(up) + i * stride, scale_of(0, i),
                 scale_of(1, i), n_cols };
    }
};

// The rows with biases have a kernel of their own, so that models without biases do not pay for
// them.
struct BiasedSwigluRows {
    SwigluRows<float> rows;
    struct dptr bias[2];
    struct Row {
        SwigluRows<float>::Row row;
        const float *gate_bias, *up_bias;
        __device__ __forceinline__ void load(size_t col, float v[4]) const
        {
            float u[4], gate_b[4], up_b[4];
            load4(row.gate, row.n_cols, col, v);
            load4(row.up, row.n_cols, col, u);
            load4(gate_bias, row.n_cols, col, gate_b);
            load4(up_bias, row.n_cols, col, up_b);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float g = __fmaf_rn(row.gate_scale, v[k], gate_b[k]);
                v[k] = __fmul_rn(silu(g), __fmaf_rn(row.up_scale, u[k], up_b[k]));
            }
        }
    };
    __device__ __forceinline__ Row row(size_t i, NormSums &sums) const
    {
        return { rows.row(i, sums), ptr<const float>(bias[0]), ptr<const float>(bias[1]) };
    }
};

struct PlainRows {
    const float *x;
    size_t n_cols;
    struct Row {
        const float *x;
        size_t n_cols;
        __device__ __forceinline__ void load(size_t col, float v[4]) const
        {
            load4(x, n_cols, col, v);
        }
    };
    __device__ __forceinline__ Row row(size_t i, NormSums &) const
    {
        return { x + i * n_cols, n_cols };
    }
};

// Returns the least k with 2^k >= v, where v is finite, above 0, and given in magnitude_bits. For
// subnormal v it returns -126.
__device__ __forceinline__ int log2_up(unsigned bits) { return (int)((bits - 1) >> 23) + 1 - 127; }

// Returns the scale of a row whose largest magnitude is top (in magnitude_bits): 2^k with the least
// k >= 0 for which P / 2^k <= 2^15. P is the product of top and reach, each rounded up to a power
// of two. Every row w of the matrices of `reach` has sum |w| <= reach, so that
//
//   |sum w a / 2^k| <= sum |w| * top / 2^k <= P / 2^k <= 2^15,
//
// which is half of the range of a half. The other half is for roundings: of a to half (2^-11) and
// of the sums in float (less than 2^-5 for 2^17 columns, even if every addition is cut off instead
// of rounded). Where reach is 1 or less, or none, only the row's own halves are bounded. k ends at
// 127: values beyond 2^142 / reach, which no norm gives, may overflow.
__device__ __forceinline__ float half_scale(unsigned top, float reach)
{
    const unsigned infinite = 0x7f800000;
    if (top == 0 || top >= infinite) {
        return 1.0f;
    }
    const bool bounds = reach > 1.0f && reach < __uint_as_float(infinite);
    const int k = log2_up(top) + (bounds ? log2_up(__float_as_uint(reach)) : 0) - 15;
    return __uint_as_float((unsigned)(min(max(k, 0), 127) + 127) << 23);
}

// Returns the largest magnitude_bits of a row in all threads.
template <class Row>
__device__ __forceinline__ unsigned largest(const Row &row, size_t stride,
                                            unsigned (&shared)[ROW_WARPS])
{
    unsigned top = 0;
    for (size_t col = 4 * threadIdx.x; col < stride; col += 4 * ROW_THREADS) {
        float v[4];
        row.load(col, v);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            top = max(top, magnitude_bits(v[k]));
        }
    }
    top = __reduce_max_sync(ALL_LANES, top);
    if (threadIdx.x % WARP == 0) {
        shared[threadIdx.x / WARP] = top;
    }
    __syncthreads();
#pragma unroll
    for (int w = 0; w < ROW_WARPS; w++) {
        top = max(top, shared[w]);
    }
    return top;
}

template <class Rows>
__global__ void __launch_bounds__(ROW_THREADS)
    write_rows(const __grid_constant__ Rows rows, const __grid_constant__ struct dacts out)
{
    SHARED(NormSums, sums);
    SHARED(unsigned[ROW_WARPS], tops);
    const size_t i = blockIdx.x, stride = out.stride;
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    grid_dependency_release();
    grid_dependency_wait();
    const auto row = rows.row(i, sums);
    float to_half = 1.0f;
    if (out.forms & ACT_F16) {
        const float *reach = ptr<const float>(out.reach);
        const float scale =
            half_scale(largest(row, stride, tops), reach != nullptr ? *reach : 1.0f);
        to_half = __fdiv_rn(1.0f, scale);
        if (threadIdx.x == 0) {
            ptr<float>(out.half_scale)[i] = scale;
        }
    }
    for (size_t chunk = warp * CHUNK; chunk < stride; chunk += 4 * ROW_THREADS) {
        const size_t col = chunk + 4 * lane, at = i * stride + col;
        const bool inside = col < stride;
        float v[4] = {};
        if (inside) {
            row.load(col, v);
        }
        if (out.forms & ACT_Q8) {
            quantize128<1>({ { v[0], v[1], v[2], v[3] } }, { inside }, { (unsigned)col },
                           ptr<int8_t>(out.q) + i * stride,
                           ptr<struct act_block>(out.block) + i * (stride / 32));
        }
        if (inside && (out.forms & ACT_F32)) {
            store4(ptr<float>(out.x) + at, v);
        }
        if (inside && (out.forms & ACT_F16)) {
            store_halves4(ptr<__half>(out.half) + at, v, to_half);
        }
    }
}

template <class Rows>
static cudaError_t launch_rows(const Rows &rows, size_t n, const struct dacts *out,
                               const struct dqueue *on)
{
    if (n == 0) {
        return cudaSuccess;
    }
    return launch(write_rows<Rows>,
                  { .grid = (unsigned)n,
                    .block = ROW_THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  rows, *out);
}

cudaError_t kernel_norm(const struct norm *norm, size_t n, const struct dacts *out,
                        const struct dqueue *on)
{
    return launch_rows(NormRows{ *norm }, n, out, on);
}

template <class T> static SwigluRows<T> swiglu_rows(const struct swiglu *job, size_t n_cols)
{
    return { job->gate, job->up, { job->scale[0], job->scale[1] }, job->stride, 0, n_cols };
}

cudaError_t kernel_swiglu(const struct swiglu *job, size_t n, const struct dacts *out,
                          const struct dqueue *on)
{
    const bool biased = job->bias[0].at != nullptr;
    if ((out->n_cols % 4 == 0 && job->stride % 4 != 0) || (biased && job->halves != 0)) {
        return cudaErrorInvalidValue;
    }
    if (biased) {
        const BiasedSwigluRows rows = { swiglu_rows<float>(job, out->n_cols),
                                        { job->bias[0], job->bias[1] } };
        return launch_rows(rows, n, out, on);
    }
    return job->halves != 0 ? launch_rows(swiglu_rows<__half>(job, out->n_cols), n, out, on)
                            : launch_rows(swiglu_rows<float>(job, out->n_cols), n, out, on);
}

cudaError_t kernel_convert(struct dptr x, size_t n, const struct dacts *out,
                           const struct dqueue *on)
{
    return launch_rows(PlainRows{ ptr<const float>(x), out->n_cols }, n, out, on);
}

// to += s * y for rows of dim columns; each thread adds four columns.
__device__ __forceinline__ void add_columns(float *to, const float *y, float s, size_t dim)
{
    const size_t col = 4 * ((size_t)blockIdx.y * ROW_THREADS + threadIdx.x);
    float a[4], b[4];
    load4(to, dim, col, a);
    load4(y, dim, col, b);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        a[k] = __fmaf_rn(s, b[k], a[k]);
    }
    if (dim % 4 == 0 && col < dim) {
        store4(to + col, a);
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (col + k < dim) {
                to[col + k] = a[k];
            }
        }
    }
}

__global__ void __launch_bounds__(ROW_THREADS)
    add_rows(float *x, const float *y, const float *scale, size_t dim)
{
    grid_dependency_release();
    grid_dependency_wait();
    const float s = scale != nullptr ? scale[blockIdx.x] : 1.0f;
    add_columns(x + blockIdx.x * dim, y + blockIdx.x * dim, s, dim);
}

__global__ void __launch_bounds__(ROW_THREADS) add_bias(float *x, const float *bias, size_t dim)
{
    grid_dependency_release();
    grid_dependency_wait();
    add_columns(x + blockIdx.x * dim, bias, 1.0f, dim);
}

// Launches a block for every 1024 columns of every row.
template <class... Params, class... Args>
static cudaError_t launch_columns(void (*kernel)(Params...), size_t n, size_t dim,
                                  const struct dqueue *on, Args... args)
{
    if (n == 0 || dim == 0) {
        return cudaSuccess;
    }
    const size_t block_cols = 4 * ROW_THREADS;
    return launch(kernel,
                  { .grid = dim3((unsigned)n, (unsigned)((dim + block_cols - 1) / block_cols)),
                    .block = ROW_THREADS,
                    .stream = on->stream,
                    .programmatic = on->programmatic },
                  args..., dim);
}

cudaError_t kernel_add(struct dptr x, struct dptr y, struct dptr scale, size_t n, size_t dim,
                       const struct dqueue *on)
{
    return launch_columns(add_rows, n, dim, on, ptr<float>(x), ptr<const float>(y),
                          ptr<const float>(scale));
}

cudaError_t kernel_add_bias(struct dptr x, struct dptr bias, size_t n, size_t dim,
                            const struct dqueue *on)
{
    return launch_columns(add_bias, n, dim, on, ptr<float>(x), ptr<const float>(bias));
}
