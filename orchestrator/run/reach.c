/* Opening the tree on demand. One place per machine keeps its connection and, if it is a guest hypervisor, the open
 * driver handle inside it; everything deeper hangs on those.
 *
 * Locks: each place has its own mutex, taken child before parent only in the sense that a child's holder may take its
 * parent's (depth grows downwards, so there is no cycle). It is held while connecting, so that threads that need the
 * same machine wait for one connection instead of making several.
 *
 * A connection found dead is not freed but parked until reach_close: other threads may still be inside a call on it,
 * and such a call ends by itself with an error. */
#include "nestor/reach.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server that is there greets at once. Seen under emulation: a TCP connection accepted by a port forward before the
 * guest listens never gets an answer; one made a little later does. */
#define GREETING_MS 5000
/* From there on it is at work: under nested emulation the key exchange takes seconds, and one that is given up costs
 * the guest as much as one that is not. */
#define ATTEMPT_MS 60000
#define PAUSE_MS 200

struct place {
    pthread_mutex_t lock;
    struct access *access;     /* into the machine */
    struct hypervisor *inside; /* the hypervisor it has become */
    char address[80];          /* "127.0.0.1:40001" */
    bool accelerated;
};

struct parked {
    struct parked *next;
    struct access *access;
    struct hypervisor *inside;
    const struct driver *driver;
};

struct reach {
    struct inventory *inv;
    const char *home;
    const struct secret *secret;
    struct event_sink *sink;
    struct keypair user_key;
    struct place *places; /* per row */
    size_t nplaces;
    struct place *hosts; /* per host: only lock and inside are used */
    char **host_subjects;
    pthread_mutex_t parked_lock;
    struct parked *parked;
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
    pthread_mutex_init(&r->parked_lock, NULL);
    if (secret && keypair_derive(secret, "user", "nestor", &r->user_key, err)) {
        reach_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

static void park_one(struct reach *r, struct access *access, struct hypervisor *inside, const struct driver *driver) {
    struct parked *p = xmalloc(sizeof *p);
    pthread_mutex_lock(&r->parked_lock);
    *p = (struct parked){r->parked, access, inside, driver};
    r->parked = p;
    pthread_mutex_unlock(&r->parked_lock);
}

static void park(struct reach *r, struct place *place, const struct driver *driver) {
    if (place->access || place->inside)
        park_one(r, place->access, place->inside, driver);
    place->access = NULL;
    place->inside = NULL;
    place->address[0] = '\0';
}

void reach_close(struct reach *r) {
    if (!r)
        return;
    /* Children stand after their parents: walking backwards closes what tunnels before what it tunnels through. */
    for (size_t i = r->nplaces; i-- > 0;) {
        struct place *place = &r->places[i];
        if (place->inside)
            r->inv->rows[i].opens_as->close(place->inside);
        access_close(place->access);
        pthread_mutex_destroy(&place->lock);
    }
    for (struct parked *p = r->parked, *next; p; p = next) { /* newest first: children again before parents */
        next = p->next;
        if (p->inside)
            p->driver->close(p->inside);
        access_close(p->access);
        free(p);
    }
    for (size_t i = 0; i < r->inv->nhosts; i++) {
        if (r->hosts[i].inside)
            r->inv->hosts[i].driver->close(r->hosts[i].inside);
        pthread_mutex_destroy(&r->hosts[i].lock);
        free(r->host_subjects[i]);
    }
    pthread_mutex_destroy(&r->parked_lock);
    keypair_free(&r->user_key);
    free(r->places);
    free(r->hosts);
    free(r->host_subjects);
    free(r);
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
                                           .home = r->home,
                                           .accelerated = true};
        failed = h->driver->open(&config, &place->inside, ctx, err);
    }
    *ret = place->inside;
    *ret_driver = h->driver;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

int reach_inside(struct reach *r, uint32_t row, struct hypervisor **ret, const struct driver **ret_driver,
                 const struct context *ctx, struct error *err) {
    const struct row *m = &r->inv->rows[row];
    if (!m->opens_as)
        return error_set(err, ERR_UNSUPPORTED, m->path, "it is not a guest hypervisor");
    struct access *access;
    if (reach_access(r, row, &access, ctx, err))
        return -1;
    struct place *place = &r->places[row];
    int failed = 0;
    pthread_mutex_lock(&place->lock);
    if (!place->inside) {
        struct hypervisor_config config = {.subject = m->path,
                                           .access = place->access ? place->access : access,
                                           .home = r->home,
                                           .accelerated = place->accelerated};
        failed = m->opens_as->open(&config, &place->inside, ctx, err);
    }
    *ret = place->inside;
    *ret_driver = m->opens_as;
    pthread_mutex_unlock(&place->lock);
    return failed;
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
        if (driver->connect(hv, &spec, &place->access, ctx, &why) == 0)
            return 0;
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
    struct access *via = access_local();
    if (m->parent != LAB_NONE && reach_access(r, m->parent, &via, ctx, err))
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
    if (!failed)
        snprintf(place->address, sizeof place->address, "%s:%u", at.host, at.port);
    keypair_free(&host_key);
    return failed;
}

static int open_access(struct reach *r, uint32_t row, bool again, struct access **ret, const struct context *ctx,
                       struct error *err) {
    if (row >= r->nplaces) /* a stray found by observation: nothing is known of what is in it */
        return error_set(err, ERR_UNSUPPORTED, r->inv->rows[row].path, "nestor has no record of this machine");
    struct place *place = &r->places[row];
    int failed = 0;
    pthread_mutex_lock(&place->lock);
    if (place->access && !access_alive(place->access))
        park(r, place, r->inv->rows[row].opens_as);
    if (!place->access)
        failed = connect_ssh(r, row, place, again, ctx, err);
    if (!failed)
        *ret = place->access;
    pthread_mutex_unlock(&place->lock);
    return failed;
}

int reach_access(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx, struct error *err) {
    return open_access(r, row, false, ret, ctx, err);
}

/* Is there still something to wait for? The driver's address call tells, in the words of its hypervisor. Outermost
 * first: a machine inside one that does not run cannot even be asked for. */
static int still_running(struct reach *r, uint32_t row, const struct context *ctx, struct error *err) {
    uint32_t around = r->inv->rows[row].parent;
    if (around != LAB_NONE && still_running(r, around, ctx, err))
        return -1;
    struct hypervisor *hv;
    const struct driver *driver;
    struct error why = {0};
    struct endpoint at;
    struct machine_spec spec = row_machine(r->inv, &r->inv->rows[row]);
    if (reach_hypervisor(r, row, &hv, &driver, ctx, &why) || driver->address(hv, &spec, &at, ctx, &why)) {
        if (why.code == ERR_DIED) {
            if (err)
                *err = why;
            return -1;
        }
    }
    return 0;
}

int reach_wait(struct reach *r, uint32_t row, struct access **ret, const struct context *ctx, struct error *err) {
    struct error last = {0};
    for (;;) {
        struct error now = {0};
        if (open_access(r, row, true, ret, ctx, &now) == 0)
            return 0;
        if (now.code != ERR_TIMEOUT && !now.retry) {
            if (err)
                *err = now;
            return -1;
        }
        if (now.code != ERR_TIMEOUT || last.code == ERR_NONE)
            last = now;
        if (still_running(r, row, ctx, err))
            return -1;
        const char *path = r->inv->rows[row].path;
        struct error over = {0};
        if (context_sleep(ctx, PAUSE_MS, path, "waiting until it answers over SSH", &over)) {
            if (over.code == ERR_CANCELLED) {
                if (err)
                    *err = over;
                return -1;
            }
            error_set(err, ERR_TIMEOUT, path, "it did not answer over SSH in time; the last try said: %s", last.cause);
            error_retry(err);
            return error_mend(
                err, "see its console in 'nestor status'; a slow host may need a longer 'timeouts: { boot: }'");
        }
    }
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
    if (place->accelerated != accelerated && place->inside) {
        park_one(r, NULL, place->inside, r->inv->rows[row].opens_as);
        place->inside = NULL;
    }
    place->accelerated = accelerated;
    pthread_mutex_unlock(&place->lock);
}

void reach_forget(struct reach *r, uint32_t row) {
    for (uint32_t i = row; i != LAB_NONE; i = inventory_next_within(r->inv, row, i)) {
        if (i >= r->nplaces)
            continue;
        pthread_mutex_lock(&r->places[i].lock);
        park(r, &r->places[i], r->inv->rows[i].opens_as);
        pthread_mutex_unlock(&r->places[i].lock);
    }
}
