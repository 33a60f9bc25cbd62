"""What vcsim accepts and a real server refuses. Each item can be switched off (--accept ITEM).

    esx                a bare ESXi (--esx) has no clones, templates and folders: "The operation is not supported on the
                       object" (vmware/govmomi#1469, vmware/govmomi#673)
    no-snapshot        a linked clone needs a snapshot: InvalidArgument spec.snapshot (vmware/pyvmomi#362)
    template-snapshot  a template cannot be snapshotted (vmware/pyvmomi-community-samples#555)
    nested-running     nestedHVEnabled is changed while powered off only
    destroy-running    a machine that runs is not destroyed
    duplicate          no two of a name in a folder
    cancel-ended       a task that has ended is not cancelled
    session            nothing is told to who has not logged in
"""
import threading

import soap
import tasks

ITEMS = (
    "esx", "no-snapshot", "template-snapshot", "nested-running", "destroy-running", "duplicate", "cancel-ended",
    "session",
)

NOT_ON_ESX = (
    "CloneVM_Task", "InstantClone_Task", "MarkAsTemplate", "MarkAsVirtualMachine", "CreateFolder", "CreateDatacenter",
    "CreateClusterEx", "CreateDVS_Task", "MoveIntoFolder_Task", "MigrateVM_Task", "RelocateVM_Task",
)
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
        return self._duplicate(request.this, soap.text(request.params, "config", "name"))

    def _duplicate(self, folder, name):
        if "duplicate" not in self.on or not name:
            return None
        with self.lock:
            taken = (folder, name) in self.names
            self.names.add((folder, name))
        there = self.inventory.child_named(folder, name)  # after that: who had the name may just have made it
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
        return None

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
