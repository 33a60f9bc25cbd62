/* The seed, read back by the tools a guest and an administrator would use: mtools, dosfstools, blkid, ssh-keygen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image_fixture.h"

static char *write_seed(const struct seed *seed) {
    struct error err = {0};
    cleanup_buffer struct buffer volume = {0};
    assert_int_equal(seed_build(seed, &volume, &err), 0);
    assert_true(volume.len >= 32 * 1024);
    char *path = image_fixture_path("seed.img");
    image_fixture_write(path, volume.data, volume.len);
    return path;
}

static void assert_file(const char *volume, const char *name, const char *want) {
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(image_fixture_run(&out, "mtype -i %s ::%s", volume, name), 0);
    assert_string_equal(buffer_str(&out), want);
}

static void a_seed_has_exactly_the_documented_text(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    cleanup_free char *path = write_seed(&seed);
    assert_file(path, "meta-data",
                "instance-id: \"3b2f9a64-5f0c-8b7e-9d1a-0123456789ab\"\n"
                "local-hostname: web1\n");
    assert_file(path, "user-data",
                "#cloud-config\n"
                "hostname: web1\n"
                "disable_root: false\n"
                "ssh_deletekeys: true\n"
                "ssh_keys:\n"
                "  ed25519_private: |\n"
                "    -----BEGIN OPENSSH PRIVATE KEY-----\n"
                "    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
                "    QyNTUxOQAAACD2CP8STCHtm+2MbMJAli4/OnDeHkHwIkBwMa+/6OwScgAAAJBsy3hXbMt4\n"
                "    VwAAAAtzc2gtZWQyNTUxOQAAACD2CP8STCHtm+2MbMJAli4/OnDeHkHwIkBwMa+/6OwScg\n"
                "    AAAEBQ8Ea9BZPlM1nJt3+omUqgjcViuyLXLAnx4K/PGb7jevYI/xJMIe2b7YxswkCWLj86\n"
                "    cN4eQfAiQHAxr7/o7BJyAAAACGxhYi9rdm0xAQIDBAU=\n"
                "    -----END OPENSSH PRIVATE KEY-----\n"
                "  ed25519_public: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPYI/xJMIe2b7YxswkCWLj86cN4eQfAiQHAxr7/o7BJy "
                "lab/kvm1\n"
                "locale: C.UTF-8\n"
                "ssh_pwauth: false\n"
                "users:\n"
                "  - name: root\n"
                "    ssh_authorized_keys:\n"
                "      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2VmYWtl nestor\n");
}

static void the_injected_key_pair_belongs_together(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    cleanup_free char *path = write_seed(&seed), *key = image_fixture_path("key");
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(image_fixture_run(&out,
                                       "umask 077; mtype -i %s ::user-data | sed -n 's/^    \\(.*\\)/\\1/p' | "
                                       "sed '/END OPENSSH/q' >%s; ssh-keygen -y -f %s",
                                       path, key, key),
                     0);
    cleanup_free char *want = xasprintf("%s\n", seed.host_key->public_line);
    assert_string_equal(buffer_str(&out), want);
}

static void a_file_system_checker_finds_nothing(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    static char large[900 * 1024] = "#!/bin/sh\n";
    memset(large + 10, '#', sizeof large - 11);
    const char *extras[] = {NULL, "#cloud-config\nruncmd: [true]\n", large};
    for (size_t i = 0; i < 3; i++) {
        seed.extra_user_data = extras[i];
        cleanup_free char *path = write_seed(&seed);
        cleanup_buffer struct buffer out = {0};
        assert_int_equal(image_fixture_run(&out, "fsck.fat -n -v %s", path), 0);
        assert_non_null(strstr(buffer_str(&out), "12 bit entries")); /* the geometry it believes */
    }
}

static void blkid_finds_the_label_cloud_init_looks_for(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    cleanup_free char *path = write_seed(&seed);
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(image_fixture_run(&out, "blkid -p -o export %s", path), 0);
    assert_non_null(strstr(buffer_str(&out), "\nLABEL=CIDATA\n"));
    assert_non_null(strstr(buffer_str(&out), "\nTYPE=vfat\n"));
}

static void names_are_listed_in_full(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    cleanup_free char *path = write_seed(&seed);
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(image_fixture_run(&out, "mdir -b -i %s", path), 0);
    assert_string_equal(buffer_str(&out), "::/meta-data\n::/user-data\n");
}

static void a_large_script_comes_back_byte_for_byte(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    cleanup_buffer struct buffer script = {0};
    buffer_puts(&script, "#!/bin/sh\n# \xc3\xa4\xe2\x82\xac\r\n");
    for (int i = 0; script.len < 600 * 1024; i++)
        buffer_printf(&script, "echo line %d\n", i);
    seed.extra_user_data = buffer_str(&script);
    cleanup_free char *path = write_seed(&seed), *want = image_fixture_path("want");
    image_fixture_write(want, script.data, script.len);
    cleanup_buffer struct buffer out = {0};
    int status = image_fixture_run(
        &out,
        "mtype -i %s ::user-data | sed -n '/^Content-Transfer-Encoding: base64/,/^--/p' | sed '1d;$d' | "
        "base64 -d | cmp - %s",
        path, want);
    assert_string_equal(buffer_str(&out), "");
    assert_int_equal(status, 0);
}

int main(void) {
    static const char *const needed[] = {"mtype", "mdir", "fsck.fat", "blkid", "ssh-keygen"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!image_fixture_has(needed[i])) {
            fprintf(stderr, "skipped: %s is not installed\n", needed[i]);
            return 77;
        }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_has_exactly_the_documented_text),
        cmocka_unit_test(the_injected_key_pair_belongs_together),
        cmocka_unit_test(a_file_system_checker_finds_nothing),
        cmocka_unit_test(blkid_finds_the_label_cloud_init_looks_for),
        cmocka_unit_test(names_are_listed_in_full),
        cmocka_unit_test(a_large_script_comes_back_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, image_fixture_begin, image_fixture_end);
}
