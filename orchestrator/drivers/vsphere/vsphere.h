/* The vsphere driver: a vCenter, a bare ESXi, and an ESXi that runs inside a machine. docs/hosts/vsphere.md tells what
 * it makes there and how to undo it by hand. Files of this folder:
 *
 *   soap.c fault.c            the wire: requests, replies, typed faults
 *   client.c read.c watch.c task.c   a session: calls, shared bulk reads, shared waiting (client.h)
 *   config.c                  what the lab file says of a host -> struct config
 *   places.c                  names and inventory paths -> where machines are put
 *   machines.c                what is there of ours: tag -> reference, one bulk read per handle
 *   template.c clone.c child_disk.c   what is cloned, and how: vCenter's CloneVM, a bare ESXi's child disks
 *   expose.c power.c address.c remove.c   one operation each
 *   making.c leftovers.c      what was cut: machines a killed nestor still has made, folders of half a removal
 *   network.c check.c         port groups; can it nest, is there room
 *   vsphere.c                 the table, open and close
 */
#ifndef DRIVERS_VSPHERE_VSPHERE_H
#define DRIVERS_VSPHERE_VSPHERE_H

#include "nestor/driver.h"

extern const struct driver vsphere_driver;

#endif
