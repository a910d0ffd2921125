// Runs every planted bug in a process of its own, in the configurations of this build. The
// configurations that the bug lists must notice it, and no configuration may report a correct
// program. Usage: bugs [-v] [name]; -v prints a table, and what the programs printed.
#include "bugs.h"
#include "child.h"
#include "cudasim/sanitizers.h"

#include <cstring>

#if SAN_ADDRESS
extern "C" const char *__asan_default_options() { return "detect_leaks=0"; } // Bench frees nothing
#endif

enum { N_SEEDS = 5 };

static bool contains(const std::string &text, const char *part)
{
    return text.find(part) != std::string::npos;
}

// Returns true if the run ended as `b` describes. A crash for another reason does not count.
static bool noticed(const bug &b, const Outcome &o)
{
    if (o.status == 0)
        return false;
    if (contains(o.output, "AddressSanitizer") ||
        contains(o.output, "ThreadSanitizer: data race") || contains(o.output, "runtime error:"))
        return true;
    std::string says = b.says;
    for (size_t at = 0; at <= says.size();) {
        const size_t end = std::min(says.find('|', at), says.size());
        if (end > at && contains(o.output, says.substr(at, end - at).c_str()))
            return true;
        at = end + 1;
    }
    return false;
}

struct Tally {
    int runs, caught, strange; // strange: failed, but not as described
    std::string output;
};

static Tally run(const bug &b, char configuration)
{
    Tally t = { 0, 0, 0, "" };
    struct cudasim_config *c = cudasim_settings();
    c->order = configuration == 'd'   ? CUDASIM_DESCENDING
               : configuration == 'r' ? CUDASIM_RANDOM
                                      : CUDASIM_ASCENDING;
    const int n = configuration == 'r' ? N_SEEDS : 1;
    for (c->seed = 1; c->seed <= (uint64_t)n; c->seed++) {
        const Outcome o = run_child(b.run, 60);
        const bool hit = noticed(b, o);
        t.runs++;
        t.caught += hit;
        t.strange += o.status != 0 && !hit;
        if (t.output.empty() || (o.status && !hit))
            t.output = o.output;
    }
    return t;
}

// Prints what is wrong. Returns 1 if anything is wrong, otherwise 0.
static int judge(const bug &b, char configuration, bool verbose)
{
    const Tally t = run(b, configuration);
    if (verbose)
        printf("%-24s %c %d/%d\n%s", b.name, configuration, t.caught, t.runs, t.output.c_str());
    const char *problem = nullptr;
    if (t.strange)
        problem = "failed in another way than described";
    else if (!*b.caught_by && t.caught)
        problem = "a correct program was reported";
    else if (strchr(b.caught_by, configuration) && *b.caught_by && !t.caught)
        problem = "was not noticed";
    if (problem)
        printf("FAILED: %s, configuration %c: %s\n%s", b.name, configuration, problem,
               t.output.c_str());
    return problem != nullptr;
}

int main(int argc, char **argv)
{
    const char *const configurations = SAN_ADDRESS ? "s" : SAN_THREAD ? "t" : "adr";
    const bug *const lists[] = { kernel_bugs, memory_bugs, host_bugs };
    const bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    const char *only = argc > 1 + verbose ? argv[1 + verbose] : nullptr;
    int n_passed = 0, n_failed = 0;
    for (const bug *list : lists)
        for (const bug *b = list; b->name; b++) {
            if (only && strcmp(only, b->name))
                continue;
            int problems = 0;
            for (const char *c = configurations; *c; c++)
                problems += judge(*b, *c, verbose);
            n_passed += !problems;
            n_failed += problems > 0;
        }
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed || !n_passed;
}
