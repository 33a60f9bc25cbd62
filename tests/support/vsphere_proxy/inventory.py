"""The proxy's own look at the real server, over a session of its own: what objects are called, what state they are in.

It logs in with what it saw a client log in with. What it asks is not recorded.
"""
import threading
import time
from xml.sax.saxutils import escape, quoteattr

import soap

REQUEST = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Body>%s</Body></Envelope>'
)


def moref(name, ref):
    return f"<{name} type={quoteattr(ref[0])}>{escape(ref[1])}</{name}>"


CARDS_HOLD = 5  # seconds: what cards a machine has is asked for at every tick of every wait


class Inventory:
    def __init__(self, connect, path="/sdk"):
        """connect: makes a connection; each thread gets its own, all of one session."""
        self.connect, self.path, self.of_thread = connect, path, threading.local()
        self.lock = threading.RLock()
        self.login = None  # (session manager, user, password)
        self.cookie = None
        self.service = {}
        self.names, self.known_cards = {}, {}

    def learn(self, this, params):
        """A Login that the real server accepted."""
        with self.lock:
            self.login = this, soap.text(params, "userName") or "", soap.text(params, "password") or ""

    def post(self, method, this, params=""):
        """(status, body) of a call; logs in if that was not done."""
        self._need()
        return self._exchange(f'<{method} xmlns="urn:vim25">{moref("_this", this)}{params}</{method}>')

    def raw(self, body):
        """The same with a client's request as it was."""
        self._need()
        return self._send(body)

    def _need(self):
        if not self._ready():
            raise LookupError("nobody has logged in through the proxy yet")

    def _ready(self):
        with self.lock:
            return bool(self.cookie) or self._open()

    def _exchange(self, content):
        return self._send((REQUEST % content).encode())

    def _send(self, body):
        headers = [("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", '"urn:vim25/6.5"')]
        if self.cookie:
            headers.append(("Cookie", self.cookie))
        if not hasattr(self.of_thread, "upstream"):
            self.of_thread.upstream = self.connect()
        reply = self.of_thread.upstream.exchange("POST", self.path, headers, body)
        for key, value in reply.headers:
            if key.lower() == "set-cookie":
                self.cookie = value.split(";")[0]
        return reply.start[1], reply.body

    def _open(self):
        if not self.login:
            return False
        this, user, password = self.login
        instance = ("ServiceInstance", "ServiceInstance")
        _, body = self._exchange(
            f'<RetrieveServiceContent xmlns="urn:vim25">{moref("_this", instance)}</RetrieveServiceContent>'
        )
        content = soap.child(soap.parse(body), "returnval")
        self.service = {soap.tag(c): soap.ref(c) for c in content if c.get("type")}
        status, _ = self._exchange(
            f'<Login xmlns="urn:vim25">{moref("_this", this)}<userName>{escape(user)}</userName>'
            f"<password>{escape(password)}</password></Login>"
        )
        return status == "200"

    def read(self, refs, paths):
        """ref -> {path: its <val>} of those that are there. All refs are of one type."""
        if not refs or not self._ready():
            return {}
        props = f"<type>{escape(refs[0][0])}</type>" + "".join(f"<pathSet>{escape(p)}</pathSet>" for p in paths)
        objects = "".join(f'<objectSet>{moref("obj", ref)}</objectSet>' for ref in refs)
        status, body = self.post(
            "RetrievePropertiesEx", self.service["propertyCollector"],
            f"<specSet><propSet>{props}</propSet>{objects}"
            "<reportMissingObjectsInResults>true</reportMissingObjectsInResults></specSet><options/>",
        )
        if status != "200":
            return {}
        found = {}
        for item in soap.children(soap.child(soap.parse(body), "returnval"), "objects"):
            values = {soap.text(p, "name"): soap.child(p, "val") for p in soap.children(item, "propSet")}
            found[soap.ref(soap.child(item, "obj"))] = values
        return found

    def value(self, ref, path):
        return self.read([ref], [path]).get(ref, {}).get(path)

    def name(self, ref):
        """What an object is called; "" when it has no name or is gone."""
        if ref not in self.names:
            found = self.value(ref, "name")
            if found is None:
                return ""
            if not found.text:  # vcsim shows a machine before it has its name
                return ""
            self.names[ref] = found.text
        return self.names.get(ref, "")

    def forget(self, ref):
        """It may be called otherwise now, or have other cards."""
        self.names.pop(ref, None)
        self.known_cards.pop(ref, None)

    def powered_on(self, ref):
        return (soap.text(self.value(ref, "runtime.powerState")) or "") == "poweredOn"

    def is_template(self, ref):
        return (soap.text(self.value(ref, "config.template")) or "") == "true"

    def child_named(self, folder, name):
        """What is called so in a folder, or None. FindChild would let vcsim panic while it makes a machine there."""
        children = [soap.ref(c) for c in self.value(folder, "childEntity") or ()]
        new = {}
        for ref in children:
            if ref not in self.names:
                new.setdefault(ref[0], []).append(ref)
        for refs in new.values():
            for ref, values in self.read(refs, ["name"]).items():
                if text := soap.text(values.get("name")):
                    self.names[ref] = text
        return next((ref for ref in children if self.names.get(ref) == name), None)

    def place(self, name):
        """A manager of the service's: "searchIndex"."""
        self._need()
        return self.service[name]

    def cards(self, ref):
        """(key, MAC address, network) of a machine's network cards, in their order."""
        at, found = self.known_cards.get(ref, (0, []))
        if time.monotonic() - at < CARDS_HOLD:
            return found
        found = []
        for device in self.value(ref, "config.hardware.device") or ():
            mac = soap.text(device, "macAddress")
            if mac:
                network = soap.text(device, "backing", "deviceName") or "VM Network"
                found.append((soap.text(device, "key"), mac, network))
        self.known_cards[ref] = time.monotonic(), found
        return found

    def new_task(self):
        """A task that has ended and changed nothing, to be shown as something else."""
        _, body = self.post(
            "DeleteDatastoreFile_Task", self.place("fileManager"), "<name>[no such datastore] x</name>"
        )
        return soap.ref(soap.child(soap.parse(body), "returnval"))
