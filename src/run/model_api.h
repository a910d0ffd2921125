/* The struct behind the public handle of a model. */
#ifndef WEFT_MODEL_API_H
#define WEFT_MODEL_API_H

#include <stdatomic.h>

#include "base/log.h"
#include "model.h"
#include "run/api.h"

struct weft_model {
    uint32_t magic;
    atomic_size_t refs;
    struct model *model;
    struct log log;
    _Atomic uint64_t fingerprint; /* of fingerprint.h; 0 = not yet computed */
};

weft_status model_check(const weft_model *m, weft_error *err);
void model_retain(struct weft_model *m);

#endif
