/* From the inventory and the kept evidence to what `status` shows. */
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"
#include "plan/index.h"
#include "ui/text.h"

static const char *driver_of(const struct inventory *inv, const struct row *row) {
    if (row->parent != LAB_NONE)
        return inv->rows[row->parent].hypervisor_name;
    return inv->hosts[row->host].driver->name;
}

static bool recorded_as(const struct row *row, const char *status) {
    return row->recorded && strcmp(row->recorded->status, status) == 0;
}

/* One that is to move is shown as it is on the host it is to leave. */
static enum seen seen_somewhere(const struct inventory *inv, uint32_t at) {
    const struct row *row = &inv->rows[at];
    uint32_t host = row->seen == SEEN_ABSENT ? inventory_next_elsewhere(inv, at, LAB_NONE) : LAB_NONE;
    return host == LAB_NONE ? row->seen : row->elsewhere[host];
}

/* A machine inside one that is off is off; inside one that cannot be asked, the record is all there is. */
static const char *state_of(const struct inventory *inv, uint32_t at) {
    const struct row *row = &inv->rows[at];
    switch (seen_somewhere(inv, at)) {
    case SEEN_ON:
        return recorded_as(row, "failed") ? "failed" : "running";
    case SEEN_OFF:
        return recorded_as(row, "created") ? "created" : recorded_as(row, "failed") ? "failed" : "stopped";
    case SEEN_BROKEN:
        return "failed";
    case SEEN_ABSENT:
        return recorded_as(row, "failed") ? "failed" : "absent";
    case SEEN_UNKNOWN:
        break;
    }
    if (!row->recorded)
        return "absent";
    const struct row *around = row->parent == LAB_NONE ? NULL : &inv->rows[row->parent];
    if (around && around->seen != SEEN_ON)
        return around->seen == SEEN_ABSENT ? "absent" : "stopped";
    return recorded_as(row, "running") ? "running" : recorded_as(row, "failed") ? "failed" : "stopped";
}

/* Up only if everything around it is up, and what was asked for was seen to hold. */
static bool is_ready(const struct inventory *inv, const struct row *row) {
    bool ready = row->recorded && row->recorded->is_ready && row->seen == SEEN_ON && !row->unasked;
    for (uint32_t p = row->parent; ready && p != LAB_NONE; p = inv->rows[p].parent)
        ready = inv->rows[p].seen == SEEN_ON;
    return ready;
}

/* The record says whose failure it is; its row says so, too. */
static void put_failure(struct view *view, const struct row *row, struct machine_view *m) {
    if (row->unasked) {
        m->failure = arena_printf(&view->arena, "it could not be asked: %s", row->unasked);
        return;
    }
    const char *text = row->recorded ? text_after_subject(row->recorded->failure, row->path) : "";
    size_t line = strcspn(text, "\n");
    m->failure = arena_printf(&view->arena, "%.*s", (int)line, text);
    m->mend = text + line + (text[line] == '\n');
}

struct filling {
    struct view *view;
    struct path_index index;
};

/* What was proved of a machine that is off or gone holds no more. */
static bool can_be_proved(const struct machine_view *m) {
    return strcmp(m->state, "running") == 0 || strcmp(m->state, "failed") == 0;
}

static void take_evidence(void *data, const struct evidence_record *r) {
    struct filling *f = data;
    uint32_t at = path_index_get(&f->index, r->path);
    if (at == LAB_NONE || !can_be_proved(&f->view->lab.machines[at]))
        return;
    struct machine_view *m = &f->view->lab.machines[at];
    m->checked = true;
    m->verified = r->verified;
    m->flag = arena_strdup(&f->view->arena, r->flag);
    m->reason = arena_strdup(&f->view->arena, r->reason);
    m->checked_at = r->checked_at;
}

static const char *lab_state(const struct lab_view *lab) {
    size_t ready = 0, there = 0, failed = 0;
    for (size_t i = 0; i < lab->n; i++) {
        ready += lab->machines[i].ready;
        there += strcmp(lab->machines[i].state, "absent") != 0;
        failed += strcmp(lab->machines[i].state, "failed") == 0;
    }
    if (failed)
        return "failed";
    if (!there)
        return "down";
    return ready == lab->n ? "up" : "partial";
}

int session_view(struct session *s, struct view *ret, struct error *err) {
    const struct inventory *inv = s->inv;
    struct view view = {.lab = {.lab = s->lab_name, .n = inv->nrows}};
    view.lab.machines = arena_alloc(&view.arena, (inv->nrows + 1) * sizeof *view.lab.machines);
    struct filling f = {.view = &view};
    for (uint32_t i = 0; i < inv->nrows; i++) {
        const struct row *row = &inv->rows[i];
        const struct machine_record *rec = row->recorded;
        bool running = row->seen == SEEN_ON;
        char now[80]; /* where it has just been spoken to */
        reach_address(s->reach, i, now);
        view.lab.machines[i] = (struct machine_view){
            .path = row->path,
            .name = row->name,
            .level = row->level,
            .driver = driver_of(inv, row),
            .template = row->template,
            .state = state_of(inv, i),
            .ready = is_ready(inv, row),
            .address = !running ? ""
                       : now[0] ? arena_strdup(&view.arena, now)
                       : rec    ? rec->address
                                : "",
            .failure = "",
            .mend = "",
            .hypervisor = row->hypervisor_name,
            .wanted = nesting_name(row->nesting),
            .flag = "",
            .reason = "",
        };
        put_failure(&view, row, &view.lab.machines[i]);
        path_index_put(&f.index, row->path, i);
    }
    int failed = state_evidence_each(s->state, s->lab_id, take_evidence, &f, err);
    path_index_free(&f.index);
    if (failed) {
        view_free(&view);
        return -1;
    }
    view.lab.state = lab_state(&view.lab);
    *ret = view;
    return 0;
}

void view_free(struct view *v) { arena_free(&v->arena); }
