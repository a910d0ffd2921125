/* A directory for the files of a test program, removed with all it holds when the program ends. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stddef.h>

/* cmocka group setup and teardown: make and remove the directory. */
int scratch_open(void **state);
int scratch_close(void **state);

/* Path of `name` in the directory. Lives until the fourth call after. */
const char *scratch_path(const char *name);
/* Writes data[n] to `name` and returns its path. A failure ends the test. */
const char *scratch_write(const char *name, const void *data, size_t n);

#endif
