#include "run/scheduler.h"

_Static_assert(MAX_POOLS == 1, "a sequence has one table of pages");

#include <string.h>

weft_status sched_open(struct scheduler *s, size_t n_batch, size_t n_out, weft_error *err)
{
    *s = (struct scheduler){ .n_batch = n_batch, .n_out = n_out };
    s->tokens = mem_array(n_batch, sizeof *s->tokens);
    s->out_rows = mem_array(n_out, sizeof *s->out_rows);
    s->step_seqs = mem_array(n_batch, sizeof *s->step_seqs);
    s->packed = mem_array(n_batch, sizeof *s->packed);
    if (s->tokens == NULL || s->out_rows == NULL || s->step_seqs == NULL || s->packed == NULL) {
        sched_close(s);
        return error_nomem(err, "the scheduler", n_batch * sizeof *s->step_seqs);
    }
    return WEFT_OK;
}

void sched_close(struct scheduler *s)
{
    free(s->seqs);
    free(s->tokens);
    free(s->out_rows);
    free(s->step_seqs);
    free(s->packed);
    *s = (struct scheduler){ 0 };
}

weft_status sched_add(struct scheduler *s, struct sched_seq *seq, weft_error *err)
{
    if (!mem_reserve(&s->seqs, &s->cap_seqs, s->n_seqs + 1, sizeof *s->seqs)) {
        return error_nomem(err, "the list of sequences", (s->n_seqs + 1) * sizeof *s->seqs);
    }
    s->seqs[s->n_seqs++] = seq;
    return WEFT_OK;
}

void sched_remove(struct scheduler *s, const struct sched_seq *seq)
{
    for (size_t i = 0; i < s->n_seqs; i++) {
        if (s->seqs[i] == seq) {
            memmove(&s->seqs[i], &s->seqs[i + 1], (s->n_seqs - i - 1) * sizeof *s->seqs);
            s->n_seqs--;
            s->turn -= i < s->turn; /* the turn stays with the same sequence */
            return;
        }
    }
}

bool sched_waits(const struct scheduler *s)
{
    for (size_t i = 0; i < s->n_seqs; i++) {
        if (sched_waiting(s->seqs[i]) > 0) {
            return true;
        }
    }
    return false;
}

/* Adds n of q's n_waiting rows to the step. Only the row of the last waiting token wants logits,
 * but in an observed sequence every row does. Rows without a free place for their logits are left
 * for a later step. */
static void pack(struct scheduler *s, struct sched_seq *q, size_t n_waiting, size_t n)
{
    struct step *step = &s->step;
    size_t n_places = s->n_out - step->n_out;
    n = size_min(n, n_waiting);
    if (q->observed) {
        n = size_min(n, n_places);
    } else if (n == n_waiting && n_places == 0) {
        n--;
    }
    if (n == 0) {
        return;
    }
    q->in_step = true;
    s->packed[step->n_seqs] = q;
    s->step_seqs[step->n_seqs++] = (struct step_seq){ .pages = { q->kv.pages },
                                                      .rope_set = q->kv.rope_set,
                                                      .pos = q->n_done,
                                                      .row = step->n_rows,
                                                      .n_rows = n,
                                                      .cancelled = &q->cancelled };
    memcpy(s->tokens + step->n_rows, q->tokens.data + q->n_done, n * sizeof *s->tokens);
    step->n_rows += n;
    size_t n_out = q->observed ? n : n == n_waiting;
    for (size_t i = n_out; i > 0; i--) {
        s->out_rows[step->n_out++] = (uint32_t)(step->n_rows - i);
    }
}

/* Returns the i-th sequence, counted from the one whose turn it is. */
static struct sched_seq *in_turn(const struct scheduler *s, size_t i)
{
    return s->seqs[(s->turn + i) % s->n_seqs];
}

/* Packs sequences with one waiting token until the step has max_rows rows, or max_out rows that
 * want logits. */
static void pack_decode(struct scheduler *s, size_t max_rows, size_t max_out)
{
    for (size_t i = 0; i < s->n_seqs && s->step.n_rows < max_rows && s->step.n_out < max_out; i++) {
        if (sched_waiting(in_turn(s, i)) == 1) {
            pack(s, in_turn(s, i), 1, 1);
        }
    }
}

static void pack_prompts(struct scheduler *s, size_t n_prompts)
{
    for (size_t i = 0; i < s->n_seqs && s->step.n_rows < s->n_batch && n_prompts > 0; i++) {
        /* The value is read once, because another thread may cancel the sequence in between. */
        size_t n_waiting = sched_waiting(in_turn(s, i));
        if (n_waiting > 1) {
            size_t left = s->n_batch - s->step.n_rows;
            pack(s, in_turn(s, i), n_waiting, left / n_prompts + (left % n_prompts != 0));
            n_prompts--;
        }
    }
}

/* Returns how many of n places are kept for prompts: rows, or rows with logits. A step that is too
 * small to divide goes to prompts or to decode, depending on whose turn it is. */
static size_t prompt_share(const struct scheduler *s, size_t n, size_t n_prompts)
{
    if (n_prompts == 0) {
        return 0;
    }
    return n >= 4 ? n / 4 : sched_waiting(in_turn(s, 0)) > 1;
}

void sched_pack(struct scheduler *s)
{
    s->step = (struct step){ .tokens = s->tokens, .seqs = s->step_seqs, .out_rows = s->out_rows };
    size_t n_prompts = 0, n_observed = 0;
    for (size_t i = 0; i < s->n_seqs; i++) {
        s->seqs[i]->in_step = false;
        bool prompt = sched_waiting(s->seqs[i]) > 1;
        n_prompts += prompt;
        n_observed += prompt && s->seqs[i]->observed;
    }
    /* All rows of an observed prompt want logits. */
    pack_decode(s, s->n_batch - prompt_share(s, s->n_batch, n_prompts),
                s->n_out - prompt_share(s, s->n_out, n_observed));
    pack_prompts(s, n_prompts);
    for (size_t i = 0; i < s->n_seqs; i++) {
        if (sched_waiting(in_turn(s, i)) > 0 && !in_turn(s, i)->in_step) {
            s->turn = (s->turn + i) % s->n_seqs;
            return;
        }
    }
}
