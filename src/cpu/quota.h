/* The CPU time that a container lets this process have (docker --cpus, a limit of Kubernetes). */
#ifndef WEFT_CPU_QUOTA_H
#define WEFT_CPU_QUOTA_H

#include <stddef.h>

/* Returns how many processors the quotas of the process's control groups amount to, rounded up, at
 * least 1; 0 = no quota. `groups` is a file with the process's groups, in the form of
 * /proc/self/cgroup. `root` is the folder where the file systems of control groups (version 1, 2 or
 * both) are mounted, /sys/fs/cgroup. */
size_t quota_cpus(const char *groups, const char *root);

#endif
