/* vSphere's typed faults: which error of nestor's each is, whether trying again may help, and what to do.
 *
 * A fault's name goes into error.native as enum vim_fault, so an operation can say which fault means "already so"
 * (PowerOnVM on a running machine: VIM_INVALID_POWER_STATE). Names: VMware's vim25 API reference, "Faults". */
#ifndef DRIVERS_VSPHERE_FAULT_H
#define DRIVERS_VSPHERE_FAULT_H

#include <libxml/tree.h>

#include "nestor/error.h"

/* X(symbol, name, error code, retry, mend or NULL). The rows are complete in fault.c's sense: what is not here is
 * VIM_OTHER, ERR_PROCESS, no retry, with the server's own words. None is ERR_CANCELLED: that is our own user's doing,
 * and what nestor cancels itself ends in the error it was cancelled for. */
#define VIM_FAULTS(X)                                                                                                  \
    X(VIM_NOT_AUTHENTICATED, "NotAuthenticated", ERR_AUTH, true, NULL)                                                 \
    X(VIM_INVALID_LOGIN, "InvalidLogin", ERR_AUTH, false, "check 'username' and the password the lab file points at")  \
    X(VIM_PASSWORD_EXPIRED, "PasswordExpired", ERR_AUTH, false, "change the user's password in vCenter first")         \
    X(VIM_NO_PERMISSION, "NoPermission", ERR_AUTH, false,                                                              \
      "give the user the privileges listed in docs/hosts/vsphere.md")                                                  \
    X(VIM_RESTRICTED_VERSION, "RestrictedVersion", ERR_UNSUPPORTED, false,                                             \
      "this licence makes the API read-only (free ESXi): assign a licence with API write access")                      \
    X(VIM_LICENSES, "NotEnoughLicenses", ERR_UNSUPPORTED, false, "assign a licence to the host")                       \
    X(VIM_LICENSE_EXPIRED, "LicenseExpired", ERR_UNSUPPORTED, false, "assign a licence to the host")                   \
    X(VIM_NOT_SUPPORTED, "NotSupported", ERR_UNSUPPORTED, false, NULL)                                                 \
    X(VIM_NOT_IMPLEMENTED, "NotImplemented", ERR_UNSUPPORTED, false, NULL)                                             \
    X(VIM_METHOD_NOT_FOUND, "MethodNotFound", ERR_UNSUPPORTED, false, NULL)                                            \
    X(VIM_MANAGED_OBJECT_NOT_FOUND, "ManagedObjectNotFound", ERR_NOT_FOUND, false, NULL)                               \
    X(VIM_NOT_FOUND, "NotFound", ERR_NOT_FOUND, false, NULL)                                                           \
    X(VIM_FILE_NOT_FOUND, "FileNotFound", ERR_NOT_FOUND, false, NULL)                                                  \
    X(VIM_DUPLICATE_NAME, "DuplicateName", ERR_EXISTS, false, "something of that name is there already")               \
    X(VIM_ALREADY_EXISTS, "AlreadyExists", ERR_EXISTS, false, NULL)                                                    \
    X(VIM_FILE_ALREADY_EXISTS, "FileAlreadyExists", ERR_EXISTS, false, NULL)                                           \
    X(VIM_INVALID_POWER_STATE, "InvalidPowerState", ERR_CONFLICT, false, NULL)                                         \
    X(VIM_INVALID_STATE, "InvalidState", ERR_CONFLICT, false, NULL)                                                    \
    X(VIM_TOOLS_UNAVAILABLE, "ToolsUnavailable", ERR_UNSUPPORTED, false, "VMware Tools do not run in it")              \
    X(VIM_TASK_IN_PROGRESS, "TaskInProgress", ERR_LOCKED, true, NULL)                                                  \
    X(VIM_CONCURRENT_ACCESS, "ConcurrentAccess", ERR_LOCKED, true, NULL)                                               \
    X(VIM_FILE_LOCKED, "FileLocked", ERR_LOCKED, true, NULL)                                                           \
    X(VIM_RESOURCE_IN_USE, "ResourceInUse", ERR_LOCKED, true, NULL)                                                    \
    X(VIM_METHOD_DISABLED, "MethodDisabled", ERR_LOCKED, true, "a backup or another product may have locked it")       \
    X(VIM_REQUEST_CANCELED, "RequestCanceled", ERR_CONFLICT, false, "somebody cancelled it on the server: try again")  \
    X(VIM_TIMEDOUT, "Timedout", ERR_TIMEOUT, true, NULL)                                                               \
    X(VIM_HOST_NOT_CONNECTED, "HostNotConnected", ERR_UNREACHABLE, true, "the ESXi host is not connected to vCenter")  \
    X(VIM_HOST_COMMUNICATION, "HostCommunication", ERR_UNREACHABLE, true, NULL)                                        \
    X(VIM_HOST_NOT_REACHABLE, "HostNotReachable", ERR_UNREACHABLE, true, NULL)                                         \
    X(VIM_NO_ACTIVE_HOST, "NoActiveHostInCluster", ERR_UNREACHABLE, true, "no host of the cluster is up")              \
    X(VIM_CANNOT_ACCESS_FILE, "CannotAccessFile", ERR_IO, false, NULL)                                                 \
    X(VIM_NO_STORAGE_SPACE, "InsufficientStorageSpace", ERR_DISK_FULL, false, "free space on the datastore")           \
    X(VIM_NO_DISK_SPACE, "NoDiskSpace", ERR_DISK_FULL, false, "free space on the datastore, or use another")           \
    X(VIM_INSUFFICIENT_RESOURCES, "InsufficientResourcesFault", ERR_CAPACITY, false, NULL)                             \
    X(VIM_INSUFFICIENT_MEMORY, "InsufficientMemoryResourcesFault", ERR_CAPACITY, false, NULL)                          \
    X(VIM_INSUFFICIENT_CPU, "InsufficientCpuResourcesFault", ERR_CAPACITY, false, NULL)                                \
    X(VIM_INSUFFICIENT_FAILOVER, "InsufficientFailoverResourcesFault", ERR_CAPACITY, false, NULL)                      \
    X(VIM_NO_COMPATIBLE_HOST, "NoCompatibleHost", ERR_CAPACITY, false, NULL)                                           \
    X(VIM_INVALID_ARGUMENT, "InvalidArgument", ERR_USAGE, false, NULL)                                                 \
    X(VIM_OUT_OF_BOUNDS, "OutOfBounds", ERR_USAGE, false, NULL)                                                        \
    X(VIM_INVALID_REQUEST, "InvalidRequest", ERR_PROTOCOL, false, NULL)                                                \
    X(VIM_INVALID_PROPERTY, "InvalidProperty", ERR_UNSUPPORTED, false, NULL)                                           \
    X(VIM_INVALID_DEVICE_SPEC, "InvalidDeviceSpec", ERR_USAGE, false, NULL)                                            \
    X(VIM_INVALID_DEVICE_BACKING, "InvalidDeviceBacking", ERR_USAGE, false, NULL)                                      \
    X(VIM_DEVICE_BACKING_NOT_SUPPORTED, "DeviceBackingNotSupported", ERR_UNSUPPORTED, false, NULL)                     \
    X(VIM_DISK_NOT_SUPPORTED, "DiskNotSupported", ERR_UNSUPPORTED, false, NULL)                                        \
    X(VIM_DELTA_DISK_FORMAT, "DeltaDiskFormatNotSupported", ERR_UNSUPPORTED, false, NULL)                              \
    X(VIM_INVALID_NAME, "InvalidName", ERR_USAGE, false, NULL)                                                         \
    X(VIM_SYSTEM_ERROR, "SystemError", ERR_PROCESS, false, NULL)                                                       \
    X(VIM_RUNTIME_FAULT, "RuntimeFault", ERR_PROCESS, false, NULL)

/* Far from the errno values and libcurl codes that other errors have as their native number. */
enum vim_fault {
    VIM_NONE,
    VIM_FAULTS_BEGIN = 10000,
#define X(symbol, name, code, retry, mend) symbol,
    VIM_FAULTS(X)
#undef X
        VIM_OTHER
};

/* From the fault's xsi:type, without prefix; VIM_OTHER for a name that is not in the table. */
enum vim_fault vim_fault_find(const char *name);
const char *vim_fault_name(enum vim_fault f); /* static storage */

/* Fills err from a fault as it stands in a <Fault> (its detail's first child) or in a Task's info.error (its <fault>):
 * node is the element that carries the xsi:type; message is the server's own sentence, may be NULL or hostile.
 * Returns -1. */
int vim_fault_error(xmlNode *node, const char *message, const char *subject, struct error *err);

/* Whether err came from that fault; from any fault at all: then the server has answered, and refused. */
static inline bool vim_fault_is(const struct error *err, enum vim_fault f) { return err && err->native == (long)f; }
static inline bool vim_fault_any(const struct error *err) { return err && err->native > VIM_FAULTS_BEGIN; }

#endif
