#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere_priv.h"

#define PARAMS_MAX 8

/* "key=value", ends with NULL. */
struct given {
    struct param params[PARAMS_MAX];
    char *texts[PARAMS_MAX];
    struct hypervisor_config config;
};

static void give(struct given *g, const char *const *pairs) {
    *g = (struct given){.config = {.subject = "host vc", .params = g->params}};
    for (; *pairs; pairs++) {
        char *text = xstrdup(*pairs), *value = strchr(text, '=');
        *value++ = '\0';
        g->texts[g->config.nparams] = text;
        g->params[g->config.nparams++] = (struct param){.key = text, .value = value};
    }
}

static void given_free(struct given *g) {
    for (size_t i = 0; i < g->config.nparams; i++)
        free(g->texts[i]);
}

#define GIVEN(...)                                                                                                     \
    (const char *const[]) { __VA_ARGS__, NULL }

static void assert_refused(const char *const *pairs, const char *cause, const char *mend) {
    struct given g;
    struct error err = {0};
    struct vsphere_settings s = {0};
    give(&g, pairs);
    assert_int_equal(vsphere_settings_read(&g.config, &s, &err), -1);
    assert_int_equal(err.code, ERR_SPEC);
    assert_string_equal(err.subject, "host vc");
    if (!strstr(err.cause, cause) || !strstr(err.mend, mend))
        fail_msg("'%s' / '%s', expected '%s' / '%s'", err.cause, err.mend, cause, mend);
    assert_null(s.url);
    given_free(&g);
}

static void a_host_is_read(void **state) {
    (void)state;
    struct given g;
    struct error err = {0};
    struct vsphere_settings s;
    give(&g, GIVEN("url=https://vc.example:8443/sdk", "username=anna", "password.env=VC", "tls.ca=/ca.pem",
                   "inventory.cluster=C0", "inventory.switch=vSwitch1", "inventory.vlan=7"));
    assert_int_equal(vsphere_settings_read(&g.config, &s, &err), 0);
    assert_string_equal(s.url, "https://vc.example:8443/sdk");
    assert_string_equal(s.username, "anna");
    assert_string_equal(s.password_env, "VC");
    assert_string_equal(s.trust.ca, "/ca.pem");
    assert_false(s.trust.insecure);
    assert_string_equal(s.named[PLACE_CLUSTER], "C0");
    assert_null(s.named[PLACE_NETWORK]);
    assert_string_equal(s.vswitch, "vSwitch1");
    assert_int_equal(s.vlan, 7);
    assert_null(s.dial_host);
    vsphere_settings_free(&s);
    given_free(&g);
}

static void a_url_without_a_path_gets_the_sdk(void **state) {
    (void)state;
    struct given g;
    struct vsphere_settings s;
    give(&g, GIVEN("url=https://vc.example", "username=anna"));
    assert_int_equal(vsphere_settings_read(&g.config, &s, NULL), 0);
    assert_string_equal(s.url, "https://vc.example/sdk");
    vsphere_settings_free(&s);
    given_free(&g);
    give(&g, GIVEN("url=https://vc.example:8443/", "username=anna"));
    assert_int_equal(vsphere_settings_read(&g.config, &s, NULL), 0);
    assert_string_equal(s.url, "https://vc.example:8443/sdk");
    vsphere_settings_free(&s);
    given_free(&g);
}

static void a_flag_that_is_off_excludes_nothing(void **state) {
    (void)state;
    struct given g;
    struct error err = {0};
    struct vsphere_settings s;
    give(&g, GIVEN("url=https://vc", "username=anna", "tls.ca=/ca.pem", "tls.insecure=false", "ssh.port=2222"));
    assert_int_equal(vsphere_settings_read(&g.config, &s, &err), 0);
    assert_string_equal(s.trust.ca, "/ca.pem");
    assert_false(s.trust.insecure);
    assert_int_equal(s.ssh_port, 2222);
    vsphere_settings_free(&s);
    given_free(&g);
}

static void a_guest_hypervisor_is_where_its_machine_answers(void **state) {
    (void)state;
    const struct endpoint v4 = {"192.0.2.7", 22}, v6 = {"2001:db8::7", 22};
    struct given g;
    struct vsphere_settings s;
    give(&g, GIVEN("port=8989"));
    g.config.endpoint = &v4;
    assert_int_equal(vsphere_settings_read(&g.config, &s, NULL), 0);
    assert_string_equal(s.url, "https://192.0.2.7/sdk");
    assert_string_equal(s.username, "root");
    assert_string_equal(s.dial_host, "192.0.2.7");
    assert_int_equal(s.dial_port, 8989);
    vsphere_settings_free(&s);
    given_free(&g);
    give(&g, GIVEN("username=anna"));
    g.config.endpoint = &v6;
    assert_int_equal(vsphere_settings_read(&g.config, &s, NULL), 0);
    assert_string_equal(s.url, "https://[2001:db8::7]/sdk");
    assert_string_equal(s.username, "anna");
    assert_int_equal(s.dial_port, 443);
    vsphere_settings_free(&s);
    given_free(&g);
}

#define HOST "url=https://vc/sdk", "username=anna"

static void nonsense_is_refused_with_a_mend(void **state) {
    (void)state;
    assert_refused(GIVEN("username=anna"), "it has no url", "url: https://ADDRESS/sdk");
    assert_refused(GIVEN("url=vc.example", "username=anna"), "'vc.example' does not begin with https://", "https://");
    assert_refused(GIVEN("url=http://vc.example/sdk", "username=anna"), "does not begin with https://",
                   "https://ADDRESS/sdk");
    assert_refused(GIVEN("url=https://", "username=anna"), "does not begin with https://", "https://ADDRESS/sdk");
    assert_refused(GIVEN("url=https://vc/sdk"), "it has no username", "username: administrator@vsphere.local");
    assert_refused(GIVEN(HOST, "port=8443"), "port is for guest hypervisors", "https://ADDRESS:8443/sdk");
    assert_refused(GIVEN(HOST, "tls.insecure=yes"), "tls.insecure 'yes' is neither", "tls.insecure: true");
    assert_refused(GIVEN(HOST, "ssh.port=ssh"), "ssh.port 'ssh' is no number from 1 to 65535", "number");
    assert_refused(GIVEN(HOST, "ssh.port=65558"), "ssh.port '65558' is no number from 1 to 65535", "number");
    assert_refused(GIVEN(HOST, "inventory.switch=s", "inventory.vlan=4096"), "'4096' is no number from 1 to 4095",
                   "number");
    assert_refused(GIVEN(HOST, "inventory.vlan=12"), "inventory.vlan is for the network nestor makes", "switch");
}

static void what_excludes_each_other_is_refused(void **state) {
    (void)state;
    assert_refused(GIVEN(HOST, "password.env=A", "password.file=/b"), "both password.env and password.file", "keep");
    assert_refused(GIVEN(HOST, "tls.thumbprint=AB", "tls.insecure=true"), "both tls.thumbprint and tls.insecure",
                   "proves");
    assert_refused(GIVEN(HOST, "inventory.cluster=a", "inventory.host=b"), "both inventory.cluster and inventory.host",
                   "run on");
    assert_refused(GIVEN(HOST, "inventory.network=a", "inventory.switch=b"),
                   "both inventory.network and inventory.switch", "nestor is to make");
}

/* --- the password --- */

static int password(struct vsphere_settings settings, const struct asker *asker, char out[64], struct error *err) {
    struct hypervisor hv = {.config = {.subject = "host vc", .asker = asker}, .settings = settings};
    hv.settings.username = "anna";
    cleanup_buffer struct buffer text = {0};
    int rc = vsphere_password(&hv, &text, err);
    snprintf(out, 64, "%s", buffer_str(&text));
    buffer_free(&hv.password);
    return rc;
}

static void a_password_comes_from_the_environment(void **state) {
    (void)state;
    char got[64];
    struct error err = {0};
    setenv("VSPHERE_TEST_PASSWORD", "swordfish", 1);
    assert_int_equal(password((struct vsphere_settings){.password_env = "VSPHERE_TEST_PASSWORD"}, NULL, got, &err), 0);
    assert_string_equal(got, "swordfish");
    unsetenv("VSPHERE_TEST_PASSWORD");
    assert_int_equal(password((struct vsphere_settings){.password_env = "VSPHERE_TEST_PASSWORD"}, NULL, got, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.cause, "the environment variable VSPHERE_TEST_PASSWORD is not set");
    assert_non_null(strstr(err.mend, "anna"));
}

static void with_file(const char *text, mode_t mode, enum error_code expected, const char *cause) {
    char path[] = "/tmp/nestor-password-XXXXXX", got[64];
    struct error err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    int rc = password((struct vsphere_settings){.password_file = path}, NULL, got, &err);
    assert_int_equal(rc, expected == ERR_NONE ? 0 : -1);
    assert_int_equal(err.code, expected);
    if (expected == ERR_NONE)
        assert_string_equal(got, cause);
    else
        assert_non_null(strstr(err.cause, cause));
    assert_int_equal(expected != ERR_NONE, err.mend[0] != '\0');
    assert_null(strstr(err.cause, "swordfish"));
    unlink(path);
}

static void a_password_comes_from_a_file_of_ones_own(void **state) {
    (void)state;
    cleanup_free char *endless = xmalloc(2000);
    memset(endless, 'x', 1999);
    endless[1999] = '\0';
    with_file("swordfish\n", 0600, ERR_NONE, "swordfish");
    with_file("swordfish\r\nmore", 0400, ERR_NONE, "swordfish");
    with_file("swordfish", 0600, ERR_NONE, "swordfish");
    with_file("swordfish\n", 0640, ERR_IO, "others may read the password file (mode 0640)");
    with_file("swordfish\n", 0604, ERR_IO, "others may read the password file (mode 0604)");
    with_file("", 0600, ERR_IO, "the first line of the password file is empty");
    with_file("\n", 0600, ERR_IO, "the first line of the password file is empty");
    with_file(endless, 0600, ERR_IO, "longer than a password can be");
}

static void a_pipe_is_no_password_file(void **state) {
    (void)state;
    char dir[] = "/tmp/nestor-password-XXXXXX", got[64];
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    cleanup_free char *path = xasprintf("%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(password((struct vsphere_settings){.password_file = path}, NULL, got, &err), -1);
    assert_string_equal(err.cause, "the password file is not a regular file");
    unlink(path);
    rmdir(dir);
}

static int asked;
static int ask(void *data, const char *prompt, struct buffer *ret, struct error *err) {
    (void)data, (void)err;
    asked++;
    assert_string_equal(prompt, "Password of anna at host vc: ");
    buffer_puts(ret, "swordfish");
    return 0;
}

static void a_person_is_asked_once_per_handle(void **state) {
    (void)state;
    const struct asker asker = {.ask = ask};
    struct hypervisor hv = {.config = {.subject = "host vc", .asker = &asker}, .settings = {.username = "anna"}};
    for (int i = 0; i < 2; i++) {
        cleanup_buffer struct buffer text = {0};
        assert_int_equal(vsphere_password(&hv, &text, NULL), 0);
        assert_string_equal(buffer_str(&text), "swordfish");
    }
    assert_int_equal(asked, 1);
    buffer_free(&hv.password);
}

static void nobody_to_ask_is_told_with_a_way_out(void **state) {
    (void)state;
    char got[64];
    struct error err = {0};
    assert_int_equal(password((struct vsphere_settings){0}, NULL, got, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.mend, "password: { env: VARIABLE }"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_read),
        cmocka_unit_test(a_url_without_a_path_gets_the_sdk),
        cmocka_unit_test(a_flag_that_is_off_excludes_nothing),
        cmocka_unit_test(a_guest_hypervisor_is_where_its_machine_answers),
        cmocka_unit_test(nonsense_is_refused_with_a_mend),
        cmocka_unit_test(what_excludes_each_other_is_refused),
        cmocka_unit_test(a_password_comes_from_the_environment),
        cmocka_unit_test(a_password_comes_from_a_file_of_ones_own),
        cmocka_unit_test(a_pipe_is_no_password_file),
        cmocka_unit_test(a_person_is_asked_once_per_handle),
        cmocka_unit_test(nobody_to_ask_is_told_with_a_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
