/* The struct behind the public handle of an engine. */
#ifndef WEFT_ENGINE_H
#define WEFT_ENGINE_H

#include "base/bell.h"
#include "base/lock.h"
#include "draw/sampler.h"
#include "run/memory.h"
#include "run/model_api.h"
#include "run/scheduler.h"

/* Most rows of a step with logits: as many sequences generate in one step. */
enum { MAX_OUT = 256 };

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
    /* results of a step on their way into the sequences: [n_out of the scheduler, BACKEND_TOP] */
    int32_t *ids;
    float *values;
    /* memory for draws from all logits, as much as threads have drawn at the same time; the list
     * has room for all that were made, so that giving one back cannot fail */
    struct sampler_scratch **spare;
    size_t n_spare, n_scratch, cap_spare;
    uint64_t draw_bytes; /* of all of it */
    /* for weft_engine_wait(), without the lock: rings when there may be rows or room */
    struct bell bell;
    atomic_uint n_wakes; /* of those that a wait returns for even if no step has rows */
    atomic_bool woken;   /* by one of them, and no wait has returned since */
};

weft_status engine_check(const weft_engine *e, weft_error *err);
void engine_retain(struct weft_engine *e);
/* What must hold before a backend computes: WEFT_E_DEVICE_LOST, WEFT_E_IO. */
weft_status engine_usable(const struct weft_engine *e, weft_error *err);
/* Remembers how a call on the engine ended; returns status. */
weft_status engine_note(struct weft_engine *e, weft_status status);

/* Memory for one draw from all logits; the caller holds the engine's lock, and gives it back. */
weft_status engine_take_scratch(struct weft_engine *e, struct sampler_scratch **out,
                                weft_error *err);
void engine_give_scratch(struct weft_engine *e, struct sampler_scratch *m);

/* Whoever is inside weft_engine_wait() returns, or else the next call does. Any thread, also from a
 * signal handler. */
void engine_wake(struct weft_engine *e);

#endif
