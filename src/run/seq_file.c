/* Saved state: writes a sequence's tokens and computed K and V as bytes, and reads them back.
 * saved.h describes the bytes. */
#include <string.h>

#include "base/file.h"
#include "cost.h"
#include "run/fingerprint.h"
#include "run/room.h"
#include "run/saved.h"

/* Describes a state of n tokens of the engine's model, none of them computed. Fails if there is no
 * device to copy from or to. */
static weft_status state_of(const struct weft_engine *e, size_t n, struct saved *out,
                            weft_error *err)
{
    TRY(engine_usable(e, err));
    *out = saved_of(e->model, fingerprint_of(e->owner), n, e->kv_type);
    struct saved_layout l;
    if (!saved_layout(out, &l) || l.position_bytes != cost_kv_bytes(e->model, e->kv_type)) {
        return error_set(err, WEFT_E_UNSUPPORTED,
                         "the layers of this model keep K and V of different sizes, which the "
                         "format of saved states does not know");
    }
    return WEFT_OK;
}

static size_t in_page(size_t n, size_t pos) { return size_min(n - pos, KV_PAGE); }

/* ---------------------------------------------------------------- saving */

static weft_status state_plan(const struct weft_seq *seq, struct saved *s, struct saved_layout *l,
                              weft_error *err)
{
    TRY(state_of(seq->engine, seq->sched.tokens.n, s, err));
    s->n_computed = seq->sched.n_done;
    if (!saved_layout(s, l)) {
        return error_nomem(err, "a saved state", SIZE_MAX);
    }
    return WEFT_OK;
}

/* Writes the state without its checksum. */
static weft_status write_state(const struct weft_seq *seq, const struct saved *s,
                               const struct saved_layout *l, uint8_t *dst, weft_error *err)
{
    struct backend *b = seq->engine->backend;
    uint8_t *kv = dst + l->kv;
    saved_begin(s, dst);
    if (s->n_tokens > 0) {
        memcpy(dst + l->tokens, seq->sched.tokens.data, l->kv - l->tokens);
    }
    for (size_t pos = 0; pos < s->n_computed; pos += KV_PAGE) {
        size_t n = in_page(s->n_computed, pos);
        TRY(b->ops->read_kv(b, seq->sched.kv.pages[pos / KV_PAGE], n, kv, err));
        kv += n * l->position_bytes;
    }
    return WEFT_OK;
}

static weft_status save_locked(const struct weft_seq *seq, uint8_t *dst, size_t cap,
                               struct saved_layout *l, size_t *needed, weft_error *err)
{
    struct saved s;
    TRY(state_plan(seq, &s, l, err));
    if (needed != NULL) {
        *needed = l->n;
    }
    if (l->n > cap) {
        return error_set(err, WEFT_E_BUFFER, "the buffer has room for %zu bytes, %zu are needed",
                         cap, l->n);
    }
    if (dst == NULL) {
        return error_set(err, WEFT_E_ARG, "dst is NULL, but cap is %zu", cap);
    }
    return write_state(seq, &s, l, dst, err);
}

weft_status weft_seq_save(weft_seq *seq, void *dst, size_t cap, size_t *needed, weft_error *err)
{
    struct saved_layout l;
    TRY(seq_enter(seq, err));
    weft_status status = seq_leave(seq, save_locked(seq, dst, cap, &l, needed, err));
    if (status == WEFT_OK) {
        saved_seal(&l, dst);
    }
    return status;
}

/* Writes the state to newly allocated memory. */
static weft_status save_new(const struct weft_seq *seq, uint8_t **out, struct saved_layout *l,
                            weft_error *err)
{
    struct saved s;
    TRY(state_plan(seq, &s, l, err));
    *out = malloc(l->n);
    return *out == NULL ? error_nomem(err, "a saved state", l->n)
                        : write_state(seq, &s, l, *out, err);
}

weft_status weft_seq_save_file(weft_seq *seq, const char *path, weft_error *err)
{
    struct saved_layout l;
    uint8_t *data = NULL;
    if (path == NULL) {
        return error_set(err, WEFT_E_ARG, "path is NULL");
    }
    TRY(seq_enter(seq, err));
    weft_status status = seq_leave(seq, save_new(seq, &data, &l, err));
    if (status == WEFT_OK) {
        saved_seal(&l, data);
        status = file_replace(path, data, l.n, err);
    }
    free(data);
    return status;
}

/* ---------------------------------------------------------------- loading */

/* Checks a state before its tokens, K and V are looked at, or even read. */
struct judge {
    struct saved mine; /* what the state has to agree with */
    size_t n_ctx;
    const char *path; /* of the file, for messages */
    struct saved s;   /* what the state says of itself */
    struct saved_layout l;
};

static weft_status judge_open(struct weft_seq *seq, struct judge *j, weft_error *err)
{
    TRY(seq_enter(seq, err));
    j->n_ctx = seq->engine->n_ctx;
    return seq_leave(seq, state_of(seq->engine, 0, &j->mine, err));
}

/* Judges a state of n bytes by its first bytes. */
static weft_status judge_head(struct judge *j, const uint8_t *head, size_t n, weft_error *err)
{
    TRY(saved_head(head, n, &j->s, &j->l, err));
    TRY(saved_check(&j->s, &j->mine, err));
    if (j->s.n_tokens > j->n_ctx) {
        return error_set(err, WEFT_E_CTX_FULL,
                         "the saved state has %zu tokens, and the context is %zu; open the engine "
                         "with a larger n_ctx",
                         j->s.n_tokens, j->n_ctx);
    }
    return WEFT_OK;
}

static weft_status judge_file(void *judge, const uint8_t *head, size_t n, weft_error *err)
{
    struct judge *j = judge;
    weft_status status = judge_head(j, head, n, err);
    return status == WEFT_OK ? WEFT_OK : error_prefix(err, status, j->path);
}

/* Returns how many positions of a loaded state need not be computed again. The last position is
 * always computed again, because logits are not saved; all positions are, if their K was computed
 * with other RoPE factors. */
static size_t n_kept(const struct weft_seq *seq, const struct saved *s)
{
    if (s->n_tokens == 0 || !saved_rope_fits(s, seq->engine->model)) {
        return 0;
    }
    return size_min(s->n_computed, s->n_tokens - 1);
}

/* Checks everything else for which a state can be refused, and makes room for the tokens. */
static weft_status prepare(struct weft_seq *seq, const struct saved *s, const uint8_t *tokens,
                           weft_error *err)
{
    TRY(engine_usable(seq->engine, err));
    for (size_t i = 0; i < s->n_tokens; i++) {
        int32_t token;
        memcpy(&token, tokens + i * sizeof token, sizeof token);
        if (token < 0 || (uint32_t)token >= s->fields[SAVED_VOCAB]) {
            return error_set(err, WEFT_E_FORMAT,
                             "token %zu of the saved state is %d, expected 0 to %u (the "
                             "vocabulary)",
                             i, token, s->fields[SAVED_VOCAB] - 1);
        }
    }
    return seq_grow(seq, s->n_tokens, err);
}

static weft_status write_pages(struct weft_seq *seq, const struct saved *s,
                               const struct saved_layout *l, const uint8_t *kv, weft_error *err)
{
    struct backend *b = seq->engine->backend;
    for (size_t pos = 0; pos < s->n_computed; pos += KV_PAGE) {
        size_t n = in_page(s->n_computed, pos);
        TRY(b->ops->write_kv(b, seq->sched.kv.pages[pos / KV_PAGE], n, kv, err));
        kv += n * l->position_bytes;
    }
    return WEFT_OK;
}

static weft_status load_locked(struct weft_seq *seq, const struct saved *s,
                               const struct saved_layout *l, const uint8_t *data, weft_error *err)
{
    struct sched_seq *q = &seq->sched;
    const size_t kept = n_kept(seq, s);
    TRY(prepare(seq, s, data + l->tokens, err));
    TRY(room_replace(seq->engine, &q->kv, s->n_tokens, err));
    weft_status status = kept > 0 ? write_pages(seq, s, l, data + l->kv, err) : WEFT_OK;
    if (status != WEFT_OK) {
        kv_trim(&seq->engine->pool, &q->kv, 0);
        seq_restart(seq, 0, 0);
        constraint_replace(seq->constraint, 0);
        return status;
    }
    if (s->n_tokens > 0) {
        memcpy(q->tokens.data, data + l->tokens, l->kv - l->tokens);
    }
    seq_restart(seq, s->n_tokens, kept);
    q->kv.rope_set = model_rope_set(seq->engine->model, s->n_tokens);
    q->kv.given = kept > 0;
    constraint_replace(seq->constraint, s->n_tokens);
    sampler_restart(seq->sampler);
    return WEFT_OK;
}

/* Loads data[j->l.n], whose head was accepted. */
static weft_status state_load(struct weft_seq *seq, const struct judge *j, const uint8_t *data,
                              weft_error *err)
{
    TRY(saved_intact(data, &j->l, err));
    TRY(seq_enter(seq, err));
    return seq_leave(seq, load_locked(seq, &j->s, &j->l, data, err));
}

weft_status weft_seq_load(weft_seq *seq, const void *data, size_t n, weft_error *err)
{
    struct judge j;
    TRY(seq_check(seq, err));
    if (data == NULL) {
        return error_set(err, WEFT_E_ARG, "data is NULL");
    }
    TRY(judge_open(seq, &j, err));
    TRY(judge_head(&j, data, n, err));
    return state_load(seq, &j, data, err);
}

weft_status weft_seq_load_file(weft_seq *seq, const char *path, weft_error *err)
{
    struct judge j = { .path = path };
    struct file f;
    TRY(seq_check(seq, err));
    if (path == NULL) {
        return error_set(err, WEFT_E_ARG, "path is NULL");
    }
    TRY(judge_open(seq, &j, err));
    /* The file is read and not mapped, because another program may write to it meanwhile. */
    TRY(file_open(path, &(struct file_how){ .judge = judge_file, .user = &j }, &f, err));
    weft_status status = state_load(seq, &j, f.data, err);
    file_close(&f);
    return status == WEFT_OK ? WEFT_OK : error_prefix(err, status, path);
}
