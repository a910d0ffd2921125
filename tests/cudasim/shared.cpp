// Shared memory of a block, and cp.async. Redzones separate the variables, which start poisoned;
// dynamic shared memory ends at a page that faults.
#include "sanitizers.h"
#include "scheduler.h"

#include <cstring>
#include <sys/mman.h>

namespace cudasim
{

enum { STATIC_LIMIT = 48 << 10 }; // nvcc refuses more static shared memory
enum { REDZONE = 64, POISON = 0xFF, CANARY = 0xA5, PAGE = 4096, ARENA = 512 << 10 };

static void map_arena(Block *b)
{
    if (b->arena) {
        san_unpoison(b->arena, ARENA);
        munmap(b->arena, ARENA + PAGE);
    }
    b->arena = (char *)mmap(nullptr, ARENA + PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->arena == MAP_FAILED || mprotect(b->arena + ARENA, PAGE, PROT_NONE))
        die("cannot map shared memory");
    b->arena_size = ARENA;
    b->dynamic = b->arena + ARENA;
    b->used = ARENA;
}

void shared_setup(Block *b)
{
    const size_t n = b->launch->shared, rounded = (n + 15) / 16 * 16;
    // Under ThreadSanitizer every block gets a new mapping; otherwise reuse would look like a
    // race.
    if (!b->arena || SAN_THREAD)
        map_arena(b);
    char *end = b->arena + ARENA;
    // Everything is poisoned; a variable is unpoisoned when it first appears. The dynamic part is
    // at the end, so that the first access beyond it hits the guard page.
    san_poison(b->dynamic, (size_t)(end - b->dynamic));
    san_poison(b->arena, b->used);
    b->dynamic = end - rounded;
    san_unpoison(b->dynamic, rounded);
    san_fill(b->dynamic, POISON, rounded);
    san_poison(b->dynamic + n, rounded - n);
    b->used = SAN_THREAD ? EDGES_SIZE : 0;
    b->vars.clear();
    b->var_info.clear();
}

static void place(Block *b, const SharedVar *v)
{
    size_t at = (b->used + REDZONE + v->align - 1) / v->align * v->align;
    char *p = b->arena + at;
    if (p + v->size + REDZONE > b->dynamic)
        die("static shared memory does not fit: %s, %zu bytes", v->name, v->size);
    san_unpoison(b->arena + b->used, at + v->size + REDZONE - b->used);
    san_fill(b->arena + b->used, CANARY, at - b->used);
    san_fill(p, POISON, v->size);
    san_fill(p + v->size, CANARY, REDZONE);
    san_poison(b->arena + b->used, at - b->used);
    san_poison(p + v->size, REDZONE);
    b->used = at + v->size;
    b->vars[(size_t)v->id] = p;
    b->var_info.push_back(v);
    size_t total = 0;
    for (const SharedVar *x : b->var_info)
        total += x->size;
    const size_t limit = cudasim_settings()->shared_opt_in;
    if (total > STATIC_LIMIT || total + b->launch->shared > limit)
        die("too much shared memory with %s: %zu bytes static (limit %d), %zu dynamic (together "
            "%zu)",
            v->name, total, (int)STATIC_LIMIT, b->launch->shared, limit);
}

void *shared_var(SharedVar *v)
{
    static int n_vars = 0;
    Block *b = current_fiber()->block;
    if (v->id == 0)
        v->id = ++n_vars;
    if (b->vars.size() <= (size_t)v->id)
        b->vars.resize((size_t)v->id + 1);
    if (!b->vars[(size_t)v->id])
        place(b, v);
    return b->vars[(size_t)v->id];
}

void shared_check(const Block *b)
{
    if (SAN_ADDRESS || SAN_THREAD)
        return;
    const size_t n = b->launch->shared;
    for (size_t i = n; i < (n + 15) / 16 * 16; i++)
        if ((unsigned char)b->dynamic[i] != POISON)
            die("kernel %s wrote beyond its %zu bytes of dynamic shared memory",
                kernel_name(b->launch->kernel->fn), n);
    for (const SharedVar *v : b->var_info) {
        const unsigned char *p = (const unsigned char *)b->vars[(size_t)v->id];
        for (int i = 0; i < 16; i++)
            if (p[v->size + i] != CANARY || p[-1 - i] != CANARY)
                die("kernel %s wrote beyond shared variable %s (%s:%d)",
                    kernel_name(b->launch->kernel->fn), v->name, v->site.file, v->site.line);
    }
}

void *shared_dynamic(size_t align)
{
    const Block *b = current_fiber()->block;
    if (!b->launch->shared)
        die("dynamic shared memory used, but the launch gives 0 bytes");
    if ((uintptr_t)b->dynamic % align)
        die("dynamic shared memory is aligned to 16 only, %zu wanted", align);
    return b->dynamic;
}

unsigned shared_offset(const void *p)
{
    const Block *b = current_fiber()->block;
    if ((const char *)p < b->arena || (const char *)p >= b->arena + b->arena_size)
        die("%p is not in shared memory", p);
    return (unsigned)((const char *)p - b->arena);
}

// ---- cp.async: the data arrive at the wait, not earlier

void cp_async(void *dst, const void *src, int n, int src_n)
{
    Fiber *f = current_fiber();
    if ((n != 4 && n != 8 && n != 16) || src_n < 0 || src_n > n)
        die("cp.async of %d bytes, %d of them read", n, src_n);
    if ((uintptr_t)dst % n || (uintptr_t)src % n)
        die("cp.async of %d bytes: misaligned (%p <- %p)", n, dst, src);
    shared_offset(dst);
    memset(dst, POISON, (size_t)n);
    if (f->copies.empty())
        f->copies.emplace_back();
    f->copies.back().push_back({ dst, src, n, src_n });
}

void cp_async_commit()
{
    Fiber *f = current_fiber();
    if (f->copies.empty())
        f->copies.emplace_back();
    f->copies.emplace_back();
}

void cp_async_wait(int pending)
{
    Fiber *f = current_fiber();
    if (f->copies.empty())
        return;
    size_t done = f->copies.size() - 1; // the last group is open
    done = done > (size_t)pending ? done - (size_t)pending : 0;
    for (size_t i = 0; i < done; i++)
        for (auto &c : f->copies[i]) {
            memset(c.dst, 0, (size_t)c.n);
            memcpy(c.dst, c.src, (size_t)c.src_n);
        }
    f->copies.erase(f->copies.begin(), f->copies.begin() + (ptrdiff_t)done);
}

} // namespace cudasim
