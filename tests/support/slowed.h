/* SLOWED is defined where sanitizers or the counters of `make coverage` slow the code down. There,
 * bounds of processor time are wider, or inputs smaller. */
#ifndef TESTS_SLOWED_H
#define TESTS_SLOWED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(COUNTED)
#define SLOWED
#endif

#endif
