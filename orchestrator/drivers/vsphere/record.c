/* What a VM says of itself, and whose it is. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

#define MIB ((uint64_t)1 << 20)

void vsphere_record_free(struct vsphere_record *r) {
    free(r->lab_id);
    free(r->path);
    free(r->digest);
    free(r->name);
}

static const char *const record_paths[] = {"name",
                                           "parent",
                                           "summary.config.instanceUuid",
                                           "config.extraConfig",
                                           "config.nestedHVEnabled",
                                           "config.hardware.numCPU",
                                           "config.hardware.memoryMB",
                                           "runtime.powerState",
                                           "runtime.connectionState",
                                           NULL};
const struct vim_set vsphere_record_set = {"VirtualMachine", record_paths};

/* --- whose is it? --- */

static void take_string(char **slot, xmlNode *value) {
    free(*slot);
    *slot = xml_text_new(value);
}

/* The last of a key counts: the simulator keeps them all. */
static void read_extra(xmlNode *options, struct vsphere_record *r) {
    for (xmlNode *o = xml_child(options, "OptionValue"); o; o = xml_next(o, "OptionValue")) {
        xmlNode *key = xml_child(o, "key"), *value = xml_child(o, "value");
        if (xml_is(key, "nestor.lab"))
            take_string(&r->lab_id, value);
        else if (xml_is(key, "nestor.path"))
            take_string(&r->path, value);
        else if (xml_is(key, "nestor.digest"))
            take_string(&r->digest, value);
        else if (xml_is(key, "nestor.base"))
            r->vm.detached = true;
    }
}

static bool is_lab_id(const char *s) {
    return s && strlen(s) == LAB_ID_LEN && strspn(s, "0123456789abcdef") == LAB_ID_LEN;
}

static bool is_path(const char *s) {
    if (!s || !isalnum((unsigned char)s[0]) || strlen(s) > 512)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("-_/", *s))
            return false;
    return true;
}

static void read_vm(const struct vim_object *o, const char *digest, struct vm *ret) {
    xmlNode *power = vim_property(o, "runtime.powerState");
    ret->there = true;
    ret->ref = o->ref;
    ret->power = xml_is(power, "poweredOn") ? POWER_ON : POWER_OFF;
    ret->suspended = xml_is(power, "suspended");
    ret->exposed = xml_flag(vim_property(o, "config.nestedHVEnabled"), false);
    ret->cpus = (uint32_t)xml_number(vim_property(o, "config.hardware.numCPU"), 0);
    ret->memory = (uint64_t)xml_number(vim_property(o, "config.hardware.memoryMB"), 0) * MIB;
    if (digest && strlen(digest) < sizeof ret->digest)
        memcpy(ret->digest, digest, strlen(digest) + 1);
}

char *vsphere_plain_name(char *name) {
    char *at = name;
    for (char *s = name; *s; s++)
        if (*s == '/' || strncasecmp(s, "%2f", 3) == 0)
            at = s + (*s == '/' ? 1 : 3);
    size_t n = strlen(at);
    if (at != name && n > 4 && strcmp(at + n - 4, ".vmx") == 0)
        at[n - 4] = '\0';
    return at;
}

/* One that is being made has no configuration yet. Of those that are there it is missing when the server cannot read
 * it (vSphere API, VirtualMachineConnectionState: inaccessible, invalid, orphaned). */
static void read_state(const struct vim_object *o, struct vsphere_record *r) {
    char state[sizeof r->state] = "";
    if (!vim_property(o, "config.extraConfig") &&
        xml_text(vim_property(o, "runtime.connectionState"), state, sizeof state) && strcmp(state, "connected") != 0)
        memcpy(r->state, state, sizeof state);
    if (r->state[0] && r->name) {
        const char *plain = vsphere_plain_name(r->name);
        memmove(r->name, plain, strlen(plain) + 1);
    }
}

/* A copy somebody made of one of ours has its tag, but neither its UUID, nor its name in its folder. */
enum vsphere_whose vsphere_record_read(const struct vim_object *o, struct vsphere_record *r) {
    char derived[37];
    read_extra(vim_property(o, "config.extraConfig"), r);
    r->name = xml_text_new(vim_property(o, "name"));
    read_state(o, r);
    xml_text(vim_property(o, "summary.config.instanceUuid"), r->uuid, sizeof r->uuid);
    xml_ref(vim_property(o, "parent"), &r->parent);
    if (!is_lab_id(r->lab_id) || !is_path(r->path) || !r->name)
        return VSPHERE_NOBODYS;
    read_vm(o, r->digest, &r->vm);
    cleanup_free char *native = machine_native_name(r->lab_id, r->path);
    machine_uuid(r->lab_id, r->path, derived);
    if (strcasecmp(r->uuid, derived) == 0)
        return VSPHERE_OURS;
    return strcmp(r->name, native) == 0 ? VSPHERE_OURS_BY_NAME : VSPHERE_NOBODYS;
}

/* --- at a glance --- */

/* "quickstart.kvm1-1a2b3c4d" */
bool vsphere_looks_native(const char *name) {
    size_t n = strlen(name);
    return n > 9 && name[n - 9] == '-' && strspn(name + n - 8, "0123456789abcdef") == 8;
}

/* RFC 9562 version 8, as ours are: no VMware product makes those. */
bool vsphere_looks_derived(const char *uuid) { return strlen(uuid) == 36 && uuid[14] == '8'; }
