/* Names, UUIDs and MAC addresses: well-formed, repeatable, and different where they must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nestor/identity.h"

#define LAB "1a2b3c4d5e6f7081"
#define OTHER_LAB "1a2b3c4d5e6f7082"

static void lab_id_is_sixteen_hex_digits_and_new_each_time(void **state) {
    (void)state;
    char a[LAB_ID_LEN + 1], b[LAB_ID_LEN + 1];
    struct error err = {0};
    assert_int_equal(lab_id_new(a, &err), 0);
    assert_int_equal(lab_id_new(b, &err), 0);
    assert_int_equal(strspn(a, "0123456789abcdef"), LAB_ID_LEN);
    assert_int_equal(strlen(a), LAB_ID_LEN);
    assert_string_not_equal(a, b);
}

static void uuid_is_version_8_and_of_the_rfc_variant(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        char path[32], uuid[37];
        snprintf(path, sizeof path, "quickstart/kvm%d", i);
        machine_uuid(LAB, path, uuid);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
        for (int at = 8; at <= 23; at += 5)
            assert_int_equal(uuid[at], '-');
        assert_int_equal(uuid[14], '8');
        assert_non_null(strchr("89ab", uuid[19]));
    }
}

static void mac_is_unicast_and_locally_administered(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        char path[32], mac[18];
        snprintf(path, sizeof path, "quickstart/kvm%d", i);
        machine_mac(LAB, path, mac);
        assert_int_equal(strlen(mac), 17);
        assert_int_equal(strspn(mac, "0123456789abcdef:"), 17);
        assert_non_null(strchr("26ae", mac[1]));
    }
}

/* Values of an independent computation (printf 'uuid\0LAB\0PATH' | sha256sum): existing labs are found again by
 * them, so they may never change. */
static void derived_names_are_these_for_ever(void **state) {
    (void)state;
    char uuid[37], mac[18];
    machine_uuid(LAB, "quickstart/kvm1/web1", uuid);
    machine_mac(LAB, "quickstart/kvm1/web1", mac);
    assert_string_equal(uuid, "d509db7d-2ac9-828f-926f-b0337c783420");
    assert_string_equal(mac, "da:05:c8:9e:c3:20");
}

static void lab_and_path_each_make_a_difference(void **state) {
    (void)state;
    char a[37], b[37], c[37], d[37];
    machine_uuid(LAB, "q/kvm1", a);
    machine_uuid(OTHER_LAB, "q/kvm1", b);
    machine_uuid(LAB, "q/kvm2", c);
    machine_uuid("1a2b3c4d5e6f708", "1q/kvm1", d); /* the same bytes, cut elsewhere */
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, d);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void ten_thousand_macs_do_not_collide(void **state) {
    (void)state;
    enum { N = 10000 };
    char(*macs)[18] = calloc(N, sizeof *macs);
    for (int i = 0; i < N; i++) {
        char path[32];
        snprintf(path, sizeof path, "big/kvm%d/web%d", i / 100, i % 100);
        machine_mac(LAB, path, macs[i]);
    }
    qsort(macs, N, sizeof *macs, by_text);
    for (int i = 1; i < N; i++)
        assert_string_not_equal(macs[i - 1], macs[i]);
    free(macs);
}

static void native_name_is_the_path_with_dots_and_half_the_lab_id(void **state) {
    (void)state;
    char *name = machine_native_name(LAB, "quickstart/kvm1/web1");
    assert_string_equal(name, "quickstart.kvm1.web1-1a2b3c4d");
    free(name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lab_id_is_sixteen_hex_digits_and_new_each_time),
        cmocka_unit_test(uuid_is_version_8_and_of_the_rfc_variant),
        cmocka_unit_test(mac_is_unicast_and_locally_administered),
        cmocka_unit_test(derived_names_are_these_for_ever),
        cmocka_unit_test(lab_and_path_each_make_a_difference),
        cmocka_unit_test(ten_thousand_macs_do_not_collide),
        cmocka_unit_test(native_name_is_the_path_with_dots_and_half_the_lab_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
