/* The hardware of this machine; each backend reports its own. */
#ifndef WEFT_PLATFORM_H
#define WEFT_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CUDA on this machine. Filling it takes no device memory. */
struct cuda_platform {
    bool built;          /* this build has the backend */
    int driver, runtime; /* 13010 = 13.1; 0 = none */
    size_t n_devices;
    char problem[200]; /* why there is no device; "" if there is one */
    /* There was a device, until a kernel failed in this process. */
    bool lost;
};
void cuda_platform_get(struct cuda_platform *p);
struct cuda_device {
    char description[128];
    int major, minor; /* compute capability */
    size_t n_sms;
    uint64_t total_bytes, free_bytes; /* free_bytes 0 = unknown */
    char problem[200];                /* why it cannot be used; "" if it can */
    /* It could be used, until a kernel failed in this process. */
    bool lost;
};
/* i < n_devices */
void cuda_device_get(size_t i, struct cuda_device *d);

/* The hardware that the CPU backend computes with. */
struct cpu_platform {
    char name[64];
    /* The instructions that its kernels can use, such as "avx2 fma f16c". */
    char features[96];
    const char *kernels; /* the set that would run */
    /* Physical cores and hardware threads that this process may use. */
    size_t n_cores, n_threads;
    /* The memory of this machine or container; 0 = unknown. */
    uint64_t total_bytes, free_bytes;
};
void cpu_platform_get(struct cpu_platform *p);
/* Returns how many threads should run at once if nobody says: one per physical core that this
 * process may use, not more than its CPU quota amounts to, and at least 1. */
size_t cpu_default_threads(void);

#endif
