/* Where the threads of an engine run: anywhere, or each on a processor of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/places.h"
#include "cpu/quota.h"
#include "support/models.h"
#include "support/rig.h"

enum { N_THREADS = 3, N_TOKENS = 9 };

/* Returns the number of this process's threads that may run on one processor only; *on gets these
 * processors. */
static size_t bound_threads(cpu_set_t *on)
{
    size_t n = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    CPU_ZERO(on);
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        cpu_set_t may;
        int id = atoi(e->d_name);
        if (id > 0 && sched_getaffinity(id, sizeof may, &may) == 0 && CPU_COUNT(&may) == 1) {
            CPU_OR(on, on, &may);
            n++;
        }
    }
    closedir(tasks);
    return n;
}

static size_t n_allowed(void)
{
    cpu_set_t may;
    assert_int_equal(sched_getaffinity(0, sizeof may, &may), 0);
    return (size_t)CPU_COUNT(&may);
}

/* Reads the processors that share a core with this one, as the system writes them. The text is
 * empty if the system does not say. */
static void siblings(unsigned cpu, char out[256])
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "r");
    out[0] = '\0';
    if (f != NULL) {
        (void)!fgets(out, 256, f);
        fclose(f);
    }
}

/* Writes the file root/path, and makes the folders on the way. */
static void put_file(const char *root, const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *c = whole + strlen(root) + 1; (c = strchr(c, '/')) != NULL; c++) {
        *c = '\0';
        (void)mkdir(whole, 0700);
        *c = '/';
    }
    FILE *f = fopen(whole, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void test_quota(void **state)
{
    (void)state;
    static const struct {
        const char *groups;
        const char *files[6]; /* path, text */
        size_t want;
    } cases[] = {
        /* Control groups of version 2: no limit, a limit of the group's own, one of a group above
         * it, and several, of which the least counts. Quotas are rounded up. */
        { "0::/\n", { NULL }, 0 },
        { "0::/\n", { "cpu.max", "max 100000\n" }, 0 },
        { "0::/\n", { "cpu.max", "200000 100000\n" }, 2 },
        { "0::/\n", { "cpu.max", "150000 100000\n" }, 2 },
        { "0::/\n", { "cpu.max", "1000 100000\n" }, 1 },
        { "0::/\n", { "cpu.max", "0 100000\n" }, 0 },
        { "0::/\n", { "cpu.max", "junk\n" }, 0 },
        { "0::/a/b\n", { "a/b/cpu.max", "300000 100000\n", "a/cpu.max", "max 100000\n" }, 3 },
        { "0::/a/b\n", { "a/b/cpu.max", "max 100000\n", "a/cpu.max", "100000 50000\n" }, 2 },
        { "0::/a/b\n", { "a/b/cpu.max", "400000 100000\n", "cpu.max", "300000 100000\n" }, 3 },
        { "0::/gone\n", { "cpu.max", "500000 100000\n" }, 5 },
        /* Control groups of version 1. */
        { "3:cpu,cpuacct:/x\n",
          { "cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n", "cpu,cpuacct/x/cpu.cfs_period_us",
            "100000\n" },
          3 },
        { "3:cpuset,cpu:/\n",
          { "cpuset,cpu/cpu.cfs_quota_us", "-1\n", "cpuset,cpu/cpu.cfs_period_us", "100000\n" },
          0 },
        { "3:cpuset:/\n",
          { "cpuset/cpu.cfs_quota_us", "100000\n", "cpuset/cpu.cfs_period_us", "100000\n" },
          0 },
        /* Control groups of both versions. */
        { "1:cpu:/\n0::/\n",
          { "cpu/cpu.cfs_quota_us", "400000\n", "cpu/cpu.cfs_period_us", "100000\n", "cpu.max",
            "300000 100000\n" },
          3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char root[64], groups[512], command[128];
        snprintf(root, sizeof root, "/tmp/weft-quota-%d-%zu", (int)getpid(), i);
        assert_int_equal(mkdir(root, 0700), 0);
        put_file(root, "groups", cases[i].groups);
        for (size_t k = 0; k < 6 && cases[i].files[k] != NULL; k += 2) {
            put_file(root, cases[i].files[k], cases[i].files[k + 1]);
        }
        snprintf(groups, sizeof groups, "%s/groups", root);
        size_t got = quota_cpus(groups, root);
        snprintf(command, sizeof command, "rm -r %s", root);
        assert_int_equal(system(command), 0);
        if (got != cases[i].want) {
            fail_msg("case %zu: %zu, expected %zu", i, got, cases[i].want);
        }
    }
    assert_int_equal(quota_cpus("/nonexistent", "/nonexistent"), 0);
}

static void test_places(void **state)
{
    static struct places p;
    cpu_set_t may, seen;
    (void)state;
    places_find(&p);
    assert_int_equal(p.n, n_allowed());
    assert_true(p.n_cores >= 1 && p.n_cores <= p.n);
    assert_int_equal(sched_getaffinity(0, sizeof may, &may), 0);
    CPU_ZERO(&seen);
    for (size_t i = 0; i < p.n; i++) {
        CPU_SET(p.cpu[i], &seen);
    }
    assert_true(CPU_EQUAL(&seen, &may));
    for (size_t i = 0; i < p.n_cores; i++) {
        for (size_t k = 0; k < i; k++) {
            char a[256], b[256];
            siblings(p.cpu[i], a);
            siblings(p.cpu[k], b);
            assert_true(a[0] == '\0' || strcmp(a, b) != 0);
        }
    }
}

/* A thread that was joined may be listed for a moment longer; this waits until none is. */
static void wait_for_none_bound(void)
{
    cpu_set_t on;
    for (int i = 0; i < 1000 && bound_threads(&on) > 0; i++) {
        usleep(1000);
    }
    assert_int_equal(bound_threads(&on), 0);
}

static void test_pinned(void **state)
{
    weft_engine_params params = WEFT_ENGINE_PARAMS_INIT;
    static struct places p;
    cpu_set_t on, want;
    int32_t tokens[N_TOKENS];
    const char *path = model_file("tiny-qwen2");
    (void)state;
    places_find(&p);
    if (n_allowed() == 1) {
        skip();
    }
    params.device = "cpu";
    params.n_threads = N_THREADS;
    struct rig loose = rig_open(path, &params);
    assert_int_equal(bound_threads(&on), 0);
    params.pin_threads = true;
    struct rig pinned = rig_open(path, &params);
    assert_int_equal(bound_threads(&on), N_THREADS - 1);
    CPU_ZERO(&want);
    for (size_t i = 1; i < N_THREADS; i++) {
        CPU_SET(p.cpu[i % p.n], &want);
    }
    assert_true(CPU_EQUAL(&on, &want));
    rig_tokens(&loose, 3, tokens, N_TOKENS);
    float *a = rig_expected(&loose, tokens, N_TOKENS), *b = rig_expected(&pinned, tokens, N_TOKENS);
    rig_same(&pinned, b, a, "pinned");
    free(a);
    free(b);
    rig_close(&pinned);
    rig_close(&loose);
    wait_for_none_bound();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_places), cmocka_unit_test(test_quota),
                                        cmocka_unit_test(test_pinned) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
