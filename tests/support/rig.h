/* Shared by tests of the public API: expectations that print the library's own message, a model
 * with an engine that must be clean when it closes, and text to feed. Includes only weft.h. */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "weft.h"

/* The calls below write their error here. */
extern _Thread_local weft_error rig_err;
#define E (&rig_err)

#define OK(call) rig_expect(call, WEFT_OK, #call, __FILE__, __LINE__)
#define FAILS(status, call)                                                                        \
    (rig_err = (weft_error){ 0 }, rig_expect(call, status, #call, __FILE__, __LINE__))
/* Fails the test unless got == want; a wanted failure must have filled rig_err. Only for the test's
 * own thread. */
void rig_expect(weft_status got, weft_status want, const char *call, const char *file, int line);
/* Expects that the last message holds each of these words; the list ends with NULL. */
void rig_message(const char *const *words);

struct rig {
    weft_model *model;
    weft_engine *engine;
    size_t n_vocab;
};

/* Returns true if the environment has WEFT_TEST_NO_PDL: a test that fails on a GPU is run once
 * more, with kernels that start only after the kernel before has ended. */
bool rig_no_pdl(void);

/* Opens with these parameters, but sets no_arena, so that an index beyond a buffer of a GPU is
 * noticed, and no_pdl if rig_no_pdl() is true. */
struct rig rig_open_as(const char *path, const weft_engine_params *params);
/* Opens with params; NULL means 1 thread and otherwise the defaults. It opens on the CPU unless
 * params say otherwise, and without the prefix cache. */
struct rig rig_open(const char *path, const weft_engine_params *params);
/* Expects that no sequence is open and every page is free. */
void rig_close(struct rig *r);
weft_engine_info rig_info(const struct rig *r);
/* Returns the positions in free pages. */
size_t rig_free(const struct rig *r);

/* Makes n ordinary token ids; the same seed gives the same ids. */
void rig_tokens(const struct rig *r, uint64_t seed, int32_t *dst, size_t n);
weft_seq *rig_seq(const struct rig *r, const weft_sampling *sampling);
/* Opens a sequence that holds these tokens, computed. */
weft_seq *rig_fed(const struct rig *r, const int32_t *tokens, size_t n);
/* Steps until the sequence waits for nothing. */
void rig_compute(const struct rig *r, weft_seq *seq);
/* Returns the sequence's logits, which the caller frees. */
float *rig_logits(const struct rig *r, weft_seq *seq);
/* Returns the logits behind tokens[n], from a sequence of their own; the caller frees them. */
float *rig_expected(const struct rig *r, const int32_t *tokens, size_t n);
/* Expects bit-equal logits. */
void rig_same(const struct rig *r, const float *got, const float *want, const char *what);
/* Expects that the sequence's logits equal those behind tokens[n] in a sequence of their own, bit
 * by bit. */
void rig_check(const struct rig *r, weft_seq *seq, const int32_t *tokens, size_t n,
               const char *what);
/* Generates until the sequence finishes or holds n_max tokens. All its text goes to dst, with a NUL
 * at the end. */
void rig_generate(const struct rig *r, weft_seq *seq, size_t n_max, char *dst, size_t cap);

/* The tests' own random generator: uniform in [0, n). */
uint32_t rig_random(uint64_t *state, uint32_t n);

#endif
