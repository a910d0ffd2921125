/* Sleeps until an engine has something to compute. This is for a thread that steps the engine and
 * does not want to poll. Calls that make rows or free pages ring the bell (seq_leave(),
 * engine_unlock()). The engine's lock is held only while has_rows() looks, never while a thread
 * sleeps. */
#include "run/engine.h"

static bool has_rows(struct weft_engine *e)
{
    lock_take(&e->lock);
    bool rows = sched_waits(&e->sched);
    lock_give(&e->lock);
    return rows;
}

weft_status weft_engine_wait(weft_engine *engine, int ms, bool *ready, weft_error *err)
{
    TRY(engine_check(engine, err));
    engine_retain(engine); /* another thread may release its handle after it has woken this one */
    const int64_t deadline = ms < 0 ? BELL_NEVER : bell_now() + (int64_t)ms * 1000000;
    const unsigned n_wakes = atomic_load(&engine->n_wakes);
    for (;;) {
        /* The rings are counted before has_rows() looks, so a ring after that look is not
         * missed. */
        const unsigned seen = bell_count(&engine->bell);
        const bool rows = has_rows(engine);
        const bool woken = atomic_exchange(&engine->woken, false);
        if (rows || woken || atomic_load(&engine->n_wakes) != n_wakes || bell_now() >= deadline) {
            if (ready != NULL) {
                *ready = rows;
            }
            weft_engine_release(&engine);
            return WEFT_OK;
        }
        bell_wait(&engine->bell, seen, deadline);
    }
}

void engine_wake(struct weft_engine *e)
{
    atomic_store(&e->woken, true);
    atomic_fetch_add(&e->n_wakes, 1);
    bell_ring(&e->bell);
}

void weft_engine_wake(weft_engine *engine)
{
    if (engine_check(engine, NULL) == WEFT_OK) {
        engine_wake(engine);
    }
}
