/* The CPU time that a container lets this process have (docker --cpus, a limit of Kubernetes). */
#ifndef WEFT_CPU_QUOTA_H
#define WEFT_CPU_QUOTA_H

#include <stddef.h>

/* Processors that the quotas of the process's control groups amount to, rounded up, at least 1; 0 =
 * no quota. `groups`: the process's groups, as in /proc/self/cgroup; `root`: where the file systems
 * of control groups (version 1, 2, or both) are mounted, /sys/fs/cgroup. */
size_t quota_cpus(const char *groups, const char *root);

#endif
