#include "base/thread.h"

#include <signal.h>

bool thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t deaf, before;
    sigfillset(&deaf);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&deaf, faults[i]);
    }
    pthread_sigmask(SIG_SETMASK, &deaf, &before);
    int failed = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}
