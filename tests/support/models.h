/* Model files for the tests: tiny synthetic ones in a directory of the program's own, removed when
 * it ends. */
#ifndef TESTS_MODELS_H
#define TESTS_MODELS_H

#include <stddef.h>

struct synth_spec;

/* The model of a preset of tools/synth ("tiny-qwen2"), written at the first call. The path lives as
 * long as the program. */
const char *model_file(const char *preset);
/* A model of this spec, written anew. */
const char *model_file_of(const struct synth_spec *spec);
/* A path in the directory for a file that the test writes itself. */
const char *model_path(const char *name);

#endif
