/* The sequences of a job: opening, starting on a prompt, forking, releasing. */
#ifndef WEFT_SERVE_SEQUENCE_H
#define WEFT_SERVE_SEQUENCE_H

#include "serve/job.h"

/* Opens the empty sequence of choice i with its sampling, stop strings, log-probabilities and
 * grammar. Returns false and sets the job's fault if that fails. Any thread that has the job. */
bool sequence_open(struct job *job, size_t i);
/* Releases the sequence of choice i, if it has one; and of all choices. */
void sequence_release(struct job *job, size_t i);
void sequence_release_all(struct job *job);
/* Appends prompt p to the sequence of its first choice. Returns WEFT_E_KV_FULL if there is no room
 * for it now, and changes nothing then; after any other error the job's fault is set. */
weft_status sequence_start(struct job *job, size_t p);
/* Forks choice `from`, whose prompt is computed, to choice i. As sequence_start(). */
weft_status sequence_fork(struct job *job, size_t from, size_t i);

#endif
