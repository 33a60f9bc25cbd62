#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/ask.h"
#include "nestor/file.h"

/* How long a second nestor waits for the first to finish with a lab. */
#define LOCK_WAIT_MS 10000

static int open_state(struct session *s, struct cli *cli, struct error *err) {
    *s = (struct session){.cli = cli, .lock = {.fd = -1}};
    s->home = nestor_home(err);
    return s->home ? state_open(s->home, &s->state, err) : -1;
}

static int take_lock(struct session *s, const char *verb, struct error *err) {
    if (!verb)
        return 0;
    struct context ctx = context_timeout(&s->cli->ctx, LOCK_WAIT_MS);
    return lab_lock_take(s->home, s->lab_name, verb, &s->lock, &ctx, err);
}

char *session_path(const struct session *s, const char *name) {
    return xasprintf("%s/labs/%s/%s", s->home, s->lab_id, name);
}

static int load_secret(struct session *s, struct error *err) {
    cleanup_free char *path = session_path(s, "secret");
    if (access(path, F_OK) != 0)
        return 0; /* reach tells when a key is needed */
    if (secret_load(&s->secret, path, err))
        return -1;
    s->has_secret = true;
    return 0;
}

/* What the state has on the lab; nothing is no error here. */
static int load_record(struct session *s, struct error *err) {
    struct error why = {0};
    if (state_lab_find(s->state, s->lab_name, &s->record, &why)) {
        if (why.code == ERR_NOT_FOUND)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    memcpy(s->lab_id, s->record->id, sizeof s->lab_id - 1);
    return state_lab_load(s->state, s->lab_id, &s->contents, err) || load_secret(s, err) ? -1 : 0;
}

int session_from_file(struct session *s, struct cli *cli, const char *file, const char *verb, struct error *err) {
    struct diagnostics diags = {0};
    cleanup_buffer struct buffer text = {0};
    if (open_state(s, cli, err))
        return -1;
    int failed = lab_load(file, &s->lab, &diags, err);
    diagnostics_print(&diags, file, &text);
    if (diags.nerrors > 1 || (diags.n && !failed)) /* one error alone is told by err */
        fputs(buffer_str(&text), stderr);
    diagnostics_free(&diags);
    if (failed)
        return -1;
    s->lab_name = xstrdup(s->lab->name);
    memcpy(s->lab_id, "0000000000000000", sizeof s->lab_id); /* until session_record gives it one */
    return take_lock(s, verb, err) || load_record(s, err) ? -1 : 0;
}

/* "lab.yaml" -> its lab's name, as docker compose takes its file. NULL: not a file. */
static char *name_in_file(const char *text) {
    size_t n = strlen(text);
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    char *name = NULL;
    bool looks = (n > 5 && strcmp(text + n - 5, ".yaml") == 0) || (n > 4 && strcmp(text + n - 4, ".yml") == 0);
    if (looks && lab_load(text, &lab, &diags, NULL) == 0)
        name = xstrdup(lab->name);
    diagnostics_free(&diags);
    lab_free(lab);
    return name;
}

int session_from_name(struct session *s, struct cli *cli, const char *name, const char *verb, struct error *err) {
    if (open_state(s, cli, err))
        return -1;
    s->lab_name = name_in_file(name);
    if (!s->lab_name)
        s->lab_name = xstrdup(name);
    struct lab_record *there = NULL;
    if (state_lab_find(s->state, s->lab_name, &there, err)) /* before the lock: a typo makes no lock file */
        return -1;
    lab_record_free(there);
    if (take_lock(s, verb, err) || load_record(s, err))
        return -1;
    if (!s->record)
        return error_set(err, ERR_NOT_FOUND, s->lab_name, "the lab was taken down meanwhile");
    struct diagnostics diags = {0};
    if (lab_parse(s->record->file, s->record->spec, s->record->spec_len, &s->lab, &diags, NULL))
        s->lab = NULL; /* a file it refers to may be gone; the records tell enough */
    diagnostics_free(&diags);
    return 0;
}

static void note_lab(void *data, const struct journal_record *r) {
    const char **sought = data;
    if (*sought && strcmp(r->lab, *sought) == 0)
        *sought = NULL;
}

bool session_taken_down(const struct session *s, struct error *err) {
    const char *sought = s->lab_name;
    if (!s->state || s->record || !err || err->code != ERR_NOT_FOUND ||
        state_journal_each(s->state, NULL, 0, 0, note_lab, &sought, NULL) || sought)
        return false;
    error_clear(err);
    return true;
}

static int make_directories(const struct session *s, struct error *err) {
    cleanup_free char *labs = xasprintf("%s/labs", s->home), *own = xasprintf("%s/labs/%s", s->home, s->lab_id);
    return dir_make(labs, 0700, NULL, err) || dir_make(own, 0700, NULL, err) ? -1 : 0;
}

static int ensure_secret(struct session *s, struct error *err) {
    if (s->has_secret)
        return 0;
    if (s->contents && s->contents->nmachines) {
        error_set(err, ERR_CONFLICT, s->lab_name,
                  "the lab's key is missing, but it has machines that trust only that key");
        return error_mend(err, "take it down and bring it up again: nestor down %s", s->lab_name);
    }
    cleanup_free char *path = session_path(s, "secret");
    if (make_directories(s, err) || secret_new(&s->secret, err) || secret_save(&s->secret, path, err))
        return -1;
    s->has_secret = true;
    return 0;
}

static int put_row(struct session *s, struct error *err) {
    cleanup_free char *file = realpath(s->lab->file, NULL);
    return state_lab_put(s->state, s->lab_name, file ? file : "", s->lab->text, s->lab->text_len, s->lab_id, err);
}

int session_record_text(struct session *s, struct error *err) {
    return put_row(s, err) || ensure_secret(s, err) ? -1 : 0;
}

int session_record(struct session *s, struct error *err) {
    if (put_row(s, err))
        return -1;
    lab_record_free(s->record);
    lab_contents_free(s->contents);
    s->record = NULL;
    s->contents = NULL;
    return load_record(s, err) || ensure_secret(s, err) ? -1 : 0;
}

int session_reach(struct session *s, bool with_lab, struct event_sink *sink, struct error *err) {
    reach_close(s->reach);
    inventory_free(s->inv);
    s->reach = NULL;
    s->inv = NULL;
    if (inventory_build(s->lab_id, s->lab_name, with_lab ? s->lab : NULL, s->contents, &s->inv, err))
        return -1;
    if (reach_open(s->inv, s->home, s->has_secret ? &s->secret : NULL, sink, &s->reach, err))
        return -1;
    reach_ask(s->reach, &s->cli->asking->asker);
    return 0;
}

void session_close(struct session *s) {
    reach_close(s->reach);
    inventory_free(s->inv);
    lab_contents_free(s->contents);
    lab_record_free(s->record);
    lab_free(s->lab);
    lab_lock_release(&s->lock);
    state_close(s->state);
    secret_wipe(&s->secret);
    free(s->lab_name);
    *s = (struct session){.lock = {.fd = -1}};
}

int session_forget_files(const struct session *s, struct error *err) {
    cleanup_free char *path = xasprintf("%s/labs/%s", s->home, s->lab_id);
    return tree_remove(path, NULL, err);
}

int split_machine_path(const char *path, char **ret_lab, struct error *err) {
    const char *slash = strchr(path, '/');
    if (slash && slash != path && slash[1]) {
        *ret_lab = xstrdup(path);
        (*ret_lab)[slash - path] = '\0';
        return 0;
    }
    error_set(err, ERR_USAGE, path, "that is not the path of a machine");
    return error_mend(err, "write LAB/MACHINE or LAB/MACHINE/NESTED, as 'nestor status' shows them");
}
