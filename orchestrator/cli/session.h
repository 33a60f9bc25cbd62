/* What a command that works on one lab needs, opened in the right order and closed in the reverse one. */
#ifndef NESTOR_CLI_SESSION_H
#define NESTOR_CLI_SESSION_H

#include "cli/cli.h"
#include "nestor/reach.h"
#include "nestor/run.h"
#include "nestor/state.h"
#include "ui/ui.h"

struct session {
    struct cli *cli;
    const char *home;
    struct state *state;
    struct lab_lock lock;
    struct lab *lab;               /* from the file, or from the recorded text; NULL if that no longer parses */
    struct lab_record *record;     /* NULL: never brought up */
    struct lab_contents *contents; /* NULL: never brought up */
    char lab_id[LAB_ID_LEN + 1];
    char *lab_name;
    struct secret secret;
    bool has_secret;
    bool secret_unsaved; /* of a lab that was never brought up: session_record saves it */
    struct inventory *inv;
    struct reach *reach;
};

/* lab_lock_take, for as long as somebody may be kept waiting, who is told soon for whom. */
int lab_lock_await(const struct cli *cli, const char *home, const char *lab, const char *verb, struct lab_lock *ret,
                   struct error *err) NESTOR_CHECKED;

/* The name of the lab a word stands for: the word itself, or, as docker compose takes its file, the name in the lab
 * file it is. Caller frees. */
int lab_named(const struct cli *cli, const char *word, char **ret, struct error *err) NESTOR_CHECKED;

/* For plan and up: reads the file (its diagnostics go to standard error), then what is recorded of that lab. verb not
 * NULL: takes the lab's lock under that name. Leaves inv and reach to session_reach. */
int session_from_file(struct session *s, struct cli *cli, const char *file, const char *verb,
                      struct error *err) NESTOR_CHECKED;
/* For everything else: a recorded lab, by name, or by the file it comes from. ERR_NOT_FOUND lists the labs there are.
 */
int session_from_name(struct session *s, struct cli *cli, const char *name, const char *verb,
                      struct error *err) NESTOR_CHECKED;
/* After session_from_name failed: whether it is because the lab was taken down, as the history tells. Then err is
 * cleared: a lab that is down is no unknown lab. */
bool session_taken_down(const struct session *s, struct error *err);
/* Writes the lab's row and its secret, if that was not done yet. What was recorded before stays as it was read: the
 * inventory borrows from it. */
int session_record(struct session *s, struct error *err) NESTOR_CHECKED;
/* Builds the inventory (`with_lab`: what is wanted too) and opens the reach. Replaces earlier ones. */
int session_reach(struct session *s, bool with_lab, struct event_sink *sink, struct error *err) NESTOR_CHECKED;
void session_close(struct session *s);

/* home/labs/ID/NAME; caller frees. */
char *session_path(const struct session *s, const char *name);
/* Removes home/labs/ID and everything in it. */
int session_forget_files(const struct session *s, struct error *err) NESTOR_CHECKED;

/* "quickstart/kvm1/web1" -> lab name (caller frees); the whole text is the machine's path. ERR_USAGE. */
int split_machine_path(const char *path, char **ret_lab, struct error *err) NESTOR_CHECKED;

/* After session_reach. ERR_NOT_FOUND, with the machine that was most likely meant. */
int session_find_machine(const struct session *s, const char *path, uint32_t *ret, struct error *err) NESTOR_CHECKED;

/* The picture of the lab for status and graph. view_free releases it; strings borrow from the session. */
struct view {
    struct lab_view lab;
    struct arena arena;
};
int session_view(struct session *s, struct view *ret, struct error *err) NESTOR_CHECKED;
void view_free(struct view *v);

#endif
