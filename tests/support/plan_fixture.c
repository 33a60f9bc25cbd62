#include "plan_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LAB_ID "0123456789abcdef"
#define MACHINES_MAX 16

static const struct {
    const char *name;
    enum seen seen;
} seen_words[] = {
    {"on", SEEN_ON}, {"off", SEEN_OFF}, {"absent", SEEN_ABSENT}, {"broken", SEEN_BROKEN}, {"unknown", SEEN_UNKNOWN},
};

static enum seen seen_of(const char *word) {
    for (size_t i = 0; i < sizeof seen_words / sizeof *seen_words; i++)
        if (strcmp(seen_words[i].name, word) == 0)
            return seen_words[i].seen;
    fail_msg("no such word: %s", word);
    return SEEN_UNKNOWN;
}

struct line {
    char path[128], seen[16];
    bool recorded, ready, has_exposed, exposed;
    char digest[32], opens[16], nesting[16], as[16], elsewhere[16];
};

static void read_line(const char *text, struct line *l) {
    char words[160];
    *l = (struct line){.recorded = true, .ready = true};
    snprintf(words, sizeof words, "%s", text);
    char *save = NULL, *word = strtok_r(words, " ", &save);
    snprintf(l->path, sizeof l->path, "%s", word);
    snprintf(l->seen, sizeof l->seen, "%s", strtok_r(NULL, " ", &save));
    while ((word = strtok_r(NULL, " ", &save))) {
        if (strcmp(word, "unready") == 0)
            l->ready = false;
        else if (strcmp(word, "unrecorded") == 0)
            l->recorded = false;
        else if (strncmp(word, "exposed=", 8) == 0)
            l->has_exposed = true, l->exposed = strcmp(word + 8, "on") == 0;
        else if (strncmp(word, "digest=", 7) == 0)
            snprintf(l->digest, sizeof l->digest, "%s", word + 7);
        else if (strncmp(word, "opens=", 6) == 0)
            snprintf(l->opens, sizeof l->opens, "%s", word + 6);
        else if (strncmp(word, "nesting=", 8) == 0)
            snprintf(l->nesting, sizeof l->nesting, "%s", word + 8);
        else if (strncmp(word, "as=", 3) == 0)
            snprintf(l->as, sizeof l->as, "%s", word + 3);
        else if (strncmp(word, "elsewhere=", 10) == 0)
            snprintf(l->elsewhere, sizeof l->elsewhere, "%s", word + 10);
    }
}

/* Recorded as it is wanted, unless the line says otherwise. */
static const struct machine *wanted(const struct planned *p, const char *path) {
    for (size_t i = 0; p->lab && i < p->lab->nmachines; i++)
        if (strcmp(p->lab->machines[i].path, path) == 0)
            return &p->lab->machines[i];
    static const struct machine none = {.nesting = NESTING_OFF, .ready = READY_SSH};
    return &none;
}

static void record(struct planned *p, const struct line *l) {
    struct arena *a = &p->contents.arena;
    const char *path = arena_strdup(a, l->path), *slash = strrchr(path, '/');
    const char *parent = arena_strndup(a, path, (size_t)(slash - path));
    uint32_t level = 0;
    for (const char *c = path; *c; c++)
        level += *c == '/';
    p->contents.machines[p->contents.nmachines++] = (struct machine_record){
        .path = path,
        .name = slash + 1,
        .parent = level == 1 ? "" : parent,
        .host = "local",
        .level = level,
        .hypervisor = arena_strdup(a, l->opens),
        .template = "tiny",
        .native_name = path,
        .uuid = "u",
        .mac = "m",
        .digest = arena_strdup(a, l->digest),
        .ssh_user = "root",
        .ssh_port = 22,
        .nesting = l->nesting[0] ? arena_strdup(a, l->nesting) : nesting_name(wanted(p, path)->nesting),
        .ready = l->as[0] ? arena_strdup(a, l->as) : ready_name(wanted(p, path)->ready),
        .status = "running",
        .address = "",
        .is_ready = l->ready,
        .failure = "",
    };
}

static void see_elsewhere(struct inventory *inv, struct row *row, const char *host) {
    row->elsewhere = arena_alloc(&inv->arena, inv->nhosts * sizeof *row->elsewhere);
    for (size_t i = 0; i < inv->nhosts; i++)
        row->elsewhere[i] = strcmp(inv->hosts[i].name, host) == 0 ? SEEN_ON : SEEN_ABSENT;
}

/* Rows are looked at only after the inventory exists: digests default to the wanted one. */
static void see(struct planned *p, const struct line *l) {
    uint32_t at = inventory_find(p->inv, l->path);
    if (at == LAB_NONE)
        fail_msg("no row for %s", l->path);
    struct row *row = &p->inv->rows[at];
    row->seen = seen_of(l->seen);
    row->seen_exposed = l->has_exposed ? l->exposed : row->expose;
    row->seen_digest = l->digest[0] ? arena_strdup(&p->inv->arena, l->digest) : row->digest;
    if (l->elsewhere[0])
        see_elsewhere(p->inv, row, l->elsewhere);
}

void plan_prepare(struct planned *p, const char *spec, const char *machines) {
    struct error err = {0};
    struct diagnostics diags = {0};
    struct line lines[MACHINES_MAX];
    size_t n = 0;
    *p = (struct planned){0};
    if (spec && lab_parse("lab.yaml", spec, strlen(spec), &p->lab, &diags, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    diagnostics_free(&diags);
    p->contents.machines = arena_alloc(&p->contents.arena, MACHINES_MAX * sizeof *p->contents.machines);
    p->contents.hosts = arena_alloc(&p->contents.arena, sizeof *p->contents.hosts);
    p->contents.hosts[p->contents.nhosts++] = (struct host_record){.name = "local", .driver = "fake"};
    for (const char *at = machines; *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != 0)) {
        char *text = strndup(at, strcspn(at, "\n"));
        read_line(text, &lines[n]);
        free(text);
        if (lines[n].recorded)
            record(p, &lines[n]);
        n++;
    }
    if (inventory_build(LAB_ID, "lab", p->lab, &p->contents, &p->inv, &err))
        fail_msg("%s: %s", err.subject, err.cause);
    for (size_t i = 0; i < p->inv->nrows; i++)
        p->inv->rows[i].seen = SEEN_ABSENT;
    for (size_t i = 0; i < n; i++)
        see(p, &lines[i]);
}

static void put_name(struct planned *p, const struct step *s) {
    const struct inventory *inv = p->inv;
    bool away = s->row != LAB_NONE && inv->rows[s->row].parent == LAB_NONE && s->host != inv->rows[s->row].host;
    buffer_printf(&p->text, "%s %s%s%s", step_name(s->kind),
                  s->row == LAB_NONE ? inv->hosts[s->host].name : inv->rows[s->row].path, away ? " from " : "",
                  away ? inv->hosts[s->host].name : "");
}

const char *plan_render(struct planned *p, const char *verb) {
    struct error err = {0};
    int failed = strcmp(verb, "up") == 0 ? plan_up(p->inv, &p->plan, &err) : plan_down(p->inv, &p->plan, &err);
    if (failed)
        fail_msg("%s", err.cause);
    for (uint32_t i = 0; i < p->plan->nsteps; i++) {
        const struct step *s = &p->plan->steps[i];
        const char *separator = " < ";
        put_name(p, s);
        buffer_printf(&p->text, " (%s)", s->reason);
        for (uint32_t b = 0; b < p->plan->nsteps; b++)
            for (uint32_t k = 0; k < p->plan->steps[b].nnext; k++)
                if (p->plan->next[p->plan->steps[b].first_next + k] == i) {
                    buffer_puts(&p->text, separator);
                    put_name(p, &p->plan->steps[b]);
                    separator = ", ";
                }
        buffer_puts(&p->text, s->change ? "\n" : " look\n");
    }
    return buffer_str(&p->text);
}

void plan_release(struct planned *p) {
    plan_free(p->plan);
    inventory_free(p->inv);
    arena_free(&p->contents.arena);
    lab_free(p->lab);
    buffer_free(&p->text);
}
