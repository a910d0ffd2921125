// Warp shuffles, votes, reductions, and atomics.
#pragma once
#include "cudasim.h"
#include <cstring>

namespace cudasim
{

static inline int lane() { return (int)self->lane; }

template <class T> struct ShuffleSlot {
    T value, result;
    int source; // lane that is read; -1 = the lane's own value
};

template <class T> CUDASIM_UNSEEN void shuffle_complete(void *const *slots, unsigned mask)
{
    for (unsigned m = mask; m; m &= m - 1) {
        auto *s = (ShuffleSlot<T> *)slots[__builtin_ctz(m)];
        if (s->source < 0)
            s->result = s->value;
        else if (mask >> s->source & 1)
            s->result = ((ShuffleSlot<T> *)slots[s->source])->value;
        else // a lane outside the mask: undefined
            memset((void *)&s->result, 0xFF, sizeof(T));
    }
}

template <class T>
static inline T shuffle(unsigned mask, T v, int source, const char *op, Site site)
{
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8,
                  "shuffles move 2, 4, 8 bytes");
    ShuffleSlot<T> s = { v, v, source };
    warp_collective(mask, &s, shuffle_complete<T>, op, site);
    return s.result;
}

struct VoteSlot {
    unsigned value, result;
};

CUDASIM_UNSEEN inline void ballot_complete(void *const *slots, unsigned mask)
{
    unsigned votes = 0;
    for (unsigned m = mask; m; m &= m - 1)
        votes |= ((VoteSlot *)slots[__builtin_ctz(m)])->value << __builtin_ctz(m);
    for (unsigned m = mask; m; m &= m - 1)
        ((VoteSlot *)slots[__builtin_ctz(m)])->result = votes;
}

static inline unsigned vote(unsigned mask, int p, const char *op, Site site)
{
    VoteSlot s = { p != 0, 0 };
    warp_collective(mask, &s, ballot_complete, op, site);
    return s.result;
}

template <class T, class F> struct Reduce {
    T value, result;

    CUDASIM_UNSEEN static void complete(void *const *slots, unsigned mask)
    {
        T r = ((Reduce *)slots[__builtin_ctz(mask)])->value;
        for (unsigned m = mask & (mask - 1); m; m &= m - 1)
            r = F()(r, ((Reduce *)slots[__builtin_ctz(m)])->value);
        for (unsigned m = mask; m; m &= m - 1)
            ((Reduce *)slots[__builtin_ctz(m)])->result = r;
    }
    static T run(unsigned mask, T v, const char *op, Site site)
    {
        static_assert(T(1) / 2 == 0 && sizeof(T) == 4, "32-bit integers only, as on the device");
        Reduce s = { v, v };
        warp_collective(mask, &s, complete, op, site);
        return s.result;
    }
};
template <class T> struct Add {
    T operator()(T a, T b) { return (T)((unsigned)a + (unsigned)b); }
};
template <class T> struct Min {
    T operator()(T a, T b) { return a < b ? a : b; }
};
template <class T> struct Max {
    T operator()(T a, T b) { return a > b ? a : b; }
};

} // namespace cudasim

template <class T>
static inline T __shfl_sync(unsigned mask, T v, int src, int width = 32, CUDASIM_SITE)
{
    int first = cudasim::lane() & ~(width - 1);
    return cudasim::shuffle(mask, v, first | (src & (width - 1)), "__shfl_sync", site);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32, CUDASIM_SITE)
{
    int l = cudasim::lane(), source = (l & (width - 1)) >= (int)d ? l - (int)d : -1;
    return cudasim::shuffle(mask, v, source, "__shfl_up_sync", site);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32, CUDASIM_SITE)
{
    int l = cudasim::lane(), source = (l & (width - 1)) + (int)d < width ? l + (int)d : -1;
    return cudasim::shuffle(mask, v, source, "__shfl_down_sync", site);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, CUDASIM_SITE)
{
    int l = cudasim::lane(), source = (l ^ x) >= (l & ~(width - 1)) + width ? -1 : l ^ x;
    return cudasim::shuffle(mask, v, source, "__shfl_xor_sync", site);
}
static inline unsigned __ballot_sync(unsigned mask, int p, CUDASIM_SITE)
{
    return cudasim::vote(mask, p, "__ballot_sync", site);
}
static inline int __any_sync(unsigned mask, int p, CUDASIM_SITE)
{
    return cudasim::vote(mask, p, "__any_sync", site) != 0;
}
static inline int __all_sync(unsigned mask, int p, CUDASIM_SITE)
{
    return cudasim::vote(mask, p, "__all_sync", site) == mask;
}
#define CUDASIM_REDUCE(name, F)                                                                    \
    template <class T> static inline T name(unsigned mask, T v, CUDASIM_SITE)                      \
    {                                                                                              \
        return cudasim::Reduce<T, cudasim::F<T>>::run(mask, v, #name, site);                       \
    }
CUDASIM_REDUCE(__reduce_add_sync, Add)
CUDASIM_REDUCE(__reduce_min_sync, Min)
CUDASIM_REDUCE(__reduce_max_sync, Max)
#undef CUDASIM_REDUCE

// ---- atomics: relaxed, as on the device

template <class T> static inline T atomicCAS(T *p, T expected, T v)
{
    __atomic_compare_exchange(p, &expected, &v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

namespace cudasim
{

template <class T, class F> static inline T atomic_update(T *p, F f)
{
    T old, next;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do
        next = f(old);
    while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T> struct same {
    typedef T type;
};

} // namespace cudasim

#define CUDASIM_ATOMIC(name, expr)                                                                 \
    template <class T> static inline T name(T *p, typename cudasim::same<T>::type v)               \
    {                                                                                              \
        return cudasim::atomic_update(p, [&](T o) -> T { return expr; });                          \
    }
CUDASIM_ATOMIC(atomicAdd, o + v)
CUDASIM_ATOMIC(atomicSub, o - v)
CUDASIM_ATOMIC(atomicMax, o > v ? o : v)
CUDASIM_ATOMIC(atomicMin, o < v ? o : v)
CUDASIM_ATOMIC(atomicAnd, o &v)
CUDASIM_ATOMIC(atomicOr, o | v)
CUDASIM_ATOMIC(atomicXor, o ^ v)
CUDASIM_ATOMIC(atomicExch, ((void)o, v))
CUDASIM_ATOMIC(atomicInc, o >= v ? 0 : o + 1)
CUDASIM_ATOMIC(atomicDec, o == 0 || o > v ? v : o - 1)
#undef CUDASIM_ATOMIC
