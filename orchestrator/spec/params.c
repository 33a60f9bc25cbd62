/* Keys and values that nestor hands on: the parameters of drivers, and `extra-config`. */
#include "spec/params.h"

#include <string.h>

#include "spec/limits.h"
#include "spec/text.h"

#define PARAMS_MAX 64 /* of one driver: far more than there are */
#define SHOWN 60

static void take_param(struct decoder *d, struct params *params, const char *prefix, const struct entry *entry) {
    const struct node *value = entry->value;
    const char *key = arena_printf(d->scratch, "%s%s", prefix, entry->key->text);
    if (value->kind == NODE_MAP) {
        const char *deeper = arena_printf(d->scratch, "%s.", key);
        for (size_t i = 0; i < value->n; i++)
            take_param(d, params, deeper, &value->entries[i]);
        return;
    }
    const char *text = entry_text(d, entry);
    if (text)
        params->items[params->n++] = (struct param){key, text, entry->key->origin};
}

void decode_host_param(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    take_param(d, &((struct host_draft *)slot)->params, "", entry);
}

void decode_guest_param(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    take_param(d, &((struct guest_draft *)slot)->params, "", entry);
}

static const char *const secret_ways[] = {"env", "file"};
#define SECRET_WAYS (sizeof secret_ways / sizeof *secret_ways)

static size_t put_names(struct decoder *d, const struct driver_param *p, const char **names, size_t room) {
    size_t n = 0;
    if (!p->secret && room)
        names[n++] = p->key;
    for (size_t i = 0; p->secret && i < SECRET_WAYS && n < room; i++)
        names[n++] = arena_printf(d->scratch, "%s.%s", p->key, secret_ways[i]);
    return n;
}

static void tell_unknown(struct decoder *d, const struct param_taker *t, const struct param *param) {
    const char *names[PARAMS_MAX];
    size_t n = 0;
    for (; n < t->nown; n++)
        names[n] = t->own[n];
    for (const struct driver_param *p = t->driver->params; p && p->key; p++)
        n += put_names(d, p, names + n, PARAMS_MAX - n);
    const char *key = text_excerpt(d->scratch, param->key, SHOWN);
    struct diagnostic *found = spec_error(
        d->diags, param->origin, "unknown key '%s': it is no parameter of the driver '%s'", key, t->driver->name);
    const char *lead = arena_printf(d->scratch, "the keys of this %s are", t->noun);
    if (!diagnostic_suggest(found, param->key, names, n))
        diagnostic_list(found, lead, names, n);
}

/* The way of a secret that the rest of a key names, "env" of "password.env"; NULL: none. */
static const char *secret_way(const char *rest) {
    for (size_t i = 0; *rest == '.' && i < SECRET_WAYS; i++)
        if (strcmp(rest + 1, secret_ways[i]) == 0)
            return secret_ways[i];
    return NULL;
}

static size_t param_index(const struct driver *driver, const char *key) {
    for (size_t i = 0; driver->params && driver->params[i].key && i < PARAMS_MAX; i++) {
        const struct driver_param *p = &driver->params[i];
        size_t len = strlen(p->key);
        if (strcmp(p->key, key) == 0 || (p->secret && strncmp(p->key, key, len) == 0 && secret_way(key + len)))
            return i;
    }
    return PARAMS_MAX;
}

static bool is_variable(const char *s) {
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    return len > 0 && len <= 128 && !s[len] && (s[0] < '0' || s[0] > '9');
}

/* The spec's text is kept in the state, and people show it around. What was written is not repeated: it may be the
 * secret. */
static void check_secret(struct decoder *d, const struct driver_param *p, struct param *param) {
    const char *way = secret_way(param->key + strlen(p->key));
    struct diagnostic *found = NULL;
    if (!way)
        found = spec_error(d->diags, param->origin, "'%s' is a secret, which must not stand in the spec", p->key);
    else if (strcmp(way, "file") == 0)
        param->value = path_resolve_absolute(d, param->value);
    else if (!is_variable(param->value))
        found = spec_error(d->diags, param->origin, "'%s' must be the name of an environment variable", param->key);
    diagnostic_hint(found, "say where it is: %s: { env: NAME } or %s: { file: PATH }", p->key, p->key);
}

/* A user's name alone may be needed: qemu+ssh://me@host/system. */
static bool has_password(const char *url) {
    size_t n;
    const char *login = url_login(url, &n);
    return login && memchr(login, ':', n);
}

static void refuse_password(struct decoder *d, const struct driver_param *p, const struct param *param) {
    struct diagnostic *found =
        spec_error(d->diags, param->origin, "'%s' has a password in it, which must not stand in the spec", p->key);
    diagnostic_hint(found, "take it out: a key of its own says where a password is, or a key of SSH makes it needless");
}

static void check_param(struct decoder *d, const struct param_taker *t, struct param *param, bool seen[PARAMS_MAX]) {
    size_t at = param_index(t->driver, param->key);
    if (at >= PARAMS_MAX) {
        tell_unknown(d, t, param);
        return;
    }
    const struct driver_param *p = &t->driver->params[at];
    if (seen[at])
        spec_error(d->diags, param->origin, "'%s' is given twice", p->key);
    else if (p->secret)
        check_secret(d, p, param);
    else if (p->path)
        param->value = path_resolve_absolute(d, param->value);
    else if (has_password(param->value))
        refuse_password(d, p, param);
    seen[at] = true;
}

static bool has(const struct params *params, const struct driver *driver, size_t at) {
    for (size_t i = 0; i < params->n; i++)
        if (param_index(driver, params->items[i].key) == at)
            return true;
    return false;
}

static void tell_missing(struct decoder *d, const struct param_taker *t, const struct params *params,
                         const struct word *name) {
    const struct driver_param *rows = t->driver->params;
    for (size_t i = 0; rows && i < PARAMS_MAX && rows[i].key; i++) {
        if (!rows[i].required || has(params, t->driver, i))
            continue;
        struct diagnostic *found = spec_error(d->diags, name->at, "the %s '%s' needs the key '%s'", t->noun,
                                              text_excerpt(d->scratch, name->text, SHOWN), rows[i].key);
        diagnostic_hint(found, "%s", rows[i].help);
    }
}

static void tell_misfit(struct decoder *d, const struct param_taker *t, const struct params *params,
                        const struct word *name) {
    static const struct endpoint somewhere = {.host = "127.0.0.1"};
    const struct hypervisor_config config = {
        .subject = t->noun, .params = params->items, .nparams = params->n, .endpoint = t->guest ? &somewhere : NULL};
    struct error why = {0};
    if (!t->driver->check_params || t->driver->check_params(&config, &why) == 0)
        return;
    const char *who = text_excerpt(d->scratch, name->text, SHOWN);
    struct diagnostic *found = spec_error(d->diags, name->at, "the %s '%s': %s", t->noun, who, why.cause);
    if (why.mend[0])
        diagnostic_hint(found, "%s", why.mend);
}

void params_check(struct decoder *d, const struct param_taker *t, struct params *params, const struct word *name) {
    size_t errors = d->diags->nerrors;
    bool seen[PARAMS_MAX] = {false};
    for (size_t i = 0; i < params->n; i++)
        check_param(d, t, &params->items[i], seen);
    if (!t->guest)
        tell_missing(d, t, params, name);
    if (d->diags->nerrors == errors)
        tell_misfit(d, t, params, name);
}

/* `extra-config`: keys nobody but the hypervisor knows. */
void decode_extra(struct decoder *d, const struct field *field, const struct entry *entry, void *slot) {
    (void)field;
    struct params *extra = slot;
    const struct node *map = entry->value;
    size_t size = 0;
    extra->at = entry->key->origin;
    if (!entry_is_map(d, entry) || map->kind != NODE_MAP)
        return;
    extra->items = arena_alloc(d->scratch, map->n * sizeof *extra->items);
    for (size_t i = 0; i < map->n; i++) {
        const struct entry *e = &map->entries[i];
        const char *text = entry_text(d, e);
        if (text_has_control(e->key->text) || !*e->key->text)
            spec_error(d->diags, e->key->origin, "a key of 'extra-config' is empty or holds a control character");
        else if (text)
            extra->items[extra->n++] = (struct param){e->key->text, text, e->key->origin};
        size += e->key->n + (text ? e->value->n : 0);
    }
    if (map->n > SPEC_EXTRA_MAX)
        spec_error(d->diags, map->origin, "'extra-config' has %zu keys, and %d is the most", map->n, SPEC_EXTRA_MAX);
    else if (size > SPEC_EXTRA_SIZE_MAX)
        spec_error(d->diags, map->origin, "'extra-config' is larger than %zuKiB", SPEC_EXTRA_SIZE_MAX >> 10);
}
