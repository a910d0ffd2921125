// Samples: block reduction with shuffles and shared memory (rmsnorm), and a quantised mat-vec on
// dp4a with 16-byte loads and a struct of pointers as parameter.
#include "check.cuh"

static __device__ __forceinline__ float warp_sum(float v)
{
#pragma unroll
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

// y[row] = x[row] / rms(x[row]) * w; one block per row of n
__global__ void __launch_bounds__(256)
    k_rmsnorm(float *y, const float *x, const float *w, int n, float eps)
{
    SHARED(float[32], partial);
    x += (size_t)blockIdx.x * n;
    y += (size_t)blockIdx.x * n;
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        sum += x[i] * x[i];
    sum = warp_sum(sum);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    if (lane == 0)
        partial[warp] = sum;
    __syncthreads();
    sum = warp_sum(lane < warps ? partial[lane] : 0.0f);
    const float scale = rsqrtf(sum / n + eps);
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        y[i] = x[i] * scale * w[i];
}

static void rmsnorm(void)
{
    const int sizes[] = { 256, 100, 1000 }, rows = 3;
    for (int n : sizes) {
        auto x = random_floats((size_t)rows * n), w = random_floats(n);
        Buffer<float> y(x.size()), dx(x), dw(w);
        OK(launch(k_rmsnorm, { .grid = dim3(rows), .block = 256 }, y.p, dx.p, dw.p, n, 1e-5f));
        auto out = y.get();
        for (int r = 0; r < rows; r++) {
            double s = 0;
            for (int i = 0; i < n; i++)
                s += (double)x[r * n + i] * x[r * n + i];
            for (int i = 0; i < n; i++) // tolerance: a sum of 1000 floats
                CHECK(near(out[r * n + i], x[r * n + i] / sqrt(s / n + 1e-5) * w[i], 1e-5));
        }
    }
}

// Rows of int8 codes, with one scale for every 32 codes.
struct Quantised {
    int8_t *codes;
    float *scales;
};

__global__ void k_quantise(Quantised out, const float *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float v = i < n ? x[i] : 0.0f;
    float a = fabsf(v);
#pragma unroll
    for (int o = 16; o; o >>= 1)
        a = fmaxf(a, __shfl_xor_sync(0xffffffffu, a, o));
    const float d = a / 127.0f;
    if (i >= n)
        return;
    out.codes[i] = (int8_t)__float2int_rn(d > 0.0f ? v / d : 0.0f);
    if (threadIdx.x % 32 == 0)
        out.scales[i / 32] = d;
}

// y = w x, one warp per row, 16 weights per lane at a time
__global__ void __launch_bounds__(128)
    k_matvec(float *y, Quantised w, Quantised x, int rows, int cols)
{
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    const int8_t *codes = w.codes + (size_t)row * cols;
    const float *scales = w.scales + (size_t)row * (cols / 32);
    float sum = 0;
    for (int k = lane * 16; k < cols; k += 32 * 16) {
        int4 a = __ldg((const int4 *)(codes + k)), b = *(const int4 *)(x.codes + k);
        int dot = __dp4a(a.x, b.x, 0);
        dot = __dp4a(a.y, b.y, dot);
        dot = __dp4a(a.z, b.z, dot);
        dot = __dp4a(a.w, b.w, dot);
        sum += (float)dot * (scales[k / 32] * x.scales[k / 32]);
    }
    sum = warp_sum(sum);
    if (lane == 0)
        y[row] = sum;
}

static void matvec_of(int rows, int cols)
{
    auto w = random_bytes((size_t)rows * cols);
    auto d = random_floats(w.size() / 32), x = random_floats(cols);
    Buffer<int8_t> dw(w), xq(cols);
    Buffer<float> dd(d), dx(x), xd(cols / 32), y(rows);
    Quantised qw = { dw, dd }, qx = { xq, xd };
    OK(launch(k_quantise, { .grid = dim3((cols + 127) / 128), .block = 128 }, qx, dx.p, cols));
    OK(launch(k_matvec, { .grid = dim3((rows + 3) / 4), .block = 128 }, y.p, qw, qx, rows, cols));
    auto out = y.get();
    auto codes = xq.get();
    auto scales = xd.get();
    for (int b = 0; b < cols / 32; b++)
        // The code is at most half a step away.
        for (int i = 0; i < 32; i++)
            CHECK(fabs(codes[b * 32 + i] * scales[b] - x[b * 32 + i]) <= 0.501 * scales[b]);
    for (int r = 0; r < rows; r++) {
        double s = 0;
        for (int i = 0; i < cols; i++)
            s += (double)w[(size_t)r * cols + i] * codes[i] *
                 ((double)d[((size_t)r * cols + i) / 32] * scales[i / 32]);
        CHECK(near(out[r], s, 1e-4));
    }
}
static void matvec(void)
{
    // The last block of k_quantise is not full.
    matvec_of(33, 288);
    matvec_of(100, 1024);
}

const struct sample matvec_samples[] = { { "rmsnorm", rmsnorm }, { "matvec", matvec }, {} };
