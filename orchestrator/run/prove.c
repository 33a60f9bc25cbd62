/* The proof that a machine can nest, in the two ways there are to it. */
#include <stdio.h>
#include <string.h>

#include "nestor/reach.h"

/* Over SSH: nestor asks the guest's own kernel and software. */
static int prove_within(struct reach *r, const struct inventory *inv, uint32_t row, bool exposed, struct evidence *ret,
                        const struct context *ctx, struct error *err) {
    const char *kind = inv->rows[row].hypervisor_name;
    struct access *access;
    if (reach_wait(r, row, &access, ctx, err))
        return -1;
    return verify_run(access, kind[0] ? kind : "generic", exposed, inventory_nests_deeper(inv, row), ret, ctx, err);
}

static void add_probe(struct evidence *e, const char *name, const char *command, bool ok, const char *reason,
                      const char *output) {
    e->probes[e->nprobes++] = (struct probe){.name = name,
                                             .command = command,
                                             .output = xstrndup(output, strnlen(output, 512)),
                                             .ran = true,
                                             .ok = ok,
                                             .reason = ok ? NULL : reason};
    if (!ok && !e->reason)
        e->reason = reason;
}

static void fill(struct evidence *e, bool exposed, const struct capability *c) {
    const struct reason *r = reason_find(c->reason);
    *e = (struct evidence){.checked_at = clock_unix()};
    add_probe(e, "exposed", "(the hypervisor's own setting, read back)", exposed, "vhv-not-set",
              exposed ? "on" : "off");
    add_probe(e, "hypervisor-api", "(what the hypervisor inside says of itself)", c->can_nest,
              r ? r->code : "hypervisor-probe-failed", c->detail[0] ? c->detail : c->flag);
    e->verified = e->reason == NULL;
    if (c->can_nest)
        snprintf(e->flag, sizeof e->flag, "%s", c->flag);
}

/* It has no shell to ask, but it knows itself whether its machines get hardware help. */
static int prove_at_address(struct reach *r, uint32_t row, bool exposed, struct evidence *ret,
                            const struct context *ctx, struct error *err) {
    struct hypervisor *inside;
    const struct driver *driver;
    struct capability c = {.can_nest = false};
    if (reach_wait_inside(r, row, &inside, ctx, err) || reach_inside(r, row, &inside, &driver, ctx, err) ||
        driver->check(inside, &c, ctx, err))
        return -1;
    fill(ret, exposed, &c);
    return 0;
}

int reach_prove(struct reach *r, const struct inventory *inv, uint32_t row, bool exposed, struct evidence *ret,
                const struct context *ctx, struct error *err) {
    if (row_is_by_address(&inv->rows[row]))
        return prove_at_address(r, row, exposed, ret, ctx, err);
    return prove_within(r, inv, row, exposed, ret, ctx, err);
}
