#include <stddef.h>

#include "cli/lab_work.h"
#include "cli/session.h"

struct plan_options {
    bool json;
};
static const struct option_spec options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct plan_options, json), NULL, "the plan as JSON"},
    {0},
};

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct plan_options *o = opts;
    struct session s;
    struct plan *plan = NULL;
    int code = -1;
    if (session_from_file(&s, cli, argv[0], NULL, err) == 0 && work_plan_up(&s, NULL, &plan, err) == 0) {
        if (o->json)
            json_print(plan_json(plan), stdout);
        else
            plan_print(plan, cli->color, stdout);
        code = plan->nchanges ? NESTOR_CHANGES : NESTOR_DONE;
    }
    plan_free(plan);
    session_close(&s);
    return code;
}

const struct cli_command cmd_plan = {
    .name = "plan",
    .summary = "Show what 'up' would do, and why, without doing it",
    .arguments = "FILE",
    .completes = ARGUMENT_FILE,
    .options = options,
    .options_size = sizeof(struct plan_options),
    .min_args = 1,
    .max_args = 1,
    .details = "Compares the lab file with what was made and with what is there now. Exits with 0 if there is nothing\n"
               "to do and with 3 if there are changes. '-' reads the file from standard input.",
    .examples = "  nestor plan lab.yaml\n  nestor plan lab.yaml --json | jq '.steps[].step'",
    .run = run,
};
