/* Models whose layers differ from one another in ways that no file of the known architectures can
 * say. */
#ifndef TESTS_LAYERS_H
#define TESTS_LAYERS_H

#include "model.h"
#include "support/reference.h"

enum { LAYERS_MAX = 16 };

/* Gives every other layer a window, a rotary embedding with other angles and fewer values, and a
 * narrower feed-forward network. as[LAYERS_MAX] tells the reference what each layer is then. */
void layers_differ(struct model *m, struct reference_layer *as);

#endif
