#include <stdlib.h>
#include <string.h>

#include "qemu_priv.h"

/* What is being gathered. */
struct survey {
    const struct hypervisor *hv;
    struct qemu_process_list processes;
    struct observation *o;
    size_t room;
};

static void add(struct survey *s, struct observed item) {
    if (s->o->n == s->room) {
        size_t room = s->room ? s->room * 2 : 16;
        struct observed *items = arena_alloc(&s->o->arena, room * sizeof *items);
        if (s->o->n)
            memcpy(items, s->o->items, s->o->n * sizeof *items);
        s->o->items = items;
        s->room = room;
    }
    s->o->items[s->o->n++] = item;
}

/* A guest that was never let run is off, whatever process waits for it: start carries it on, remove ends it. */
static enum power power_of(const struct vm *vm, enum life life) {
    if (!vm_is_whole(vm))
        return POWER_BROKEN;
    return life == LIFE_RUNS ? POWER_ON : POWER_OFF;
}

static int add_machine(struct survey *s, const char *lab_id, const char *path, const char *dir_name,
                       struct error *err) {
    struct tag tag = {.lab_id = lab_id, .path = path};
    cleanup_vm struct vm vm = VM_NONE;
    if (vm_find(s->hv, &tag, &vm, err))
        return -1;
    if (vm.fd < 0) /* removed since the directory was read */
        return 0;
    enum life life = vm_life(&vm, &s->processes, NULL);
    struct arena *a = &s->o->arena;
    add(s, (struct observed){
               .lab_id = arena_strdup(a, lab_id),
               .path = arena_strdup(a, path),
               .name = arena_strdup(a, vm.known ? vm.rec.name : dir_name),
               .digest = arena_strdup(a, vm.known ? vm.rec.digest : ""),
               .power = power_of(&vm, life),
               .exposed = life == LIFE_RUNS ? vm.rec.launched_exposed : vm.known && vm.rec.expose,
           });
    return 0;
}

struct lab_survey {
    struct survey *survey;
    const char *lab_id;
};

static int on_machine_dir(void *data, const char *name, struct error *err) {
    struct lab_survey *l = data;
    const char *path;
    if (!dir_name_to_path(name, &l->survey->o->arena, &path))
        return 0;
    return add_machine(l->survey, l->lab_id, path, name, err);
}

static int on_lab_dir(void *data, const char *name, struct error *err) {
    struct survey *s = data;
    if (!is_lab_id(name))
        return 0;
    cleanup_free char *dir = xasprintf("%s/%s", s->hv->dir, name);
    struct lab_survey l = {.survey = s, .lab_id = name};
    return dir_each(dir, s->hv->subject, on_machine_dir, &l, err);
}

static bool is_seen(const struct survey *s, const char *lab_id, const char *path) {
    for (size_t i = 0; i < s->o->n; i++)
        if (strcmp(s->o->items[i].path, path) == 0 && strcmp(s->o->items[i].lab_id, lab_id) == 0)
            return true;
    return false;
}

/* A QEMU of this home whose directory is gone: only remove can help. */
static void add_orphan(struct survey *s, const struct qemu_process *p, const char *wanted_lab) {
    size_t len = strlen(s->hv->dir);
    if (strncmp(p->dir, s->hv->dir, len) != 0 || p->dir[len] != '/')
        return;
    char *lab_id = arena_strdup(&s->o->arena, p->dir + len + 1), *slash = strchr(lab_id, '/');
    const char *path;
    if (!slash || !dir_name_to_path(slash + 1, &s->o->arena, &path))
        return;
    *slash = '\0';
    if (!is_lab_id(lab_id) || (wanted_lab && strcmp(wanted_lab, lab_id) != 0) || is_seen(s, lab_id, path))
        return;
    add(s, (struct observed){.lab_id = lab_id, .path = path, .name = slash + 1, .digest = "", .power = POWER_BROKEN});
}

static int survey_all(struct survey *s, const char *lab_id, struct error *err) {
    /* Processes first: one that starts meanwhile is then seen as off, never as without a directory. */
    if (qemu_process_list(&s->processes, s->hv->subject, err))
        return -1;
    if (lab_id ? on_lab_dir(s, lab_id, err) : dir_each(s->hv->dir, s->hv->subject, on_lab_dir, s, err))
        return -1;
    for (size_t i = 0; i < s->processes.n; i++)
        add_orphan(s, &s->processes.items[i], lab_id);
    return 0;
}

int qemu_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                 struct error *err) {
    if (context_check(ctx, hv->subject, "looking for machines", err))
        return -1;
    struct survey s = {.hv = hv, .o = xcalloc(1, sizeof *s.o)};
    int rc = survey_all(&s, lab_id, err);
    qemu_process_list_free(&s.processes);
    if (rc)
        observation_free(s.o);
    else
        *ret = s.o;
    return rc;
}
