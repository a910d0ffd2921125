// The switch saves the callee-saved registers on the current stack and jumps to the other one. It
// ends with a jump and not with `ret`, because a return to another stack is always mispredicted.
#include "context.h"
#include "cudasim.h"
#include "sanitizers.h"

#include <cstdint>
#include <sys/mman.h>

extern "C" void cudasim_switch(void **save_sp, void *to_sp);

namespace cudasim
{

#if defined(__x86_64__)
asm(R"(
.text
.globl cudasim_switch
.type cudasim_switch,@function
cudasim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
.size cudasim_switch,.-cudasim_switch
)");

static void *initial_stack(char *top, void (*entry)())
{
    void **sp = (void **)((uintptr_t)top & ~uintptr_t(15));
    // entry's return address: the end of a backtrace; it also gives the alignment of a call
    *--sp = nullptr;
    *--sp = (void *)entry;
    for (int i = 0; i < 6; i++)
        *--sp = nullptr;
    return sp;
}
#else
#error "cudasim: add a context switch for this processor"
#endif

void context_create(Context *c, size_t size, void (*entry)())
{
    static unsigned n_made = 0;
    const size_t page = 4096;
    char *p = (char *)mmap(nullptr, size + 3 * page, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, size + page, PROT_READ | PROT_WRITE))
        die("cannot map the stack of a simulated thread");
    c->stack = p + page;
    c->stack_size = size + page;
    // Stacks that all start at the same offset in a page fight for the same cache sets.
    char *top = c->stack + size + n_made++ * 192 % page / 64 * 64;
    c->sp = initial_stack(top, entry);
    c->tsan = san_create_fiber();
}

void context_switch(Context *from, Context *to)
{
    san_before_switch(&from->fake_stack, to->stack, to->stack_size, to->tsan);
    cudasim_switch(&from->sp, to->sp);
    san_after_switch(from->fake_stack);
}

} // namespace cudasim
