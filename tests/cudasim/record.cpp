// Tells a recorder everything that the device does, in the order in which it happens.
#include "runtime.h"

namespace cudasim
{

static struct {
    cudasim_record_fn fn;
    void *user;
} recorder;

static void tell_kernel(const KernelCall &k, struct cudasim_entry *r)
{
    std::vector<const void *> args;
    for (auto &v : k.values)
        args.push_back(v.data());
    r->kind = CUDASIM_KERNEL;
    r->name = kernel_name(k.kernel->fn);
    r->shared = k.shared;
    r->programmatic = k.how.programmatic;
    r->n_args = k.kernel->n_params;
    r->args = args.data();
    r->arg_bytes = k.kernel->sizes;
    const unsigned sizes[2][3] = { { k.grid.x, k.grid.y, k.grid.z },
                                   { k.block.x, k.block.y, k.block.z } };
    for (int i = 0; i < 3; i++) {
        r->grid[i] = sizes[0][i];
        r->block[i] = sizes[1][i];
    }
    recorder.fn(recorder.user, r);
}

void record(const Node &n)
{
    if (!recorder.fn)
        return;
    struct cudasim_entry r = n.work.told;
    r.stream = n.stream;
    r.in_graph = n.in_graph;
    if (n.work.kernel)
        tell_kernel(*n.work.kernel, &r);
    else if (r.kind != CUDASIM_NOTHING)
        recorder.fn(recorder.user, &r);
}

void record_call(enum cudasim_work kind, const char *name, size_t bytes)
{
    struct cudasim_entry r = {};
    r.kind = kind;
    r.name = name;
    r.bytes = bytes;
    if (recorder.fn)
        recorder.fn(recorder.user, &r);
}

Work work_of(Work::Kind kind, std::function<void()> run, enum cudasim_work told, size_t bytes)
{
    Work w = { kind, std::move(run), nullptr, {} };
    w.told.kind = told;
    w.told.bytes = bytes;
    return w;
}

} // namespace cudasim

extern "C" void cudasim_record(cudasim_record_fn fn, void *user)
{
    cudasim::Lock lock(cudasim::big_lock);
    cudasim::recorder = { fn, user };
}
