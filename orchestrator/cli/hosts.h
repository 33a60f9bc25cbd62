/* The hosts nestor knows of without a lab being worked on: for doctor and gc. */
#ifndef NESTOR_CLI_HOSTS_H
#define NESTOR_CLI_HOSTS_H

#include "cli/cli.h"
#include "nestor/driver.h"
#include "nestor/state.h"

struct known_host {
    const char *name, *subject;
    const struct driver *driver;
    const struct param *params;
    size_t nparams;
    const char *const *templates; /* as struct hypervisor_config has them, if it is from a lab file */
    size_t ntemplates, nnesting;
};
struct known_hosts {
    struct arena arena;
    struct known_host *items;
    size_t n;
};
/* This machine, as the embedded default driver sees it. */
void hosts_add_local(struct known_hosts *hosts);
void hosts_add_lab(struct known_hosts *hosts, const struct lab *lab);
/* Hosts of every recorded lab. */
int hosts_add_recorded(struct known_hosts *hosts, struct state *state, struct error *err) NESTOR_CHECKED;
/* Whether they are one host, whatever they are called: one driver, told the same. */
bool hosts_same(const struct known_host *a, const struct known_host *b);
void hosts_free(struct known_hosts *hosts);

#define HOSTS_FILE "lab.yaml" /* where a host that is named is looked for, if nothing else is said */

/* The hosts of a lab file. *ret_lab (may be NULL) is the caller's to free. */
int hosts_from_file(const struct cli *cli, const char *file, struct known_hosts *ret, struct lab **ret_lab,
                    struct error *err) NESTOR_CHECKED;
/* The host of that name. ERR_NOT_FOUND names those there are. */
int hosts_find(const struct known_hosts *hosts, const char *name, const char *file, const struct known_host **ret,
               struct error *err) NESTOR_CHECKED;

/* Opens a host for no lab in particular. Asks for its secrets: HOST_OPEN_MS leaves time to type one. */
#define HOST_OPEN_MS 120000
int host_open(const struct cli *cli, const struct known_host *host, const char *home, struct hypervisor **ret,
              const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif
