#include "layer.h"

#include <math.h>
#include <string.h>

const struct layer_tensor_info layer_tensors[N_LAYER_TENSORS] = {
#define LAYER_TENSOR(id, file_name, n_rows, n_cols, stage)                                         \
    [id] = { .name = file_name, .rows = n_rows, .cols = n_cols },
    LAYER_TENSORS(LAYER_TENSOR)
#undef LAYER_TENSOR
};

void rope_angles(const struct rope *r, size_t set, double *angles)
{
    const struct tensor *factors = &r->factors[set];
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        angles[i] = pow((double)r->base, -2.0 * (double)i / (double)r->n_rot) * (double)r->scale;
        if (factors->name != NULL) {
            float f;
            memcpy(&f, factors->data + i * sizeof f, sizeof f);
            angles[i] /= (double)f;
        }
    }
}
