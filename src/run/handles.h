/* The structs behind the public handles, and what every public function does on entry. */
#ifndef WEFT_HANDLES_H
#define WEFT_HANDLES_H

#include <stdatomic.h>

#include "backend.h"
#include "base/lock.h"
#include "draw/constraint.h"
#include "draw/logprobs.h"
#include "draw/sampler.h"
#include "model.h"
#include "run/logits.h"
#include "run/memory.h"
#include "run/scheduler.h"
#include "text/stream.h"

/* First word of a live handle; cleared on release, so that most stale or mixed-up handles are
 * refused. */
enum { MODEL_MAGIC = 0x6c65646d, ENGINE_MAGIC = 0x6e69676e, SEQ_MAGIC = 0x71657377 };

enum { MAX_OUT = 64 }; /* most rows of a step with logits */

struct weft_model {
    uint32_t magic;
    atomic_size_t refs;
    struct model *model;
    struct log log;
    _Atomic uint64_t fingerprint; /* fingerprint.h; 0 = not yet computed */
};

struct weft_engine {
    uint32_t magic;
    atomic_size_t refs;
    struct weft_model *owner; /* holds a reference */
    const struct model *model;
    struct lock lock; /* guards all below, and the sequences' scheduler part */
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

struct weft_seq {
    uint32_t magic; /* first, as in every handle: a handle of another type may be shorter than this
                       one */
    struct sched_seq sched;     /* what the scheduler hands back, see seq_of() */
    struct weft_engine *engine; /* holds a reference */
    atomic_flag busy;           /* a thread is inside */
    atomic_int finish;          /* weft_finish */
    size_t n_cached;            /* positions that were found computed */
    size_t drawn;               /* the last token drawn; SIZE_MAX = none since a rewind */
    bool fresh;                 /* the outcome is that of the last token */
    struct outcome outcome;
    weft_logits_fn observer; /* sched.observed: gets the logits of every position */
    void *observer_user;
    struct logprobs logprobs;
    struct sampler *sampler;
    struct constraint *constraint; /* NULL = no grammar */
    struct stream stream;
    bool text_begun; /* tokens were drawn since others were appended, kept or loaded */
    int32_t picked;  /* drawn by a weft_seq_next() that then failed for memory; -1 = none */
};

static inline struct weft_seq *seq_of(struct sched_seq *q)
{
    return (struct weft_seq *)(void *)((char *)q - offsetof(struct weft_seq, sched));
}

/* WEFT_E_ARG for NULL, WEFT_E_HANDLE for anything that is not such a handle. */
weft_status handle_check(const void *handle, const uint32_t *magic, uint32_t expected,
                         const char *what, weft_error *err);
weft_status model_check(const weft_model *m, weft_error *err);
weft_status engine_check(const weft_engine *e, weft_error *err);

void model_retain(struct weft_model *m);
void engine_retain(struct weft_engine *e);
/* What must hold before a backend computes: WEFT_E_DEVICE_LOST, WEFT_E_IO. */
weft_status engine_usable(const struct weft_engine *e, weft_error *err);
/* Remembers how a call on the engine ended; returns status. */
weft_status engine_note(struct weft_engine *e, weft_status status);

/* Copies a caller's parameter struct of src->size bytes over the defaults already in dst. Refuses a
 * size that cannot be, and fields unknown to this library that are not zero. */
weft_status params_copy(void *dst, size_t dst_size, const void *src, const char *what,
                        weft_error *err);
/* WEFT_E_ARG unless dst points to an info struct with a size that can be. */
weft_status info_check(const void *dst, const char *what, weft_error *err);
/* Copies as much of an info struct as the caller's version has room for. */
weft_status info_copy(void *dst, const void *src, size_t src_size, const char *what,
                      weft_error *err);
/* The (dst, cap, needed) convention of weft.h, for n elements of `size` bytes. */
weft_status copy_out(const void *src, size_t n, size_t size, void *dst, size_t cap, size_t *needed,
                     weft_error *err);

#endif
