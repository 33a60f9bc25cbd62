/* The rules that need more than one key to be seen. Each is one function in the table at the end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/limits.h"
#include "spec/resolve.h"
#include "spec/text.h"

#define NAMES_SHOWN 100

/* Where a machine stands. */
struct place {
    const struct machine_draft *parent; /* NULL on the first level */
    uint32_t level;
    size_t path_len; /* of what it stands in */
};

static const char *shown(struct resolver *r, const struct word *w) {
    return text_excerpt(r->d->scratch, w->text, SPEC_NAME_MAX);
}

/* --- defaults --- */

static void inherit_word(struct word *own, const struct word *from) {
    if (!own->at.line)
        *own = *from;
}

static void inherit_number(struct number *own, const struct number *from, uint64_t otherwise) {
    if (!given(own))
        *own = given(from) ? *from : (struct number){.value = otherwise};
}

static bool becomes_by_address(const struct machine_draft *m) {
    return m->inside.driver.driver && m->inside.driver.driver->features & DRIVER_BY_ADDRESS;
}

static void inherit(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    const struct settings *from = &r->draft->defaults;
    struct settings *own = &m->settings;
    inherit_word(&own->template, &from->template);
    inherit_word(&own->ssh_user, &from->ssh_user);
    inherit_number(&own->cpus, &from->cpus, 1);
    inherit_number(&own->memory, &from->memory, UINT64_C(512) << 20);
    inherit_number(&own->disk, &from->disk, 0);
    inherit_number(&own->ready, &from->ready, becomes_by_address(m) ? READY_ADDRESS : READY_SSH);
    inherit_number(&own->ssh_port, &from->ssh_port, 22);
    inherit_number(&own->boot_timeout, &from->boot_timeout, 0);
    inherit_number(&own->stop_timeout, &from->stop_timeout, 0);
    /* `defaults: { nesting: preferred }` speaks of guest hypervisors: plain guests stay without. */
    if (m->inside.driver.at.line)
        inherit_number(&own->nesting, &from->nesting, NESTING_REQUIRED);
}

/* --- names of other things --- */

static void tell_unknown_host(struct resolver *r, const struct word *host) {
    const char *names[NAMES_SHOWN] = {"local"};
    size_t n = 0;
    for (; n < r->draft->nhosts && n < NAMES_SHOWN; n++)
        names[n] = r->draft->hosts[n].name.text;
    struct diagnostic *found = spec_error(r->d->diags, host->at, "there is no host '%s'", shown(r, host));
    if (!diagnostic_suggest(found, host->text, names, n))
        diagnostic_list(found, "the hosts are", names, n ? n : 1);
}

static bool is_implied_host(const struct resolver *r, const char *name) {
    return r->draft->nhosts == 0 && strcmp(name, "local") == 0;
}

static const struct driver *implied_driver(const struct resolver *r) {
    for (size_t i = 0; i < r->d->ndrivers; i++)
        if (strcmp(r->d->drivers[i]->name, "qemu") == 0)
            return r->d->drivers[i];
    return NULL;
}

static void use_host(struct resolver *r, struct machine_draft *m, struct host_draft *host) {
    if (!host)
        return;
    m->host_index = (uint32_t)(host - r->draft->hosts);
    m->on = host->driver.driver;
    host->used = true;
}

static void check_host(struct resolver *r, struct machine_draft *m, const struct place *place) {
    struct host_draft *host = m->host.text ? index_find(&r->hosts, m->host.text) : NULL;
    if (place->parent) {
        m->host_index = place->parent->host_index;
        m->on = place->parent->inside.driver.driver;
        if (m->host.at.line) {
            struct diagnostic *found = spec_error(r->d->diags, m->host.at, "'%s' cannot have a 'host': it runs in '%s'",
                                                  shown(r, &m->name), shown(r, &place->parent->name));
            diagnostic_hint(found, "only machines of the first level have a host");
        }
    } else if (m->host.at.line) {
        if (m->host.text && !host && !is_implied_host(r, m->host.text))
            tell_unknown_host(r, &m->host);
        use_host(r, m, host);
    } else if (r->draft->nhosts > 1) {
        struct diagnostic *found =
            spec_error(r->d->diags, m->name.at, "'%s' needs 'host': there are several hosts", shown(r, &m->name));
        diagnostic_hint(found, "the first is '%s'", shown(r, &r->draft->hosts[0].name));
    } else if (r->draft->nhosts == 1) {
        use_host(r, m, &r->draft->hosts[0]);
    }
    if (!place->parent && !r->draft->nhosts)
        m->on = implied_driver(r);
}

static bool can(const struct driver *driver, enum driver_feature feature) {
    return driver && driver->features & feature;
}

static void add_template(struct resolver *r, struct template_draft *t) {
    if (r->nall == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->all = xrealloc(r->all, r->cap * sizeof(struct template_draft *));
    }
    t->index = (uint32_t)r->nall;
    r->all[r->nall++] = t;
    index_put(t->on_host ? &r->on_hosts : &r->templates, t->name.text, t);
}

/* What the file does not define is the image catalogue's: image/ knows what is there, and says so. Or it is the
 * hypervisor's: only the hypervisor knows. */
static struct template_draft *find_template(struct resolver *r, const struct word *name, bool on_host) {
    struct template_draft *t = index_find(on_host ? &r->on_hosts : &r->templates, name->text);
    if (!t) {
        t = arena_alloc(r->d->scratch, sizeof *t);
        *t = (struct template_draft){.name = *name, .on_host = on_host};
        add_template(r, t);
    }
    return t;
}

static bool is_of_file(const struct resolver *r, const struct template_draft *t) {
    size_t n = r->draft->ntemplates;
    return n && t >= r->draft->templates && t < r->draft->templates + n;
}

/* The name or path of a template that a hypervisor has. */
static bool check_template_on_host(struct resolver *r, const struct machine_draft *m) {
    const struct word *name = &m->settings.template;
    const struct template_draft *own = index_find(&r->templates, name->text);
    if (strlen(name->text) > SPEC_TEMPLATE_MAX) {
        spec_error(r->d->diags, name->at, "the name of a template is longer than %d bytes", SPEC_TEMPLATE_MAX);
        return false;
    }
    if (!own || !is_of_file(r, own))
        return true;
    struct diagnostic *found = spec_error(r->d->diags, name->at,
                                          "the template '%s' must be on the hypervisor already, as the driver '%s' "
                                          "clones, and 'templates' describes a file of this machine",
                                          shown(r, name), m->on->name);
    diagnostic_hint(found, "give the entry at %d:%d another name, or remove it", own->name.at.line,
                    own->name.at.column);
    return false;
}

/* Of this machine. While it is not known what is cloned on, because that is wrong, nothing is said. */
static bool check_template_here(struct resolver *r, const struct machine_draft *m) {
    const struct word *name = &m->settings.template;
    if (!m->on && r->d->diags->nerrors)
        return true;
    return name_check(r->d, "template", name->text, name->at);
}

static void check_template(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    struct word *name = &m->settings.template;
    if (!name->at.line) {
        struct diagnostic *found = spec_error(r->d->diags, m->name.at, "'%s' needs a 'template'", shown(r, &m->name));
        diagnostic_hint(found, "say which here, or for all machines under 'defaults'");
    }
    if (!name->text)
        return;
    bool on_host = can(m->on, DRIVER_TEMPLATES);
    if (on_host ? !check_template_on_host(r, m) : !check_template_here(r, m))
        return;
    struct template_draft *t = find_template(r, name, on_host);
    t->used = true;
    t->used_here = t->used_here || (m->on && !on_host);
    m->template = t;
    inherit_word(&m->settings.ssh_user, &t->user);
}

/* --- nesting --- */

static void check_inside(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    struct origin at = m->machines.at.line ? m->machines.at : m->parallel.at;
    if (m->inside.driver.at.line || !at.line)
        return;
    struct diagnostic *found = spec_error(r->d->diags, at, "'%s' has '%s' but no 'hypervisor'", shown(r, &m->name),
                                          m->machines.at.line ? "machines" : "parallel");
    diagnostic_hint(found, "say which hypervisor it is inside, for example 'hypervisor: libvirt'");
}

static void check_nesting(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    const struct number *nesting = &m->settings.nesting;
    if (!m->inside.driver.at.line || nesting->value != NESTING_OFF)
        return;
    struct diagnostic *found =
        spec_error(r->d->diags, nesting->at, "'%s' is a guest hypervisor, and 'nesting' is 'off'", shown(r, &m->name));
    diagnostic_hint(found, "remove 'nesting: off', or 'hypervisor' if it is to be a plain guest");
}

/* Probes, and whatever creates machines inside, go in over SSH; or, if the hypervisor inside is spoken to at its
 * address, they go there. */
static void check_ready(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    const struct number *ready = &m->settings.ready;
    bool proven = m->settings.nesting.value == NESTING_REQUIRED || m->settings.nesting.value == NESTING_PREFERRED;
    bool outside = becomes_by_address(m);
    const char *mode = ready_name((enum ready)ready->value), *enough = outside ? "address" : "ssh";
    const char *how = outside ? "at its address" : "over SSH";
    if (ready->value >= (outside ? READY_ADDRESS : READY_SSH))
        return;
    if (m->machines.n) {
        struct diagnostic *found =
            spec_error(r->d->diags, ready->at, "'%s' has machines inside, which are made %s: 'ready' cannot be '%s'",
                       shown(r, &m->name), how, mode);
        diagnostic_hint(found, "remove 'ready', or say 'ready: %s' for this machine", enough);
    } else if (proven) {
        struct diagnostic *found =
            spec_error(r->d->diags, ready->at, "the nesting of '%s' is proven %s: 'ready' cannot be '%s'",
                       shown(r, &m->name), how, mode);
        diagnostic_hint(found, "remove 'ready', or say 'nesting: exposed' to go without the proof");
    }
}

/* --- what drivers can do --- */

/* Said of all machines it holds where the driver has the choice; said of one, the driver must have it. */
static void check_clone(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    struct number *clone = &m->settings.clone;
    bool links = can(m->on, DRIVER_LINKED_CLONE), copies = can(m->on, DRIVER_FULL_CLONE) || !links;
    if (!given(clone) && links && copies)
        *clone = r->draft->defaults.clone;
    if (!given(clone) || !m->on || (clone->value == CLONE_FULL ? copies : links)) {
        if (!links) /* there is nothing to choose: it is no property of the machine */
            clone->value = CLONE_LINKED;
        return;
    }
    struct diagnostic *found =
        spec_error(r->d->diags, clone->at,
                   "the driver '%s' %s the disks of a template: 'clone' "
                   "cannot be '%s'",
                   m->on->name, links ? "always shares" : "always copies", links ? "full" : "linked");
    diagnostic_hint(found, "remove 'clone'");
}

static bool is_own_key(const struct driver *driver, const char *key) {
    for (const char *const *own = driver->extra_own; own && *own; own++)
        if (strncasecmp(key, *own, strlen(*own)) == 0)
            return true;
    return false;
}

static void check_extra(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    if (!m->extra.at.line || !m->on)
        return;
    if (!can(m->on, DRIVER_EXTRA)) {
        struct diagnostic *found =
            spec_error(r->d->diags, m->extra.at, "the driver '%s' takes no 'extra-config'", m->on->name);
        diagnostic_hint(found, "remove it: '%s' runs on a hypervisor without such keys", shown(r, &m->name));
    }
    for (size_t i = 0; i < m->extra.n; i++) {
        const struct param *p = &m->extra.items[i];
        if (!is_own_key(m->on, p->key))
            continue;
        struct diagnostic *found =
            spec_error(r->d->diags, p->origin, "nestor sets '%s' itself", shown(r, &(struct word){.text = p->key}));
        diagnostic_hint(found, "remove it; cloud-init's data is given with 'user-data'");
    }
}

/* --- names and sizes --- */

static size_t path_length(const struct machine_draft *m, const struct place *place) {
    char number[16] = "";
    if (given(&m->count))
        snprintf(number, sizeof number, "-%" PRIu64, m->count.value);
    return place->path_len + 1 + strnlen(m->name.text, SPEC_NAME_MAX) + strlen(number);
}

static void check_length(struct resolver *r, struct machine_draft *m, const struct place *place) {
    if (!name_is_valid(m->name.text))
        return; /* told already */
    size_t path = path_length(m, place), name = path - place->path_len - 1;
    if (name > SPEC_NAME_MAX)
        spec_error(r->d->diags, m->count.at, "the name '%s-%" PRIu64 "' is %zu characters long, and %d is the most",
                   m->name.text, m->count.value, name, SPEC_NAME_MAX);
    else if (path > SPEC_PATH_MAX && place->path_len <= SPEC_PATH_MAX) {
        struct diagnostic *found =
            spec_error(r->d->diags, m->name.at, "the path of '%s' is %zu characters long, and %d is the most",
                       m->name.text, path, SPEC_PATH_MAX);
        diagnostic_hint(found, "use shorter names for it and for what it stands in");
    }
}

/* Where the file gives it its memory; its name, if that is not said of it alone. */
static struct origin place_of_memory(const struct resolver *r, const struct machine_draft *m) {
    struct origin own = m->settings.memory.at, shared = r->draft->defaults.memory.at;
    bool inherited = own.line == shared.line && own.column == shared.column;
    return own.line && !inherited ? own : m->name.at;
}

/* Its hypervisor needs some for itself, so what is as large can never start. True if there was such a machine. */
static bool check_memory_of_each(struct resolver *r, const struct machine_draft *m) {
    bool found = false;
    for (size_t i = 0; m->inside.driver.driver && i < m->machines.n; i++) {
        const struct machine_draft *child = &m->machines.items[i];
        char wants[24], there[24];
        if (child->settings.memory.value < m->settings.memory.value)
            continue;
        found = true;
        size_format(child->settings.memory.value, wants);
        size_format(m->settings.memory.value, there);
        diagnostic_hint(spec_error(r->d->diags, place_of_memory(r, child),
                                   "'%s' can never start: it wants %s of memory, and '%s', which it runs in, has %s",
                                   shown(r, &child->name), wants, shown(r, &m->name), there),
                        "give '%s' more 'memory', or '%s' less", shown(r, &m->name), shown(r, &child->name));
    }
    return found;
}

/* Overcommitting memory is allowed, and a guest that swaps inside a guest is seldom meant. */
static void check_memory(struct resolver *r, struct machine_draft *m, const struct place *place) {
    (void)place;
    uint64_t inside = 0;
    if (check_memory_of_each(r, m))
        return;
    for (size_t i = 0; i < m->machines.n; i++) {
        const struct machine_draft *child = &m->machines.items[i];
        uint64_t all;
        if (__builtin_mul_overflow(child->settings.memory.value, machine_copies(child), &all) ||
            __builtin_add_overflow(inside, all, &inside))
            inside = UINT64_MAX;
    }
    if (inside <= m->settings.memory.value)
        return;
    char wanted[24], there[24];
    size_format(inside, wanted);
    size_format(m->settings.memory.value, there);
    spec_warning(r->d->diags, m->machines.at, "the machines in '%s' have %s of memory together, and it has %s itself",
                 shown(r, &m->name), wanted, there);
}

/* --- all of them --- */

typedef void rule_fn(struct resolver *r, struct machine_draft *m, const struct place *place);

static rule_fn *const rules[] = {
    inherit,     check_host,  check_template, check_inside, check_nesting,
    check_ready, check_clone, check_extra,    check_length,
};

static void check_machines(struct resolver *r, struct machine_drafts *ms, const struct place *place);

static void check_machine(struct resolver *r, struct machine_draft *m, const struct place *place) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        rules[i](r, m, place);
    const struct place inside = {m, place->level + 1, path_length(m, place)};
    check_machines(r, &m->machines, &inside);
    check_memory(r, m, place); /* last: it reads what the machines inside inherited */
}

static void check_machines(struct resolver *r, struct machine_drafts *ms, const struct place *place) {
    if (place->level > SPEC_LEVELS_MAX && ms->n) {
        spec_error(r->d->diags, ms->at, "machines stand in each other more than %d levels deep", SPEC_LEVELS_MAX);
        return;
    }
    for (size_t i = 0; i < ms->n; i++)
        check_machine(r, &ms->items[i], place);
}

static uint64_t count_machines(struct machine_drafts *ms) {
    uint64_t sum = 0;
    for (size_t i = 0; i < ms->n; i++) {
        struct machine_draft *m = &ms->items[i];
        uint64_t total = machine_copies(m) * (1 + count_machines(&m->machines));
        m->total = total > SPEC_MACHINES_MAX ? SPEC_MACHINES_MAX + 1 : total;
        sum += m->total;
    }
    return sum > SPEC_MACHINES_MAX ? SPEC_MACHINES_MAX + 1 : sum;
}

static void claim_name(struct resolver *r, struct index *names, struct machine_draft *m, const char *name) {
    const struct machine_draft *other = index_find(names, name);
    if (!other) {
        index_put(names, name, m);
        return;
    }
    struct diagnostic *found = spec_error(r->d->diags, m->name.at, "there are two machines '%.60s'", name);
    diagnostic_hint(found, "'%s' at %d:%d makes it too%s", shown(r, &other->name), other->name.at.line,
                    other->name.at.column, given(&other->count) ? ", by its count" : "");
}

/* A count makes names that the file does not show: kvm-1 may be there already. */
static void check_collisions(struct resolver *r, struct machine_drafts *ms) {
    struct index names = {0};
    bool counted = false;
    for (size_t i = 0; i < ms->n; i++)
        counted = counted || given(&ms->items[i].count);
    for (size_t i = 0; i < ms->n; i++) {
        struct machine_draft *m = &ms->items[i];
        check_collisions(r, &m->machines);
        if (counted && !given(&m->count))
            claim_name(r, &names, m, m->name.text);
        for (uint32_t k = 1; given(&m->count) && k <= m->count.value; k++)
            claim_name(r, &names, m, arena_printf(r->d->scratch, "%s-%" PRIu32, m->name.text, k));
    }
    index_free(&names);
}

static void warn_unused(struct resolver *r) {
    for (size_t i = 0; i < r->draft->nhosts; i++)
        if (!r->draft->hosts[i].used)
            spec_warning(r->d->diags, r->draft->hosts[i].name.at, "no machine runs on the host '%s'",
                         r->draft->hosts[i].name.text);
    for (size_t i = 0; i < r->draft->ntemplates; i++)
        if (!r->draft->templates[i].used)
            spec_warning(r->d->diags, r->draft->templates[i].name.at, "no machine uses the template '%s'",
                         r->draft->templates[i].name.text);
}

void draft_check(struct resolver *r) {
    struct lab_draft *draft = r->draft;
    for (size_t i = 0; i < draft->nhosts; i++)
        index_put(&r->hosts, draft->hosts[i].name.text, &draft->hosts[i]);
    for (size_t i = 0; i < draft->ntemplates; i++)
        add_template(r, &draft->templates[i]);
    const struct place top = {NULL, 1, draft->name.text ? strnlen(draft->name.text, SPEC_NAME_MAX) : 0};
    check_machines(r, &draft->machines, &top);
    if (draft->machines.at.line && !draft->machines.n && !r->d->diags->nerrors)
        spec_error(r->d->diags, draft->machines.at, "the lab has no machines");
    if (r->d->nmachines > SPEC_MACHINES_MAX || count_machines(&draft->machines) > SPEC_MACHINES_MAX)
        spec_error(r->d->diags, draft->machines.at, "the lab has more than %d machines", SPEC_MACHINES_MAX);
    else
        check_collisions(r, &draft->machines);
    if (!r->d->diags->nerrors)
        warn_unused(r);
}

void draft_check_templates(struct resolver *r, template_check_fn *check) {
    for (size_t i = 0; i < r->nall && r->d->diags->nerrors < SPEC_ERRORS_MAX; i++) {
        const struct template_draft *t = r->all[i];
        bool misunderstood = is_of_file(r, t) ? t->is_wrong && !t->source.text : r->d->lacks_section;
        struct error why = {0};
        if (!t->used_here || misunderstood)
            continue;
        const struct template built = template_build(r->d->scratch, t);
        if (check(&built, &why))
            diagnostics_add(r->d->diags, t->name.at, &why);
    }
}

void resolver_free(struct resolver *r) {
    index_free(&r->hosts);
    index_free(&r->templates);
    index_free(&r->on_hosts);
    free(r->all);
}
