"""What vcsim accepts and a real server refuses. Each item can be switched off (--accept ITEM).

    esx                a bare ESXi (--esx) has no clones, templates and folders: "The operation is not supported on the
                       object" (vmware/govmomi#1469, vmware/govmomi#673)
    no-snapshot        a linked clone needs a snapshot: InvalidArgument spec.snapshot (vmware/pyvmomi#362)
    template-snapshot  a template cannot be snapshotted (vmware/pyvmomi-community-samples#555)
    nested-running     nestedHVEnabled is changed while powered off only
    destroy-running    a machine that runs is not destroyed
    duplicate          no two of a name in a folder
    controller         a device that is added names a controller the machine has, or one that the same call adds: keys of
                       another call mean nothing (vSphere API, VirtualDevice.key: "the server may assign another")
    cancel-ended       a task that has ended is not cancelled
    session            nothing is told to who has not logged in
"""
import threading

import soap
import tasks

ITEMS = (
    "esx", "no-snapshot", "template-snapshot", "nested-running", "destroy-running", "duplicate", "controller",
    "cancel-ended", "session",
)

NOT_ON_ESX = (
    "CloneVM_Task", "InstantClone_Task", "MarkAsTemplate", "MarkAsVirtualMachine", "CreateFolder", "CreateDatacenter",
    "CreateClusterEx", "CreateDVS_Task", "MoveIntoFolder_Task", "MigrateVM_Task", "RelocateVM_Task",
)
BASE_CONTROLLERS = {"100", "200", "201", "300", "400"}  # what every machine has
OPEN_TO_ALL = ("Login", "LoginByToken", "LoginExtensionByCertificate", "RetrieveServiceContent", "CloneSession")


class Strict:
    def __init__(self, inventory, known_tasks, esx, accepted):
        self.inventory, self.tasks, self.esx = inventory, known_tasks, esx
        self.on = set(ITEMS) - set(accepted)
        self.lock = threading.Lock()
        self.names = set()  # (folder, name) being made just now

    def refusal(self, call, known_session):
        """(status, body) if the real server would refuse the call, else None."""
        request = call.request
        if "session" in self.on and not known_session and request.method not in OPEN_TO_ALL:
            if request.this[0] != "ServiceInstance" and not self._about_service(request):
                return "500", soap.fault("NotAuthenticated")
        if self.esx and "esx" in self.on and request.method in NOT_ON_ESX:
            return "500", soap.fault("NotSupported")
        check = self.CHECKS.get(request.method)
        fault = check(self, request) if check and known_session else None
        if not fault:
            return None
        if not request.method.endswith("_Task"):
            return "500", soap.fault(*fault)
        return "200", self.tasks.begin(request, call.message.body, tasks.Plan(), fault)[1]

    @staticmethod
    def _about_service(request):
        """Reads of the service instance are for everybody."""
        objects = [soap.ref(soap.child(o, "obj")) for o in request.params.iter() if soap.tag(o) == "objectSet"]
        return bool(objects) and all(o and o[0] == "ServiceInstance" for o in objects)

    def _clone(self, request):
        spec = soap.child(request.params, "spec")
        linked = soap.text(spec, "location", "diskMoveType") == "createNewChildDiskBacking"
        if "no-snapshot" in self.on and linked and not soap.ref(soap.child(spec, "snapshot")):
            message = "A specified parameter was not correct: spec.snapshot"
            return "InvalidArgument", message, "<invalidProperty>spec.snapshot</invalidProperty>"
        folder = soap.ref(soap.child(request.params, "folder"))
        return self._duplicate(folder, soap.text(request.params, "name"))

    def _create(self, request):
        return self._controllers(soap.child(request.params, "config"), lambda: BASE_CONTROLLERS) or self._duplicate(
            request.this, soap.text(request.params, "config", "name"))

    def _controllers(self, spec, there):
        """there(): keys of the devices the machine has."""
        if "controller" not in self.on:
            return None
        changes = soap.children(spec, "deviceChange")
        added = {soap.text(c, "device", "key") for c in changes if soap.text(c, "operation") == "add"}
        for i, change in enumerate(changes):
            key = soap.text(change, "device", "controllerKey")
            if soap.text(change, "operation") == "add" and key and key not in added and key not in there():
                detail = f"<property>virtualDeviceSpec.device.controllerKey</property><deviceIndex>{i}</deviceIndex>"
                return "InvalidDeviceSpec", f"Invalid configuration for device '{i}'.", detail
        return None

    def _keys(self, machine):
        devices = self.inventory.value(machine, "config.hardware.device")
        return {soap.text(d, "key") for d in (() if devices is None else devices)}

    def _duplicate(self, folder, name):
        if "duplicate" not in self.on or not name:
            return None
        with self.lock:
            taken = (folder, name) in self.names
            self.names.add((folder, name))
        # Only now: who had the name until then has made it, and it is seen.
        there = None if taken else self.inventory.child_named(folder, name)
        if not there and not taken:
            return None
        if not taken:
            self.made(folder, name)
        obj = there or ("VirtualMachine", "vm-0")
        detail = f'<name>{soap.escape(name)}</name><object type="{obj[0]}">{soap.escape(obj[1])}</object>'
        return "DuplicateName", f"The name '{name}' already exists.", detail

    def made(self, folder, name):
        with self.lock:
            self.names.discard((folder, name))

    def answered(self, request):
        """The call is over: what it made is found in the inventory from now on."""
        if request.method == "CloneVM_Task":
            self.made(soap.ref(soap.child(request.params, "folder")), soap.text(request.params, "name"))
        if request.method == "CreateVM_Task":
            self.made(request.this, soap.text(request.params, "config", "name"))

    def _reconfigure(self, request):
        nested = soap.child(request.params, "spec", "nestedHVEnabled")
        if "nested-running" in self.on and nested is not None and self.inventory.powered_on(request.this):
            return "InvalidPowerState", None, None
        return self._controllers(soap.child(request.params, "spec"), lambda: self._keys(request.this))

    def _destroy(self, request):
        if "destroy-running" in self.on and request.this[0] == "VirtualMachine":
            if self.inventory.powered_on(request.this):
                return "InvalidPowerState", None, None
        return None

    def _snapshot(self, request):
        if "template-snapshot" in self.on and self.inventory.is_template(request.this):
            return "NotSupported", None, None
        return None

    def _cancel(self, request):
        if "cancel-ended" in self.on and request.this not in self.tasks.known:  # vcsim's own have always ended
            return "InvalidState", "The operation is not allowed in the current state.", ""
        return None

    CHECKS = {
        "CloneVM_Task": _clone,
        "CreateVM_Task": _create,
        "ReconfigVM_Task": _reconfigure,
        "Destroy_Task": _destroy,
        "UnregisterVM": _destroy,
        "CreateSnapshot_Task": _snapshot,
        "CancelTask": _cancel,
    }
