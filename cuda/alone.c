#include "alone.h"

#include <pthread.h>

/* This is the only variable of the library that belongs to the whole process. Captures and the
 * calls that break them meet across engines of different models, which share no object that could
 * hold the mutex. It guards no memory, only moments in time. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void alone_begin(void) { pthread_mutex_lock(&mutex); }

void alone_end(void) { pthread_mutex_unlock(&mutex); }
