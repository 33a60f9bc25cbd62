/* One thing done to each of many, several at the same time. */
#ifndef NESTOR_PARALLEL_H
#define NESTOR_PARALLEL_H

#include <stddef.h>

#define PARALLEL_MAX 32

/* Calls each(data, i) for every i below n, at most PARALLEL_MAX of them at the same time, and returns once all have
 * returned. The caller's thread helps, so one needs no other, and all are done however few threads can be had. What a
 * call finds out it keeps under its own i: calls run on several threads, in any order. */
void parallel_each(size_t n, void (*each)(void *data, size_t i), void *data);

#endif
