/* Opening the tree on demand. One place per machine keeps its connection and, if it is a guest hypervisor, the open
 * driver handle of what it has become; everything deeper hangs on those.
 *
 * Locks: each place has its own mutex, taken child before parent only in the sense that a child's holder may take its
 * parent's (depth grows downwards, so there is no cycle). It is held while connecting, so that threads that need the
 * same machine wait for one connection instead of making several.
 *
 * What was opened is closed by reach_close only, newest first: nothing is ever closed before what was opened through
 * it. A connection found dead is merely taken out of its place: other threads may still be inside a call on it, and
 * such a call ends by itself with an error. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/reach_priv.h"

/* A server that is there greets at once. Seen under emulation: a TCP connection accepted by a port forward before the
 * guest listens never gets an answer; one made a little later does. */
#define GREETING_MS 5000

struct place {
    pthread_mutex_t lock;
    struct access *access;     /* into the machine */
    struct hypervisor *inside; /* the hypervisor it has become */
    struct access *through;    /* what `inside` speaks through */
    char address[80];          /* "127.0.0.1:40001" */
    bool accelerated;
};

/* Something that is to be closed in the end: an access, or a driver's handle and the endpoint it borrows. */
struct opened {
    struct opened *next;
    struct access *access;
    struct hypervisor *hv;
    const struct driver *driver;
    struct endpoint at;
};

struct reach {
    struct inventory *inv;
    const char *home;
    const struct secret *secret;
    const struct asker *asker;
    struct event_sink *sink;
    struct keypair user_key;
    struct place *places; /* per row */
    size_t nplaces;
    struct place *hosts; /* per host: only lock and inside are used */
    char **host_subjects;
    pthread_mutex_t opened_lock;
    struct opened *opened; /* newest first */
};

int reach_open(struct inventory *inv, const char *home, const struct secret *secret, struct event_sink *sink,
               struct reach **ret, struct error *err) {
    struct reach *r = xcalloc(1, sizeof *r);
    r->inv = inv;
    r->home = home;
    r->secret = secret;
    r->sink = sink;
    r->nplaces = inv->nrows;
    r->places = xcalloc(inv->nrows, sizeof *r->places);
    r->hosts = xcalloc(inv->nhosts, sizeof *r->hosts);
    r->host_subjects = xcalloc(inv->nhosts, sizeof *r->host_subjects);
    for (size_t i = 0; i < r->nplaces; i++) {
        pthread_mutex_init(&r->places[i].lock, NULL);
        r->places[i].accelerated = true;
    }
    for (size_t i = 0; i < inv->nhosts; i++) {
        pthread_mutex_init(&r->hosts[i].lock, NULL);
        r->host_subjects[i] = xasprintf("host %s", inv->hosts[i].name);
    }
    pthread_mutex_init(&r->opened_lock, NULL);
    if (secret && keypair_derive(secret, "user", "nestor", &r->user_key, err)) {
        reach_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

void reach_ask(struct reach *r, const struct asker *asker) { r->asker = asker; }

static void keep(struct reach *r, struct opened *o) {
    pthread_mutex_lock(&r->opened_lock);
    o->next = r->opened;
    r->opened = o;
    pthread_mutex_unlock(&r->opened_lock);
}

static void keep_access(struct reach *r, struct access *access) {
    struct opened *o = xcalloc(1, sizeof *o);
    o->access = access;
    keep(r, o);
}

static void drop_inside(struct place *place) {
    place->inside = NULL;
    place->through = NULL;
}

/* Its connection is of no use any more. What speaks through that goes with it. */
static void drop_access(struct place *place) {
    if (place->through == place->access)
        drop_inside(place);
    place->access = NULL;
    place->address[0] = '\0';
}

void reach_close(struct reach *r) {
    if (!r)
        return;
    for (struct opened *o = r->opened, *next; o; o = next) {
        next = o->next;
        if (o->hv)
            o->driver->close(o->hv);
        access_close(o->access);
        free(o);
    }
    for (size_t i = 0; i < r->nplaces; i++)
        pthread_mutex_destroy(&r->places[i].lock);
    for (size_t i = 0; i < r->inv->nhosts; i++) {
        pthread_mutex_destroy(&r->hosts[i].lock);
        free(r->host_subjects[i]);
    }
    pthread_mutex_destroy(&r->opened_lock);
    keypair_free(&r->user_key);
    free(r->places);
    free(r->hosts);
    free(r->host_subjects);
    free(r);
}

/* Opens the hypervisor into its place, which is locked. at: where it answers, for DRIVER_BY_ADDRESS. */
static int open_hypervisor(struct reach *r, const struct driver *driver, struct hypervisor_config *config,
                           const struct endpoint *at, struct place *place, const struct context *ctx,
                           struct error *err) {
    struct opened *o = xcalloc(1, sizeof *o);
    o->driver = driver;
    if (at)
        o->at = *at;
    config->endpoint = at ? &o->at : NULL;
    config->lab_id = r->inv->lab_id;
    config->lab_name = r->inv->lab_name;
    config->home = r->home;
    config->asker = r->asker;
    if (driver->open(config, &o->hv, ctx, err)) {
        free(o);
        return -1;
    }
    keep(r, o);
    place->inside = o->hv;
    place->through = config->access;
    return 0;
}

int reach_host(struct reach *r, uint32_t host, struct hypervisor **ret, const struct driver **ret_driver,
               const struct context *ctx, struct error *err) {
    const struct inventory_host *h = &r->inv->hosts[host];
    struct place *place = &r->hosts[host];
    int failed = 0;
    pthread_mutex_lock(&place->lock);
    if (!place->inside) {
        struct hypervisor_config config = {.subject = r->host_subjects[host],
                                           .access = access_local(),
                                           .params = h->params,
                                           .nparams = h->nparams,
                                           .templates = h->templates,
                                           .ntemplates = h->ntemplates,
                                           .nnesting = h->nnesting,
                                           .accelerated = true};
        failed = open_hypervisor(r, h->driver, &config, NULL, place, ctx, err);
    }
    *ret = place->inside;
    *ret_driver = h->driver;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

uint32_t reach_at_once(struct reach *r, uint32_t host) {
    const struct driver *driver = r->inv->hosts[host].driver;
    struct place *place = &r->hosts[host];
    uint32_t at_once = UINT32_MAX;
    if (!driver->at_once)
        return at_once;
    pthread_mutex_lock(&place->lock); /* held for long while it is opened only, which observing it has done */
    if (place->inside)
        at_once = driver->at_once(place->inside);
    pthread_mutex_unlock(&place->lock);
    return at_once;
}

/* What the machines of a hypervisor (row, or LAB_NONE for a host) are dialled through: the way into it, or, if it is
 * spoken to at its address, what that is dialled through itself. */
static int way_to_machines(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx,
                           struct error *err) {
    while (row != LAB_NONE && row_is_by_address(&r->inv->rows[row]))
        row = r->inv->rows[row].parent;
    if (row != LAB_NONE)
        return reach_access(r, row, ret, ctx, err);
    *ret = access_local();
    return 0;
}

int reach_ask_address(struct reach *r, uint32_t row, struct endpoint *ret, const struct context *ctx,
                      struct error *err) {
    struct hypervisor *hv;
    const struct driver *driver;
    struct machine_spec spec = row_machine(r->inv, &r->inv->rows[row]);
    if (reach_hypervisor(r, row, &hv, &driver, ctx, err))
        return -1;
    return driver->address(hv, &spec, ret, ctx, err);
}

const struct row *reach_row(const struct reach *r, uint32_t row) { return &r->inv->rows[row]; }

static void note_address(struct place *place, const struct endpoint *at) {
    snprintf(place->address, sizeof place->address, "%s:%u", at->host, at->port);
}

static struct hypervisor_config config_inside(const struct reach *r, uint32_t row, struct access *access) {
    const struct row *m = &r->inv->rows[row];
    return (struct hypervisor_config){.subject = m->path,
                                      .access = access,
                                      .params = m->wanted ? m->wanted->params : NULL,
                                      .nparams = m->wanted ? m->wanted->nparams : 0,
                                      .accelerated = r->places[row].accelerated};
}

/* From within, over the connection into its machine. */
static int open_within(struct reach *r, uint32_t row, struct hypervisor **ret, const struct context *ctx,
                       struct error *err) {
    struct place *place = &r->places[row];
    struct access *access;
    int failed = 0;
    if (reach_access(r, row, &access, ctx, err))
        return -1;
    pthread_mutex_lock(&place->lock);
    if (place->access)
        access = place->access;
    if (place->through != access)
        drop_inside(place);
    if (!place->inside) {
        struct hypervisor_config config = config_inside(r, row, access);
        failed = open_hypervisor(r, r->inv->rows[row].opens_as, &config, NULL, place, ctx, err);
    }
    *ret = place->inside;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

static int open_at(struct reach *r, uint32_t row, struct place *place, const struct context *ctx, struct error *err) {
    const struct row *m = &r->inv->rows[row];
    struct access *way;
    struct endpoint at;
    if (reach_ask_address(r, row, &at, ctx, err) || way_to_machines(r, m->parent, &way, ctx, err))
        return -1;
    struct hypervisor_config config = config_inside(r, row, way);
    if (open_hypervisor(r, m->opens_as, &config, &at, place, ctx, err))
        return -1;
    note_address(place, &at);
    return 0;
}

/* From outside, without a connection into its machine. */
static int open_at_address(struct reach *r, uint32_t row, struct hypervisor **ret, const struct context *ctx,
                           struct error *err) {
    struct place *place = &r->places[row];
    int failed = 0;
    pthread_mutex_lock(&place->lock);
    if (place->through && !access_alive(place->through))
        drop_inside(place);
    if (!place->inside)
        failed = open_at(r, row, place, ctx, err);
    *ret = place->inside;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

/* A stray found by observation has no place: nothing is known of what is in it. */
static int check_known(const struct reach *r, uint32_t row, struct error *err) {
    if (row < r->nplaces)
        return 0;
    return error_set(err, ERR_UNSUPPORTED, r->inv->rows[row].path, "nestor has no record of this machine");
}

int reach_inside(struct reach *r, uint32_t row, struct hypervisor **ret, const struct driver **ret_driver,
                 const struct context *ctx, struct error *err) {
    const struct row *m = &r->inv->rows[row];
    if (check_known(r, row, err))
        return -1;
    if (!m->opens_as)
        return error_set(err, ERR_UNSUPPORTED, m->path, "it is not a guest hypervisor");
    *ret_driver = m->opens_as;
    return row_is_by_address(m) ? open_at_address(r, row, ret, ctx, err) : open_within(r, row, ret, ctx, err);
}

int reach_hypervisor(struct reach *r, uint32_t row, struct hypervisor **ret, const struct driver **ret_driver,
                     const struct context *ctx, struct error *err) {
    const struct row *m = &r->inv->rows[row];
    if (m->parent == LAB_NONE)
        return reach_host(r, m->host, ret, ret_driver, ctx, err);
    return reach_inside(r, m->parent, ret, ret_driver, ctx, err);
}

struct machine_spec row_machine(const struct inventory *inv, const struct row *row) {
    struct machine_spec spec = {
        .tag = {.lab_id = inv->lab_id, .path = row->path},
        .name = row->native_name,
        .uuid = row->uuid,
        .mac = row->mac,
        .expose = row->expose,
        .ssh_port = row->ssh_port,
        .digest = row->digest,
    };
    if (row->wanted) {
        spec.cpus = row->wanted->cpus;
        spec.memory = row->wanted->memory;
        spec.disk = row->wanted->disk;
        spec.full_clone = row->wanted->full_clone;
        spec.extra = row->wanted->extra;
        spec.nextra = row->wanted->nextra;
    }
    return spec;
}

/* By SSH to the address its hypervisor gives for it, through the access of that hypervisor. Getting the address may
 * take as long as ctx lasts; so may the connection, unless it can be tried again. */
static int connect_ssh(struct reach *r, uint32_t row, struct place *place, bool again, const struct context *ctx,
                       struct error *err) {
    const struct row *m = &r->inv->rows[row];
    struct hypervisor *hv;
    const struct driver *driver;
    if (reach_hypervisor(r, row, &hv, &driver, ctx, err))
        return -1;
    struct machine_spec spec = row_machine(r->inv, m);
    if (driver->connect) {
        struct error why = {0};
        if (driver->connect(hv, &spec, &place->access, ctx, &why) == 0) {
            keep_access(r, place->access);
            return 0;
        }
        if (why.code != ERR_UNSUPPORTED) { /* else: this one is reached over SSH */
            if (err)
                *err = why;
            return -1;
        }
    }
    struct endpoint at;
    if (driver->address(hv, &spec, &at, ctx, err))
        return -1;
    if (!r->secret) {
        error_set(err, ERR_AUTH, m->path, "the lab's key is not on this machine");
        return error_mend(err, "run the command where the lab was brought up");
    }
    struct access *via;
    if (way_to_machines(r, m->parent, &via, ctx, err))
        return -1;
    struct keypair host_key;
    cleanup_free char *purpose = xasprintf("host:%s", m->path);
    if (keypair_derive(r->secret, purpose, m->name, &host_key, err))
        return -1;
    struct ssh_target target = {.subject = m->path,
                                .host = at.host,
                                .port = at.port,
                                .user = m->ssh_user,
                                .host_key = host_key.public_line,
                                .private_key = r->user_key.private_pem,
                                .public_key = r->user_key.public_line,
                                .greeting_ms = again ? GREETING_MS : 0};
    struct context attempt = again ? context_timeout(ctx, ATTEMPT_MS) : *ctx;
    int failed = access_ssh(via, &target, &place->access, &attempt, err);
    if (!failed) {
        keep_access(r, place->access);
        note_address(place, &at);
    }
    keypair_free(&host_key);
    return failed;
}

int reach_try(struct reach *r, uint32_t row, bool again, struct access **ret, const struct context *ctx,
              struct error *err) {
    if (check_known(r, row, err))
        return -1;
    struct place *place = &r->places[row];
    int failed = 0;
    pthread_mutex_lock(&place->lock);
    if (place->access && !access_alive(place->access))
        drop_access(place);
    if (!place->access)
        failed = connect_ssh(r, row, place, again, ctx, err);
    if (!failed)
        *ret = place->access;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

int reach_access(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx, struct error *err) {
    return reach_try(r, row, false, ret, ctx, err);
}

void reach_find(struct reach *r, uint32_t row, const struct context *ctx) {
    struct endpoint at;
    struct error ignored = {0};
    if (row >= r->nplaces || reach_ask_address(r, row, &at, ctx, &ignored))
        return;
    pthread_mutex_lock(&r->places[row].lock);
    note_address(&r->places[row], &at);
    pthread_mutex_unlock(&r->places[row].lock);
}

void reach_address(struct reach *r, uint32_t row, char out[80]) {
    out[0] = '\0';
    if (row >= r->nplaces)
        return;
    pthread_mutex_lock(&r->places[row].lock);
    memcpy(out, r->places[row].address, 80);
    pthread_mutex_unlock(&r->places[row].lock);
}

/* A handle that was opened in the hope of acceleration is of no use any more; the connection is. */
void reach_set_accelerated(struct reach *r, uint32_t row, bool accelerated) {
    struct place *place = &r->places[row];
    pthread_mutex_lock(&place->lock);
    if (place->accelerated != accelerated)
        drop_inside(place);
    place->accelerated = accelerated;
    pthread_mutex_unlock(&place->lock);
}

void reach_forget(struct reach *r, uint32_t row) {
    for (uint32_t i = row; i != LAB_NONE; i = inventory_next_within(r->inv, row, i)) {
        if (i >= r->nplaces)
            continue;
        pthread_mutex_lock(&r->places[i].lock);
        drop_access(&r->places[i]);
        drop_inside(&r->places[i]);
        pthread_mutex_unlock(&r->places[i].lock);
    }
}
