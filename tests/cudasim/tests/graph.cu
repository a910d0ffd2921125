// Samples: a graph captured over two streams, replayed, changed node by node and as a whole;
// captures that go wrong; two host threads at once; a host function in a stream.
#include "check.cuh"

#include <thread>

__global__ void k_scale(float *y, const float *x, float a, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] = a * x[i];
}
__global__ void k_add(float *y, const float *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] += x[i];
}

enum { N = 200, GRID = 2, BLOCK = 128 };

// out = a * in + b * in, with the two products on different streams.
struct Chain {
    cudaStream_t s, side;
    cudaEvent_t fork, join;
    float *x, *y, *z, *in, *out; // in and out are pinned
};

static Chain chain_open()
{
    Chain c;
    OK(cudaStreamCreateWithFlags(&c.s, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&c.side, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&c.fork, cudaEventDisableTiming));
    OK(cudaEventCreateWithFlags(&c.join, cudaEventDisableTiming));
    for (float **p : { &c.x, &c.y, &c.z })
        OK(cudaMalloc((void **)p, N * sizeof(float)));
    OK(cudaMallocHost((void **)&c.in, N * sizeof(float)));
    OK(cudaMallocHost((void **)&c.out, N * sizeof(float)));
    return c;
}
static void chain_close(const Chain &c)
{
    for (float *p : { c.x, c.y, c.z })
        OK(cudaFree(p));
    OK(cudaFreeHost(c.in));
    OK(cudaFreeHost(c.out));
    OK(cudaStreamDestroy(c.s));
    OK(cudaStreamDestroy(c.side));
    OK(cudaEventDestroy(c.fork));
    OK(cudaEventDestroy(c.join));
}

static cudaGraph_t chain_capture(const Chain &c, float a, float b)
{
    cudaGraph_t g;
    OK(cudaStreamBeginCapture(c.s, cudaStreamCaptureModeThreadLocal));
    OK(cudaMemcpyAsync(c.x, c.in, N * sizeof(float), cudaMemcpyHostToDevice, c.s));
    OK(launch(k_scale, { .grid = GRID, .block = BLOCK, .stream = c.s }, c.y, c.x, a, (int)N));
    OK(cudaEventRecord(c.fork, c.s));
    OK(cudaStreamWaitEvent(c.side, c.fork, 0));
    OK(launch(k_scale, { .grid = GRID, .block = BLOCK, .stream = c.side }, c.z, c.x, b, (int)N));
    OK(cudaEventRecord(c.join, c.side));
    OK(cudaStreamWaitEvent(c.s, c.join, 0));
    OK(launch(k_add, { .grid = GRID, .block = BLOCK, .stream = c.s, .programmatic = true }, c.y,
              c.z, (int)N));
    OK(cudaMemcpyAsync(c.out, c.y, N * sizeof(float), cudaMemcpyDeviceToHost, c.s));
    OK(cudaStreamEndCapture(c.s, &g));
    return g;
}

static void replay(const Chain &c, cudaGraphExec_t x, float factor)
{
    for (int i = 0; i < N; i++)
        c.in[i] = random_float();
    OK(cudaGraphLaunch(x, c.s));
    OK(cudaStreamSynchronize(c.s));
    for (int i = 0; i < N; i++)
        CHECK(near(c.out[i], factor * c.in[i], 1e-6));
}

static void graph(void)
{
    Chain c = chain_open();
    cudaGraph_t g = chain_capture(c, 2, 3), other = chain_capture(c, 5, 7);
    cudaGraphExec_t x;
    OK(cudaGraphInstantiate(&x, g, 0));
    replay(c, x, 5);
    replay(c, x, 5);

    cudaGraphNode_t nodes[8];
    size_t n = 8, n_kernels = 0, scale = 8;
    OK(cudaGraphGetNodes(g, nodes, &n));
    CHECK(n == 5);
    for (size_t i = 0; i < n; i++) {
        cudaGraphNodeType type;
        OK(cudaGraphNodeGetType(nodes[i], &type));
        if (type == cudaGraphNodeTypeKernel && n_kernels++ == 0)
            scale = i;
    }
    CHECK(n_kernels == 3 && scale < n);

    float a = 10;
    int count = N;
    void *args[] = { &c.y, &c.x, &a, &count };
    cudaKernelNodeParams p = { (void *)k_scale, dim3(GRID), dim3(BLOCK), 0, args, nullptr };
    OK(cudaGraphExecKernelNodeSetParams(x, nodes[scale], &p));
    replay(c, x, 13);

    cudaGraphExecUpdateResultInfo info;
    OK(cudaGraphExecUpdate(x, other, &info));
    CHECK(info.result == cudaGraphExecUpdateSuccess);
    replay(c, x, 12);

    OK(cudaGraphExecDestroy(x));
    OK(cudaGraphDestroy(g));
    OK(cudaGraphDestroy(other));
    chain_close(c);
}

// Two threads of the host that have their own streams do not disturb each other.
static void host_threads(void)
{
    auto work = [] {
        for (int i = 0; i < 5; i++)
            graph();
    };
    std::thread other(work);
    work();
    other.join();
}

// A forbidden call breaks the capture; the stream can be used again after its end.
static void broken_capture(void)
{
    Chain c = chain_open();
    cudaGraph_t g;
    void *p = nullptr;
    OK(cudaStreamBeginCapture(c.s, cudaStreamCaptureModeGlobal));
    CHECK(cudaMalloc(&p, 16) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(c.s, &g) == cudaErrorStreamCaptureInvalidated && !g);
    CHECK(cudaStreamEndCapture(c.s, &g) == cudaErrorStreamCaptureUnmatched);
    g = chain_capture(c, 1, 1);
    OK(cudaGraphDestroy(g));
    chain_close(c);
}

// Waiting for the device breaks the captures of all threads, whatever their mode.
static void broken_by_another(void)
{
    Chain c = chain_open();
    cudaGraph_t g;
    const uint64_t broken = cudasim_stats()->broken_captures;
    OK(cudaStreamBeginCapture(c.s, cudaStreamCaptureModeThreadLocal));
    std::thread other([] { CHECK(cudaDeviceSynchronize() == cudaErrorStreamCaptureUnsupported); });
    other.join();
    CHECK(cudaStreamEndCapture(c.s, &g) == cudaErrorStreamCaptureInvalidated && !g);
    cudasim_break_capture(2);
    for (int i = 0; i < 2; i++) {
        OK(cudaStreamBeginCapture(c.s, cudaStreamCaptureModeThreadLocal));
        OK(cudaSetDevice(0));
        CHECK(cudaStreamEndCapture(c.s, &g) ==
              (i ? cudaSuccess : cudaErrorStreamCaptureInvalidated));
    }
    OK(cudaGraphDestroy(g));
    CHECK(cudasim_stats()->broken_captures == broken + 2);
    chain_close(c);
}

static void add_one(void *p) { ++*(int *)p; }

static void host_function(void)
{
    cudaStream_t s;
    int n = 0;
    OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    OK(cudaLaunchHostFunc(s, add_one, &n));
    OK(cudaLaunchHostFunc(s, add_one, &n));
    CHECK(cudaStreamQuery(s) == cudaErrorNotReady && cudaPeekAtLastError() == cudaSuccess);
    OK(cudaStreamSynchronize(s));
    CHECK(n == 2 && cudaStreamQuery(s) == cudaSuccess);
    OK(cudaStreamDestroy(s));
}

const struct sample graph_samples[] = { { "graph", graph },
                                        { "host_threads", host_threads },
                                        { "broken_capture", broken_capture },
                                        { "broken_by_another", broken_by_another },
                                        { "host_function", host_function },
                                        {} };
