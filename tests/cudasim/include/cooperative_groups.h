// All that kernels may use of cooperative groups: the grid barrier of a cooperative launch.
#pragma once
#include <cuda_runtime.h>

namespace cooperative_groups
{

struct grid_group {
    void sync(CUDASIM_SITE) const { ::cudasim::grid_barrier(site); }
};
static inline grid_group this_grid() { return {}; }

} // namespace cooperative_groups
