/* SSH keys: the same again for the same secret, and keys in OpenSSH's own eyes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "nestor/identity.h"
#include "state_folder.h"

static struct secret counting_secret(void) {
    struct secret s;
    for (int i = 0; i < SECRET_LEN; i++)
        s.bytes[i] = (unsigned char)i;
    return s;
}

static struct keypair derive(const char *purpose, const char *comment) {
    struct secret s = counting_secret();
    struct keypair k = {0};
    struct error err = {0};
    assert_int_equal(keypair_derive(&s, purpose, comment, &k, &err), 0);
    return k;
}

/* Standard output of a shell command, without the last line break; "" when it fails. */
static char *output_of(const char *command) {
    FILE *p = popen(command, "r");
    assert_non_null(p);
    static char text[1024];
    size_t n = fread(text, 1, sizeof text - 1, p);
    text[n] = '\0';
    int status = pclose(p);
    if (WEXITSTATUS(status) == 127)
        skip();
    if (status != 0)
        return strcpy(text, "");
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* Value of an independent computation: `openssl kdf ... HKDF`, its first 32 bytes wrapped as PKCS#8, `openssl pkey
 * -pubout`. Running labs hold these keys, so they may never change. */
static void key_of_a_known_secret_is_this_for_ever(void **state) {
    (void)state;
    struct keypair k = derive("user", "nestor quickstart");
    assert_string_equal(
        k.public_line,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKgVkxpC0mAHdaDQ3GxDVkv1d6Jc6tbLEom3/Sauo5rE nestor quickstart");
    keypair_free(&k);
}

static void same_input_gives_the_same_text(void **state) {
    (void)state;
    struct keypair a = derive("host:q/kvm1", "c"), b = derive("host:q/kvm1", "c");
    assert_string_equal(a.private_pem, b.private_pem);
    assert_string_equal(a.public_line, b.public_line);
    keypair_free(&a);
    keypair_free(&b);
}

static void purpose_and_secret_each_make_a_difference(void **state) {
    (void)state;
    struct keypair a = derive("host:q/kvm1", "c"), b = derive("host:q/kvm2", "c"), c = {0};
    assert_string_not_equal(a.public_line, b.public_line);
    struct secret other = counting_secret();
    other.bytes[SECRET_LEN - 1] ^= 1;
    struct error err = {0};
    assert_int_equal(keypair_derive(&other, "host:q/kvm1", "c", &c, &err), 0);
    assert_string_not_equal(a.public_line, c.public_line);
    keypair_free(&a);
    keypair_free(&b);
    keypair_free(&c);
}

/* Every comment length shifts the padding: all eight cases. */
static void openssh_reads_the_private_key_and_finds_the_same_public_key(void **state) {
    (void)state;
    char *folder = state_folder_new();
    char *path = state_folder_path(folder, "key");
    char *command = NULL;
    assert_true(asprintf(&command, "ssh-keygen -y -P '' -f '%s'", path) > 0);
    for (int len = 0; len <= 8; len++) {
        struct keypair k = derive("user", &"abcdefgh"[8 - len]);
        state_file_write(path, k.private_pem, strlen(k.private_pem));
        assert_int_equal(chmod(path, 0600), 0);
        assert_string_equal(output_of(command), k.public_line);
        keypair_free(&k);
    }
    free(command);
    free(path);
    state_folder_remove(folder);
}

static void openssh_lists_the_public_key_as_ed25519_with_its_comment(void **state) {
    (void)state;
    char *folder = state_folder_new();
    char *path = state_folder_path(folder, "key.pub");
    struct keypair k = derive("user", "nestor quickstart");
    state_file_write(path, k.public_line, strlen(k.public_line));
    char *command = NULL;
    assert_true(asprintf(&command, "ssh-keygen -l -f '%s'", path) > 0);
    const char *listed = output_of(command);
    assert_memory_equal(listed, "256 SHA256:", 11);
    assert_non_null(strstr(listed, " nestor quickstart (ED25519)"));
    free(command);
    keypair_free(&k);
    free(path);
    state_folder_remove(folder);
}

static void pem_lines_are_as_long_as_openssh_writes_them(void **state) {
    (void)state;
    struct keypair k = derive("user", "c");
    assert_memory_equal(k.private_pem, "-----BEGIN OPENSSH PRIVATE KEY-----\n", 36);
    const char *second = k.private_pem + 36;
    assert_int_equal(strcspn(second, "\n"), 70);
    const char *end = "-----END OPENSSH PRIVATE KEY-----\n";
    assert_string_equal(k.private_pem + strlen(k.private_pem) - strlen(end), end);
    keypair_free(&k);
}

static void comment_that_would_be_a_second_line_is_refused(void **state) {
    (void)state;
    struct secret s = counting_secret();
    char long_comment[300];
    memset(long_comment, 'x', sizeof long_comment - 1);
    long_comment[sizeof long_comment - 1] = '\0';
    const struct {
        const char *comment, *cause;
    } cases[] = {{"a\nssh-ed25519 AAAA", "control character"}, {"a\rb", "control character"}, {long_comment, "255"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct keypair k = {0};
        struct error err = {0};
        assert_int_equal(keypair_derive(&s, "user", cases[i].comment, &k, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.subject, "key comment");
        assert_non_null(strstr(err.cause, cases[i].cause));
        assert_null(k.private_pem);
    }
}

static void free_takes_null_and_half_built_and_again(void **state) {
    (void)state;
    struct keypair k = derive("user", "c");
    keypair_free(&k);
    assert_null(k.private_pem);
    keypair_free(&k);
    keypair_free(NULL);
    struct keypair half = {.public_line = strdup("ssh-ed25519")};
    keypair_free(&half);
    assert_null(half.public_line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_of_a_known_secret_is_this_for_ever),
        cmocka_unit_test(same_input_gives_the_same_text),
        cmocka_unit_test(purpose_and_secret_each_make_a_difference),
        cmocka_unit_test(openssh_reads_the_private_key_and_finds_the_same_public_key),
        cmocka_unit_test(openssh_lists_the_public_key_as_ed25519_with_its_comment),
        cmocka_unit_test(pem_lines_are_as_long_as_openssh_writes_them),
        cmocka_unit_test(comment_that_would_be_a_second_line_is_refused),
        cmocka_unit_test(free_takes_null_and_half_built_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
