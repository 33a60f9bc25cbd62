#include "nestor/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/index.h"

struct builder {
    struct inventory *inv;
    struct path_index index;
    size_t cap;
    char (*sources)[65]; /* per template of the spec: SHA-256 of what it is cloned from; "" without `source` */
};

static struct row *add_row(struct builder *b, const char *path) {
    struct inventory *inv = b->inv;
    if (inv->nrows == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        inv->rows = xrealloc(inv->rows, b->cap * sizeof *inv->rows);
    }
    struct row *row = &inv->rows[inv->nrows];
    *row = (struct row){.path = path, .parent = LAB_NONE, .host = LAB_NONE, .seen = SEEN_UNKNOWN, .seen_digest = ""};
    path_index_put(&b->index, path, (uint32_t)inv->nrows++);
    return row;
}

static int find_driver(const char *name, const char *subject, const struct driver **ret, struct error *err) {
    *ret = driver_find(name);
    if (*ret)
        return 0;
    error_set(err, ERR_UNSUPPORTED, subject, "this nestor has no driver '%s'", name);
    return error_mend(err, "run 'nestor doctor' to see the drivers this build has");
}

static int add_host(struct inventory *inv, const char *name, const char *driver, const struct param *params,
                    size_t nparams, uint32_t parallel, struct error *err) {
    struct inventory_host host = {.name = name, .params = params, .nparams = nparams, .asked = parallel};
    if (find_driver(driver, name, &host.driver, err))
        return -1;
    host.parallel = parallel ? parallel : host.driver->parallel;
    inv->hosts[inv->nhosts++] = host;
    return 0;
}

static uint32_t find_host(const struct inventory *inv, const char *name) {
    for (uint32_t i = 0; i < inv->nhosts; i++)
        if (strcmp(inv->hosts[i].name, name) == 0)
            return i;
    return LAB_NONE;
}

/* Hosts of the spec first, in its order, so that lab->machines[i].host is an index here too. */
static int add_hosts(struct inventory *inv, const struct lab *lab, const struct lab_contents *contents,
                     struct error *err) {
    size_t most = (lab ? lab->nhosts : 0) + (contents ? contents->nhosts : 0);
    inv->hosts = arena_alloc(&inv->arena, most * sizeof *inv->hosts);
    for (size_t i = 0; lab && i < lab->nhosts; i++) {
        const struct host *h = &lab->hosts[i];
        if (add_host(inv, h->name, h->driver, h->params, h->nparams, h->parallel, err))
            return -1;
        struct inventory_host *added = &inv->hosts[inv->nhosts - 1];
        added->templates = lab_templates_on(lab, (uint32_t)i, &inv->arena, &added->ntemplates, &added->nnesting);
    }
    for (size_t i = 0; contents && i < contents->nhosts; i++) {
        const struct host_record *h = &contents->hosts[i];
        if (find_host(inv, h->name) != LAB_NONE)
            continue;
        if (add_host(inv, h->name, h->driver, h->params, h->nparams, h->parallel, err))
            return -1;
        inv->hosts[inv->nhosts - 1].left = lab != NULL;
    }
    return 0;
}

static void derive_identity(struct inventory *inv, struct row *row) {
    char uuid[37], mac[18];
    machine_uuid(inv->lab_id, row->path, uuid);
    machine_mac(inv->lab_id, row->path, mac);
    char *native = machine_native_name(inv->lab_id, row->path);
    row->uuid = arena_strdup(&inv->arena, uuid);
    row->mac = arena_strdup(&inv->arena, mac);
    row->native_name = arena_strdup(&inv->arena, native);
    free(native);
}

/* A URL as it is; else where the file lies, however the lab file was named. The file itself may be gone or be a link.
 */
static void put_place(struct buffer *text, const char *place) {
    const char *slash = strrchr(place, '/'), *name = slash ? slash + 1 : place;
    cleanup_free char *folder = slash ? xasprintf("%.*s", (int)(name - place), place) : xstrdup(".");
    cleanup_free char *resolved = strstr(place, "://") ? NULL : realpath(folder, NULL);
    if (resolved)
        buffer_printf(text, "%s/%s", resolved, name);
    else
        buffer_puts(text, place);
}

static void derive_source(const struct template *t, char ret[65]) {
    cleanup_buffer struct buffer text = {0};
    const char *const places[] = {t->source, t->kernel, t->initrd}, *const words[] = {t->sha256, t->format, t->cmdline};
    for (size_t i = 0; i < 3; i++) {
        if (places[i])
            put_place(&text, places[i]);
        buffer_putc(&text, '\0');
        buffer_puts(&text, words[i] ? words[i] : "");
        buffer_putc(&text, '\0');
    }
    sha256_hex(text.data, text.len, ret);
}

/* Once for each template: a lab may have a hundred thousand machines of one. */
static void derive_sources(struct builder *b, const struct lab *lab) {
    b->sources = arena_alloc(&b->inv->arena, lab->ntemplates * sizeof *b->sources);
    for (size_t i = 0; i < lab->ntemplates; i++)
        if (lab->templates[i].source)
            derive_source(&lab->templates[i], b->sources[i]);
}

/* What has come to the spec later adds to the text only where it is used: machines made before stay as they are. The
 * NUL before each is what no user-data has in it. */
static void derive_choices(const struct lab *lab, const struct machine *m, struct buffer *text) {
    if (lab->templates[m->template].on_host)
        buffer_append(text, "\0on-host", 8);
    if (m->full_clone)
        buffer_append(text, "\0full-clone", 11);
    for (size_t i = 0; i < m->nextra; i++) {
        buffer_putc(text, '\0');
        buffer_printf(text, "%s=%s", m->extra[i].key, m->extra[i].value);
    }
}

/* What a machine is made with. Anything in here can only be changed by making the machine anew. A template is more than
 * its name only where the lab file says what it is: an image of the catalogue may be built again, and its machines
 * stay.
 */
static void derive_digest(const struct builder *b, const struct machine *m, char out[17]) {
    const struct lab *lab = b->inv->lab;
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "%s\n%u\n%llu\n%llu\n%s\n%u\n%s", lab->templates[m->template].name, m->cpus,
                  (unsigned long long)m->memory, (unsigned long long)m->disk, m->ssh_user, m->ssh_port,
                  m->user_data ? m->user_data : "");
    derive_choices(lab, m, &text);
    if (b->sources[m->template][0]) {
        buffer_append(&text, "\0source=", 8);
        buffer_puts(&text, b->sources[m->template]);
    }
    char hex[65];
    sha256_hex(text.data, text.len, hex);
    memcpy(out, hex, 16);
    out[16] = '\0';
}

static int add_wanted(struct builder *b, const struct machine *m, struct error *err) {
    struct inventory *inv = b->inv;
    struct row *row = add_row(b, m->path);
    row->name = m->name;
    row->level = m->level;
    row->parent = m->parent; /* the spec's rows come first, in its order: indexes agree */
    row->host = m->host;
    row->wanted = m;
    row->ssh_user = m->ssh_user;
    row->ssh_port = m->ssh_port;
    row->nesting = m->nesting;
    row->ready = m->ready;
    row->template = inv->lab->templates[m->template].name;
    row->expose = m->nesting != NESTING_OFF;
    row->hypervisor_name = m->hypervisor ? m->hypervisor : "";
    if (m->hypervisor && find_driver(m->hypervisor, m->path, &row->opens_as, err))
        return -1;
    derive_identity(inv, row);
    derive_digest(b, m, row->digest);
    return 0;
}

/* A machine nestor made: joins the spec's row of that path, or gets one of its own. */
static int add_recorded(struct builder *b, const struct machine_record *m, struct error *err) {
    struct inventory *inv = b->inv;
    uint32_t at = path_index_get(&b->index, m->path);
    if (at != LAB_NONE) {
        inv->rows[at].recorded = m;
        return 0;
    }
    uint32_t parent = m->parent[0] ? path_index_get(&b->index, m->parent) : LAB_NONE;
    struct row *row = add_row(b, m->path);
    row->name = m->name;
    row->level = m->level;
    row->parent = parent;
    row->host = find_host(inv, m->host);
    row->recorded = m;
    row->ssh_user = m->ssh_user;
    row->ssh_port = m->ssh_port;
    if (!nesting_parse(m->nesting, &row->nesting) || !ready_parse(m->ready, &row->ready))
        return error_set(err, ERR_STATE_CORRUPT, m->path, "the state says nesting '%s', ready '%s'", m->nesting,
                         m->ready);
    row->template = m->template;
    row->expose = row->nesting != NESTING_OFF;
    row->hypervisor_name = m->hypervisor;
    if (m->hypervisor[0] && find_driver(m->hypervisor, m->path, &row->opens_as, err))
        return -1;
    row->native_name = m->native_name;
    row->uuid = m->uuid;
    row->mac = m->mac;
    if (row->host == LAB_NONE)
        return error_set(err, ERR_STATE_CORRUPT, m->path, "the state names a host '%s' that it does not know", m->host);
    return 0;
}

static void link_children(struct inventory *inv) {
    for (size_t i = 0; i < inv->nrows; i++) {
        struct row *row = &inv->rows[i];
        row->nchildren = 0;
        row->first_child = row->next_sibling = LAB_NONE;
    }
    for (size_t i = inv->nrows; i-- > 0;) { /* each before its next sibling */
        struct row *row = &inv->rows[i];
        if (row->parent == LAB_NONE)
            continue;
        struct row *parent = &inv->rows[row->parent];
        row->next_sibling = parent->first_child;
        parent->first_child = (uint32_t)i;
        parent->nchildren++;
    }
}

uint32_t inventory_next_within(const struct inventory *inv, uint32_t top, uint32_t row) {
    if (inv->rows[row].first_child != LAB_NONE)
        return inv->rows[row].first_child;
    for (; row != top; row = inv->rows[row].parent)
        if (inv->rows[row].next_sibling != LAB_NONE)
            return inv->rows[row].next_sibling;
    return LAB_NONE;
}

int inventory_build(const char *lab_id, const char *lab_name, const struct lab *lab,
                    const struct lab_contents *contents, struct inventory **ret, struct error *err) {
    struct inventory *inv = xcalloc(1, sizeof *inv);
    struct builder b = {.inv = inv};
    inv->lab = lab;
    inv->lab_id = arena_strdup(&inv->arena, lab_id);
    inv->lab_name = arena_strdup(&inv->arena, lab_name);
    if (lab)
        derive_sources(&b, lab);
    int failed = add_hosts(inv, lab, contents, err);
    for (size_t i = 0; !failed && lab && i < lab->nmachines; i++)
        failed = add_wanted(&b, &lab->machines[i], err);
    for (size_t i = 0; !failed && contents && i < contents->nmachines; i++)
        failed = add_recorded(&b, &contents->machines[i], err);
    path_index_free(&b.index);
    if (failed) {
        inventory_free(inv);
        return -1;
    }
    link_children(inv);
    *ret = inv;
    return 0;
}

void inventory_free(struct inventory *inv) {
    if (!inv)
        return;
    free(inv->rows);
    arena_free(&inv->arena);
    free(inv);
}

uint32_t inventory_find(const struct inventory *inv, const char *path) {
    for (uint32_t i = 0; i < inv->nrows; i++)
        if (strcmp(inv->rows[i].path, path) == 0)
            return i;
    return LAB_NONE;
}

bool inventory_nests_deeper(const struct inventory *inv, uint32_t row) {
    for (uint32_t i = inv->rows[row].first_child; i != LAB_NONE; i = inv->rows[i].next_sibling)
        if (inv->rows[i].expose)
            return true;
    return false;
}

static enum seen seen_of(enum power power) {
    switch (power) {
    case POWER_OFF:
        return SEEN_OFF;
    case POWER_ON:
        return SEEN_ON;
    case POWER_BROKEN:
        return SEEN_BROKEN;
    case POWER_ABSENT:
        break;
    }
    return SEEN_ABSENT;
}

/* Directly on this hypervisor: its own path, or the lab's name, and one name more. Who answers for a guest hypervisor
 * may claim anything, a row twice or its own removal included. */
static bool belongs_on(const struct inventory *inv, uint32_t on, const char *path) {
    const char *above = on == LAB_NONE ? inv->lab_name : inv->rows[on].path;
    size_t n = strlen(above);
    return strncmp(path, above, n) == 0 && path[n] == '/' && name_is_valid(path + n + 1);
}

/* A machine with our tag that neither the spec nor the state knows: it can at least be removed. */
static void add_stray(struct builder *b, const struct observed *o, uint32_t on, uint32_t host) {
    struct inventory *inv = b->inv;
    struct row *row = add_row(b, arena_strdup(&inv->arena, o->path));
    const char *slash = strrchr(row->path, '/');
    row->name = slash ? slash + 1 : row->path;
    row->parent = on;
    row->host = host;
    row->level = on == LAB_NONE ? 1 : inv->rows[on].level + 1;
    row->template = row->hypervisor_name = "";
    row->ssh_user = "root";
    row->ssh_port = 22;
    derive_identity(inv, row);
}

/* The machines of a guest hypervisor, or those of the first level: any host may turn out to have one of them. */
static uint32_t next_in(const struct inventory *inv, uint32_t on, uint32_t row) {
    if (on != LAB_NONE)
        return row == LAB_NONE ? inv->rows[on].first_child : inv->rows[row].next_sibling;
    for (row = row == LAB_NONE ? 0 : row + 1; row < inv->nrows; row++)
        if (inv->rows[row].parent == LAB_NONE)
            return row;
    return LAB_NONE;
}

static bool is_elsewhere(const struct row *row, uint32_t host) { return row->parent == LAB_NONE && row->host != host; }

static void forget_seen(struct row *row, uint32_t host) {
    if (!is_elsewhere(row, host))
        row->seen = SEEN_ABSENT;
    else if (row->elsewhere)
        row->elsewhere[host] = SEEN_ABSENT;
}

static void note_seen(struct inventory *inv, struct row *row, uint32_t host, const struct observed *seen) {
    if (is_elsewhere(row, host)) {
        if (!row->elsewhere)
            row->elsewhere = arena_alloc(&inv->arena, inv->nhosts * sizeof *row->elsewhere);
        row->elsewhere[host] = seen_of(seen->power);
        return;
    }
    row->seen = seen_of(seen->power);
    row->seen_exposed = seen->exposed;
    row->seen_digest = arena_strdup(&inv->arena, seen->digest ? seen->digest : "");
}

uint32_t inventory_next_elsewhere(const struct inventory *inv, uint32_t row, uint32_t host) {
    const enum seen *elsewhere = inv->rows[row].elsewhere;
    for (host = host == LAB_NONE ? 0 : host + 1; elsewhere && host < inv->nhosts; host++)
        if (elsewhere[host] != SEEN_UNKNOWN && elsewhere[host] != SEEN_ABSENT)
            return host;
    return LAB_NONE;
}

void inventory_apply(struct inventory *inv, uint32_t on, uint32_t host, const struct observation *o) {
    struct builder b = {.inv = inv, .cap = inv->nrows};
    size_t known = inv->nrows;
    if (on == LAB_NONE && o->parallel && !inv->hosts[host].asked)
        inv->hosts[host].parallel = o->parallel;
    for (uint32_t i = LAB_NONE; (i = next_in(inv, on, i)) != LAB_NONE;) {
        forget_seen(&inv->rows[i], host);
        path_index_put(&b.index, inv->rows[i].path, i);
    }
    for (size_t i = 0; i < o->n; i++) {
        const struct observed *seen = &o->items[i];
        if (strcmp(seen->lab_id, inv->lab_id) != 0)
            continue;
        uint32_t at = path_index_get(&b.index, seen->path);
        if (at == LAB_NONE) {
            if (!belongs_on(inv, on, seen->path))
                continue;
            at = (uint32_t)inv->nrows;
            add_stray(&b, seen, on, host);
        }
        note_seen(inv, &inv->rows[at], host, seen);
    }
    path_index_free(&b.index);
    if (inv->nrows > known)
        link_children(inv);
}

void inventory_unasked(struct inventory *inv, uint32_t on, const struct error *why) {
    inv->rows[on].unasked = arena_printf(&inv->arena, "%s%s%s", why->context, why->context[0] ? ": " : "", why->cause);
}

uint32_t inventory_unasked_around(const struct inventory *inv, uint32_t row) {
    uint32_t r = inv->rows[row].parent;
    while (r != LAB_NONE && !inv->rows[r].unasked)
        r = inv->rows[r].parent;
    return r;
}
