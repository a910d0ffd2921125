// Runs every sample program in a process of its own and counts. Usage: samples [part of a name].
#include "check.h"
#include "child.h"
#include "cudasim/testing.h"

#include <cstring>

static const struct sample *current;

static void run_and_count_leaks()
{
    current->run();
    if (cudasim_leaks(stdout))
        exit(1);
}

int main(int argc, char **argv)
{
    const struct sample *const lists[] = { matvec_samples,  attention_samples, tensor_core_samples,
                                           grid_samples,    intrinsic_samples, graph_samples,
                                           runtime_samples, fault_samples,     cublas_samples,
                                           dry_samples };
    int n_run = 0, n_failed = 0;
    for (auto *list : lists)
        for (current = list; current->name; current++) {
            if (argc > 1 && !strstr(current->name, argv[1]))
                continue;
            n_run++;
            const Outcome o = run_child(run_and_count_leaks, 120);
            if (o.status) {
                n_failed++;
                printf("FAILED: %s (status %d)\n%s", current->name, o.status, o.output.c_str());
            }
        }
    printf("%d passed, %d failed\n", n_run - n_failed, n_failed);
    return n_failed || !n_run;
}
