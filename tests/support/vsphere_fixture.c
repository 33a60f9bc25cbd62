#include "vsphere_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"

#define PASSWORD_ENV "VSPHERE_FIXTURE_PASSWORD"

void vsphere_fixture_start(struct vsphere_fixture *f, bool esx, const char *setup, const char *proxy_options) {
    *f = (struct vsphere_fixture){.home = "/tmp/nestor-vsphere-XXXXXX"};
    setenv(PASSWORD_ENV, VCSIM_PASSWORD, 1);
    vcsim_start(&f->vcsim, esx, NULL);
    assert_non_null(mkdtemp(f->home));
    if (setup)
        free(vcsim_run(&f->vcsim, setup));
    vcsim_proxy_start(&f->proxy, &f->vcsim, proxy_options);
}

static void close_handle(struct vsphere_fixture *f) {
    vsphere_driver.close(f->hv);
    f->hv = NULL;
    for (size_t i = 0; i < f->nparams; i++) {
        free((char *)(uintptr_t)f->params[i].key);
        free((char *)(uintptr_t)f->params[i].value);
    }
    f->nparams = 0;
}

void vsphere_fixture_stop(struct vsphere_fixture *f) {
    close_handle(f);
    vcsim_proxy_stop(&f->proxy);
    vcsim_stop(&f->vcsim);
    cleanup_free char *lock = xasprintf("%s/vsphere/snapshot.lock", f->home);
    cleanup_free char *dir = xasprintf("%s/vsphere", f->home);
    unlink(lock);
    rmdir(dir);
    rmdir(f->home);
}

int vsphere_fixture_vcenter(void **state) {
    static struct vsphere_fixture f;
    vsphere_fixture_start(&f, false, "vcsim_template gh-template\n", NULL);
    *state = &f;
    return 0;
}

int vsphere_fixture_end(void **state) {
    vsphere_fixture_stop(*state);
    return 0;
}

static void add_param(struct vsphere_fixture *f, const char *key, const char *value) {
    assert_true(f->nparams < FIXTURE_PARAMS_MAX);
    f->params[f->nparams++] = (struct param){.key = xstrdup(key), .value = xstrdup(value)};
}

void vsphere_fixture_open(struct vsphere_fixture *f, const char *const *pairs) {
    close_handle(f);
    add_param(f, "url", f->proxy.server.url);
    add_param(f, "username", VCSIM_USER);
    add_param(f, "password.env", PASSWORD_ENV);
    add_param(f, "tls.thumbprint", f->proxy.server.thumbprint);
    for (; *pairs; pairs++) {
        cleanup_free char *key = xstrdup(*pairs);
        char *value = strchr(key, '=');
        *value++ = '\0';
        add_param(f, key, value);
    }
    const struct hypervisor_config config = {.subject = "host vc",
                                             .lab_id = FIXTURE_LAB,
                                             .lab_name = "box",
                                             .access = access_local(),
                                             .params = f->params,
                                             .nparams = f->nparams,
                                             .home = f->home,
                                             .templates = f->templates,
                                             .ntemplates = f->ntemplates,
                                             .nnesting = f->nnesting,
                                             .accelerated = true};
    MUST(f, vsphere_driver.open(&config, &f->hv, in_time(f), &f->err));
}

const struct context *in_time(struct vsphere_fixture *f) {
    error_clear(&f->err);
    f->ctx = context_timeout(NULL, 20000);
    return &f->ctx;
}

struct vsphere_machine *vsphere_machine_init(struct vsphere_machine *m, const char *name, const char *template) {
    memset(m, 0, sizeof *m);
    snprintf(m->path, sizeof m->path, "box/%s", name);
    snprintf(m->template, sizeof m->template, "%s", template);
    cleanup_free char *native = machine_native_name(FIXTURE_LAB, m->path);
    snprintf(m->name, sizeof m->name, "%s", native);
    machine_uuid(FIXTURE_LAB, m->path, m->uuid);
    machine_mac(FIXTURE_LAB, m->path, m->mac);
    m->image.name = m->template;
    m->spec = (struct machine_spec){.tag = {.lab_id = FIXTURE_LAB, .path = m->path},
                                    .name = m->name,
                                    .uuid = m->uuid,
                                    .mac = m->mac,
                                    .cpus = 2,
                                    .memory = 96 << 20,
                                    .image = &m->image,
                                    .ssh_port = 22,
                                    .digest = "d1"};
    return m;
}
