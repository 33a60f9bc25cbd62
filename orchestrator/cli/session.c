#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/lab_file.h"
#include "cli/lab_folders.h"
#include "nestor/file.h"

/* How long a second nestor waits for the first to finish with a lab, and after what time it says so. */
#define LOCK_WAIT_S 10
#define LOCK_SILENT_MS 1000

static int open_state(struct session *s, struct cli *cli, struct error *err) {
    *s = (struct session){.cli = cli, .lock = {.fd = -1}};
    s->home = nestor_home(err);
    return s->home ? state_open(s->home, &s->cli->cancel, &s->state, err) : -1;
}

int lab_lock_await(const struct cli *cli, const char *home, const char *lab, const char *verb, struct lab_lock *ret,
                   struct error *err) {
    struct context soon = context_timeout(&cli->ctx, LOCK_SILENT_MS);
    struct context ctx = context_timeout(&cli->ctx, LOCK_WAIT_S * 1000);
    struct error held = {0};
    if (lab_lock_take(home, lab, verb, ret, &soon, &held) == 0)
        return 0;
    if (held.code != ERR_LOCKED) {
        *err = held;
        return -1;
    }
    if (!cli->quiet)
        fprintf(stderr, "note: %s: %s; waiting for up to %d s\n", lab, held.cause, LOCK_WAIT_S);
    return lab_lock_take(home, lab, verb, ret, &ctx, err);
}

static int take_lock(struct session *s, const char *verb, struct error *err) {
    return verb ? lab_lock_await(s->cli, s->home, s->lab_name, verb, &s->lock, err) : 0;
}

char *session_path(const struct session *s, const char *name) {
    return xasprintf("%s/labs/%s/%s", s->home, s->lab_id, name);
}

static int load_secret(struct session *s, struct error *err) {
    cleanup_free char *path = session_path(s, "secret");
    if (access(path, F_OK) != 0)
        return 0; /* reach tells when a key is needed */
    struct error why = {0};
    if (secret_load(&s->secret, path, &why) == 0) {
        s->has_secret = true;
        return 0;
    }
    if (s->lab) {
        *err = why;
        return -1;
    }
    /* By its name a lab is looked at or removed, and most of that needs no key. */
    cleanup_buffer struct buffer text = {0};
    error_one_line(&why, &text);
    warning_print(buffer_str(&text), color_on(STDERR_FILENO), stderr);
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

/* A lab that was never brought up has its id and its secret from the start, so that what is planned is what will be
 * made; session_record puts them on disk. A nestor that was killed between the two leaves the id alone. */
static int be_new(struct session *s, struct error *err) {
    if (!s->record && (lab_folders_warn(s->home, s->state, err) || lab_id_new(s->lab_id, err)))
        return -1;
    if (s->has_secret || (s->contents && s->contents->nmachines))
        return 0;
    s->has_secret = s->secret_unsaved = secret_new(&s->secret, err) == 0;
    return s->has_secret ? 0 : -1;
}

int session_from_file(struct session *s, struct cli *cli, const char *file, const char *verb, struct error *err) {
    struct diagnostics diags = {0};
    if (open_state(s, cli, err))
        return -1;
    int failed = lab_file_load(cli, file, &s->lab, &diags, err);
    lab_file_tell(file, &diags);
    diagnostics_free(&diags);
    if (failed)
        return -1;
    s->lab_name = xstrdup(s->lab->name);
    if (take_lock(s, verb, err) || load_record(s, err))
        return -1;
    return be_new(s, err);
}

/* No lab's name has a dot in it. */
static bool names_file(const char *word) {
    const char *dot = strrchr(word, '.');
    return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

int lab_named(const struct cli *cli, const char *word, char **ret, struct error *err) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    if (!names_file(word)) {
        *ret = xstrdup(word);
        return 0;
    }
    int failed = lab_file_load(cli, word, &lab, &diags, err);
    if (!failed)
        *ret = xstrdup(lab->name);
    else if (err->native == ENOENT)
        error_mend(err, "name the lab itself: 'nestor status' lists the labs");
    if (failed)
        error_context(err, "looking for the lab's name in it");
    diagnostics_free(&diags);
    lab_free(lab);
    return failed;
}

static void note_lab(void *data, const struct journal_record *r) {
    const char **sought = data;
    if (*sought && strcmp(r->lab, *sought) == 0)
        *sought = NULL;
}

/* Whether the history tells of the lab. */
static bool was_there(const struct session *s) {
    const char *sought = s->lab_name;
    return s->state && sought && state_journal_each(s->state, NULL, 0, 0, note_lab, &sought, NULL) == 0 && !sought;
}

static int tell_not_found(const struct session *s, struct error *err) {
    if (!err || err->code != ERR_NOT_FOUND || !was_there(s))
        return -1;
    error_clear(err);
    error_set(err, ERR_NOT_FOUND, s->lab_name, "the lab is down");
    return error_mend(err, "'nestor up' with its lab file brings it up again");
}

int session_from_name(struct session *s, struct cli *cli, const char *name, const char *verb, struct error *err) {
    if (open_state(s, cli, err) || lab_named(cli, name, &s->lab_name, err))
        return -1;
    struct lab_record *there = NULL;
    if (state_lab_find(s->state, s->lab_name, &there, err)) /* before the lock: a typo makes no lock file */
        return tell_not_found(s, err);
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

bool session_taken_down(const struct session *s, struct error *err) {
    if (s->record || !err || err->code != ERR_NOT_FOUND || !was_there(s))
        return false;
    error_clear(err);
    return true;
}

static int make_directories(const struct session *s, struct error *err) {
    cleanup_free char *labs = xasprintf("%s/labs", s->home), *own = xasprintf("%s/labs/%s", s->home, s->lab_id);
    return dir_make(labs, 0700, NULL, err) || dir_make(own, 0700, NULL, err) ? -1 : 0;
}

static int ensure_secret(struct session *s, struct error *err) {
    if (!s->has_secret) {
        error_set(err, ERR_CONFLICT, s->lab_name,
                  "the lab's key is missing, but it has machines that trust only that key");
        return error_mend(err, "take it down and bring it up again: nestor down %s", s->lab_name);
    }
    cleanup_free char *path = session_path(s, "secret");
    if (s->secret_unsaved && (make_directories(s, err) || secret_save(&s->secret, path, err)))
        return -1;
    s->secret_unsaved = false;
    return 0;
}

static int put_row(struct session *s, struct error *err) {
    cleanup_free char *file = realpath(s->lab->file, NULL);
    return state_lab_put(s->state, s->lab_name, file ? file : "", s->lab->text, s->lab->text_len, s->lab_id, s->lab_id,
                         err);
}

int session_record(struct session *s, struct error *err) { return put_row(s, err) || ensure_secret(s, err) ? -1 : 0; }

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

int session_find_machine(const struct session *s, const char *path, uint32_t *ret, struct error *err) {
    *ret = inventory_find(s->inv, path);
    if (*ret != LAB_NONE)
        return 0;
    const char *paths[256];
    size_t n = 0;
    for (size_t i = 0; i < s->inv->nrows && n < 256; i++)
        paths[n++] = s->inv->rows[i].path;
    const char *near = nearest_word(path, paths, n);
    error_set(err, ERR_NOT_FOUND, path, "there is no such machine in lab '%s'", s->lab_name);
    if (near)
        return error_mend(err, "did you mean '%s'?", near);
    return error_mend(err, "'nestor status %s' shows its machines", s->lab_name);
}
