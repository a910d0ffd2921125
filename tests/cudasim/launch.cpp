// Kernel launches: limits of the configuration are checked, and parameters are copied at the call.
// Pointer parameters are checked at the call and again when the kernel runs, because a graph may be
// replayed after its memory was freed.
#include "runtime.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace cudasim
{

enum { SHARED_DEFAULT = 48 << 10, THREADS_PER_SM = 1536 };

static std::map<const void *, KernelInfo> kernels;
static std::map<const void *, size_t> shared_limits; // cudaFuncSetAttribute

void register_kernel(const KernelInfo &info)
{
    Lock lock(big_lock);
    kernels.emplace(info.fn, info);
}

// Pointer parameters must be device (or pinned) pointers; words inside struct parameters that look
// like device pointers must be live ones.
static void check_pointer(const KernelInfo *k, int i, const void *p, bool declared)
{
    if (!p)
        return;
    if (in_device(p)) {
        const bool freed = device_pointer_freed(p);
        // A word of a struct need not be a pointer: half of it may be padding with any content.
        if (!device_pointer_ok(p) && (declared || freed))
            die("kernel %s, parameter %d: %p points %s", kernel_name(k->fn), i, p,
                freed ? "to freed device memory" : "outside device memory allocations");
    } else if (declared && where_is(p) == HOST) {
        die("kernel %s, parameter %d: %p is a host pointer", kernel_name(k->fn), i, p);
    }
}

void KernelCall::check_pointers() const
{
    for (int i = 0; i < kernel->n_params; i++) {
        const std::vector<char> &v = values[(size_t)i];
        for (size_t o = 0; o + sizeof(void *) <= v.size(); o += sizeof(void *)) {
            void *p;
            memcpy(&p, v.data() + o, sizeof p);
            check_pointer(kernel, i, p, kernel->is_pointer[i]);
        }
    }
}

void KernelCall::run() const
{
    check_pointers();
    std::vector<void *> args;
    for (auto &v : values)
        args.push_back(const_cast<char *>(v.data()));
    if (!cudasim_settings()->dry)
        run_grid({ kernel, args.data(), grid, block, shared, how.cooperative });
}

static cudaError_t check_configuration(const void *fn, dim3 g, dim3 b, size_t shared,
                                       bool cooperative)
{
    const size_t threads = (size_t)b.x * b.y * b.z, blocks = (size_t)g.x * g.y * g.z;
    if (!threads || threads > 1024 || b.z > 64 || !blocks || g.x > INT32_MAX || g.y > 65535 ||
        g.z > 65535) {
        report("kernel %s: bad configuration grid (%u,%u,%u) block (%u,%u,%u)", kernel_name(fn),
               g.x, g.y, g.z, b.x, b.y, b.z);
        return fail(cudaErrorInvalidConfiguration);
    }
    auto it = shared_limits.find(fn);
    const size_t limit = it == shared_limits.end() ? (size_t)SHARED_DEFAULT : it->second;
    if (shared > limit) {
        report("kernel %s: %zu bytes of dynamic shared memory, limit %zu", kernel_name(fn), shared,
               limit);
        return fail(cudaErrorInvalidValue);
    }
    const size_t per_sm = std::max<size_t>(1, THREADS_PER_SM / threads);
    if (cooperative && blocks > (size_t)cudasim_settings()->sm_count * per_sm)
        return fail(cudaErrorCooperativeLaunchTooLarge);
    return cudaSuccess;
}

cudaError_t make_call(const void *fn, dim3 grid, dim3 block, size_t shared, LaunchKind how,
                      void **args, std::shared_ptr<const KernelCall> *out)
{
    auto it = kernels.find(fn);
    if (it == kernels.end())
        die("kernel %s was not launched through launch()", kernel_name(fn));
    CUDASIM_TRY(check_configuration(fn, grid, block, shared, how.cooperative));
    KernelCall call = { &it->second, grid, block, shared, how, {} };
    for (int i = 0; i < it->second.n_params; i++)
        call.values.emplace_back((char *)args[i], (char *)args[i] + it->second.sizes[i]);
    call.check_pointers();
    *out = std::make_shared<const KernelCall>(std::move(call));
    return cudaSuccess;
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *fn, void **args)
{
    CUDASIM_ENTER;
    LaunchKind how = { false, false };
    for (unsigned i = 0; i < c->numAttrs; i++) {
        if (c->attrs[i].id == cudaLaunchAttributeCooperative)
            how.cooperative = c->attrs[i].val.cooperative != 0;
        // A programmatic launch may start early; starting late is always right.
        else if (c->attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization)
            how.programmatic = c->attrs[i].val.programmaticStreamSerializationAllowed != 0;
        else
            return fail(cudaErrorNotSupported);
    }
    cudasim_stats()->programmatic += how.programmatic;
    std::shared_ptr<const KernelCall> call;
    CUDASIM_TRY(make_call(fn, c->gridDim, c->blockDim, c->dynamicSmemBytes, how, args, &call));
    return submit(c->stream, { Work::KERNEL, nullptr, call, {} });
}

cudaError_t cudaFuncSetAttribute(const void *fn, enum cudaFuncAttribute a, int v)
{
    CUDASIM_ENTER;
    if (a != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (v < 0 || (size_t)v > cudasim_settings()->shared_opt_in)
        return fail(cudaErrorInvalidValue);
    shared_limits[fn] = (size_t)v;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *)
{
    CUDASIM_ENTER;
    const struct cudasim_config *s = cudasim_settings();
    if (s->ptx_version > s->compute_capability)
        return fail(cudaErrorNoKernelImageForDevice);
    memset(a, 0, sizeof *a);
    a->ptxVersion = s->ptx_version ? s->ptx_version : s->compute_capability;
    a->binaryVersion = s->compute_capability;
    a->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *, int block, size_t)
{
    CUDASIM_ENTER;
    if (block < 1 || block > 1024)
        return fail(cudaErrorInvalidValue);
    *n = std::max(1, THREADS_PER_SM / block);
    return cudaSuccess;
}

} // extern "C"
