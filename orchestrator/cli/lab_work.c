#include "cli/lab_work.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/lab_file.h"
#include "cli/templates.h"

/* Every template the plan needs must be there or be obtainable. */
static int check_templates(const struct plan *plan, struct error *err) {
    const struct lab *lab = plan->inventory->lab;
    cleanup_free bool *wanted = xcalloc(lab->ntemplates + 1, sizeof *wanted);
    for (size_t i = 0; i < plan->nsteps; i++)
        if (plan->steps[i].kind == STEP_IMAGE)
            wanted[plan->steps[i].template] = true;
    struct diagnostics diags = {0};
    int failed = templates_check(lab, wanted, &diags, err);
    lab_file_tell(lab->file, &diags);
    diagnostics_free(&diags);
    return failed;
}

int work_plan_up(struct session *s, struct event_sink *sink, struct plan **ret, struct error *err) {
    struct plan *plan = NULL;
    if (session_reach(s, true, sink, err) || reach_observe(s->reach, s->inv, GUEST_OBSERVE_MS, &s->cli->ctx, err) ||
        plan_up(s->inv, &plan, err))
        return -1;
    if (check_templates(plan, err)) {
        plan_free(plan);
        return -1;
    }
    *ret = plan;
    return 0;
}

int work_run(struct session *s, struct plan *plan, const struct capability *hosts, unsigned parallel,
             struct progress *progress, struct run_result *ret, struct error *err) {
    struct run_options options = {.parallel = parallel, .hosts = hosts};
    progress_plan(progress, plan);
    progress_watch(progress, &s->cli->cancel);
    return run_plan(plan, s->reach, s->state, s->has_secret ? &s->secret : NULL, &options, progress_sink(progress),
                    &s->cli->ctx, ret, err);
}

int work_exit_code(const struct run_result *result, const struct error *err) {
    error_print(err, color_on(STDERR_FILENO), stderr);
    int code = exit_code_of(err);
    return code != NESTOR_INTERRUPTED && result->done ? NESTOR_PARTLY : code;
}
