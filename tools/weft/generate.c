/* The loop of every text: a step, then a draw for each text that has logits; new text is shown. */
#include "weft/generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/constrain.h"
#include "weft/logprobs_log.h"
#include "weft/term.h"

const char *const text_end_name[] = {
    [TEXT_RUNNING] = "none",  [TEXT_END] = "end",         [TEXT_STOP] = "stop",
    [TEXT_LENGTH] = "length", [TEXT_LIMIT] = "limit",     [TEXT_INTERRUPTED] = "interrupted",
    [TEXT_FAILED] = "failed", [TEXT_GRAMMAR] = "grammar",
};

int generated_open(struct generated *g, weft_engine *engine, const struct options *o)
{
    weft_error err = { 0 };
    weft_sampling sampling = options_sampling(o);
    weft_status status = weft_seq_open(engine, &sampling, &g->seq, &err);
    if (status == WEFT_OK && o->n_stops > 0) {
        status = weft_seq_set_stops(g->seq, o->stops, o->n_stops, &err);
    }
    if (status == WEFT_OK && o->logprobs >= 0) {
        status = weft_seq_set_logprobs(g->seq, (int)o->logprobs, &err);
    }
    return status == WEFT_OK ? constrain(g->seq, o) : term_status(status, &err);
}

void generated_free(struct generated *g)
{
    weft_seq_release(&g->seq);
    bytes_free(&g->text);
    bytes_free(&g->logprobs);
    free(g->ids.at);
    *g = (struct generated){ 0 };
}

void generated_clear(struct generated *g)
{
    g->text.n = 0;
    g->logprobs.n = 0;
    g->ids.n = 0;
    g->end = TEXT_RUNNING;
}

static int no_memory(void) { return term_fail(EXIT_MEMORY, "not enough memory for the text"); }

/* Moves the text that the sequence has ready to g->text. */
static int take_text(struct generated *g)
{
    weft_error err = { 0 };
    size_t n = 0;
    weft_status status = weft_seq_text(g->seq, NULL, 0, &n, &err);
    if (status == WEFT_OK || n == 0) {
        return status == WEFT_OK ? EXIT_OK : term_status(status, &err);
    }
    if (!text_reserve(&g->text, n)) {
        return no_memory();
    }
    status = weft_seq_text(g->seq, g->text.data + g->text.n, n, &n, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    g->text.n += n;
    return EXIT_OK;
}

/* Adds the text of a control token, which the sequence leaves out. */
static int take_special(struct generated *g, const weft_model *model, int32_t token)
{
    size_t plain = 0;
    weft_status status = weft_detokenize(model, &token, 1, 0, NULL, 0, &plain, NULL);
    if (status != WEFT_OK || plain > 0) {
        return EXIT_OK;
    }
    return session_detokenize(model, &token, 1, WEFT_DETOKENIZE_SPECIAL, &g->text);
}

/* Ends a text that the model has not ended: bytes that were held back, as the possible start of a
 * stop string or character, come out. */
static int take_tail(struct generated *g)
{
    weft_error err = { 0 };
    weft_status status = weft_seq_end(g->seq, &err);
    return status == WEFT_OK ? take_text(g) : term_status(status, &err);
}

/* Records everything that is kept of a token just drawn; -1 means that the grammar allows none. */
static int record(struct generated *g, const struct generate_params *p, int32_t token)
{
    if (token < 0) {
        return take_text(g);
    }
    if (!ids_add(&g->ids, token)) {
        return no_memory();
    }
    int code = take_text(g);
    if (code == EXIT_OK && p->log != NULL) {
        code = logits_log_write(p->log, g->number, g->ids.n - 1);
    }
    if (code == EXIT_OK && p->logprobs) {
        code = logprobs_line(p->model, g->seq, g->number, g->ids.n - 1, &g->logprobs);
    }
    if (code == EXIT_OK && p->special) {
        code = take_special(g, p->model, token);
    }
    return code;
}

/* Draws the next token of a text that has logits, or ends the text. */
static int draw(struct generated *g, const struct generate_params *p)
{
    weft_error err = { 0 };
    int32_t token;
    if (p->limit < 0 || g->ids.n < (size_t)p->limit) {
        int code = p->log != NULL ? logits_log_take(p->log, g->seq) : EXIT_OK;
        if (code != EXIT_OK) {
            return code;
        }
        weft_status status = weft_seq_next(g->seq, &token, &err);
        if (status == WEFT_E_CANCELLED) {
            return EXIT_OK; /* after Ctrl-C, which the loop sees too */
        }
        if (status != WEFT_OK) {
            return term_status(status, &err);
        }
        code = record(g, p, token);
        if (code != EXIT_OK) {
            return code;
        }
    }
    switch (weft_seq_finish(g->seq)) {
    case WEFT_FINISH_END: g->end = TEXT_END; break;
    case WEFT_FINISH_STOP: g->end = TEXT_STOP; break;
    case WEFT_FINISH_LENGTH: g->end = TEXT_LENGTH; break;
    case WEFT_FINISH_GRAMMAR: g->end = TEXT_GRAMMAR; break;
    case WEFT_RUNNING:
        if (p->limit >= 0 && g->ids.n >= (size_t)p->limit) {
            g->end = TEXT_LIMIT;
        }
        break;
    }
    return EXIT_OK;
}

/* Runs one step and then draws one token for every text that is ready. *waiting = the tokens that
 * are not computed yet. */
static int step(weft_engine *engine, struct generated *texts, size_t n,
                const struct generate_params *p, size_t *waiting)
{
    weft_error err = { 0 };
    weft_status status = weft_engine_step(engine, NULL, &err);
    if (status != WEFT_OK) {
        return term_status(status, &err);
    }
    *waiting = 0;
    for (size_t i = 0; i < n; i++) {
        *waiting += texts[i].end == TEXT_RUNNING ? weft_seq_pending(texts[i].seq) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (texts[i].end == TEXT_RUNNING && weft_seq_pending(texts[i].seq) == 0) {
            int code = draw(&texts[i], p);
            if (code != EXIT_OK) {
                return code;
            }
        }
    }
    return EXIT_OK;
}

static bool any_running(const struct generated *texts, size_t n)
{
    bool running = false;
    for (size_t i = 0; i < n; i++) {
        running |= texts[i].end == TEXT_RUNNING;
    }
    return running;
}

static size_t count_drawn(const struct generated *texts, size_t n)
{
    size_t drawn = 0;
    for (size_t i = 0; i < n; i++) {
        drawn += texts[i].ids.n;
    }
    return drawn;
}

/* Ends the texts that the model has not ended, and shows the bytes that they held back. */
static int end_running(struct generated *texts, size_t n, enum text_end why)
{
    int code = EXIT_OK;
    for (size_t i = 0; i < n; i++) {
        texts[i].end = texts[i].end == TEXT_RUNNING ? why : texts[i].end;
        /* A sequence that drew nothing has nothing to show, and other texts may be forked from
         * it. */
        if (texts[i].end >= TEXT_LIMIT && texts[i].ids.n > 0) {
            int failed = take_tail(&texts[i]);
            code = code == EXIT_OK ? failed : code;
        }
    }
    return code;
}

struct group {
    const struct generated *texts;
    size_t n;
};

/* Runs in the signal handler and lets a step end early. */
static void cancel_group(void *arg)
{
    const struct group *group = arg;
    for (size_t i = 0; i < group->n; i++) {
        weft_seq_cancel(group->texts[i].seq);
    }
}

/* A call that appends nothing reports a cancel that no call has reported yet, and so clears it. */
static void clear_cancel(const struct group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        (void)weft_seq_append(group->texts[i].seq, NULL, 0, NULL);
    }
}

int generate(weft_engine *engine, struct generated *texts, size_t n,
             const struct generate_params *p, struct figures *f)
{
    size_t n_prompt = 0, waiting = 0, shown = 0;
    double start = term_seconds(), prefilled = 0, first = 0, now = start;
    int code = EXIT_OK;
    for (size_t i = 0; i < n; i++) {
        waiting += weft_seq_pending(texts[i].seq);
    }
    n_prompt = waiting;
    prefilled = waiting == 0 ? start : 0;
    struct group group = { texts, n };
    term_interrupt_hook(cancel_group, &group);
    while (code == EXIT_OK && any_running(texts, n) && !term_interrupted()) {
        if (prefilled == 0) {
            term_progress("prompt: %zu of %zu tokens", n_prompt - waiting, n_prompt);
        }
        code = step(engine, texts, n, p, &waiting);
        now = term_seconds();
        if (prefilled == 0 && waiting == 0) {
            prefilled = now;
            term_progress_clear();
        }
        first = first == 0 && count_drawn(texts, n) > 0 ? now : first;
        if (code == EXIT_OK && p->stream && texts[0].text.n > shown) {
            code = io_write(texts[0].text.data + shown, texts[0].text.n - shown);
            shown = texts[0].text.n;
        }
    }
    term_interrupt_hook(NULL, NULL);
    clear_cancel(&group);
    term_progress_clear();
    int tail = end_running(texts, n, code == EXIT_OK ? TEXT_INTERRUPTED : TEXT_FAILED);
    if (code == EXIT_OK && p->stream && texts[0].text.n > shown) {
        code = io_write(texts[0].text.data + shown, texts[0].text.n - shown);
    }
    size_t drawn = count_drawn(texts, n);
    /* An interrupted prompt counts as far as it was computed. After the prompt, every waiting token
     * is one that was drawn. */
    f->n_prompt += prefilled > 0 ? n_prompt : n_prompt - waiting;
    f->n_generated += drawn;
    f->prefill_s += (prefilled > 0 ? prefilled : now) - start;
    if (first > 0) {
        f->n_first += size_min(drawn, n);
        f->first_s = f->first_s > 0 ? f->first_s : first - f->started;
        f->decode_s += now - first;
    }
    return code != EXIT_OK ? code : tail;
}

uint32_t ids_hash(uint32_t hash, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)ids[i];
        for (int byte = 0; byte < 4; byte++) {
            hash = (hash ^ (id >> (8 * byte) & 0xff)) * 0x01000193u;
        }
    }
    return hash;
}

/* Formats tokens per second; the text is a dash if there are no tokens or no time. */
static const char *rate(char *dst, size_t cap, size_t n, double seconds)
{
    if (n == 0 || seconds <= 0) {
        return "-";
    }
    snprintf(dst, cap, "%.1f", (double)n / seconds);
    return dst;
}

void figures_print(const struct figures *f, const struct options *o, const char *end, uint32_t hash)
{
    char state[40] = "", first[32] = "-", prefill[32], decode[32], sampling[160];
    options_followed(o, sampling, sizeof sampling);
    if (f->n_state > 0) {
        snprintf(state, sizeof state, "%zu state + ", f->n_state);
    }
    if (f->n_generated > 0) {
        snprintf(first, sizeof first, "%.1f", f->first_s * 1e3);
    }
    term_note("weft: %s%zu prompt + %zu generated tokens; first token %s ms; prefill %s tok/s; "
              "decode %s tok/s; %" PRIu64 " MiB peak; %s%sseed %" PRIu64 "; %s; ids #%08" PRIx32,
              state, f->n_prompt, f->n_generated, first,
              rate(prefill, sizeof prefill, f->n_prompt, f->prefill_s),
              rate(decode, sizeof decode, f->n_generated - f->n_first, f->decode_s),
              (term_peak_bytes() + (1u << 19)) >> 20, sampling,
              sampling[0] != '\0' ? " as the file recommends; " : "", o->seed, end, hash);
}
