// Tells AddressSanitizer and ThreadSanitizer about fibers and simulated memory. CUDASIM_TSAN is
// defined for the whole build. ThreadSanitizer instruments only kernels and tests, not the
// simulator, whose own order of events must not hide a kernel's races.
#pragma once
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__)
#define SAN_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SAN_ADDRESS 1
#endif
#endif
#ifndef SAN_ADDRESS
#define SAN_ADDRESS 0
#endif
#if SAN_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef CUDASIM_TSAN
#define SAN_THREAD 1
#include <sanitizer/tsan_interface.h>
#else
#define SAN_THREAD 0
#endif

namespace cudasim
{

static inline void san_before_switch(void **fake, const void *stack, size_t size, void *tsan)
{
    (void)fake, (void)stack, (void)size, (void)tsan;
#if SAN_ADDRESS
    __sanitizer_start_switch_fiber(fake, stack, size);
#endif
#if SAN_THREAD
    __tsan_switch_to_fiber(tsan, __tsan_switch_to_fiber_no_sync);
#endif
}

static inline void san_after_switch(void *fake)
{
    (void)fake;
#if SAN_ADDRESS
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

// The host thread's own stack. Slow the first time: glibc reads /proc/self/maps.
static inline void san_host_stack(char **stack, size_t *size, void **tsan)
{
    (void)stack, (void)size, (void)tsan;
#if SAN_ADDRESS
    static thread_local void *my_stack;
    static thread_local size_t my_size;
    if (!my_stack) {
        pthread_attr_t a;
        pthread_getattr_np(pthread_self(), &a);
        pthread_attr_getstack(&a, &my_stack, &my_size);
        pthread_attr_destroy(&a);
    }
    *stack = (char *)my_stack;
    *size = my_size;
#endif
#if SAN_THREAD
    *tsan = __tsan_get_current_fiber();
#endif
}

static inline void *san_create_fiber()
{
#if SAN_THREAD
    return __tsan_create_fiber(0);
#else
    return nullptr;
#endif
}

static inline void san_name_fiber(void *tsan, unsigned block, unsigned thread)
{
    (void)tsan, (void)block, (void)thread;
#if SAN_THREAD
    char name[40];
    snprintf(name, sizeof name, "block %u thread %u", block, thread);
    __tsan_set_fiber_name(tsan, name);
#endif
}

static inline void san_acquire(void *p)
{
    (void)p;
#if SAN_THREAD
    __tsan_acquire(p);
#endif
}

static inline void san_release(void *p)
{
    (void)p;
#if SAN_THREAD
    __tsan_release(p);
#endif
}

static inline void san_poison(const void *p, size_t n)
{
    (void)p, (void)n;
#if SAN_ADDRESS
    if (n)
        __asan_poison_memory_region(p, n);
#endif
}

static inline void san_unpoison(const void *p, size_t n)
{
    (void)p, (void)n;
#if SAN_ADDRESS
    if (n)
        __asan_unpoison_memory_region(p, n);
#endif
}

// A memset that ThreadSanitizer does not take for an access of the program.
static inline void san_fill(void *p, int c, size_t n)
{
#if SAN_THREAD
    for (volatile char *q = (char *)p, *end = q + n; q < end; q++)
        *q = (char)c;
#else
    memset(p, c, n);
#endif
}

} // namespace cudasim
