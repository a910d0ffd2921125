// Planted bugs: each is a program that is wrong in one way (or, for comparison, right), and the
// configurations that must notice it:
//   a d  ascending, descending order    r  at least one of five seeds of the random order
//   s    ASan + UBSan                   t  ThreadSanitizer
#pragma once
#include "check.cuh"

struct bug {
    const char *name;
    const char *caught_by; // the letters above; "" = the program is correct, and nothing may notice
                           // anything
    const char *says;      // part of what is printed then; the sanitizers have their own words
    void (*run)();
};
extern const bug kernel_bugs[], memory_bugs[], host_bugs[]; // each list ends with a null name

// The memory and streams that the bugs work with. Nothing is released, because leaks are not
// reported here.
struct Bench {
    float *y, *x; // 256 values on the device; those of x are ones
    cudaStream_t s, s2;

    Bench()
    {
        const std::vector<float> ones(256, 1.0f);
        OK(cudaMalloc((void **)&y, 1024));
        OK(cudaMalloc((void **)&x, 1024));
        OK(cudaMemcpy(x, ones.data(), 1024, cudaMemcpyHostToDevice));
        OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&s2, cudaStreamNonBlocking));
    }
    // Expects that y begins with the values of `want`.
    void expect(const std::vector<float> &want) const
    {
        std::vector<float> got(want.size());
        OK(cudaMemcpy(got.data(), y, got.size() * 4, cudaMemcpyDeviceToHost));
        for (size_t i = 0; i < want.size(); i++)
            if (!near(got[i], want[i], 1e-4)) {
                printf("wrong result at %zu: %g, expected %g\n", i, got[i], want[i]);
                exit(1);
            }
    }
    void expect(size_t n, float v) const { expect(std::vector<float>(n, v)); }
};
template <class T> static inline T *device_copy(const std::vector<T> &v)
{
    T *p;
    OK(cudaMalloc((void **)&p, v.size() * sizeof(T)));
    OK(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}
static inline void refused(cudaError_t e)
{
    if (e) {
        printf("refused: %s\n", cudaGetErrorName(e));
        exit(1);
    }
}
