/* From a lab file to the plan of its first `up`, as `nestor plan` makes it, without state or hypervisors. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "nestor/plan.h"

struct bench_plan {
    struct lab *lab;
    struct inventory *inventory;
    struct plan *plan;
};

/* Ends the process with a message when it cannot: nothing can be measured then. */
struct bench_plan bench_plan_load(const char *file);
void bench_plan_free(struct bench_plan *b);

#endif
