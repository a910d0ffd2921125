// The last error, names of errors, failures that a test planned, and the list of live objects.
#include "runtime.h"

#include <map>

namespace cudasim
{

std::recursive_mutex big_lock;
static thread_local cudaError_t last_error = cudaSuccess;

static struct {
    uint64_t calls, fail_at;
    bool sticky;
    const char *failed; // the call that failed
} plan;

cudaError_t fail(cudaError_t e)
{
    if (e != cudaErrorNotReady)
        last_error = e;
    return e;
}

bool fault_now(const char *name)
{
    plan.calls++;
    if (plan.calls == plan.fail_at)
        plan.failed = name;
    return plan.failed && (plan.sticky || plan.calls == plan.fail_at);
}

cudaError_t enter(const char *name, cudaError_t planned)
{
    if (cudasim_settings()->device_error)
        return fail((cudaError_t)cudasim_settings()->device_error);
    count_in_capture();
    if (fault_now(name))
        return fail(plan.sticky ? cudaErrorIllegalAddress : planned);
    return cudaSuccess;
}

static std::map<const void *, const char *> objects;

void object_made(const char *kind, const void *p) { objects[p] = kind; }
void object_gone(const void *p) { objects.erase(p); }

cudaError_t object_check(const char *kind, const void *p)
{
    auto it = objects.find(p);
    if (it != objects.end() && it->second == kind)
        return cudaSuccess;
    report("%p is not a live %s", p, kind);
    return fail(cudaErrorInvalidResourceHandle);
}

size_t objects_report(FILE *out)
{
    for (auto &o : objects)
        if (out)
            fprintf(out, "cudasim: never destroyed: %s %p\n", o.second, o.first);
    return objects.size();
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

void cudasim_fail_call(uint64_t k, bool sticky)
{
    Lock lock(big_lock);
    plan = { 0, k, sticky, nullptr };
    last_error = cudaSuccess;
}
uint64_t cudasim_calls(void)
{
    Lock lock(big_lock);
    return plan.calls;
}
const char *cudasim_failed_call(void)
{
    Lock lock(big_lock);
    return plan.failed;
}
size_t cudasim_leaks(FILE *out)
{
    Lock lock(big_lock);
    return objects_report(out) + memory_report(out);
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    if (!(plan.failed && plan.sticky))
        last_error = cudaSuccess;
    return e;
}
cudaError_t cudaPeekAtLastError(void) { return last_error; }

// Name and text of each error that this runtime can give.
static const struct {
    cudaError_t code;
    const char *name, *text;
} errors[] = {
    { cudaSuccess, "cudaSuccess", "no error" },
    { cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
    { cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
    { cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
      "invalid configuration argument" },
    { cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
    { cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected" },
    { cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
      "CUDA driver version is insufficient for CUDA runtime version" },
    { cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
      "no kernel image is available for execution on the device" },
    { cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle" },
    { cudaErrorNotReady, "cudaErrorNotReady", "device not ready" },
    { cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
      "an illegal memory access was encountered" },
    { cudaErrorCooperativeLaunchTooLarge, "cudaErrorCooperativeLaunchTooLarge",
      "too many blocks in cooperative launch" },
    { cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported" },
    { cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
      "operation not permitted when stream is capturing" },
    { cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
      "operation failed due to a previous error during capture" },
    { cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
      "operation would result in a merge of separate capture sequences" },
    { cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
      "capture was not ended in the same stream as it began" },
    { cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
      "capturing stream has unjoined work" },
    { cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
      "dependency created on uncaptured work in another stream" },
    { cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
      "operation would make the legacy stream depend on a capturing blocking stream" },
    { cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
      "the graph update was not performed" },
    { cudaErrorUnknown, "cudaErrorUnknown", "unknown error" },
};

const char *cudaGetErrorName(cudaError_t e)
{
    for (auto &x : errors)
        if (x.code == e)
            return x.name;
    return "unrecognized error code";
}
const char *cudaGetErrorString(cudaError_t e)
{
    for (auto &x : errors)
        if (x.code == e)
            return x.text;
    return "unrecognized error code";
}

} // extern "C"
