/* How much a test program does. `make test` runs some cases of each kind, `make test-all` all of
 * them; sanitizers, which slow everything down, find what they look for in some of each kind, too.
 *
 * The environment has WEFT_TEST_LEVEL: "thin" for some, "all" for all. A program that is run by
 * itself does all. */
#ifndef TESTS_LEVEL_H
#define TESTS_LEVEL_H

#include <stdbool.h>

/* Whether all cases are to run. If not, `left`, which says what the caller then leaves out, is
 * printed, once; tests/run.sh and tests/cuda/run.sh gather these lines. */
bool level_all(const char *left);

#endif
