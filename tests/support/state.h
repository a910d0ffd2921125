/* Saved states in memory, for the tests of them. */
#ifndef TESTS_STATE_H
#define TESTS_STATE_H

#include "support/rig.h"

/* Where numbers stand in a state, see src/run/saved.h. */
enum {
    STATE_VERSION = 8,
    STATE_TYPE = 12,
    STATE_LAYERS = 24,
    STATE_FACTORS = 56,
    STATE_PAGE = 60,
    STATE_TOKENS = 64,
    STATE_DONE = 72,
    STATE_HEADER = 80,
    STATE_CHECKSUM = 8
};

struct state {
    uint8_t *data; /* to be freed */
    size_t n;
};

/* Parameters with 1 thread and these sizes, and an engine with them on the model tiny-qwen2. */
weft_engine_params state_params(size_t n_ctx, size_t n_kv);
struct rig state_rig(size_t n_ctx, size_t n_kv);

struct state state_save(weft_seq *seq);
/* Opens a new sequence that holds the state. */
weft_seq *state_load(const struct rig *r, const struct state *s);
/* Writes the low bytes of value to data[at], and makes the checksum fit again. */
void state_put(struct state *s, size_t at, uint64_t value, size_t bytes);
/* Expects that the sequence holds exactly these tokens, at most 256. */
void state_tokens(weft_seq *seq, const int32_t *tokens, size_t n);

#endif
