/* The checked draft becomes struct lab: counts expanded, texts copied into the lab's arena. */
#include <inttypes.h>
#include <string.h>

#include "spec/resolve.h"

static struct param *copy_params(struct arena *arena, const struct params *from) {
    struct param *params = arena_alloc(arena, from->n * sizeof *params);
    for (size_t i = 0; i < from->n; i++)
        params[i] = (struct param){arena_strdup(arena, from->items[i].key), arena_strdup(arena, from->items[i].value),
                                   from->items[i].origin};
    return params;
}

static void build_hosts(struct lab *lab, const struct lab_draft *draft) {
    size_t n = draft->nhosts ? draft->nhosts : 1;
    struct host *hosts = arena_alloc(&lab->arena, n * sizeof *hosts);
    hosts[0] = (struct host){.name = "local", .driver = "qemu"}; /* what holds when the file names none */
    for (size_t i = 0; i < draft->nhosts; i++) {
        const struct host_draft *host = &draft->hosts[i];
        hosts[i] = (struct host){.name = arena_strdup(&lab->arena, host->name.text),
                                 .driver = host->driver.driver->name,
                                 .params = copy_params(&lab->arena, &host->params),
                                 .nparams = host->params.n,
                                 .parallel = (uint32_t)host->parallel.value,
                                 .origin = host->name.at};
    }
    lab->hosts = hosts;
    lab->nhosts = n;
}

struct template template_build(struct arena *arena, const struct template_draft *t) {
    if (t->on_host)
        return (struct template){.name = arena_strdup(arena, t->name.text), .on_host = true};
    return (struct template){.name = arena_strdup(arena, t->name.text),
                             .source = arena_strdup(arena, t->source.text),
                             .sha256 = arena_strdup(arena, t->sha256.text),
                             .format = template_formats[t->format.value].name,
                             .boot = t->kernel.text ? BOOT_KERNEL : BOOT_DISK,
                             .kernel = arena_strdup(arena, t->kernel.text),
                             .initrd = arena_strdup(arena, t->initrd.text),
                             .cmdline = arena_strdup(arena, t->cmdline.text),
                             .user = arena_strdup(arena, t->user.text),
                             .origin = t->name.at};
}

static void build_templates(struct lab *lab, const struct resolver *r) {
    struct template *templates = arena_alloc(&lab->arena, r->nall * sizeof *templates);
    for (size_t i = 0; i < r->nall; i++)
        templates[i] = template_build(&lab->arena, r->all[i]);
    lab->templates = templates;
    lab->ntemplates = r->nall;
}

/* Once per key of the file, however many machines its count makes: they share the texts. */
static void keep_texts(struct lab *lab, const struct machine_drafts *ms) {
    for (size_t i = 0; i < ms->n; i++) {
        struct machine_draft *m = &ms->items[i];
        m->user_data.text = arena_strdup(&lab->arena, m->user_data.text);
        m->settings.ssh_user.text =
            m->settings.ssh_user.text ? arena_strdup(&lab->arena, m->settings.ssh_user.text) : "root";
        m->extra.items = copy_params(&lab->arena, &m->extra);
        m->inside.params.items = copy_params(&lab->arena, &m->inside.params);
        keep_texts(lab, &m->machines);
    }
}

struct builder {
    struct lab *lab;
    struct machine *machines;
    uint32_t n;
};

static void build_machines(struct builder *b, const struct machine_drafts *ms, uint32_t parent);

static void build_machine(struct builder *b, const struct machine_draft *m, uint32_t parent, const char *path) {
    const struct settings *s = &m->settings;
    uint32_t own = b->n++;
    b->machines[own] = (struct machine){
        .path = path,
        .name = strrchr(path, '/') + 1,
        .level = parent == LAB_NONE ? 1 : b->machines[parent].level + 1,
        .parent = parent,
        .host = m->host_index,
        .template = m->template->index,
        .hypervisor = m->inside.driver.driver ? m->inside.driver.driver->name : NULL,
        .params = m->inside.params.items,
        .nparams = m->inside.params.n,
        .cpus = (uint32_t)s->cpus.value,
        .memory = s->memory.value,
        .disk = s->disk.value,
        .full_clone = s->clone.value == CLONE_FULL,
        .extra = m->extra.items,
        .nextra = m->extra.n,
        .nesting = (enum nesting)s->nesting.value,
        .ready = (enum ready)s->ready.value,
        .ssh_user = s->ssh_user.text,
        .ssh_port = (uint16_t)s->ssh_port.value,
        .boot_timeout_s = (uint32_t)s->boot_timeout.value,
        .stop_timeout_s = (uint32_t)s->stop_timeout.value,
        .user_data = m->user_data.text,
        .parallel = (uint32_t)m->parallel.value,
        .origin = m->name.at,
    };
    build_machines(b, &m->machines, own);
}

static void build_machines(struct builder *b, const struct machine_drafts *ms, uint32_t parent) {
    struct arena *arena = &b->lab->arena;
    const char *inside = parent == LAB_NONE ? b->lab->name : b->machines[parent].path;
    for (size_t i = 0; i < ms->n; i++) {
        const struct machine_draft *m = &ms->items[i];
        if (!given(&m->count))
            build_machine(b, m, parent, arena_printf(arena, "%s/%s", inside, m->name.text));
        for (uint32_t k = 1; given(&m->count) && k <= m->count.value; k++)
            build_machine(b, m, parent, arena_printf(arena, "%s/%s-%" PRIu32, inside, m->name.text, k));
    }
}

void draft_build(const struct resolver *r, struct lab *lab) {
    const struct machine_drafts *top = &r->draft->machines;
    lab->name = arena_strdup(&lab->arena, r->draft->name.text);
    build_hosts(lab, r->draft);
    build_templates(lab, r);
    keep_texts(lab, top);
    for (size_t i = 0; i < top->n; i++)
        lab->nmachines += top->items[i].total;
    struct builder b = {lab, arena_alloc(&lab->arena, lab->nmachines * sizeof(struct machine)), 0};
    build_machines(&b, top, LAB_NONE);
    lab->machines = b.machines;
}
