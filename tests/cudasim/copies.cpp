// cudaMemcpy and cudaMemset in their variants. Direction, bounds and lifetime of both sides are
// checked at the call, and again when the copy runs.
#include "runtime.h"

#include <cstring>

namespace cudasim
{

static const char *kind_name(cudaMemcpyKind k)
{
    static const char *const names[] = { "HostToHost", "HostToDevice", "DeviceToHost",
                                         "DeviceToDevice", "Default" };
    return (unsigned)k < 5 ? names[k] : "?";
}

static cudaError_t check_direction(const void *dst, const void *src, cudaMemcpyKind kind)
{
    const bool d = in_device(dst), s = in_device(src);
    if (kind == cudaMemcpyDefault ||
        (d == (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) &&
         s == (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)))
        return cudaSuccess;
    report("cudaMemcpy%s, but the destination is on the %s and the source on the %s",
           kind_name(kind), d ? "device" : "host", s ? "device" : "host");
    return fail(cudaErrorInvalidValue);
}

// Rows of `width` bytes; one row for the plain copies.
struct Copy {
    void *dst;
    size_t dst_pitch;
    const void *src;
    size_t src_pitch, width, height;

    size_t dst_span() const { return dst_pitch * (height - 1) + width; }
    size_t src_span() const { return src_pitch * (height - 1) + width; }
    bool ok() const
    {
        return range_ok("cudaMemcpy destination", dst, dst_span()) &&
               range_ok("cudaMemcpy source", src, src_span());
    }
    void run() const
    {
        if (!ok())
            die("a copy in a stream or graph uses memory that is gone");
        const bool zeros = cudasim_settings()->dry && in_device(src);
        if (cudasim_settings()->dry && in_device(dst))
            return;
        for (size_t i = 0; i < height; i++)
            if (zeros)
                memset((char *)dst + i * dst_pitch, 0, width);
            else
                memcpy((char *)dst + i * dst_pitch, (const char *)src + i * src_pitch, width);
    }
};

static Work work_of_copy(std::function<void()> run, const Copy &c)
{
    Work w = work_of(Work::COPY, std::move(run), CUDASIM_COPY, c.width * c.height);
    const bool to = in_device(c.dst), from = in_device(c.src);
    w.told.direction = to     ? from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
                       : from ? cudaMemcpyDeviceToHost
                              : cudaMemcpyHostToHost;
    return w;
}

static cudaError_t copy(Copy c, cudaMemcpyKind kind, cudaStream_t stream)
{
    if (c.width == 0 || c.height == 0)
        return cudaSuccess;
    if (c.width > c.dst_pitch || c.width > c.src_pitch)
        return fail(cudaErrorInvalidValue);
    CUDASIM_TRY(check_direction(c.dst, c.src, kind));
    if (!c.ok())
        return fail(cudaErrorInvalidValue);
    CUstream_st *s = stream_get(stream);
    if (!s)
        return cudaErrorInvalidResourceHandle;
    const Where to = where_is(c.dst), from = where_is(c.src);
    const bool capturing = s->capture != nullptr;
    if (capturing && (to == HOST || from == HOST)) {
        report("copy from or to pageable memory during a capture");
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    // Pageable memory is staged at the call.
    if (from == HOST && !(cudasim_settings()->dry && to == DEVICE)) {
        auto staged = std::make_shared<std::vector<char>>((const char *)c.src,
                                                          (const char *)c.src + c.src_span());
        c.src = staged->data();
        return submit(stream, work_of_copy([=] { (void)staged, c.run(); }, c));
    }
    // A read of the destination before a wait gets garbage.
    if (to == PINNED && !capturing && !cudasim_settings()->eager)
        for (size_t i = 0; i < c.height; i++)
            memset((char *)c.dst + i * c.dst_pitch, 0xFF, c.width);
    CUDASIM_TRY(submit(stream, work_of_copy([=] { c.run(); }, c)));
    if (to == HOST)
        run_until([=] { return !s->last || s->last->done; });
    return cudaSuccess;
}

// Copies on the default stream and waits.
static cudaError_t copy_now(const char *name, const Copy &c, cudaMemcpyKind kind)
{
    CUDASIM_TRY(forbid_in_capture(name));
    CUDASIM_TRY(copy(c, kind, nullptr));
    CUstream_st *s = stream_get(nullptr);
    run_until([=] { return !s->last || s->last->done; });
    record_call(CUDASIM_WAIT, name, 0);
    return cudaSuccess;
}

static cudaError_t set(void *p, int v, size_t n, cudaStream_t stream)
{
    if (n == 0)
        return cudaSuccess;
    if (!in_device(p) || !range_ok("cudaMemset", p, n))
        return fail(cudaErrorInvalidValue);
    auto run = [=] {
        if (!range_ok("cudaMemset", p, n))
            die("a memset in a stream or graph uses memory that is gone");
        if (!cudasim_settings()->dry)
            memset(p, v, n);
    };
    return submit(stream, work_of(Work::SET, run, CUDASIM_SET, n));
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    CUDASIM_ENTER;
    return copy({ dst, n, src, n, n, 1 }, kind, stream);
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t n, cudaMemcpyKind kind)
{
    CUDASIM_ENTER;
    return copy_now(__func__, { dst, n, src, n, n, 1 }, kind);
}
cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    CUDASIM_ENTER;
    return copy({ dst, dst_pitch, src, src_pitch, width, height }, kind, stream);
}
cudaError_t cudaMemcpy2D(void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind)
{
    CUDASIM_ENTER;
    return copy_now(__func__, { dst, dst_pitch, src, src_pitch, width, height }, kind);
}
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t stream)
{
    CUDASIM_ENTER;
    return set(p, v, n, stream);
}
cudaError_t cudaMemset(void *p, int v, size_t n)
{
    CUDASIM_ENTER;
    CUDASIM_TRY(forbid_in_capture(__func__));
    return set(p, v, n, nullptr);
}

} // extern "C"
