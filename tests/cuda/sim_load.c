/* How weights get to the device, on the simulator. Whatever the number of reading threads, the
 * order in which they finish, and the failures of the system and of the device: every byte is where
 * it belongs, or the error says why not, and nothing is left behind. cuBLAS is opened meanwhile.
 * The program is linked with --wrap for pread, pthread_create and dlsym. */
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
#include <time.h>
#include <unistd.h>

#include "cuda/cuda.h"
#include "cuda/readers.h"
#include "cudasim/testing.h"
#include "format/preread.h"
#include "support/models.h"
#include "support/rig.h"
#include "synth/synth.h"

/* ---------------------------------------------------------------- the system */

static struct {
    atomic_size_t n_reads, n_bytes, n_threads;
    size_t fail_read;   /* the number of the read that fails; 0 = none */
    size_t max_threads; /* the most threads that can be started */
    bool no_cublas;
} os;

ssize_t __real_pread(int fd, void *dst, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *dst, size_t n, off_t at);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);

/* Takes its time, so that threads end in another order than they began. It is interrupted, and
 * reads less than it was asked for. */
ssize_t __wrap_pread(int fd, void *dst, size_t n, off_t at)
{
    size_t k = atomic_fetch_add(&os.n_reads, 1) + 1;
    if (k == os.fail_read) {
        errno = EIO;
        return -1;
    }
    if (k % 7 == 3) {
        errno = EINTR;
        return -1;
    }
    const struct timespec pause = { .tv_nsec = (long)(k * 2654435761u % 5) * 60000 };
    nanosleep(&pause, NULL);
    ssize_t got = __real_pread(fd, dst, k % 5 == 2 && n > 100 ? n / 3 : n, at);
    atomic_fetch_add(&os.n_bytes, got > 0 ? (size_t)got : 0);
    return got;
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return atomic_fetch_add(&os.n_threads, 1) < os.max_threads
               ? __real_pthread_create(t, attr, fn, arg)
               : EAGAIN;
}

void *__wrap_dlsym(void *handle, const char *name)
{
    return os.no_cublas && strncmp(name, "cublas", 6) == 0 ? NULL : __real_dlsym(handle, name);
}

static size_t running_threads(void)
{
    size_t n = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks)) {
        n += e->d_name[0] != '.';
    }
    closedir(tasks);
    return n;
}

static int reset(void **state)
{
    (void)state;
    atomic_store(&os.n_reads, 0);
    atomic_store(&os.n_bytes, 0);
    atomic_store(&os.n_threads, 0);
    os.fail_read = 0;
    os.max_threads = SIZE_MAX;
    os.no_cublas = false;
    cudasim_fail_call(0, false);
    return 0;
}

static int check_left(void **state)
{
    reset(state);
    return cudasim_leaks(stderr) != 0;
}

/* ---------------------------------------------------------------- models and backends */

/* Makes a file whose weights are read in more pieces than the ring of buffers holds, with rows of
 * blocks and rows of padded floats. */
static const char *file_of_mix(const char *mix)
{
    struct synth_spec spec;
    assert_true(synth_preset("tiny-qwen2", &spec));
    spec.n_layers = 2;
    spec.n_vocab = 600;
    spec.dim = 256;
    spec.n_heads = 4;
    spec.n_kv_heads = 2;
    spec.n_ff = 512;
    spec.head_dim = 64;
    spec.tied = false;
    spec.type_mix = mix;
    return model_file_of(&spec);
}

static struct model *open_model(const char *path, bool no_mmap)
{
    struct model *m = NULL;
    weft_error err;
    const weft_model_params params = { .size = sizeof params, .no_mmap = no_mmap };
    if (model_open(path, &params, &m, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return m;
}

static const struct log silence;

static struct backend_params params(size_t n_readers)
{
    return (struct backend_params){ .n_ctx = 128,
                                    .n_pages = 4,
                                    .n_batch = 32,
                                    .n_out = 1,
                                    .n_threads = n_readers,
                                    .no_arena = true,
                                    .log = &silence };
}

static struct cuda *open_backend(const struct model *m, const struct backend_params *p)
{
    struct backend *b = NULL;
    weft_error err;
    if (cuda_backend_open(m, p, &b, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return (struct cuda *)b;
}

/* ---------------------------------------------------------------- what is on the device */

static uint8_t *read_back(struct dptr d, size_t bytes)
{
    uint8_t *p = malloc(bytes);
    assert_non_null(p);
    assert_int_equal(cudaMemcpy(p, (void *)d.at, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    return p;
}

/* Checks that each plane has its bytes of every block, and that a row of floats ends with zeros. */
static void check_matrix(const struct tensor *t, const struct dmatrix *m)
{
    const size_t n_blocks = t->n_cols / t->type->block, row = n_blocks * t->type->bytes;
    for (enum weight_plane p = 0; p < WEIGHT_PLANES; p++) {
        const struct plane_field f = plane_layout(t->type->id)->field[p];
        const size_t plane_row = plane_row_bytes(t->type->id, p, t->n_cols);
        if (plane_row == 0) {
            continue;
        }
        uint8_t *got = read_back(m->plane[p], t->n_rows * plane_row);
        for (size_t r = 0; r < t->n_rows; r++) {
            for (size_t b = 0; b < n_blocks; b++) {
                if (memcmp(got + r * plane_row + b * f.bytes,
                           t->data + r * row + b * t->type->bytes + f.at, f.bytes) != 0) {
                    fail_msg("%s: plane %d, row %zu, block %zu is not what the file has", t->name,
                             (int)p, r, b);
                }
            }
            for (size_t i = n_blocks * f.bytes; i < plane_row; i++) {
                assert_int_equal(got[r * plane_row + i], 0);
            }
        }
        free(got);
    }
}

static void check_vector(const struct tensor *t, struct dptr v)
{
    if (t->name != NULL) {
        uint8_t *got = read_back(v, t->n_bytes);
        assert_memory_equal(got, t->data, t->n_bytes);
        free(got);
    }
}

static void check_weights(const struct cuda *c)
{
    const struct weights *w = &c->model->weights;
    check_matrix(&w->token_embd, &c->weights.token_embd);
    check_matrix(&w->output, &c->weights.output);
    check_vector(&w->output_norm, c->weights.output_norm);
    check_vector(&w->output_bias, c->weights.output_bias);
    for (size_t i = 0; i < c->model->config.n_layers; i++) {
        const struct layer *l = &c->model->layers[i];
        const struct dlayer *d = &c->weights.layers[i];
        for (enum layer_tensor t = 0; t < N_LAYER_TENSORS; t++) {
            if (layer_tensor_is_matrix(t)) {
                check_matrix(&l->t[t], &d->matrix[t]);
            } else {
                check_vector(&l->t[t], d->vector[t]);
            }
        }
    }
}

static void opens_right(const struct model *m, const struct backend_params *p)
{
    struct cuda *c = open_backend(m, p);
    check_weights(c);
    cuda_close(&c->base);
}

/* ---------------------------------------------------------------- progress */

struct progress {
    size_t n, stop_at;
    uint64_t done, total;
    pthread_t thread;
    const char *cut; /* a file that is cut when the function is first called */
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    assert_true(pthread_equal(p->thread, pthread_self()));
    assert_true(done > p->done && done <= total);
    assert_true(p->n == 0 || total == p->total);
    p->n++;
    p->done = done;
    p->total = total;
    if (p->cut != NULL && p->n == 1) {
        assert_int_equal(truncate(p->cut, 1), 0);
    }
    return p->n != p->stop_at;
}

static struct backend_params listened(size_t n_readers, struct progress *seen)
{
    struct backend_params p = params(n_readers);
    seen->thread = pthread_self();
    p.progress = on_progress;
    p.progress_user = seen;
    return p;
}

/* ---------------------------------------------------------------- tests */

static void test_readers(void **state)
{
    (void)state;
    static const char *const mixes[] = { "q4_k_m", "q8_0+f16", "f32" };
    static const size_t readers[] = { 1, 3, 8, 0, 100 };
    cudasim_catch_faults();
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++) {
        const char *path = file_of_mix(mixes[i]);
        for (size_t k = 0; k < sizeof readers / sizeof readers[0]; k++) {
            struct progress seen = { .stop_at = 0 };
            struct backend_params p = listened(readers[k], &seen);
            struct model *m = open_model(path, k == 3);
            p.no_arena = k != 2;
            /* No thread for cuBLAS is wanted. */
            p.deterministic = true;
            atomic_store(&os.n_threads, 0);
            opens_right(m, &p);
            if (readers[k] > 0) {
                assert_int_equal(os.n_threads, readers[k] < 8 ? readers[k] : 8);
            } else {
                assert_true(os.n_threads > 0 && os.n_threads <= 8);
            }
            /* There were more pieces than buffers, so buffers of the ring were used again. */
            assert_true(seen.n > READERS_BUFFERS_MAX);
            assert_int_equal(seen.done, seen.total);
            model_close(m);
        }
    }
}

/* The file has every bias that a file may have. */
static void test_biases(void **state)
{
    (void)state;
    static const char *const presets[] = { "tiny-llama", "tiny-qwen2", "tiny-phi3" };
    const struct backend_params p = params(2);
    cudasim_catch_faults();
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        struct synth_spec spec;
        assert_true(synth_preset(presets[i], &spec));
        spec.biases = true;
        struct model *m = open_model(model_file_of(&spec), false);
        opens_right(m, &p);
        model_close(m);
    }
}

/* The system grants fewer threads than were wanted, or none. */
static void test_no_threads(void **state)
{
    (void)state;
    struct model *m = open_model(file_of_mix("q4_k_m"), false);
    const struct backend_params p = params(8);
    cudasim_catch_faults();
    for (size_t granted = 0; granted < 4; granted++) {
        atomic_store(&os.n_threads, 0);
        os.max_threads = granted;
        opens_right(m, &p);
    }
    model_close(m);
}

static void test_cancel(void **state)
{
    (void)state;
    struct model *m = open_model(file_of_mix("q4_k_m"), false);
    struct progress seen = { .stop_at = 0 };
    struct backend_params p = listened(3, &seen);
    cudasim_catch_faults();
    opens_right(m, &p);
    const size_t n = seen.n, threads = running_threads();
    for (size_t k = 1; k <= n; k += k < 4 ? 1 : 5) {
        struct backend *b = NULL;
        weft_error err;
        seen = (struct progress){ .stop_at = k };
        p = listened(k % 2 == 0 ? 8 : 3, &seen);
        assert_int_equal(cuda_backend_open(m, &p, &b, &err), WEFT_E_CANCELLED);
        assert_null(b);
        assert_int_equal(seen.n, k);
        assert_int_equal(cudasim_leaks(stderr), 0);
        assert_int_equal(running_threads(), threads);
    }
    model_close(m);
}

/* The disk fails, or the file is cut, while it is read. That is an error, and no SIGBUS. */
static void test_file_fails(void **state)
{
    (void)state;
    cudasim_catch_faults();
    for (size_t n_readers = 1; n_readers <= 8; n_readers += 7) {
        const char *path = file_of_mix("q4_k_m");
        struct model *m = open_model(path, false), *whole = open_model(path, true);
        struct progress seen = { .cut = path };
        struct backend_params p = params(n_readers);
        struct backend *b = NULL;
        const size_t threads = running_threads();
        atomic_store(&os.n_reads, 0);
        for (os.fail_read = 1; os.fail_read < 30; os.fail_read += 9) {
            atomic_store(&os.n_reads, 0);
            assert_int_equal(cuda_backend_open(m, &p, &b, E), WEFT_E_IO);
            rig_message((const char *const[]){ path, "reading at byte", strerror(EIO), NULL });
        }
        os.fail_read = 0;
        p = listened(n_readers, &seen);
        assert_int_equal(cuda_backend_open(m, &p, &b, E), WEFT_E_IO);
        rig_message((const char *const[]){ path, "ends before byte ", "open it again", NULL });
        assert_int_equal(cudasim_leaks(stderr), 0);
        assert_int_equal(running_threads(), threads);
        /* A file that lies in memory does not notice the cut. */
        p = params(n_readers);
        opens_right(whole, &p);
        model_close(m);
        model_close(whole);
    }
}

static bool releases(const char *call)
{
    return strstr(call, "Destroy") != NULL || strcmp(call, "cudaFreeHost") == 0;
}

/* Each call of CUDA fails once while several threads read the weights. */
static void test_device_fails(void **state)
{
    (void)state;
    struct model *m = open_model(file_of_mix("q4_k_m"), false);
    struct backend_params p = params(3);
    const size_t threads = running_threads();
    size_t n_pinned = 0;
    cudasim_catch_faults();
    p.deterministic = true;
    opens_right(m, &p);
    cudasim_fail_call(0, false);
    struct cuda *c = open_backend(m, &p);
    const uint64_t n_calls = cudasim_calls();
    cuda_close(&c->base);
    for (uint64_t k = 1; k <= n_calls; k += k < n_calls / 3 ? 1 : 3) {
        struct backend *b = NULL;
        cudasim_fail_call(k, false);
        weft_status status = cuda_backend_open(m, &p, &b, E);
        const char *call = cudasim_failed_call();
        cudasim_fail_call(0, false);
        assert_non_null(call);
        if (status == WEFT_OK) {
            assert_true(releases(call));
            cuda_close(b);
        } else {
            rig_message((const char *const[]){ "cuda:0: ", " failed in ", NULL });
            bool pinned = strstr(rig_err.message, "cudaMallocHost failed in upload") != NULL;
            n_pinned += pinned;
            assert_true(!pinned || status == WEFT_E_DEVMEM);
        }
        assert_int_equal(cudasim_leaks(stderr), 0);
        assert_int_equal(running_threads(), threads);
    }
    assert_int_equal(n_pinned, 1);
    model_close(m);
}

/* All buffers are aligned. In an arena they are parts of one allocation and do not overlap; without
 * an arena each buffer is an allocation of its own. */
static void test_arena(void **state)
{
    (void)state;
    struct model *m = open_model(file_of_mix("q8_0+f16"), false);
    struct backend_params p = params(1);
    cudasim_catch_faults();
    for (int apart = 0; apart < 2; apart++) {
        p.no_arena = apart;
        struct cuda *c = open_backend(m, &p);
        const struct memory *mem = &c->memory;
        assert_true(mem->n > 40);
        assert_int_equal(mem->n_allocated, apart ? mem->n : 1);
        assert_true(memory_taken(mem) >= memory_total(mem));
        for (size_t i = 0; i < mem->n; i++) {
            const struct request *r = &mem->requests[i];
            assert_int_equal(r->at->at % MEMORY_ALIGN, 0);
            assert_true(apart || i == 0 ||
                        r->at->at >= mem->requests[i - 1].at->at + mem->requests[i - 1].bytes);
        }
        cuda_close(&c->base);
    }
    model_close(m);
}

/* The file is read ahead once, or until somebody stops it, and not at all if it lies in memory. */
static void test_preread(void **state)
{
    (void)state;
    const char *path = file_of_mix("f32");
    struct model *m = open_model(path, false), *whole = open_model(path, true);
    const struct timespec pause = { .tv_nsec = 1000000 };
    struct preread r;
    preread_start(&r, m->file);
    for (int i = 0; i < 10000 && os.n_bytes < m->file->n_bytes; i++) {
        nanosleep(&pause, NULL);
    }
    preread_stop(&r);
    preread_stop(&r);
    assert_int_equal(os.n_bytes, m->file->n_bytes);
    preread_start(&r, whole->file);
    preread_stop(&r);
    assert_int_equal(os.n_bytes, m->file->n_bytes);
    preread_start(&r, m->file);
    preread_stop(&r);
    assert_int_equal(truncate(path, 1), 0);
    preread_start(&r, m->file);
    preread_stop(&r);
    os.max_threads = 0;
    preread_start(&r, m->file);
    preread_stop(&r);
    model_close(m);
    model_close(whole);
}

static struct {
    size_t n_uploads, n_warnings;
} lines;

static void take_line(void *user, weft_log_level level, const char *text)
{
    (void)user;
    lines.n_uploads += level == WEFT_LOG_INFO && strstr(text, "uploaded") != NULL &&
                       strstr(text, "GB/s") != NULL && strstr(text, "3 threads") != NULL;
    lines.n_warnings += level == WEFT_LOG_WARN && strstr(text, "libcublas") != NULL;
}

/* Returns the logits behind n tokens, through the public API. */
static float *logits_of(const char *path, size_t n, bool deterministic)
{
    enum { MOST = 32 };
    weft_model_params mp = WEFT_MODEL_PARAMS_INIT;
    weft_engine_params ep = WEFT_ENGINE_PARAMS_INIT;
    struct rig r = { .n_vocab = 600 };
    int32_t tokens[MOST];
    mp.log = take_line;
    ep.device = "cuda:0";
    ep.n_ctx = 128;
    ep.n_kv = 256;
    ep.n_batch = MOST;
    ep.n_threads = 3;
    ep.deterministic = deterministic;
    OK(weft_model_open(path, &mp, &r.model, E));
    OK(weft_engine_open(r.model, &ep, &r.engine, E));
    rig_tokens(&r, 3, tokens, n);
    weft_seq *seq = rig_fed(&r, tokens, n);
    float *logits = rig_logits(&r, seq);
    weft_seq_release(&seq);
    rig_close(&r);
    return logits;
}

/* Without cuBLAS prompts go through the kernels that `deterministic` uses, and the log says so
 * once, when a long prompt comes. */
static void test_no_cublas(void **state)
{
    (void)state;
    const char *path = file_of_mix("q8_0+f16");
    cudasim_catch_faults();
    lines.n_uploads = lines.n_warnings = 0;
    float *want = logits_of(path, 30, true), *with = logits_of(path, 30, false);
    assert_int_equal(lines.n_uploads, 2);
    assert_int_equal(lines.n_warnings, 0);
    assert_memory_not_equal(with, want, 600 * sizeof *want);
    os.no_cublas = true;
    float *few = logits_of(path, 3, false);
    assert_int_equal(lines.n_warnings, 0);
    float *got = logits_of(path, 30, false);
    assert_int_equal(lines.n_warnings, 1);
    assert_memory_equal(got, want, 600 * sizeof *want);
    os.no_cublas = false;
    /* The system has no thread to open cuBLAS, so it is opened when it is needed. */
    os.max_threads = 0;
    float *alone = logits_of(path, 30, false);
    assert_int_equal(lines.n_warnings, 1);
    assert_memory_equal(alone, with, 600 * sizeof *want);
    free(alone);
    free(got);
    free(few);
    free(want);
    free(with);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, check_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readers), TEST(test_biases),     TEST(test_no_threads),
        TEST(test_cancel),  TEST(test_file_fails), TEST(test_device_fails),
        TEST(test_arena),   TEST(test_preread),    TEST(test_no_cublas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
