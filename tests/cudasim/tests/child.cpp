// See child.h. The child has the simulator's fault handler installed.
#include "child.h"
#include "cudasim/testing.h"

#include <cstdio>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

// ThreadSanitizer would wait a second for other threads at the end of every process.
#ifdef CUDASIM_TSAN
extern "C" const char *__tsan_default_options() { return "atexit_sleep_ms=0"; }
#endif

Outcome run_child(void (*run)(void), unsigned seconds)
{
    Outcome o = { -1, "" };
    FILE *out = tmpfile();
    fflush(stdout);
    const pid_t pid = out ? fork() : -1;
    if (pid == 0) {
        dup2(fileno(out), 1);
        dup2(fileno(out), 2);
        alarm(seconds);
        cudasim_catch_faults();
        run();
        exit(0);
    }
    if (pid < 0 || waitpid(pid, &o.status, 0) < 0) {
        o.output = "cannot start a process";
        return o;
    }
    char buf[4096];
    rewind(out);
    for (size_t n; (n = fread(buf, 1, sizeof buf, out)) > 0;)
        o.output.append(buf, n);
    fclose(out);
    return o;
}
