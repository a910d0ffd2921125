/* Every allocation of the program `weft` fails once. The whole program runs again and again in
 * processes of its own; the k-th allocation of the commands, of the library or of jansson fails,
 * for k = 1, 2, ... until a run gets through without reaching it. Each run must end by itself,
 * without a signal. It either says on standard error what it had no memory for, and returns the
 * exit code for that, or it writes what a run with enough memory writes. The program is linked with
 * --wrap for the allocator and for main(). Unless another sanitizer is used, it is also linked with
 * LeakSanitizer, which needs no other objects and costs little: a run that loses memory behind an
 * allocation that failed ends with an exit code of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/scratch.h"
#include "support/slowed.h"
#include "synth/synth.h"
#include "weft/term.h"

/* With the other sanitizers a run takes a second, so only each third allocation fails. Each command
 * has another third, because commands have most of their allocations in common: those of the
 * library. */
#if defined(SLOWED) && !defined(COUNTED)
enum { STEP = 3 };
#else
enum { STEP = 1 };
#endif

/* ---------------------------------------------------------------- the allocator */

static atomic_long countdown; /* the allocation that brings it to 0 fails */

static bool fails(void) { return atomic_fetch_sub(&countdown, 1) == 1; }

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
char *__real_strdup(const char *s);
int __real_main(int argc, char **argv); /* main() of the program */

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_main(void); /* main() of this test */

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }

void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }

void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, n);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t n)
{
    return fails() ? 12 /* ENOMEM */ : __real_posix_memalign(p, alignment, n);
}

char *__wrap_strdup(const char *s) { return fails() ? NULL : __real_strdup(s); }

/* ---------------------------------------------------------------- one run */

enum { MAX_ARGS = 24, MAX_TEXT = 1 << 20 };

static struct {
    char model[256], reranker[256], in[256], out[256], err[256], file[256];
} paths;

static void redirect(int fd, const char *path, int flags)
{
    int to = open(path, flags, 0600);
    if (to == -1 || dup2(to, fd) == -1) {
        _exit(99);
    }
    close(to);
}

/* Runs the program and lets its k-th allocation fail (k = 0: none). Returns the exit code; *reached
 * tells whether there were so many allocations. */
static int run(char *const *args, long k, bool *reached)
{
    char *argv[MAX_ARGS + 2] = { "weft" };
    int argc = 1, status, pipe_of[2];
    for (; args[argc - 1] != NULL; argc++) {
        assert_in_range(argc, 1, MAX_ARGS);
        argv[argc] = args[argc - 1];
    }
    assert_int_equal(pipe(pipe_of), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        redirect(STDIN_FILENO, paths.in, O_RDONLY);
        redirect(STDOUT_FILENO, paths.out, O_WRONLY | O_CREAT | O_TRUNC);
        redirect(STDERR_FILENO, paths.err, O_WRONLY | O_CREAT | O_TRUNC);
        alarm(60);
        atomic_store(&countdown, k);
        int code = __real_main(argc, argv);
        char hit = k > 0 && atomic_load(&countdown) <= 0;
        atomic_store(&countdown, 0);
        exit(write(pipe_of[1], &hit, 1) == 1 ? code : 99);
    }
    close(pipe_of[1]);
    char hit = 1; /* stays 1 if the program ended itself */
    ssize_t got = read(pipe_of[0], &hit, 1);
    close(pipe_of[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || got != 1 || WEXITSTATUS(status) == 99) {
        fail_msg("weft %s, allocation %ld fails: ended with status %#x", args[0], k, status);
    }
    *reached = hit != 0;
    return WEXITSTATUS(status);
}

static char *read_all(const char *path)
{
    char *text = calloc(1, MAX_TEXT);
    FILE *f = fopen(path, "r");
    assert_non_null(text);
    assert_non_null(f);
    assert_in_range(fread(text, 1, MAX_TEXT - 1, f), 0, MAX_TEXT - 2);
    fclose(f);
    return text;
}

/* ---------------------------------------------------------------- all runs of a command */

/* The first `most` allocations fail, one after the other. If `same` is true, the program has to
 * write the same each time. */
static void check(bool same, long most, char *const *args)
{
    bool reached;
    assert_int_equal(run(args, 0, &reached), EXIT_OK);
    char *want = read_all(paths.out);
    static long n_commands;
    long k = most < STEP ? 1 : 1 + n_commands++ % STEP, n_refused = 0;
    for (reached = true; reached && k <= most; k += STEP) {
        int code = run(args, k, &reached);
        char *out = read_all(paths.out), *err = read_all(paths.err);
        bool told = strstr(err, "memory") != NULL;
        n_refused += code == EXIT_MEMORY;
        if (code != EXIT_OK ? code != EXIT_MEMORY || !told : same && strcmp(out, want) != 0) {
            fail_msg("weft %s, allocation %ld fails: exit code %d, standard error: %s", args[0], k,
                     code, err);
        }
        free(out);
        free(err);
    }
    print_message("weft %s: %ld times there was no memory\n", args[0], n_refused);
    assert_true(n_refused > 0);
    free(want);
}
#define CHECK(same, ...) check(same, LONG_MAX, (char *const[]){ __VA_ARGS__, NULL })
#define ENGINE "-m", paths.model, "-t", "1", "--device", "cpu"

static void test_inspect(void **state)
{
    (void)state;
    CHECK(true, "inspect", paths.model);
    CHECK(true, "inspect", "--json", paths.model);
}

static void test_tokens(void **state)
{
    (void)state;
    CHECK(true, "tokenize", "-m", paths.model, "-e", "-p", "one\\ttwo");
    CHECK(true, "detokenize", "-m", paths.model, "5", "6");
}

static void test_run(void **state)
{
    (void)state;
    CHECK(true, "run", ENGINE, "-p", "ab", "-n", "3", "-s", "1", "-np", "2", "--logprobs", "1",
          "-q");
    CHECK(true, "run", ENGINE, "-p", "ab", "-n", "3", "-s", "1", "-q", "--log-logits", paths.file,
          "-r", "zz");
}

static void test_schema(void **state)
{
    (void)state;
    CHECK(
        true, "run", ENGINE, "-p", "ab", "-n", "0", "-q", "-j",
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"allOf\":[{\"properties\":{\"b\":{\"enum\":[1."
        "5]}}},{\"properties\":{\"c\":{\"pattern\":\"^x+$\"}},\"required\":[\"b\"]}]}}}");
}

static void test_chat(void **state)
{
    (void)state;
    static const char lines[] =
        "hello\n/retry\n/set n 2\n\"\"\"\nmore\n\"\"\"\n/undo\n/stats\nbye\n";
    scratch_write("in", lines, sizeof lines - 1);
    CHECK(true, "chat", ENGINE, "-n", "1", "--temp", "0", "--commands", "-q", "-sys", "s",
          "--no-history");
    scratch_write("in", "", 0);
}

static void test_scores(void **state)
{
    (void)state;
    check(true, 600,
          (char *const[]){ "logits", ENGINE, "-p", "a", "--trace", paths.file, "-q", NULL });
    CHECK(true, "perplexity", ENGINE, "-p", "abcdefghijkl", "-c", "4", "--json", "-q");
    CHECK(true, "embed", ENGINE, "-p", "abc", "-q");
    scratch_write("in", "one\ntwo\n", 8);
    check(true, 600,
          (char *const[]){ "embed", "-m", paths.reranker, "-t", "1", "--device", "cpu", "-q",
                           "--rerank", "a", "--sort", "-", NULL });
    scratch_write("in", "", 0);
}

/* Only the first allocation fails: before the later ones the device is measured, which takes its
 * time. */
static void test_bench(void **state)
{
    (void)state;
    check(false, 1,
          (char *const[]){ "bench", ENGINE, "-p", "4", "-n", "2", "-r", "1", "-o", "json",
                           "--profile", NULL });
}

static void test_doctor(void **state)
{
    (void)state;
    CHECK(false, "doctor", "-m", paths.model);
    CHECK(false, "doctor", "--json");
}

static int open_files(void **state)
{
    struct synth_spec spec;
    weft_error err;
    if (scratch_open(state) != 0 || !synth_preset("tiny-qwen2", &spec)) {
        return -1;
    }
    snprintf(paths.model, sizeof paths.model, "%s", scratch_path("model.gguf"));
    snprintf(paths.in, sizeof paths.in, "%s", scratch_write("in", "", 0));
    snprintf(paths.out, sizeof paths.out, "%s", scratch_path("out"));
    snprintf(paths.err, sizeof paths.err, "%s", scratch_path("err"));
    snprintf(paths.file, sizeof paths.file, "%s", scratch_path("file"));
    snprintf(paths.reranker, sizeof paths.reranker, "%s", scratch_path("reranker.gguf"));
    /* jansson calls the wrapped allocator here, so its allocations can fail, too. */
    json_set_alloc_funcs(malloc, free);
    if (synth_write(&spec, paths.model, &err) != WEFT_OK || !synth_preset("tiny-qwen3", &spec)) {
        return -1;
    }
    spec.n_labels = 2;
    spec.n_ctx = 1024;
    return synth_write(&spec, paths.reranker, &err) == WEFT_OK ? 0 : -1;
}

int __wrap_main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_run),     cmocka_unit_test(test_schema),
        cmocka_unit_test(test_chat),    cmocka_unit_test(test_scores),
        cmocka_unit_test(test_bench),   cmocka_unit_test(test_doctor),
    };
    return cmocka_run_group_tests_name("memory of the program", tests, open_files, scratch_close);
}
