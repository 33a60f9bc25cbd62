#include <stddef.h>
#include <string.h>

#include "cli/lab_work.h"
#include "ui/text.h"

struct status_options {
    bool json;
};
static const struct option_spec options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct status_options, json), NULL, "as JSON, with a fixed shape"},
    {0},
};

/* --- without a lab: the list of labs --- */

struct listing {
    json_t *json; /* NULL: text */
    size_t n;
};

static void list_lab(void *data, const struct lab_record *r) {
    struct listing *l = data;
    char when[32];
    if (l->json) {
        clock_iso8601(r->updated_at, when);
        json_array_append_new(l->json, json_pack("{s:s, s:o, s:s, s:b}", "lab", r->name, "file", text_json(r->file),
                                                 "updated_at", when, "removing", r->removing));
        return;
    }
    if (!l->n++)
        printf("%-24s  %-25s  %s\n", "LAB", "UPDATED", "FILE");
    time_format(r->updated_at, when);
    printf("%-24s  %s  ", r->name, when);
    print_safe(r->file, stdout);
    puts(r->removing ? "  (being removed)" : "");
}

static int list_labs(struct cli *cli, bool json, struct error *err) {
    (void)cli;
    const char *home = nestor_home(err);
    struct state *state = NULL;
    struct listing l = {.json = json ? json_array() : NULL};
    int code = -1;
    if (home && state_open(home, &cli->cancel, &state, err) == 0 && state_lab_each(state, list_lab, &l, err) == 0) {
        code = NESTOR_DONE;
        if (json)
            json_print(json_incref(l.json), stdout);
        else if (!l.n)
            puts("No labs. 'nestor init' writes a first lab file.");
    }
    json_decref(l.json);
    state_close(state);
    return code;
}

/* --- one lab --- */

static int print_down(const char *lab, bool json) {
    struct lab_view view = {.lab = lab, .state = "down"};
    if (json)
        json_print(status_json(&view), stdout);
    else
        printf("%s: down\n", lab);
    return NESTOR_DONE;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct status_options *o = opts;
    struct session s;
    struct view view;
    if (argc == 0)
        return list_labs(cli, o->json, err);
    int code = -1;
    if (session_from_name(&s, cli, argv[0], NULL, err))
        code = session_taken_down(&s, err) ? print_down(s.lab_name, o->json) : -1;
    else if (session_reach(&s, s.lab != NULL, NULL, err) == 0 &&
             reach_observe(s.reach, s.inv, GUEST_OBSERVE_MS, &cli->ctx, err) == 0 &&
             session_view(&s, &view, err) == 0) {
        if (o->json)
            json_print(status_json(&view.lab), stdout);
        else
            status_print(&view.lab, cli->color, stdout);
        view_free(&view);
        code = NESTOR_DONE;
    }
    session_close(&s);
    return code;
}

const struct cli_command cmd_status = {
    .name = "status",
    .summary = "Show a lab as it is now: its tree, addresses and evidence",
    .arguments = "[LAB]",
    .completes = ARGUMENT_LAB,
    .options = options,
    .options_size = sizeof(struct status_options),
    .min_args = 0,
    .max_args = 1,
    .details =
        "Asks the hypervisors; nothing is shown from memory that could be asked. Without LAB: the labs there are.\n"
        "A guest hypervisor that does not answer runs, but is not ready; its machines are shown as known last.\n"
        "Wherever a LAB is wanted, its lab file may be named instead.",
    .examples = "  nestor status quickstart\n  nestor status quickstart --json | jq -r .state",
    .run = run,
};
