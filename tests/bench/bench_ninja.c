/* bench_ninja LAB: the plan of the lab's first `up` as a build.ninja on standard output.
 *
 * One build statement (what ninja calls an edge) per step; its inputs are the outputs of the steps it waits for. So
 * ninja reads the same graph: the same number of nodes, the same dependencies. No output exists: everything is to be
 * done, as in a first `up`. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_plan.h"
#include "nestor/buffer.h"

/* What a step waits for; the plan has it the other way round. */
struct inputs {
    uint32_t *of; /* before[first[i]] ... before[first[i + 1]] */
    uint32_t *first;
};

static struct inputs turn_around(const struct plan *plan) {
    struct inputs in = {.first = xcalloc(plan->nsteps + 2, sizeof *in.first)};
    for (size_t i = 0; i < plan->nsteps; i++)
        in.first[i + 2] = in.first[i + 1] + plan->steps[i].ndeps;
    in.of = xcalloc(in.first[plan->nsteps + 1] + 1, sizeof *in.of);
    for (uint32_t i = 0; i < plan->nsteps; i++)
        for (uint32_t k = 0; k < plan->steps[i].nnext; k++)
            in.of[in.first[plan->next[plan->steps[i].first_next + k] + 1]++] = i;
    return in; /* filling has moved each start to its end: first[i] is now where i's begin */
}

static void print_target(const struct plan *plan, uint32_t step) {
    const struct step *s = &plan->steps[step];
    const struct inventory *inv = plan->inventory;
    printf(" %s/%s", s->row != LAB_NONE ? inv->rows[s->row].path : inv->hosts[s->host].name, step_name(s->kind));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: bench_ninja LAB\n", stderr);
        return 2;
    }
    struct bench_plan b = bench_plan_load(argv[1]);
    struct inputs in = turn_around(b.plan);
    puts("rule step\n  command = :");
    for (uint32_t i = 0; i < b.plan->nsteps; i++) {
        fputs("build", stdout);
        print_target(b.plan, i);
        fputs(": step", stdout);
        for (uint32_t k = in.first[i]; k < in.first[i + 1]; k++)
            print_target(b.plan, in.of[k]);
        putchar('\n');
    }
    fprintf(stderr, "build.ninja: %zu build statements with %u inputs, as the plan has steps and dependencies\n",
            b.plan->nsteps, in.first[b.plan->nsteps]);
    free(in.of);
    free(in.first);
    bench_plan_free(&b);
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
