/* cudasim for tests: settings of the simulated device, planned failures, the leak report. It is
 * plain C, so that tests of the engine can use it. Everything else that a test needs is the CUDA
 * runtime itself. Linked only into tests. */
#ifndef CUDASIM_TESTING_H
#define CUDASIM_TESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cudasim_order { CUDASIM_ASCENDING, CUDASIM_DESCENDING, CUDASIM_RANDOM };

/* Change fields only while no work is pending. The environment variables in brackets set them
 * too. */
struct cudasim_config {
    /* The order of threads, warps, blocks and streams [CUDASIM_ORDER=asc|desc|random]. */
    enum cudasim_order order;
    uint64_t seed;        /* of the random order [CUDASIM_SEED] */
    bool eager;           /* work runs at the call, not at the wait [CUDASIM_EAGER=1] */
    bool protect;         /* the host cannot touch device memory [CUDASIM_PROTECT=0] */
    bool strict_exit;     /* no thread may return before a __syncthreads of its block */
    size_t stack;         /* bytes of a simulated thread's stack */
    size_t device_memory; /* bytes that cudaMalloc can hand out */
    int sm_count;
    int compute_capability; /* 86 = 8.6 */
    size_t shared_opt_in;   /* most bytes of shared memory of a block */
    size_t l2_bytes;
    /* Work is checked and recorded (cudasim_record), but not done. Kernels, products, copies and
     * memsets leave device memory alone; it then consists of addresses only, so that models of any
     * size fit. Copies to the host bring zeros. Set it before the first allocation. */
    bool dry;
    /* The architecture that the kernels' code was made for; 0 = that of this device. PTX runs on
     * later devices; an earlier device has no code. */
    int ptx_version;
    int driver_version; /* 12020 = 12.2; 0 = as new as the runtime */
    int device_error;   /* cudaError_t of every call, as without a driver; 0 = there is a device */
};
struct cudasim_config *cudasim_settings(void);

/* Lets the k-th counted call from now on fail (1 = the next one; 0 = none), and starts counting
 * again. Every runtime and cuBLAS function that can fail because of the device is counted.
 * Functions that release something do release it and then report the failure. Sticky: all later
 * calls fail too, as after an illegal access on a device, until cudasim_fail_call is called
 * again. */
void cudasim_fail_call(uint64_t k, bool sticky);
uint64_t cudasim_calls(void); /* counted since the last cudasim_fail_call */
/* The name of the call that was made to fail, or NULL. */
const char *cudasim_failed_call(void);

/* Breaks a capture, as a cudaDeviceSynchronize() in another thread would. Of the counted calls that
 * are made while a stream is captured, the k-th from now on finds it broken (1 = the next one, 0 =
 * none). */
void cudasim_break_capture(uint64_t k);

/* Prints one line for each thing that host code has not released (device and pinned memory,
 * streams, events, graphs, cuBLAS handles) and returns how many there are. out may be NULL. */
size_t cudasim_leaks(FILE *out);

/* Installs a SIGSEGV handler that says which allocation was touched, by which code, and aborts.
 * Call it in each test: cmocka puts its own handler in place before every one. */
void cudasim_catch_faults(void);

/* Returns true if p points into the device's address range. */
bool cudasim_is_device(const void *p);

enum cudasim_work {
    CUDASIM_NOTHING,
    CUDASIM_KERNEL,
    CUDASIM_GEMM, /* of cuBLAS */
    CUDASIM_COPY,
    CUDASIM_SET,
    CUDASIM_HOST_CALL,
    CUDASIM_GRAPH,     /* a replay begins; its nodes follow */
    CUDASIM_GRAPH_END, /* all nodes are done */
    /* All kinds above are reported when they run, all from here on when the host calls. */
    CUDASIM_MALLOC,
    CUDASIM_PIN,
    /* The host has waited for all work reported before. */
    CUDASIM_WAIT
};
/* An operation of the device. Fields that do not concern its kind are 0. */
struct cudasim_entry {
    enum cudasim_work kind;
    /* 0 = the default stream; the others are numbered in the order of their creation. */
    size_t stream;
    bool in_graph; /* a node of a graph that is replayed */
    /* The name of a kernel, or of the host's function that waited. */
    const char *name;
    unsigned grid[3], block[3];
    size_t shared; /* dynamic */
    bool programmatic;
    int n_args; /* parameters of the kernel, and their sizes */
    const void *const *args;
    const size_t *arg_bytes;
    size_t bytes;          /* COPY, SET, MALLOC, PIN */
    int direction;         /* COPY: enum cudaMemcpyKind, never the default */
    int m, n, k, types[3]; /* GEMM: enum cudaDataType of A, B, C */
    size_t n_nodes;        /* GRAPH */
};
/* From now on all work is reported to fn, in the order in which it runs; NULL = nothing is
 * reported. Pointers live during the call. fn must not call the runtime. */
typedef void (*cudasim_record_fn)(void *user, const struct cudasim_entry *);
void cudasim_record(cudasim_record_fn fn, void *user);

struct cudasim_counts {
    uint64_t launches, blocks, threads, switches, collectives, barriers;
    uint64_t programmatic;    /* kernels launched or captured as programmatic */
    uint64_t graph_launches;  /* of whole graphs */
    uint64_t broken_captures; /* captures that did not end in a graph */
};
struct cudasim_counts *cudasim_stats(void);

#ifdef __cplusplus
}
#endif
#endif
