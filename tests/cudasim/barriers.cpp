// Everything that threads wait for: block barriers, named barriers, warp collectives, the grid
// barrier, and spinning. The happens-before edges for ThreadSanitizer are exactly those that CUDA
// promises.
#include "sanitizers.h"
#include "scheduler.h"

#include <cstring>

namespace cudasim
{

int block_barrier(BarrierOp op, int predicate, Site site)
{
    Fiber *f = current_fiber();
    Block *b = f->block;
    Barrier &bar = b->barrier;
    if (!bar.arrived)
        bar = { 0, 0, bar.uses + 1, op, 1, 0, 0, site };
    // Two happens-before edges take turns, so that a thread that leaves this barrier late does not
    // take the edge of a thread that arrives early at the next one.
    void *edge = b->edge(EDGE_BARRIERS + (bar.uses & 1));
    if (bar.site.line != site.line ||
        (bar.site.file != site.file && strcmp(bar.site.file, site.file)))
        die("divergent __syncthreads: this thread is at %s:%d, others of its block at %s:%d",
            site.file, site.line, bar.site.file, bar.site.line);
    if (cudasim_settings()->strict_exit && b->n_alive != b->n_threads)
        die("__syncthreads at %s:%d, but %u threads of the block have returned", site.file,
            site.line, b->n_threads - b->n_alive);
    bar.all &= predicate != 0;
    bar.any |= predicate != 0;
    bar.count += predicate != 0;
    san_release(edge);
    if (++bar.arrived == b->n_alive) {
        cudasim_stats()->barriers++;
        runner.spins = 0;
        b->predicate = op == BARRIER_COUNT ? bar.count : op == BARRIER_OR ? bar.any : bar.all;
        bar.arrived = 0;
        release_waiting(b, AT_BLOCK, 0);
        may_run_next();
    } else {
        f->site = site;
        not_ready(f, AT_BLOCK);
        run_next();
    }
    san_acquire(edge);
    return b->predicate;
}

void named_barrier(int id, int n, Site site)
{
    Fiber *f = current_fiber();
    Block *b = f->block;
    if (id < 1 || id > 15 || n <= 0 || n % 32)
        die("bar.sync %d, %d: the id must be 1..15 and the count a multiple of 32", id, n);
    Barrier &bar = b->named[id];
    if (bar.arrived && bar.expected != (unsigned)n)
        die("bar.sync %d: %d threads expected here, %u elsewhere", id, n, bar.expected);
    bar.expected = (unsigned)n;
    if (!bar.arrived)
        bar.uses++;
    void *edge = b->edge(EDGE_BARRIERS + 2 * (unsigned)id + (bar.uses & 1));
    san_release(edge);
    if (++bar.arrived == bar.expected) {
        bar.arrived = 0;
        runner.spins = 0;
        release_waiting(b, AT_NAMED, id);
        may_run_next();
    } else {
        f->site = site;
        f->named = id;
        not_ready(f, AT_NAMED);
        run_next();
    }
    san_acquire(edge);
}

// Returns the group of lanes that are on their way into the collective that f is about to join.
static Group *join_group(const Fiber *f, unsigned mask, WarpComplete complete, const char *op,
                         Site site)
{
    Warp &w = f->block->warps[f->warp];
    if (!(mask >> f->lane & 1))
        die("%s at %s:%d: lane %u is not in its own mask %08x", op, site.file, site.line, f->lane,
            mask);
    if (mask & w.exited)
        die("%s at %s:%d: mask %08x names lanes %08x that have returned", op, site.file, site.line,
            mask, mask & w.exited);
    if (mask & ~w.all)
        die("%s at %s:%d: mask %08x names lanes beyond the block", op, site.file, site.line, mask);
    Group *g = nullptr;
    for (unsigned i = 0; i < w.n_groups && !g; i++)
        if (w.groups[i].mask == mask)
            g = &w.groups[i];
    if (!g) {
        g = &w.groups[w.n_groups++];
        g->mask = mask;
        g->arrived = 0;
        g->op = op;
        g->complete = complete;
        g->number = w.groups_made++;
    }
    if ((g->op != op && strcmp(g->op, op)) || g->complete != complete)
        die("lane %u is at %s (%s:%d), other lanes of mask %08x are at %s", f->lane, op, site.file,
            site.line, mask, g->op);
    return g;
}

void warp_collective(unsigned mask, void *slot, WarpComplete complete, const char *op, Site site)
{
    Fiber *f = current_fiber();
    Block *b = f->block;
    Warp &w = b->warps[f->warp];
    Group *g = join_group(f, mask, complete, op, site);
    g->slots[f->lane] = slot;
    g->arrived |= 1u << f->lane;
    // Only __syncwarp orders memory; shuffles and votes do not.
    const bool orders_memory = !complete;
    void *edge = b->edge(EDGE_WARPS + f->warp * 8 + g->number % 8);
    if (orders_memory)
        san_release(edge);
    if (g->arrived == mask) {
        cudasim_stats()->collectives++;
        runner.spins = 0;
        if (complete)
            complete(g->slots, mask);
        *g = w.groups[--w.n_groups];
        for (unsigned m = mask; m; m &= m - 1)
            make_ready(b->fibers[f->warp * 32 + __builtin_ctz(m)].get());
        may_run_next();
    } else {
        f->op = op;
        f->site = site;
        f->mask = mask;
        not_ready(f, AT_WARP);
        run_next();
    }
    if (orders_memory)
        san_acquire(edge);
}

void grid_barrier(Site site)
{
    Fiber *f = current_fiber();
    if (!f->block->launch->cooperative)
        die("grid sync at %s:%d in a kernel that was not launched cooperatively", site.file,
            site.line);
    if (!runner.grid_arrived) {
        runner.grid_site = site;
        runner.grid_syncs++;
    }
    void *edge = &runner.grid_edge[runner.grid_syncs & 1];
    san_release(edge);
    if (++runner.grid_arrived == runner.n_alive) {
        runner.grid_arrived = 0;
        runner.spins = 0;
        for (unsigned k = 0; k < runner.n_resident; k++)
            release_waiting(runner.blocks[k].get(), AT_GRID, 0);
        may_run_next();
    } else {
        f->site = site;
        not_ready(f, AT_GRID);
        run_next();
    }
    san_acquire(edge);
}

void yield(Site site)
{
    current_fiber()->site = site;
    runner.priority = 0; // a spinning thread must not starve the one that it waits for
    if (++runner.spins > 2000ull * runner.n_alive + 100000)
        die_stuck("livelock: every runnable thread spins; is what they wait for in a block that is "
                  "not resident (not a cooperative launch)?");
    run_next();
}

void memory_fence()
{
    static char edge;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    san_acquire(&edge); // fences are ordered among themselves
    san_release(&edge);
}

} // namespace cudasim
