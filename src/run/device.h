/* Chooses the device that computes: the names that a caller may give, and the meaning of "auto". */
#ifndef WEFT_DEVICE_H
#define WEFT_DEVICE_H

#include "backend.h"

/* Opens the backend that `device` names: NULL or "auto", "cpu", "cuda", "cuda:N". Sets p->device.
 * "auto" is the first GPU that can be used. If there is none, or if its kernels cannot run this
 * model, "auto" is the CPU, and one line of the log says why (no line in a build without CUDA). A
 * GPU without room for the model is an error (WEFT_E_DEVMEM), never a reason to compute on the CPU;
 * nor is a GPU that was lost before (WEFT_E_DEVICE_LOST). WEFT_E_UNSUPPORTED means that the name is
 * unknown, or that the named device is not there or cannot be used; the message says why. */
weft_status device_open_backend(const struct model *m, const char *device, struct backend_params *p,
                                struct backend **out, weft_error *err);

#endif
