// The scheduler. Every CUDA thread of a resident block is a fiber. A fiber runs until it waits
// (barrier, warp collective, spin) or returns; then the scheduler switches directly to the next
// runnable one. An ordinary launch keeps one block resident, a cooperative launch all of them.
#include "scheduler.h"
#include "sanitizers.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace cudasim
{

__thread Thread *self;
Runner runner;

static const char *const state_names[] = { "running", "__syncthreads", "bar.sync",
                                           "",        "grid sync",     "returned" };

// It is not inlined, because a fiber may continue on another host thread than the one that created
// it.
__attribute__((noinline)) Fiber *current_fiber()
{
    asm volatile("");
    return static_cast<Fiber *>(self);
}

__attribute__((noinline)) static void enter(Fiber *f)
{
    asm volatile("");
    self = f;
    if (f) {
        threadIdx = f->tid;
        blockIdx = f->block->index;
    }
}

// ---- reports

void describe_current(char *buf, size_t n)
{
    Fiber *f = current_fiber();
    if (!f) {
        snprintf(buf, n, "host code");
        return;
    }
    const uint3 b = f->block->index, t = f->tid;
    snprintf(buf, n, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)",
             kernel_name(f->block->launch->kernel->fn), b.x, b.y, b.z, t.x, t.y, t.z);
}

// Prints one line for each run of threads in the same wait.
static void print_waits(const Block *b)
{
    auto same = [](const Fiber *f, const Fiber *g) {
        return g->state == f->state && g->site.line == f->site.line &&
               (f->state != AT_WARP || g->mask == f->mask);
    };
    for (unsigned i = 0, j; i < b->n_threads; i = j) {
        const Fiber *f = b->fibers[i].get();
        for (j = i + 1; j < b->n_threads && same(f, b->fibers[j].get()); j++)
            continue;
        fprintf(stderr, "  block (%u,%u,%u) threads %u..%u: %s", b->index.x, b->index.y, b->index.z,
                i, j - 1, f->state == AT_WARP ? f->op : state_names[f->state]);
        if (f->state == AT_WARP)
            fprintf(stderr, " mask %08x", f->mask);
        if (f->state != EXITED && f->state != READY)
            fprintf(stderr, " at %s:%d", f->site.file, f->site.line);
        fprintf(stderr, "\n");
    }
}

void die_stuck(const char *what)
{
    report("%s", what);
    for (unsigned i = 0; i < runner.n_resident && i < 4; i++)
        print_waits(runner.blocks[i].get());
    die("stuck");
}

// ---- who runs next

void make_ready(Fiber *f)
{
    f->state = READY;
    f->block->warps[f->warp].ready |= 1u << f->lane;
    f->block->ready_warps |= 1u << f->warp;
}

void not_ready(Fiber *f, State s)
{
    Warp &w = f->block->warps[f->warp];
    f->state = s;
    w.ready &= ~(1u << f->lane);
    if (!w.ready)
        f->block->ready_warps &= ~(1u << f->warp);
}

void release_waiting(Block *b, State s, int named)
{
    for (unsigned i = 0; i < b->n_threads; i++) {
        Fiber *f = b->fibers[i].get();
        if (f->state == s && (s != AT_NAMED || f->named == named))
            make_ready(f);
    }
}

// Returns the first runnable fiber of block b after (warp, lane) in the current order, or null.
static Fiber *next_in_block(const Block *b, int warp, int lane)
{
    const bool down = cudasim_settings()->order == CUDASIM_DESCENDING;
    auto first = [&](unsigned m) { return down ? 31 - __builtin_clz(m) : __builtin_ctz(m); };
    auto after = [&](int i) -> unsigned {
        if (i < 0)
            return ~0u;
        return down ? (1u << i) - 1 : i == 31 ? 0 : ~((2u << i) - 1);
    };
    if (warp >= 0 && (b->ready_warps >> warp & 1)) {
        unsigned lanes = b->warps[warp].ready & after(lane);
        if (lanes)
            return b->fibers[warp * 32 + first(lanes)].get();
    }
    unsigned warps = b->ready_warps & after(warp);
    if (!warps)
        return nullptr;
    int w = first(warps);
    return b->fibers[w * 32 + first(b->warps[w].ready)].get();
}

static int random_bit(unsigned m)
{
    unsigned k = (unsigned)(xorshift(&runner.rng) >> 33) % __builtin_popcount(m);
    while (k--)
        m &= m - 1;
    return __builtin_ctz(m);
}

static int best_ranked(unsigned m, uint64_t seed)
{
    int best = __builtin_ctz(m);
    uint64_t best_rank = 0;
    for (; m; m &= m - 1) {
        int i = __builtin_ctz(m);
        uint64_t rank = seed ^ (uint64_t)(i + 1) * 0x9e3779b97f4a7c15ull;
        rank = rank * 0xbf58476d1ce4e5b9ull | 1;
        if (rank > best_rank) {
            best_rank = rank;
            best = i;
        }
    }
    return best;
}

// For half of the grids and blocks, the warp with the highest random rank runs as far as it can, so
// that some warps are a whole loop iteration ahead of others. For the other half, any thread
// runs.
static Fiber *pick_random()
{
    const unsigned n = runner.n_resident;
    uint64_t r = n == 1 ? 0 : runner.priority ? runner.priority : xorshift(&runner.rng);
    unsigned start = (unsigned)(r >> 33) % n;
    for (unsigned i = 0; i < n; i++) {
        const Block *b = runner.blocks[(start + i) % n].get();
        if (!b->ready_warps)
            continue;
        int w = runner.priority ? best_ranked(b->ready_warps, runner.priority)
                                : random_bit(b->ready_warps);
        return b->fibers[w * 32 + random_bit(b->warps[w].ready)].get();
    }
    return nullptr;
}

static Fiber *pick(const Fiber *from)
{
    if (cudasim_settings()->order == CUDASIM_RANDOM)
        return pick_random();
    if (from)
        if (Fiber *f = next_in_block(from->block, (int)from->warp, (int)from->lane))
            return f;
    for (unsigned i = 1; i <= runner.n_resident; i++) {
        unsigned k = (runner.current + i) % runner.n_resident;
        if (Fiber *f = next_in_block(runner.blocks[k].get(), -1, -1)) {
            runner.current = k;
            return f;
        }
    }
    return nullptr;
}

void run_next()
{
    Fiber *me = current_fiber(), *next = pick(me);
    if (next == me)
        return;
    if (!next && runner.n_alive)
        die_stuck("deadlock: no thread can run");
    enter(next);
    cudasim_stats()->switches++;
    context_switch(&me->ctx, next ? &next->ctx : &runner.host);
}

void may_run_next()
{
    if (cudasim_settings()->order == CUDASIM_RANDOM)
        run_next();
}

// ---- the life of a fiber

static void thread_exits(Fiber *f)
{
    Block *b = f->block;
    Warp &w = b->warps[f->warp];
    for (auto &group : f->copies)
        if (!group.empty())
            die("returned with cp.async copies that were never waited for");
    not_ready(f, EXITED);
    w.exited |= 1u << f->lane;
    b->n_alive--;
    runner.n_alive--;
    runner.spins = 0;
    for (unsigned i = 0; i < w.n_groups; i++) {
        const Group &g = w.groups[i];
        if (g.mask >> f->lane & 1)
            die("returned, but lanes %08x wait for it in %s with mask %08x", g.arrived, g.op,
                g.mask);
    }
    Barrier &bar = b->barrier;
    if (!bar.arrived)
        return;
    if (cudasim_settings()->strict_exit)
        die("returned while other threads of the block wait at __syncthreads %s:%d", bar.site.file,
            bar.site.line);
    // As on hardware since Volta, only threads that have not returned count.
    if (bar.arrived == b->n_alive) {
        b->predicate = bar.op == BARRIER_COUNT ? bar.count
                       : bar.op == BARRIER_OR  ? bar.any
                                               : bar.all;
        bar.arrived = 0;
        release_waiting(b, AT_BLOCK, 0);
    }
}

static void fiber_main()
{
    san_after_switch(nullptr);
    for (;;) {
        Block *b = current_fiber()->block;
        san_acquire(b->edge(EDGE_START));
        b->launch->kernel->call(b->launch->kernel->fn, b->launch->args);
        san_release(&runner.host);
        thread_exits(current_fiber());
        run_next();
    }
}

// ---- running a grid

static void setup_threads(Block *b, unsigned block_number)
{
    const dim3 dim = b->launch->block;
    while (b->fibers.size() < b->n_threads) {
        b->fibers.push_back(std::make_unique<Fiber>());
        context_create(&b->fibers.back()->ctx, cudasim_settings()->stack, fiber_main);
    }
    for (unsigned i = 0; i < b->n_threads; i++) {
        Fiber *f = b->fibers[i].get();
        f->tid = { i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y };
        f->lane = i % 32;
        f->warp = i / 32;
        f->block = b;
        f->site = {};
        f->copies.clear();
        san_name_fiber(f->ctx.tsan, block_number, i);
        make_ready(f);
        b->warps[f->warp].all |= 1u << f->lane;
    }
}

static void setup_block(Block *b, const Launch &l, unsigned number)
{
    const dim3 g = l.grid;
    b->launch = &l;
    b->index = { number % g.x, number / g.x % g.y, number / g.x / g.y };
    b->n_threads = b->n_alive = l.block.x * l.block.y * l.block.z;
    b->ready_warps = 0;
    b->barrier = {};
    for (auto &n : b->named)
        n = {};
    for (auto &w : b->warps)
        w.ready = w.exited = w.all = w.n_groups = 0;
    setup_threads(b, number);
    shared_setup(b);
    san_release(b->edge(EDGE_START));
    runner.n_alive += b->n_threads;
    cudasim_stats()->blocks++;
    cudasim_stats()->threads += b->n_threads;
}

static void run_resident(const Launch &l)
{
    runner.grid_arrived = 0;
    runner.spins = 0;
    runner.current = 0;
    runner.priority = xorshift(&runner.rng) & 1 ? xorshift(&runner.rng) : 0;
    san_host_stack(&runner.host.stack, &runner.host.stack_size, &runner.host.tsan);
    blockDim = { l.block.x, l.block.y, l.block.z };
    gridDim = { l.grid.x, l.grid.y, l.grid.z };
    Fiber *f = pick(nullptr);
    enter(f);
    context_switch(&runner.host, &f->ctx);
    enter(nullptr);
    for (unsigned i = 0; i < runner.n_resident; i++)
        shared_check(runner.blocks[i].get());
}

static std::vector<unsigned> block_order(unsigned n)
{
    std::vector<unsigned> order(n);
    const enum cudasim_order o = cudasim_settings()->order;
    for (unsigned i = 0; i < n; i++)
        order[i] = o == CUDASIM_DESCENDING ? n - 1 - i : i;
    if (o == CUDASIM_RANDOM)
        for (unsigned i = n; i > 1; i--)
            std::swap(order[i - 1], order[next_random() % i]);
    return order;
}

void run_grid(const Launch &l)
{
    const unsigned n_blocks = l.grid.x * l.grid.y * l.grid.z;
    // ThreadSanitizer sees one thread per fiber. The fibers are rotated, so that equal thread
    // numbers of neighbouring blocks are different threads for it.
    const unsigned pool = l.cooperative ? n_blocks : SAN_THREAD ? 4 : 1;
    while (runner.blocks.size() < pool)
        runner.blocks.push_back(std::make_unique<Block>());
    runner.rng = next_random() | 1;
    runner.n_alive = 0;
    if (l.cooperative) {
        runner.n_resident = n_blocks;
        for (unsigned i = 0; i < n_blocks; i++)
            setup_block(runner.blocks[i].get(), l, i);
        run_resident(l);
    } else {
        runner.n_resident = 1;
        for (unsigned i : block_order(n_blocks)) {
            setup_block(runner.blocks[0].get(), l, i);
            run_resident(l);
            std::rotate(runner.blocks.begin(), runner.blocks.begin() + 1,
                        runner.blocks.begin() + pool);
        }
    }
    san_acquire(&runner.host);
    cudasim_stats()->launches++;
}

} // namespace cudasim
