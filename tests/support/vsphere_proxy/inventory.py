"""The proxy's own look at the real server, over a session of its own: what objects are called, what state they are in.

It logs in with what it saw a client log in with. What it asks is not recorded.
"""
import threading
from xml.sax.saxutils import escape, quoteattr

import soap

REQUEST = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Body>%s</Body></Envelope>'
)


def moref(name, ref):
    return f"<{name} type={quoteattr(ref[0])}>{escape(ref[1])}</{name}>"


class Inventory:
    def __init__(self, upstream, path="/sdk"):
        self.upstream, self.path = upstream, path
        self.lock = threading.RLock()
        self.login = None  # (session manager, user, password, locale)
        self.cookie = None
        self.service = {}
        self.names = {}

    def learn(self, this, params):
        """A Login that the real server accepted."""
        with self.lock:
            self.login = this, soap.text(params, "userName") or "", soap.text(params, "password") or ""

    def post(self, method, this, params=""):
        """(status, body) of a call; logs in if that was not done."""
        with self.lock:
            if not self.cookie and not self._open():
                raise LookupError("nobody has logged in through the proxy yet")
            return self._exchange(f'<{method} xmlns="urn:vim25">{moref("_this", this)}{params}</{method}>')

    def raw(self, body):
        """The same with a client's request as it was."""
        with self.lock:
            if not self.cookie and not self._open():
                raise LookupError("nobody has logged in through the proxy yet")
            return self._send(body)

    def _exchange(self, content):
        return self._send((REQUEST % content).encode())

    def _send(self, body):
        headers = [("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", '"urn:vim25/6.5"')]
        if self.cookie:
            headers.append(("Cookie", self.cookie))
        reply = self.upstream.exchange("POST", self.path, headers, body)
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
        if not refs:
            return {}
        with self.lock:
            if not self.cookie and not self._open():
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
        with self.lock:
            if ref not in self.names:
                found = self.value(ref, "name")
                if found is None:
                    return ""
                self.names[ref] = found.text or ""
            return self.names[ref]

    def forget_name(self, ref):
        with self.lock:
            self.names.pop(ref, None)

    def powered_on(self, ref):
        return (soap.text(self.value(ref, "runtime.powerState")) or "") == "poweredOn"

    def is_template(self, ref):
        return (soap.text(self.value(ref, "config.template")) or "") == "true"

    def child_named(self, folder, name):
        """What is called so in a folder, or None."""
        status, body = self.post(
            "FindChild", self._service("searchIndex"), f"{moref('entity', folder)}<name>{escape(name)}</name>"
        )
        return soap.ref(soap.child(soap.parse(body), "returnval")) if status == "200" else None

    def _service(self, name):
        with self.lock:
            if not self.service:
                self._open()
            return self.service[name]

    def cards(self, ref):
        """(key, MAC address, network) of a machine's network cards, in their order."""
        found = []
        for device in self.value(ref, "config.hardware.device") or ():
            mac = soap.text(device, "macAddress")
            if mac:
                network = soap.text(device, "backing", "deviceName") or "VM Network"
                found.append((soap.text(device, "key"), mac, network))
        return found

    def new_task(self):
        """A task that has ended and changed nothing, to be shown as something else."""
        _, body = self.post(
            "DeleteDatastoreFile_Task", self._service("fileManager"), "<name>[no such datastore] x</name>"
        )
        return soap.ref(soap.child(soap.parse(body), "returnval"))
