/* What the libvirt driver sends and what it makes of the answers, with an access that plays the hypervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/libvirt/libvirt.h"

/* For fields that elsewhere own their text. */
#define OWNED(text) ((char *)(text))

/* --- a hypervisor that answers what it is told --- */

struct answer {
    const char *expected; /* must be in the script; NULL: anything */
    int status;
    const char *out, *err;
};

struct scripted {
    struct access base;
    const struct answer *answers;
    size_t n, used;
    bool endless;           /* the last answer is given again and again */
    char *script;           /* the last one */
    enum error_code broken; /* set: it cannot be reached */
};

static int play(struct access *a, const struct command *command, struct command_result *ret, const struct context *ctx,
                struct error *err) {
    struct scripted *s = (struct scripted *)a;
    (void)ctx;
    free(s->script);
    s->script = xstrdup(command->script);
    if (s->broken)
        return error_set(err, s->broken, a->subject, "the connection was lost");
    if (s->used == s->n && s->endless)
        s->used--;
    assert_true(s->used < s->n);
    const struct answer *answer = &s->answers[s->used++];
    if (answer->expected && !strstr(command->script, answer->expected))
        fail_msg("not in the script: %s\n%s", answer->expected, command->script);
    *ret = (struct command_result){.status = answer->status};
    buffer_puts(&ret->out, answer->out ? answer->out : "");
    buffer_puts(&ret->err, answer->err ? answer->err : "");
    return 0;
}

static const struct access_ops ops = {.run = play};

struct fixture {
    struct scripted access;
    struct hypervisor hv;
    struct context ctx;
    struct error err;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->access.base = (struct access){.ops = &ops, .subject = "lab/kvm1"};
    f->hv = (struct hypervisor){.subject = OWNED("lab/kvm1"),
                                .access = &f->access.base,
                                .uri = OWNED("qemu:///system"),
                                .directory = OWNED("/srv/it's here"),
                                .network = OWNED("labnet"),
                                .accelerated = true};
    f->ctx = context_timeout(NULL, 20000);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    free(f->access.script);
    free(f);
    return 0;
}

static void answers(struct fixture *f, const struct answer *all, size_t n) {
    f->access.answers = all;
    f->access.n = n;
    f->access.used = 0;
    error_clear(&f->err);
}
#define ANSWERS(f, ...)                                                                                                \
    answers(f, (const struct answer[]){__VA_ARGS__},                                                                   \
            sizeof((const struct answer[]){__VA_ARGS__}) / sizeof(struct answer))

static void assert_error(const struct fixture *f, enum error_code code, const char *subject, const char *cause) {
    if (f->err.code != code || strcmp(f->err.subject, subject) != 0 || strcmp(f->err.cause, cause) != 0)
        fail_msg("%s about '%s': %s", error_code_name(f->err.code), f->err.subject, f->err.cause);
}

static void assert_ok(const struct fixture *f, int rc) {
    if (rc)
        fail_msg("%s about '%s': %s", error_code_name(f->err.code), f->err.subject, f->err.cause);
}

/* --- script.c --- */

static void script_begins_with_its_words_quoted(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer script = {0};
    script_begin(&f->hv, &script);
    script_set(&script, "name", "a'b");
    static const char begin[] = "set -eu\numask 077\nexport LC_ALL=C\ndir='/srv/it'\\''s here'\nnet='labnet'\n"
                                "uri='qemu:///system'\nbase=$dir/base\n"
                                "v() { virsh -q -c \"$uri\" \"$@\" </dev/null; }\n";
    assert_memory_equal(buffer_str(&script), begin, sizeof begin - 1);
    assert_non_null(strstr(buffer_str(&script), "\nname='a'\\''b'\n"));
}

static void output_is_handed_over(void **state) {
    struct fixture *f = *state;
    cleanup_buffer struct buffer out = {0};
    ANSWERS(f, {"true", 0, "said\n", "and warned\n"});
    assert_ok(f, script_run(&f->hv, "true", NULL, 0, &out, &f->ctx, &f->err));
    assert_string_equal(buffer_str(&out), "said\n");
}

static void each_status_has_its_meaning(void **state) {
    struct fixture *f = *state;
    static const struct {
        int status;
        enum error_code code;
        const char *reason;
    } cases[] = {{1, ERR_PROCESS, ""},
                 {SCRIPT_ABSENT, ERR_NOT_FOUND, ""},
                 {SCRIPT_EXISTS, ERR_EXISTS, ""},
                 {SCRIPT_RUNNING, ERR_NESTING, "vhv-needs-power-off"},
                 {SCRIPT_NOT_RUNNING, ERR_DIED, ""},
                 {SCRIPT_CHECKSUM, ERR_CHECKSUM, ""},
                 {127, ERR_MISSING_PROGRAM, ""},
                 {137, ERR_PROCESS, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ANSWERS(f, {NULL, cases[i].status, "ignored\n", "error: why\n"});
        assert_int_equal(script_run(&f->hv, "x", NULL, 0, NULL, &f->ctx, &f->err), -1);
        assert_error(f, cases[i].code, "lab/kvm1",
                     cases[i].code == ERR_MISSING_PROGRAM ? "a program is missing there: why" : "why");
        assert_string_equal(f->err.reason, cases[i].reason);
        assert_int_equal(f->err.native, cases[i].status);
        assert_int_equal(f->err.mend[0] != '\0', cases[i].code == ERR_MISSING_PROGRAM);
        assert_false(f->err.retry);
    }
}

static void a_missing_program_is_named(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *err, *cause;
    } cases[] = {
        {"sh: 8: virsh: not found\n", "a program is missing there: virsh: not found"},
        {"bash: line 8: virsh: command not found\n", "a program is missing there: virsh: command not found"},
        {"virsh: not found\n", "a program is missing there: virsh: not found"},
        {"", "a program is missing there"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ANSWERS(f, {NULL, 127, "", cases[i].err});
        assert_int_equal(script_run(&f->hv, "x", NULL, 0, NULL, &f->ctx, &f->err), -1);
        assert_error(f, ERR_MISSING_PROGRAM, "lab/kvm1", cases[i].cause);
    }
}

static void cause_is_the_last_line_that_says_something(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *err, *cause;
        bool retry;
    } cases[] = {
        {"", "a command on it failed and said nothing", false},
        {"\n \n", "a command on it failed and said nothing", false},
        {"no newline", "no newline", false},
        {"error: Failed to start domain\nerror: internal error: no room\n\n", "internal error: no room", false},
        {"error: \033[31mred\n", " [31mred", false},
        {"error: failed to connect to the hypervisor\nerror: Operation not supported\n", "Operation not supported",
         true},
        {"error: Failed to connect socket to '/run/libvirt/virtqemud-sock': No such file\n",
         "Failed to connect socket to '/run/libvirt/virtqemud-sock': No such file", true},
        {"error: Cannot recv data: Connection reset by peer\n", "Cannot recv data: Connection reset by peer", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ANSWERS(f, {NULL, 1, NULL, cases[i].err});
        assert_int_equal(script_run(&f->hv, "x", NULL, 0, NULL, &f->ctx, &f->err), -1);
        assert_error(f, ERR_PROCESS, "lab/kvm1", cases[i].cause);
        assert_int_equal(f->err.retry, cases[i].retry);
    }
}

static void lost_connection_stays_what_it_is(void **state) {
    struct fixture *f = *state;
    struct observation *o = NULL;
    f->access.broken = ERR_UNREACHABLE;
    assert_int_equal(libvirt_observe(&f->hv, NULL, &o, &f->ctx, &f->err), -1);
    assert_error(f, ERR_UNREACHABLE, "lab/kvm1", "the connection was lost");
    assert_string_equal(f->err.context, "looking at its machines");
    assert_null(o);
}

/* --- observe.c --- */

#define DOMAIN(attributes, name, path, cpu)                                                                            \
    "<domain type='kvm'" attributes ">\n  <name>" name "</name>\n  <metadata>\n"                                       \
    "    <nestor:machine xmlns:nestor=\"urn:nestor:machine:1\" lab=\"0123456789abcdef\" path=\"" path                  \
    "\" digest=\"d1\"/>\n  </metadata>\n" cpu "</domain>\n\n"
#define EXPOSED "  <cpu mode='host-passthrough' check='none'/>\n"

static struct observation *observe(struct fixture *f, const char *lab_id, const char *out) {
    struct observation *o = NULL;
    ANSWERS(f, {"v list --all --name", 0, out, NULL});
    assert_ok(f, libvirt_observe(&f->hv, lab_id, &o, &f->ctx, &f->err));
    return o;
}

static void assert_item(const struct observed *got, const struct observed *wanted) {
    assert_string_equal(got->lab_id, wanted->lab_id);
    assert_string_equal(got->path, wanted->path);
    assert_string_equal(got->name, wanted->name);
    assert_string_equal(got->digest, wanted->digest);
    assert_int_equal(got->power, wanted->power);
    assert_int_equal(got->exposed, wanted->exposed);
}

static void directories_and_domains_become_machines(void **state) {
    struct fixture *f = *state;
    static const struct observed wanted[] = {
        {"0123456789abcdef", "lab/kvm1/a", "lab.kvm1.a-01234567", "d1", POWER_ON, true},
        {"0123456789abcdef", "lab/kvm1/b", "lab.kvm1.b-01234567", "", POWER_BROKEN, false},  /* has only a directory */
        {"0123456789abcdef", "lab/kvm1/e", "lab.kvm1.e-01234567", "d1", POWER_BROKEN, true}, /* was half made */
        {"0123456789abcdef", "lab/kvm1/c", "lab.kvm1.c-01234567", "d1", POWER_OFF, false},   /* has only a domain */
    };
    struct observation *o = observe(f, NULL,
                                    "D 0123456789abcdef lab/kvm1/a d0 complete lab.kvm1.a-01234567\n"
                                    "D 0123456789abcdef lab/kvm1/b - complete lab.kvm1.b-01234567\n"
                                    "D 0123456789abcdef lab/kvm1/e d0 half lab.kvm1.e-01234567\n" DOMAIN(
                                        " id='7'", "lab.kvm1.a-01234567", "lab/kvm1/a", EXPOSED)
                                        DOMAIN("", "lab.kvm1.c-01234567", "lab/kvm1/c", "")
                                            DOMAIN(" id='8'", "lab.kvm1.e-01234567", "lab/kvm1/e", EXPOSED));
    assert_int_equal(o->n, 4);
    for (size_t i = 0; i < 4; i++)
        assert_item(&o->items[i], &wanted[i]);
    observation_free(o);
}

static void nothing_there_is_nothing_found(void **state) {
    struct fixture *f = *state;
    struct observation *o = observe(f, NULL, "");
    assert_int_equal(o->n, 0);
    observation_free(o);
}

static void one_lab_is_picked_out_of_several(void **state) {
    struct fixture *f = *state;
    struct observation *o = observe(f, "fedcba9876543210",
                                    "D 0123456789abcdef lab/kvm1/a d0 half lab.kvm1.a-01234567\n"
                                    "D fedcba9876543210 lab/kvm1/a d0 half lab.kvm1.a-fedcba98\n" DOMAIN(
                                        "", "lab.kvm1.c-01234567", "lab/kvm1/c", ""));
    assert_int_equal(o->n, 1);
    assert_string_equal(o->items[0].name, "lab.kvm1.a-fedcba98");
    observation_free(o);
}

static void domains_of_others_are_passed_over(void **state) {
    struct fixture *f = *state;
    struct observation *o =
        observe(f, NULL,
                "<domain type='kvm'>\n<name>looks.like.ours-01234567</name>\n</domain>\n"
                "<domain type='kvm'>\n<name>is.cut-0123456\n" DOMAIN("", "lab.kvm1.c-01234567", "lab/kvm1/c", EXPOSED));
    assert_int_equal(o->n, 1);
    assert_string_equal(o->items[0].path, "lab/kvm1/c");
    assert_true(o->items[0].exposed);
    observation_free(o);
}

static void lines_that_are_none_of_ours_are_passed_over(void **state) {
    struct fixture *f = *state;
    struct observation *o = observe(f, NULL,
                                    "\nD\nD \nD one\nD one two three four\nX one two three four five\n"
                                    " D one two three four five\nWarning: D one two three four five\n" DOMAIN(
                                        "", "lab.kvm1.c-01234567", "lab/kvm1/c", "<title>x\nD a b c d\n</title>\n"));
    assert_int_equal(o->n, 1);
    assert_string_equal(o->items[0].name, "lab.kvm1.c-01234567");
    observation_free(o);
}

static void tags_that_are_none_are_passed_over(void **state) {
    struct fixture *f = *state;
    static const char *const paths[] = {"",        "lab",   "/lab/a", "lab/",         "lab//a",        "lab/../../a",
                                        "lab/a b", "lab/A", "lab/-a", "lab/a/../etc", "lab/a&#27;[2J", "lab/a.b"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cleanup_free char *out = xasprintf("D 0123456789abcdef %s - half lab.a-01234567\n<domain type='kvm'>\n"
                                           "<name>lab.a-01234567</name>\n<metadata>\n<n:machine "
                                           "xmlns:n=\"urn:nestor:machine:1\" lab=\"0123456789abcdef\" path=\"%s\" "
                                           "digest=\"\"/>\n</metadata>\n</domain>\n",
                                           paths[i], paths[i]);
        struct observation *o = observe(f, NULL, out);
        if (o->n)
            fail_msg("'%s'", paths[i]);
        observation_free(o);
    }
    struct observation *o = observe(f, NULL,
                                    "D 0123456789abcde lab/a - half lab.a-01234567\n"
                                    "D 0123456789ABCDEF lab/a - half l\n"
                                    "D ../3456789abcdef lab/a - half lab.a-01234567\n"
                                    "D 0123456789abcdef lab/a - half lab.b-01234567\n");
    assert_int_equal(o->n, 0);
    observation_free(o);
}

/* --- address.c --- */

static const struct machine_spec web1 = {
    .tag = {"0123456789abcdef", "lab/kvm1/web1"}, .name = "web1-name", .mac = "52:54:00:12:34:56", .ssh_port = 2222};

static void address_is_that_of_the_lease(void **state) {
    struct fixture *f = *state;
    struct endpoint at;
    ANSWERS(f, {"name='web1-name'\nmac='52:54:00:12:34:56'\n", 0, "", NULL}, {NULL, 0, "192.168.122.5\n", NULL});
    assert_ok(f, libvirt_address(&f->hv, &web1, &at, &f->ctx, &f->err));
    assert_string_equal(at.host, "192.168.122.5");
    assert_int_equal(at.port, 2222);
    assert_int_equal(f->access.used, 2);
}

static void what_is_no_address_is_refused(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *out, *cause;
    } cases[] = {
        {"999.1.1.1\n", "its lease list holds '999.1.1.1', which is no address"},
        {"10.0.0.1;reboot\n", "its lease list holds '10.0.0.1;reboot', which is no address"},
        {"::1\n", "its lease list holds '::1', which is no address"},
        {"0123456789012345678901234567890123456789012345678901234567890123456789\n",
         "its lease list holds '012345678901234567890123456789012345678901234567890123456789012', which is no address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct endpoint at = {.port = 1};
        ANSWERS(f, {NULL, 0, cases[i].out, NULL});
        assert_int_equal(libvirt_address(&f->hv, &web1, &at, &f->ctx, &f->err), -1);
        assert_error(f, ERR_PROTOCOL, "lab/kvm1", cases[i].cause);
        assert_int_equal(at.port, 1);
    }
}

static void machine_that_died_ends_the_wait_with_its_last_words(void **state) {
    struct fixture *f = *state;
    struct endpoint at;
    ANSWERS(f, {"died=93\n", SCRIPT_NOT_RUNNING, NULL, "Kernel panic - not syncing\nit is not running (shut off)\n"});
    assert_int_equal(libvirt_address(&f->hv, &web1, &at, &f->ctx, &f->err), -1);
    assert_error(f, ERR_DIED, "lab/kvm1/web1", "it is not running (shut off)");
}

static void wait_for_a_lease_ends_in_time(void **state) {
    struct fixture *f = *state;
    struct endpoint at;
    f->ctx = context_timeout(NULL, 20);
    f->access.endless = true;
    ANSWERS(f, {NULL, 0, "", NULL});
    assert_int_equal(libvirt_address(&f->hv, &web1, &at, &f->ctx, &f->err), -1);
    assert_error(f, ERR_TIMEOUT, "lab/kvm1/web1", "time ran out while waiting for its DHCP lease");
}

/* --- check.c --- */

static struct capability check(struct fixture *f, const char *out) {
    struct capability c;
    ANSWERS(f, {"v list >/dev/null\n", 0, out, NULL});
    assert_ok(f, libvirt_check(&f->hv, &c, &f->ctx, &f->err));
    return c;
}

static void hypervisor_with_nesting_can_nest(void **state) {
    struct fixture *f = *state;
    struct capability c = check(f, "flag svm\nnested 1\nmemory 1024\ndisk 2048\ncpus 8\n");
    assert_true(c.can_nest);
    assert_false(c.emulated);
    assert_string_equal(c.flag, "svm");
    assert_string_equal(c.reason, "");
    assert_string_equal(c.detail, "KVM with svm, nesting on");
    assert_int_equal(c.memory_free, 1024 << 10);
    assert_int_equal(c.disk_free, 2048 << 10);
    assert_int_equal(c.cpus, 8);
}

static void nesting_that_is_off_has_its_reason(void **state) {
    struct fixture *f = *state;
    static const char *const cases[] = {"flag vmx\nnested N\n", "flag vmx\nnested 0\n", "flag vmx\nnested \n", ""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct capability c = check(f, cases[i]);
        assert_false(c.can_nest);
        assert_string_equal(c.reason, "host-nested-off");
        assert_string_equal(c.detail, "its KVM module has nesting switched off");
    }
    assert_true(check(f, "flag vmx\nnested Y\n").can_nest);
}

static void without_kvm_svm_is_emulated(void **state) {
    struct fixture *f = *state;
    f->hv.accelerated = false;
    struct capability c = check(f, "flag \nnested \nmemory 1024\n");
    assert_true(c.can_nest && c.emulated);
    assert_string_equal(c.flag, "svm");
}

static void what_is_not_told_is_unknown(void **state) {
    struct fixture *f = *state;
    static const char *const cases[] = {"", "memory \ndisk \n", "memory many\ndisk -1\n", "memoryx 5\nxdisk 5\n",
                                        "memory 99999999999999999999999\ndisk 99999999999999999999\n"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct capability c = check(f, cases[i]);
        assert_true(c.memory_free == UINT64_MAX);
        assert_true(c.disk_free == UINT64_MAX);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(script_begins_with_its_words_quoted),
        TEST(output_is_handed_over),
        TEST(each_status_has_its_meaning),
        TEST(a_missing_program_is_named),
        TEST(cause_is_the_last_line_that_says_something),
        TEST(lost_connection_stays_what_it_is),
        TEST(directories_and_domains_become_machines),
        TEST(nothing_there_is_nothing_found),
        TEST(one_lab_is_picked_out_of_several),
        TEST(domains_of_others_are_passed_over),
        TEST(lines_that_are_none_of_ours_are_passed_over),
        TEST(tags_that_are_none_are_passed_over),
        TEST(address_is_that_of_the_lease),
        TEST(what_is_no_address_is_refused),
        TEST(machine_that_died_ends_the_wait_with_its_last_words),
        TEST(wait_for_a_lease_ends_in_time),
        TEST(hypervisor_with_nesting_can_nest),
        TEST(nesting_that_is_off_has_its_reason),
        TEST(without_kvm_svm_is_emulated),
        TEST(what_is_not_told_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
