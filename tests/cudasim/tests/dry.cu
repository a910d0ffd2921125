// Samples: the dry mode, in which work is recorded and not done, and the recorder beside real work.
#include "check.cuh"
#include "cudasim/testing.h"

#include <cstring>
#include <string>

struct Pair {
    float *to;
    int value;
};
__global__ void k_fill(Pair job, int n)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        job.to[i] = (float)job.value;
}
template <int N> __global__ void k_named(float *y) { y[threadIdx.x] = N; }

// What the recorder told: a word for each entry, and the last entry of each kind.
struct Heard {
    std::string words;
    cudasim_entry last[CUDASIM_WAIT + 1];
    Pair job;
    std::string name;
    unsigned grid[3];
};

static void hear(void *user, const cudasim_entry *e)
{
    static const char letters[] = "?KGCSH()MP.";
    Heard *h = (Heard *)user;
    h->words += letters[e->kind];
    h->last[e->kind] = *e;
    if (e->kind == CUDASIM_KERNEL) {
        h->name = e->name;
        if (e->n_args == 2 && e->arg_bytes[0] == sizeof h->job)
            memcpy(&h->job, e->args[0], sizeof h->job);
    }
}

static void go_dry(Heard *h)
{
    cudasim_settings()->dry = true;
    cudasim_settings()->device_memory = size_t(141) << 30;
    cudasim_record(hear, h);
}

// The memory of a whole H200 can be allocated, and is neither taken from the host nor filled.
static void memory()
{
    Heard h = {};
    go_dry(&h);
    void *p, *q;
    const size_t n = size_t(100) << 30;
    OK(cudaMalloc(&p, n));
    CHECK(cudaMalloc(&q, size_t(50) << 30) == cudaErrorMemoryAllocation);
    OK(cudaMemset(p, 1, n));
    OK(cudaFree(p));
    CHECK(h.words == "MS" && h.last[CUDASIM_MALLOC].bytes == n);
    CHECK(h.last[CUDASIM_SET].bytes == n);
}

// Nothing is computed: copies to the host bring zeros, whatever was sent to the device.
static void nothing_is_done()
{
    Heard h = {};
    go_dry(&h);
    float host[4] = { 1, 2, 3, 4 }, *d, *pinned;
    OK(cudaMalloc((void **)&d, sizeof host));
    OK(cudaMallocHost((void **)&pinned, sizeof host));
    OK(cudaMemcpy(d, host, sizeof host, cudaMemcpyHostToDevice));
    OK(launch(k_fill, { .grid = dim3(5, 6, 7), .block = 32, .shared = 100, .programmatic = true },
              Pair{ d, 9 }, 4));
    OK(cudaMemcpy(host, d, sizeof host, cudaMemcpyDeviceToHost));
    OK(cudaMemcpyAsync(pinned, d, sizeof host, cudaMemcpyDeviceToHost, nullptr));
    // The destination is NaN before the wait.
    CHECK(cudasim_settings()->eager || pinned[0] != pinned[0]);
    OK(cudaDeviceSynchronize());
    for (int i = 0; i < 4; i++)
        CHECK(host[i] == 0 && pinned[i] == 0);
    CHECK(h.words == "MPC.KC.C.");
    const cudasim_entry &k = h.last[CUDASIM_KERNEL];
    CHECK(h.name == "k_fill" && h.job.to == d && h.job.value == 9);
    CHECK(k.grid[0] == 5 && k.grid[1] == 6 && k.grid[2] == 7 && k.block[0] == 32);
    CHECK(k.shared == 100 && k.programmatic && !k.in_graph && k.stream == 0);
    CHECK(h.last[CUDASIM_COPY].direction == cudaMemcpyDeviceToHost);
    CHECK(h.last[CUDASIM_COPY].bytes == sizeof host);
    OK(cudaFree(d));
    OK(cudaFreeHost(pinned));
}

// Wrong calls are refused, just as they are without the dry mode.
static void checks()
{
    Heard h = {};
    go_dry(&h);
    char host[8], *d;
    OK(cudaMalloc((void **)&d, 8));
    CHECK(cudaMemcpy(d, host, 9, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(d, host, 8, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemset(d + 1, 0, 8) == cudaErrorInvalidValue);
    CHECK(launch(k_fill, { .shared = 1 << 20 }, Pair{}, 0) == cudaErrorInvalidValue);
    OK(cudaFree(d));
    CHECK(cudaMemset(d, 0, 8) == cudaErrorInvalidValue);
    CHECK(h.words == "M");
}

// The recorder tells nothing of a capture. It tells every replay, node by node, between a beginning
// and an end.
static void graph()
{
    Heard h = {};
    cudaStream_t s;
    cudaGraph_t g;
    cudaGraphExec_t x;
    float *d;
    go_dry(&h);
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    OK(cudaMalloc((void **)&d, 128));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    OK(cudaMemsetAsync(d, 0, 128, s));
    OK(launch(k_named<7>, { .block = 32, .stream = s }, d));
    OK(cudaStreamEndCapture(s, &g));
    OK(cudaGraphInstantiate(&x, g, 0));
    CHECK(h.words == "M");
    OK(cudaGraphLaunch(x, s));
    OK(cudaGraphLaunch(x, s));
    OK(cudaStreamSynchronize(s));
    CHECK(h.words == "M(SK)(SK).");
    CHECK(h.name == "k_named<7>" && h.last[CUDASIM_KERNEL].in_graph);
    CHECK(h.last[CUDASIM_KERNEL].stream == 1 && !h.last[CUDASIM_KERNEL].programmatic);
    CHECK(h.last[CUDASIM_GRAPH].n_nodes == 2);
    OK(cudaGraphExecDestroy(x));
    OK(cudaGraphDestroy(g));
    OK(cudaFree(d));
    OK(cudaStreamDestroy(s));
}

// Without the dry mode the recorder tells the same, and the work is done.
static void record_only()
{
    Heard h = {};
    float host[4], *d;
    cudasim_record(hear, &h);
    OK(cudaMalloc((void **)&d, sizeof host));
    OK(launch(k_fill, { .block = 32 }, Pair{ d, 9 }, 4));
    OK(cudaMemcpy(host, d, sizeof host, cudaMemcpyDeviceToHost));
    cudasim_record(nullptr, nullptr);
    OK(cudaFree(d));
    CHECK(host[0] == 9 && host[3] == 9 && h.words == "MKC.");
}

const struct sample dry_samples[] = {
    { "dry: memory", memory },           { "dry: nothing is done", nothing_is_done },
    { "dry: checks", checks },           { "dry: graph", graph },
    { "dry: record only", record_only }, { nullptr, nullptr }
};
