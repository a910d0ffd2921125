#include "support/top_backend.h"
#include "forward.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_ROWS = 64 };

/* Finds the struct that counts a backend's operations: the operations lie in it. */
static struct top_backend *top_of(struct backend *b)
{
    return (struct top_backend *)(uintptr_t)((const char *)b->ops -
                                             offsetof(struct top_backend, ops));
}

static weft_status may_fail(struct top_backend *t, weft_error *err)
{
    if (t->fail > 0 && --t->fail == 0) {
        return error_set(err, t->failure, "a failure that the test has planned");
    }
    return WEFT_OK;
}

/* Returns the row as the wrapped backend shows it. */
static const float *row_of(struct backend *b, size_t i)
{
    struct top_backend *t = top_of(b);
    size_t n = t->model->config.n_vocab, best = 0;
    float *row = t->row;
    assert_int_equal(t->cpu->read_logits(b, i, row, NULL), WEFT_OK);
    for (size_t j = 1; j < n; j++) {
        best = row[j] > row[best] ? j : best;
    }
    uint32_t bits;
    memcpy(&bits, &row[best], sizeof bits);
    if ((t->what & TOP_NAN) && (bits * 2654435761u) >> 16 < 65536 / 30) {
        row[(best + 3) % n] = NAN;
    }
    return row;
}

static weft_status read_logits(struct backend *b, size_t i, float *dst, weft_error *err)
{
    struct top_backend *t = top_of(b);
    TRY(may_fail(t, err));
    memcpy(dst, row_of(b, i), t->model->config.n_vocab * sizeof *dst);
    t->n_read++;
    return WEFT_OK;
}

/* Finds the k best of wanted row i. */
static void best_of(struct backend *b, size_t i, size_t k, int32_t *ids, float *values)
{
    struct top_backend *t = top_of(b);
    const float *row = row_of(b, i);
    size_t n = t->model->config.n_vocab;
    memset(t->taken, 0, sizeof t->taken);
    for (size_t rank = 0; rank < k; rank++) {
        size_t best = SIZE_MAX;
        for (size_t j = 0; j < n; j++) {
            if (!t->taken[j] && (best == SIZE_MAX || row[j] > row[best])) {
                best = j;
            }
        }
        assert_true(best != SIZE_MAX);
        t->taken[best] = true;
        ids[rank] = (int32_t)best;
        values[rank] = row[best];
    }
    for (size_t j = 0; j < n; j++) {
        if (isnan(row[j])) {
            ids[0] = -1;
            values[0] = NAN;
        }
    }
}

static weft_status stage(struct backend *b, enum stage what, const struct step *s, size_t layer,
                         weft_error *err)
{
    top_of(b)->n_out = what == STAGE_HEAD ? s->n_out : top_of(b)->n_out;
    return top_of(b)->cpu->stage(b, what, s, layer, err);
}

static weft_status top(struct backend *b, size_t k, int32_t *ids, float *values, weft_error *err)
{
    struct top_backend *t = top_of(b);
    assert_in_range(k, 1, BACKEND_TOP);
    TRY(may_fail(t, err));
    for (size_t i = 0; i < t->n_out; i++) {
        best_of(b, i, k, ids + i * k, values + i * k);
    }
    t->n_top++;
    return WEFT_OK;
}

static weft_status ahead(struct backend *b, const struct step *s, size_t k, int32_t *ids,
                         weft_error *err)
{
    struct top_backend *t = top_of(b);
    int32_t tokens[MAX_ROWS];
    struct step_seq seqs[MAX_ROWS];
    struct step step = *s;
    float value;
    assert_in_range(k, 2, BACKEND_TOP);
    assert_in_range(s->n_rows, 1, t->ops.ahead_rows);
    assert_int_equal(s->n_seqs, s->n_rows);
    assert_int_equal(s->n_out, s->n_rows);
    TRY(may_fail(t, err));
    memcpy(tokens, s->tokens, s->n_rows * sizeof *tokens);
    memcpy(seqs, s->seqs, s->n_rows * sizeof *seqs);
    step.tokens = tokens;
    step.seqs = seqs;
    for (size_t j = 0; j < k; j++) {
        for (size_t i = 0; i < s->n_rows; i++) {
            /* The text of each sequence is as long as this step makes it. */
            assert_int_equal(seqs[i].rope_set, model_rope_set(t->model, seqs[i].pos + 1));
        }
        TRY(forward(b, &step, err));
        for (size_t i = 0; i < s->n_rows; i++) {
            int32_t *id = &ids[j * s->n_rows + i];
            best_of(b, i, 1, id, &value);
            *id = j > 0 && id[-(ptrdiff_t)s->n_rows] < 0 ? -1 : *id;
            if (*id >= 0) {
                tokens[i] = *id;
                seqs[i].pos++;
            }
        }
        if (t->interrupt != NULL && j == k / 2) {
            t->interrupt(t->user);
        }
    }
    t->n_ahead++;
    return WEFT_OK;
}

void top_backend_wrap(struct top_backend *t, weft_engine *engine, unsigned what, size_t ahead_rows)
{
    struct backend *b = engine->backend;
    *t =
        (struct top_backend){ .cpu = b->ops, .ops = *b->ops, .model = engine->model, .what = what };
    assert_in_range(ahead_rows, 0, MAX_ROWS);
    assert_in_range(t->model->config.n_vocab, 1, TOP_MAX_VOCAB);
    t->ops.stage = stage;
    t->ops.read_logits = read_logits;
    t->ops.top = what & TOP_BEST ? top : NULL;
    t->ops.ahead = what & TOP_AHEAD ? ahead : NULL;
    t->ops.ahead_rows = ahead_rows;
    b->ops = &t->ops;
}
