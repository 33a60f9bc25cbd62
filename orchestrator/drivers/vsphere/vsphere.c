#include "drivers/vsphere/vsphere.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const struct driver_param params[] = {
    {.key = "url",
     .help = "where it answers, https://ADDRESS/sdk; a guest hypervisor's default: its machine's address",
     .required = true},
    {.key = "username", .help = "who logs in; in a guest hypervisor by default root"},
    {.key = "password", .help = "of that user; asked for when it is not given", .secret = true},
    {.key = "port", .help = "of a guest hypervisor, where it answers; default 443"},
    {.key = "tls.thumbprint", .help = "SHA-256 of the server's certificate, as 'govc about.cert' shows it"},
    {.key = "tls.ca", .help = "PEM file of the CAs that vouch for the server; default: the system's", .path = true},
    {.key = "tls.insecure", .help = "true: do not check who the server is, and warn on every run"},
    {.key = "inventory.datacenter", .help = "name or inventory path; default: the only one"},
    {.key = "inventory.cluster", .help = "where machines run, placed by DRS or in turn; default: the only one"},
    {.key = "inventory.host", .help = "instead of a cluster: the one host machines run on"},
    {.key = "inventory.resource-pool", .help = "instead of a cluster: the pool machines run in"},
    {.key = "inventory.datastore", .help = "where machines are kept; default: the template's, on an ESXi the only one"},
    {.key = "inventory.folder", .help = "of the machines; default: the datacenter's own"},
    {.key = "inventory.network", .help = "port group of each machine's first card; default: as in the template"},
    {.key = "inventory.switch", .help = "instead of a network: the switch nestor makes one of the lab's own on"},
    {.key = "inventory.vlan", .help = "VLAN of that network; default: none"},
    {.key = "ssh.host-key", .help = "for 'nestor prepare' of an ESXi before 5.1: its public host key"},
    {.key = "ssh.key", .help = "for the same: file of a private key its root accepts", .path = true},
    {.key = "ssh.user", .help = "for the same: who logs in; default root"},
    {.key = "ssh.port", .help = "for the same: default 22"},
    {0},
};

static void each_once(struct hypervisor *hv, void (*act)(struct once *o)) {
    struct once *all[] = {&hv->datacenter_once, &hv->compute_once, &hv->network_once,
                          &hv->systems_once,    &hv->vms_once,     &hv->making_once};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        act(all[i]);
    for (int i = 0; i < PLACE_MAX; i++)
        act(&hv->place_once[i]);
}

static void vsphere_close(struct hypervisor *hv) {
    if (!hv)
        return;
    vim_close(hv->vim);
    vsphere_templates_free(hv);
    vsphere_vms_free(hv);
    vsphere_network_free(&hv->network);
    free(hv->datacenter.name);
    vsphere_compute_free(&hv->compute);
    free(hv->systems.items);
    free(hv->datastore_name);
    if (hv->password.data)
        explicit_bzero(hv->password.data, hv->password.cap);
    buffer_free(&hv->password);
    vsphere_settings_free(&hv->settings);
    each_once(hv, once_destroy);
    pthread_mutex_destroy(&hv->lock);
    free(hv);
}

static int vsphere_check_params(const struct hypervisor_config *config, struct error *err) {
    struct vsphere_settings s;
    if (vsphere_settings_read(config, &s, err))
        return -1;
    vsphere_settings_free(&s);
    return 0;
}

static int connect_to(struct hypervisor *hv, const struct context *ctx, struct error *err) {
    const struct vsphere_settings *s = &hv->settings;
    hv->vim_config = (struct vim_config){.http = {.subject = hv->config.subject,
                                                  .url = s->url,
                                                  .trust = s->trust,
                                                  .access = hv->config.access,
                                                  .dial_host = s->dial_host,
                                                  .dial_port = s->dial_port},
                                         .username = s->username,
                                         .password = vsphere_password,
                                         .data = hv};
    if (vim_open(&hv->vim_config, &hv->vim, ctx, err))
        return -1;
    hv->vcenter = vim_service(hv->vim)->vcenter;
    return 0;
}

static void warn_of_trust(const struct hypervisor *hv) {
    const struct asker *asker = hv->config.asker;
    if (hv->settings.trust.insecure && asker && asker->warn)
        asker->warn(asker->data, hv->config.subject,
                    "nobody checks who answers there (tls: { insecure: true }): whoever sits in between reads the "
                    "password; pin its certificate: tls: { thumbprint: ... }");
}

static int vsphere_open(const struct hypervisor_config *config, struct hypervisor **ret, const struct context *ctx,
                        struct error *err) {
    struct vsphere_settings settings;
    if (context_check(ctx, config->subject, "opening it", err) || vsphere_settings_read(config, &settings, err))
        return -1;
    struct hypervisor *hv = xcalloc(1, sizeof *hv);
    hv->config = *config;
    hv->settings = settings;
    pthread_mutex_init(&hv->lock, NULL);
    each_once(hv, once_init);
    warn_of_trust(hv);
    if (connect_to(hv, ctx, err)) {
        vsphere_close(hv);
        return -1;
    }
    *ret = hv;
    return 0;
}

/* vSphere keeps no text of a console. */
static int vsphere_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                           struct error *err) {
    (void)hv, (void)ret;
    return context_check(ctx, tag->path, "reading its console", err);
}

static uint32_t vsphere_at_once(struct hypervisor *hv) { return vim_at_once(hv->vim); }

const struct driver vsphere_driver = {
    .size = sizeof(struct driver),
    .api = DRIVER_API,
    .name = "vsphere",
    .summary = "VMware vSphere: a vCenter, or an ESXi on its own or in a machine",
    .features = DRIVER_HOST | DRIVER_GUEST | DRIVER_LINKED_CLONE | DRIVER_FULL_CLONE | DRIVER_TEMPLATES |
                DRIVER_BY_ADDRESS | DRIVER_EXTRA,
    .params = params,
    .parallel = 16,
    .full_clone_units = 4,
    .expose_is_light = true,
    .boot_timeout_s = 300,
    .boot_timeout_emulated_s = 900,
    .open = vsphere_open,
    .close = vsphere_close,
    .check = vsphere_check,
    .observe = vsphere_observe,
    .ensure_image = vsphere_ensure_image,
    .ensure_network = vsphere_ensure_network,
    .create = vsphere_create,
    .expose = vsphere_expose,
    .start = vsphere_start,
    .stop = vsphere_stop,
    .power_cut = vsphere_power_cut,
    .address = vsphere_address,
    .console = vsphere_console,
    .remove = vsphere_remove,
    .prune = vsphere_prune,
    .examine = vsphere_examine,
    .prepare = vsphere_prepare,
    .at_once = vsphere_at_once,
    .networks = vsphere_networks,
    .remove_network = vsphere_remove_network,
    .check_params = vsphere_check_params,
    .extra_own = vsphere_extra_own,
};
