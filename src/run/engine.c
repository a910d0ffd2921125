/* The engine handle: opens a backend on a model, gives information about it, measures it and closes
 * it. */
#include "run/engine.h"

#include "cost.h"
#include "draw/token_trie.h"
#include "format/kv_type.h"
#include "run/device.h"
#include "run/watch.h"

enum { MAX_BATCH = 65536 };

/* Checks that the heads of every store are whole blocks of the type. */
static weft_status check_kv_type(const struct model *m, bool of_k, weft_kv_type type,
                                 weft_error *err)
{
    const char *param = of_k ? "type_k" : "type_v";
    if (kv_type_name(type) == NULL) {
        return error_set(err, WEFT_E_ARG, "%s is %d, expected a WEFT_KV_* value", param, (int)type);
    }
    for (size_t i = 0; i < m->n_stores; i++) {
        const size_t dim = of_k ? m->kv[i].k_dim : m->kv[i].v_dim;
        if (dim % kv_type_block(type) != 0) {
            return error_set(
                err, WEFT_E_UNSUPPORTED,
                "%s %s shares a scale between %zu values, but the heads of this model have "
                "%zu; take f16",
                param, kv_type_name(type), kv_type_block(type), dim);
        }
    }
    return WEFT_OK;
}

/* Computes the engine's sizes from the caller's parameters, or says which parameters contradict
 * each other. */
static weft_status engine_plan(const struct model *m, const weft_engine_params *p,
                               struct backend_params *out, weft_error *err)
{
    size_t longest = m->config.n_ctx_train;
    size_t n_ctx = p->n_ctx == WEFT_CTX_MODEL ? longest : p->n_ctx;
    if (n_ctx == 0) {
        n_ctx = size_min(longest, WEFT_CTX_DEFAULT);
    }
    if (n_ctx > longest) {
        return error_set(err, WEFT_E_ARG,
                         "n_ctx is %zu, but the longest context of the model is %zu positions; ask "
                         "for at most that",
                         n_ctx, longest);
    }
    if (p->n_batch > MAX_BATCH) {
        return error_set(err, WEFT_E_ARG, "n_batch is %zu, expected at most %d", p->n_batch,
                         MAX_BATCH);
    }
    size_t n_kv = p->n_kv != 0 ? p->n_kv : size_max(n_ctx, WEFT_CTX_DEFAULT);
    if (n_kv < KV_PAGE || n_kv / KV_PAGE >= UINT32_MAX) {
        return error_set(err, WEFT_E_ARG, "n_kv is %zu, expected %d to %llu positions", n_kv,
                         KV_PAGE, (unsigned long long)UINT32_MAX * KV_PAGE);
    }
    if (p->n_threads > 1024) {
        return error_set(err, WEFT_E_ARG, "n_threads is %zu, expected at most 1024", p->n_threads);
    }
    if (p->n_ahead > BACKEND_TOP) {
        return error_set(err, WEFT_E_ARG, "n_ahead is %zu, expected at most %d", p->n_ahead,
                         BACKEND_TOP);
    }
    TRY(check_kv_type(m, true, p->type_k, err));
    TRY(check_kv_type(m, false, p->type_v, err));
    *out = (struct backend_params){
        .n_ctx = n_ctx,
        .n_pages = ceil_div(n_kv, KV_PAGE),
        .n_batch = p->n_batch,
        .n_out = p->n_batch != 0 && p->n_batch < MAX_OUT ? p->n_batch : MAX_OUT,
        .n_threads = p->n_threads,
        .isa = p->cpu_isa,
        .kv_type = { p->type_k, p->type_v },
        .pin_threads = p->pin_threads,
        .no_repack = p->no_repack,
        .deterministic = p->deterministic,
        .no_graphs = p->no_graphs,
        .no_pdl = p->no_pdl,
        .no_arena = p->no_arena,
        .values = p->trace != NULL,
        .progress = p->progress,
        .progress_user = p->progress_user,
    };
    return WEFT_OK;
}

static void engine_free(struct weft_engine *e)
{
    struct weft_model *owner = e->owner;
    sched_close(&e->sched);
    kv_close(&e->pool);
    token_trie_close(e->trie);
    while (e->n_spare > 0) {
        sampler_scratch_close(e->spare[--e->n_spare]);
    }
    free(e->ids);
    free(e->values);
    if (e->backend != NULL) {
        e->backend->ops->close(e->backend);
    }
    watch_close(e->watch);
    lock_close(&e->lock);
    e->magic = 0;
    free(e);
    weft_model_release(&owner);
}

static weft_status engine_init(struct weft_engine *e, const weft_engine_params *asked,
                               struct backend_params *p, weft_error *err)
{
    TRY(device_open_backend(e->model, asked->device, p, &e->backend, err));
    TRY(watch_open(asked, e->backend, &e->watch, err));
    TRY(kv_open(&e->pool, p->n_pages, e->backend, !asked->no_prefix_cache, err));
    struct backend_info info;
    e->backend->ops->info(e->backend, &info);
    e->n_batch = info.n_batch;
    e->n_free_told = e->pool.n_free;
    e->ids = mem_array(info.n_out, BACKEND_TOP * sizeof *e->ids);
    e->values = mem_array(info.n_out, BACKEND_TOP * sizeof *e->values);
    if (e->ids == NULL || e->values == NULL) {
        return error_nomem(err, "the results of a step", info.n_out * BACKEND_TOP * sizeof *e->ids);
    }
    return sched_open(&e->sched, e->n_batch, info.n_out, err);
}

weft_status weft_engine_open(weft_model *model, const weft_engine_params *params, weft_engine **out,
                             weft_error *err)
{
    weft_engine_params p = WEFT_ENGINE_PARAMS_INIT;
    struct backend_params bp;
    TRY(model_check(model, err));
    if (out == NULL) {
        return error_set(err, WEFT_E_ARG, "out is NULL");
    }
    TRY(params_copy(&p, sizeof p, params, "weft_engine_params", err));
    if (model->model->vocab_only) {
        return error_set(err, WEFT_E_STATE,
                         "the model was opened with vocab_only; open it whole to run it");
    }
    /* A backend reads the weights; a mapped file that was cut must not be touched. */
    TRY(gguf_check(model->model->file, err));
    TRY(engine_plan(model->model, &p, &bp, err));
    bp.log = &model->log;
    struct weft_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_nomem(err, "the engine", sizeof *e);
    }
    if (!lock_open(&e->lock)) {
        free(e);
        return error_nomem(err, "the engine's lock", sizeof e->lock);
    }
    model_retain(model);
    e->owner = model;
    e->model = model->model;
    e->n_ctx = bp.n_ctx;
    e->kv_type[0] = p.type_k;
    e->kv_type[1] = p.type_v;
    e->n_ahead = p.n_ahead;
    atomic_init(&e->refs, 1);
    bell_init(&e->bell);
    weft_status status = engine_init(e, &p, &bp, err);
    if (status != WEFT_OK) {
        engine_free(e);
        return status;
    }
    e->magic = ENGINE_MAGIC;
    struct backend_info info;
    e->backend->ops->info(e->backend, &info);
    log_line(&model->log, WEFT_LOG_INFO,
             "%s (%s), %zu threads: weights %.1f MiB, KV %.1f MiB for %zu positions, "
             "scratch %.1f MiB; context %zu, batch %zu",
             e->backend->ops->name, info.kernels, info.n_threads,
             (double)info.weight_bytes / 1048576.0, (double)info.kv_bytes / 1048576.0,
             bp.n_pages * KV_PAGE, (double)info.scratch_bytes / 1048576.0, bp.n_ctx, e->n_batch);
    *out = e;
    return WEFT_OK;
}

weft_status engine_check(const weft_engine *e, weft_error *err)
{
    return handle_check(e, e ? &e->magic : NULL, ENGINE_MAGIC, "engine", err);
}

void engine_retain(struct weft_engine *e) { atomic_fetch_add(&e->refs, 1); }

void weft_engine_release(weft_engine **engine)
{
    if (engine == NULL || engine_check(*engine, NULL) != WEFT_OK) {
        return;
    }
    struct weft_engine *e = *engine;
    *engine = NULL;
    if (atomic_fetch_sub(&e->refs, 1) == 1) {
        engine_free(e);
    }
}

weft_status weft_engine_get_info(const weft_engine *engine, weft_engine_info *info, weft_error *err)
{
    TRY(engine_check(engine, err));
    struct weft_engine *e = (struct weft_engine *)(uintptr_t)engine;
    lock_take(&e->lock);
    struct backend_info b;
    struct cost row = cost_of_row(e->model);
    e->backend->ops->info(e->backend, &b);
    const weft_engine_info v = {
        .backend = e->backend->ops->name,
        .kernels = b.kernels,
        .n_ctx = e->n_ctx,
        .n_kv = e->pool.n_pages * KV_PAGE,
        .n_batch = e->n_batch,
        .n_threads = b.n_threads,
        .n_kv_free = e->pool.n_free * KV_PAGE,
        .n_seqs = e->sched.n_seqs,
        .weight_bytes = b.weight_bytes,
        .kv_bytes = b.kv_bytes,
        .scratch_bytes = b.scratch_bytes,
        .n_steps = e->n_steps,
        .n_rows = e->n_rows,
        .n_cached = e->n_cached,
        .step_weight_bytes = row.bytes,
        .most_weight_bytes = row.bytes, /* no layer has experts */
        .row_macs = row.macs,
        .kv_position_bytes = cost_kv_bytes(e->model, e->kv_type),
        .page = KV_PAGE,
    };
    lock_give(&e->lock);
    return info_copy(info, &v, sizeof v, "weft_engine_info", err);
}

uint64_t weft_engine_kv_read(const weft_engine *engine, size_t pos)
{
    return engine_check(engine, NULL) == WEFT_OK ? cost_kv_read(engine->model, engine->kv_type, pos)
                                                 : 0;
}

static weft_status measure_locked(struct weft_engine *e, struct backend_limits *out,
                                  weft_error *err)
{
    TRY(engine_usable(e, err));
    return engine_note(e, e->backend->ops->limits(e->backend, out, err));
}

weft_status weft_engine_measure(weft_engine *engine, weft_limits *limits, weft_error *err)
{
    struct backend_limits b = { 0 };
    TRY(engine_check(engine, err));
    TRY(info_check(limits, "weft_limits", err));
    lock_take(&engine->lock);
    weft_status status = measure_locked(engine, &b, err);
    lock_give(&engine->lock);
    TRY(status);
    const weft_limits v = { .read_bytes_per_s = b.read_bytes_per_s, .macs_per_s = b.macs_per_s };
    return info_copy(limits, &v, sizeof v, "weft_limits", err);
}

weft_status engine_usable(const struct weft_engine *e, weft_error *err)
{
    if (e->lost) {
        struct backend_info info;
        e->backend->ops->info(e->backend, &info);
        return error_set(err, WEFT_E_DEVICE_LOST, "the device of this engine failed before; %s",
                         info.process_lost ? "it is lost for the whole process, restart the program"
                                           : "open a new engine");
    }
    return gguf_check(e->model->file, err);
}

weft_status engine_note(struct weft_engine *e, weft_status status)
{
    e->lost = e->lost || status == WEFT_E_DEVICE_LOST;
    e->n_kv_full += status == WEFT_E_KV_FULL;
    e->n_cancelled += status == WEFT_E_CANCELLED;
    return status;
}

weft_status engine_take_scratch(struct weft_engine *e, struct sampler_scratch **out,
                                size_t *n_bytes, weft_error *err)
{
    if (e->n_spare > 0) {
        *out = e->spare[--e->n_spare];
        *n_bytes = sampler_scratch_bytes(*out);
        return WEFT_OK;
    }
    TRY(sampler_scratch_open(e->model->config.n_vocab, out, err));
    *n_bytes = sampler_scratch_bytes(*out);
    e->draw_bytes += *n_bytes;
    return WEFT_OK;
}

void engine_give_scratch(struct weft_engine *e, struct sampler_scratch *m, size_t n_bytes)
{
    e->draw_bytes += sampler_scratch_bytes(m) - n_bytes;
    if (e->n_spare < MAX_SPARE) {
        e->spare[e->n_spare++] = m;
        return;
    }
    e->draw_bytes -= sampler_scratch_bytes(m);
    sampler_scratch_close(m);
}

void engine_unlock(struct weft_engine *e)
{
    const bool freed = e->pool.n_free > e->n_free_told;
    e->n_free_told = e->pool.n_free;
    lock_give(&e->lock);
    if (freed) {
        engine_wake(e);
    }
}
