/* Hours in small: thousands of generations in one engine, and of engines opened and closed, with
 * random sizes, forks, rewinds, cancels, releases, saved states and grammars. Three things must
 * hold: a text that is generated again has the ids that it had the first time, whatever ran beside
 * it; all KV pages come back; resident memory stays where it was after the first tenth.
 *
 *   soak [SECONDS [GENERATIONS [CYCLES]]]
 *
 * It ends when all three are reached. It prints a line now and then, and what was wrong. */
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "synth/synth.h"
#include "weft.h"

enum { N_MODELS = 4, N_TEXTS = 40, N_SLOTS = 16, MAX_PROMPT = 120, MAX_NEW = 40 };

static const char *const presets[N_MODELS] = { "tiny-qwen2", "tiny-qwen3", "tiny-phi3",
                                               "tiny-llama" };
static char paths[N_MODELS][64], state_path[64];
static uint64_t state = 1;
static size_t n_forks, n_rewinds, n_cancels, n_abandoned, n_saves, n_loads, n_grammars;
/* How many texts had the same ids again, and how often all pages were free. */
static size_t n_repeated, n_returned;

/* Words and numbers without an end, so that every length can be drawn. */
static const char grammar[] = "root ::= (word | number) (\" \" (word | number))*\n"
                              "word ::= [a-z] [a-z]*\nnumber ::= \"-\"? [0-9] [0-9]*\n";

/* A text to generate, and the ids that came the first time. */
struct text {
    size_t n_prompt, n_new;
    uint64_t seed;
    bool greedy, grammar, known;
    uint32_t hash;
};

struct slot {
    weft_seq *seq; /* NULL = free */
    struct text *text;
    size_t n_new;
    uint32_t hash;
};

static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("soak: ", stdout);
    vprintf(fmt, ap);
    putchar('\n');
    exit(1);
}

static weft_error err;
static void ok(weft_status status, const char *call)
{
    if (status != WEFT_OK) {
        die("%s: %s: %s", call, weft_status_name(status), err.message);
    }
}
#define OK(call) ok(call, #call)

/* Returns the bytes of this process in memory. Memory that the allocator merely keeps is given back
 * first: it is no leak. */
static size_t resident(void)
{
    long pages = 0;
    malloc_trim(0);
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1) {
        die("/proc/self/statm cannot be read");
    }
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* --- one engine, many texts --- */

static void token_of(const struct text *t, size_t i, size_t n_vocab, int32_t *token)
{
    uint64_t x = (t->seed * 1000003 + i + 1) * 0x9e3779b97f4a7c15u;
    *token = (int32_t)((x >> 20) % n_vocab);
}

/* Opens an empty sequence with the sampling and the grammar of this text. */
static weft_seq *seq_for(weft_engine *e, const struct text *t)
{
    weft_seq *seq = NULL;
    weft_sampling p = WEFT_SAMPLING_INIT;
    p.temperature = t->greedy ? 0 : 0.9f;
    p.seed = t->seed;
    p.ignore_end = true;
    OK(weft_seq_open(e, &p, &seq, &err));
    if (t->grammar) {
        OK(weft_seq_set_grammar(seq, grammar, sizeof grammar - 1, &err));
    }
    return seq;
}

static void begin(weft_engine *e, size_t n_vocab, struct slot *s, struct text *t)
{
    int32_t tokens[MAX_PROMPT];
    *s = (struct slot){ .seq = seq_for(e, t), .text = t, .hash = 0x811c9dc5u };
    for (size_t i = 0; i < t->n_prompt; i++) {
        token_of(t, i, n_vocab, &tokens[i]);
    }
    weft_status status = weft_seq_append(s->seq, tokens, t->n_prompt, &err);
    /* Other sequences hold the pages, so the text has to wait. */
    if (status == WEFT_E_KV_FULL) {
        weft_seq_release(&s->seq);
    } else {
        OK(status);
    }
}

static size_t end(struct slot *s)
{
    struct text *t = s->text;
    if (t->known && t->hash != s->hash) {
        die("a text of %zu + %zu tokens, seed %" PRIu64 ": ids #%08x, the first time #%08x",
            t->n_prompt, t->n_new, t->seed, s->hash, t->hash);
    }
    n_repeated += t->known;
    n_grammars += t->grammar;
    t->known = true;
    t->hash = s->hash;
    weft_seq_release(&s->seq);
    return 1;
}

/* Goes back to a random place and appends again the tokens that stood behind it. */
static void retrace(struct slot *s)
{
    int32_t tokens[MAX_PROMPT + MAX_NEW];
    size_t n, keep;
    OK(weft_seq_tokens(s->seq, tokens, MAX_PROMPT + MAX_NEW, &n, &err));
    keep = below((uint32_t)n + 1);
    weft_status status = weft_seq_rewind(s->seq, keep, &err);
    if (status == WEFT_OK) {
        status = weft_seq_append(s->seq, tokens + keep, n - keep, &err);
        n_rewinds++;
    }
    if (status == WEFT_E_KV_FULL) {
        n_abandoned++;
        weft_seq_release(&s->seq);
    } else {
        OK(status);
    }
}

/* Loads the state of `from` into `to`, through memory or a file. Returns false if the pool is
 * full. */
static bool carry(weft_seq *from, weft_seq *to)
{
    weft_status status;
    if (below(8) == 0) {
        OK(weft_seq_save_file(from, state_path, &err));
        status = weft_seq_load_file(to, state_path, &err);
    } else {
        size_t n = 0;
        /* Asks for the size. */
        (void)weft_seq_save(from, NULL, 0, &n, NULL);
        void *data = malloc(n);
        if (data == NULL) {
            die("no memory for a state of %zu bytes", n);
        }
        OK(weft_seq_save(from, data, n, &n, &err));
        status = weft_seq_load(to, data, n, &err);
        free(data);
    }
    n_saves++;
    if (status == WEFT_E_KV_FULL) {
        return false;
    }
    OK(status);
    n_loads++;
    return true;
}

/* Returns true if nothing was drawn with random numbers or a grammar. Loading a state restarts
 * both, so a text that has used them would change. */
static bool restarts(const struct slot *s)
{
    return s->n_new == 0 || (s->text->greedy && !s->text->grammar);
}

/* Loads the state of the sequence into itself, or into another sequence that takes its place. */
static void reload(weft_engine *e, struct slot *s)
{
    if (below(2) == 0) {
        (void)carry(s->seq, s->seq);
        return;
    }
    weft_seq *other = seq_for(e, s->text);
    if (carry(s->seq, other)) {
        weft_seq *old = s->seq;
        s->seq = other;
        other = old;
    }
    weft_seq_release(&other);
}

/* Does something to a sequence that must not change its ids. */
static void disturb(weft_engine *e, struct slot *s)
{
    weft_seq *copy = NULL;
    switch (below(24)) {
    /* The copy takes the place of the sequence. */
    case 0: {
        weft_status status = weft_seq_fork(s->seq, &copy, &err);
        if (status == WEFT_OK) {
            n_forks++;
            weft_seq_release(&s->seq);
            s->seq = copy;
        } else if (status != WEFT_E_KV_FULL) {
            OK(status);
        }
        break;
    }
    case 1:
        /* A grammar begins behind the appended tokens. */
        if (!s->text->grammar || s->n_new == 0) {
            retrace(s);
        }
        break;
    case 2:
        weft_seq_cancel(s->seq);
        n_cancels++;
        break;
    case 3:
        if (below(8) == 0) {
            n_abandoned++;
            weft_seq_release(&s->seq);
        }
        break;
    case 4:
        if (restarts(s)) {
            reload(e, s);
        }
        break;
    default: break;
    }
}

/* Draws the tokens that are ready. Returns the number of texts that ended. */
static size_t draw(struct slot *s)
{
    int32_t token;
    char text[256];
    size_t n;
    if (weft_seq_pending(s->seq) > 0) {
        (void)weft_seq_append(s->seq, NULL, 0, NULL); /* clears a cancel */
        return 0;
    }
    weft_status status = weft_seq_next(s->seq, &token, &err);
    if (status == WEFT_E_CANCELLED || status == WEFT_E_STATE) {
        /* The cancel is reported once; or the sequence was rewound just now. */
        return 0;
    }
    if (status == WEFT_E_KV_FULL) {
        n_abandoned++;
        weft_seq_release(&s->seq);
        return 0;
    }
    OK(status);
    if (token < 0) {
        die("the grammar allows nothing behind %zu tokens of seed %" PRIu64, s->n_new,
            s->text->seed);
    }
    s->hash = (s->hash ^ (uint32_t)token) * 0x01000193u;
    status = weft_seq_text(s->seq, text, sizeof text, &n, &err);
    if (status != WEFT_E_BUFFER) {
        OK(status);
    }
    return ++s->n_new == s->text->n_new ? end(s) : 0;
}

static size_t some_generations(weft_engine *e, size_t n_vocab, struct text *texts, size_t n)
{
    struct slot slots[N_SLOTS] = { { 0 } };
    size_t n_ended = 0, n_running = 1;
    while (n_ended < n || n_running > 0) {
        n_running = 0;
        for (size_t i = 0; i < N_SLOTS; i++) {
            if (slots[i].seq == NULL && n_ended < n && below(4) == 0) {
                begin(e, n_vocab, &slots[i], &texts[below(N_TEXTS)]);
            }
            if (slots[i].seq != NULL) {
                disturb(e, &slots[i]);
            }
        }
        OK(weft_engine_step(e, NULL, &err));
        for (size_t i = 0; i < N_SLOTS; i++) {
            n_ended += slots[i].seq != NULL ? draw(&slots[i]) : 0;
            n_running += slots[i].seq != NULL;
        }
    }
    weft_engine_info info = { .size = sizeof info };
    OK(weft_engine_get_info(e, &info, &err));
    if (info.n_seqs != 0 || info.n_kv_free != info.n_kv) {
        die("%zu sequences and %zu of %zu positions are left", info.n_seqs,
            info.n_kv - info.n_kv_free, info.n_kv);
    }
    n_returned++;
    return n_ended;
}

/* --- many engines --- */

static void cycle(struct text *t)
{
    weft_model *m = NULL;
    weft_engine *e[2] = { NULL, NULL };
    struct slot s;
    weft_model_info info = { .size = sizeof info };
    uint32_t which = below(N_MODELS);
    size_t done = 0;
    OK(weft_model_open(paths[which], NULL, &m, &err));
    OK(weft_model_get_info(m, &info, &err));
    for (size_t i = 0; i < 2; i++) {
        const weft_engine_params p = { .size = sizeof p,
                                       .device = "cpu",
                                       .n_ctx = MAX_PROMPT + MAX_NEW + below(90),
                                       .n_batch = 1 + below(300),
                                       .n_threads = 1 + below(3) };
        OK(weft_engine_open(m, &p, &e[i], &err));
    }
    begin(e[0], info.n_vocab, &s, &t[which]);
    if (below(2) == 0) {
        weft_model_release(&m); /* the engine keeps what it needs */
    }
    if (below(2) == 0) { /* the other engine goes on */
        weft_seq *other = seq_for(e[1], s.text);
        OK(weft_engine_step(e[0], NULL, &err));
        (void)carry(s.seq, other);
        weft_seq_release(&s.seq);
        weft_engine_release(&e[0]);
        s.seq = other;
        e[0] = e[1];
        e[1] = NULL;
    }
    weft_engine *runs = e[0];
    weft_engine_release(&e[1]);
    while (done == 0) {
        OK(weft_engine_step(runs, NULL, &err));
        if (weft_seq_pending(s.seq) == 0 && s.n_new + 1 == s.text->n_new) {
            weft_engine_release(&e[0]); /* the sequence keeps what it needs */
        }
        done = draw(&s);
    }
    weft_engine_release(&e[0]);
    weft_model_release(&m);
}

/* --- all --- */

static void make_models(const char *dir)
{
    snprintf(state_path, sizeof state_path, "%.40s/state", dir);
    for (size_t i = 0; i < N_MODELS; i++) {
        struct synth_spec spec;
        snprintf(paths[i], sizeof paths[i], "%.40s/%s.gguf", dir, presets[i]);
        if (!synth_preset(presets[i], &spec)) {
            die("no preset %s", presets[i]);
        }
        OK(synth_write(&spec, paths[i], &err));
    }
}

static void make_texts(struct text *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        t[i] = (struct text){ .n_prompt = 1 + below(MAX_PROMPT),
                              .n_new = 1 + below(MAX_NEW),
                              .seed = i,
                              .greedy = below(2) == 0,
                              .grammar = i % 4 == 3 };
    }
}

struct goal {
    double seconds;
    size_t generations, cycles;
};

struct done {
    double start, shown;
    size_t n, n_cycles;
    /* Resident memory: now, the most in the first tenth, and the most after it. */
    size_t now, first, most;
};

/* Returns how much of the goal is reached: of the time, the generations or the cycles, whichever is
 * furthest behind. */
static double reached(const struct goal *goal, const struct done *d)
{
    double of_all = (seconds() - d->start) / goal->seconds;
    double n = (double)d->n / (double)goal->generations;
    double n_cycles = (double)d->n_cycles / (double)goal->cycles;
    of_all = n < of_all ? n : of_all;
    return n_cycles < of_all ? n_cycles : of_all;
}

static void measure(const struct goal *goal, struct done *d)
{
    d->now = resident();
    /* The first tenth fills what is filled only once: tables, stacks of threads. */
    if (d->n_cycles < 100 || reached(goal, d) < 0.1) {
        d->first = d->now > d->first ? d->now : d->first;
    } else {
        d->most = d->now > d->most ? d->now : d->most;
    }
    if (seconds() - d->shown > 30) {
        d->shown = seconds();
        printf("%zu generations, %zu cycles, %.1f MiB resident\n", d->n, d->n_cycles,
               (double)d->now / 1048576.0);
        fflush(stdout);
    }
}

static void sum_up(const struct done *d)
{
    double grown = d->most > d->first ? (double)(d->most - d->first) / 1048576.0 : 0;
    printf("soak: %zu generations, %zu cycles of opening and closing, %zu forks, %zu rewinds, %zu "
           "cancels, %zu saves, %zu loads, %zu abandoned, %.0f s\n",
           d->n, d->n_cycles, n_forks, n_rewinds, n_cancels, n_saves, n_loads, n_abandoned,
           seconds() - d->start);
    printf("soak: %zu texts written again, %zu of all with a grammar: the ids of the first time; "
           "all pages free %zu times of %zu\n",
           n_repeated, n_grammars, n_returned, n_returned);
    printf("soak: resident memory at most %.2f MiB in the first tenth",
           (double)d->first / 1048576.0);
    if (d->most > 0) {
        printf(", %.2f MiB behind it: %.2f MiB more", (double)d->most / 1048576.0, grown);
    }
    putchar('\n');
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    /* Sanitizers keep freed memory for a while; AddressSanitizer looks for leaks itself. */
    grown = 0;
#endif
    if (grown > 1) {
        die("resident memory has grown by %.2f MiB, expected at most 1", grown);
    }
}

static void soak(const struct goal *goal)
{
    weft_model *m = NULL;
    weft_engine *e = NULL;
    struct text texts[N_TEXTS], of_cycles[N_MODELS];
    struct done d = { .start = seconds() };
    weft_model_info info = { .size = sizeof info };
    /* The pool is too small for all slots, so that it is full now and then. */
    const weft_engine_params p = {
        .size = sizeof p, .device = "cpu", .n_ctx = 256, .n_kv = 1024, .n_batch = 96, .n_threads = 2
    };
    d.shown = d.start;
    make_texts(texts, N_TEXTS);
    make_texts(of_cycles, N_MODELS);
    OK(weft_model_open(paths[0], NULL, &m, &err));
    OK(weft_model_get_info(m, &info, &err));
    OK(weft_engine_open(m, &p, &e, &err));
    while (reached(goal, &d) < 1) {
        d.n += some_generations(e, info.n_vocab, texts, 50);
        for (size_t i = 0; i < 5; i++, d.n_cycles++) {
            cycle(of_cycles);
        }
        measure(goal, &d);
    }
    weft_engine_release(&e);
    weft_model_release(&m);
    sum_up(&d);
}

int main(int argc, char **argv)
{
    const struct goal goal = { .seconds = argc > 1 ? atof(argv[1]) : 600,
                               .generations = argc > 2 ? (size_t)atol(argv[2]) : 10000,
                               .cycles = argc > 3 ? (size_t)atol(argv[3]) : 1000 };
    char dir[] = "/tmp/weft-soak-XXXXXX";
    if (mkdtemp(dir) == NULL) {
        die("no directory for the models");
    }
    make_models(dir);
    soak(&goal);
    for (size_t i = 0; i < N_MODELS; i++) {
        unlink(paths[i]);
    }
    unlink(state_path);
    rmdir(dir);
    return 0;
}
