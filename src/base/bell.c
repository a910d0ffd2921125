/* The bell is a futex, because no other call of the system can wake all threads and may be used by
 * a signal handler. */
#include "base/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(atomic_uint) == sizeof(uint32_t), "what the system looks at");

void bell_init(struct bell *b)
{
    atomic_init(&b->n_rung, 0);
    atomic_init(&b->n_asleep, 0);
}

unsigned bell_count(const struct bell *b) { return atomic_load(&b->n_rung); }

static void futex(struct bell *b, int op, unsigned value, const struct timespec *timeout)
{
    int before = errno; /* the errno of the program that the signal handler interrupts */
    syscall(SYS_futex, &b->n_rung, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
    errno = before;
}

void bell_ring(struct bell *b)
{
    /* A thread that is not counted as asleep yet will see the new number, and not sleep. */
    atomic_fetch_add(&b->n_rung, 1);
    if (atomic_load(&b->n_asleep) > 0) {
        futex(b, FUTEX_WAKE, INT_MAX, NULL);
    }
}

void bell_wait(struct bell *b, unsigned seen, int64_t deadline)
{
    const int64_t second = 1000000000;
    int64_t left = deadline == BELL_NEVER ? second : deadline - bell_now();
    if (left <= 0) {
        return;
    }
    const struct timespec timeout = { .tv_sec = (time_t)(left / second),
                                      .tv_nsec = (long)(left % second) };
    atomic_fetch_add(&b->n_asleep, 1);
    futex(b, FUTEX_WAIT, seen, deadline == BELL_NEVER ? NULL : &timeout);
    atomic_fetch_sub(&b->n_asleep, 1);
}

int64_t bell_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
