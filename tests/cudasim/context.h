// Switching between stacks, which is all that a fiber is to the processor.
#pragma once
#include <cstddef>

namespace cudasim
{

struct Context {
    void *sp = nullptr;
    char *stack = nullptr; // lowest address
    size_t stack_size = 0;
    void *fake_stack = nullptr; // AddressSanitizer's
    void *tsan = nullptr;       // ThreadSanitizer's fiber
};

// Makes a new stack of `size` bytes between two pages that fault, ready to run entry().
void context_create(Context *c, size_t size, void (*entry)());
void context_switch(Context *from, Context *to);

} // namespace cudasim
