#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan_fixture.h"

static const char nested[] = "lab: lab\n"
                             "hosts: { local: { driver: fake } }\n"
                             "machines:\n"
                             "  kvm1:\n"
                             "    template: debian-kvm\n"
                             "    hypervisor: fake\n"
                             "    memory: 2GiB\n"
                             "    machines:\n"
                             "      web1: { template: tiny }\n";

static void expect(const char *spec, const char *machines, const char *verb, const char *steps) {
    struct planned p;
    plan_prepare(&p, spec, machines);
    assert_string_equal(plan_render(&p, verb), steps);
    plan_release(&p);
}

static void everything_is_made_in_order(void **state) {
    (void)state;
    expect(nested, "", "up",
           "image local (debian-kvm)\n"
           "network local (its machines need it)\n"
           "create lab/kvm1 (not there) < image local, network local\n"
           "expose lab/kvm1 (not there) < create lab/kvm1\n"
           "start lab/kvm1 (not there) < expose lab/kvm1\n"
           "reach lab/kvm1 (not there) < start lab/kvm1\n"
           "verify lab/kvm1 (not there) < reach lab/kvm1\n"
           "image lab/kvm1 (tiny) < reach lab/kvm1\n"
           "network lab/kvm1 (its machines need it) < reach lab/kvm1\n"
           "create lab/kvm1/web1 (not there) < verify lab/kvm1, image lab/kvm1, network lab/kvm1\n"
           "start lab/kvm1/web1 (not there) < create lab/kvm1/web1\n"
           "reach lab/kvm1/web1 (not there) < start lab/kvm1/web1\n");
}

static void nothing_to_do(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on\nlab/kvm1/web1 on", "up", "");
}

/* A nested guest that was destroyed by hand: its guest hypervisor is proved again before it is made anew. */
static void lost_guest_is_made_again_on_a_verified_hypervisor(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on\nlab/kvm1/web1 absent", "up",
           "reach lab/kvm1 (before its machines are changed) look\n"
           "verify lab/kvm1 (before its machines are changed) < reach lab/kvm1 look\n"
           "image lab/kvm1 (tiny) < reach lab/kvm1\n"
           "network lab/kvm1 (its machines need it) < reach lab/kvm1\n"
           "create lab/kvm1/web1 (it has vanished) < verify lab/kvm1, image lab/kvm1, network lab/kvm1\n"
           "start lab/kvm1/web1 (it has vanished) < create lab/kvm1/web1\n"
           "reach lab/kvm1/web1 (it has vanished) < start lab/kvm1/web1\n");
}

/* Rebooted behind nestor's back: it runs, what was in it does not. */
static void guests_of_a_rebooted_hypervisor_are_started(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on\nlab/kvm1/web1 off", "up",
           "reach lab/kvm1 (before its machines are changed) look\n"
           "verify lab/kvm1 (before its machines are changed) < reach lab/kvm1 look\n"
           "start lab/kvm1/web1 (stopped) < verify lab/kvm1\n"
           "reach lab/kvm1/web1 (stopped) < start lab/kvm1/web1\n");
}

static void stopped_hypervisor_is_started_and_its_guests_checked(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 off\nlab/kvm1/web1 unknown", "up",
           "expose lab/kvm1 (stopped)\n"
           "start lab/kvm1 (stopped) < expose lab/kvm1\n"
           "reach lab/kvm1 (stopped) < start lab/kvm1\n"
           "verify lab/kvm1 (stopped) < reach lab/kvm1\n"
           "image lab/kvm1 (tiny) < reach lab/kvm1\n"
           "network lab/kvm1 (its machines need it) < reach lab/kvm1\n"
           "create lab/kvm1/web1 (kvm1 is restarted) < verify lab/kvm1, image lab/kvm1, network lab/kvm1\n"
           "start lab/kvm1/web1 (kvm1 is restarted) < create lab/kvm1/web1\n"
           "reach lab/kvm1/web1 (kvm1 is restarted) < start lab/kvm1/web1\n");
}

static void hypervisor_that_could_not_be_asked_is_checked_with_its_machines(void **state) {
    (void)state;
    struct planned p;
    struct error why = {0};
    error_set(&why, ERR_UNREACHABLE, "lab/kvm1", "no route");
    plan_prepare(&p, nested, "lab/kvm1 on\nlab/kvm1/web1 unknown");
    inventory_unasked(p.inv, 0, &why);
    assert_string_equal(plan_render(&p, "up"),
                        "reach lab/kvm1 (it could not be asked: no route)\n"
                        "verify lab/kvm1 (it could not be asked: no route) < reach lab/kvm1\n"
                        "image lab/kvm1 (tiny) < reach lab/kvm1\n"
                        "network lab/kvm1 (its machines need it) < reach lab/kvm1\n"
                        "create lab/kvm1/web1 (kvm1 could not be asked: no route) < verify lab/kvm1, image lab/kvm1, "
                        "network lab/kvm1\n"
                        "start lab/kvm1/web1 (kvm1 could not be asked: no route) < create lab/kvm1/web1\n"
                        "reach lab/kvm1/web1 (kvm1 could not be asked: no route) < start lab/kvm1/web1\n");
    assert_int_equal(p.plan->changes[0], CHANGE_CHECK);
    assert_int_equal(p.plan->changes[1], CHANGE_CHECK);
    plan_release(&p);
}

/* Not removed before its image and network are there: a misspelt template does not cost the machine. */
static void changed_machine_is_replaced(void **state) {
    (void)state;
    expect("lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n  a: { template: tiny }\n",
           "lab/a on digest=older", "up",
           "image local (tiny)\n"
           "network local (its machines need it)\n"
           "remove lab/a (its configuration has changed) < image local, network local\n"
           "create lab/a (its configuration has changed) < image local, network local, remove lab/a\n"
           "start lab/a (its configuration has changed) < create lab/a\n"
           "reach lab/a (its configuration has changed) < start lab/a\n");
}

static void nesting_that_was_switched_off_needs_a_power_cycle(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on exposed=off\nlab/kvm1/web1 on", "up",
           "stop lab/kvm1 (hardware virtualization is off)\n"
           "expose lab/kvm1 (hardware virtualization is off) < stop lab/kvm1\n"
           "start lab/kvm1 (hardware virtualization is off) < expose lab/kvm1\n"
           "reach lab/kvm1 (hardware virtualization is off) < start lab/kvm1\n"
           "verify lab/kvm1 (hardware virtualization is off) < reach lab/kvm1\n"
           "start lab/kvm1/web1 (kvm1 is restarted) < verify lab/kvm1\n"
           "reach lab/kvm1/web1 (kvm1 is restarted) < start lab/kvm1/web1\n");
}

static void machine_that_left_the_spec_is_removed(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on\nlab/kvm1/web1 on\nlab/kvm1/old on", "up",
           "reach lab/kvm1 (before its machines are changed) look\n"
           "verify lab/kvm1 (before its machines are changed) < reach lab/kvm1 look\n"
           "remove lab/kvm1/old (no longer in the lab file) < verify lab/kvm1\n");
}

static void branch_that_left_the_spec_goes_with_its_root(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, "lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n  a: { template: tiny }\n",
                 "lab/a on\nlab/kvm9 on opens=fake\nlab/kvm9/web1 on");
    assert_string_equal(plan_render(&p, "up"), "remove lab/kvm9 (no longer in the lab file)\n");
    uint32_t inner = inventory_find(p.inv, "lab/kvm9/web1");
    assert_int_equal(p.plan->changes[inner], CHANGE_REMOVE);
    assert_string_equal(p.plan->reasons[inner], "goes with its hypervisor");
    plan_release(&p);
}

/* Killed between a removal and its record: the record goes by the same step. */
static void record_of_a_removed_machine_is_forgotten(void **state) {
    (void)state;
    expect("lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n  a: { template: tiny }\n",
           "lab/a on\nlab/b absent", "up", "remove lab/b (no longer in the lab file)\n");
}

/* Its guest hypervisor is made anew, not removed: so nothing else forgets it. */
static void machine_that_left_the_spec_is_forgotten_in_a_new_hypervisor(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, nested, "lab/kvm1 absent\nlab/kvm1/web1 unknown\nlab/kvm1/web2 unknown");
    assert_non_null(
        strstr(plan_render(&p, "up"), "remove lab/kvm1/web2 (goes with its hypervisor) < verify lab/kvm1\n"));
    plan_release(&p);
}

static void machine_that_left_the_spec_goes_with_the_replaced_hypervisor(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, nested, "lab/kvm1 on digest=older\nlab/kvm1/web1 on\nlab/kvm1/web2 on");
    assert_null(strstr(plan_render(&p, "up"), "remove lab/kvm1/web2"));
    uint32_t web2 = inventory_find(p.inv, "lab/kvm1/web2");
    assert_int_equal(p.plan->changes[web2], CHANGE_REMOVE);
    plan_release(&p);
}

static void interrupted_machine_is_checked(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, nested, "lab/kvm1 on unready\nlab/kvm1/web1 on");
    assert_string_equal(plan_render(&p, "up"), "reach lab/kvm1 (not proved ready yet)\n"
                                               "verify lab/kvm1 (not proved ready yet) < reach lab/kvm1\n");
    assert_int_equal(p.plan->nchanges, 2);
    plan_release(&p);
}

/* What was proved, was proved for what was wanted then. */
static void stricter_nesting_is_proved(void **state) {
    (void)state;
    expect(nested, "lab/kvm1 on nesting=exposed\nlab/kvm1/web1 on", "up",
           "reach lab/kvm1 (nesting exposed -> required)\n"
           "verify lab/kvm1 (nesting exposed -> required) < reach lab/kvm1\n");
}

static void stricter_readiness_is_checked(void **state) {
    (void)state;
    static const char spec[] = "lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n"
                               "  a: { template: tiny }\n  b: { template: tiny, ready: running }\n";
    expect(spec, "lab/a on as=running\nlab/b on as=ssh", "up", "reach lab/a (ready running -> ssh)\n");
}

static void incomplete_machine_is_replaced(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, nested, "lab/kvm1 broken");
    assert_non_null(
        strstr(plan_render(&p, "up"), "remove lab/kvm1 (what is there is incomplete) < image local, network local\n"));
    assert_int_equal(p.plan->changes[0], CHANGE_REPLACE);
    plan_release(&p);
}

static void down_removes_the_outermost_and_prunes(void **state) {
    (void)state;
    expect(NULL, "lab/kvm1 on opens=fake\nlab/kvm1/web1 unknown\nlab/b off", "down",
           "remove lab/kvm1 (down)\n"
           "remove lab/b (down)\n"
           "prune local (what no machine uses) < remove lab/kvm1, remove lab/b\n");
}

/* A record whose machine cannot be seen may still be there: removing nothing is cheap, leaving something is not. */
static void down_removes_what_is_only_recorded(void **state) {
    (void)state;
    expect(NULL, "lab/a unknown", "down", "remove lab/a (down)\nprune local (what no machine uses) < remove lab/a\n");
}

/* Images are brought before the first machine is recorded. */
static void down_of_no_machines_still_prunes(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, NULL, "");
    assert_string_equal(plan_render(&p, "down"), "prune local (what no machine uses) look\n");
    assert_int_equal(p.plan->nchanges, 0);
    plan_release(&p);
}

static const char moved[] = "lab: lab\nhosts: { other: { driver: fake } }\nmachines:\n  a: { template: tiny }\n";

static void host_that_left_the_spec_is_pruned_after_its_machines(void **state) {
    (void)state;
    expect(moved, "lab/a on\nlab/b on\nlab/kvm1 on opens=fake\nlab/kvm1/web1 on", "up",
           "remove lab/b (no longer in the lab file)\n"
           "remove lab/kvm1 (no longer in the lab file)\n"
           "prune local (no longer in the lab file) < remove lab/b, remove lab/kvm1\n");
}

static void host_that_left_the_spec_without_machines_is_a_change(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a on");
    assert_string_equal(plan_render(&p, "up"), "prune local (no longer in the lab file)\n");
    assert_int_equal(p.plan->nchanges, 1);
    plan_release(&p);
}

static void machine_on_another_host_is_removed_there_before_it_is_made(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a absent elsewhere=local");
    assert_string_equal(plan_render(&p, "up"),
                        "image other (tiny)\n"
                        "network other (its machines need it)\n"
                        "remove lab/a from local (moved from host 'local') < image other, network other\n"
                        "create lab/a (moved from host 'local') < image other, network other, remove lab/a from local\n"
                        "start lab/a (moved from host 'local') < create lab/a\n"
                        "reach lab/a (moved from host 'local') < start lab/a\n"
                        "prune local (no longer in the lab file) < remove lab/a from local\n");
    assert_int_equal(p.plan->changes[0], CHANGE_REPLACE);
    plan_release(&p);
}

static void unrecorded_machine_on_another_host_moves_too(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a absent unrecorded elsewhere=local");
    assert_non_null(
        strstr(plan_render(&p, "up"),
               "create lab/a (moved from host 'local') < image other, network other, remove lab/a from local"));
    plan_release(&p);
}

static void guests_of_a_moved_hypervisor_are_made_anew(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p,
                 "lab: lab\nhosts: { other: { driver: fake } }\nmachines:\n  kvm1:\n    template: debian-kvm\n"
                 "    hypervisor: fake\n    memory: 1GiB\n    machines: { web1: { template: tiny } }\n",
                 "lab/kvm1 absent elsewhere=local\nlab/kvm1/web1 unknown\nlab/kvm1/old unknown");
    assert_null(strstr(plan_render(&p, "up"), "remove lab/kvm1/"));
    uint32_t web1 = inventory_find(p.inv, "lab/kvm1/web1"), old = inventory_find(p.inv, "lab/kvm1/old");
    assert_int_equal(p.plan->changes[web1], CHANGE_REPLACE);
    assert_string_equal(p.plan->reasons[web1], "its hypervisor is replaced");
    assert_int_equal(p.plan->changes[old], CHANGE_REMOVE);
    assert_string_equal(p.plan->reasons[old], "goes with its hypervisor");
    plan_release(&p);
}

/* Killed after the removal: it is on neither host, whatever the record says. */
static void machine_that_left_its_old_host_is_only_made(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a absent");
    assert_null(strstr(plan_render(&p, "up"), "remove"));
    assert_int_equal(p.plan->changes[0], CHANGE_CREATE);
    assert_string_equal(p.plan->reasons[0], "it has vanished");
    plan_release(&p);
}

static void machine_under_two_names_of_its_hypervisor_is_left_alone(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a on elsewhere=local");
    assert_string_equal(plan_render(&p, "up"), "prune local (no longer in the lab file)\n");
    assert_int_equal(p.plan->changes[0], CHANGE_NONE);
    plan_release(&p);
}

/* Two calls for one machine never overlap, and both hosts may be the same one. */
static void machine_on_two_hosts_is_removed_from_one_after_the_other(void **state) {
    (void)state;
    expect(moved, "lab/a on\nlab/b on elsewhere=other", "up",
           "remove lab/b (no longer in the lab file)\n"
           "remove lab/b from other (no longer in the lab file) < remove lab/b\n"
           "prune local (no longer in the lab file) < remove lab/b\n");
}

static void changed_machine_is_replaced_under_all_names(void **state) {
    (void)state;
    struct planned p;
    plan_prepare(&p, moved, "lab/a on digest=older elsewhere=local");
    assert_non_null(
        strstr(plan_render(&p, "up"), "remove lab/a from local (its configuration has changed) < remove lab/a\n"));
    assert_non_null(strstr(p.text.data, "create lab/a (its configuration has changed) < image other, network other, "
                                        "remove lab/a from local"));
    plan_release(&p);
}

static void moved_machine_needs_room_on_its_new_host(void **state) {
    (void)state;
    struct planned p;
    struct demand d;
    plan_prepare(&p,
                 "lab: lab\nhosts: { other: { driver: fake } }\nmachines:\n"
                 "  a: { template: tiny, memory: 256MiB, disk: 2GiB }\n",
                 "lab/a absent elsewhere=local");
    plan_render(&p, "up");
    plan_demand(p.plan, 0, NULL, &d);
    assert_int_equal(d.memory, 256ull << 20);
    assert_int_equal(d.disk, 2ull << 30);
    plan_demand(p.plan, 1, NULL, &d);
    assert_int_equal(d.memory, 0);
    plan_release(&p);
}

static void demand_counts_only_what_the_host_must_give(void **state) {
    (void)state;
    struct planned p;
    struct demand d;
    plan_prepare(&p,
                 "lab: lab\nhosts: { local: { driver: fake } }\nmachines:\n"
                 "  kvm1:\n    template: debian-kvm\n    hypervisor: fake\n    memory: 1GiB\n    cpus: 3\n"
                 "    machines:\n      web1: { template: tiny, memory: 256MiB }\n"
                 "  b: { template: tiny, memory: 128MiB, disk: 2GiB }\n"
                 "  c: { template: tiny, memory: 512MiB }\n",
                 "lab/c on");
    plan_render(&p, "up");
    plan_demand(p.plan, 0, NULL, &d);
    assert_int_equal(d.memory, (1024ull + 128) << 20);
    assert_int_equal(d.disk, 2ull << 30);
    assert_int_equal(d.disk_most, 2ull << 30);
    assert_int_equal(d.cpus, 3);
    plan_release(&p);
}

static void demand_counts_disks_as_large_as_their_templates(void **state) {
    (void)state;
    struct planned p;
    struct demand d;
    plan_prepare(&p,
                 "lab: lab\nhosts: { local: { driver: fake } }\ndefaults: { template: tiny }\nmachines:\n"
                 "  new:\n  larger: { disk: 4GiB }\n  smaller: { disk: 1GiB }\n  replaced: { disk: 8GiB }\n  there:\n",
                 "lab/replaced on digest=older\nlab/there on");
    plan_render(&p, "up");
    plan_demand(p.plan, 0, (const uint64_t[]){2ull << 30}, &d);
    assert_int_equal(d.disk, 5ull << 30); /* what a replaced one gives back is not known, so it is not refused */
    assert_int_equal(d.disk_most, (2ull + 4 + 2 + 8) << 30);
    plan_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_made_in_order),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(lost_guest_is_made_again_on_a_verified_hypervisor),
        cmocka_unit_test(guests_of_a_rebooted_hypervisor_are_started),
        cmocka_unit_test(stopped_hypervisor_is_started_and_its_guests_checked),
        cmocka_unit_test(hypervisor_that_could_not_be_asked_is_checked_with_its_machines),
        cmocka_unit_test(changed_machine_is_replaced),
        cmocka_unit_test(nesting_that_was_switched_off_needs_a_power_cycle),
        cmocka_unit_test(machine_that_left_the_spec_is_removed),
        cmocka_unit_test(branch_that_left_the_spec_goes_with_its_root),
        cmocka_unit_test(record_of_a_removed_machine_is_forgotten),
        cmocka_unit_test(machine_that_left_the_spec_is_forgotten_in_a_new_hypervisor),
        cmocka_unit_test(machine_that_left_the_spec_goes_with_the_replaced_hypervisor),
        cmocka_unit_test(interrupted_machine_is_checked),
        cmocka_unit_test(stricter_nesting_is_proved),
        cmocka_unit_test(stricter_readiness_is_checked),
        cmocka_unit_test(incomplete_machine_is_replaced),
        cmocka_unit_test(down_removes_the_outermost_and_prunes),
        cmocka_unit_test(down_removes_what_is_only_recorded),
        cmocka_unit_test(down_of_no_machines_still_prunes),
        cmocka_unit_test(host_that_left_the_spec_is_pruned_after_its_machines),
        cmocka_unit_test(host_that_left_the_spec_without_machines_is_a_change),
        cmocka_unit_test(machine_on_another_host_is_removed_there_before_it_is_made),
        cmocka_unit_test(unrecorded_machine_on_another_host_moves_too),
        cmocka_unit_test(guests_of_a_moved_hypervisor_are_made_anew),
        cmocka_unit_test(machine_that_left_its_old_host_is_only_made),
        cmocka_unit_test(machine_under_two_names_of_its_hypervisor_is_left_alone),
        cmocka_unit_test(machine_on_two_hosts_is_removed_from_one_after_the_other),
        cmocka_unit_test(changed_machine_is_replaced_under_all_names),
        cmocka_unit_test(moved_machine_needs_room_on_its_new_host),
        cmocka_unit_test(demand_counts_only_what_the_host_must_give),
        cmocka_unit_test(demand_counts_disks_as_large_as_their_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
