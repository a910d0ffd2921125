/* Model files for the tests: tiny synthetic ones in a directory of the program's own, which is
 * removed when the program ends. */
#ifndef TESTS_MODELS_H
#define TESTS_MODELS_H

#include <stddef.h>

struct synth_spec;

/* Returns the model of a preset of tools/synth ("tiny-qwen2"), which the first call writes. The
 * path lives as long as the program. */
const char *model_file(const char *preset);
/* Writes a new model of this spec. */
const char *model_file_of(const struct synth_spec *spec);
/* Writes a new Phi-3 model with LongRoPE: texts of more than n_short tokens have other factors. */
const char *model_file_long(size_t n_short);
/* Returns a path in the directory for a file that the test writes itself. */
const char *model_path(const char *name);

#endif
