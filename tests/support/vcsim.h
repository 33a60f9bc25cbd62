/* A real vcsim (VMware's simulator of a vCenter and of a bare ESXi) for tests in C, with or without the proxy that
 * records, refuses and lets things go wrong (vsphere_proxy/README.md). The work is vcsim_lib.sh's, whose functions are
 * at hand too: vcsim_run. All of it ends with the test program, however that ends. NESTOR_SOURCE_DIR must be set, as
 * ctest does.
 */
#ifndef TESTS_VCSIM_H
#define TESTS_VCSIM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define VCSIM_USER "administrator@vsphere.local"
#define VCSIM_PASSWORD "s3cret<&'\"%>word"

struct vcsim_server {
    pid_t shell, pid;
    char *url;        /* "https://127.0.0.1:PORT/sdk" */
    char *thumbprint; /* of its certificate: SHA-256, with colons */
    char *ca;         /* the certificate as a PEM file, for localhost and 127.0.0.1 */
};

struct vcsim {
    char dir[64];
    bool esx;
    struct vcsim_server server;
};
/* options: more arguments of vcsim's, "-delay 50 -vm 2"; NULL: none. Exits with 77 where there is no vcsim. A vCenter
 * has one cluster, DC0_C0, and one machine; a bare ESXi one machine. */
void vcsim_start(struct vcsim *v, bool esx, const char *options);
void vcsim_stop(struct vcsim *v);

struct vcsim_proxy {
    const struct vcsim *vcsim;
    struct vcsim_server server;
    char *control, *calls; /* files */
};
/* options: more arguments of the proxy's, as a shell reads them: "--set 'HostSystem * capability.nestedHVSupported
 * true'" */
void vcsim_proxy_start(struct vcsim_proxy *p, const struct vcsim *v, const char *options);
/* Fails the test if the password was seen outside of a Login. */
void vcsim_proxy_stop(struct vcsim_proxy *p);
/* What the proxy does from the next call on; "" is nothing special. All counts begin anew. */
void vcsim_control(const struct vcsim_proxy *p, const char *lines);
/* The recorded calls of a method (NULL: all), an array the caller owns. A call is there once its answer has come. */
json_t *vcsim_calls(const struct vcsim_proxy *p, const char *method);
size_t vcsim_count_calls(const struct vcsim_proxy *p, const char *method);

/* Runs a script that may use govc and the functions of vcsim_lib.sh, against vcsim itself: "vcsim_template gh
 * template". Its standard output, owned by the caller; fails the test if the script fails. */
char *vcsim_run(const struct vcsim *v, const char *script);
/* All machines and templates, an array the caller owns: {ref, name, power, template, nested, version, extra ...}. */
json_t *vcsim_machines(const struct vcsim *v);
/* How many have a name that starts so: two of the same name are two. */
size_t vcsim_count_machines(const struct vcsim *v, const char *prefix);

#endif
