#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vsphere_priv.h"

static const char *const cards[] = {"VirtualVmxnet3",
                                    "VirtualE1000e",
                                    "VirtualE1000",
                                    "VirtualVmxnet3Vrdma",
                                    "VirtualSriovEthernetCard",
                                    "VirtualVmxnet2",
                                    "VirtualVmxnet",
                                    "VirtualPCNet32",
                                    NULL};
static const char *const controllers[] = {"ParaVirtualSCSIController",
                                          "VirtualLsiLogicSASController",
                                          "VirtualLsiLogicController",
                                          "VirtualBusLogicController",
                                          "VirtualAHCIController",
                                          "VirtualNVMEController",
                                          NULL};

/* The name in the table, not the server's text: it goes into requests. */
static const char *known_type(xmlNode *device, const char *const *types) {
    while (device && *types && !xml_type_is(device, *types))
        types++;
    return device ? *types : NULL;
}

const char *vsphere_card_type(xmlNode *device) { return known_type(device, cards); }

const char *vsphere_controller_type(xmlNode *device) { return known_type(device, controllers); }

bool vsphere_is_disk(xmlNode *device) { return xml_type_is(device, "VirtualDisk"); }

xmlNode *vsphere_device_first(const struct vim_object *o) {
    return xml_child(vim_property(o, "config.hardware.device"), "VirtualDevice");
}

xmlNode *vsphere_device_next(xmlNode *device) { return xml_next(device, "VirtualDevice"); }

/* Servers before 5.5 know no capacityInBytes. */
int64_t vsphere_disk_size(xmlNode *device) {
    int64_t bytes = xml_number(xml_child(device, "capacityInBytes"), 0);
    int64_t kib = xml_number(xml_child(device, "capacityInKB"), 0);
    if (bytes > 0)
        return bytes;
    return kib > 0 && kib < INT64_MAX / 1024 ? kib * 1024 : 0;
}

char *vsphere_disk_file(xmlNode *device) {
    xmlNode *backing = xml_child(device, "backing");
    if (!backing || !xml_type_is(backing, "VirtualDiskFlatVer2BackingInfo"))
        return NULL;
    return xml_text_new(xml_child(backing, "fileName"));
}

int vsphere_hardware_version(xmlNode *version) {
    char text[16] = "";
    if (!xml_text(version, text, sizeof text) || strncmp(text, "vmx-", 4) != 0)
        return 0;
    return atoi(text + 4);
}
