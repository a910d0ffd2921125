// To launch a kernel from the plain C API, the simulator must know the sizes of its parameters,
// which of them are pointers, and how to call it. kernels/cu.cuh includes this.
#pragma once
#include "cudasim.h"
#include <type_traits>
#include <utility>

namespace cudasim
{

template <class... P> struct Typed {
    static constexpr size_t sizes[sizeof...(P) + 1] = { sizeof(P)..., 0 };
    static constexpr bool is_pointer[sizeof...(P) + 1] = { std::is_pointer<P>::value..., false };

    template <size_t... I>
    CUDASIM_UNSEEN static void call_indexed(void (*k)(P...), void *const *args,
                                            std::index_sequence<I...>)
    {
        (void)args;
        k(*(P *)args[I]...);
    }
    CUDASIM_UNSEEN static void call(const void *k, void *const *args)
    {
        call_indexed((void (*)(P...))k, args, std::index_sequence_for<P...>());
    }
};

template <class... P> static inline void register_typed(void (*kernel)(P...))
{
    typedef Typed<P...> T;
    register_kernel({ (const void *)kernel, sizeof...(P), T::sizes, T::is_pointer, T::call });
}

} // namespace cudasim
