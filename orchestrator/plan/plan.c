/* Rows in, steps out. Each row is decided on its own knowledge and on what happens to its parent, which stands
 * before it; so one pass over the inventory is the whole planner. */
#include "nestor/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "nestor/buffer.h"

#define NO_STEP UINT32_MAX

static const struct {
    const char *name;
    uint32_t units;
} kinds[STEP_KIND_MAX] = {
#define X(symbol, name, units) [symbol] = {name, units},
    STEP_KINDS(X)
#undef X
};

const char *step_name(enum step_kind kind) { return (unsigned)kind < STEP_KIND_MAX ? kinds[kind].name : "unknown"; }
uint32_t step_units(enum step_kind kind) { return (unsigned)kind < STEP_KIND_MAX ? kinds[kind].units : 0; }

static const char *const change_names[] = {
    [CHANGE_NONE] = "none",       [CHANGE_CREATE] = "create", [CHANGE_START] = "start", [CHANGE_RESTART] = "restart",
    [CHANGE_REPLACE] = "replace", [CHANGE_REMOVE] = "remove", [CHANGE_CHECK] = "check",
};
const char *change_name(enum change change) { return change_names[change]; }

struct edge {
    uint32_t before, after;
};

/* What one row's steps look like from outside. */
struct row_plan {
    uint32_t reached; /* its reach, and */
    uint32_t entry;   /* the last of reach and verify, for what is made inside; NO_STEP while nothing was planned */
    bool gone;        /* it or a machine around it is made anew or removed: whatever was inside has vanished */
    bool removed;     /* by a remove step, its own or that of a machine around it, which forgets what was inside, too */
    bool cycled;      /* it or a machine around it is stopped and started: what was inside is off */
    bool opened;      /* reach and verify are in the plan, or not needed */
    const char *unasked; /* "kvm1 could not be asked: CAUSE", itself or what is around it; NULL: it was */
};

struct image_use { /* image steps of one hypervisor, a short list per hypervisor */
    uint32_t template, step, next;
};

struct planner {
    struct plan *plan;
    const struct inventory *inv;
    struct row_plan *rows;
    uint32_t *networks; /* per hypervisor: its network step */
    uint32_t *images;   /* per hypervisor: head of its list in uses */
    struct image_use *uses;
    size_t nuses, cap_uses;
    size_t cap_steps;
    struct edge *edges;
    size_t nedges, cap_edges;
};

/* Doubling growth for the planner's three lists. */
static void *grown(void *items, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 256;
    return xrealloc(items, *cap * size);
}

static void add_edge(struct planner *p, uint32_t before, uint32_t after) {
    if (before == NO_STEP)
        return;
    p->edges = grown(p->edges, p->nedges, &p->cap_edges, sizeof *p->edges);
    p->edges[p->nedges++] = (struct edge){before, after};
    p->plan->steps[after].ndeps++;
}

static uint32_t add_step(struct planner *p, struct step step, uint32_t after) {
    struct plan *plan = p->plan;
    plan->steps = grown(plan->steps, plan->nsteps, &p->cap_steps, sizeof *plan->steps);
    uint32_t at = (uint32_t)plan->nsteps++;
    plan->steps[at] = step;
    plan->nchanges += step.change;
    add_edge(p, after, at);
    return at;
}

static uint32_t add_row_step(struct planner *p, enum step_kind kind, uint32_t row, const char *reason, bool change,
                             uint32_t after) {
    return add_step(
        p, (struct step){.kind = kind, .row = row, .host = p->inv->rows[row].host, .reason = reason, .change = change},
        after);
}

/* Hypervisors are numbered: rows first, then hosts. */
static uint32_t hypervisor_of(const struct inventory *inv, const struct row *row) {
    return row->parent != LAB_NONE ? row->parent : (uint32_t)inv->nrows + row->host;
}

static bool needs_verify(const struct row *row) {
    return row->nesting == NESTING_REQUIRED || row->nesting == NESTING_PREFERRED;
}

/* reach and verify: nothing inside a guest hypervisor is touched before they are done. */
static uint32_t add_checks(struct planner *p, uint32_t r, const char *reason, bool change, uint32_t after) {
    const struct row *row = &p->inv->rows[r];
    uint32_t last = after;
    if (row->ready != READY_RUNNING || row->opens_as)
        last = add_row_step(p, STEP_REACH, r, reason, change, last);
    p->rows[r].reached = last;
    if (needs_verify(row))
        last = add_row_step(p, STEP_VERIFY, r, reason, change, last);
    p->rows[r].opened = true;
    return p->rows[r].entry = last;
}

/* Makes sure that row r, a guest hypervisor that stays as it is, is reached and verified before its children are
 * worked on. Returns the step to wait for. */
static uint32_t open_inside(struct planner *p, uint32_t r) {
    if (r == LAB_NONE)
        return NO_STEP;
    if (p->rows[r].opened)
        return p->rows[r].entry;
    uint32_t outer = open_inside(p, p->inv->rows[r].parent);
    return add_checks(p, r, "before its machines are changed", false, outer);
}

static uint32_t image_step(struct planner *p, const struct row *row, uint32_t after) {
    uint32_t hv = hypervisor_of(p->inv, row), template = row->wanted->template;
    for (uint32_t u = p->images[hv]; u != NO_STEP; u = p->uses[u].next)
        if (p->uses[u].template == template)
            return p->uses[u].step;
    uint32_t step = add_step(p,
                             (struct step){.kind = STEP_IMAGE,
                                           .row = row->parent,
                                           .host = row->host,
                                           .template = template,
                                           .reason = row->template,
                                           .change = true},
                             after);
    p->uses = grown(p->uses, p->nuses, &p->cap_uses, sizeof *p->uses);
    p->uses[p->nuses] = (struct image_use){template, step, p->images[hv]};
    p->images[hv] = (uint32_t)p->nuses++;
    return step;
}

static uint32_t network_step(struct planner *p, const struct row *row, uint32_t after) {
    uint32_t *step = &p->networks[hypervisor_of(p->inv, row)];
    if (*step == NO_STEP)
        *step = add_step(p,
                         (struct step){.kind = STEP_NETWORK,
                                       .row = row->parent,
                                       .host = row->host,
                                       .reason = "its machines need it",
                                       .change = true},
                         after);
    return *step;
}

static uint32_t add_power_on(struct planner *p, uint32_t r, const char *reason, bool expose, uint32_t after) {
    if (expose)
        after = add_row_step(p, STEP_EXPOSE, r, reason, true, after);
    after = add_row_step(p, STEP_START, r, reason, true, after);
    return add_checks(p, r, reason, true, after);
}

static void add_create(struct planner *p, uint32_t r, const char *reason, uint32_t after) {
    const struct row *row = &p->inv->rows[r];
    uint32_t proved = open_inside(p, row->parent);
    uint32_t reached = row->parent == LAB_NONE ? NO_STEP : p->rows[row->parent].reached;
    /* The image travels while the proof is taken: it makes no machine. */
    uint32_t image = image_step(p, row, reached);
    uint32_t network = network_step(p, row, reached);
    uint32_t create = add_row_step(p, STEP_CREATE, r, reason, true, image);
    add_edge(p, network, create);
    if (proved != reached)
        add_edge(p, proved, create);
    add_edge(p, after, create); /* the removal of what it replaces */
    add_power_on(p, r, reason, row->expose, create);
}

/* Wherever it is shown, one after the other: two of the hosts may be two names of one hypervisor. */
static uint32_t add_removals(struct planner *p, uint32_t r, const char *reason, uint32_t after) {
    uint32_t host = inventory_next_elsewhere(p->inv, r, LAB_NONE);
    if (p->inv->rows[r].seen != SEEN_ABSENT || host == LAB_NONE)
        after = add_row_step(p, STEP_REMOVE, r, reason, true, after);
    for (; host != LAB_NONE; host = inventory_next_elsewhere(p->inv, r, host))
        after = add_step(
            p, (struct step){.kind = STEP_REMOVE, .row = r, .host = host, .reason = reason, .change = true}, after);
    return after;
}

/* Nothing is taken away before what takes its place can be made: a misspelt template must not cost a machine. */
static void add_replace(struct planner *p, uint32_t r, const char *reason) {
    const struct row *row = &p->inv->rows[r];
    uint32_t opened = open_inside(p, row->parent);
    uint32_t reached = row->parent == LAB_NONE ? NO_STEP : p->rows[row->parent].reached;
    uint32_t image = image_step(p, row, reached), network = network_step(p, row, reached);
    uint32_t first = (uint32_t)p->plan->nsteps, last = add_removals(p, r, reason, opened);
    if (last != opened) {
        add_edge(p, image, first);
        add_edge(p, network, first);
    }
    add_create(p, r, reason, last);
}

static const char *recorded_digest(const struct row *row) {
    if (row->seen != SEEN_UNKNOWN)
        return row->seen_digest;
    return row->recorded ? row->recorded->digest : "";
}

static bool is_there(const struct row *row, const struct row_plan *around) {
    if (around && around->gone)
        return false;
    return row->seen == SEEN_UNKNOWN ? row->recorded != NULL : row->seen != SEEN_ABSENT;
}

/* The name of the host that has it instead of the one it belongs on; NULL if there is none. What its own host shows
 * is there, whoever else shows it: that is the same machine under another name of the hypervisor (docs/state.md). */
static const char *moved_from(const struct planner *p, uint32_t r) {
    const struct inventory *inv = p->inv;
    const struct row *row = &inv->rows[r];
    uint32_t from = LAB_NONE;
    if (row->seen != SEEN_ABSENT)
        return NULL;
    for (uint32_t h = LAB_NONE; (h = inventory_next_elsewhere(inv, r, h)) != LAB_NONE;)
        if (from == LAB_NONE || (row->recorded && strcmp(inv->hosts[h].name, row->recorded->host) == 0))
            from = h;
    return from == LAB_NONE ? NULL : inv->hosts[from].name;
}

/* Why a machine that runs as it should is not known to be ready in today's sense; NULL if it is. */
static const char *unproved(const struct planner *p, const struct row *row) {
    const struct machine_record *was = row->recorded;
    const char *nesting = nesting_name(row->nesting);
    enum ready proved;
    if (!was || !was->is_ready)
        return "not proved ready yet";
    if (needs_verify(row) && strcmp(was->nesting, nesting) != 0)
        return arena_printf(&p->plan->arena, "nesting %s -> %s", was->nesting, nesting);
    if (ready_parse(was->ready, &proved) && row->ready > proved) /* the stricter, the larger */
        return arena_printf(&p->plan->arena, "ready %s -> %s", was->ready, ready_name(row->ready));
    return NULL;
}

/* One that could not be made was never there. */
static bool was_there(const struct row *row) {
    return row->recorded && strcmp(row->recorded->status, "creating") != 0 &&
           strcmp(row->recorded->status, "failed") != 0;
}

/* The one decision per row. *reason is a sentence fragment for "because ...". */
static enum change decide(const struct planner *p, uint32_t r, const struct row_plan *around, const char **reason) {
    const struct row *row = &p->inv->rows[r];
    const struct row *parent = row->parent == LAB_NONE ? NULL : &p->inv->rows[row->parent];
    if (!row->wanted) {
        /* One that is recorded only was removed by a nestor that could not tell any more: the record is to go. */
        *reason = around && around->gone ? "goes with its hypervisor" : "no longer in the lab file";
        return row->recorded || is_there(row, around) ? CHANGE_REMOVE : CHANGE_NONE;
    }
    const char *from = moved_from(p, r);
    if (from) {
        *reason = arena_printf(&p->plan->arena, "moved from host '%s'", from);
        return CHANGE_REPLACE;
    }
    if (!is_there(row, around)) {
        *reason = !was_there(row)          ? "not there"
                  : around && around->gone ? "its hypervisor is replaced"
                                           : "it has vanished";
        return CHANGE_CREATE;
    }
    if (row->seen == SEEN_BROKEN) {
        *reason = "what is there is incomplete";
        return CHANGE_REPLACE;
    }
    const char *digest = recorded_digest(row);
    if (digest[0] && strcmp(digest, row->digest) != 0) {
        *reason = "its configuration has changed";
        return CHANGE_REPLACE;
    }
    if (around && around->cycled) {
        *reason = arena_printf(&p->plan->arena, "%s is restarted", parent->name);
        return CHANGE_START;
    }
    if (row->seen == SEEN_UNKNOWN) {
        bool unasked = around && around->unasked;
        *reason = unasked ? around->unasked
                          : arena_printf(&p->plan->arena, "%s was not running", parent ? parent->name : "its host");
        return unasked ? CHANGE_CHECK : CHANGE_START;
    }
    if (row->seen == SEEN_OFF) {
        *reason = "stopped";
        return CHANGE_START;
    }
    if (row->seen_exposed != row->expose) {
        *reason = row->expose ? "hardware virtualization is off" : "hardware virtualization is on";
        return CHANGE_RESTART;
    }
    const char *why =
        row->unasked ? arena_printf(&p->plan->arena, "it could not be asked: %s", row->unasked) : unproved(p, row);
    if (why)
        *reason = why;
    return why ? CHANGE_CHECK : CHANGE_NONE;
}

static void plan_row(struct planner *p, uint32_t r) {
    const struct row *row = &p->inv->rows[r];
    const struct row_plan *around = row->parent == LAB_NONE ? NULL : &p->rows[row->parent];
    struct row_plan *mine = &p->rows[r];
    const char *reason = "";
    enum change change = decide(p, r, around, &reason);
    /* What was inside a replaced hypervisor is made anew: a loss, which people must see as one. */
    bool lost = change == CHANGE_CREATE && row->recorded && row->parent != LAB_NONE &&
                p->plan->changes[row->parent] == CHANGE_REPLACE;
    p->plan->changes[r] = lost ? CHANGE_REPLACE : change;
    p->plan->reasons[r] = reason;
    mine->unasked = row->unasked ? arena_printf(&p->plan->arena, "%s could not be asked: %s", row->name, row->unasked)
                    : around     ? around->unasked
                                 : NULL;
    mine->gone = around && around->gone;
    mine->removed = around && around->removed;
    mine->cycled = around && around->cycled;
    switch (change) {
    case CHANGE_CREATE:
        mine->gone = true;
        add_create(p, r, reason, NO_STEP);
        break;
    case CHANGE_REPLACE:
        mine->gone = mine->removed = true;
        add_replace(p, r, reason);
        break;
    case CHANGE_START:
        mine->cycled = true;
        if (row->seen == SEEN_UNKNOWN) /* create makes sure that it really is there: it does nothing if so */
            add_create(p, r, reason, NO_STEP);
        else
            add_power_on(p, r, reason, row->expose || row->seen_exposed, open_inside(p, row->parent));
        break;
    case CHANGE_RESTART:
        mine->cycled = true;
        add_power_on(p, r, reason, true, add_row_step(p, STEP_STOP, r, reason, true, open_inside(p, row->parent)));
        break;
    case CHANGE_CHECK:
        if (row->seen == SEEN_UNKNOWN) /* steps that do nothing to what is as it should be: it may be off by now */
            add_create(p, r, reason, NO_STEP);
        else
            add_checks(p, r, reason, true, open_inside(p, row->parent));
        break;
    case CHANGE_REMOVE:
        if (!mine->removed)
            add_removals(p, r, reason, open_inside(p, row->parent));
        mine->gone = mine->removed = true;
        break;
    case CHANGE_NONE:
        break;
    }
}

/* Edges to the compact form the runner walks. */
static void finish(struct planner *p) {
    struct plan *plan = p->plan;
    for (size_t i = 0; i < p->nedges; i++)
        plan->steps[p->edges[i].before].nnext++;
    uint32_t at = 0;
    for (size_t i = 0; i < plan->nsteps; i++) {
        plan->steps[i].first_next = at;
        at += plan->steps[i].nnext;
        plan->steps[i].nnext = 0;
    }
    plan->next = arena_alloc(&plan->arena, (p->nedges + 1) * sizeof *plan->next);
    for (size_t i = 0; i < p->nedges; i++) {
        struct step *before = &plan->steps[p->edges[i].before];
        plan->next[before->first_next + before->nnext++] = p->edges[i].after;
    }
    free(p->edges);
    free(p->uses);
    free(p->rows);
    free(p->networks);
    free(p->images);
}

static void begin(struct planner *p, const struct inventory *inv, const char *verb) {
    struct plan *plan = xcalloc(1, sizeof *plan);
    size_t hypervisors = inv->nrows + inv->nhosts;
    plan->inventory = inv;
    plan->verb = verb;
    plan->changes = arena_alloc(&plan->arena, (inv->nrows + 1) * sizeof *plan->changes);
    plan->reasons = arena_alloc(&plan->arena, (inv->nrows + 1) * sizeof *plan->reasons);
    *p = (struct planner){.plan = plan, .inv = inv};
    p->rows = xcalloc(inv->nrows, sizeof *p->rows);
    p->networks = xmalloc(hypervisors * sizeof *p->networks);
    p->images = xmalloc(hypervisors * sizeof *p->images);
    for (size_t i = 0; i < hypervisors; i++)
        p->networks[i] = p->images[i] = NO_STEP;
    for (size_t i = 0; i < inv->nrows; i++)
        p->rows[i].reached = p->rows[i].entry = NO_STEP;
}

static bool removes_on(const struct plan *plan, size_t i, uint32_t host) {
    return plan->steps[i].kind == STEP_REMOVE && plan->steps[i].host == host;
}

/* After all removals on the host, if there are any. */
static void add_prune(struct planner *p, uint32_t host, const char *reason, bool change) {
    uint32_t prune = add_step(
        p, (struct step){.kind = STEP_PRUNE, .row = LAB_NONE, .host = host, .reason = reason, .change = change},
        NO_STEP);
    for (uint32_t i = 0; i < prune; i++)
        if (removes_on(p->plan, i, host))
            add_edge(p, i, prune);
}

int plan_up(const struct inventory *inv, struct plan **ret, struct error *err) {
    (void)err;
    struct planner p;
    begin(&p, inv, "up");
    for (uint32_t r = 0; r < inv->nrows; r++)
        plan_row(&p, r);
    for (uint32_t h = 0; h < inv->nhosts; h++) /* it is left clean, for `down` will not come there */
        if (inv->hosts[h].left)
            add_prune(&p, h, "no longer in the lab file", true);
    finish(&p);
    *ret = p.plan;
    return 0;
}

/* Not only after some removal: a killed `up` may have brought images and no machine yet. */
static void prune_after_down(struct planner *p, uint32_t host) {
    bool removes = false;
    for (size_t i = 0; i < p->plan->nsteps && !removes; i++)
        removes = removes_on(p->plan, i, host);
    add_prune(p, host, "what no machine uses", removes);
}

/* Removing a machine removes everything inside it, so only the outermost ones need a step. A machine whose presence
 * is not known is removed too: remove succeeds when there is nothing. */
int plan_down(const struct inventory *inv, struct plan **ret, struct error *err) {
    (void)err;
    struct planner p;
    begin(&p, inv, "down");
    for (uint32_t r = 0; r < inv->nrows; r++) {
        const struct row *row = &inv->rows[r];
        if (!row->recorded && (row->seen == SEEN_ABSENT || row->seen == SEEN_UNKNOWN))
            continue;
        p.plan->changes[r] = CHANGE_REMOVE;
        p.plan->reasons[r] = row->parent == LAB_NONE ? "down" : "goes with its hypervisor";
        if (row->parent == LAB_NONE)
            add_removals(&p, r, "down", NO_STEP);
    }
    for (uint32_t h = 0; h < inv->nhosts; h++)
        prune_after_down(&p, h);
    finish(&p);
    *ret = p.plan;
    return 0;
}

void plan_free(struct plan *plan) {
    if (!plan)
        return;
    free(plan->steps);
    arena_free(&plan->arena);
    free(plan);
}

/* A disk can grow beyond its template's, not shrink. */
static void add_disk(const struct machine *m, enum change change, const uint64_t *disk_sizes, struct demand *d) {
    uint64_t own = disk_sizes ? disk_sizes[m->template] : 0;
    if (change == CHANGE_CREATE)
        d->disk += m->disk;
    if (change == CHANGE_CREATE || change == CHANGE_REPLACE)
        d->disk_most += m->disk > own ? m->disk : own;
}

/* Only machines directly on the host count: what is nested lives in its guest hypervisor's share. */
void plan_demand(const struct plan *plan, uint32_t host, const uint64_t *disk_sizes, struct demand *ret) {
    struct demand d = {0};
    const struct inventory *inv = plan->inventory;
    for (size_t r = 0; r < inv->nrows; r++) {
        const struct row *row = &inv->rows[r];
        enum change c = plan->changes[r];
        if (row->parent != LAB_NONE || row->host != host || !row->wanted ||
            (c != CHANGE_CREATE && c != CHANGE_START && c != CHANGE_REPLACE))
            continue;
        bool anew = c == CHANGE_REPLACE && row->seen != SEEN_ABSENT; /* in the place of one that is there */
        if (!(anew && row->seen == SEEN_ON))
            d.memory += row->wanted->memory;
        add_disk(row->wanted, anew ? CHANGE_REPLACE : c == CHANGE_REPLACE ? CHANGE_CREATE : c, disk_sizes, &d);
        if (row->wanted->cpus > d.cpus)
            d.cpus = row->wanted->cpus;
        if (row->wanted->memory > d.machine_memory)
            d.machine_memory = row->wanted->memory;
    }
    *ret = d;
}
