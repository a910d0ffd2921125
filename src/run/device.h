/* Which device computes, and why: the names that a caller may give, and what "auto" means. */
#ifndef WEFT_DEVICE_H
#define WEFT_DEVICE_H

#include "backend.h"

/* Opens the backend that `device` names: NULL or "auto", "cpu", "cuda", "cuda:N". Sets p->device.
 * "auto" is the first GPU that can be used; the CPU when there is none, or when kernels do not run
 * this model, and then one line of the log says why (none in a build without CUDA). A GPU without
 * room for the model is an error (WEFT_E_DEVMEM), never a reason to compute on the CPU.
 * WEFT_E_UNSUPPORTED names what there is. */
weft_status device_open_backend(const struct model *m, const char *device, struct backend_params *p,
                                struct backend **out, weft_error *err);

#endif
