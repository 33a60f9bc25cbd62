/* `hosts:`, the names of drivers and their parameters. */
#include <string.h>

#include "spec/draft.h"
#include "spec/text.h"

#define WORDS_MAX 64 /* drivers, or parameters of one driver: far more than there are */
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

void decode_hypervisor(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    *(struct driver_ref *)slot = (struct driver_ref){driver_choose(d, entry, DRIVER_GUEST), entry->key->origin};
}

/* --- driver parameters --- */

static void take_param(struct decoder *d, struct host_draft *host, const char *prefix, const struct entry *entry) {
    const struct node *value = entry->value;
    const char *key = arena_printf(d->scratch, "%s%s", prefix, entry->key->text);
    if (value->kind == NODE_MAP) {
        const char *deeper = arena_printf(d->scratch, "%s.", key);
        for (size_t i = 0; i < value->n; i++)
            take_param(d, host, deeper, &value->entries[i]);
        return;
    }
    const char *text = entry_text(d, entry);
    if (text)
        host->params[host->nparams++] = (struct param){key, text, entry->key->origin};
}

void decode_param(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    take_param(d, slot, "", entry);
}

static void tell_unknown_param(struct decoder *d, const struct driver *driver, const struct param *param) {
    const char *names[WORDS_MAX] = {"driver", "parallel"};
    size_t n = 2;
    for (const struct driver_param *p = driver->params; p && p->key && n < WORDS_MAX; p++)
        names[n++] = p->key;
    const char *key = text_excerpt(d->scratch, param->key, SHOWN);
    struct diagnostic *found = spec_error(d->diags, param->origin,
                                          "unknown key '%s': it is no parameter of the driver '%s'", key, driver->name);
    if (!diagnostic_suggest(found, param->key, names, n))
        diagnostic_list(found, "the keys of this host are", names, n);
}

static size_t param_index(const struct driver *driver, const char *key) {
    size_t i = 0;
    while (driver->params && driver->params[i].key && strcmp(driver->params[i].key, key) != 0)
        i++;
    return driver->params && driver->params[i].key ? i : WORDS_MAX;
}

static void check_params(struct decoder *d, const struct host_draft *host) {
    const struct driver *driver = host->driver.driver;
    bool seen[WORDS_MAX + 1] = {false};
    for (size_t i = 0; i < host->nparams; i++) {
        const struct param *param = &host->params[i];
        size_t at = param_index(driver, param->key);
        if (at >= WORDS_MAX)
            tell_unknown_param(d, driver, param);
        else if (seen[at])
            spec_error(d->diags, param->origin, "'%s' is given twice", param->key);
        else
            seen[at] = true;
    }
    for (size_t i = 0; driver->params && i < WORDS_MAX && driver->params[i].key; i++)
        if (driver->params[i].required && !seen[i]) {
            struct diagnostic *found =
                spec_error(d->diags, host->name.at, "the host '%s' needs the key '%s'",
                           text_excerpt(d->scratch, host->name.text, SHOWN), driver->params[i].key);
            diagnostic_hint(found, "%s", driver->params[i].help);
        }
}

static void decode_host(struct decoder *d, const struct entry *entry, void *data) {
    struct lab_draft *lab = data;
    struct host_draft *host = &lab->hosts[lab->nhosts++];
    host->name = (struct word){entry->key->text, entry->key->origin};
    host->params = arena_alloc(d->scratch, entry->value->size * sizeof *host->params);
    if (!entry_is_map(d, entry))
        return;
    decode_keys(d, &host_keys, entry->value, entry, host);
    if (host->driver.driver)
        check_params(d, host);
}

void decode_hosts(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct lab_draft *lab = slot;
    if (!entry_is_map(d, entry))
        return;
    lab->hosts = arena_alloc(d->scratch, entry->value->n * sizeof *lab->hosts);
    decode_names(d, "host", entry->value, decode_host, lab);
}
