/* How much a test program does. `make test` runs some cases of each kind, `make test-all` runs all
 * of them. Sanitizers make everything slower, and some cases of each kind are enough for them.
 *
 * The environment has WEFT_TEST_LEVEL: "thin" for some, "all" for all. A program that is run by
 * itself runs all. */
#ifndef TESTS_LEVEL_H
#define TESTS_LEVEL_H

#include <stdbool.h>

/* Returns true if all cases have to run. Otherwise `left`, which says what the caller leaves out,
 * is printed once; tests/run.sh and tests/cuda/run.sh collect these lines. */
bool level_all(const char *left);

#endif
