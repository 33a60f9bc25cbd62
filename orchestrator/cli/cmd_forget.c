/* A host that is gone for good can neither be asked nor cleaned, and so would stop every plan, up and down of its lab.
 * As terraform's `state rm` and `docker rm -f`: only the records go, and only when the host does not answer. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/hosts.h"
#include "cli/session.h"

struct forget_options {
    bool yes;
};
static const struct option_spec options[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct forget_options, yes), NULL, "do not ask"},
    {0},
};

struct forgetting {
    struct session *s;
    uint32_t host; /* in the inventory */
    const char *name;
    struct error why; /* it does not answer */
    int64_t run;
};

static bool is_on_it(const struct forgetting *f, const struct machine_record *m) {
    return strcmp(m->host, f->name) == 0;
}

static int find_host(struct forgetting *f, struct error *err) {
    const struct inventory *inv = f->s->inv;
    cleanup_free const char **names = xcalloc(inv->nhosts, sizeof *names);
    for (f->host = 0; f->host < inv->nhosts; f->host++) {
        names[f->host] = inv->hosts[f->host].name;
        if (strcmp(names[f->host], f->name) == 0)
            return 0;
    }
    error_set(err, ERR_NOT_FOUND, f->name, "lab '%s' has nothing on a host of that name", f->s->lab_name);
    return inv->nhosts ? mend_with_words(err, f->name, names, inv->nhosts) : -1;
}

/* 0: it does not, as f->why tells. */
static int check_silent(struct forgetting *f, struct error *err) {
    struct session *s = f->s;
    struct context ctx = context_timeout(&s->cli->ctx, HOST_OPEN_MS);
    struct hypervisor *hv;
    const struct driver *driver;
    struct observation *seen = NULL;
    int failed = reach_host(s->reach, f->host, &hv, &driver, &ctx, &f->why) ||
                 driver->observe(hv, s->lab_id, &seen, &ctx, &f->why);
    observation_free(failed ? NULL : seen);
    bool asked = f->why.code != ERR_CANCELLED && f->why.code != ERR_USAGE; /* such as a password that is not given */
    if (failed && asked)
        return 0;
    if (failed) {
        *err = f->why;
        return -1;
    }
    error_set(err, ERR_CONFLICT, f->name, "the host answers: what the lab has on it need not be forgotten");
    return error_mend(err, "'nestor down %s' removes it; so does 'nestor up', if the host has left the lab file",
                      s->lab_name);
}

static void show(const struct forgetting *f) {
    const struct lab_contents *c = f->s->contents;
    cleanup_buffer struct buffer why = {0};
    error_one_line(&f->why, &why);
    fputs("The host does not answer: ", stdout);
    print_safe(buffer_str(&why), stdout);
    printf("\nForgotten with host %s, and not removed, are:\n", f->name);
    for (size_t i = 0; i < c->nmachines; i++)
        if (is_on_it(f, &c->machines[i]))
            printf("  %s\n", c->machines[i].path);
    fflush(stdout);
}

/* One entry of the journal, for `nestor events`. */
static int note(const struct forgetting *f, const char *path, const char *reason, struct error *err) {
    struct session *s = f->s;
    int64_t entry;
    return state_journal_intent(s->state, f->run, s->lab_id, path, "forget", reason, &entry, err) ||
                   state_journal_outcome(s->state, entry, "done", NULL, err)
               ? -1
               : 0;
}

static int forget_all(struct forgetting *f, struct error *err) {
    struct session *s = f->s;
    const struct lab_contents *c = s->contents;
    cleanup_buffer struct buffer why = {0};
    error_one_line(&f->why, &why);
    if (state_run_start(s->state, s->lab_id, "forget", &f->run, err) || note(f, f->name, buffer_str(&why), err))
        return -1;
    for (size_t i = 0; i < c->nmachines; i++) {
        const struct machine_record *m = &c->machines[i];
        if (is_on_it(f, m) && (note(f, m->path, "its host is gone for good", err) ||
                               state_machine_delete(s->state, s->lab_id, m->path, err)))
            return -1;
    }
    return state_host_forget(s->state, s->lab_id, f->name, err) || state_run_end(s->state, f->run, "done", err) ? -1
                                                                                                                : 0;
}

static int forget_host(struct forgetting *f, struct error *err) {
    struct state *state = f->s->state;
    int failed = state_begin(state, err) || forget_all(f, err) || state_commit(state, err);
    state_rollback(state); /* does nothing after a commit */
    return failed ? -1 : 0;
}

static int work(struct forgetting *f, bool yes, struct error *err) {
    struct session *s = f->s;
    const char *file = s->record->file[0] ? s->record->file : "FILE";
    if (session_reach(s, false, NULL, err) || find_host(f, err) || check_silent(f, err))
        return -1;
    if (!s->cli->quiet || !yes)
        show(f);
    if (!yes && confirm(s->cli, "Forget this host?", &yes, err))
        return -1;
    if (!yes) {
        fputs("Nothing was changed.\n", stderr);
        return NESTOR_FAILED;
    }
    if (forget_host(f, err))
        return -1;
    if (!s->cli->quiet)
        printf("Host %s is forgotten. The rest of the lab: nestor up %s, or nestor down %s\n", f->name, file,
               s->lab_name);
    return NESTOR_DONE;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)argc;
    const struct forget_options *o = opts;
    struct session s;
    struct forgetting f = {.s = &s, .name = argv[1]};
    int code = session_from_name(&s, cli, argv[0], "nestor forget", err) ? -1 : work(&f, o->yes, err);
    session_close(&s);
    return code;
}

const struct cli_command cmd_forget = {
    .name = "forget",
    .summary = "Forget a host that is gone for good, and what a lab had on it",
    .arguments = "LAB HOST",
    .completes = ARGUMENT_LAB,
    .then = ARGUMENT_HOST,
    .options = options,
    .options_size = sizeof(struct forget_options),
    .min_args = 2,
    .max_args = 2,
    .details =
        "For a host that will never answer again: without it, 'plan', 'up' and 'down' of the lab go on. Only the\n"
        "records go, nothing is removed. Refuses when the host does answer. Should the host come back one day,\n"
        "'nestor adopt' finds what is on it.",
    .examples = "  nestor forget quickstart vc2\n  nestor forget quickstart vc2 --yes && nestor down quickstart",
    .run = run,
};
