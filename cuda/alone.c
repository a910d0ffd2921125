#include "alone.h"

#include <pthread.h>

/* This is the only variable of the library that belongs to the whole process. Captures, and calls
 * that break captures, can come from engines of different models, which share no object that could
 * hold the mutex. It guards no memory; it only keeps captures and such calls apart in time. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void alone_begin(void) { pthread_mutex_lock(&mutex); }

void alone_end(void) { pthread_mutex_unlock(&mutex); }
