/* The driver's operations, by file, and what they have in common. */
#ifndef NESTOR_DRIVERS_FAKE_OPERATIONS_H
#define NESTOR_DRIVERS_FAKE_OPERATIONS_H

#include "drivers/fake/record.h"
#include "drivers/fake/settings.h"
#include "nestor/driver.h"

struct hypervisor {
    const char *subject;
    struct access *access;
    bool remote;              /* of the driver fake-remote */
    uint32_t units;           /* what it says of its `parallel` */
    const char *unfit, *warn; /* what examine finds: "SUBJECT: TEXT; SUBJECT: TEXT" */
    char *on;                 /* reached at its address: the power mark of the machine it is in; else NULL */
    struct settings settings;
};

/* --- hypervisor.c --- */

/* Is there time, and does the machine this hypervisor runs in (if any) still run? */
int fake_begin(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
               struct error *err);
/* A change takes its time. */
int fake_take_time(const struct hypervisor *hv, const char *subject, const char *what, const struct context *ctx,
                   struct error *err);
/* What of a capacity is not used; UINT64_MAX is no limit. */
uint64_t fake_left(uint64_t capacity, uint64_t used);

void fake_close(struct hypervisor *hv);
int fake_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
              struct error *err);
int fake_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err);
int fake_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                 struct error *err);

/* --- stock.c: images and the network --- */

/* Is what the machine is made from on the hypervisor? */
int fake_check_stock(const struct hypervisor *hv, const struct machine_spec *spec, struct error *err);

int fake_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                      const struct context *ctx, struct error *err);
int fake_ensure_network(struct hypervisor *hv, const struct context *ctx, struct error *err);
int fake_prune(struct hypervisor *hv, const struct context *ctx, struct error *err);

/* --- machine.c --- */

int fake_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
int fake_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                const struct context *ctx, struct error *err);
int fake_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
int fake_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int fake_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int fake_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                 const struct context *ctx, struct error *err);
int fake_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                 struct error *err);
int fake_connect(struct hypervisor *hv, const struct machine_spec *spec, struct access **ret, const struct context *ctx,
                 struct error *err);
int fake_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);

/* --- guest.c --- */

/* The world a machine would be: its parent's ways, and the flag only if this machine sees it. */
struct settings fake_settings_inside(const struct settings *outer, const struct tag *tag, bool exposed);
/* An access into a running machine. hv is borrowed until access_close. */
int fake_guest_open(struct hypervisor *hv, const struct tag *tag, const struct record *record, struct access **ret,
                    struct error *err);

#endif
