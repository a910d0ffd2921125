// Samples: what the other samples do not touch: shuffles with a width and partial masks, votes,
// warp reductions, counting barriers, named barriers, 3-D indices, bit and byte intrinsics.
#include "check.cuh"
#include "cudasim/testing.h"
#include "kernels/ptx.cuh"

enum { N_WARP = 12 };

__global__ void k_warp(int *out)
{
    const int lane = threadIdx.x;
    int r[N_WARP] = {};
    r[0] = __shfl_up_sync(~0u, lane, 3);
    r[1] = __shfl_down_sync(~0u, lane, 5, 16);
    r[2] = __shfl_sync(~0u, lane, 2, 8);
    r[3] = (int)__ballot_sync(~0u, lane % 3 == 0);
    r[4] = __any_sync(~0u, lane == 7) * 2 + __all_sync(~0u, lane < 31);
    r[5] = __reduce_add_sync(~0u, lane);
    r[6] = __reduce_max_sync(~0u, lane ^ 21);
    r[7] = __reduce_min_sync(~0u, lane - 40);
    // The two halves of a warp go different ways, each with its own mask.
    if (lane < 16)
        r[8] = __shfl_xor_sync(0x0000ffffu, lane, 1);
    else
        r[8] = __reduce_add_sync(0xffff0000u, lane);
    r[9] = (int)__shfl_xor_sync(~0u, (unsigned long long)lane << 33, 4) +
           (int)(__shfl_xor_sync(~0u, (unsigned long long)lane << 33, 4) >> 33);
    r[10] = (int)__half2float(__shfl_xor_sync(~0u, __float2half((float)lane), 1));
    // A lane beyond the width gives the lane's own value.
    r[11] = __shfl_xor_sync(~0u, lane, 24, 16);
    for (int i = 0; i < N_WARP; i++)
        out[i * 32 + lane] = r[i];
}

static void warp(void)
{
    Buffer<int> out(N_WARP * 32);
    OK(launch(k_warp, { .block = 32 }, out.p));
    auto r = out.get();
    unsigned thirds = 0;
    for (int l = 0; l < 32; l += 3)
        thirds |= 1u << l;
    for (int l = 0; l < 32; l++) {
        const int want[N_WARP] = { l < 3 ? l : l - 3,
                                   l % 16 + 5 < 16 ? l + 5 : l,
                                   l / 8 * 8 + 2,
                                   (int)thirds,
                                   2,
                                   496,
                                   31,
                                   -40,
                                   l < 16 ? (l ^ 1) : 376,
                                   l ^ 4,
                                   l ^ 1,
                                   (l ^ 24) < l / 16 * 16 + 16 ? (l ^ 24) : l };
        for (int i = 0; i < N_WARP; i++)
            CHECK(r[i * 32 + l] == want[i]);
    }
}

// Two halves of the block hand values to each other twice; each pair of warps has its own
// barrier.
__global__ void k_barriers(int *out)
{
    SHARED(int[128], box);
    const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int half = t / 64, inner = t % 64;
    box[t] = t;
    bar_sync(1 + half, 64);
    const int other = box[half * 64 + 63 - inner];
    bar_sync(1 + half, 64);
    box[t] = other + 1;
    const int odd = __syncthreads_count(t % 2), any = __syncthreads_or(t == 5);
    const int all = __syncthreads_and(t >= 0), none = __syncthreads_or(0);
    out[t] = box[127 - t] + 1000 * (odd + any + all + none);
}

static void barriers(void)
{
    Buffer<int> out(128);
    OK(launch(k_barriers, { .block = dim3(8, 4, 4) }, out.p));
    auto r = out.get();
    for (int t = 0; t < 128; t++) {
        // box[u] holds the value that u read, plus 1.
        const int u = 127 - t;
        CHECK(r[t] == u / 64 * 64 + 63 - u % 64 + 1 + 1000 * 66);
    }
}

// On hardware since Volta, threads that have returned do not count at a barrier. Our rules forbid
// this, but the simulator can be told to allow it.
__global__ void k_early_return(int *out, int n)
{
    SHARED(int[64], box);
    if ((int)threadIdx.x >= n)
        return;
    box[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = box[n - 1 - threadIdx.x];
}

static void early_return(void)
{
    cudasim_settings()->strict_exit = false;
    Buffer<int> out(50);
    OK(launch(k_early_return, { .block = 64 }, out.p, 50));
    auto r = out.get();
    for (int i = 0; i < 50; i++)
        CHECK(r[i] == 49 - i);
}

enum { N_BITS = 20 };

__global__ void k_bits(unsigned *r, unsigned a, unsigned b)
{
    int i = 0;
    r[i++] = (unsigned)__dp4a((int)a, (int)b, 7);
    r[i++] = __dp4a(a, b, 7u);
    r[i++] = __byte_perm(a, b, 0x7153);
    r[i++] = __byte_perm(a, b, 0x000f); // the sign of byte 7
    r[i++] = __funnelshift_l(a, b, 12);
    r[i++] = __funnelshift_r(a, b, 12);
    r[i++] = __vadd4(a, b);
    r[i++] = __vsub4(a, b);
    r[i++] = __vsubss4(a, b);
    r[i++] = __vcmpeq4(a, 0x80ff0177u);
    r[i++] = __vcmpne4(a, 0x80ff0177u);
    r[i++] = (unsigned)__popc(a);
    r[i++] = (unsigned)__clz(0x00f00000);
    r[i++] = (unsigned)__ffs(0x00f00000);
    r[i++] = __brev(1u);
    r[i++] = __umulhi(a, b);
    r[i++] = (unsigned)__mulhi((int)a, (int)b);
    r[i++] = __float_as_uint(__fmaf_rn(3.0f, 5.0f, -1.0f));
    r[i++] = (unsigned)__float2int_rn(2.5f);
    r[i++] = __half_as_ushort(__hfma(__float2half(2), __float2half(3), __float2half(-7)));
}

static void bits(void)
{
    // The bytes, low first: a = 77 01 7f 80 (119 1 127 -128), b = 02 ff 01 01 (2 -1 1 1).
    const unsigned a = 0x807f0177u, b = 0x0101ff02u;
    const unsigned want[N_BITS] = {
        7 + 238 - 1 + 127 - 128,
        7 + 238 + 255 + 127 + 128,
        0x0101ff80u,
        0x77777700u,
        0x1ff02807u,
        0xf02807f0u,
        0x81800079u,
        0x7f7e0275u,
        0x807e0275u,
        0xff00ffffu,
        0x00ff0000u,
        15,
        8,
        21,
        0x80000000u,
        (unsigned)((uint64_t)a * b >> 32),
        (unsigned)((int64_t)(int)a * (int)b >> 32),
        0x41600000u,
        2,
        0xbc00u,
    };
    Buffer<unsigned> r(N_BITS);
    OK(launch(k_bits, { .block = 1 }, r.p, a, b));
    auto got = r.get();
    for (int i = 0; i < N_BITS; i++)
        CHECK(got[i] == want[i]);
}

const struct sample intrinsic_samples[] = { { "warp", warp },
                                            { "barriers", barriers },
                                            { "early_return", early_return },
                                            { "bits", bits },
                                            {} };
