/* The network of the machines: which card goes where, port groups of the lab's own, and which are unfit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vsphere.h"
#include "vsphere_fixture.h"

static const struct driver *const driver = &vsphere_driver;

/* What the machine's card is on, as govc tells it. */
static char *network_of_new_machine(struct vsphere_fixture *f) {
    struct vsphere_machine m;
    MUST(f, driver->ensure_network(f->hv, in_time(f), &f->err));
    MUST(f, driver->create(f->hv, &vsphere_machine_init(&m, "vm", "gh-template")->spec, in_time(f), &f->err));
    char *text = vcsim_run(&f->vcsim, "govc device.info -json -vm box.vm-01234567 'ethernet-*' | jq -c '.Devices[]'");
    MUST(f, driver->remove(f->hv, &m.spec.tag, in_time(f), &f->err));
    return text;
}

static void assert_says(const char *text, const char *words) {
    if (!strstr(text, words))
        fail_msg("it does not say '%s': %s", words, text);
}

static void a_card_goes_to_the_standard_network_that_is_named(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    cleanup_free char *card = network_of_new_machine(f);
    assert_says(card, "\"DeviceName\":\"VM Network\"");
    assert_says(card, "\"AddressType\":\"generated\"");
}

static void a_card_goes_to_the_distributed_port_group_that_is_named(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.network=/DC0/network/DC0_DVPG0");
    cleanup_free char *card = network_of_new_machine(f);
    assert_says(card, "\"PortgroupKey\":\"dvportgroup-");
    assert_says(card, "\"SwitchUuid\":\"");
}

static void without_a_network_it_stays_where_the_template_has_it(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    cleanup_free char *card = network_of_new_machine(f);
    assert_says(card, "\"PortgroupKey\":\"dvportgroup-");
    json_t *clones = vcsim_calls(&f->proxy, "CloneVM_Task");
    cleanup_free char *last = json_dumps(json_array_get(clones, json_array_size(clones) - 1), 0);
    assert_null(strstr(last, "deviceChange"));
    json_decref(clones);
}

/* --- a network of the lab's own --- */

static void a_port_group_is_made_on_a_standard_switch_and_goes_again(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=vSwitch0", "inventory.vlan=42");
    for (int twice = 0; twice < 2; twice++) {
        cleanup_free char *card = network_of_new_machine(f);
        assert_says(card, "\"DeviceName\":\"nestor-box-01234567\"");
    }
    cleanup_free char *group =
        vcsim_run(&f->vcsim, "govc host.portgroup.info -json -host DC0_C0_H0 | jq -c '.Portgroup[].Spec'");
    assert_says(group, "\"Name\":\"nestor-box-01234567\",\"VlanId\":42,\"VswitchName\":\"vSwitch0\"");
    assert_says(group, "\"AllowPromiscuous\":true,\"MacChanges\":true,\"ForgedTransmits\":true");
    MUST(f, driver->prune(f->hv, in_time(f), &f->err));
    MUST(f, driver->prune(f->hv, in_time(f), &f->err));
    cleanup_free char *left = vcsim_run(&f->vcsim, "govc find / -type n; for n in 0 1 2; do\n"
                                                   "govc host.portgroup.info -host DC0_C0_H$n; done");
    assert_null(strstr(left, "nestor-box"));
    assert_says(left, "VM Network");
}

static void a_bare_esxi_gets_one_too(void **state) {
    (void)state;
    struct vsphere_fixture f;
    struct vsphere_machine m;
    vsphere_fixture_start(&f, true, "vcsim_template gh-template with-disk", NULL);
    VSPHERE_OPEN(&f, "inventory.switch=vSwitch0");
    MUST(&f, driver->ensure_network(f.hv, in_time(&f), &f.err));
    MUST(&f, driver->create(f.hv, &vsphere_machine_init(&m, "vm", "gh-template")->spec, in_time(&f), &f.err));
    cleanup_free char *card = vcsim_run(&f.vcsim, "govc device.info -json -vm box.vm-01234567 'ethernet-*'");
    assert_says(card, "nestor-box-01234567");
    MUST(&f, driver->remove(f.hv, &m.spec.tag, in_time(&f), &f.err));
    MUST(&f, driver->prune(f.hv, in_time(&f), &f.err));
    cleanup_free char *left = vcsim_run(&f.vcsim, "govc find / -type n; govc host.portgroup.info");
    assert_null(strstr(left, "nestor-box"));
    vsphere_fixture_stop(&f);
}

static void a_switch_that_is_not_there_is_told(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=vSwitch7");
    MUST_FAIL(f, driver->ensure_network(f->hv, in_time(f), &f->err), ERR_NOT_FOUND, "",
              "there is no switch 'vSwitch7' on every host");
}

static void a_port_group_on_a_distributed_switch_learns_macs_from_6_6_on(void **state) {
    struct vsphere_fixture *f = *state;
    static const struct {
        const char *version, *policy;
    } switches[] = {{"6.5.0", "securityPolicy"}, {"6.6.0", "macLearningPolicy"}, {"8.0.1", "macLearningPolicy"}};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        cleanup_free char *line = xasprintf("set DistributedVirtualSwitch * summary.productInfo.version %s\n"
                                            "set VmwareDistributedVirtualSwitch * summary.productInfo.version %s\n",
                                            switches[i].version, switches[i].version);
        vcsim_control(&f->proxy, line);
        VSPHERE_OPEN(f, "inventory.switch=DVS0");
        cleanup_free char *card = network_of_new_machine(f);
        assert_says(card, "\"PortgroupKey\":\"dvportgroup-");
        json_t *calls = vcsim_calls(&f->proxy, "AddDVPortgroup_Task");
        cleanup_free char *call = json_dumps(json_array_get(calls, json_array_size(calls) - 1), 0);
        json_decref(calls);
        assert_says(call, switches[i].policy);
        MUST(f, driver->prune(f->hv, in_time(f), &f->err));
        cleanup_free char *left = vcsim_run(&f->vcsim, "govc find / -type g");
        assert_null(strstr(left, "nestor-box"));
    }
    vcsim_control(&f->proxy, "");
}

/* --- what is unfit --- */

struct findings {
    struct buffer text; /* "kind subject: text (mend)" per line */
};

static void take_finding(void *data, const struct finding *finding) {
    static const char *const kinds[] = {
        [FINDING_FINE] = "fine", [FINDING_WARNING] = "warning", [FINDING_UNFIT] = "unfit"};
    struct findings *f = data;
    assert_true(finding->kind == FINDING_FINE ? !finding->mend[0] : finding->mend[0]);
    buffer_printf(&f->text, "%s %s: %s (%s)\n", kinds[finding->kind], finding->subject, finding->text, finding->mend);
}

static void assert_finds(struct vsphere_fixture *f, const char *const *words) {
    struct findings findings = {0};
    MUST(f, driver->examine(f->hv, take_finding, &findings, in_time(f), &f->err));
    for (; *words; words++)
        assert_says(buffer_str(&findings.text), *words);
    buffer_free(&findings.text);
}
#define ASSERT_FINDS(f, ...) assert_finds(f, (const char *const[]){__VA_ARGS__, NULL})

static void a_standard_port_group_is_judged_by_its_policy(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=true forged=true mac=true\n");
    ASSERT_FINDS(f, "fine port group VM Network: it lets nested machines through");
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=false forged=true mac=true\n");
    ASSERT_FINDS(f, "warning port group VM Network: it rejects promiscuous mode:",
                 "(accept promiscuous mode in its security settings, ");
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=true forged=false mac=true\n");
    ASSERT_FINDS(f, "warning port group VM Network: it rejects forged transmits:");
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=true forged=true mac=false\n");
    ASSERT_FINDS(f, "warning port group VM Network: it rejects MAC changes:");
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=false forged=false\n");
    ASSERT_FINDS(f, "warning port group VM Network: it rejects forged transmits and promiscuous mode:");
    vcsim_control(&f->proxy, "");
}

static void assert_does_not_find(struct vsphere_fixture *f, const char *words) {
    struct findings findings = {0};
    MUST(f, driver->examine(f->hv, take_finding, &findings, in_time(f), &f->err));
    if (strstr(buffer_str(&findings.text), words))
        fail_msg("it says '%s': %s", words, buffer_str(&findings.text));
    buffer_free(&findings.text);
}

#define SETTING(inner)                                                                                                 \
    "set DistributedVirtualPortgroup DC0_DVPG0 config.defaultPortConfig '<val "                                        \
    "xsi:type=\"VMwareDVSPortSetting\">" inner "</val>'\n"
#define OLD(promiscuous, forged)                                                                                       \
    "<securityPolicy><inherited>false</inherited><allowPromiscuous><inherited>false</inherited><value>" promiscuous    \
    "</value></allowPromiscuous><forgedTransmits><inherited>false</inherited><value>" forged                           \
    "</value></forgedTransmits></securityPolicy>"
#define NEWER(promiscuous, forged, learning)                                                                           \
    "<macManagementPolicy><inherited>false</inherited><allowPromiscuous>" promiscuous                                  \
    "</allowPromiscuous><forgedTransmits>" forged "</forgedTransmits><macLearningPolicy><inherited>false</inherited>"  \
    "<enabled>" learning "</enabled></macLearningPolicy></macManagementPolicy>"

static void a_distributed_port_group_may_learn_macs_instead(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.network=DC0_DVPG0");
    vcsim_control(&f->proxy, SETTING(OLD("false", "false") NEWER("false", "true", "true")));
    ASSERT_FINDS(f, "fine port group DC0_DVPG0: it lets nested machines through by MAC learning");
    vcsim_control(&f->proxy, SETTING(OLD("true", "true")));
    ASSERT_FINDS(f, "fine port group DC0_DVPG0: it lets nested machines through");
    vcsim_control(&f->proxy, SETTING(OLD("false", "true")));
    ASSERT_FINDS(f, "warning port group DC0_DVPG0: it rejects promiscuous mode:", "switch on MAC learning");
    vcsim_control(&f->proxy, SETTING(NEWER("false", "false", "true")));
    ASSERT_FINDS(f, "warning port group DC0_DVPG0: it rejects forged transmits:");
    vcsim_control(&f->proxy, SETTING(""));
    ASSERT_FINDS(f, "warning port group DC0_DVPG0: the server does not tell whether it accepts");
    vcsim_control(&f->proxy, "");
}

static const char *const templates[] = {"gh-template", "/DC0/vm/other-template"};

static void tell_templates(struct vsphere_fixture *f, size_t n) {
    f->templates = templates;
    f->ntemplates = f->nnesting = n;
}

static void without_a_network_that_of_the_template_is_judged(void **state) {
    struct vsphere_fixture *f = *state;
    tell_templates(f, 1);
    VSPHERE_OPEN(f);
    vcsim_control(&f->proxy, SETTING(OLD("true", "false")));
    ASSERT_FINDS(f, "warning port group DC0_DVPG0: it rejects forged transmits:",
                 "(those behind NAT do); template gh-template is on it (",
                 "accept forged transmits, and switch on MAC learning");
    vcsim_control(&f->proxy, SETTING(OLD("true", "true")));
    ASSERT_FINDS(f, "fine port group DC0_DVPG0: it lets nested machines through; template gh-template is on it");
    vcsim_control(&f->proxy, "set VirtualMachine gh-template network absent\n");
    VSPHERE_OPEN(f);
    ASSERT_FINDS(f, "warning template gh-template: the server does not show " VCSIM_USER " the port group its network");
    vcsim_control(&f->proxy, "");
    free(vcsim_run(&f->vcsim, "govc vm.network.change -vm gh-template -net 'VM Network' ethernet-0"));
    VSPHERE_OPEN(f);
    vcsim_control(&f->proxy, "portgroup \"VM Network\" promiscuous=false forged=true mac=true\n");
    ASSERT_FINDS(f, "warning port group VM Network: it rejects promiscuous mode:",
                 "(those behind NAT do); template gh-template is on it (",
                 "accept promiscuous mode in its security settings, or name a switch (inventory.switch)");
    VSPHERE_OPEN(f, "inventory.network=DC0_DVPG0");
    assert_does_not_find(f, "template");
    f->nnesting = 0; /* nothing nests on it */
    VSPHERE_OPEN(f, "inventory.network=VM Network");
    assert_does_not_find(f, "port group");
    VSPHERE_OPEN(f);
    assert_does_not_find(f, "port group");
    f->nnesting = 1;
    VSPHERE_OPEN(f, "inventory.switch=vSwitch0");
    assert_does_not_find(f, "template");
    vcsim_control(&f->proxy, "");
    free(vcsim_run(&f->vcsim, "govc vm.network.change -vm gh-template -net DC0_DVPG0 ethernet-0"));
    tell_templates(f, 0);
    VSPHERE_OPEN(f);
    assert_does_not_find(f, "port group");
}

static void what_templates_share_is_looked_at_once(void **state) {
    struct vsphere_fixture *f = *state;
    free(vcsim_run(&f->vcsim, "govc vm.clone -vm gh-template -on=false other-template"));
    tell_templates(f, 2);
    VSPHERE_OPEN(f);
    vcsim_control(&f->proxy, SETTING(OLD("true", "true")));
    ASSERT_FINDS(f, "fine port group DC0_DVPG0: it lets nested machines through; template gh-template is on it");
    assert_does_not_find(f, "other-template");
    size_t before = vcsim_count_calls(&f->proxy, NULL);
    ASSERT_FINDS(f, "fine port group DC0_DVPG0: it lets nested machines through; template gh-template is on it");
    assert_true(vcsim_count_calls(&f->proxy, NULL) - before <= 3); /* licence and hosts are looked at besides */
    vcsim_control(&f->proxy, "");
    free(vcsim_run(&f->vcsim, "govc vm.destroy other-template"));
    VSPHERE_OPEN(f);
    ASSERT_FINDS(
        f, "unfit templates: there is no template '/DC0/vm/other-template' (there are: ", "fine host DC0_C0_H0: ");
    tell_templates(f, 0);
}

static void the_switch_of_a_network_to_be_made_is_looked_at(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f, "inventory.switch=vSwitch0");
    ASSERT_FINDS(f, "fine switch vSwitch0: nestor makes a port group for the lab on it");
    VSPHERE_OPEN(f, "inventory.switch=DVS0");
    ASSERT_FINDS(f, "fine switch DVS0: nestor makes a port group for the lab on it");
    VSPHERE_OPEN(f, "inventory.switch=vSwitch7");
    ASSERT_FINDS(f, "unfit switch vSwitch7: there is no distributed switch 'vSwitch7', and no host has a standard one");
    VSPHERE_OPEN(f, "inventory.switch=DVS0", "inventory.vlan=4095");
    struct findings told = {0};
    MUST_FAIL(f, driver->examine(f->hv, take_finding, &told, in_time(f), &f->err), ERR_SPEC,
              "inventory.vlan 4095 is for standard switches", "a VLAN from 1 to 4094");
    assert_says(buffer_str(&told.text), "fine host DC0_C0_H0: "); /* what could be looked at is told all the same */
    buffer_free(&told.text);
}

static void hosts_and_their_generation_are_told(void **state) {
    struct vsphere_fixture *f = *state;
    VSPHERE_OPEN(f);
    ASSERT_FINDS(f, "fine host DC0_C0_H0: ESXi 6.5.0: virtualization is exposed per machine, vhv.allow is not needed");
    vcsim_control(&f->proxy, "set HostSystem DC0_C0_H0 config.product.version 5.0.0\n"
                             "set HostSystem DC0_C0_H1 capability.nestedHVSupported false\n"
                             "set HostSystem DC0_C0_H2 runtime.connectionState disconnected\n");
    ASSERT_FINDS(f, "warning host DC0_C0_H0: ESXi 5.0.0 exposes virtualization only with vhv.allow", "nestor prepare",
                 "warning host DC0_C0_H1: it does not support nested virtualization",
                 "warning host DC0_C0_H2: it is not connected");
    vcsim_control(&f->proxy, "");
}

static void preparing_hosts_of_today_does_nothing_and_says_so(void **state) {
    struct vsphere_fixture *f = *state;
    cleanup_buffer struct buffer report = {0};
    VSPHERE_OPEN(f);
    MUST(f, driver->prepare(f->hv, false, &report, in_time(f), &f->err));
    assert_says(buffer_str(&report), "DC0_C0_H0: ESXi 6.5.0 needs no preparation: from 5.1 on");
    assert_says(buffer_str(&report), "DC0_C0_H2: ESXi 6.5.0 needs no preparation");
    vcsim_control(&f->proxy, "set HostSystem DC0_C0_H0 config.product.version 5.0.0\n");
    MUST_FAIL(f, driver->prepare(f->hv, false, &report, in_time(f), &f->err), ERR_SPEC, "ssh.host-key is not given",
              "ssh-keyscan");
    vcsim_control(&f->proxy, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_card_goes_to_the_standard_network_that_is_named),
        cmocka_unit_test(a_card_goes_to_the_distributed_port_group_that_is_named),
        cmocka_unit_test(without_a_network_it_stays_where_the_template_has_it),
        cmocka_unit_test(a_port_group_is_made_on_a_standard_switch_and_goes_again),
        cmocka_unit_test(a_bare_esxi_gets_one_too),
        cmocka_unit_test(a_switch_that_is_not_there_is_told),
        cmocka_unit_test(a_port_group_on_a_distributed_switch_learns_macs_from_6_6_on),
        cmocka_unit_test(a_standard_port_group_is_judged_by_its_policy),
        cmocka_unit_test(a_distributed_port_group_may_learn_macs_instead),
        cmocka_unit_test(without_a_network_that_of_the_template_is_judged),
        cmocka_unit_test(what_templates_share_is_looked_at_once),
        cmocka_unit_test(the_switch_of_a_network_to_be_made_is_looked_at),
        cmocka_unit_test(hosts_and_their_generation_are_told),
        cmocka_unit_test(preparing_hosts_of_today_does_nothing_and_says_so),
    };
    return cmocka_run_group_tests_name("vsphere network", tests, vsphere_fixture_vcenter, vsphere_fixture_end);
}
