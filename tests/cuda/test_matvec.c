/* kernel_matvec for every type, against double arithmetic on the same weights and the same
 * quantised activations. Its bits are always the same, however the rows are cut into passes and the
 * columns into parts. */
#include <stdio.h>

#include "cuda/acts_rig.h"

/* Weights on the device, and as numbers. */
struct test_weights {
    const struct quant_type *t;
    size_t n_rows, n_cols;
    const float *w; /* [n_rows, n_cols] */
    struct dmatrix d;
};

static struct test_weights weights_of(const struct quant_type *t, uint64_t seed, size_t n_rows,
                                      size_t n_cols)
{
    const uint8_t *file = random_weights(seed, t, n_rows, n_cols, NULL);
    float *w = device_host(n_rows * n_cols * sizeof *w);
    t->decode(file, w, n_rows * n_cols);
    return (struct test_weights){ t, n_rows, n_cols, w, device_matrix(t, file, n_rows, n_cols) };
}

static const struct quant_type *type(const char *name)
{
    const struct quant_type *t = quant_find_name(name);
    assert_non_null(t);
    return t;
}

static struct dptr put(const float *x, size_t n) { return device_put(x, n * sizeof *x); }

/* Rows of activations on the device in the forms Q8 and F32, and the numbers that they stand
 * for. */
struct input {
    struct dacts d;
    struct host_acts h;
};

static struct input input_of(const float *x, size_t n, size_t n_cols)
{
    struct input in = { .d = device_acts(n, n_cols, ACT_Q8 | ACT_F32) };
    CU(kernel_convert(put(x, n * n_cols), n, &in.d, device_queue()));
    in.h = acts_get(&in.d, n);
    return in;
}

/* Returns row r and the rows after it. */
static struct dacts from_row(struct dacts a, size_t r)
{
    a.q.at += r * a.stride;
    a.block.at += r * (a.stride / 32) * sizeof(struct act_block);
    a.x.at += r * a.stride * sizeof(float);
    return a;
}

/* The product of weight row i and activation row r, and how far off a result in floats may be. */
struct product {
    double value, tolerance;
};
static struct product product(const struct test_weights *w, size_t i, const struct host_acts *h,
                              size_t r)
{
    const bool floats = w->t->block == 1;
    double sum = 0, terms = 0, largest = 0, inputs = 0;
    for (size_t c = 0; c < w->n_cols; c++) {
        const size_t at = r * h->stride + c;
        const double v = floats ? (double)h->x[at] : (double)h->block[at / 32].d * h->q[at];
        const double weight = (double)w->w[i * w->n_cols + c];
        sum += weight * v;
        terms += fabs(weight * v);
        inputs += fabs(v);
        largest = fmax(largest, fabs(weight));
    }
    /* A lane adds n_cols / 32 products of floats one by one, or n_cols / 512 sums of 16 products;
     * then come 5 + 3 additions of lanes and parts. Inside such a sum the operations scale * code,
     * + add, * d round 4 times; where scale * code and add cancel, both are at most twice the
     * largest weight. */
    const double adds = (double)w->n_cols / (floats ? 32 : 512) + 8 + 4;
    return (struct product){ sum, adds * 0x1p-24 * (floats ? terms : 3 * largest * inputs) };
}

static void expect_near(float got, struct product want)
{
    if (!(fabs((double)got - want.value) <= want.tolerance)) {
        print_error("%.9g instead of %.9g, tolerance %.3g\n", (double)got, want.value,
                    want.tolerance);
        fail();
    }
}

/* Runs a job with outputs [n, w[i].n_rows] of its own, which are first filled with `fill`. */
static void run(struct matvec *job, size_t n, const struct dqueue *on, float fill)
{
    for (size_t k = 0; k < job->n_w; k++) {
        const size_t cells = n * job->w[k].n_rows;
        float *x = device_host((cells + 1) * sizeof *x);
        for (size_t i = 0; i < cells; i++) {
            x[i] = fill;
        }
        job->out[k] = put(x, cells);
    }
    CU(kernel_matvec(job, n, on));
}

static const float *out_of(const struct matvec *job, size_t k, size_t n)
{
    return device_get(job->out[k], n * job->w[k].n_rows * sizeof(float));
}

/* ---------------------------------------------------------------- every type */

static const size_t row_counts[] = { 1, 31, 32, 33, 255, 257 };
enum { N_ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

static size_t cols_of(const struct quant_type *t, size_t k)
{
    static const size_t floats[] = { 1, 31, 33, 255, 257, 1023 }, blocks[] = { 1, 2, 5, 7, 9, 13 };
    k %= N_ROW_COUNTS;
    /* From the fourth count on, types with blocks of 32 get five times as many columns. These are
     * more blocks than a warp has lanes, so that a lane takes a second one. */
    return t->block == 1 ? floats[k] : t->block * blocks[k] * (t->block == 32 && k > 2 ? 5 : 1);
}

/* Checks one matrix in the modes STORE (with and without bias) and ADD. */
static void expect_products(const struct test_weights *w, size_t n, uint64_t seed)
{
    const struct input in = input_of(random_floats(seed, n * w->n_cols), n, w->n_cols);
    const float *bias = random_floats(seed + 1, w->n_rows), residual = 0.75f;
    struct matvec job = { .n_w = 1, .w = { w->d }, .in = in.d };
    run(&job, n, device_queue(), NAN);
    const float *plain = out_of(&job, 0, n);
    job.bias[0] = put(bias, w->n_rows);
    run(&job, n, device_queue(), NAN);
    const float *biased = out_of(&job, 0, n);
    job.bias[0].at = 0;
    job.mode = MATVEC_ADD;
    run(&job, n, device_queue(), residual);
    const float *added = out_of(&job, 0, n);
    for (size_t i = 0; i < n * w->n_rows; i++) {
        expect_near(plain[i], product(w, i % w->n_rows, &in.h, i / w->n_rows));
        assert_true(biased[i] == plain[i] + bias[i % w->n_rows]);
        assert_true(added[i] == residual + plain[i]);
    }
}

static void each_type(void **state)
{
    const struct quant_type *t = *state;
    static const size_t n[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 17 };
    const size_t n_jobs = thin() ? 3 : 10;
    for (size_t k = 0; k < n_jobs; k++) {
        const size_t row_count = row_counts[(k + t->id) % N_ROW_COUNTS];
        const struct test_weights w = weights_of(t, k, row_count, cols_of(t, k));
        /* The shapes with a slow product get few rows of activations, and the others get many. */
        expect_products(&w, row_count > 200 ? n[k % 4] : n[k], 100 + k);
    }
}

/* ---------------------------------------------------------------- gate and up */

/* Returns silu(gate) * up, and how far off it may be: 8 roundings of its own
 * (tests/cuda/test_rows.c), and silu has a slope of at most 1.1. */
static struct product gated(struct product gate, struct product up)
{
    const double silu = gate.value / (1 + exp(-gate.value));
    return (struct product){ silu * up.value, fabs(silu) * up.tolerance +
                                                  1.1 * gate.tolerance * fabs(up.value) +
                                                  1.1 * gate.tolerance * up.tolerance +
                                                  8 * 0x1p-24 * fabs(silu * up.value) };
}

static void expect_gated(const struct test_weights *gate, const struct test_weights *up, size_t n,
                         uint32_t forms)
{
    const struct input in = input_of(random_floats(n, n * gate->n_cols), n, gate->n_cols);
    struct matvec job = { .mode = MATVEC_SWIGLU,
                          .n_w = 2,
                          .w = { gate->d, up->d },
                          .acts = device_acts(n, gate->n_rows, forms),
                          .in = in.d };
    CU(kernel_matvec(&job, n, device_queue()));
    const struct host_acts h = acts_get(&job.acts, n);
    if (!(forms & ACT_F32)) {
        job.acts = device_acts(n, gate->n_rows, ACT_F32);
        CU(kernel_matvec(&job, n, device_queue()));
    }
    const float *x = acts_get(&job.acts, n).x;
    for (size_t i = 0; i < n * h.stride; i++) {
        const size_t r = i / h.stride, row = i % h.stride;
        if (row < h.n_cols) {
            expect_near(x[i], gated(product(gate, row, &in.h, r), product(up, row, &in.h, r)));
        } else {
            assert_true(same_float(x[i], 0.0f));
        }
    }
    if (forms & ACT_Q8) {
        assert_int_equal(wrong_blocks(&h, n, x), 0);
    }
}

static void swiglu(void **state)
{
    (void)state;
    static const struct {
        const char *gate, *up;
        size_t n_rows, n_cols, n;
        uint32_t forms;
    } cases[] = {
        { "Q4_K", "Q4_K", 257, 512, 1, ACT_Q8 },
        { "Q4_K", "Q6_K", 33, 768, 8, ACT_Q8 | ACT_F32 },
        { "Q5_0", "Q5_0", 31, 96, 3, ACT_F32 },
        { "Q8_0", "F16", 64, 64, 5, ACT_Q8 },
        { "F32", "BF16", 1, 33, 2, ACT_Q8 | ACT_F32 },
        { "IQ4_XS", "Q5_1", 255, 256, 9, ACT_Q8 },
        { "F16", "F16", 100, 255, 17, ACT_F32 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const struct test_weights gate = weights_of(type(cases[k].gate), k, cases[k].n_rows,
                                                    cases[k].n_cols),
                                  up = weights_of(type(cases[k].up), k + 9, cases[k].n_rows,
                                                  cases[k].n_cols);
        expect_gated(&gate, &up, cases[k].n, cases[k].forms);
    }
}

/* ---------------------------------------------------------------- the norm inside */

/* A job whose blocks normalise gives the bits of kernel_norm followed by the same job without a
 * norm. */
static void expect_norm_inside(struct matvec job, const struct norm *norm, size_t n,
                               const struct dqueue *on)
{
    job.in = device_acts(n, norm->dim, ACT_Q8 | ACT_F32);
    CU(kernel_norm(norm, n, &job.in, on));
    run(&job, n, on, NAN);
    struct matvec inside = job;
    memset(&inside.in, 0, sizeof inside.in);
    inside.norm = *norm;
    run(&inside, n, on, NAN);
    for (size_t k = 0; k < job.n_w; k++) {
        const size_t bytes = n * job.w[k].n_rows * sizeof(float);
        assert_memory_equal(out_of(&inside, k, n), out_of(&job, k, n), bytes);
    }
}

static struct norm norm_of(size_t n_rows, size_t dim, uint64_t seed)
{
    return (struct norm){ .x = put(random_floats(seed, n_rows * dim), n_rows * dim),
                          .weight = put(random_floats(seed + 1, dim), dim),
                          .dim = (uint32_t)dim,
                          .eps = 1e-6f };
}

static void norm_inside(void **state)
{
    (void)state;
    static const uint32_t picks[20] = { 3, 19, 0, 0, 7, 18, 2, 11, 5, 6, 1, 4, 9, 8, 10, 12, 13 };
    static const struct {
        const char *types[3];
        size_t n_rows[3], n_cols;
    } cases[] = {
        { { "Q4_K", "Q6_K", "F16" }, { 100, 33, 40 }, 512 },
        { { "Q5_0", "Q5_0", "Q8_0" }, { 64, 16, 16 }, 96 },
        { { "BF16", "F32", "F32" }, { 31, 1, 65 }, 1023 }, /* not a multiple of 4 */
        { { "F32", "F32", "F32" }, { 7, 7, 7 }, 33 },
        { { "IQ4_NL", "Q3_K", "Q2_K" }, { 40, 50, 60 }, 1280 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct matvec job = { .n_w = 3 };
        for (size_t i = 0; i < 3; i++) {
            job.w[i] =
                weights_of(type(cases[k].types[i]), k + i, cases[k].n_rows[i], cases[k].n_cols).d;
            job.bias[i] =
                put(random_floats(i, cases[k].n_rows[i]), i == 1 ? 0 : cases[k].n_rows[i]);
        }
        job.bias[1].at = 0;
        struct norm norm = norm_of(20, cases[k].n_cols, k);
        for (size_t n = 1; n <= 17; n = n < 9 ? n + 1 : n + 8) {
            norm.rows = n % 2 ? device_put(picks, sizeof picks) : (struct dptr){ 0 };
            expect_norm_inside(job, &norm, n, device_queue());
        }
    }
}

/* Rows that do not fit into shared memory all at once take more passes, with the same bits. A row
 * that does not fit alone is an error. */
static void little_shared_memory(void **state)
{
    (void)state;
    enum { DIM = 5120, N = 8, N_ROWS = 40 };
    const struct norm norm = norm_of(N, DIM, 1);
    struct matvec job = { .n_w = 1, .w = { weights_of(type("Q4_0"), 1, N_ROWS, DIM).d } };
    /* The rows take 8 * 6.25 KB, more than a block has unless it asks. */
    job.norm = norm;
    run(&job, N, device_queue(), NAN);
    const float *want = out_of(&job, 0, N);
    for (uint32_t rows = 0; rows <= 3; rows++) {
        struct dqueue on = *device_queue();
        on.shared_bytes = 6144 + rows * (DIM + DIM / 32 * 8) + 100;
        if (rows == 0) {
            assert_int_equal(kernel_matvec(&job, N, &on), cudaErrorInvalidConfiguration);
        } else {
            run(&job, N, &on, NAN);
            assert_memory_equal(out_of(&job, 0, N), want, N * N_ROWS * sizeof *want);
        }
    }
    expect_norm_inside((struct matvec){ .n_w = 1, .w = { job.w[0] } }, &norm, N, device_queue());
}

/* ---------------------------------------------------------------- the same bits */

/* The bits of a row do not depend on the number of rows, in any mode and for any type. */
static void same_bits(void **state)
{
    const struct quant_type *t = *state;
    enum { N = 17, N_ROWS = 37 };
    static const size_t counts[] = { 1, 2, 3, 5, 8, 9 };
    const size_t n_cols = t->block == 1 ? 777 : t->block == 32 ? 1056 : 1280;
    const struct test_weights w = weights_of(t, 1, N_ROWS, n_cols);
    const struct input in = input_of(random_floats(2, N * n_cols), N, n_cols);
    for (int mode = MATVEC_STORE; mode <= MATVEC_SWIGLU; mode++) {
        struct matvec job = { .mode = (enum matvec_mode)mode,
                              .n_w = mode == MATVEC_SWIGLU ? 2 : 1,
                              .w = { w.d, w.d },
                              .acts = device_acts(N, N_ROWS, ACT_F32),
                              .in = in.d };
        const size_t stride = mode == MATVEC_SWIGLU ? 64 : N_ROWS;
        run(&job, N, device_queue(), 1.0f);
        const float *all = mode == MATVEC_SWIGLU ? acts_get(&job.acts, N).x : out_of(&job, 0, N);
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            const size_t n = counts[k], r = (5 * k + t->id) % (N - n + 1);
            job.in = from_row(in.d, r);
            job.acts = device_acts(n, N_ROWS, ACT_F32);
            run(&job, n, device_queue(), 1.0f);
            const float *some =
                mode == MATVEC_SWIGLU ? acts_get(&job.acts, n).x : out_of(&job, 0, n);
            assert_memory_equal(some, all + r * stride, n * stride * sizeof *some);
        }
    }
}

/* There are few rows and long columns. The columns are divided into 2, 4 or 8 parts, depending on
 * the size of the device, and a block has several tiles. */
static void parts(void **state)
{
    (void)state;
    static const char *const types[] = { "Q4_K", "Q8_0", "F16" };
    for (size_t k = 0; k < 3; k++) {
        const size_t n_cols = k == 2 ? 2049 : 8192 + 256, n = 1 + 2 * k;
        const struct test_weights w = weights_of(type(types[k]), k, 57, n_cols);
        const struct input in = input_of(random_floats(k, n * n_cols), n, n_cols);
        /* 57 rows are 15 tasks, and columns are split while an SM has fewer than 16 tasks. */
        for (uint32_t n_sms = 1; n_sms <= 16; n_sms *= 2) {
            struct dqueue on = *device_queue();
            on.n_sms = n_sms;
            struct matvec job = { .mode = MATVEC_ADD, .n_w = 1, .w = { w.d }, .in = in.d };
            run(&job, n, &on, 0.0f);
            const float *out = out_of(&job, 0, n);
            for (size_t i = 0; i < n * w.n_rows; i++) {
                expect_near(out[i], product(&w, i % w.n_rows, &in.h, i / w.n_rows));
            }
        }
    }
}

/* There are more tiles than blocks that run at once, so each block has several. */
static void many_tiles(void **state)
{
    (void)state;
    struct dqueue on = *device_queue();
    on.n_sms = 1;
    const struct test_weights a = weights_of(type("Q8_0"), 1, 300, 64),
                              b = weights_of(type("Q4_0"), 2, 33, 64),
                              c = weights_of(type("Q5_1"), 3, 129, 64);
    const struct test_weights *w[3] = { &a, &b, &c };
    for (size_t n = 1; n <= 4; n += 3) {
        const struct input in = input_of(random_floats(n, n * 64), n, 64);
        struct matvec job = { .n_w = 3, .w = { a.d, b.d, c.d }, .in = in.d };
        run(&job, n, &on, NAN);
        for (size_t k = 0; k < 3; k++) {
            const float *out = out_of(&job, k, n);
            for (size_t i = 0; i < n * w[k]->n_rows; i++) {
                expect_near(out[i], product(w[k], i % w[k]->n_rows, &in.h, i / w[k]->n_rows));
            }
        }
        struct matvec gate = { .mode = MATVEC_SWIGLU,
                               .n_w = 2,
                               .w = { a.d, a.d },
                               .acts = device_acts(n, 300, ACT_F32),
                               .in = in.d };
        CU(kernel_matvec(&gate, n, &on));
        const struct host_acts h = acts_get(&gate.acts, n);
        for (size_t i = 0; i < n * 300; i++) {
            const struct product p = product(&a, i % 300, &in.h, i / 300);
            expect_near(h.x[i / 300 * h.stride + i % 300], gated(p, p));
        }
    }
}

/* ---------------------------------------------------------------- what is broken stays so */

static void broken(void **state)
{
    const struct quant_type *t = *state;
    enum { N = 3, N_ROWS = 33 };
    static const float bad[] = { NAN, INFINITY };
    const size_t n_cols = t->block == 1 ? 100 : 2 * t->block;
    const struct test_weights w = weights_of(t, 4, N_ROWS, n_cols);
    for (size_t k = 0; k < 2; k++) {
        float *x = random_floats(5, N * n_cols);
        x[1 * n_cols + 31] = bad[k];
        const struct input in = input_of(x, N, n_cols);
        struct matvec job = { .n_w = 1, .w = { w.d }, .in = in.d };
        run(&job, N, device_queue(), 0.0f);
        const float *out = out_of(&job, 0, N);
        for (size_t i = 0; i < N * N_ROWS; i++) {
            assert_true((i / N_ROWS == 1) == !isfinite(out[i]));
        }
        job.norm = (struct norm){
            .x = put(x, N * n_cols), .weight = put(x, n_cols), .dim = (uint32_t)n_cols, .eps = 1e-6f
        };
        run(&job, N, device_queue(), 0.0f);
        out = out_of(&job, 0, N);
        for (size_t i = 0; i < N * N_ROWS; i++) {
            assert_true((i / N_ROWS == 1) == isnan(out[i]));
        }
    }
}

static void no_work(void **state)
{
    (void)state;
    const struct test_weights w = weights_of(type("Q8_0"), 1, 4, 32);
    struct matvec job = { .n_w = 1, .w = { w.d } };
    CU(kernel_matvec(&job, 0, device_queue()));
    CU(cudaStreamSynchronize(device_queue()->stream));
    /* Q8_1 is a type of files, but no weights have it. */
    job.w[0].type = 9;
    assert_int_equal(kernel_matvec(&job, 1, device_queue()), cudaErrorInvalidValue);
}

/* ---------------------------------------------------------------- the list */

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction f;
        bool each_type;
    } list[] = {
        { "products", each_type, true },
        { "same_bits", same_bits, true },
        { "broken", broken, true },
        { "swiglu", swiglu, false },
        { "norm_inside", norm_inside, false },
        { "little_shared_memory", little_shared_memory, false },
        { "parts", parts, false },
        { "many_tiles", many_tiles, false },
        { "no_work", no_work, false },
    };
    enum { N_LIST = sizeof list / sizeof list[0], MAX_TYPES = 32 };
    static struct CMUnitTest tests[N_LIST * MAX_TYPES];
    static char names[N_LIST * MAX_TYPES][64];
    size_t n = 0;
    for (size_t k = 0; k < N_LIST; k++) {
        const struct quant_type *t;
        for (size_t i = 0; (t = quant_at(i)) != NULL && (i == 0 || list[k].each_type); i++) {
            snprintf(names[n], sizeof names[n], "%s%s%s", list[k].name,
                     list[k].each_type ? " " : "", list[k].each_type ? t->name : "");
            tests[n] = (struct CMUnitTest){ .name = names[n],
                                            .test_func = list[k].f,
                                            .setup_func = device_setup,
                                            .teardown_func = device_teardown,
                                            .initial_state = (void *)(uintptr_t)t };
            n++;
        }
    }
    return _cmocka_run_group_tests("matvec", tests, n, NULL, NULL);
}
