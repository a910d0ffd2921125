// NVIDIA's header, then what nvcc would provide for device code.
#pragma once
#include "../device.h"
#include_next <cuda_runtime.h>
