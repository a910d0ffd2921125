/* Takes the place of the CUDA backend in a build without nvcc: it says that there is no CUDA, and
 * the remedy. */
#include <stdio.h>

#include "backend.h"
#include "platform.h"

static const char problem[] =
    "this build has no CUDA: nvcc was not found, or make was told NVCC=; install the CUDA toolkit "
    "(or set CUDA_HOME) and build Weft again with make";

void cuda_platform_get(struct cuda_platform *p)
{
    *p = (struct cuda_platform){ .built = false };
    snprintf(p->problem, sizeof p->problem, "%s", problem);
}

/* n_devices is 0, so nobody asks about a device. */
void cuda_device_get(size_t i, struct cuda_device *d)
{
    (void)i;
    *d = (struct cuda_device){ .major = 0 };
    snprintf(d->problem, sizeof d->problem, "%s", problem);
}

weft_status cuda_backend_open(const struct model *m, const struct backend_params *p,
                              struct backend **out, weft_error *err)
{
    (void)m;
    (void)p;
    (void)out;
    return error_set(err, WEFT_E_UNSUPPORTED, "no GPU can be used: %s", problem);
}
