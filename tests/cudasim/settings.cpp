// Settings and their environment variables, statistics, random numbers, and how cudasim reports.
#include "cudasim.h"
#include "sanitizers.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <string>

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v ? v : "";
}

static struct cudasim_config from_environment()
{
    struct cudasim_config s = {};
    s.seed = 1;
    s.protect = true;
    s.strict_exit = true;
    s.stack = SAN_ADDRESS || SAN_THREAD ? 256 << 10 : 64 << 10;
    s.device_memory = size_t(1) << 30;
    s.sm_count = 4;
    s.compute_capability = 86;
    s.shared_opt_in = 99 << 10;
    s.l2_bytes = 4 << 20;
    if (!strcmp(env("CUDASIM_ORDER"), "desc"))
        s.order = CUDASIM_DESCENDING;
    if (!strcmp(env("CUDASIM_ORDER"), "random"))
        s.order = CUDASIM_RANDOM;
    if (*env("CUDASIM_SEED"))
        s.seed = strtoull(env("CUDASIM_SEED"), nullptr, 0);
    if (*env("CUDASIM_EAGER"))
        s.eager = atoi(env("CUDASIM_EAGER")) != 0;
    if (*env("CUDASIM_PROTECT"))
        s.protect = atoi(env("CUDASIM_PROTECT")) != 0;
    return s;
}

extern "C" struct cudasim_config *cudasim_settings(void)
{
    static struct cudasim_config s = from_environment();
    return &s;
}

extern "C" struct cudasim_counts *cudasim_stats(void)
{
    static struct cudasim_counts s;
    return &s;
}

namespace cudasim
{

uint64_t xorshift(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ull;
}

uint64_t next_random()
{
    static uint64_t state = 0, seeded_with = 0;
    uint64_t seed = cudasim_settings()->seed;
    if (!state || seeded_with != seed) {
        seeded_with = seed;
        state = seed * 0x9e3779b97f4a7c15ull | 1;
    }
    return xorshift(&state);
}

const char *kernel_name(const void *fn)
{
    static std::mutex lock;
    static std::map<const void *, std::string> names;
    std::lock_guard<std::mutex> l(lock);
    std::string &name = names[fn];
    if (name.empty()) {
        Dl_info info;
        name = "?";
        // A symbol that is not exported would get the name of another symbol before it.
        if (dladdr(const_cast<void *>(fn), &info) && info.dli_sname && info.dli_saddr == fn) {
            char *d = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, nullptr);
            name = d ? d : info.dli_sname;
            free(d);
            name = name.substr(0, name.find('('));
            if (name.rfind("void ", 0) == 0) // in a template the type precedes the name
                name = name.substr(5);
        }
    }
    return name.c_str();
}

void report(const char *fmt, ...)
{
    va_list ap;
    fflush(stdout);
    fprintf(stderr, "cudasim: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
}

void die(const char *fmt, ...)
{
    char where[256];
    va_list ap;
    describe_current(where, sizeof where);
    fflush(stdout);
    fprintf(stderr, "cudasim: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n  in %s\n", where);
    if (cudasim_settings()->order == CUDASIM_RANDOM)
        fprintf(stderr, "  CUDASIM_ORDER=random CUDASIM_SEED=%llu\n",
                (unsigned long long)cudasim_settings()->seed);
    abort();
}

} // namespace cudasim
