/* `hosts:`, `hypervisor:`, and the parameters of their drivers. */
#include <string.h>

#include "spec/params.h"
#include "spec/text.h"

#define WORDS_MAX 64 /* drivers: far more than there are */
#define SHOWN 60

/* The driver of that name if it has the feature; else NULL, and it is told. */
static const struct driver *driver_choose(struct decoder *d, const struct entry *entry, enum driver_feature feature) {
    const char *text = entry_text(d, entry), *names[WORDS_MAX];
    size_t n = 0;
    bool known = false;
    if (!text)
        return NULL;
    for (size_t i = 0; i < d->ndrivers; i++) {
        const struct driver *driver = d->drivers[i];
        bool same = strcmp(driver->name, text) == 0, fit = driver->features & feature;
        if (same && fit)
            return driver;
        known = known || same;
        if (fit && n < WORDS_MAX)
            names[n++] = driver->name;
    }
    const char *why = !known                   ? "there is no such driver"
                      : feature == DRIVER_HOST ? "it cannot be a host"
                                               : "it cannot be a guest hypervisor";
    struct diagnostic *found = spec_error(d->diags, entry->value->origin, "'%s' cannot be '%s': %s", entry->key->text,
                                          text_excerpt(d->scratch, text, SHOWN), why);
    if (known || !diagnostic_suggest(found, text, names, n))
        diagnostic_list(found, "choose one of", names, n);
    return NULL;
}

void decode_driver(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    *(struct driver_ref *)slot = (struct driver_ref){driver_choose(d, entry, DRIVER_HOST), entry->key->origin};
}

void decode_guest_driver(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    *(struct driver_ref *)slot = (struct driver_ref){driver_choose(d, entry, DRIVER_GUEST), entry->key->origin};
}

static const char *const host_own[] = {"driver", "parallel"};
static const char *const guest_own[] = {"driver"};

/* `hypervisor: NAME`, or a map with the driver's parameters. */
void decode_hypervisor(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    struct guest_draft *guest = slot;
    const struct node *value = entry->value;
    if (value->kind == NODE_MAP) {
        guest->params.items = arena_alloc(d->scratch, value->size * sizeof *guest->params.items);
        decode_keys(d, field->keys, value, entry, guest);
    } else {
        decode_guest_driver(d, field, entry, &guest->driver);
    }
    guest->driver.at = entry->key->origin;
    const struct param_taker taker = {guest->driver.driver, "hypervisor", guest_own, 1, true};
    if (taker.driver)
        params_check(d, &taker, &guest->params, &(struct word){taker.driver->name, entry->key->origin});
}

static void decode_host(struct decoder *d, const struct entry *entry, void *data) {
    struct lab_draft *lab = data;
    struct host_draft *host = &lab->hosts[lab->nhosts++];
    host->name = (struct word){entry->key->text, entry->key->origin};
    host->params.items = arena_alloc(d->scratch, entry->value->size * sizeof *host->params.items);
    if (!entry_is_map(d, entry))
        return;
    decode_keys(d, &host_keys, entry->value, entry, host);
    const struct param_taker taker = {host->driver.driver, "host", host_own, 2, false};
    if (taker.driver)
        params_check(d, &taker, &host->params, &host->name);
}

void decode_hosts(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct lab_draft *lab = slot;
    if (!entry_is_map(d, entry))
        return;
    lab->hosts = arena_alloc(d->scratch, entry->value->n * sizeof *lab->hosts);
    decode_names(d, "host", entry->value, decode_host, lab);
}
