/* Models whose layers differ from one another as no file of the known architectures says. */
#ifndef TESTS_LAYERS_H
#define TESTS_LAYERS_H

#include "model.h"
#include "support/reference.h"

enum { LAYERS_MAX = 16 };

/* Gives every other layer a window and a rotary embedding of its own, of other angles and fewer
 * values; as[LAYERS_MAX] says for the reference what each layer is then. */
void layers_differ(struct model *m, struct reference_layer *as);

#endif
