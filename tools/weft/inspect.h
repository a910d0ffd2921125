/* Shared by the two forms of `weft inspect`. */
#ifndef WEFT_INSPECT_H
#define WEFT_INSPECT_H

#include "weft.h"
#include "weft/io.h"
#include "weft/options.h"

enum { SHORT_ARRAY = 5, SHORT_TEXT = 120, MAX_TYPES = 64 };

struct type_total {
    const char *type;
    uint64_t n_tensors, n_elements, n_bytes;
};

struct inspection {
    const struct options *o;
    const char *path;
    weft_file *file;
    struct type_total totals[MAX_TYPES];
    size_t n_totals;
    /* The result of opening the file as a model. */
    bool checked;
    int check_code;
    char check_text[640];
    /* The warnings that opening the file gave; each ends with a NUL. */
    struct bytes warnings;
};

/* Puts element j of key i into value->data[0..n). Prints errors and returns the exit code. */
int inspect_value(const struct inspection *in, size_t i, size_t j, struct bytes *value);
/* Returns true if Weft does not know key i. */
bool inspect_unknown(const struct inspection *in, size_t i);
uint64_t inspect_elements(const weft_tensor_info *t);

int inspect_print_json(const struct inspection *in);

#endif
