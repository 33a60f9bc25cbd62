#include "bench_plan.h"

#include <stdio.h>
#include <stdlib.h>

struct bench_plan bench_plan_load(const char *file) {
    struct bench_plan b = {0};
    struct diagnostics findings = {0};
    struct error err = {0};
    struct context ctx = {.deadline = DEADLINE_NEVER};
    if (lab_load(file, NULL, &b.lab, &findings, &ctx, &err) ||
        inventory_build("0000000000000000", b.lab->name, b.lab, NULL, &b.inventory, &err) ||
        plan_up(b.inventory, &b.plan, &err)) {
        fprintf(stderr, "%s: %s\n", err.subject, err.cause);
        exit(1);
    }
    diagnostics_free(&findings);
    return b;
}

void bench_plan_free(struct bench_plan *b) {
    plan_free(b->plan);
    inventory_free(b->inventory);
    lab_free(b->lab);
}
