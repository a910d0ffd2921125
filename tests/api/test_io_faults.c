/* Every call to the operating system fails once. A program path opens a split file and a model, and
 * writes, saves and loads sixteen sequences; it runs again and again, with the model mapped and
 * with the model read. In each run one call fails in one way: with an errno, by transferring less
 * than it was given, or by transferring nothing. A table says what must follow: an interrupted or
 * short call is not noticed; any other failure gives WEFT_E_IO, and then the same call works and
 * the text comes out as if nothing had happened. An old saved file is whole until the new one has
 * its name; no file, descriptor or mapping is left behind. The program is linked with --wrap for
 * these calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/models.h"
#include "support/rig.h"
#include "support/scratch.h"
#include "synth/writer.h"

/* ---------------------------------------------------------------- the operating system */

enum call {
    CALL_OPEN,
    CALL_FOPEN,
    CALL_FSTAT,
    CALL_STAT,
    CALL_MMAP,
    CALL_READ,
    CALL_CLOSE, /* a file that was read */
    CALL_MKOSTEMP,
    CALL_WRITE,
    CALL_FSYNC,
    CALL_CLOSE_NEW, /* a file that was written */
    CALL_RENAME,
    CALL_UNLINK,
    N_CALLS
};
static const char *const call_names[] = { "open",
                                          "fopen",
                                          "fstat",
                                          "stat",
                                          "mmap",
                                          "read",
                                          "close",
                                          "mkostemp",
                                          "write",
                                          "fsync",
                                          "close of the new file",
                                          "rename",
                                          "unlink" };

enum { SHORT = -1, NOTHING = -2 }; /* besides the values of errno */

static const struct fault {
    const char *name;
    int error;
    unsigned calls;   /* the calls that can fail in this way */
    unsigned refused; /* those of them that make a function fail */
} faults[] = {
#define BIT(call) (1u << CALL_##call)
#define NEW_FILE (BIT(MKOSTEMP) | BIT(WRITE) | BIT(FSYNC) | BIT(CLOSE_NEW) | BIT(RENAME))
#define ALL ((1u << N_CALLS) - 1)
    /* A file that was read may fail to close. Without the file in /sys the processors are counted
     * in another way. */
    { "EIO", EIO, ALL, ALL & ~(BIT(FOPEN) | BIT(CLOSE)) },
    { "EINTR", EINTR, ALL & ~BIT(MMAP), 0 },
    { "ENOSPC", ENOSPC, NEW_FILE, NEW_FILE },
    { "EACCES", EACCES, BIT(OPEN) | BIT(FOPEN) | BIT(STAT) | BIT(MKOSTEMP) | BIT(RENAME),
      BIT(OPEN) | BIT(STAT) | BIT(MKOSTEMP) | BIT(RENAME) },
    { "EMFILE", EMFILE, BIT(OPEN) | BIT(FOPEN) | BIT(MKOSTEMP), BIT(OPEN) | BIT(MKOSTEMP) },
    { "ENOMEM", ENOMEM, BIT(OPEN) | BIT(FSTAT) | BIT(STAT) | BIT(MMAP),
      BIT(OPEN) | BIT(FSTAT) | BIT(STAT) | BIT(MMAP) },
    { "a short count", SHORT, BIT(READ) | BIT(WRITE), 0 },
    { "a count of 0", NOTHING, BIT(READ) | BIT(WRITE), BIT(READ) | BIT(WRITE) },
};
enum { N_FAULTS = sizeof faults / sizeof faults[0], MAX_POINTS = 4096 };

static struct {
    bool armed;
    const struct fault *fault; /* NULL = no call fails */
    size_t at, n;              /* the call that fails; the calls so far */
    enum call seen[MAX_POINTS];
    int new_fd;
    long n_maps;
    unsigned failing; /* calls that always fail, with this error */
    int error;
} os = { .new_fd = -1 };

/* Returns how this call has to fail: 0 = not at all, else an errno, SHORT or NOTHING. */
static int fails(enum call call)
{
    if (!os.armed) {
        return 0;
    }
    assert_in_range(os.n, 0, MAX_POINTS - 1);
    os.seen[os.n++] = call;
    if (os.failing & 1u << call) {
        return os.error;
    }
    return os.fault != NULL && os.n - 1 == os.at ? os.fault->error : 0;
}

/* Returns true, and sets errno, if the call has to fail as a whole. */
static bool refused(enum call call)
{
    int how = fails(call);
    errno = how > 0 ? how : errno;
    return how > 0;
}

int __real_open(const char *path, int flags, ...);
FILE *__real_fopen(const char *path, const char *mode);
int __real_fstat(int fd, struct stat *st);
int __real_stat(const char *path, struct stat *st);
void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t n);
ssize_t __real_read(int fd, void *dst, size_t n);
int __real_close(int fd);
int __real_mkostemp(char *path, int flags);
ssize_t __real_write(int fd, const void *src, size_t n);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);

int __wrap_open(const char *path, int flags, ...);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_stat(const char *path, struct stat *st);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t n);
ssize_t __wrap_read(int fd, void *dst, size_t n);
int __wrap_close(int fd);
int __wrap_mkostemp(char *path, int flags);
ssize_t __wrap_write(int fd, const void *src, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);

/* The library makes new files with mkostemp() only, so it never passes a mode to open(). */
int __wrap_open(const char *path, int flags, ...)
{
    return refused(CALL_OPEN) ? -1 : __real_open(path, flags);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return refused(CALL_FOPEN) ? NULL : __real_fopen(path, mode);
}

int __wrap_fstat(int fd, struct stat *st)
{
    return refused(CALL_FSTAT) ? -1 : __real_fstat(fd, st);
}

int __wrap_stat(const char *path, struct stat *st)
{
    return refused(CALL_STAT) ? -1 : __real_stat(path, st);
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    if (refused(CALL_MMAP)) {
        return MAP_FAILED;
    }
    os.n_maps++;
    return __real_mmap(at, n, protection, flags, fd, offset);
}

int __wrap_munmap(void *at, size_t n)
{
    os.n_maps--;
    return __real_munmap(at, n);
}

static size_t least(int how, size_t n)
{
    return how == NOTHING ? 0 : how == SHORT && n > 1 ? 1 : n;
}

ssize_t __wrap_read(int fd, void *dst, size_t n)
{
    int how = fails(CALL_READ);
    errno = how > 0 ? how : errno;
    return how > 0 ? -1 : __real_read(fd, dst, least(how, n));
}

ssize_t __wrap_write(int fd, const void *src, size_t n)
{
    int how = fails(CALL_WRITE);
    errno = how > 0 ? how : errno;
    return how > 0 ? -1 : __real_write(fd, src, least(how, n));
}

/* The descriptor is closed whatever close() returns. */
int __wrap_close(int fd)
{
    bool fail = refused(fd == os.new_fd ? CALL_CLOSE_NEW : CALL_CLOSE);
    int error = errno;
    os.new_fd = fd == os.new_fd ? -1 : os.new_fd;
    int result = __real_close(fd);
    errno = error;
    return fail ? -1 : result;
}

/* A failing mkostemp() of glibc has already replaced the letters X. */
int __wrap_mkostemp(char *path, int flags)
{
    if (refused(CALL_MKOSTEMP)) {
        memcpy(path + strlen(path) - 6, "abcdef", 6);
        return -1;
    }
    os.new_fd = __real_mkostemp(path, flags);
    return os.new_fd;
}

int __wrap_fsync(int fd) { return refused(CALL_FSYNC) ? -1 : __real_fsync(fd); }

int __wrap_rename(const char *from, const char *to)
{
    return refused(CALL_RENAME) ? -1 : __real_rename(from, to);
}

int __wrap_unlink(const char *path) { return refused(CALL_UNLINK) ? -1 : __real_unlink(path); }

/* ---------------------------------------------------------------- the path */

enum { N_SEQS = 16, N_PROMPT = 5, N_NEW = 3, DIM = 512, MAX_STATE = 1 << 16 };

struct path {
    size_t n_refused; /* calls that had to be made a second time */
    weft_file *file;
    weft_model *model;
    weft_engine *engine;
    weft_seq *seqs[N_SEQS];
    int32_t ids[N_SEQS][N_NEW + 1];
    uint8_t state[MAX_STATE];
    size_t n_state;
    char model_file[256], split_file[256], state_file[256];
};

static const int32_t few[] = { 300, 301, 302 };
static const uint8_t old_state[] = "what was saved before";

static size_t count_in(const char *directory)
{
    size_t n = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

static void expect_file(const char *path, const void *data, size_t n)
{
    static uint8_t got[MAX_STATE];
    FILE *f = __real_fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, sizeof got, f), n);
    assert_memory_equal(got, data, n);
    fclose(f);
}

/* Judges what a call returned. Returns true if the call has to be made again. */
static bool again(struct path *p, weft_status status, const char *call)
{
    if (status == WEFT_OK) {
        return false;
    }
    const char *name = os.at < os.n ? call_names[os.seen[os.at]] : "no call";
    if (status != WEFT_E_IO || os.fault == NULL || strchr(rig_err.message, '/') == NULL) {
        fail_msg("%s when %s gives %s: %s, '%s'", call, name,
                 os.fault != NULL ? os.fault->name : "no fault", weft_status_name(status),
                 rig_err.message);
    }
    p->n_refused++;
    return true;
}

#define DO(p, call)                                                                                \
    do {                                                                                           \
        rig_err = (weft_error){ 0 };                                                               \
        if (again(p, call, #call)) {                                                               \
            OK(call);                                                                              \
        }                                                                                          \
    } while (0)

static void open_all(struct path *p, bool no_mmap)
{
    char text[64];
    weft_platform_info platform = { .size = sizeof platform };
    const weft_model_params mp = { .size = sizeof mp, .no_mmap = no_mmap };
    const weft_engine_params ep = { .size = sizeof ep, .device = "cpu", .n_kv = 64 * 2 * N_SEQS };
    DO(p, weft_platform_get(&platform, E));
    DO(p, no_mmap ? weft_file_load(p->split_file, &p->file, E)
                  : weft_file_open(p->split_file, &p->file, E));
    DO(p, weft_file_value(p->file, 0, 0, text, sizeof text, NULL, E));
    DO(p, weft_model_open(p->model_file, &mp, &p->model, E));
    DO(p, weft_engine_open(p->model, &ep, &p->engine, E));
}

static void write_all(struct path *p)
{
    for (size_t i = 0; i < N_SEQS; i++) {
        int32_t prompt[N_PROMPT];
        weft_sampling s = WEFT_SAMPLING_INIT;
        s.seed = i;
        s.ignore_end = true;
        rig_tokens(&(struct rig){ .n_vocab = 300 }, i, prompt, N_PROMPT);
        DO(p, weft_seq_open(p->engine, &s, &p->seqs[i], E));
        DO(p, weft_seq_append(p->seqs[i], prompt, N_PROMPT, E));
    }
    for (size_t k = 0; k < N_NEW; k++) {
        DO(p, weft_engine_step(p->engine, NULL, E));
        for (size_t i = 0; i < N_SEQS; i++) {
            DO(p, weft_seq_next(p->seqs[i], &p->ids[i][k], E));
        }
    }
}

/* Saves a sequence over an old file. The old file stays whole until the new one has its name, and
 * no other file is left. */
static void save(struct path *p)
{
    const char *directory = scratch_path(".");
    FILE *f = __real_fopen(p->state_file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(old_state, 1, sizeof old_state, f), sizeof old_state);
    assert_int_equal(fclose(f), 0);
    size_t n_files = count_in(directory);
    DO(p, weft_seq_save(p->seqs[3], p->state, sizeof p->state, &p->n_state, E));
    rig_err = (weft_error){ 0 };
    if (again(p, weft_seq_save_file(p->seqs[3], p->state_file, E), "weft_seq_save_file")) {
        expect_file(p->state_file, old_state, sizeof old_state);
        assert_int_equal(count_in(directory), n_files);
        OK(weft_seq_save_file(p->seqs[3], p->state_file, E));
    }
    expect_file(p->state_file, p->state, p->n_state);
    assert_int_equal(count_in(directory), n_files);
}

static void load(struct path *p)
{
    float vector[DIM];
    DO(p, weft_embed(p->engine, few, 3, NULL, vector, DIM, NULL, E));
    DO(p, weft_embed_texts(p->engine, few, (const size_t[]){ 3 }, 1, NULL, vector, DIM, NULL, E));
    DO(p, weft_seq_rewind(p->seqs[3], 2, E));
    DO(p, weft_seq_load(p->seqs[3], p->state, p->n_state, E));
    DO(p, weft_seq_load_file(p->seqs[5], p->state_file, E));
    DO(p, weft_engine_step(p->engine, NULL, E));
    for (size_t i = 0; i < N_SEQS; i++) {
        DO(p, weft_seq_next(p->seqs[i], &p->ids[i][N_NEW], E));
    }
}

static void release(struct path *p)
{
    for (size_t i = 0; i < N_SEQS; i++) {
        weft_seq_release(&p->seqs[i]);
    }
    weft_engine_release(&p->engine);
    weft_model_release(&p->model);
    weft_file_release(&p->file);
}

/* Runs the whole program path; *p already holds the names of its files. */
static void walk(struct path *p, bool no_mmap)
{
    size_t n_fds = count_in("/proc/self/fd");
    long n_maps = os.n_maps;
    os.n = 0;
    os.armed = true;
    open_all(p, no_mmap);
    write_all(p);
    save(p);
    load(p);
    release(p);
    os.armed = false;
    assert_int_equal(count_in("/proc/self/fd"), n_fds);
    assert_int_equal(os.n_maps, n_maps);
}

/* ---------------------------------------------------------------- files */

static void write_part(const char *name, uint16_t no)
{
    struct gguf_writer w;
    struct bytes b = { 0 };
    float values[8] = { 0 };
    writer_init(&w);
    if (no == 0) {
        writer_str(&w, "general.architecture", "test");
    }
    writer_u16(&w, "split.no", no);
    writer_u16(&w, "split.count", 3);
    writer_i32(&w, "split.tensors.count", 3);
    writer_tensor(&w, (const char *[]){ "a", "b", "c" }[no], 1, (uint64_t[]){ 8 }, QUANT_F32,
                  values, sizeof values);
    assert_int_equal(writer_finish(&w, &b, NULL), WEFT_OK);
    writer_free(&w);
    scratch_write(name, b.data, b.n);
    free(b.data);
}

/* Makes a path that has a model file of its own. */
static struct path *path_new(void)
{
    struct path *p = calloc(1, sizeof *p);
    assert_non_null(p);
    write_part("s-00003-of-00003.gguf", 2);
    write_part("s-00002-of-00003.gguf", 1);
    write_part("s-00001-of-00003.gguf", 0);
    snprintf(p->model_file, sizeof p->model_file, "%s", model_file("tiny-qwen2"));
    snprintf(p->split_file, sizeof p->split_file, "%s", scratch_path("s-00001-of-00003.gguf"));
    snprintf(p->state_file, sizeof p->state_file, "%s", scratch_path("state"));
    return p;
}

/* ---------------------------------------------------------------- tests */

static void expect_same(const struct path *got, const struct path *want)
{
    assert_memory_equal(got->ids, want->ids, sizeof got->ids);
    assert_int_equal(got->n_state, want->n_state);
    assert_memory_equal(got->state, want->state, got->n_state);
}

/* Lets each call of a clean run fail in each way that it can. */
static void fail_each(bool no_mmap)
{
    static enum call seen[MAX_POINTS];
    size_t n_tried = 0, n_refused = 0;
    struct path *clean = path_new(), *p = path_new();
    const struct path blank = *p;
    walk(clean, no_mmap);
    assert_int_equal(clean->n_refused, 0);
    size_t n = os.n;
    memcpy(seen, os.seen, sizeof seen);
    for (size_t i = 0; i < N_FAULTS; i++) {
        for (os.at = 0; os.at < n; os.at++) {
            unsigned bit = 1u << seen[os.at];
            if (!(faults[i].calls & bit)) {
                continue;
            }
            *p = blank;
            os.fault = &faults[i];
            walk(p, no_mmap);
            os.fault = NULL;
            if (p->n_refused != ((faults[i].refused & bit) != 0)) {
                fail_msg("%s (call %zu) gives %s: %zu functions failed", call_names[seen[os.at]],
                         os.at, faults[i].name, p->n_refused);
            }
            expect_same(p, clean);
            n_tried++;
            n_refused += p->n_refused;
        }
        *p = blank;
        walk(p, no_mmap);
        expect_same(p, clean);
        assert_int_equal(os.n, n);
    }
    print_message("model %s: %zu calls, %zu faults tried, %zu of them an error\n",
                  no_mmap ? "read" : "mapped", n, n_tried, n_refused);
    assert_true(n > 30 && n_refused > 50 && n_tried > n_refused + 50);
    free(p);
    free(clean);
}

static void test_mapped(void **state)
{
    (void)state;
    fail_each(false);
}

static void test_read(void **state)
{
    (void)state;
    fail_each(true);
}

static weft_status save_armed(weft_seq *seq, const char *path)
{
    os.n = 0;
    os.armed = true;
    weft_status status = weft_seq_save_file(seq, path, E);
    os.armed = false;
    return status;
}

/* A new file that failed is removed even if the removal is interrupted. */
static void test_interrupted_twice(void **state)
{
    (void)state;
    struct rig r = rig_open(model_file("tiny-qwen2"), NULL);
    weft_seq *seq = rig_fed(&r, few, 3);
    const struct fault interrupted = { .error = EINTR };
    const char *path = scratch_path("twice");
    size_t n_files = count_in(scratch_path("."));
    os.failing = 1u << CALL_RENAME;
    os.error = EIO;
    assert_int_equal(save_armed(seq, path), WEFT_E_IO);
    os.at = os.n - 1;
    assert_int_equal(os.seen[os.at], CALL_UNLINK);
    os.fault = &interrupted;
    assert_int_equal(save_armed(seq, path), WEFT_E_IO);
    os.failing = 0;
    os.fault = NULL;
    assert_int_equal(os.n, os.at + 2);
    assert_int_equal(count_in(scratch_path(".")), n_files);
    weft_seq_release(&seq);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_interrupted_twice),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
