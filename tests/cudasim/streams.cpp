// Streams and events. Work is recorded, and runs when something waits for it (or at once, with
// `eager`), in any order that streams, events and graphs allow: ascending runs the oldest first,
// descending the newest first, random any. So a forgotten wait or event shows as a wrong result.
#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cuda_profiler_api.h>

namespace cudasim
{

static CUstream_st null_stream;
std::vector<CUstream_st *> streams;
static std::vector<NodeP> pending;
static const char STREAM[] = "stream", EVENT[] = "event";

CUstream_st *stream_get(cudaStream_t s)
{
    if (!s)
        return &null_stream;
    return object_check(STREAM, s) ? nullptr : s;
}

static double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

static bool can_run(const NodeP &n)
{
    return std::all_of(n->after.begin(), n->after.end(), [](const NodeP &d) { return d->done; });
}

// Returns the place in `pending` of the work to run next.
static size_t choose()
{
    const enum cudasim_order order = cudasim_settings()->order;
    std::vector<size_t> ready;
    for (size_t i = 0; i < pending.size(); i++)
        if (can_run(pending[i])) {
            ready.push_back(i);
            if (order == CUDASIM_ASCENDING)
                break;
        }
    if (ready.empty())
        die("stream work can never run");
    return order == CUDASIM_ASCENDING    ? ready[0]
           : order == CUDASIM_DESCENDING ? ready.back()
                                         : ready[next_random() % ready.size()];
}

void run_until(const std::function<bool()> &reached)
{
    if (reached())
        return;
    DeviceMode device;
    while (!reached()) {
        size_t i = choose();
        NodeP n = pending[i];
        pending.erase(pending.begin() + (ptrdiff_t)i);
        if (n->work.kernel)
            n->work.kernel->run();
        else if (n->work.run)
            n->work.run();
        n->done = true;
        record(*n);
        n->after.clear();
        n->when = now();
    }
}

void run_all()
{
    run_until([] { return pending.empty(); });
}

void add_pending(NodeP n) { pending.push_back(std::move(n)); }

NodeP enqueue(CUstream_st *s, Work w, std::vector<NodeP> after)
{
    auto n = std::make_shared<Node>();
    n->work = std::move(w);
    n->after = std::move(after);
    n->stream = s->number;
    if (s->last)
        n->after.push_back(s->last);
    // The legacy default stream and blocking streams wait for each other.
    if (s == &null_stream) {
        for (auto *t : streams)
            if (t->blocking && t->last)
                n->after.push_back(t->last);
    } else if (s->blocking && null_stream.last) {
        n->after.push_back(null_stream.last);
    }
    s->last = n;
    pending.push_back(n);
    if (cudasim_settings()->eager)
        run_until([&] { return n->done; });
    return n;
}

// ---- captures

// While anything is captured, in any mode, no thread may wait for the whole device.
bool break_captures()
{
    bool found = false;
    for (auto *s : streams)
        if (s->capture)
            found = s->capture->broken = true;
    return found;
}

static uint64_t break_at; // the number of calls during captures until one breaks; 0 = never

void count_in_capture()
{
    const auto captures = [](const CUstream_st *s) { return s->capture != nullptr; };
    if (break_at && std::any_of(streams.begin(), streams.end(), captures) && --break_at == 0)
        break_captures();
}

static bool in_the_way(const CUstream_st *s)
{
    if (!s->capture || s->capture->mode == cudaStreamCaptureModeRelaxed)
        return false;
    return s->capture->mode == cudaStreamCaptureModeGlobal ||
           s->capture->thread == std::this_thread::get_id();
}

cudaError_t forbid_in_capture(const char *what)
{
    bool found = false;
    for (auto *s : streams)
        if (in_the_way(s))
            found = s->capture->broken = true;
    if (!found)
        return cudaSuccess;
    report("%s during a stream capture", what);
    return fail(cudaErrorStreamCaptureUnsupported);
}

static cudaError_t forbid_captured(CUstream_st *s, const char *what)
{
    if (!s->capture)
        return cudaSuccess;
    s->capture->broken = true;
    report("%s on a stream that is being captured", what);
    return fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t submit(cudaStream_t stream, Work w)
{
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    if (s->capture) {
        if (s->capture->broken)
            return fail(cudaErrorStreamCaptureInvalidated);
        s->tail = { graph_add(s->capture->graph, std::move(w), s->tail) };
        return cudaSuccess;
    }
    if (s == &null_stream)
        for (auto *t : streams)
            if (t->capture && t->blocking) {
                t->capture->broken = true;
                report("default stream used during the capture of a blocking stream");
                return fail(cudaErrorStreamCaptureImplicit);
            }
    enqueue(s, std::move(w));
    return cudaSuccess;
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    CUDASIM_ENTER;
    static size_t n_made = 0;
    *s = new CUstream_st;
    (*s)->number = ++n_made;
    (*s)->blocking = !(flags & cudaStreamNonBlocking);
    streams.push_back(*s);
    object_made(STREAM, *s);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CUDASIM_ENTER;
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    CUDASIM_TRY(forbid_captured(s, __func__));
    run_until([&] { return !s->last || s->last->done; });
    record_call(CUDASIM_WAIT, __func__, 0);
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    CUDASIM_ENTER;
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    CUDASIM_TRY(forbid_captured(s, __func__));
    return !s->last || s->last->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    CUDASIM_TRY(object_check(STREAM, stream));
    run_until([&] { return !stream->last || stream->last->done; });
    if (stream->capture && stream->origin) {
        stream->capture->broken = true;
        cudaGraph_t g;
        cudaStreamEndCapture(stream, &g);
    }
    streams.erase(std::remove(streams.begin(), streams.end(), stream), streams.end());
    object_gone(stream);
    delete stream;
    return planned;
}
cudaError_t cudaDeviceSynchronize(void)
{
    CUDASIM_ENTER;
    if (break_captures()) {
        report("%s during a stream capture", __func__);
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    run_all();
    record_call(CUDASIM_WAIT, __func__, 0);
    return cudaSuccess;
}

// Nobody profiles a simulated device.
cudaError_t cudaProfilerStart(void)
{
    CUDASIM_ENTER;
    return cudaSuccess;
}
cudaError_t cudaProfilerStop(void)
{
    CUDASIM_ENTER;
    return cudaSuccess;
}

void cudasim_break_capture(uint64_t k)
{
    Lock lock(big_lock);
    break_at = k;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *data)
{
    CUDASIM_ENTER;
    auto run = [=] {
        HostMode host;
        fn(data);
    };
    return submit(stream, work_of(Work::HOST_CALL, run, CUDASIM_HOST_CALL, 0));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    CUDASIM_ENTER;
    *e = new CUevent_st;
    (*e)->timing = !(flags & cudaEventDisableTiming);
    object_made(EVENT, *e);
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    CUDASIM_TRY(object_check(EVENT, e));
    object_gone(e);
    delete e;
    return planned;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EVENT, e));
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    e->captured = s->capture != nullptr;
    e->capture = s->capture;
    e->tail = s->tail;
    if (!e->captured)
        e->node = enqueue(s, {});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EVENT, e));
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    std::shared_ptr<Capture> capture = e->capture.lock();
    if (e->captured && capture) { // the stream joins the capture
        if (s->capture && s->capture != capture)
            return fail(cudaErrorStreamCaptureMerge);
        s->capture = capture;
        for (auto *n : e->tail)
            if (std::find(s->tail.begin(), s->tail.end(), n) == s->tail.end())
                s->tail.push_back(n);
        return cudaSuccess;
    }
    if (s->capture)
        return fail(cudaErrorStreamCaptureIsolation);
    if (e->node)
        enqueue(s, {}, { e->node });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EVENT, e));
    if (e->node)
        run_until([&] { return e->node->done; });
    record_call(CUDASIM_WAIT, __func__, 0);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EVENT, e));
    return !e->node || e->node->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(object_check(EVENT, a));
    CUDASIM_TRY(object_check(EVENT, b));
    if (!a->node || !b->node || !a->timing || !b->timing)
        return fail(cudaErrorInvalidResourceHandle);
    if (!a->node->done || !b->node->done)
        return cudaErrorNotReady;
    *ms = (float)((b->node->when - a->node->when) * 1e3);
    return cudaSuccess;
}

} // extern "C"
