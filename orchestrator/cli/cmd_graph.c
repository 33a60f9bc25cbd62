#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cli/lab_file.h"
#include "cli/lab_work.h"

struct graph_options {
    const char *format;
};
static const struct option_spec options[] = {
    {"format", 'f', OPTION_STRING, offsetof(struct graph_options, format), "dot|mermaid",
     "Graphviz (the default), or Mermaid for Markdown"},
    {0},
};

static bool is_file(const char *text) { return strcmp(text, "-") == 0 || access(text, F_OK) == 0; }

/* As the file describes it: no state, no hypervisor. */
static int graph_file(const struct cli *cli, const char *file, const char *format, struct error *err) {
    struct lab *lab = NULL;
    struct inventory *inv = NULL;
    struct diagnostics diags = {0};
    int failed = lab_file_load(cli, file, &lab, &diags, err) || inventory_build("", lab->name, lab, NULL, &inv, err);
    if (!failed)
        graph_print(inv, NULL, format, stdout);
    diagnostics_free(&diags);
    inventory_free(inv);
    lab_free(lab);
    return failed ? -1 : NESTOR_DONE;
}

/* As it is now: states colour it. */
static int graph_lab(struct cli *cli, const char *name, const char *format, struct error *err) {
    struct session s;
    struct view view;
    int code = -1;
    if (session_from_name(&s, cli, name, NULL, err) == 0 && session_reach(&s, s.lab != NULL, NULL, err) == 0 &&
        reach_observe(s.reach, s.inv, GUEST_OBSERVE_MS, &cli->ctx, err) == 0 && session_view(&s, &view, err) == 0) {
        graph_print(s.inv, &view.lab, format, stdout);
        view_free(&view);
        code = NESTOR_DONE;
    }
    session_close(&s);
    return code;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct graph_options *o = opts;
    const char *format = o->format ? o->format : "dot";
    return is_file(argv[0]) ? graph_file(cli, argv[0], format, err) : graph_lab(cli, argv[0], format, err);
}

const struct cli_command cmd_graph = {
    .name = "graph",
    .summary = "Draw a lab, from its file or as it is now, for Graphviz or Mermaid",
    .arguments = "FILE|LAB",
    .completes = ARGUMENT_LAB,
    .options = options,
    .options_size = sizeof(struct graph_options),
    .min_args = 1,
    .max_args = 1,
    .details =
        "Every hypervisor is a box, and what runs in it stands inside. A lab that is named, not a file, is asked for\n"
        "the state of its machines, which colours them.",
    .examples = "  nestor graph lab.yaml | dot -Tsvg > lab.svg\n  nestor graph quickstart --format mermaid",
    .run = run,
};
