/* The kernels of the benchmark: every word of the memory is read once, wherever it ends in the grid
 * (a word left out or read twice changes the sum, which is exact), and the empty kernel takes its
 * place in a graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cuda/device.h"

static uint32_t random_word(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

static uint32_t sum_on_device(struct dptr from, size_t bytes, uint32_t blocks_per_sm,
                              uint32_t start)
{
    struct dptr sum = device_put(&start, sizeof start);
    CU(kernel_measure_read(from, bytes, sum, blocks_per_sm, device_queue()));
    return *(const uint32_t *)device_get(sum, sizeof start);
}

static void test_read(void **state)
{
    (void)state;
    const size_t wave =
        /* The bytes of one load of every thread. */
        (size_t)device_queue()->n_sms * 256 * 16;
    const size_t sizes[] = {
        0, 16, 48, 4096, wave, wave + 16, 4 * wave - 16, 4 * wave, 4 * wave + 16, 7 * wave + 160
    };
    const size_t n_words = (7 * wave + 160) / 4;
    uint64_t seed = 5;
    uint32_t *words = device_host(n_words * sizeof *words);
    for (size_t i = 0; i < n_words; i++) {
        words[i] = random_word(&seed);
    }
    struct dptr from = device_put(words, n_words * sizeof *words);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t want = 7;
        for (size_t w = 0; w < sizes[i] / 4; w++) {
            want += words[w];
        }
        assert_int_equal(sum_on_device(from, sizes[i], 1, 7), want);
        assert_int_equal(sum_on_device(from, sizes[i], 3, 7), want);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct dqueue q = *device_queue();
    const uint32_t words[4] = { 1, 2, 3, 4 }, start = 0;
    struct dptr from = device_put(words, sizeof words), sum = device_put(&start, sizeof start);
    for (int programmatic = 0; programmatic < 2; programmatic++) {
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        q.programmatic = programmatic != 0 && device_queue()->programmatic;
        CU(cudaStreamBeginCapture(q.stream, cudaStreamCaptureModeThreadLocal));
        for (int i = 0; i < 5; i++) {
            CU(kernel_measure_nothing(3, &q));
            CU(kernel_measure_read(from, sizeof words, sum, 1, &q));
        }
        CU(cudaStreamEndCapture(q.stream, &graph));
        CU(cudaGraphInstantiate(&exec, graph, 0));
        CU(cudaGraphLaunch(exec, q.stream));
        CU(cudaGraphLaunch(exec, q.stream));
        assert_int_equal(*(const uint32_t *)device_get(sum, sizeof start),
                         (programmatic + 1) * 2 * 5 * 10);
        CU(cudaGraphExecDestroy(exec));
        CU(cudaGraphDestroy(graph));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, device_setup, device_teardown),
        cmocka_unit_test_setup_teardown(test_nothing, device_setup, device_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
