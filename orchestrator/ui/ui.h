/* What people and scripts see. Reads events, plans, inventories and evidence; never drivers. Text goes to the given
 * FILE; nothing here decides exit codes. */
#ifndef NESTOR_UI_UI_H
#define NESTOR_UI_UI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "nestor/event.h"
#include "nestor/inventory.h"
#include "nestor/plan.h"
#include "nestor/state.h"

/* --- progress.c: an event sink --- */

/* live: a tree that redraws in place on a terminal; else one plain line per event, with the elapsed time; quiet: only
 * warnings and failures. Thread-safe. Ended by progress_close, which leaves the final picture on the screen. */
struct progress;
struct progress *progress_open(FILE *out, bool live, bool color, bool quiet);
struct event_sink *progress_sink(struct progress *p);
/* Gives the live tree its rows in order (paths, borrowed until close) and the number of steps. Optional. */
void progress_plan(struct progress *p, const struct plan *plan);
/* Lets the live tree say that it is stopping once cancel (borrowed until close) was fired. Optional. */
void progress_watch(struct progress *p, const struct cancel *cancel);
/* Takes the live tree off the screen and writes nothing until progress_resume, so that somebody can be asked something
 * there. NULL-safe. Not for two threads at once. */
void progress_pause(struct progress *p);
void progress_resume(struct progress *p);
void progress_close(struct progress *p); /* NULL-safe */

/* --- plan_view.c --- */

/* As terraform shows it: one line per machine that changes ("+ quickstart/kvm1   create: not there"), then a summary
 * line "Plan: 3 to create, 0 to start, 0 to replace, 0 to remove." or "Nothing to do: ...". */
void plan_print(const struct plan *plan, bool color, FILE *out);
json_t *plan_json(const struct plan *plan);

/* --- status_view.c --- */

/* One machine as `nestor status` tells it. Strings are borrowed. */
struct machine_view {
    const char *path, *name;
    uint32_t level;
    const char *driver; /* of the hypervisor it runs on */
    const char *template;
    const char *state; /* absent created running stopped failed; as known last where nobody can be asked */
    bool ready;
    const char *address;    /* "" if unknown */
    const char *failure;    /* one line, "" */
    const char *mend;       /* what to do about it, "" */
    const char *hypervisor; /* what it is opened as, "" */
    const char *wanted;     /* nesting: required preferred exposed off */
    bool checked, verified;
    const char *flag, *reason; /* "" */
    int64_t checked_at;
};
struct lab_view {
    const char *lab;
    const char *state; /* up partial down failed */
    struct machine_view *machines;
    size_t n;
};
/* A tree with one line per machine: state, address, evidence ("svm verified 12:03:10"), reason and mend of what failed.
 */
void status_print(const struct lab_view *view, bool color, FILE *out);
/* {"lab","state","machines":[{"path","level","driver","template","state","ready","address","failure","mend",
 *  "nesting":{"wanted","verified","flag","reason","checked_at"}}]}: fixed for scripts. null for what is unknown. */
json_t *status_json(const struct lab_view *view);

/* --- evidence_view.c --- */

/* Per guest hypervisor: verdict, then each probe with its verdict and output, reason and mend. */
void evidence_print(const char *path, const struct evidence *e, bool color, FILE *out);
json_t *evidence_json(const char *path, const struct evidence *e);

/* --- graph_view.c --- */

/* The lab as a picture in text: format "dot" or "mermaid". Clusters are hypervisors. States colour the nodes when view
 * is given (may be NULL). */
void graph_print(const struct inventory *inv, const struct lab_view *view, const char *format, FILE *out);

/* --- common --- */

/* Dumps with two-space indentation and a newline, and releases json. */
void json_print(json_t *json, FILE *out);
/* Text from outside, safe for a terminal: control characters replaced. */
void print_safe(const char *text, FILE *out);
enum tint { TINT_NONE, TINT_GOOD, TINT_BAD, TINT_WARN, TINT_DIM, TINT_BOLD };
/* Escape sequence to begin a tint, "" without colour; tint_end likewise. */
const char *tint(bool color, enum tint tint);
const char *tint_end(bool color);

#endif
