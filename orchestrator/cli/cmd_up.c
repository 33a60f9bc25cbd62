#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/lab_work.h"

struct up_options {
    bool yes;
    unsigned parallel;
};
static const struct option_spec options[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct up_options, yes), NULL, "do not ask"},
    {"parallel", 'p', OPTION_NUMBER, offsetof(struct up_options, parallel), "N",
     "most changes at once (default 64; more, up to 128, if the hosts take more)"},
    {0},
};

/* Two files with one lab name would fight over the same machines. */
static void warn_of_other_file(const struct session *s) {
    cleanup_free char *file = realpath(s->lab->file, NULL);
    if (s->record && s->record->file[0] && file && strcmp(file, s->record->file) != 0)
        fprintf(stderr, "note: lab '%s' was last brought up from %s\n", s->lab_name, s->record->file);
}

static int look_again(struct session *s, struct error *err) {
    lab_contents_free(s->contents);
    s->contents = NULL;
    if (state_lab_load(s->state, s->lab_id, &s->contents, err) || session_reach(s, true, NULL, err))
        return -1;
    return reach_observe(s->reach, s->inv, GUEST_OBSERVE_MS, &s->cli->ctx, err);
}

static void print_result(struct session *s, struct cli *cli, bool changed) {
    struct view view;
    struct error ignored = {0};
    if ((changed && look_again(s, &ignored)) || session_view(s, &view, &ignored))
        return; /* the run's own outcome has been told already */
    status_print(&view.lab, cli->color, stdout);
    view_free(&view);
}

/* Machines that went off while they were waited for, inside another: mostly it has restarted under them, as guest
 * kernels do now and then under emulated SVM (README, "Said plainly"), and nothing is wrong with them. */
static bool went_off_inside(const struct session *s, const struct run_result *r) {
    uint32_t row = r->first.code == ERR_DIED ? inventory_find(s->inv, r->first.subject) : LAB_NONE;
    return row != LAB_NONE && s->inv->rows[row].parent != LAB_NONE && !cancel_fired(&s->cli->cancel);
}

/* What is there now is looked at, and brought up once more. */
static int once_more(struct session *s, const struct up_options *o, struct plan **plan, const struct capability *hosts,
                     struct run_result *result, struct error *err) {
    struct cli *cli = s->cli;
    cleanup_free char *lost = xstrdup(result->first.subject);
    struct progress *progress = progress_open(stderr, cli->live, cli->live && cli->color, cli->quiet);
    event_emit(
        progress_sink(progress),
        (struct event){.kind = EVENT_NOTICE,
                       .path = lost,
                       .text = "it went off while it was waited for; what is missing now is brought up once more"});
    error_clear(err);
    plan_free(*plan);
    *plan = NULL;
    int failed = look_again(s, err) || plan_up(s->inv, plan, err) ||
                 work_run(s, *plan, hosts, o->parallel, progress, result, err);
    progress_close(progress);
    return failed ? -1 : NESTOR_DONE;
}

static int bring_up(struct session *s, const struct up_options *o, struct error *err) {
    struct cli *cli = s->cli;
    struct plan *plan = NULL;
    struct run_result result = {0};
    bool yes = o->yes;
    if (work_plan_up(s, NULL, &plan, err))
        return -1;
    warn_of_other_file(s);
    if (!cli->quiet || !yes)
        plan_print(plan, cli->color, stdout);
    fflush(stdout);
    struct progress *progress = progress_open(stderr, cli->live, cli->live && cli->color, cli->quiet);
    asking_board(cli->asking, progress);
    struct capability *hosts = xcalloc(s->inv->nhosts, sizeof *hosts);
    bool nothing = plan->nchanges == 0;
    int code = -1;
    if (!nothing && run_preflight(plan, s->reach, hosts, progress_sink(progress), &cli->ctx, err))
        goto out;
    if (!nothing && !yes && confirm(cli, "Bring the lab up as planned?", &yes, err))
        goto out;
    if (!nothing && !yes) {
        fputs("Nothing was changed.\n", stderr);
        code = NESTOR_FAILED;
        goto out;
    }
    if (session_record(s, err))
        goto out;
    code = nothing ? run_nothing(plan, s->state, err) /* 0: NESTOR_DONE */
                   : work_run(s, plan, hosts, o->parallel, progress, &result, err);
    asking_board(cli->asking, NULL);
    progress_close(progress);
    progress = NULL;
    if (code < 0 && went_off_inside(s, &result))
        code = once_more(s, o, &plan, hosts, &result, err);
    if (code < 0)
        code = work_exit_code(&result, err);
    if (!cli->quiet)
        print_result(s, cli, !nothing);
out:
    asking_board(cli->asking, NULL);
    progress_close(progress);
    plan_free(plan);
    free(hosts);
    return code;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    struct session s;
    int code = session_from_file(&s, cli, argv[0], "nestor up", err) ? -1 : bring_up(&s, opts, err);
    session_close(&s);
    return code;
}

const struct cli_command cmd_up = {
    .name = "up",
    .summary = "Make the lab file true: create, start, verify and fill its machines",
    .arguments = "FILE",
    .completes = ARGUMENT_FILE,
    .options = options,
    .options_size = sizeof(struct up_options),
    .min_args = 1,
    .max_args = 1,
    .details = "Shows the plan and asks, unless --yes. What is already as it should be is left alone, so 'up' also\n"
               "continues after an interruption, repairs what was stopped or destroyed, and applies a changed file.\n"
               "Ctrl-C stops at a safe point; run it again to continue. Exits with 4 if only a part could be done.\n"
               "'-' reads the file from standard input.",
    .examples = "  nestor up lab.yaml\n  nestor up lab.yaml --yes --quiet",
    .run = run,
};
