/* SLOWED is defined where sanitizers or the counters of `make coverage` slow the code down, so that
 * bounds of processor time are wider there, or the inputs smaller. */
#ifndef TESTS_SLOWED_H
#define TESTS_SLOWED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(COUNTED)
#define SLOWED
#endif

#endif
