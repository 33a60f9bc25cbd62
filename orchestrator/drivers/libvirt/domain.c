/* Domain XML (libvirt.org/formatdomain.html). Written and read as a tree, never as text. */
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/libvirt/libvirt.h"

#define NAMESPACE "urn:nestor:machine:1"
#define X(s) ((const xmlChar *)(s))

static xmlNode *add(xmlNode *parent, const char *name) { return xmlNewChild(parent, NULL, X(name), NULL); }

static xmlNode *add_text(xmlNode *parent, const char *name, const char *text) {
    return xmlNewTextChild(parent, NULL, X(name), X(text));
}

static xmlNode *set(xmlNode *node, const char *name, const char *value) {
    xmlNewProp(node, X(name), X(value));
    return node;
}

static void add_number(xmlNode *parent, const char *name, const char *unit, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    xmlNode *n = add_text(parent, name, text);
    if (unit)
        set(n, "unit", unit);
}

/* What a machine sees of the CPU. With KVM: the CPU below, minus the nesting flags unless they are to be exposed.
 * Without: everything the emulator can do; SVM with nested paging is what TCG emulates (it has no VMX). */
static void add_cpu(const struct hypervisor *hv, xmlNode *domain, bool exposed) {
    xmlNode *cpu = add(domain, "cpu");
    set(cpu, "mode", hv->accelerated ? "host-passthrough" : "maximum");
    if (hv->accelerated && exposed)
        return;
    const char *policy = exposed ? "require" : "disable";
    if (!hv->accelerated) /* as drivers/qemu/launch.c: five-level paging without SVM breaks Linux under TCG */
        set(set(add(cpu, "feature"), "policy", "disable"), "name", "la57");
    set(set(add(cpu, "feature"), "policy", policy), "name", "svm");
    if (exposed)
        set(set(add(cpu, "feature"), "policy", policy), "name", "npt");
    else
        set(set(add(cpu, "feature"), "policy", policy), "name", "vmx");
}

static void add_disk(xmlNode *devices, const char *file, const char *format, const char *target, bool readonly) {
    xmlNode *disk = set(set(add(devices, "disk"), "type", "file"), "device", "disk");
    set(set(add(disk, "driver"), "name", "qemu"), "type", format);
    set(add(disk, "source"), "file", file);
    set(set(add(disk, "target"), "dev", target), "bus", "virtio");
    if (readonly)
        add(disk, "readonly");
}

static void add_os(const struct hypervisor *hv, xmlNode *domain, const struct image *image) {
    xmlNode *os = add(domain, "os");
    set(set(add_text(os, "type", "hvm"), "arch", "x86_64"), "machine", "pc");
    if (image->boot != BOOT_KERNEL) {
        set(add(os, "boot"), "dev", "hd");
        return;
    }
    cleanup_free char *kernel = xasprintf("%s/base/%s.kernel", hv->directory, image->sha256);
    add_text(os, "kernel", kernel);
    if (image->initrd) {
        cleanup_free char *initrd = xasprintf("%s/base/%s.initrd", hv->directory, image->sha256);
        add_text(os, "initrd", initrd);
    }
    if (image->cmdline)
        add_text(os, "cmdline", image->cmdline);
}

static void add_devices(const struct hypervisor *hv, xmlNode *domain, const struct machine_spec *spec) {
    cleanup_free char *disk = xasprintf("%s/%s/disk.qcow2", hv->directory, spec->name);
    cleanup_free char *seed = xasprintf("%s/%s/seed.img", hv->directory, spec->name);
    cleanup_free char *console = xasprintf("%s/%s/console.log", hv->directory, spec->name);
    xmlNode *devices = add(domain, "devices");
    add_disk(devices, disk, "qcow2", "vda", false);
    add_disk(devices, seed, "raw", "vdb", true);
    xmlNode *nic = set(add(devices, "interface"), "type", "network");
    set(add(nic, "mac"), "address", spec->mac);
    set(add(nic, "source"), "network", hv->network);
    set(add(nic, "model"), "type", "virtio");
    xmlNode *serial = set(add(devices, "serial"), "type", "file");
    set(add(serial, "source"), "path", console);
    set(add(serial, "target"), "port", "0");
    xmlNode *rng = set(add(devices, "rng"), "model", "virtio");
    set(add_text(rng, "backend", "/dev/urandom"), "model", "random");
    set(add(devices, "memballoon"), "model", "none");
}

static void add_tag(xmlNode *domain, const struct machine_spec *spec) {
    xmlNode *machine = add(add(domain, "metadata"), "machine");
    xmlSetNs(machine, xmlNewNs(machine, X(NAMESPACE), X("nestor")));
    set(machine, "lab", spec->tag.lab_id);
    set(machine, "path", spec->tag.path);
    set(machine, "digest", spec->digest);
}

static char *dump(xmlDoc *doc) {
    xmlChar *text = NULL;
    int len = 0;
    xmlDocDumpMemory(doc, &text, &len);
    char *copy = xstrdup(text ? (char *)text : "");
    xmlFree(text);
    return copy;
}

char *domain_xml(const struct hypervisor *hv, const struct machine_spec *spec) {
    xmlDoc *doc = xmlNewDoc(X("1.0"));
    xmlNode *domain = xmlNewNode(NULL, X("domain"));
    xmlDocSetRootElement(doc, domain);
    set(domain, "type", hv->accelerated ? "kvm" : "qemu");
    add_text(domain, "name", spec->name);
    add_text(domain, "uuid", spec->uuid);
    add_tag(domain, spec);
    add_number(domain, "memory", "bytes", spec->memory);
    add_number(domain, "vcpu", NULL, spec->cpus);
    add_os(hv, domain, spec->image);
    /* Without ACPI a Linux guest boots slowly and ignores the power button (measured, libvirt 9.0). */
    xmlNode *features = add(domain, "features");
    add(features, "acpi");
    add(features, "apic");
    add_cpu(hv, domain, spec->expose);
    set(add(domain, "clock"), "offset", "utc");
    add_text(domain, "on_poweroff", "destroy");
    add_text(domain, "on_reboot", "restart");
    add_text(domain, "on_crash", "destroy");
    add_devices(hv, domain, spec);
    char *text = dump(doc);
    xmlFreeDoc(doc);
    return text;
}

/* --- reading --- */

static xmlNode *child(xmlNode *parent, const char *name) {
    for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, X(name)))
            return n;
    return NULL;
}

static const char *prop(struct arena *arena, xmlNode *node, const char *name) {
    xmlChar *value = node ? xmlGetProp(node, X(name)) : NULL;
    const char *copy = arena_strdup(arena, value ? (char *)value : "");
    xmlFree(value);
    return copy;
}

static const char *content(struct arena *arena, xmlNode *node) {
    xmlChar *value = node ? xmlNodeGetContent(node) : NULL;
    const char *copy = arena_strdup(arena, value ? (char *)value : "");
    xmlFree(value);
    return copy;
}

/* No network, no entities: the text comes from a machine we do not trust. */
static xmlDoc *parse(const char *xml, size_t len, struct error *err) {
    xmlDoc *doc = len < (4u << 20) ? xmlReadMemory(xml, (int)len, NULL, "UTF-8",
                                                   XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)
                                   : NULL;
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (root && xmlStrEqual(root->name, X("domain")) && !doc->intSubset)
        return doc;
    xmlFreeDoc(doc);
    error_set(err, ERR_PROTOCOL, NULL, "virsh gave something that is not a domain description");
    return NULL;
}

/* Nesting is off when a nesting flag is disabled or a lesser CPU model is used. */
static bool reads_exposed(struct arena *arena, xmlNode *domain) {
    xmlNode *cpu = child(domain, "cpu");
    const char *mode = prop(arena, cpu, "mode");
    bool on = strcmp(mode, "host-passthrough") == 0;
    for (xmlNode *f = cpu ? cpu->children : NULL; f; f = f->next) {
        if (f->type != XML_ELEMENT_NODE || !xmlStrEqual(f->name, X("feature")))
            continue;
        const char *name = prop(arena, f, "name"), *policy = prop(arena, f, "policy");
        if (strcmp(name, "svm") == 0 || strcmp(name, "vmx") == 0)
            on = strcmp(policy, "require") == 0 || strcmp(policy, "force") == 0;
    }
    return on;
}

int domain_parse(const char *xml, size_t len, struct arena *arena, struct domain_info *ret, struct error *err) {
    xmlDoc *doc = parse(xml, len, err);
    if (!doc)
        return -1;
    xmlNode *domain = xmlDocGetRootElement(doc);
    xmlNode *machine = child(child(domain, "metadata"), "machine");
    bool ours = machine && machine->ns && xmlStrEqual(machine->ns->href, X(NAMESPACE));
    if (ours)
        *ret = (struct domain_info){
            .name = content(arena, child(domain, "name")),
            .lab_id = prop(arena, machine, "lab"),
            .path = prop(arena, machine, "path"),
            .digest = prop(arena, machine, "digest"),
            .running = xmlHasProp(domain, X("id")) != NULL, /* only an active domain has an id */
            .exposed = reads_exposed(arena, domain),
        };
    xmlFreeDoc(doc);
    return ours ? 0 : error_set(err, ERR_PROTOCOL, NULL, "the domain does not carry nestor's tag");
}

int domain_set_exposed(const struct hypervisor *hv, const char *xml, size_t len, bool on, char **ret,
                       struct error *err) {
    xmlDoc *doc = parse(xml, len, err);
    if (!doc)
        return -1;
    xmlNode *domain = xmlDocGetRootElement(doc), *old;
    while ((old = child(domain, "cpu"))) { /* libvirt writes one; of two, the wrong one would be read afterwards */
        xmlUnlinkNode(old);
        xmlFreeNode(old);
    }
    add_cpu(hv, domain, on);
    *ret = dump(doc);
    xmlFreeDoc(doc);
    return 0;
}
