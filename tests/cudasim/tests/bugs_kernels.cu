// Planted bugs in how the threads of a kernel work together: barriers, collectives, races.
#include "bugs.h"
#include "kernels/ptx.cuh"

template <bool BUG> __global__ void k_reduce(float *y, const float *x)
{
    SHARED(float[8], part);
    float v = x[threadIdx.x];
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(~0u, v, o);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    if (!BUG)
        __syncthreads();
    float s = 0;
    for (int i = 0; i < 8; i++)
        s += part[i];
    y[threadIdx.x] = s;
}
template <bool BUG> static void reduce()
{
    Bench b;
    OK(launch(k_reduce<BUG>, { .block = 256 }, b.y, b.x));
    b.expect(256, 256);
}

template <bool BUG> __global__ void k_loop(float *y, const float *x, int n)
{
    SHARED(float[128], tile);
    float s = 0;
    for (int t = 0; t < n; t += 128) {
        tile[threadIdx.x] = x[t + threadIdx.x];
        __syncthreads();
        for (int i = 0; i < 128; i++)
            s += tile[i] * (float)(i + 1);
        if (!BUG)
            __syncthreads();
    }
    y[threadIdx.x] = s;
}
template <bool BUG> static void loop()
{
    Bench b;
    auto in = random_floats(1024);
    double want = 0;
    for (int i = 0; i < 1024; i++)
        want += in[i] * (i % 128 + 1);
    OK(launch(k_loop<BUG>, { .block = 128 }, b.y, device_copy(in), 1024));
    b.expect(128, (float)want);
}

template <bool BUG> __global__ void k_warp(float *y, const float *x)
{
    SHARED(float[32], tile);
    tile[threadIdx.x] = x[threadIdx.x];
    if (!BUG)
        __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}
template <bool BUG> static void warp()
{
    Bench b;
    auto in = random_floats(32), want = in;
    for (int i = 0; i < 32; i++)
        want[i] = in[i ^ 1];
    OK(launch(k_warp<BUG>, { .block = 32 }, b.y, device_copy(in)));
    b.expect(want);
}

template <bool BUG> __global__ void k_count(float *y)
{
    if (BUG)
        *y = *y + 1;
    else
        atomicAdd(y, 1.0f);
}
template <bool BUG> static void count()
{
    Bench b;
    OK(cudaMemset(b.y, 0, 4));
    OK(launch(k_count<BUG>, { .grid = 2, .block = 64 }, b.y));
    b.expect(1, 128);
}

template <bool BUG> __global__ void k_blocks(float *y)
{
    if (threadIdx.x == 0 && blockIdx.x == 0)
        y[0] = 1;
    if (threadIdx.x == 32 && blockIdx.x == 1)
        y[BUG ? 0 : 1] = 1;
}
template <bool BUG> static void blocks()
{
    Bench b;
    OK(launch(k_blocks<BUG>, { .grid = 2, .block = 64 }, b.y));
    b.expect(1, 1);
}

// The writers are threads of the same number in two blocks, and the values are equal: only the race
// is wrong.
__global__ void k_blocks_same_thread(float *y) { y[threadIdx.x] = 1; }
static void blocks_same_thread()
{
    Bench b;
    OK(launch(k_blocks_same_thread, { .grid = 2, .block = 32 }, b.y));
    b.expect(32, 1);
}

// Thread 63 writes a value after a barrier. Thread 0 reads it after the same barrier, perhaps
// later.
__global__ void k_late(float *y)
{
    SHARED(float[1], s);
    if (threadIdx.x == 0)
        s[0] = 1;
    __syncthreads();
    if (threadIdx.x == 63)
        s[0] = 1;
    if (threadIdx.x == 0)
        y[0] = s[0];
    __syncthreads();
}
static void late_leaver()
{
    Bench b;
    OK(launch(k_late, { .block = 64 }, b.y));
    b.expect(1, 1);
}

// Writes data, then a flag that another block waits for.
template <bool BUG> __global__ void k_flag(float *y, float *data, unsigned *flag)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        *data = 5;
        if (BUG)
            atomicExch(flag, 1u);
        else
            store_release(flag, 1);
    } else if (blockIdx.x == 1 && threadIdx.x == 32) {
        while (load_acquire(flag) == 0)
            spin_pause();
        *y = *data;
    }
}
template <bool BUG> static void flag()
{
    Bench b;
    float *data = device_copy(std::vector<float>{ 0 });
    unsigned *f = device_copy(std::vector<unsigned>{ 0 });
    OK(launch(k_flag<BUG>, { .grid = 2, .block = 64, .cooperative = true }, b.y, data, f));
    b.expect(1, 5);
}

// Launches one block and waits for it.
template <class... P, class... A> static void run(void (*k)(P...), unsigned threads, A... args)
{
    OK(launch(k, { .block = threads }, args...));
    OK(cudaDeviceSynchronize());
}

__global__ void k_divergent(float *y)
{
    if (threadIdx.x < 16) {
        __syncthreads();
        y[threadIdx.x] = 1;
    }
}
static void divergent() { run(k_divergent, 32, Bench().y); }

__global__ void k_two_syncs(float *y)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1;
}
static void two_syncs() { run(k_two_syncs, 64, Bench().y); }

__global__ void k_early_exit(float *y, int n)
{
    if ((int)threadIdx.x >= n)
        return;
    __syncthreads();
    y[threadIdx.x] = 1;
}
static void early_exit() { run(k_early_exit, 64, Bench().y, 50); }

__global__ void k_shuffle_divergent(float *y)
{
    float v = 1;
    if (threadIdx.x < 16)
        v = __shfl_xor_sync(~0u, v, 1);
    y[threadIdx.x] = v;
}
static void shuffle_divergent() { run(k_shuffle_divergent, 32, Bench().y); }

__global__ void k_shuffle_exited(float *y)
{
    if (threadIdx.x >= 16)
        return;
    y[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}
static void shuffle_exited() { run(k_shuffle_exited, 32, Bench().y); }

__global__ void k_shuffle_outside(float *y)
{
    float v = 1;
    if (threadIdx.x < 16)
        v = __shfl_sync(0xffffu, v, 20);
    y[threadIdx.x] = v;
}
static void shuffle_outside()
{
    Bench b;
    OK(launch(k_shuffle_outside, { .block = 32 }, b.y));
    b.expect(32, 1);
}

__global__ void k_no_wait(float *y, const float *x)
{
    SHARED(float[128], a);
    cp_async16(&a[threadIdx.x * 4], x + threadIdx.x * 4);
    cp_async_commit();
    __syncwarp();
    y[threadIdx.x] = a[threadIdx.x * 4];
    cp_async_wait<0>();
}
static void cp_async_no_wait()
{
    Bench b;
    OK(launch(k_no_wait, { .block = 32 }, b.y, b.x));
    b.expect(32, 1);
}

__global__ void k_spin(unsigned *f, float *y)
{
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0)
            while (load_acquire(f) == 0)
                spin_pause();
    } else if (threadIdx.x == 0) {
        store_release(f, 1);
    }
    y[threadIdx.x] = 1;
}
static void spin_not_resident()
{
    Bench b;
    unsigned *f = device_copy(std::vector<unsigned>{ 0 });
    OK(launch(k_spin, { .grid = 2, .block = 32 }, f, b.y));
    OK(cudaDeviceSynchronize());
}

const bug kernel_bugs[] = {
    { "reduce", "adrst", "wrong result", reduce<true> },
    { "reduce_ok", "", "", reduce<false> },
    { "loop", "adrst", "wrong result", loop<true> },
    { "loop_ok", "", "", loop<false> },
    { "warp", "adrst", "wrong result", warp<true> },
    { "warp_ok", "", "", warp<false> },
    { "count", "t", "", count<true> },
    { "count_ok", "", "", count<false> },
    { "blocks", "t", "", blocks<true> },
    { "blocks_ok", "", "", blocks<false> },
    { "blocks_same_thread", "t", "", blocks_same_thread },
    { "late_leaver", "t", "", late_leaver },
    { "flag", "t", "", flag<true> },
    { "flag_ok", "", "", flag<false> },
    { "divergent", "adrst", "while other threads of the block wait at __syncthreads|have returned",
      divergent },
    { "two_syncs", "adrst", "divergent __syncthreads", two_syncs },
    { "early_exit", "adrst", "while other threads of the block wait at __syncthreads|have returned",
      early_exit },
    { "shuffle_divergent", "adrst", "wait for it in __shfl_xor_sync|have returned",
      shuffle_divergent },
    { "shuffle_exited", "adrst", "wait for it in __shfl_xor_sync|have returned", shuffle_exited },
    { "shuffle_outside", "adrst", "wrong result", shuffle_outside },
    { "cp_async_no_wait", "adrst", "wrong result", cp_async_no_wait },
    { "spin_not_resident", "arst", "livelock", spin_not_resident },
    {},
};
