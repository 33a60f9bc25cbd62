#include "cli/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/lab_file.h"
#include "cli/recorded.h"
#include "nestor/transport.h"

bool hosts_same(const struct known_host *a, const struct known_host *b) {
    bool same = a->driver == b->driver && a->nparams == b->nparams;
    for (size_t i = 0; same && i < a->nparams; i++)
        same = strcmp(a->params[i].key, b->params[i].key) == 0 && strcmp(a->params[i].value, b->params[i].value) == 0;
    return same;
}

/* Two labs on one host name it once. Where it is, until the next is added; NULL: it cannot be asked. */
static struct known_host *add(struct known_hosts *hosts, const char *name, const char *driver_name,
                              const struct param *params, size_t n) {
    const struct driver *driver = driver_find(driver_name);
    const struct known_host this = {.name = name, .driver = driver, .params = params, .nparams = n};
    for (size_t i = 0; i < hosts->n; i++)
        if (strcmp(hosts->items[i].name, name) == 0 && hosts_same(&hosts->items[i], &this))
            return &hosts->items[i];
    if (!driver) /* made by a nestor with more drivers; this one cannot ask it */
        return NULL;
    struct param *copy = arena_alloc(&hosts->arena, (n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = (struct param){.key = arena_strdup(&hosts->arena, params[i].key),
                                 .value = arena_strdup(&hosts->arena, params[i].value)};
    hosts->items = xrealloc(hosts->items, (hosts->n + 1) * sizeof *hosts->items);
    hosts->items[hosts->n++] = (struct known_host){.name = arena_strdup(&hosts->arena, name),
                                                   .subject = arena_printf(&hosts->arena, "host %s", name),
                                                   .driver = driver,
                                                   .params = copy,
                                                   .nparams = n};
    return &hosts->items[hosts->n - 1];
}

void hosts_add_local(struct known_hosts *hosts) { add(hosts, "local", "qemu", NULL, 0); }

void hosts_add_lab(struct known_hosts *hosts, const struct lab *lab) {
    for (size_t i = 0; i < lab->nhosts; i++) {
        const struct host *h = &lab->hosts[i];
        struct known_host *known = add(hosts, h->name, h->driver, h->params, h->nparams);
        if (known)
            known->templates = lab_templates_on(lab, (uint32_t)i, &hosts->arena, &known->ntemplates, &known->nnesting);
    }
}

static int add_recorded(void *data, const struct lab_record *lab, const struct lab_contents *c, struct error *err) {
    (void)lab, (void)err;
    for (size_t i = 0; i < c->nhosts; i++)
        add(data, c->hosts[i].name, c->hosts[i].driver, c->hosts[i].params, c->hosts[i].nparams);
    return 0;
}

int hosts_add_recorded(struct known_hosts *hosts, struct state *state, struct error *err) {
    return recorded_each(state, add_recorded, hosts, err);
}

void hosts_free(struct known_hosts *hosts) {
    free(hosts->items);
    arena_free(&hosts->arena);
    *hosts = (struct known_hosts){0};
}

int hosts_from_file(const struct cli *cli, const char *file, struct known_hosts *ret, struct lab **ret_lab,
                    struct error *err) {
    struct lab *lab = NULL;
    struct diagnostics diags = {0};
    int failed = lab_file_load(cli, file, &lab, &diags, err);
    diagnostics_free(&diags);
    if (failed)
        return -1;
    hosts_add_lab(ret, lab);
    if (ret_lab)
        *ret_lab = steal_ptr(&lab);
    lab_free(lab);
    return 0;
}

int hosts_find(const struct known_hosts *hosts, const char *name, const char *file, const struct known_host **ret,
               struct error *err) {
    const char **names = xcalloc(hosts->n, sizeof *names);
    const struct known_host *found = NULL;
    for (size_t i = 0; i < hosts->n; i++) {
        names[i] = hosts->items[i].name;
        if (strcmp(names[i], name) == 0)
            found = &hosts->items[i];
    }
    if (!found) {
        error_set(err, ERR_NOT_FOUND, name, "there is no host of that name in %s", file);
        mend_with_words(err, name, names, hosts->n);
    }
    free(names);
    if (found)
        *ret = found;
    return found ? 0 : -1;
}

int host_open(const struct cli *cli, const struct known_host *host, const char *home, struct hypervisor **ret,
              const struct context *ctx, struct error *err) {
    struct hypervisor_config config = {.subject = host->subject,
                                       .access = access_local(),
                                       .params = host->params,
                                       .nparams = host->nparams,
                                       .templates = host->templates,
                                       .ntemplates = host->ntemplates,
                                       .nnesting = host->nnesting,
                                       .home = home,
                                       .accelerated = true,
                                       .asker = &cli->asking->asker};
    return host->driver->open(&config, ret, ctx, err);
}
