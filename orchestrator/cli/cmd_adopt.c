#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/hosts.h"
#include "cli/recorded.h"
#include "cli/session.h"
#include "nestor/state.h"
#include "ui/text.h"
#include "ui/ui.h"

#define PATH_LENGTH_MAX 200

struct adopt_options {
    const char *file;
    bool yes, json;
};
static const struct option_spec options[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct adopt_options, yes), NULL, "record what was found; do not ask"},
    {"file", 'f', OPTION_STRING, offsetof(struct adopt_options, file), "FILE",
     "the lab file that describes the host (default " HOSTS_FILE ")"},
    {"json", 0, OPTION_FLAG, offsetof(struct adopt_options, json), NULL, "what was found as JSON"},
    {0},
};

/* What becomes of a lab that was found on the host. */
enum fate { FATE_NEW, FATE_MORE, FATE_KNOWN, FATE_CLASH, FATE_BAD };
static const struct {
    const char *word, *text;
} fates[] = {
    [FATE_NEW] = {"new", "not known here"},
    [FATE_MORE] = {"more", "known, but not with all of its machines"},
    [FATE_KNOWN] = {"known", "known already"},
    [FATE_CLASH] = {"clash",
                    "another lab of that name is known here, so this one is left alone: 'nestor gc' removes it, or "
                    "adopt it once the other is down"},
    [FATE_BAD] = {"bad", "its tag makes no sense, so it is left alone"},
};

struct found_lab {
    const char *id, *name;
    enum fate fate;
    const struct observed **machines; /* all of it on this host */
    bool *recorded;                   /* per machine */
    size_t n, cap;
    size_t nrecorded; /* machines of it in the state, on any host */
    bool knows_host;
};

struct adoption {
    struct cli *cli;
    const char *home;
    struct state *state;
    struct known_hosts hosts;
    const struct known_host *host;
    struct lab *lab; /* of the file */
    struct observation *seen;
    struct arena arena;
    struct found_lab *labs;
    size_t n;
};

/* --- finding --- */

static bool tag_makes_sense(const struct observed *o) {
    size_t parts = 0;
    if (strlen(o->lab_id) != LAB_ID_LEN || strspn(o->lab_id, "0123456789abcdef") != LAB_ID_LEN ||
        strlen(o->path) > PATH_LENGTH_MAX)
        return false;
    cleanup_free char *path = xstrdup(o->path);
    for (char *rest = path, *part; (part = strsep(&rest, "/")); parts++)
        if (!name_is_valid(part))
            return false;
    return parts >= 2;
}

static struct found_lab *lab_of(struct adoption *a, const struct observed *o) {
    for (size_t i = a->n; i-- > 0;) /* machines of one lab mostly stand together */
        if (strcmp(a->labs[i].id, o->lab_id) == 0)
            return &a->labs[i];
    a->labs = xrealloc(a->labs, (a->n + 1) * sizeof *a->labs);
    a->labs[a->n] = (struct found_lab){
        .id = o->lab_id, .name = arena_strndup(&a->arena, o->path, strcspn(o->path, "/")), .fate = FATE_NEW};
    return &a->labs[a->n++];
}

static void take_machine(struct adoption *a, const struct observed *o) {
    struct found_lab *lab = lab_of(a, o);
    if (lab->n == lab->cap) {
        lab->cap = lab->cap ? 2 * lab->cap : 16;
        lab->machines = xrealloc(lab->machines, lab->cap * sizeof *lab->machines);
        lab->recorded = xrealloc(lab->recorded, lab->cap * sizeof *lab->recorded);
    }
    lab->recorded[lab->n] = false;
    lab->machines[lab->n++] = o;
    size_t len = strlen(lab->name);
    if (!tag_makes_sense(o) || strncmp(o->path, lab->name, len) != 0 || o->path[len] != '/')
        lab->fate = FATE_BAD;
}

static void note_recorded(struct found_lab *lab, const struct lab_contents *c, const char *host) {
    size_t missing = lab->n;
    for (size_t i = 0; i < lab->n; i++)
        for (size_t k = 0; k < c->nmachines && !lab->recorded[i]; k++)
            lab->recorded[i] = strcmp(c->machines[k].path, lab->machines[i]->path) == 0;
    for (size_t i = 0; i < lab->n; i++)
        missing -= lab->recorded[i];
    for (size_t i = 0; i < c->nhosts; i++)
        lab->knows_host |= strcmp(c->hosts[i].name, host) == 0;
    lab->nrecorded = c->nmachines;
    lab->fate = missing ? FATE_MORE : FATE_KNOWN;
}

static int compare(void *data, const struct lab_record *record, const struct lab_contents *c, struct error *err) {
    struct adoption *a = data;
    (void)err;
    for (size_t i = 0; i < a->n; i++) {
        struct found_lab *lab = &a->labs[i];
        bool same_id = strcmp(lab->id, record->id) == 0, same_name = strcmp(lab->name, record->name) == 0;
        if (lab->fate == FATE_BAD || (!same_id && !same_name))
            continue;
        if (same_id)
            note_recorded(lab, c, a->host->name);
        else
            lab->fate = FATE_CLASH;
    }
    return 0;
}

/* Two lost labs of one name: the first that is found is taken. */
static void clash_among_themselves(struct adoption *a) {
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < i; k++)
            if (a->labs[i].fate == FATE_NEW && a->labs[k].fate != FATE_BAD &&
                strcmp(a->labs[i].name, a->labs[k].name) == 0)
                a->labs[i].fate = FATE_CLASH;
}

static int look(struct adoption *a, struct error *err) {
    struct context ctx = context_timeout(&a->cli->ctx, HOST_OPEN_MS);
    struct hypervisor *hv;
    if (host_open(a->cli, a->host, a->home, &hv, &ctx, err))
        return -1;
    int failed = a->host->driver->observe(hv, NULL, &a->seen, &ctx, err);
    a->host->driver->close(hv);
    for (size_t i = 0; !failed && i < a->seen->n; i++)
        take_machine(a, &a->seen->items[i]);
    if (failed || recorded_each(a->state, compare, a, err))
        return -1;
    clash_among_themselves(a);
    return 0;
}

/* --- showing --- */

static bool is_to_record(const struct found_lab *lab, size_t machine) {
    return (lab->fate == FATE_NEW || lab->fate == FATE_MORE) && !lab->recorded[machine];
}

static size_t count_to_record(const struct adoption *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < a->labs[i].n; k++)
            n += is_to_record(&a->labs[i], k);
    return n;
}

static json_t *lab_json(const struct found_lab *lab) {
    json_t *json = json_object(), *machines = json_array();
    for (size_t i = 0; i < lab->n; i++)
        json_array_append_new(machines,
                              json_pack("{s:o, s:s, s:b}", "path", text_json(lab->machines[i]->path), "state",
                                        power_name(lab->machines[i]->power), "adopted", is_to_record(lab, i)));
    json_object_set_new(json, "lab", text_json(lab->name));
    json_object_set_new(json, "lab_id", text_json(lab->id));
    json_object_set_new(json, "is", json_string(fates[lab->fate].word));
    json_object_set_new(json, "machines", machines);
    return json;
}

static void show_lab(const struct found_lab *lab, bool utf8) {
    cleanup_buffer struct buffer text = {0};
    text_put_safe(&text, lab->name, TEXT_NO_LIMIT, utf8);
    buffer_puts(&text, " (");
    text_put_safe(&text, lab->id, TEXT_NO_LIMIT, utf8);
    buffer_printf(&text, "): %s\n", fates[lab->fate].text);
    for (size_t i = 0; i < lab->n; i++) {
        if (lab->fate < FATE_KNOWN && !is_to_record(lab, i))
            continue;
        buffer_puts(&text, "  ");
        text_put_safe(&text, lab->machines[i]->path, TEXT_NO_LIMIT, utf8);
        buffer_printf(&text, "  %s\n", power_name(lab->machines[i]->power));
    }
    fputs(buffer_str(&text), stdout);
}

static void show(const struct adoption *a, bool as_json) {
    json_t *labs = as_json ? json_array() : NULL;
    for (size_t i = 0; i < a->n; i++) {
        if (labs)
            json_array_append_new(labs, lab_json(&a->labs[i]));
        else
            show_lab(&a->labs[i], terminal_is_utf8());
    }
    if (labs)
        json_print(json_pack("{s:s, s:o}", "host", a->host->name, "labs", labs), stdout);
    else if (!a->n)
        printf("Nothing on %s carries a nestor tag.\n", a->host->subject);
    else if (!count_to_record(a))
        puts("There is nothing to adopt.");
    fflush(stdout);
}

/* --- recording --- */

static int put_machine(const struct adoption *a, const struct found_lab *lab, size_t i, struct error *err) {
    const struct observed *o = lab->machines[i];
    char uuid[37], mac[18];
    machine_uuid(lab->id, o->path, uuid);
    machine_mac(lab->id, o->path, mac);
    const struct machine_record m = {.path = o->path,
                                     .name = strrchr(o->path, '/') + 1,
                                     .parent = "",
                                     .host = a->host->name,
                                     .level = 1,
                                     .hypervisor = "",
                                     .template = "",
                                     .native_name = o->name ? o->name : "",
                                     .uuid = uuid,
                                     .mac = mac,
                                     .digest = o->digest ? o->digest : "",
                                     .ssh_user = "root",
                                     .ssh_port = 22,
                                     .nesting = nesting_name(o->exposed ? NESTING_EXPOSED : NESTING_OFF),
                                     .ready = ready_name(READY_RUNNING),
                                     .status = o->power == POWER_ON ? "running" : "stopped",
                                     .address = "",
                                     .failure = "",
                                     .ordinal = (uint32_t)(lab->nrecorded + i)};
    return state_machine_put(a->state, lab->id, &m, err);
}

/* The file is taken for the lab's own if it is of that name. */
static int put_lab(const struct adoption *a, const struct found_lab *lab, struct error *err) {
    bool own = strcmp(a->lab->name, lab->name) == 0;
    cleanup_free char *file = own ? realpath(a->lab->file, NULL) : NULL;
    if (lab->fate != FATE_NEW)
        return 0;
    return state_lab_adopt(a->state, lab->id, lab->name, file ? file : "", own ? a->lab->text : "",
                           own ? a->lab->text_len : 0, err);
}

static int put_all(const struct adoption *a, const struct found_lab *lab, struct error *err) {
    const struct known_host *h = a->host;
    const struct host_record host = {h->name, h->driver->name, h->params, h->nparams, 0};
    if (put_lab(a, lab, err) || (!lab->knows_host && state_host_put(a->state, lab->id, &host, err)))
        return -1;
    for (size_t i = 0; i < lab->n; i++)
        if (is_to_record(lab, i) && put_machine(a, lab, i, err))
            return -1;
    return 0;
}

static int adopt(const struct adoption *a, const struct found_lab *lab, struct error *err) {
    struct lab_lock lock = {.fd = -1};
    if (lab_lock_await(a->cli, a->home, lab->name, "nestor adopt", &lock, err))
        return -1;
    int failed = state_begin(a->state, err) || put_all(a, lab, err) || state_commit(a->state, err);
    state_rollback(a->state);
    lab_lock_release(&lock);
    return failed ? -1 : 0;
}

static int adopt_all(const struct adoption *a, struct error *err) {
    for (size_t i = 0; i < a->n; i++) {
        const struct found_lab *lab = &a->labs[i];
        if (lab->fate != FATE_NEW && lab->fate != FATE_MORE)
            continue;
        if (adopt(a, lab, err))
            return -1;
        if (!a->cli->quiet)
            fprintf(stderr, "adopted %s; to remove it: nestor down %s\n", lab->name, lab->name);
    }
    return NESTOR_DONE;
}

static int decide(const struct adoption *a, const struct adopt_options *o, struct error *err) {
    bool yes = o->yes;
    if (!count_to_record(a))
        return NESTOR_DONE;
    if (!yes && (o->json || !isatty(STDIN_FILENO))) {
        fprintf(stderr, "'nestor adopt %s --yes' records this.\n", a->host->name);
        return NESTOR_CHANGES;
    }
    if (!yes && confirm(a->cli, "Record these, so that they can be taken down?", &yes, err))
        return -1;
    return yes ? adopt_all(a, err) : NESTOR_CHANGES;
}

static void adoption_free(struct adoption *a) {
    for (size_t i = 0; i < a->n; i++) {
        free(a->labs[i].machines);
        free(a->labs[i].recorded);
    }
    free(a->labs);
    observation_free(a->seen);
    lab_free(a->lab);
    hosts_free(&a->hosts);
    state_close(a->state);
    arena_free(&a->arena);
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct adopt_options *o = opts;
    const char *file = o->file ? o->file : HOSTS_FILE;
    struct adoption a = {.cli = cli, .home = nestor_home(err)};
    int code = -1;
    if (a.home && state_open(a.home, &cli->cancel, &a.state, err) == 0 &&
        hosts_from_file(cli, file, &a.hosts, &a.lab, err) == 0 &&
        hosts_find(&a.hosts, argv[0], file, &a.host, err) == 0 && look(&a, err) == 0) {
        show(&a, o->json);
        code = decide(&a, o, err);
    }
    adoption_free(&a);
    return code;
}

const struct cli_command cmd_adopt = {
    .name = "adopt",
    .summary = "Record labs found on a host by their tags, after the state was lost",
    .arguments = "HOST",
    .completes = ARGUMENT_NONE,
    .options = options,
    .options_size = sizeof(struct adopt_options),
    .min_args = 1,
    .max_args = 1,
    .details =
        "Asks the host for everything that carries a nestor tag, and records the labs and machines this state does "
        "not\n"
        "know, so that 'nestor down' works. Where the key of such a lab is lost, too (the folder labs of the state\n"
        "directory has it), nobody logs in any more, and 'nestor up' says so; else 'up' goes on with it. Of two labs "
        "with one name only the one that is known, or found first, is taken; the other is told.\n"
        "Shows what it finds and asks; where nobody can be asked it exits with 3, and --yes records.",
    .examples = "  nestor adopt vc\n  nestor adopt vc --file lab.yaml --yes",
    .run = run,
};
