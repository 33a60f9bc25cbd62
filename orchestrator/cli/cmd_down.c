#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/lab_work.h"

struct down_options {
    bool yes;
};
static const struct option_spec options[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct down_options, yes), NULL, "do not ask"},
    {0},
};

/* The rows go last: until then a killed `down` is continued by the next one. */
static int forget(struct session *s, struct error *err) {
    return session_forget_files(s, err) || state_lab_delete(s->state, s->lab_id, err) ? -1 : 0;
}

static int take_down(struct session *s, const struct down_options *o, struct error *err) {
    struct cli *cli = s->cli;
    struct plan *plan = NULL;
    struct run_result result = {0};
    bool yes = o->yes;
    if (session_reach(s, false, NULL, err) || reach_observe(s->reach, s->inv, 0, &cli->ctx, err) ||
        plan_down(s->inv, &plan, err))
        return -1;
    if (!cli->quiet || !yes)
        plan_print(plan, cli->color, stdout);
    fflush(stdout);
    int code = -1;
    struct progress *progress = NULL;
    if (!yes && confirm(cli, "Remove all of this?", &yes, err))
        goto out;
    if (!yes) {
        fputs("Nothing was changed.\n", stderr);
        code = NESTOR_FAILED;
        goto out;
    }
    if (state_lab_set_removing(s->state, s->lab_id, err))
        goto out;
    progress = progress_open(stderr, cli->live, cli->live && cli->color, cli->quiet);
    asking_board(cli->asking, progress);
    code = work_run(s, plan, NULL, 0, progress, &result, err);
    asking_board(cli->asking, NULL);
    progress_close(progress);
    if (code == 0)
        code = forget(s, err);
    else
        code = work_exit_code(&result, err);
    if (code == 0 && !cli->quiet)
        printf("Lab %s is gone: nothing is left of it.\n", s->lab_name);
out:
    plan_free(plan);
    return code;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    struct session s;
    int code = -1;
    if (session_from_name(&s, cli, argv[0], "nestor down", err) == 0)
        code = take_down(&s, opts, err);
    else if (session_taken_down(&s, err)) {
        code = NESTOR_DONE;
        if (!cli->quiet)
            printf("Lab %s is down already.\n", s.lab_name);
    }
    session_close(&s);
    return code;
}

const struct cli_command cmd_down = {
    .name = "down",
    .summary = "Remove a lab: machines, disks, processes, records",
    .arguments = "LAB",
    .completes = ARGUMENT_LAB,
    .options = options,
    .options_size = sizeof(struct down_options),
    .min_args = 1,
    .max_args = 1,
    .details =
        "Needs neither the lab file nor its templates: what carries the lab's tag goes. LAB may also be the lab\n"
        "file. Base images stay in the cache ('nestor image rm').",
    .examples = "  nestor down quickstart\n  nestor down quickstart --yes",
    .run = run,
};
