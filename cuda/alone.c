#include "alone.h"

#include <pthread.h>

/* The library has no other variable of the whole process. Captures and calls that break them meet
 * across engines of different models, which share nothing that this could hang on; and it guards no
 * memory, only moments. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void alone_begin(void) { pthread_mutex_lock(&mutex); }

void alone_end(void) { pthread_mutex_unlock(&mutex); }
