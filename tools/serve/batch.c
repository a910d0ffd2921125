/* A loop around poll(): it reads lines while the core has room for them, and lets the core call the
 * sinks, which write. A second helping of requests waits in the core, so that a place that becomes
 * free is taken at once. */
#include "serve/batch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/lines.h"

enum { HELPINGS = 2, POLL_MS = 200 };

struct batch;

/* A request that the core has. */
struct item {
    struct batch *batch;
    struct batch_line line;
    struct job *job;
    struct item *previous, *next;
};

struct batch {
    const struct batch_params *p;
    struct batch_figures *figures;
    struct lines lines;
    struct item *items;
    bool loaded;
    bool exhausted; /* all lines were taken */
    bool broken;    /* the output cannot be written to */
    double began;
    enum batch_end end; /* BATCH_COMPLETE as long as nothing has ended it */
    int error;
};

static void end_with(struct batch *b, enum batch_end end, int error)
{
    if (b->end == BATCH_COMPLETE) {
        b->end = end;
        b->error = error;
    }
}

/* ---------------------------------------------------------------- writing */

/* Nothing follows a line that could not be written as a whole. */
static void write_all(struct batch *b, const char *data, size_t n)
{
    while (n > 0 && !b->broken) {
        const ssize_t done = write(b->p->output, data, n);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd output = { .fd = b->p->output, .events = POLLOUT };
            poll(&output, 1, POLL_MS);
        } else if (done < 0 && errno != EINTR) {
            b->broken = true;
            end_with(b, BATCH_WRITE, errno);
        }
        data += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
}

static void count(struct batch_figures *f, const struct outcome *outcome)
{
    f->n_answered++;
    f->n_failed += outcome == NULL || outcome->status != 200;
    if (outcome != NULL) {
        f->n_prompt += outcome->figures.n_prompt;
        f->n_cached += outcome->figures.n_cached;
        f->n_generated += outcome->figures.n_generated;
    }
}

/* Writes the line of an outcome; NULL = that of the line's own fault. */
static void answer(struct batch *b, const struct batch_line *line, const struct outcome *outcome)
{
    struct bytes out = { 0 };
    const bool ok =
        outcome != NULL ? batch_line_answer(line, outcome, &out) : batch_line_fault(line, &out);
    if (!ok) {
        end_with(b, BATCH_NO_MEMORY, 0);
    } else {
        write_all(b, out.data, out.n);
    }
    bytes_free(&out);
    if (ok && !b->broken) {
        count(b->figures, outcome);
    }
}

/* ---------------------------------------------------------------- requests */

static void item_free(struct item *item)
{
    struct batch *b = item->batch;
    *(item->previous != NULL ? &item->previous->next : &b->items) = item->next;
    if (item->next != NULL) {
        item->next->previous = item->previous;
    }
    b->figures->n_running--;
    batch_line_free(&item->line);
    free(item);
}

/* When the device has failed all requests fail, but an answer that says so would keep a later run
 * from trying again. */
static void on_end(void *user, const struct outcome *outcome)
{
    struct item *item = user;
    struct batch *b = item->batch;
    if (outcome->status != 200 && core_state(b->p->core) == CORE_LOST) {
        end_with(b, BATCH_LOST, 0);
    } else {
        answer(b, &item->line, outcome);
    }
    item_free(item);
}

/* No request asks for a stream. */
static void on_begin(void *user, int ping)
{
    (void)user;
    (void)ping;
}

static void on_event(void *user, const char *name, const char *data, size_t n)
{
    (void)user;
    (void)name;
    (void)data;
    (void)n;
}

static const struct sink sink = { on_begin, on_event, on_end };

/* Takes over *line. */
static void submit(struct batch *b, struct batch_line *line)
{
    char id[BATCH_ID_MAX];
    batch_line_id(line, id);
    struct item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        batch_line_free(line);
        end_with(b, BATCH_NO_MEMORY, 0);
        return;
    }
    *item = (struct item){ .batch = b, .line = *line, .next = b->items };
    if (b->items != NULL) {
        b->items->previous = item;
    }
    b->items = item;
    b->figures->n_running++;
    item->job = core_submit(b->p->core, &(struct job_params){ .route = line->route,
                                                              .body = line->body,
                                                              .n_body = strlen(line->body),
                                                              .id = id,
                                                              .key = "",
                                                              .sink = &sink,
                                                              .user = item });
    if (item->job == NULL) {
        item_free(item);
        end_with(b, BATCH_NO_MEMORY, 0);
        return;
    }
    /* The core has a copy. */
    free(item->line.body);
    item->line.body = NULL;
}

/* ---------------------------------------------------------------- reading */

static bool is_mine(const struct batch *b)
{
    return b->p->n_shards == 0 || (b->lines.number - 1) % b->p->n_shards == b->p->shard;
}

static bool is_empty(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (text[i] == ' ' || text[i] == '\t')) {
        i++;
    }
    return i == n;
}

static void take_line(struct batch *b, const char *text, size_t n, bool too_long)
{
    static const char mark[] = "\xef\xbb\xbf"; /* that some editors put before the text */
    struct batch_line line = { .number = b->lines.number };
    const size_t skip = line.number == 1 && n >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    if (!is_mine(b) || (!too_long && is_empty(text + skip, n - skip))) {
        return;
    }
    b->figures->n_lines++;
    if (too_long) {
        batch_line_refuse_long(&line);
    } else if (!batch_line_read(&line, text + skip, n - skip)) {
        batch_line_free(&line);
        end_with(b, BATCH_NO_MEMORY, 0);
        return;
    }
    if (b->p->done != NULL && batch_done_has(b->p->done, &line)) {
        b->figures->n_skipped++;
        batch_line_free(&line);
    } else if (line.code != NULL) {
        answer(b, &line, NULL);
        batch_line_free(&line);
    } else {
        submit(b, &line);
    }
}

static bool has_room(const struct batch *b)
{
    return b->loaded &&
           b->figures->n_running < HELPINGS * size_max(core_scope(b->p->core)->n_parallel, 1);
}

/* Takes the lines that were read already, as far as there is room. Returns true if more lines are
 * to be read. */
static bool take_lines(struct batch *b)
{
    const char *text = NULL;
    size_t n = 0;
    while (b->end == BATCH_COMPLETE && has_room(b)) {
        const enum lines_state state = lines_next(&b->lines, &text, &n);
        if (state == LINES_MORE || state == LINES_END) {
            b->exhausted = state == LINES_END;
            return !b->exhausted;
        }
        take_line(b, text, n, state == LINES_LONG);
        b->figures->n_read = b->lines.offset;
        if (b->p->stop(b->p->user)) {
            end_with(b, BATCH_STOPPED, 0);
        }
    }
    return false;
}

/* ---------------------------------------------------------------- the loop */

static void look_at_core(struct batch *b)
{
    const enum core_state state = core_state(b->p->core);
    if (state == CORE_FAILED) {
        end_with(b, BATCH_NO_MODEL, 0);
    } else if (state == CORE_LOST) {
        end_with(b, BATCH_LOST, 0);
    } else if (state == CORE_READY && !b->loaded) {
        b->loaded = true;
        b->began = figures_now();
    }
}

static void report(struct batch *b)
{
    if (b->loaded) {
        b->figures->seconds = figures_now() - b->began;
    }
    if (b->p->progress != NULL && b->loaded) {
        b->p->progress(b->p->user, b->figures);
    }
}

/* Sleeps until the core or the input has something, and takes it. */
static void wait(struct batch *b, bool reads)
{
    struct pollfd fds[] = { { .fd = core_fd(b->p->core), .events = POLLIN },
                            { .fd = reads ? b->p->input : -1, .events = POLLIN } };
    const int n = poll(fds, 2, POLL_MS);
    core_drain(b->p->core);
    if (n > 0 && fds[1].revents != 0 && b->end == BATCH_COMPLETE) {
        const int error = lines_fill(&b->lines);
        if (error != 0) {
            end_with(b, error == ENOMEM ? BATCH_NO_MEMORY : BATCH_READ, error);
        }
    }
}

static bool goes_on(const struct batch *b)
{
    return b->end == BATCH_COMPLETE && (b->items != NULL || !b->exhausted);
}

/* What is ready is written; all else is given up. */
static void give_up(struct batch *b)
{
    if (b->items != NULL) {
        core_drain(b->p->core);
    }
    while (b->items != NULL) {
        core_cancel(b->p->core, b->items->job, NULL);
        item_free(b->items);
    }
}

enum batch_end batch_run(const struct batch_params *params, struct batch_figures *figures,
                         int *error)
{
    struct batch b = { .p = params,
                       .figures = figures,
                       .lines = { .fd = params->input, .max = MAX_BODY } };
    memset(figures, 0, sizeof *figures);
    do {
        look_at_core(&b);
        const bool reads = take_lines(&b);
        if (params->stop(params->user)) {
            end_with(&b, BATCH_STOPPED, 0);
        }
        if (goes_on(&b)) {
            wait(&b, reads);
        }
        report(&b);
    } while (goes_on(&b));
    give_up(&b);
    lines_free(&b.lines);
    *error = b.error;
    return b.end;
}
