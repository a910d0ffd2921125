/* The struct behind the public handle of an engine. */
#ifndef WEFT_ENGINE_H
#define WEFT_ENGINE_H

#include "base/bell.h"
#include "base/lock.h"
#include "draw/sampler.h"
#include "run/memory.h"
#include "run/model_api.h"
#include "run/scheduler.h"

/* The most rows with logits in one step, so at most this many sequences generate in a step. */
enum { MAX_OUT = 256 };

struct token_trie;

struct weft_engine {
    uint32_t magic;
    atomic_size_t refs;
    struct weft_model *owner; /* a reference is held */
    const struct model *model;
    /* Guards all fields below, and all of the engine's sequences except their text. */
    struct lock lock;
    struct backend *backend;
    /* Watches the backend, see watch.h; NULL = nobody watches. */
    struct watch *watch;
    struct kv_pool pool;
    struct scheduler sched;
    size_t n_ctx, n_batch;
    weft_kv_type kv_type[2]; /* of K and of V */
    /* The most tokens computed ahead, at most BACKEND_TOP. */
    size_t n_ahead;
    struct token_trie *trie; /* for grammars; NULL until the first grammar is set */
    uint64_t n_steps, n_rows, n_cached;
    /* These counts appear only in weft_engine_stats. */
    uint64_t n_decode_rows, n_opened, n_released, n_cancelled, n_kv_full;
    bool lost; /* the device failed */
    /* [n_out of the scheduler, BACKEND_TOP] The results of a step on their way into the
     * sequences. */
    int32_t *ids;
    float *values;
    /* Memory for draws from all logits, as much as threads have used at the same time. The list has
     * room for every piece of memory that was made, so giving one back cannot fail. */
    struct sampler_scratch **spare;
    size_t n_spare, n_scratch, cap_spare;
    uint64_t draw_bytes; /* bytes of all these pieces */
    /* For weft_engine_wait(), which sleeps without the lock: it rings when there may be rows or
     * free memory. */
    struct bell bell;
    /* Counts the wakes, for which a wait returns even if no step has rows. */
    atomic_uint n_wakes;
    /* True if there was a wake and no wait has returned since. */
    atomic_bool woken;
};

weft_status engine_check(const weft_engine *e, weft_error *err);
void engine_retain(struct weft_engine *e);
/* Checks that the backend can compute. Errors: WEFT_E_DEVICE_LOST, WEFT_E_IO. */
weft_status engine_usable(const struct weft_engine *e, weft_error *err);
/* Notes how a call on the engine ended, and returns `status`. */
weft_status engine_note(struct weft_engine *e, weft_status status);

/* Takes memory for one draw from all logits, or makes it. The caller holds the engine's lock and
 * gives the memory back. */
weft_status engine_take_scratch(struct weft_engine *e, struct sampler_scratch **out,
                                weft_error *err);
void engine_give_scratch(struct weft_engine *e, struct sampler_scratch *m);

/* Makes threads inside weft_engine_wait() return; if there is none, the next call returns at once.
 * Any thread, also a signal handler. */
void engine_wake(struct weft_engine *e);

#endif
