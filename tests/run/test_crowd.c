/* A crowd on one engine: eight threads open, append, set memory aside, draw, fork, cancel, rewind
 * and release sequences of their own, while one thread waits for rows and steps. Whatever the
 * others do, a sequence draws what it draws alone. Run for longer under ThreadSanitizer: test_crowd
 * SECONDS.
 *
 * Mistakes tried by hand, each of them found: a draw from all logits that reads them where the next
 * step writes, without a copy; a step that copies the logits of a sequence that is being drawn
 * from; pages of the token being drawn given back when another thread finds the pool full; a bell
 * that is rung before the tokens are there. Threads only count what they see; the test's own thread
 * judges after they have ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/models.h"
#include "support/rig.h"

enum { N_THREADS = 8, N_STORIES = 10, N_NEW = 24, MAX_PROMPT = 140 };

static double seconds; /* the time that each test takes */

/* A prompt, the way in which its text goes on, and the ids that a sequence draws alone. */
struct story {
    weft_sampling sampling;
    const char *grammar; /* NULL = none */
    const char *trigger; /* the grammar holds from this text on; NULL = from the beginning on */
    bool logprobs;
    int32_t prompt[MAX_PROMPT];
    size_t n;
    int32_t ids[N_NEW];
};

struct crowd {
    struct rig r;
    struct story stories[N_STORIES];
    atomic_bool over;
    atomic_size_t n_inside; /* threads that still want steps */
};

/* What a thread has seen. */
struct member {
    struct crowd *crowd;
    uint64_t random;
    size_t n_wrong; /* ids that differ from those of the story */
    size_t n_drawn, n_forks, n_cancels, n_full, n_failed;
    weft_error first; /* the first unexpected error */
};

/* ---------------------------------------------------------------- one sequence */

static bool dice(struct member *m, uint32_t n) { return rig_random(&m->random, n) == 0; }

/* Counts an unexpected error. Returns true if the call worked. */
static bool good(struct member *m, weft_status status, const weft_error *err)
{
    if (status == WEFT_OK) {
        return true;
    }
    if (status == WEFT_E_KV_FULL) {
        m->n_full++;
        return false;
    }
    if (m->n_failed++ == 0) {
        m->first = *err;
    }
    return false;
}

/* Draws the i-th id of the story, as soon as the sequence is ready for it. */
static bool draw(struct member *m, weft_seq *seq, const struct story *story, size_t i)
{
    weft_error err = { 0 };
    int32_t token = -1;
    weft_status status;
    do {
        status = weft_seq_next(seq, &token, &err);
        m->n_cancels += status == WEFT_E_CANCELLED;
        sched_yield();
    } while (status == WEFT_E_CANCELLED ||
             (status == WEFT_E_STATE && weft_seq_finish(seq) == WEFT_RUNNING));
    if (!good(m, status, &err)) {
        return false;
    }
    m->n_drawn++;
    m->n_wrong += token != story->ids[i];
    return true;
}

/* Does something to a sequence of which i ids were drawn, that must not change its ids. */
static void disturb(struct member *m, weft_seq *seq, size_t i)
{
    weft_error err = { 0 };
    weft_engine_stats stats = { .size = sizeof stats };
    char text[256];
    size_t n;
    switch (rig_random(&m->random, 6)) {
    case 0: weft_seq_cancel(seq); break;
    case 1: good(m, weft_engine_get_stats(m->crowd->r.engine, &stats, &err), &err); break;
    case 2: good(m, weft_seq_text(seq, text, sizeof text, &n, &err), &err); break;
    case 3: good(m, weft_seq_reserve(seq, N_NEW - i, &err), &err); break;
    case 4: weft_engine_wake(m->crowd->r.engine); break;
    default: break;
    }
}

static void tell(struct member *m, weft_seq *seq, const struct story *story, size_t from);

/* Forks the sequence. The fork goes on as the sequence would; the sequence ends here or goes on as
 * well. */
static void branch(struct member *m, weft_seq *seq, const struct story *story, size_t from)
{
    weft_error err = { 0 };
    weft_seq *copy = NULL;
    weft_status status = weft_seq_fork(seq, &copy, &err);
    if (good(m, status, &err)) {
        m->n_forks++;
        tell(m, copy, story, from);
        weft_seq_release(&copy);
    }
}

/* Draws the ids of the story, from this one on. */
static void tell(struct member *m, weft_seq *seq, const struct story *story, size_t from)
{
    for (size_t i = from; i < N_NEW; i++) {
        if (!draw(m, seq, story, i) || dice(m, 40)) {
            return;
        }
        if (dice(m, 6)) {
            disturb(m, seq, i + 1);
        }
        if (dice(m, 30)) {
            branch(m, seq, story, i + 1);
        }
    }
}

static weft_status set_grammar(weft_seq *seq, const struct story *s, weft_error *err)
{
    const size_t n = s->grammar != NULL ? strlen(s->grammar) : 0;
    const weft_trigger t = { .size = sizeof t, .texts = &s->trigger, .n_texts = 1 };
    return s->trigger != NULL ? weft_seq_set_trigger(seq, &t, s->grammar, n, err)
                              : weft_seq_set_grammar(seq, s->grammar, n, err);
}

static void live(struct member *m)
{
    const struct story *story = &m->crowd->stories[rig_random(&m->random, N_STORIES)];
    weft_error err = { 0 };
    weft_seq *seq = NULL;
    bool ok = good(m, weft_seq_open(m->crowd->r.engine, &story->sampling, &seq, &err), &err);
    if (ok && story->grammar != NULL) {
        ok = good(m, set_grammar(seq, story, &err), &err);
    }
    if (ok && story->logprobs) {
        ok = good(m, weft_seq_set_logprobs(seq, 5, &err), &err);
    }
    if (ok && dice(m, 3)) {
        ok = good(m, weft_seq_reserve(seq, story->n + N_NEW, &err), &err);
    }
    if (ok && good(m, weft_seq_append(seq, story->prompt, story->n, &err), &err)) {
        tell(m, seq, story, 0);
    }
    weft_seq_release(&seq);
}

static void *member(void *arg)
{
    struct member *m = arg;
    while (!atomic_load(&m->crowd->over)) {
        live(m);
    }
    atomic_fetch_sub(&m->crowd->n_inside, 1);
    weft_engine_wake(m->crowd->r.engine);
    return NULL;
}

/* ---------------------------------------------------------------- the crowd */

static struct story story_of(struct crowd *c, size_t i)
{
    static const char *const grammars[] = { "root ::= [a-z ]*", "root ::= (\"a\" | [^b-y])*" };
    struct story s = { .sampling = WEFT_SAMPLING_INIT, .n = 3 + i * 15 };
    s.sampling.ignore_end = true;
    s.sampling.seed = 100 + i;
    s.sampling.temperature = i % 3 == 0 ? 0 : 0.9f;
    s.sampling.top_k = i % 2 == 0 ? 40 : 0;
    s.sampling.repeat_penalty = i % 4 == 1 ? 1.2f : 1;
    s.grammar = i % 5 == 4 ? grammars[i / 5] : i == 1 || i == 6 ? grammars[0] : NULL;
    s.trigger = i == 1 ? "e" : i == 6 ? "no such text" : NULL;
    s.logprobs = i == 7;
    /* Stories 2 k and 2 k + 1 begin alike. */
    rig_tokens(&c->r, i / 2, s.prompt, s.n);
    return s;
}

/* Draws the ids of a story in an engine that does nothing else. */
static void write_down(const struct rig *alone, struct story *s)
{
    weft_seq *seq = rig_seq(alone, &s->sampling);
    if (s->grammar != NULL) {
        OK(set_grammar(seq, s, E));
    }
    OK(weft_seq_append(seq, s->prompt, s->n, E));
    for (size_t i = 0; i < N_NEW; i++) {
        rig_compute(alone, seq);
        OK(weft_seq_next(seq, &s->ids[i], E));
        assert_true(s->ids[i] >= 0);
    }
    weft_seq_release(&seq);
}

/* Steps whenever there is something to do, until all threads have left. Returns the number of
 * steps. */
static size_t step_all(struct crowd *c)
{
    size_t n_steps = 0;
    while (atomic_load(&c->n_inside) > 0) {
        bool ready = false;
        OK(weft_engine_wait(c->r.engine, 1000, &ready, E));
        if (ready) {
            OK(weft_engine_step(c->r.engine, NULL, E));
            n_steps++;
        }
    }
    return n_steps;
}

static void *keep_time(void *arg)
{
    struct crowd *c = arg;
    const struct timespec t = { .tv_sec = (time_t)seconds,
                                .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&t, NULL);
    atomic_store(&c->over, true);
    return NULL;
}

static void run_crowd(const char *file, size_t n_kv)
{
    static struct crowd c;
    const weft_engine_params p = {
        .size = sizeof p, .n_ctx = 256, .n_kv = n_kv, .n_threads = 2, .device = "cpu"
    };
    memset(&c, 0, sizeof c);
    c.r = rig_open_as(file, &p);
    struct rig alone = rig_open(file, NULL);
    for (size_t i = 0; i < N_STORIES; i++) {
        c.stories[i] = story_of(&c, i);
        write_down(&alone, &c.stories[i]);
    }
    rig_close(&alone);
    static struct member members[N_THREADS];
    pthread_t threads[N_THREADS], clock;
    atomic_store(&c.n_inside, N_THREADS);
    for (size_t i = 0; i < N_THREADS; i++) {
        members[i] = (struct member){ .crowd = &c, .random = 1000 + i };
        assert_int_equal(pthread_create(&threads[i], NULL, member, &members[i]), 0);
    }
    assert_int_equal(pthread_create(&clock, NULL, keep_time, &c), 0);
    size_t n_steps = step_all(&c), n_drawn = 0, n_forks = 0, n_cancels = 0, n_full = 0;
    assert_int_equal(pthread_join(clock, NULL), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        const struct member *m = &members[i];
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (m->n_failed > 0) {
            fail_msg("%zu calls failed, the first one: %s", m->n_failed, m->first.message);
        }
        assert_int_equal(m->n_wrong, 0);
        assert_true(m->n_drawn > 0);
        n_drawn += m->n_drawn;
        n_forks += m->n_forks;
        n_cancels += m->n_cancels;
        n_full += m->n_full;
    }
    print_message("%zu steps, %zu ids, %zu forks, %zu cancels, pool full %zu times\n", n_steps,
                  n_drawn, n_forks, n_cancels, n_full);
    assert_true(n_forks > 0 && n_cancels > 0);
    weft_engine_stats stats = { .size = sizeof stats };
    OK(weft_engine_get_stats(c.r.engine, &stats, E));
    assert_int_equal(stats.n_cancelled, n_cancels);
    assert_int_equal(stats.n_kv_full, n_full);
    rig_close(&c.r);
}

static void test_room_for_all(void **state)
{
    (void)state;
    run_crowd(model_file("tiny-qwen2"), N_THREADS * 8 * 256);
}

/* The pool is so small that it is full again and again. */
static void test_small_pool(void **state)
{
    (void)state;
    run_crowd(model_file("tiny-qwen2"), 14 * 64);
}

/* Sequences cross the length at which their RoPE factors change. */
static void test_rope_border(void **state)
{
    (void)state;
    run_crowd(model_file_long(75), N_THREADS * 2 * 256);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room_for_all),
        cmocka_unit_test(test_small_pool),
        cmocka_unit_test(test_rope_border),
    };
    seconds = argc > 1 ? strtod(argv[1], NULL) / 3 : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
