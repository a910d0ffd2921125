// Planted bugs in host code: copies, streams, captures, graphs, launch configurations.
#include "bugs.h"

__global__ void k_one(float *y) { y[threadIdx.x] = 1; }
__global__ void k_copy_all(float *y, const float *x) { y[threadIdx.x] = x[threadIdx.x]; }

static void wrong_direction()
{
    float v[4] = {};
    refused(cudaMemcpy(v, Bench().y, 16, cudaMemcpyHostToDevice));
}
static void copy_too_long()
{
    std::vector<float> v(300);
    refused(cudaMemcpy(Bench().y, v.data(), 1200, cudaMemcpyHostToDevice));
}
static void bad_configuration() { refused(launch(k_one, { .block = 2048 }, Bench().y)); }

template <bool BUG> static void streams() // s2 should wait for s
{
    Bench b;
    cudaEvent_t e;
    OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    OK(cudaMemsetAsync(b.x, 0, 1024, b.s));
    OK(cudaEventRecord(e, b.s));
    if (!BUG)
        OK(cudaStreamWaitEvent(b.s2, e, 0));
    OK(launch(k_copy_all, { .block = 256, .stream = b.s2 }, b.y, b.x));
    OK(cudaDeviceSynchronize());
    b.expect(256, 0);
}
static void read_before_wait()
{
    Bench b;
    float *p;
    OK(cudaMallocHost((void **)&p, 1024));
    // An earlier copy left a value there that looks right.
    p[7] = 1;
    OK(cudaMemcpyAsync(p, b.x, 1024, cudaMemcpyDeviceToHost, b.s));
    if (p[7] != 1) {
        printf("wrong result: %g\n", p[7]);
        exit(1);
    }
}
static void overwrite_before_wait()
{
    Bench b;
    float *p;
    OK(cudaMallocHost((void **)&p, 4));
    p[0] = 1;
    OK(cudaMemcpyAsync(b.y, p, 4, cudaMemcpyHostToDevice, b.s));
    p[0] = 2;
    OK(cudaStreamSynchronize(b.s));
    b.expect(1, 1);
}

static void capture_wait()
{
    Bench b;
    OK(cudaStreamBeginCapture(b.s, cudaStreamCaptureModeGlobal));
    OK(launch(k_one, { .block = 32, .stream = b.s }, b.y));
    refused(cudaStreamSynchronize(b.s));
}
static void capture_unjoined()
{
    Bench b;
    cudaGraph_t g;
    cudaEvent_t e;
    OK(cudaEventCreate(&e));
    OK(cudaStreamBeginCapture(b.s, cudaStreamCaptureModeGlobal));
    OK(launch(k_one, { .block = 32, .stream = b.s }, b.y));
    OK(cudaEventRecord(e, b.s));
    OK(cudaStreamWaitEvent(b.s2, e, 0));
    OK(launch(k_one, { .block = 32, .stream = b.s2 }, b.y));
    refused(cudaStreamEndCapture(b.s, &g));
}
static void graph_uses_freed()
{
    Bench b;
    cudaGraph_t g;
    cudaGraphExec_t x;
    OK(cudaStreamBeginCapture(b.s, cudaStreamCaptureModeGlobal));
    OK(launch(k_one, { .block = 32, .stream = b.s }, b.y));
    OK(cudaStreamEndCapture(b.s, &g));
    OK(cudaGraphInstantiate(&x, g, 0));
    OK(cudaFree(b.y));
    OK(cudaGraphLaunch(x, b.s));
    OK(cudaStreamSynchronize(b.s));
}
static void destroyed_stream()
{
    Bench b;
    OK(cudaStreamDestroy(b.s));
    refused(launch(k_one, { .block = 32, .stream = b.s }, b.y));
}

const bug host_bugs[] = {
    { "wrong_direction", "adrst", "but the destination is on the host", wrong_direction },
    { "copy_too_long", "adrst", "which has 1024", copy_too_long },
    { "bad_configuration", "adrst", "bad configuration", bad_configuration },
    { "streams_unordered", "dr", "wrong result", streams<true> },
    { "streams_ok", "", "", streams<false> },
    { "read_before_wait", "adrst", "wrong result", read_before_wait },
    { "overwrite_before_wait", "adrst", "wrong result", overwrite_before_wait },
    { "capture_wait", "adrst", "is being captured", capture_wait },
    { "capture_unjoined", "adrst", "was not joined", capture_unjoined },
    { "graph_uses_freed", "adrst", "to freed device memory", graph_uses_freed },
    { "destroyed_stream", "adrst", "is not a live stream", destroyed_stream },
    {},
};
