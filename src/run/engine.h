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

/* A draw from all logits needs memory. The engine keeps the memory of at most this many draws for
 * later ones. */
enum { MAX_SPARE = 8 };

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
    uint64_t n_decode_rows, n_opened, n_released, n_cancelled, n_kv_full, n_again;
    bool lost; /* the device failed */
    /* [n_out of the scheduler, BACKEND_TOP] The results of a step on their way into the
     * sequences. */
    int32_t *ids;
    float *values;
    /* Memory for draws from all logits that no draw uses now. */
    struct sampler_scratch *spare[MAX_SPARE];
    size_t n_spare;
    uint64_t draw_bytes; /* of the spare memory, and of the memory that draws use */
    /* For weft_engine_wait(), which sleeps without the lock: it rings when there may be rows or
     * free memory. */
    struct bell bell;
    /* Counts the wakes, for which a wait returns even if no step has rows. */
    atomic_uint n_wakes;
    /* True if there was a wake and no wait has returned since. */
    atomic_bool woken;
    size_t n_free_told; /* free pages of the pool when a call last gave the lock back */
};

weft_status engine_check(const weft_engine *e, weft_error *err);
void engine_retain(struct weft_engine *e);
/* Checks that the backend can compute. Errors: WEFT_E_DEVICE_LOST, WEFT_E_IO. */
weft_status engine_usable(const struct weft_engine *e, weft_error *err);
/* Notes how a call on the engine ended, and returns `status`. */
weft_status engine_note(struct weft_engine *e, weft_status status);
/* Gives the engine's lock back after a call that may have taken or freed pages. If pages were
 * freed, threads inside weft_engine_wait() are woken. */
void engine_unlock(struct weft_engine *e);

/* Takes memory for one draw from all logits, or makes it, and gives it back; the caller holds the
 * engine's lock in both calls. The memory may grow while it is used. `n_bytes` is its size when it
 * was taken; engine_give_scratch() counts what it has grown by since then. */
weft_status engine_take_scratch(struct weft_engine *e, struct sampler_scratch **out,
                                size_t *n_bytes, weft_error *err);
void engine_give_scratch(struct weft_engine *e, struct sampler_scratch *m, size_t n_bytes);

/* Makes threads inside weft_engine_wait() return; if no thread waits, the next call returns at once
 * because of it. Any thread, also a signal handler. */
void engine_wake(struct weft_engine *e);

#endif
