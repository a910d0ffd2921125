// cudasim runs CUDA kernels on the CPU, for tests. This header is the interface between what kernel
// source sees (device*.h, ptx.h), the scheduler (scheduler.cpp, barriers.cpp, shared.cpp) and the
// stand-in for the CUDA runtime (memory.cpp, streams.cpp, launch.cpp, ...). Tests use testing.h.
#pragma once
#include "testing.h"
#include <cstddef>
#include <cstdint>
#include <vector_types.h>

namespace cudasim
{

// ---- one simulated CUDA thread (a fiber)
struct Block;
struct Thread {
    uint3 tid;           // threadIdx
    unsigned lane, warp; // within the block
    Block *block;
};
extern __thread Thread *self; // the simulated thread that runs now; null in host code

// The place in a kernel where a function of this header was called. Functions take it as a default
// argument, because the compiler then inserts the line of the caller.
struct Site {
    const char *file;
    int line;
};
#define CUDASIM_SITE ::cudasim::Site site = { __builtin_FILE(), __builtin_LINE() }
// Marks a function whose accesses ThreadSanitizer does not check: it works on the registers of
// other simulated threads, or the scheduler calls it.
#define CUDASIM_UNSEEN __attribute__((no_sanitize("thread")))

// ---- what device code can wait for

// All lanes of `mask` must arrive with the same mask and the same `op`; the last one runs
// complete(slots, mask), where slots[lane] is the pointer that the lane has passed.
typedef void (*WarpComplete)(void *const *slots, unsigned mask);
void warp_collective(unsigned mask, void *slot, WarpComplete complete, const char *op, Site site);
enum BarrierOp { BARRIER_SYNC, BARRIER_AND, BARRIER_OR, BARRIER_COUNT };
int block_barrier(BarrierOp op, int predicate, Site site);
void named_barrier(int id, int n_threads, Site site);
void grid_barrier(Site site);
void yield(Site site); // called by __nanosleep and every acquire load
void memory_fence();

// ---- shared memory
struct SharedVar {
    size_t size, align;
    const char *name;
    Site site;
    int id;
};
void *shared_var(SharedVar *v);
void *shared_dynamic(size_t align);
unsigned shared_offset(const void *p); // __cvta_generic_to_shared; dies if p is not shared memory

// ---- cp.async writes n bytes of shared memory; only the first src_n are read from `global`
void cp_async(void *shared, const void *global, int n, int src_n);
void cp_async_commit();
void cp_async_wait(int pending_groups);

// ---- kernels
struct KernelInfo {
    const void *fn;
    int n_params;
    const size_t *sizes;
    const bool *is_pointer;
    void (*call)(const void *fn, void *const *args);
};
void register_kernel(const KernelInfo &info);
const char *kernel_name(const void *fn);

struct Launch {
    const KernelInfo *kernel;
    void *const *args;
    dim3 grid, block;
    size_t shared;
    bool cooperative;
};
void run_grid(const Launch &launch); // to completion

// ---- reports
[[noreturn]] void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void describe_current(char *buf, size_t n); // "kernel k, block (..), thread (..)" or "host code"

uint64_t xorshift(uint64_t *state);
uint64_t next_random(); // the same seed gives the same numbers

} // namespace cudasim
