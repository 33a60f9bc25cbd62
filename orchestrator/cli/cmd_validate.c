#include <stddef.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/templates.h"
#include "nestor/lab.h"
#include "ui/text.h"
#include "ui/ui.h"

struct validate_options {
    bool json;
};
static const struct option_spec options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct validate_options, json), NULL, "the findings as JSON"},
    {0},
};

static unsigned depth_of(const struct lab *lab) {
    unsigned depth = 0;
    for (size_t i = 0; i < lab->nmachines; i++)
        depth = lab->machines[i].level > depth ? lab->machines[i].level : depth;
    return depth;
}

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

/* The findings quote the file: they pass the terminal's filter line by line. */
static void print_findings(const struct diagnostics *diags, const char *file) {
    cleanup_buffer struct buffer text = {0}, safe = {0};
    diagnostics_print(diags, file, &text);
    text_put_block(&safe, buffer_str(&text), "", SIZE_MAX, terminal_is_utf8());
    fputs(buffer_str(&safe), stdout);
}

static void print_verdict(const char *file, const struct lab *lab, const struct diagnostics *diags) {
    if (lab)
        printf("%s: valid: %zu machine%s on %zu host%s, depth %u\n", file, lab->nmachines, plural(lab->nmachines),
               lab->nhosts, plural(lab->nhosts), depth_of(lab));
    else
        printf("%s: not valid: %zu error%s\n", file, diags->nerrors, plural(diags->nerrors));
}

static json_t *finding_json(const struct diagnostic *d) {
    json_t *json = json_object();
    json_object_set_new(json, "line", json_integer(d->origin.line));
    json_object_set_new(json, "column", json_integer(d->origin.column));
    json_object_set_new(json, "severity", json_string(d->warning ? "warning" : "error"));
    json_object_set_new(json, "text", text_json(d->text));
    json_object_set_new(json, "hint", text_json_or_null(d->hint));
    return json;
}

static json_t *file_json(const char *file, const struct lab *lab, const struct diagnostics *diags) {
    json_t *json = json_object(), *findings = json_array();
    for (size_t i = 0; i < diags->n; i++)
        json_array_append_new(findings, finding_json(&diags->items[i]));
    json_object_set_new(json, "file", text_json(file));
    json_object_set_new(json, "valid", json_boolean(lab));
    json_object_set_new(json, "lab", text_json_or_null(lab ? lab->name : NULL));
    json_object_set_new(json, "machines", lab ? json_integer((json_int_t)lab->nmachines) : json_null());
    json_object_set_new(json, "hosts", lab ? json_integer((json_int_t)lab->nhosts) : json_null());
    json_object_set_new(json, "depth", lab ? json_integer(depth_of(lab)) : json_null());
    json_object_set_new(json, "findings", findings);
    return json;
}

/* One file. -1 only if it could not be looked at. */
static int validate(const struct cli *cli, const char *file, json_t *json, bool *ret_valid, struct error *err) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error why = {0};
    int failed = lab_load(file, &lab, &diags, &cli->ctx, &why);
    if (failed && why.code != ERR_SPEC) {
        *err = why;
    } else {
        failed = 0;
        if (lab)
            templates_check(lab, &diags);
        if (diags.nerrors) {
            lab_free(lab);
            lab = NULL;
        }
        *ret_valid = lab != NULL;
        if (json) {
            json_array_append_new(json, file_json(file, lab, &diags));
        } else {
            print_findings(&diags, file);
            if (!lab || !cli->quiet)
                print_verdict(file, lab, &diags);
        }
    }
    diagnostics_free(&diags);
    lab_free(lab);
    return failed;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct validate_options *o = opts;
    json_t *json = o->json ? json_array() : NULL;
    bool all_valid = true;
    int failed = 0;
    for (int i = 0; i < argc && !failed; i++) {
        bool valid = false;
        failed = validate(cli, argv[i], json, &valid, err);
        all_valid = all_valid && valid;
    }
    if (json && !failed)
        json_print(json_incref(json), stdout);
    json_decref(json);
    return failed ? -1 : all_valid ? NESTOR_DONE : NESTOR_USAGE;
}

const struct cli_command cmd_validate = {
    .name = "validate",
    .summary = "Check lab files and show everything that is wrong with them",
    .arguments = "FILE...",
    .completes = ARGUMENT_FILE,
    .options = options,
    .options_size = sizeof(struct validate_options),
    .min_args = 1,
    .max_args = -1,
    .details =
        "Asks no hypervisor and changes nothing. Each finding names line and column, and what was meant if that\n"
        "can be guessed. '-' reads standard input. Exits with 2 if a file is not valid.",
    .examples = "  nestor validate lab.yaml\n  nestor validate --json *.yaml | jq '.[].findings[].text'",
    .run = run,
};
