// Kernels that try the simulator on work across blocks: atomics, argmax, and persistent kernels
// with a grid barrier, both that of cooperative groups and one made of an atomic counter.
#include "check.cuh"
#include "kernels/ptx.cuh"
#include <cooperative_groups.h>

__global__ void k_atomics(unsigned *histogram, float *sum, int *most, const int *x, int n)
{
    SHARED(unsigned[16], local);
    if (threadIdx.x < 16)
        local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        atomicAdd(&local[x[i] & 15], 1u);
        atomicAdd(sum, 0.5f);
        atomicMax(most, x[i]);
    }
    __syncthreads();
    if (threadIdx.x < 16)
        atomicAdd(&histogram[threadIdx.x], local[threadIdx.x]);
}

static void atomics(void)
{
    const int n = 3000;
    std::vector<int> x(n);
    std::vector<unsigned> want(16);
    int most = -1;
    for (auto &e : x) {
        e = (int)(random_bits() % 100000);
        want[e & 15]++;
        most = std::max(most, e);
    }
    Buffer<unsigned> h(std::vector<unsigned>(16, 0));
    Buffer<float> sum(std::vector<float>{ 0 });
    Buffer<int> m(std::vector<int>{ -1 }), dx(x);
    OK(launch(k_atomics, { .grid = 4, .block = 128 }, h.p, sum.p, m.p, dx.p, n));
    CHECK(h.get() == want);
    CHECK(sum.get()[0] == n * 0.5f);
    CHECK(m.get()[0] == most);
}

// Each lane does each operation once, so that the results do not depend on the order.
__global__ void k_atomic_ops(unsigned *r)
{
    const unsigned lane = threadIdx.x;
    atomicSub(&r[0], lane);
    atomicMin(&r[1], lane + 3);
    atomicAnd(&r[2], ~(1u << lane));
    atomicOr(&r[3], 1u << lane);
    atomicXor(&r[4], lane + 1);
    atomicInc(&r[5], 9u);
    atomicDec(&r[6], 9u);
    unsigned guess = 0, seen = 0;
    // Adds 2 by compare and swap.
    do {
        guess = seen;
        seen = atomicCAS(&r[7], guess, guess + 2);
    } while (seen != guess);
    atomicAdd(&r[9], atomicExch(&r[8], lane + 1));
}

static void atomic_ops(void)
{
    Buffer<unsigned> r(std::vector<unsigned>{ 1000, 99, ~0u, 0, 0, 0, 5, 0, 0, 0 });
    OK(launch(k_atomic_ops, { .block = 32 }, r.p));
    auto v = r.get();
    CHECK(v[0] == 1000 - 496 && v[1] == 3 && v[2] == 0 && v[3] == ~0u);
    CHECK(v[4] == 32);             // 1 ^ 2 ^ ... ^ 32
    CHECK(v[5] == 2 && v[6] == 3); // 32 steps modulo 10, up from 0 and down from 5
    CHECK(v[7] == 64);
    // Each lane's value was either exchanged out and added to r[9], or is the last one, in r[8].
    CHECK(v[8] + v[9] == 528);
}

// *best is a key: its high half is the bits of the largest value, in a form that keeps the order;
// its low half is that value's index, counted from the end.
__global__ void k_argmax(unsigned long long *best, const float *x, int n)
{
    unsigned long long mine = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        unsigned u = __float_as_uint(x[i]);
        u = u >> 31 ? ~u : u | 0x80000000u;
        const unsigned long long key = (unsigned long long)u << 32 | (unsigned)(n - 1 - i);
        mine = max(mine, key);
    }
#pragma unroll
    for (int o = 16; o; o >>= 1)
        mine = max(mine, __shfl_xor_sync(0xffffffffu, mine, o));
    if (threadIdx.x % 32 == 0)
        atomicMax(best, mine);
}

static void argmax(void)
{
    auto x = random_floats(1000);
    // The first of equal values wins.
    x[700] = x[300] = 5;
    Buffer<float> dx(x);
    Buffer<unsigned long long> best(std::vector<unsigned long long>{ 0 });
    OK(launch(k_argmax, { .grid = 3, .block = 128 }, best.p, dx.p, 1000));
    CHECK(999 - (int)(unsigned)best.get()[0] == 300);
}

// Every output of a layer needs every output of the layer before.
static __device__ __forceinline__ void layer(float *out, const float *in, const float *w, int n)
{
    const int warps = gridDim.x * blockDim.x / 32, lane = threadIdx.x % 32;
    for (int r = (blockIdx.x * blockDim.x + threadIdx.x) / 32; r < n; r += warps) {
        float s = 0;
        for (int i = lane; i < n; i += 32)
            s += w[r * n + i] * __ldcg(in + i);
#pragma unroll
        for (int o = 16; o; o >>= 1)
            s += __shfl_xor_sync(0xffffffffu, s, o);
        if (lane == 0)
            out[r] = s;
    }
}

__global__ void k_layers_grid(float *a, float *b, const float *w, int n, int layers)
{
    for (int l = 0; l < layers; l++) {
        layer(l % 2 ? a : b, l % 2 ? b : a, w, n);
        cooperative_groups::this_grid().sync();
    }
}

__global__ void k_layers_atomic(float *a, float *b, const float *w, int n, int layers,
                                unsigned *counter)
{
    for (int l = 0; l < layers; l++) {
        layer(l % 2 ? a : b, l % 2 ? b : a, w, n);
        __syncthreads();
        // The counter only grows.
        if (threadIdx.x == 0) {
            __threadfence();
            add_release(counter, 1);
            while (load_acquire(counter) < (l + 1) * gridDim.x)
                spin_pause();
            __threadfence();
        }
        __syncthreads();
    }
}

static void persistent(void)
{
    const int n = 96, layers = 6;
    auto a = random_floats(n), w = random_floats(n * n);
    for (auto &x : w)
        x *= 0.2f;
    std::vector<double> x(a.begin(), a.end()), y(n);
    for (int l = 0; l < layers; l++, x = y)
        for (int r = 0; r < n; r++) {
            y[r] = 0;
            for (int i = 0; i < n; i++)
                y[r] += w[r * n + i] * x[i];
        }
    for (int atomic = 0; atomic < 2; atomic++) {
        Buffer<float> da(a), db(n), dw(w);
        Buffer<unsigned> counter(std::vector<unsigned>{ 0 });
        LaunchConfig c = { .grid = 5, .block = 128, .cooperative = true };
        if (atomic)
            OK(launch(k_layers_atomic, c, da.p, db.p, dw.p, n, layers, counter.p));
        else
            OK(launch(k_layers_grid, c, da.p, db.p, dw.p, n, layers));
        // The number of layers is even, so the last result is in a.
        auto out = da.get();
        for (int i = 0; i < n; i++)
            CHECK(near(out[i], x[i], 1e-4));
    }
}

const struct sample grid_samples[] = { { "atomics", atomics },
                                       { "atomic_ops", atomic_ops },
                                       { "argmax", argmax },
                                       { "persistent", persistent },
                                       {} };
