/* An open handle of the vsphere driver on a real vcsim behind the proxy (vcsim.h), for tests of one operation. */
#ifndef TESTS_VSPHERE_FIXTURE_H
#define TESTS_VSPHERE_FIXTURE_H

#include "nestor/driver.h"
#include "nestor/identity.h"
#include "vcsim.h"

#define FIXTURE_PARAMS_MAX 16
#define FIXTURE_LAB "0123456789abcdef"

struct vsphere_fixture {
    struct vcsim vcsim;
    struct vcsim_proxy proxy;
    char home[40];
    struct param params[FIXTURE_PARAMS_MAX];
    size_t nparams;
    const char *const *templates; /* what a handle is told at its opening; first the nnesting of machines that nest */
    size_t ntemplates, nnesting;
    struct hypervisor *hv;
    struct context ctx;
    struct error err;
};

/* A machine to ask for, box/NAME. */
struct vsphere_machine {
    char path[64], name[128], uuid[37], mac[18], template[64];
    struct image image;
    struct machine_spec spec;
};

/* Starts vcsim and the proxy; `setup` (may be NULL) is run in between, as by vcsim_run. */
void vsphere_fixture_start(struct vsphere_fixture *f, bool esx, const char *setup, const char *proxy_options);
void vsphere_fixture_stop(struct vsphere_fixture *f);
/* For a group of tests, as cmocka has it: a vCenter with the machine gh-template to clone, which becomes *state; and
 * the end of any fixture. */
int vsphere_fixture_vcenter(void **state);
int vsphere_fixture_end(void **state);
/* Opens a handle with "key=value" parameters (ends with NULL) beside those of the connection; what was open is closed.
 * A handle is opened for the lab "box". */
void vsphere_fixture_open(struct vsphere_fixture *f, const char *const *pairs);
#define VSPHERE_OPEN(f, ...) vsphere_fixture_open(f, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* A fresh context of twenty seconds, and an empty f->err. */
const struct context *in_time(struct vsphere_fixture *f);
struct vsphere_machine *vsphere_machine_init(struct vsphere_machine *m, const char *name, const char *template);

#define MUST(f, call)                                                                                                  \
    do {                                                                                                               \
        if (call)                                                                                                      \
            fail_msg("%s\n    %s: %s: %s (%s)", #call, error_code_name((f)->err.code), (f)->err.subject,               \
                     (f)->err.cause, (f)->err.mend);                                                                   \
    } while (0)

/* The call fails with that code, and words of its cause and mend. */
#define MUST_FAIL(f, call, expected, words, mend_words)                                                                \
    do {                                                                                                               \
        if ((call) == 0)                                                                                               \
            fail_msg("%s\n    succeeded, expected %s", #call, error_code_name(expected));                              \
        if ((f)->err.code != (expected) || !strstr((f)->err.cause, words) || !strstr((f)->err.mend, mend_words))       \
            fail_msg("%s\n    %s: %s: %s (%s)\n    expected %s: %s (%s)", #call, error_code_name((f)->err.code),       \
                     (f)->err.subject, (f)->err.cause, (f)->err.mend, error_code_name(expected), words, mend_words);   \
    } while (0)

#endif
