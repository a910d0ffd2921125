// Shared by the parts of the stand-in for the CUDA runtime: the lock, errors and planned failures,
// device memory, work on streams. Structs have NVIDIA's names: CUstream_st is behind cudaStream_t.
#pragma once
#include "cudasim.h"

#include <cuda_runtime_api.h>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace cudasim
{

// ---- calls, errors (errors.cpp)

extern std::recursive_mutex big_lock;
typedef std::lock_guard<std::recursive_mutex> Lock;

cudaError_t fail(cudaError_t e); // remembers it as the last error
// Counts the call. Returns an error if the test planned one for it, or if there is no device.
cudaError_t enter(const char *name, cudaError_t planned);
bool fault_now(const char *name); // for other libraries: returns true if a failure was planned

#define CUDASIM_ENTER_OR(planned)                                                                  \
    ::cudasim::Lock lock_(::cudasim::big_lock);                                                    \
    if (cudaError_t e_ = ::cudasim::enter(__func__, planned))                                      \
    return e_
#define CUDASIM_ENTER CUDASIM_ENTER_OR(cudaErrorUnknown)
#define CUDASIM_TRY(call)                                                                          \
    do                                                                                             \
        if (cudaError_t e_ = (call))                                                               \
            return e_;                                                                             \
    while (0)

// Live objects of the host. Unknown handles are refused, forgotten ones are reported.
void object_made(const char *kind, const void *p);
void object_gone(const void *p);
cudaError_t object_check(const char *kind, const void *p);
size_t objects_report(FILE *out);

// ---- memory (memory.cpp)

enum Where { HOST, PINNED, DEVICE };
Where where_is(const void *p);
bool in_device(const void *p);
// Returns true if [p, p + n) lies inside one live allocation (device or pinned, as p says).
// Otherwise reports why not.
bool range_ok(const char *what, const void *p, size_t n);
// Returns true if p is a live device pointer, or one past the end of an allocation.
bool device_pointer_ok(const void *p);
bool device_pointer_freed(const void *p);
size_t memory_report(FILE *out);

// While an object of this type exists, device memory can be accessed.
struct DeviceMode {
    DeviceMode();
    ~DeviceMode();
};
// While an object of this type exists (inside a DeviceMode), device memory cannot be accessed.
struct HostMode {
    HostMode();
    ~HostMode();
    int was_open;
};

// ---- the recorder (record.cpp)

struct Node;
void record(const Node &n);
void record_call(enum cudasim_work kind, const char *name, size_t bytes);

// ---- work on streams (streams.cpp)

struct LaunchKind {
    bool cooperative, programmatic;
};
struct KernelCall { // never changes after it was made
    const KernelInfo *kernel;
    dim3 grid, block;
    size_t shared;
    LaunchKind how;
    std::vector<std::vector<char>> values; // a copy of each parameter

    void check_pointers() const; // dies on a pointer that the device cannot use
    void run() const;
};

struct Work {
    enum Kind { NONE, KERNEL, COPY, SET, HOST_CALL } kind = NONE;
    std::function<void()> run;
    std::shared_ptr<const KernelCall> kernel;
    struct cudasim_entry told = {}; // for the recorder, which learns about a kernel from `kernel`
};

// Makes work that the recorder sees as `told`, with this many bytes.
Work work_of(Work::Kind kind, std::function<void()> run, enum cudasim_work told, size_t bytes);

struct Node { // recorded work
    Work work;
    std::vector<std::shared_ptr<Node>> after;
    bool done = false;
    double when = 0; // seconds
    size_t stream = 0;
    bool in_graph = false;
};
typedef std::shared_ptr<Node> NodeP;

void run_until(const std::function<bool()> &reached);
void run_all();
// Submits work to the stream, or to the graph that it captures.
cudaError_t submit(cudaStream_t stream, Work w);
NodeP enqueue(struct ::CUstream_st *s, Work w, std::vector<NodeP> after = {});
void add_pending(NodeP n);
// For calls that are forbidden while a stream is captured: breaks the captures.
cudaError_t forbid_in_capture(const char *what);
bool break_captures();   // breaks all captures; false = there were none
void count_in_capture(); // counts a call, and breaks the captures if the test planned that

} // namespace cudasim

struct CUgraphNode_st {
    cudasim::Work work;
    std::vector<CUgraphNode_st *> after;
    size_t id; // its place in graph->nodes
};
struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};
struct Capture {
    CUgraph_st *graph;
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    bool broken;
};
struct CUstream_st {
    cudasim::NodeP last;
    bool blocking = true;
    size_t number = 0;
    std::shared_ptr<Capture> capture;
    bool origin = false; // of the capture
    std::vector<CUgraphNode_st *> tail;
};
struct CUevent_st {
    cudasim::NodeP node;
    std::weak_ptr<Capture> capture;
    bool captured = false, timing = true;
    std::vector<CUgraphNode_st *> tail;
};

namespace cudasim
{
CUstream_st *stream_get(cudaStream_t s); // null: the handle is not a stream; an error is set
extern std::vector<CUstream_st *> streams;
CUgraphNode_st *graph_add(CUgraph_st *g, Work w, std::vector<CUgraphNode_st *> after);
cudaError_t make_call(const void *fn, dim3 grid, dim3 block, size_t shared, LaunchKind how,
                      void **args, std::shared_ptr<const KernelCall> *out);
} // namespace cudasim
