/* A directory for the files of a test program, removed with its contents when the program ends. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stddef.h>

/* cmocka group setup and teardown: make and remove the directory. */
int scratch_open(void **state);
int scratch_close(void **state);

/* Returns the path of `name` in the directory. It lives until the fourth call after this one. */
const char *scratch_path(const char *name);
/* Writes data[n] to `name` and returns its path. A failure ends the test. */
const char *scratch_write(const char *name, const void *data, size_t n);

#endif
