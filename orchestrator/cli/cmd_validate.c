#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/lab_file.h"
#include "cli/templates.h"
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

/* One that cannot be read has one finding, which has no place in it. */
static json_t *unread_json(const char *file, const struct error *why) {
    struct diagnostics none = {0};
    json_t *json = file_json(file, NULL, &none), *finding = json_object();
    json_object_set_new(finding, "line", json_null());
    json_object_set_new(finding, "column", json_null());
    json_object_set_new(finding, "severity", json_string("error"));
    json_object_set_new(finding, "text", text_json(why->cause));
    json_object_set_new(finding, "hint", text_json_or_null(why->mend));
    json_array_append_new(json_object_get(json, "findings"), finding);
    return json;
}

static void tell_unread(const char *file, const struct error *why, json_t *json) {
    if (json)
        json_array_append_new(json, unread_json(file, why));
    else
        error_print(why, color_on(STDERR_FILENO), stderr);
}

static void tell(const struct cli *cli, const char *file, const struct lab *lab, const struct diagnostics *diags,
                 json_t *json) {
    if (json) {
        json_array_append_new(json, file_json(file, lab, diags));
        return;
    }
    print_findings(diags, file);
    if (!lab || !cli->quiet)
        print_verdict(file, lab, diags);
}

static int check_templates(const struct lab *lab, struct diagnostics *diags) {
    cleanup_free bool *used = xcalloc(lab->ntemplates + 1, sizeof *used);
    for (size_t i = 0; i < lab->nmachines; i++)
        used[lab->machines[i].template] = true;
    return templates_check(lab, used, diags, NULL);
}

/* One file. -1 only after Ctrl-C. */
static int validate(const struct cli *cli, const char *file, json_t *json, bool *ret_valid, struct error *err) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    struct error why = {0};
    int failed = lab_file_load(cli, file, &lab, &diags, &why);
    bool read = !failed || why.code == ERR_SPEC, interrupted = failed && why.code == ERR_CANCELLED;
    *ret_valid = lab && check_templates(lab, &diags) == 0;
    if (interrupted)
        *err = why;
    else if (!read)
        tell_unread(file, &why, json);
    else
        tell(cli, file, *ret_valid ? lab : NULL, &diags, json);
    diagnostics_free(&diags);
    lab_free(lab);
    return interrupted ? -1 : 0;
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
        "can be guessed. '-' reads standard input. Exits with 2 if a file is not valid, or cannot be read.",
    .examples = "  nestor validate lab.yaml\n  nestor validate --json *.yaml | jq '.[].findings[].text'",
    .run = run,
};
