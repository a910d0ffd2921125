// Graphs: capture, instantiate, replay, change. Launch arguments are copied when they are captured.
#include "runtime.h"

#include <algorithm>
#include <map>

struct CUgraphExec_st {
    CUgraph_st graph;
    std::map<const CUgraphNode_st *, CUgraphNode_st *> from; // node of the graph -> own node
};

namespace cudasim
{

static const char GRAPH[] = "graph", EXEC[] = "executable graph";

CUgraphNode_st *graph_add(CUgraph_st *g, Work w, std::vector<CUgraphNode_st *> after)
{
    g->nodes.push_back(std::make_unique<CUgraphNode_st>());
    CUgraphNode_st *n = g->nodes.back().get();
    n->work = std::move(w);
    n->after = std::move(after);
    n->id = g->nodes.size() - 1;
    return n;
}

// Returns true if every node leads to `tail`. If not, a forked stream was never joined.
static bool all_joined(const CUgraph_st *g, std::vector<CUgraphNode_st *> tail)
{
    std::vector<char> reached(g->nodes.size());
    while (!tail.empty()) {
        CUgraphNode_st *n = tail.back();
        tail.pop_back();
        if (reached[n->id])
            continue;
        reached[n->id] = 1;
        tail.insert(tail.end(), n->after.begin(), n->after.end());
    }
    return std::count(reached.begin(), reached.end(), 0) == 0;
}

static Work border(enum cudasim_work kind, size_t n_nodes)
{
    struct cudasim_entry told = {};
    told.kind = kind;
    told.n_nodes = n_nodes;
    return { Work::NONE, nullptr, nullptr, told };
}

static bool same_shape(const CUgraph_st &a, const CUgraph_st &b)
{
    if (a.nodes.size() != b.nodes.size())
        return false;
    for (size_t i = 0; i < a.nodes.size(); i++) {
        const CUgraphNode_st &x = *a.nodes[i], &y = *b.nodes[i];
        if (x.work.kind != y.work.kind || x.after.size() != y.after.size())
            return false;
        for (size_t j = 0; j < x.after.size(); j++)
            if (x.after[j]->id != y.after[j]->id)
                return false;
    }
    return true;
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode)
{
    CUDASIM_ENTER;
    if (!s)
        return fail(cudaErrorStreamCaptureUnsupported);
    if (!stream_get(s))
        return cudaErrorInvalidResourceHandle;
    if (s->capture)
        return fail(cudaErrorStreamCaptureUnsupported);
    Capture c = { new CUgraph_st, mode, std::this_thread::get_id(), false };
    s->capture = std::make_shared<Capture>(c);
    s->origin = true;
    s->tail.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    *out = nullptr;
    if (!stream_get(s))
        return cudaErrorInvalidResourceHandle;
    if (!s || !s->capture || !s->origin)
        return fail(cudaErrorStreamCaptureUnmatched);
    std::shared_ptr<Capture> capture = s->capture;
    CUgraph_st *g = capture->graph;
    const bool joined = all_joined(g, s->tail);
    for (auto *t : streams)
        if (t->capture == capture) {
            t->capture = nullptr;
            t->origin = false;
            t->tail.clear();
        }
    cudaError_t e = planned;
    if (!e && capture->broken)
        e = fail(cudaErrorStreamCaptureInvalidated);
    if (!e && !joined) {
        report("end of a capture, but a forked stream was not joined");
        e = fail(cudaErrorStreamCaptureUnjoined);
    }
    if (e) {
        cudasim_stats()->broken_captures++;
        delete g;
        return e;
    }
    object_made(GRAPH, g);
    *out = g;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    CUDASIM_ENTER;
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    *status = !s->capture          ? cudaStreamCaptureStatusNone
              : s->capture->broken ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long)
{
    CUDASIM_ENTER_OR(cudaErrorMemoryAllocation);
    *out = nullptr;
    CUDASIM_TRY(object_check(GRAPH, g));
    auto *x = new CUgraphExec_st;
    for (auto &n : g->nodes) {
        std::vector<CUgraphNode_st *> after;
        for (auto *d : n->after)
            after.push_back(x->from[d]);
        x->from[n.get()] = graph_add(&x->graph, n->work, after);
    }
    object_made(EXEC, x);
    *out = x;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t x, cudaStream_t)
{
    CUDASIM_ENTER_OR(cudaErrorMemoryAllocation);
    return object_check(EXEC, x);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t stream)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EXEC, x));
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    if (s->capture)
        return fail(cudaErrorNotSupported);
    cudasim_stats()->graph_launches++;
    NodeP first = enqueue(s, border(CUDASIM_GRAPH, x->graph.nodes.size()));
    std::vector<NodeP> nodes;
    for (auto &n : x->graph.nodes) {
        auto p = std::make_shared<Node>();
        p->work = n->work;
        p->stream = s->number;
        p->in_graph = true;
        p->after.push_back(first);
        for (auto *d : n->after)
            p->after.push_back(nodes[d->id]);
        nodes.push_back(p);
        add_pending(p);
    }
    enqueue(s, border(CUDASIM_GRAPH_END, 0), nodes);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(GRAPH, g));
    if (nodes)
        for (size_t i = 0; i < *n && i < g->nodes.size(); i++)
            nodes[i] = g->nodes[i].get();
    if (!nodes || *n > g->nodes.size())
        *n = g->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t n, enum cudaGraphNodeType *type)
{
    CUDASIM_ENTER;
    static const enum cudaGraphNodeType types[] = { cudaGraphNodeTypeEmpty, cudaGraphNodeTypeKernel,
                                                    cudaGraphNodeTypeMemcpy,
                                                    cudaGraphNodeTypeMemset,
                                                    cudaGraphNodeTypeHost };
    *type = types[n->work.kind];
    return cudaSuccess;
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t x, cudaGraphNode_t node,
                                             const struct cudaKernelNodeParams *p)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EXEC, x));
    auto it = x->from.find(node);
    if (it == x->from.end() || !it->second->work.kernel)
        return fail(cudaErrorInvalidValue);
    const LaunchKind how = it->second->work.kernel->how;
    return make_call(p->func, p->gridDim, p->blockDim, p->sharedMemBytes, how, p->kernelParams,
                     &it->second->work.kernel);
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t x, cudaGraph_t g,
                                cudaGraphExecUpdateResultInfo *info)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EXEC, x));
    CUDASIM_TRY(object_check(GRAPH, g));
    info->result = cudaGraphExecUpdateError;
    if (!same_shape(x->graph, *g)) {
        info->result = cudaGraphExecUpdateErrorTopologyChanged;
        return fail(cudaErrorGraphExecUpdateFailure);
    }
    x->from.clear();
    for (size_t i = 0; i < g->nodes.size(); i++) {
        x->graph.nodes[i]->work = g->nodes[i]->work;
        x->from[g->nodes[i].get()] = x->graph.nodes[i].get();
    }
    info->result = cudaGraphExecUpdateSuccess;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    CUDASIM_TRY(object_check(EXEC, x));
    object_gone(x);
    delete x;
    return planned;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    CUDASIM_TRY(object_check(GRAPH, g));
    object_gone(g);
    delete g;
    return planned;
}

} // extern "C"
