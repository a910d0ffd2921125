// Device memory is poisoned; each allocation lies between pages that fault; the host can access it
// only while work of the device runs; no address is used twice. Pinned memory of the host is here
// too.
#include "runtime.h"
#include "sanitizers.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace cudasim
{

enum { PAGE = 4096, POISON = 0xFF }; // NaN in every float format

struct Allocation {
    char *region, *p; // p: the pointer that cudaMalloc gave
    size_t size, pages;
    size_t number;
};
static struct {
    char *base, *next;
    size_t used, n_made;
    std::map<char *, Allocation> live, dead; // by region
    std::map<char *, size_t> pinned;
    int open; // > 0: device memory is accessible
} mem;
static const size_t RESERVED = size_t(512) << 30;
static const size_t HUGE_PAGE = size_t(2) << 20;

static const Allocation *find(const std::map<char *, Allocation> &in, const void *p)
{
    auto it = in.upper_bound((char *)const_cast<void *>(p));
    if (it == in.begin())
        return nullptr;
    --it;
    return (const char *)p < it->second.region + it->second.pages ? &it->second : nullptr;
}

bool in_device(const void *p) { return mem.base && p >= mem.base && p < mem.base + RESERVED; }

// The pinned allocation that holds p, or end().
static std::map<char *, size_t>::iterator find_pinned(const void *p)
{
    auto it = mem.pinned.upper_bound((char *)const_cast<void *>(p));
    if (it == mem.pinned.begin())
        return mem.pinned.end();
    --it;
    return (const char *)p < it->first + it->second ? it : mem.pinned.end();
}

Where where_is(const void *p)
{
    return in_device(p) ? DEVICE : find_pinned(p) != mem.pinned.end() ? PINNED : HOST;
}

bool range_ok(const char *what, const void *p, size_t n)
{
    if (!in_device(p)) {
        auto it = find_pinned(p);
        if (it == mem.pinned.end() || n <= (size_t)(it->first + it->second - (const char *)p))
            return true;
        report("%s: %zu bytes at offset %zu of pinned memory, which has %zu", what, n,
               (size_t)((const char *)p - it->first), it->second);
        return false;
    }
    const Allocation *a = find(mem.live, p);
    if (a && p >= a->p && (const char *)p <= a->p + a->size &&
        n <= (size_t)(a->p + a->size - (const char *)p))
        return true;
    if (a)
        report("%s: %zu bytes at offset %td of allocation #%zu, which has %zu", what, n,
               (const char *)p - a->p, a->number, a->size);
    else if ((a = find(mem.dead, p)))
        report("%s: %p was freed (allocation #%zu)", what, p, a->number);
    else
        report("%s: %p is not in an allocation", what, p);
    return false;
}

bool device_pointer_ok(const void *p)
{
    // A pointer to one past the end of an allocation is fine if it is only compared.
    return find(mem.live, p) || find(mem.live, (const char *)p - 1);
}
bool device_pointer_freed(const void *p) { return find(mem.dead, p) != nullptr; }

size_t memory_report(FILE *out)
{
    for (auto &a : mem.live)
        if (out)
            fprintf(out, "cudasim: never freed: allocation #%zu, %zu bytes of device memory\n",
                    a.second.number, a.second.size);
    for (auto &p : mem.pinned)
        if (out)
            fprintf(out, "cudasim: never freed: %zu bytes of pinned memory\n", p.second);
    return mem.live.size() + mem.pinned.size();
}

// ---- closing and opening

static bool is_poison(const char *from, const char *to)
{
    for (const char *q = from; q < to; q++)
        if (*q != (char)POISON)
            return false;
    return true;
}

// Checks the bytes around an allocation on its own pages. The sanitizers check them by
// themselves.
static void check_margins()
{
    if (SAN_ADDRESS || SAN_THREAD || cudasim_settings()->dry)
        return;
    for (auto &x : mem.live) {
        const Allocation &a = x.second;
        const char *before = a.p - a.region > 64 ? a.p - 64 : a.region;
        if (!is_poison(before, a.p) || !is_poison(a.p + a.size, a.region + a.pages))
            die("something wrote just outside allocation #%zu (%zu bytes)", a.number, a.size);
    }
}

static void protect_all(bool open)
{
    if (cudasim_settings()->protect && !cudasim_settings()->dry)
        for (auto &a : mem.live)
            mprotect(a.second.region, a.second.pages, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

DeviceMode::DeviceMode()
{
    if (mem.open++ == 0)
        protect_all(true);
}
DeviceMode::~DeviceMode()
{
    if (--mem.open == 0) {
        check_margins();
        protect_all(false);
    }
}
HostMode::HostMode() : was_open(mem.open)
{
    mem.open = 0;
    protect_all(false);
}
HostMode::~HostMode()
{
    protect_all(true);
    mem.open = was_open;
}

// ---- faults

static struct sigaction old_segv;

static int describe_fault(char *msg, size_t n, const char *p, const char *where)
{
    const Allocation *a = find(mem.live, p);
    if (a && !self)
        return snprintf(msg, n,
                        "cudasim: host code used a device pointer: %p, offset %td of allocation "
                        "#%zu (%zu bytes)\n  in %s\n",
                        (const void *)p, p - a->p, a->number, a->size, where);
    const Allocation *d = find(mem.dead, p);
    if (d)
        return snprintf(msg, n,
                        "cudasim: use after cudaFree: %p, offset %td of allocation #%zu\n  in %s\n",
                        (const void *)p, p - d->p, d->number, where);
    auto it = mem.live.upper_bound(const_cast<char *>(p));
    if (it == mem.live.begin())
        return snprintf(msg, n, "cudasim: access outside any allocation: %p\n  in %s\n",
                        (const void *)p, where);
    a = &std::prev(it)->second;
    return snprintf(msg, n,
                    "cudasim: access outside any allocation: %p, %td bytes after the start of "
                    "allocation #%zu (%zu bytes)\n  in %s\n",
                    (const void *)p, p - a->p, a->number, a->size, where);
}

static void on_segv(int, siginfo_t *info, void *)
{
    char where[256], msg[640];
    const char *p = (const char *)info->si_addr;
    int n = 0;
    describe_current(where, sizeof where);
    if (in_device(p))
        n = describe_fault(msg, sizeof msg, p, where);
    else if (self)
        n = snprintf(msg, sizeof msg,
                     "cudasim: bad access to %p (beyond shared memory or the stack of a simulated "
                     "thread, or a null pointer)\n  in %s\n",
                     (const void *)p, where);
    if (n > 0) {
        if (write(2, msg, (size_t)n) < 0)
            _exit(134);
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    sigaction(SIGSEGV, &old_segv, nullptr); // not ours: the access happens again
}

// Reserves a region of so many bytes, with a page behind it that is never accessible. Every launch
// and copy opens and closes all regions, which costs time for each page and took most of the time
// of some tests. So large regions have large pages if the system has any.
static char *reserve(size_t pages)
{
    const bool large = pages >= 2 * HUGE_PAGE;
    const size_t before = large ? (size_t) - (uintptr_t)mem.next % HUGE_PAGE : 0;
    if (before + pages + PAGE > (size_t)(mem.base + RESERVED - mem.next))
        die("the address space of the simulated device is used up");
    char *region = mem.next + before;
    mem.next = region + pages + PAGE;
    if (large)
        madvise(region, pages, MADV_HUGEPAGE);
    return region;
}

// Makes the n bytes at p of a new region accessible, as far as the current mode allows.
static void fill_new(char *region, char *p, size_t n, size_t pages)
{
    mprotect(region, pages, PROT_READ | PROT_WRITE);
    san_fill(region, POISON, pages);
    san_poison(region, (size_t)(p - region));
    san_poison(p + n, (size_t)(region + pages - (p + n)));
    if (!mem.open && cudasim_settings()->protect)
        mprotect(region, pages, PROT_NONE);
}

} // namespace cudasim

using namespace cudasim;

extern "C" {

void cudasim_catch_faults(void)
{
    static char stack[64 << 10];
    struct sigaction now;
    sigaction(SIGSEGV, nullptr, &now);
    if (now.sa_sigaction == on_segv)
        return;
    stack_t ss = {};
    ss.ss_size = sizeof stack;
    ss.ss_sp = stack;
    sigaltstack(&ss, nullptr);
    struct sigaction sa = {};
    sa.sa_sigaction = on_segv;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &sa, &old_segv);
}

bool cudasim_is_device(const void *p) { return in_device(p); }

cudaError_t cudaMalloc(void **out, size_t n)
{
    CUDASIM_ENTER_OR(cudaErrorMemoryAllocation);
    CUDASIM_TRY(forbid_in_capture("cudaMalloc"));
    *out = nullptr;
    if (n == 0)
        return cudaSuccess;
    if (!mem.base) {
        mem.base = mem.next = (char *)mmap(nullptr, RESERVED, PROT_NONE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mem.base == MAP_FAILED)
            die("cannot reserve the address space of the device");
    }
    const size_t limit = cudasim_settings()->device_memory;
    if (n > limit || mem.used > limit - n)
        return fail(cudaErrorMemoryAllocation);
    const size_t pages = (n + PAGE - 1) / PAGE * PAGE;
    char *region = reserve(pages);
    // It is aligned to 256 as on the device, and its end is as close to the page behind it as the
    // alignment allows.
    char *p = region + (pages - (n + 255) / 256 * 256);
    if (!cudasim_settings()->dry) // in dry mode no page is ever accessible
        fill_new(region, p, n, pages);
    mem.live[region] = { region, p, n, pages, ++mem.n_made };
    mem.used += n;
    record_call(CUDASIM_MALLOC, __func__, n);
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    if (!p)
        return planned;
    CUDASIM_TRY(forbid_in_capture("cudaFree"));
    run_all(); // cudaFree waits for the device
    const Allocation *a = find(mem.live, p);
    if (!a || a->p != p) {
        report("cudaFree(%p): not an allocation, or freed twice", p);
        return fail(cudaErrorInvalidValue);
    }
    const Allocation gone = *a;
    mem.used -= gone.size;
    if (!cudasim_settings()->dry) {
        san_unpoison(gone.region, gone.pages);
        mprotect(gone.region, gone.pages, PROT_NONE);
        madvise(gone.region, gone.pages, MADV_DONTNEED);
    }
    mem.live.erase(gone.region);
    mem.dead[gone.region] = gone;
    return planned;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    CUDASIM_ENTER;
    *total = cudasim_settings()->device_memory;
    *available = *total - mem.used;
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t n, unsigned)
{
    CUDASIM_ENTER_OR(cudaErrorMemoryAllocation);
    *out = nullptr;
    if (n == 0)
        return cudaSuccess;
    if (posix_memalign(out, PAGE, n))
        return fail(cudaErrorMemoryAllocation);
    memset(*out, POISON, n);
    mem.pinned[(char *)*out] = n;
    record_call(CUDASIM_PIN, __func__, n);
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void **out, size_t n) { return cudaHostAlloc(out, n, 0); }

cudaError_t cudaFreeHost(void *p)
{
    Lock lock(big_lock);
    cudaError_t planned = enter(__func__, cudaErrorUnknown);
    if (!p)
        return planned;
    run_all();
    if (!mem.pinned.erase((char *)p)) {
        report("cudaFreeHost(%p): not pinned memory, or freed twice", p);
        return fail(cudaErrorInvalidValue);
    }
    free(p);
    return planned;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p)
{
    CUDASIM_ENTER;
    memset(a, 0, sizeof *a);
    const Where w = where_is(p);
    a->type = w == DEVICE   ? cudaMemoryTypeDevice
              : w == PINNED ? cudaMemoryTypeHost
                            : cudaMemoryTypeUnregistered;
    a->devicePointer = w == HOST ? nullptr : const_cast<void *>(p);
    a->hostPointer = w == PINNED ? const_cast<void *>(p) : nullptr;
    return cudaSuccess;
}

} // extern "C"
