/* Makes copies of a model file with single keys or tensors changed, left out or added, to see how
 * the model takes them. */
#ifndef TESTS_EDIT_H
#define TESTS_EDIT_H

#include <stddef.h>
#include <stdint.h>

enum edit_what {
    EDIT_KEY_DROP,
    EDIT_KEY_U32, /* these replace the key or add it */
    EDIT_KEY_F32,
    EDIT_KEY_STR,
    /* A value of GGUF type u: the integer 8, true, an empty string or an empty array. */
    EDIT_KEY_TYPE,
    EDIT_KEY_ARRAY, /* ne[0] values of GGUF type u at `values` */
    EDIT_TENSOR_DROP,
    EDIT_TENSOR_NEW,   /* F32 of shape ne, `values` or zeros */
    EDIT_TENSOR_SHAPE, /* the tensor becomes F32 zeros of shape ne */
    EDIT_TENSOR_TYPE,  /* the tensor becomes zeros of type u */
    EDIT_TENSOR_FILL,  /* the tensor becomes F32, all f */
    EDIT_ALL_TENSORS_DROP
};

struct edit {
    enum edit_what what;
    const char *name;
    uint32_t u;
    float f;
    const char *s;
    uint64_t ne[2]; /* row length first */
    const void *values;
};

/* Writes the edited copy of the model at `from` to `to`. A failure ends the test. */
void edit_model(const char *from, const char *to, const struct edit *edits, size_t n);

#endif
