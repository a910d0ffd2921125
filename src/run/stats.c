/* Counts what an engine holds and has done, when a caller asks. */
#include "run/seq.h"

static size_t seq_bytes(const struct weft_seq *seq)
{
    const struct sched_seq *q = &seq->sched;
    const size_t n_logits = seq->logits.all != NULL ? seq->engine->model->config.n_vocab : 0;
    return sizeof *seq + n_logits * sizeof *seq->logits.all +
           q->tokens.cap * sizeof *q->tokens.data + q->kv.cap * sizeof *q->kv.pages +
           seq->own_bytes;
}

static void add_seqs(struct weft_engine *e, weft_engine_stats *s)
{
    s->n_seqs = e->sched.n_seqs;
    for (size_t i = 0; i < e->sched.n_seqs; i++) {
        const struct sched_seq *q = e->sched.seqs[i];
        s->n_tokens += q->tokens.n;
        s->n_computed += q->n_done;
        s->seq_bytes += seq_bytes(seq_of(e->sched.seqs[i]));
        kv_mark(&e->pool, &q->kv, q->n_done);
    }
}

static void add_pages(struct weft_engine *e, weft_engine_stats *s)
{
    struct kv_counts c = kv_count(&e->pool);
    s->n_pages = e->pool.n_pages;
    s->n_pages_free = e->pool.n_free;
    s->n_pages_used = s->n_pages - s->n_pages_free;
    s->n_pages_known = c.n_known;
    s->n_pages_shared = c.n_shared;
    s->n_page_refs = c.n_refs;
    s->n_stored = c.n_marked;
    s->n_page_copies = e->pool.n_copies;
}

static void add_memory(const struct weft_engine *e, weft_engine_stats *s)
{
    struct backend_info b;
    e->backend->ops->info(e->backend, &b);
    s->page_bytes = b.kv_bytes / e->pool.n_pages;
    s->kv_bytes = b.kv_bytes;
    s->weight_bytes = b.weight_bytes;
    s->scratch_bytes = b.scratch_bytes;
}

weft_status weft_engine_get_stats(const weft_engine *engine, weft_engine_stats *stats,
                                  weft_error *err)
{
    TRY(engine_check(engine, err));
    TRY(info_check(stats, "weft_engine_stats", err));
    struct weft_engine *e = (struct weft_engine *)(uintptr_t)engine;
    lock_take(&e->lock);
    weft_engine_stats v = {
        .n_steps = e->n_steps,
        .n_rows = e->n_rows,
        .n_prompt_rows = e->n_rows - e->n_decode_rows,
        .n_decode_rows = e->n_decode_rows,
        .n_cached = e->n_cached,
        .n_opened = e->n_opened,
        .n_released = e->n_released,
        .n_cancelled = e->n_cancelled,
        .n_kv_full = e->n_kv_full,
        .draw_bytes = e->draw_bytes,
        .n_again = e->n_again,
    };
    add_seqs(e, &v);
    add_pages(e, &v);
    add_memory(e, &v);
    lock_give(&e->lock);
    return info_copy(stats, &v, sizeof v, "weft_engine_stats", err);
}
