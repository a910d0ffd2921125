// For tests in .cu files: random numbers, buffers on the device that free themselves, comparison.
#pragma once
#include "check.h"
#include "kernels/cu.cuh"

#include <cmath>
#include <vector>

static thread_local uint64_t rng_state = 88172645463325252ull;
static inline uint32_t random_bits()
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 16);
}
static inline float random_float() { return (float)(random_bits() & 0xffffff) / 8388608.0f - 1; }
static inline std::vector<float> random_floats(size_t n)
{
    std::vector<float> v(n);
    for (auto &x : v)
        x = random_float();
    return v;
}
static inline std::vector<__half> random_halves(size_t n)
{
    std::vector<__half> v(n);
    for (auto &x : v)
        x = __float2half(random_float());
    return v;
}
static inline std::vector<int8_t> random_bytes(size_t n)
{
    std::vector<int8_t> v(n);
    for (auto &x : v)
        x = (int8_t)(random_bits() % 255 - 127);
    return v;
}

template <class T> struct Buffer {
    T *p = nullptr;
    size_t n;

    explicit Buffer(size_t count) : n(count) { OK(cudaMalloc((void **)&p, n * sizeof(T))); }
    explicit Buffer(const std::vector<T> &v) : Buffer(v.size()) { put(v); }
    Buffer(const Buffer &) = delete;
    ~Buffer() { cudaFree(p); }
    operator T *() const { return p; }
    void put(const std::vector<T> &v)
    {
        OK(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
    }
    std::vector<T> get() const
    {
        std::vector<T> v(n);
        OK(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
        return v;
    }
};

static inline bool near(double a, double b, double tolerance)
{
    return std::fabs(a - b) <= tolerance * (1 + std::fabs(b));
}
