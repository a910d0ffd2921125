#include "layer.h"

#include <math.h>
#include <string.h>

const struct layer_tensor_info layer_tensors[N_LAYER_TENSORS] = {
#define LAYER_TENSOR(id, file_name, n_rows, n_cols, stage)                                         \
    [id] = { .name = file_name, .rows = n_rows, .cols = n_cols },
    LAYER_TENSORS(LAYER_TENSOR)
#undef LAYER_TENSOR
};

/* Returns the place among the pairs where one makes `turns` turns within the original context. */
static double place_of(const struct rope *r, double turns)
{
    const double two_pi = 6.283185307179586;
    return (double)r->n_rot * log((double)r->yarn.n_ctx / (turns * two_pi)) /
           (2.0 * log((double)r->base));
}

/* Returns what the angle of pair i is multiplied by. The paper's text makes the ramp linear in the
 * turns. Its published code, by which models were trained, makes it linear in the index of the
 * pair, between whole indices; so does llama.cpp. */
static double scale_of(const struct rope *r, size_t i)
{
    if (r->yarn.mix == 0.0f) {
        return (double)r->scale;
    }
    double first = fmax(0.0, floor(place_of(r, (double)r->yarn.beta_fast)));
    double last = fmin((double)r->n_rot - 1.0, ceil(place_of(r, (double)r->yarn.beta_slow)));
    double along = ((double)i - first) / fmax(1.0, last - first);
    double kept = (1.0 - fmin(1.0, fmax(0.0, along))) * (double)r->yarn.mix;
    return (double)r->scale * (1.0 - kept) + kept;
}

void rope_angles(const struct rope *r, size_t set, double *angles)
{
    const struct tensor *factors = &r->factors[set];
    for (size_t i = 0; i < r->n_rot / 2; i++) {
        angles[i] = pow((double)r->base, -2.0 * (double)i / (double)r->n_rot) * scale_of(r, i);
        if (factors->name != NULL) {
            float f;
            memcpy(&f, factors->data + i * sizeof f, sizeof f);
            angles[i] /= (double)f;
        }
    }
}
