/* user-data: what is refused, how values are written, and how a spec's own user-data is wrapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/mime.h"
#include "image/user_data.h"
#include "image_fixture.h"

static void refused(const struct seed *seed, const char *cause) {
    struct error err = {0};
    struct buffer volume = {0};
    assert_int_equal(seed_build(seed, &volume, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err.subject, strpbrk(seed->hostname, "\n") ? "web1 runcmd: [reboot]" : seed->hostname);
    if (!strstr(err.cause, cause))
        assert_string_equal(err.cause, cause);
    assert_null(volume.data);
}

static void values_that_could_mean_something_else_are_refused(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.hostname = "web1\nruncmd: [reboot]";
    refused(&seed, "the host name may not have the byte 0x0a at position 5");
    seed.hostname = "web1: x";
    refused(&seed, "the host name may not have the byte 0x3a at position 5");
    seed.hostname = "-web1";
    refused(&seed, "the host name may not have the byte 0x2d at position 1");
    seed.hostname = "";
    refused(&seed, "the host name must have 1 to 63 characters, it has 0");

    seed = image_fixture_seed();
    seed.ssh_user = "root, evil";
    refused(&seed, "the SSH user is no login name");
    seed = image_fixture_seed();
    seed.instance_id = "a\"b";
    refused(&seed, "the instance id may not have the byte 0x22 at position 2");
    seed = image_fixture_seed();
    seed.authorized_key = "ssh-ed25519 AAAA x\n      - ssh-ed25519 BBBB evil";
    refused(&seed, "the public key may not have the byte 0x0a at position 19");
    seed.authorized_key = "ssh-ed25519 AAAA x #";
    refused(&seed, "the public key may not have the byte 0x23 at position 20");
    seed.authorized_key = "command=reboot ssh-ed25519 AAAA";
    refused(&seed, "the public key may not have the byte 0x63 at position 1");
}

static void keys_in_another_form_are_refused_without_showing_them(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    struct keypair pair = *seed.host_key;
    seed.host_key = &pair;
    pair.private_pem = (char *)"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    refused(&seed, "the private key is not in OpenSSH's format");
    pair.private_pem = (char *)"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\ttext\n";
    refused(&seed, "the private key may not have the byte 0x09 at position 43");
    pair = *image_fixture_seed().host_key;
    pair.public_line = (char *)"ssh-ed25519 AAAA\nusers: []";
    refused(&seed, "the public key may not have the byte 0x0a at position 17");

    struct error err = {0};
    struct buffer volume = {0};
    pair = *image_fixture_seed().host_key;
    pair.private_pem = (char *)"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\ttext\n";
    assert_int_equal(seed_build(&seed, &volume, &err), -1);
    assert_null(memmem(&err, sizeof err, "SECRET", 6));
}

static void user_data_cloud_init_would_ignore_is_refused(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.extra_user_data = "packages: [htop]\n";
    refused(&seed, "does not begin with a line cloud-init knows");
    seed.extra_user_data = "";
    refused(&seed, "does not begin with a line cloud-init knows");
    char *large = xmalloc(USER_DATA_EXTRA_MAX + 2);
    memset(large, '#', USER_DATA_EXTRA_MAX + 1);
    memcpy(large, "#!/bin/sh\n", 10);
    large[USER_DATA_EXTRA_MAX + 1] = '\0';
    seed.extra_user_data = large;
    refused(&seed, "larger than 1048576 bytes");
    large[USER_DATA_EXTRA_MAX] = '\0';
    struct error err = {0};
    cleanup_buffer struct buffer volume = {0};
    assert_int_equal(seed_build(&seed, &volume, &err), 0);
    free(large);
}

static void texts_that_yaml_reads_as_something_else_are_quoted(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"web1", "web1"},     {"123", "\"123\""}, {"1e3", "\"1e3\""},   {"0x1f", "\"0x1f\""},
        {"no", "\"no\""},     {"On", "\"On\""},   {"y", "\"y\""},       {"NULL", "\"NULL\""},
        {"true", "\"true\""}, {"nono", "nono"},   {"_web", "\"_web\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_buffer struct buffer out = {0};
        user_data_put_scalar(&out, cases[i][0]);
        assert_string_equal(buffer_str(&out), cases[i][1]);
    }
}

static void another_user_than_root_gets_an_account(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.ssh_user = "trainee";
    cleanup_buffer struct buffer out = {0};
    user_data_put(&seed, &out);
    assert_string_equal(
        strstr(buffer_str(&out), "users:"),
        "users:\n"
        "  - default\n"
        "  - name: trainee\n"
        "    lock_passwd: true\n"
        "    shell: /bin/bash\n"
        "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"
        "    ssh_authorized_keys:\n"
        "      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2VmYWtl nestor\n");
    assert_null(strstr(buffer_str(&out), "disable_root"));
}

static void types_follow_the_first_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"#cloud-config\n", "text/cloud-config"},
        {"#cloud-config-archive\n", "text/cloud-config-archive"},
        {"#cloud-config-jsonp\n", "text/cloud-config-jsonp"},
        {"#cloud-boothook\n", "text/cloud-boothook"},
        {"#part-handler\n", "text/part-handler"},
        {"#!/bin/sh\n", "text/x-shellscript"},
        {"#include\nhttp://a\n", "text/x-include-url"},
        {"#include-once\n", "text/x-include-once-url"},
        {"## template: jinja\n#cloud-config\n", "text/jinja2"},
        {"\n  #Cloud-Config\n", "text/cloud-config"},
        {"Content-Type: multipart/mixed; boundary=x\n", USER_DATA_MULTIPART},
        {"MIME-Version: 1.0\n", USER_DATA_MULTIPART},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(user_data_type(cases[i][0]), cases[i][1]);
    assert_null(user_data_type("Content-Type: text/plain\n"));
    assert_null(user_data_type("#comment\n"));
}

static void the_parts_stand_in_the_order_that_keeps_the_identity(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.extra_user_data = "#cloud-config\nhostname: other\n";
    cleanup_buffer struct buffer out = {0};
    user_data_put(&seed, &out);
    const char *head = "Content-Type: multipart/mixed; boundary=\"=nestor-0\"\n"
                       "MIME-Version: 1.0\n"
                       "\n"
                       "--=nestor-0\n"
                       "Content-Type: text/cloud-config; charset=\"utf-8\"\n"
                       "Content-Disposition: attachment; filename=\"spec\"\n"
                       "Content-Transfer-Encoding: base64\n"
                       "\n"
                       "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogb3RoZXIK\n"
                       "\n"
                       "--=nestor-0\n"
                       "Content-Type: text/cloud-config; charset=\"us-ascii\"\n"
                       "Content-Disposition: attachment; filename=\"nestor-identity\"\n"
                       "X-Merge-Type: dict(replace)+list()+str()\n"
                       "\n"
                       "#cloud-config\n"
                       "hostname: web1\n"
                       "disable_root: false\n"
                       "ssh_deletekeys: true\n"
                       "ssh_keys:\n";
    assert_memory_equal(buffer_str(&out), head, strlen(head));
    const char *settings = strstr(buffer_str(&out), "filename=\"nestor-settings\"");
    assert_string_equal(
        settings, "filename=\"nestor-settings\"\n"
                  "X-Merge-Type: dict(no_replace,recurse_list)+list(prepend)+str()\n"
                  "\n"
                  "#cloud-config\n"
                  "locale: C.UTF-8\n"
                  "ssh_pwauth: false\n"
                  "users:\n"
                  "  - name: root\n"
                  "    ssh_authorized_keys:\n"
                  "      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2VmYWtl nestor\n"
                  "\n"
                  "--=nestor-0--\n");
}

static void base64_has_all_three_endings(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"#!/a", "\nIyEvYQ==\n"}, {"#!/ab", "\nIyEvYWI=\n"}, {"#!/abc", "\nIyEvYWJj\n"}};
    for (size_t i = 0; i < 3; i++) {
        cleanup_buffer struct buffer out = {0};
        struct mime mime;
        mime_begin(&mime, &out, cases[i][0]);
        mime_put_foreign(&mime, "spec", cases[i][0]);
        assert_non_null(strstr(buffer_str(&out), cases[i][1]));
    }
}

static void the_boundary_occurs_nowhere_else(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.extra_user_data =
        "Content-Type: multipart/mixed; boundary=\"=nestor-0\"\n\n--=nestor-0\n=nestor-1\n--=nestor-0--\n";
    cleanup_buffer struct buffer out = {0};
    user_data_put(&seed, &out);
    assert_non_null(strstr(buffer_str(&out), "boundary=\"=nestor-2\"\n"));
    size_t count = 0;
    for (const char *at = buffer_str(&out); (at = strstr(at, "\n--=nestor-2")); at++)
        count++;
    assert_int_equal(count, 4);
    /* Nested as it is, headers and all. */
    cleanup_free char *nested = xasprintf("\n--=nestor-2\n%s\n--=nestor-2\n", seed.extra_user_data);
    assert_non_null(strstr(buffer_str(&out), nested));
}

static void the_same_seed_gives_the_same_bytes(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.extra_user_data = "#!/bin/sh\ntrue\n";
    struct error err = {0};
    cleanup_buffer struct buffer a = {0}, b = {0};
    assert_int_equal(seed_build(&seed, &a, &err), 0);
    assert_int_equal(seed_build(&seed, &b, &err), 0);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(a.len, 32 * 1024);
}

static void the_texts_are_those_of_the_volume(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    seed.extra_user_data = "#!/bin/sh\ntrue\n";
    struct error err = {0};
    cleanup_buffer struct buffer volume = {0};
    struct buffer meta_data = {0}, user_data = {0};
    assert_int_equal(seed_build(&seed, &volume, &err), 0);
    assert_int_equal(seed_texts(&seed, &meta_data, &user_data, &err), 0);
    assert_non_null(memmem(volume.data, volume.len, meta_data.data, meta_data.len));
    assert_non_null(memmem(volume.data, volume.len, user_data.data, user_data.len));
    assert_string_equal(meta_data.data,
                        "instance-id: \"3b2f9a64-5f0c-8b7e-9d1a-0123456789ab\"\nlocal-hostname: web1\n");
    assert_int_equal(strlen(user_data.data), user_data.len);
    seed_wipe(&meta_data);
    seed_wipe(&user_data);
    assert_null(user_data.data);
    seed_wipe(&user_data);
}

static void texts_of_a_bad_seed_are_refused(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    struct error err = {0};
    struct buffer meta_data = {0}, user_data = {0};
    seed.hostname = "web 1";
    assert_int_equal(seed_texts(&seed, &meta_data, &user_data, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    assert_true(!meta_data.len && !user_data.len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_that_could_mean_something_else_are_refused),
        cmocka_unit_test(keys_in_another_form_are_refused_without_showing_them),
        cmocka_unit_test(user_data_cloud_init_would_ignore_is_refused),
        cmocka_unit_test(texts_that_yaml_reads_as_something_else_are_quoted),
        cmocka_unit_test(another_user_than_root_gets_an_account),
        cmocka_unit_test(types_follow_the_first_line),
        cmocka_unit_test(the_parts_stand_in_the_order_that_keeps_the_identity),
        cmocka_unit_test(base64_has_all_three_endings),
        cmocka_unit_test(the_boundary_occurs_nowhere_else),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(the_texts_are_those_of_the_volume),
        cmocka_unit_test(texts_of_a_bad_seed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
