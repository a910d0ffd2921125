/* The struct behind the public handle of an engine. */
#ifndef WEFT_ENGINE_H
#define WEFT_ENGINE_H

#include "base/lock.h"
#include "run/memory.h"
#include "run/model_api.h"
#include "run/scheduler.h"

enum { MAX_OUT = 64 }; /* most rows of a step with logits */

struct token_trie;

struct weft_engine {
    uint32_t magic;
    atomic_size_t refs;
    struct weft_model *owner; /* holds a reference */
    const struct model *model;
    struct lock lock; /* guards all below, and of its sequences all but their text */
    struct backend *backend;
    struct watch *watch; /* of the backend, see watch.h; NULL = none */
    struct kv_pool pool;
    struct scheduler sched;
    size_t n_ctx, n_batch;
    weft_kv_type kv_type[2]; /* of K and of V */
    size_t n_ahead;          /* most tokens computed ahead, at most BACKEND_TOP */
    struct token_trie *trie; /* for grammars; NULL before the first */
    uint64_t n_steps, n_rows, n_cached;
    /* what weft_engine_stats tells besides */
    uint64_t n_decode_rows, n_opened, n_released, n_cancelled, n_kv_full;
    bool lost; /* the device failed */
    /* results of a step on their way into the sequences */
    int32_t ids[MAX_OUT * BACKEND_TOP];
    float values[MAX_OUT * BACKEND_TOP];
};

weft_status engine_check(const weft_engine *e, weft_error *err);
void engine_retain(struct weft_engine *e);
/* What must hold before a backend computes: WEFT_E_DEVICE_LOST, WEFT_E_IO. */
weft_status engine_usable(const struct weft_engine *e, weft_error *err);
/* Remembers how a call on the engine ended; returns status. */
weft_status engine_note(struct weft_engine *e, weft_status status);

#endif
