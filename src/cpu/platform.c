/* Finds out what the processor and the system are. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cpu/places.h"
#include "cpu/state.h"
#include "platform.h"

#if defined(__x86_64__)

#include <cpuid.h>

static bool has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* __builtin_cpu_supports accepts only a literal. */
static void list_features(char *dst, size_t cap)
{
    const struct {
        const char *name;
        bool there;
    } features[] = {
        { " avx2", __builtin_cpu_supports("avx2") },
        { " fma", __builtin_cpu_supports("fma") },
        { " f16c", has_f16c() },
        { " avx512f", __builtin_cpu_supports("avx512f") },
        { " avx512bw", __builtin_cpu_supports("avx512bw") },
        { " avx512dq", __builtin_cpu_supports("avx512dq") },
        { " avx512vl", __builtin_cpu_supports("avx512vl") },
        { " avx512vnni", __builtin_cpu_supports("avx512vnni") },
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (features[i].there) {
            n += (size_t)snprintf(dst + n, cap - n, "%s", features[i].name + (n == 0));
        }
    }
}

/* Reads the brand string: 48 bytes in three leaves, padded with spaces at either end. */
static void read_name(char *dst, size_t cap)
{
    unsigned words[12] = { 0 };
    char text[sizeof words + 1] = "";
    for (unsigned i = 0; i < 3; i++) {
        unsigned *w = words + 4 * i;
        if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) {
            return;
        }
    }
    memcpy(text, words, sizeof words);
    const char *start = text + strspn(text, " ");
    size_t n = strlen(start);
    while (n > 0 && start[n - 1] == ' ') {
        n--;
    }
    snprintf(dst, cap, "%.*s", (int)n, start);
}

#else

static void list_features(char *dst, size_t cap)
{
    (void)dst;
    (void)cap;
}

static void read_name(char *dst, size_t cap)
{
    (void)dst;
    (void)cap;
}

#endif

/* Returns the number behind `key` in a file of the system, or 0 if there is none. */
static uint64_t read_number(const char *path, const char *key)
{
    char line[128];
    uint64_t value = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = sscanf(line + strlen(key), "%" SCNu64, &value) == 1 ? value : 0;
            break;
        }
    }
    fclose(f);
    return value;
}

static void read_memory(struct cpu_platform *p)
{
    p->total_bytes = read_number("/proc/meminfo", "MemTotal:") * 1024;
    p->free_bytes = read_number("/proc/meminfo", "MemAvailable:") * 1024;
    /* A container may use less memory than the machine has. The text "max" is no number, so it
     * reads as 0. */
    uint64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    if (limit > 0 && limit < p->total_bytes) {
        p->total_bytes = limit;
        p->free_bytes = p->free_bytes < limit ? p->free_bytes : limit;
    }
}

void cpu_platform_get(struct cpu_platform *p)
{
    const struct cpu_ops *ops = NULL;
    struct utsname system;
    *p = (struct cpu_platform){ .kernels = "scalar" };
    read_name(p->name, sizeof p->name);
    if (p->name[0] == '\0' && uname(&system) == 0) {
        snprintf(p->name, sizeof p->name, "%.63s", system.machine);
    }
    error_clean(p->name);
    list_features(p->features, sizeof p->features);
    if (cpu_ops_choose(WEFT_ISA_AUTO, &ops, NULL) == WEFT_OK) {
        p->kernels = ops->name;
    }
    struct places places;
    places_find(&places);
    p->n_cores = places.n_cores;
    p->n_threads = places.n;
    read_memory(p);
}
