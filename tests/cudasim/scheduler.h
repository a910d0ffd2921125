// The data of the scheduler: fibers, warps, blocks and the grid that runs. One host thread at a
// time runs a grid (the runtime holds its lock), so there is one Runner.
#pragma once
#include "context.h"
#include "cudasim.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace cudasim
{

enum State : uint8_t { READY, AT_BLOCK, AT_NAMED, AT_WARP, AT_GRID, EXITED };

struct Fiber : Thread {
    Context ctx;
    State state;
    Site site;      // the place where it waits
    const char *op; // of a warp collective
    unsigned mask;
    int named;
    struct Copy {
        void *dst;
        const void *src;
        int n, src_n;
    };
    std::vector<std::vector<Copy>> copies; // cp.async groups; the last one is open
};

// Lanes on their way into one warp collective.
struct Group {
    unsigned mask, arrived, number;
    const char *op;
    WarpComplete complete;
    void *slots[32];
};

struct Warp {
    unsigned ready, exited, all; // lanes
    unsigned n_groups, groups_made;
    Group groups[32];
};

struct Barrier {
    unsigned arrived, expected, uses;
    BarrierOp op;
    int all, any, count;
    Site site;
};

struct Block {
    const Launch *launch;
    uint3 index;
    unsigned n_threads, n_alive, ready_warps;
    int predicate;                              // result of the last __syncthreads_and/or/count
    std::vector<std::unique_ptr<Fiber>> fibers; // reused from block to block
    Warp warps[32];
    Barrier barrier, named[16];
    // Shared memory: [redzone][variable][redzone]... then the dynamic part, up to a guard page.
    char *arena = nullptr, *dynamic = nullptr;
    size_t arena_size = 0, used = 0;
    std::vector<void *> vars; // by SharedVar::id
    std::vector<const SharedVar *> var_info;

    // Addresses that stand for ThreadSanitizer's happens-before edges. They lie in the arena, which
    // under ThreadSanitizer is mapped anew for every block, so no edge is left from an earlier
    // block.
    void *edge(unsigned i) { return arena + 8 * i; }
};
enum { EDGE_BARRIERS = 0, EDGE_START = 40, EDGE_WARPS = 64, EDGES_SIZE = 4096 };

struct Runner {
    Context host;
    std::vector<std::unique_ptr<Block>> blocks; // pool; the first n_resident are in use
    unsigned n_resident = 0, current = 0;
    unsigned n_alive = 0; // threads of the resident blocks
    unsigned grid_arrived = 0, grid_syncs = 0;
    uint64_t grid_edge[2];
    Site grid_site = {};
    uint64_t spins = 0; // yields since anything else happened
    uint64_t rng = 1;
    // A seed that ranks blocks and warps in the random order; 0 = no ranks: any thread may run
    // next.
    uint64_t priority = 0;
};
extern Runner runner;

Fiber *current_fiber();
void make_ready(Fiber *f);
void not_ready(Fiber *f, State s);
void release_waiting(Block *b, State s, int named); // all fibers of b that wait in s
void run_next();     // the current fiber cannot run on: switch to another one
void may_run_next(); // in random order: let another fiber go first
[[noreturn]] void die_stuck(const char *what);

void shared_setup(Block *b);
void shared_check(const Block *b); // after the block: nothing wrote beside a variable

} // namespace cudasim
