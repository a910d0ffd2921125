/* cuda/device.c: what it says about drivers and devices. They are made up here, because no machine
 * has all of their faults. The file is compiled into this program with another runtime under it. */
#include "kernels/kernels.h"

#undef cudaGetDeviceProperties
#define cudaDriverGetVersion made_up_driver
#define cudaRuntimeGetVersion made_up_runtime
#define cudaGetDeviceCount made_up_count
#define cudaGetDeviceProperties made_up_properties
#define cudaSetDevice made_up_set
#define cudaMemGetInfo made_up_memory
#define cudaGetLastError made_up_last
#define kernel_queue made_up_queue
#define cuda_platform_get told_platform
#define cuda_device_get told_device
static cudaError_t made_up_driver(int *v);
static cudaError_t made_up_runtime(int *v);
static cudaError_t made_up_count(int *n);
static cudaError_t made_up_properties(struct cudaDeviceProp *p, int device);
static cudaError_t made_up_set(int device);
static cudaError_t made_up_memory(size_t *free_bytes, size_t *total);
static cudaError_t made_up_last(void);
static cudaError_t made_up_queue(int device, struct dqueue *on);
#include "cuda/device.c"
#include "platform.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MAX_DEVICES = 4 };

static struct {
    int driver, n;
    cudaError_t count_error, properties_error, set_error, memory_error, queue_error;
    int major, minor;
    const char *name;
    bool contexts[MAX_DEVICES];
} machine;
/* The runtime keeps these for each thread. */
static _Thread_local int current;
static _Thread_local cudaError_t last;

static cudaError_t keep(cudaError_t e)
{
    last = e != cudaSuccess ? e : last;
    return e;
}

static cudaError_t made_up_driver(int *v)
{
    *v = machine.driver;
    return cudaSuccess;
}

static cudaError_t made_up_runtime(int *v)
{
    *v = 13010;
    return cudaSuccess;
}

static cudaError_t made_up_count(int *n)
{
    *n = machine.n;
    return keep(machine.count_error);
}

static cudaError_t made_up_properties(struct cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", machine.name);
    p->major = machine.major;
    p->minor = machine.minor;
    p->multiProcessorCount = 100 + device;
    p->totalGlobalMem = 5000;
    return keep(machine.properties_error);
}

/* Since CUDA 12 the runtime gives a device its context as soon as it is made current. */
static cudaError_t made_up_set(int device)
{
    assert_true(device >= 0 && device < MAX_DEVICES);
    if (machine.set_error == cudaSuccess) {
        current = device;
        machine.contexts[device] = true;
    }
    return keep(machine.set_error);
}

static cudaError_t made_up_memory(size_t *free_bytes, size_t *total)
{
    machine.contexts[current] = true;
    *free_bytes = 3000 + (size_t)current;
    *total = 4000 + (size_t)current;
    return keep(machine.memory_error);
}

static cudaError_t made_up_queue(int device, struct dqueue *on)
{
    assert_int_equal(device, current);
    on->n_sms = 100;
    return keep(machine.queue_error);
}

static cudaError_t made_up_last(void)
{
    cudaError_t e = last;
    last = cudaSuccess;
    return e;
}

static int setup(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof machine);
    machine.driver = 13010;
    machine.n = 2;
    machine.major = 9;
    machine.name = "Made Up H200";
    current = 0;
    last = cudaSuccess;
    return 0;
}

static void says(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strstr(text, *words) == NULL) {
            fail_msg("'%s' does not say '%s'", text, *words);
        }
    }
}
#define SAYS(text, ...) says(text, (const char *const[]){ __VA_ARGS__, NULL })

/* Returns the problem of a platform that has no device. */
static const char *problem(int driver, int n, cudaError_t e)
{
    static struct cuda_platform p;
    machine.driver = driver;
    machine.n = n;
    machine.count_error = e;
    memset(&p, 0x55, sizeof p);
    told_platform(&p);
    assert_true(p.built && p.driver == driver && p.runtime == 13010);
    assert_int_equal(p.n_devices, 0);
    assert_int_equal(last, cudaSuccess);
    return p.problem;
}

static void test_devices(void **state)
{
    struct cuda_platform p;
    (void)state;
    told_platform(&p);
    assert_true(p.built && p.driver == 13010 && p.runtime == 13010);
    assert_int_equal(p.n_devices, 2);
    assert_string_equal(p.problem, "");
    for (size_t i = 0; i < MAX_DEVICES; i++) {
        assert_false(machine.contexts[i]);
    }
}

static void test_no_driver(void **state)
{
    (void)state;
    SAYS(problem(0, 0, cudaErrorInsufficientDriver), "no NVIDIA driver", "13.1 or later",
         "cudaErrorInsufficientDriver", "--gpus all");
    SAYS(problem(0, 0, cudaErrorNoDevice), "no NVIDIA driver");
}

static void test_old_driver(void **state)
{
    (void)state;
    SAYS(problem(12040, 0, cudaErrorInsufficientDriver), "up to 12.4", "built with 13.1",
         "update the driver", "an older CUDA toolkit");
}

static void test_no_device(void **state)
{
    (void)state;
    SAYS(problem(13010, 0, cudaErrorNoDevice), "CUDA 13.1", "cudaErrorNoDevice", "nvidia-smi",
         "CUDA_VISIBLE_DEVICES hides it");
    SAYS(problem(13010, 0, cudaSuccess), "shows no GPU", "cudaErrorNoDevice");
    /* A count that comes with an error does not count. */
    SAYS(problem(13010, 3, cudaErrorNoDevice), "shows no GPU");
}

/* Every error is named, and its text is not cut off. */
static void test_every_error(void **state)
{
    (void)state;
    for (int e = 1; e < 1000; e++) {
        const char *text = problem(13000, 0, (cudaError_t)e);
        SAYS(text, cudaGetErrorName((cudaError_t)e),
             e == cudaErrorInsufficientDriver    ? "older CUDA toolkit"
             : e == cudaErrorNoDevice            ? "hides it"
             : cuda_process_lost((cudaError_t)e) ? "restart the program"
                                                 : "see whether nvidia-smi works");
    }
}

static void test_description(void **state)
{
    struct cuda_device d;
    char long_name[200];
    (void)state;
    told_device(1, &d);
    assert_string_equal(d.description, "Made Up H200");
    assert_true(d.major == 9 && d.minor == 0 && d.n_sms == 101);
    assert_true(d.free_bytes == 3001 && d.total_bytes == 4001);
    assert_string_equal(d.problem, "");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    machine.name = long_name;
    told_device(0, &d);
    assert_int_equal(strlen(d.description), sizeof d.description - 1);
}

/* The caller's device stays current, and only the device that was asked about gets a context. */
static void test_current_device(void **state)
{
    struct cuda_device d;
    (void)state;
    current = 2;
    told_device(1, &d);
    assert_int_equal(current, 2);
    for (size_t i = 0; i < MAX_DEVICES; i++) {
        assert_int_equal(machine.contexts[i], i == 1);
    }
}

static void test_capability(void **state)
{
    struct cuda_device d;
    (void)state;
    machine.major = 7;
    machine.minor = 5;
    told_device(0, &d);
    SAYS(d.problem, "7.5", "8.0 or later");
    assert_true(d.total_bytes == 5000 && d.free_bytes == 0);
    /* A device that cannot be used anyway gets no context. */
    assert_false(machine.contexts[0]);
    machine.major = 8;
    machine.minor = 0;
    told_device(0, &d);
    assert_string_equal(d.problem, "");
    machine.major = 12;
    told_device(0, &d);
    assert_string_equal(d.problem, "");
}

static void test_silent_devices(void **state)
{
    struct cuda_device d;
    (void)state;
    machine.memory_error = cudaErrorDevicesUnavailable;
    told_device(0, &d);
    SAYS(d.problem, "does not answer", cudaGetErrorName(cudaErrorDevicesUnavailable), "nvidia-smi");
    assert_true(d.free_bytes == 0 && d.total_bytes == 5000);
    assert_int_equal(last, cudaSuccess);
    machine.memory_error = cudaSuccess;
    machine.set_error = cudaErrorECCUncorrectable;
    told_device(0, &d);
    SAYS(d.problem, cudaGetErrorName(cudaErrorECCUncorrectable));
    assert_int_equal(d.free_bytes, 0);
    machine.properties_error = cudaErrorInvalidDevice;
    told_device(0, &d);
    SAYS(d.problem, "what it is", "cudaErrorInvalidDevice");
    assert_int_equal(d.major, 0);
    assert_int_equal(last, cudaSuccess);
}

/* After the fault of a kernel in this process only a new process helps. */
static void test_lost(void **state)
{
    struct cuda_platform p;
    struct cuda_device d;
    (void)state;
    machine.memory_error = cudaErrorIllegalAddress;
    told_device(0, &d);
    assert_true(d.lost);
    SAYS(d.problem, "a kernel failed", cudaGetErrorName(cudaErrorIllegalAddress),
         "restart the program");
    machine.properties_error = cudaErrorLaunchFailure;
    told_device(0, &d);
    assert_true(d.lost);
    SAYS(d.problem, cudaGetErrorName(cudaErrorLaunchFailure), "restart the program");
    machine.count_error = cudaErrorAssert;
    told_platform(&p);
    assert_true(p.lost);
    SAYS(p.problem, cudaGetErrorName(cudaErrorAssert), "restart the program");
    /* A device that other processes keep busy is not lost to this one. */
    machine.count_error = machine.properties_error = cudaSuccess;
    machine.memory_error = cudaErrorDevicesUnavailable;
    told_platform(&p);
    told_device(0, &d);
    assert_false(p.lost || d.lost);
}

/* The code is for other devices only, or it is PTX that the driver cannot compile. */
static void test_no_code(void **state)
{
    static const cudaError_t errors[] = { cudaErrorNoKernelImageForDevice,
                                          cudaErrorUnsupportedPtxVersion,
                                          cudaErrorJitCompilerNotFound };
    struct cuda_device d;
    (void)state;
    machine.minor = 1;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        machine.queue_error = errors[i];
        told_device(0, &d);
        SAYS(d.problem, "no kernels", cudaGetErrorName(errors[i]), "CUDA_ARCH=sm_91");
        assert_true(d.total_bytes == 4000 && !d.lost);
        assert_int_equal(last, cudaSuccess);
    }
    /* Too little memory for a queue is no problem of the device; opening an engine reports it. */
    machine.queue_error = cudaErrorMemoryAllocation;
    told_device(0, &d);
    assert_string_equal(d.problem, "");
}

/* Opening an engine asks whether there is room, and says the numbers. */
static void test_full_device(void **state)
{
    struct cuda_device d;
    (void)state;
    machine.set_error = cudaErrorMemoryAllocation;
    told_device(0, &d);
    assert_string_equal(d.problem, "");
    assert_int_equal(d.free_bytes, 0);
    assert_int_equal(d.total_bytes, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_devices, setup),
        cmocka_unit_test_setup(test_no_driver, setup),
        cmocka_unit_test_setup(test_old_driver, setup),
        cmocka_unit_test_setup(test_no_device, setup),
        cmocka_unit_test_setup(test_every_error, setup),
        cmocka_unit_test_setup(test_description, setup),
        cmocka_unit_test_setup(test_current_device, setup),
        cmocka_unit_test_setup(test_capability, setup),
        cmocka_unit_test_setup(test_silent_devices, setup),
        cmocka_unit_test_setup(test_lost, setup),
        cmocka_unit_test_setup(test_no_code, setup),
        cmocka_unit_test_setup(test_full_device, setup),
    };
    return cmocka_run_group_tests_name("platform", tests, NULL, NULL);
}
