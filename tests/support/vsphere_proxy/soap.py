"""SOAP of the vSphere Web Services API: what a request asks for, faults and replies, and XML that can be edited."""
import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
VIM = "{urn:vim25}"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/"'
    ' xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n<soapenv:Body>\n'
)
TAIL = "\n</soapenv:Body>\n</soapenv:Envelope>\n"
# Names the reply's own root declares, so that a fragment can be parsed alone.
FRAGMENT = (
    '<fragment xmlns="urn:vim25" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">%s</fragment>'
)


def tag(element):
    """The local name."""
    return element.tag.rpartition("}")[2]


def child(element, *names):
    """The first child of that name, of its child ...; None when it is not there."""
    for name in names:
        if element is None:
            return None
        element = next((c for c in element if tag(c) == name), None)
    return element


def children(element, name):
    return [] if element is None else [c for c in element if tag(c) == name]


def text(element, *names):
    found = child(element, *names) if names else element
    return None if found is None else (found.text or "")


def ref(element):
    """(type, id) of a managed object reference, None where there is none."""
    if element is None or not (element.text or "").strip():
        return None
    return element.get("type") or element.get(XSI_TYPE) or "", element.text.strip()


def fragment(xml):
    """Elements from their text."""
    return list(ElementTree.fromstring(FRAGMENT % xml))


def value(xsi_type, content):
    """A <val> of that type; content is XML."""
    return fragment(f"<val xsi:type={quoteattr(xsi_type)}>{content}</val>")[0]


def renamed(element, name):
    element.tag = VIM + name
    return element


def _write(element, out, top):
    name = tag(element)
    out.append(f"<{name}")
    if top:
        out.append(' xmlns="urn:vim25"')
    for key, content in element.attrib.items():
        out.append(f" {'xsi:type' if key == XSI_TYPE else key.rpartition('}')[2]}={quoteattr(content)}")
    out.append(">")
    if element.text:
        out.append(escape(element.text))
    for c in element:
        _write(c, out, False)
    out.append(f"</{name}>")


def write(element, top=False):
    """XML text. ElementTree's own would lose the prefixes that values of xsi:type have."""
    out = []
    _write(element, out, top)
    return "".join(out)


def envelope(element):
    """The reply whose body is this element."""
    return (HEAD + write(element, top=True) + TAIL).encode()


def reply(method, content=""):
    return (HEAD + f'<{method}Response xmlns="urn:vim25">{content}</{method}Response>' + TAIL).encode()


def parse(body):
    """The element inside a reply's body."""
    found = ElementTree.fromstring(body).find(ENVELOPE + "Body")
    return found[0]


# What a fault of that type must carry besides its name.
_DETAIL = {
    "NotAuthenticated": '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId>',
    "NoPermission": '<object type="Folder">group-d1</object>'
    "<privilegeId>VirtualMachine.Provisioning.Clone</privilegeId>",
    "ManagedObjectNotFound": '<obj type="VirtualMachine">vm-0</obj>',
    "DuplicateName": '<name>taken</name><object type="VirtualMachine">vm-0</object>',
    "InvalidPowerState": "<requestedState>poweredOff</requestedState><existingState>poweredOn</existingState>",
    "InvalidArgument": "<invalidProperty>spec</invalidProperty>",
    "InvalidProperty": "<name>spec</name>",
    "InvalidName": "<name>?</name>",
    "NoDiskSpace": "<file>[LocalDS_0]</file><datastore>LocalDS_0</datastore>",
    "FileNotFound": "<file>[LocalDS_0] gone.vmdk</file>",
    "FileLocked": "<file>[LocalDS_0] base.vmdk</file>",
    "FileAlreadyExists": "<file>[LocalDS_0] there.vmdk</file>",
    "MethodNotFound": '<receiver type="VirtualMachine">vm-0</receiver><method>X</method>',
    "SystemError": "<reason>Internal error</reason>",
}
# What a server says with it.
_MESSAGE = {
    "NotAuthenticated": "The session is not authenticated.",
    "NotSupported": "The operation is not supported on the object.",
    "InvalidPowerState": "The attempted operation cannot be performed in the current state (Powered on).",
    "NoPermission": "Permission to perform this operation was denied.",
    "RequestCanceled": "The task was canceled by a user.",
    "RestrictedVersion": "Current license or ESXi version prohibits execution of the requested operation.",
    "TaskInProgress": "The operation is not allowed in the current state because another task is already in progress.",
    "SystemError": "A general system error occurred: Internal error",
}


def fault_xml(kind, element, message=None, detail=None):
    """<element xsi:type=KIND> with what belongs in it, and the message."""
    detail = _DETAIL.get(kind, "") if detail is None else detail
    message = _MESSAGE.get(kind, "") if message is None else message
    return f'<{element} xsi:type={quoteattr(kind)}>{detail}</{element}>', message


def fault(kind, message=None, detail=None):
    """A SOAP fault as the API sends it (HTTP status 500)."""
    content, message = fault_xml(kind, kind + "Fault", message, detail)
    content = content.replace(" xsi:type", ' xmlns="urn:vim25" xsi:type', 1)
    return (
        HEAD
        + "<soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
        + f"<faultstring>{escape(message)}</faultstring><detail>{content}</detail></soapenv:Fault>"
        + TAIL
    ).encode()


_FAULT_TYPE = re.compile(rb'<detail>\s*<[^>]*xsi:type="([^"]*)"')


def fault_of(body):
    """The type of the fault in a reply, None if it is none."""
    if b"<faultcode>" not in body:
        return None
    found = _FAULT_TYPE.search(body)
    return found.group(1).decode() if found else "?"


class Request:
    """One call: its method, the object it is called on, its parameters."""

    def __init__(self, body):
        element = ElementTree.fromstring(body).find(ENVELOPE + "Body")[0]
        self.method = tag(element)
        self.params = element
        self.this = ref(child(element, "_this")) or ("", "")

    def property_sets(self, path):
        """type -> set of paths (None: all) that are asked for; path leads to elements with propSets."""
        found = {}
        for spec in children(self.params, path):
            for propset in children(spec, "propSet"):
                paths = {c.text or "" for c in children(propset, "pathSet")}
                every = text(propset, "all") in ("true", "1")
                kind = text(propset, "type") or ""
                found[kind] = None if every or found.get(kind, paths) is None else found.get(kind, set()) | paths
        return found


def as_json(element, limit=50):
    """An element for the record: text, "Type:id" for references, objects, lists where a name repeats."""
    if not len(element):
        reference = element.get("type")
        return f"{reference}:{element.text}" if reference else (element.text or "")[:65536]
    result = {"@type": element.get(XSI_TYPE)} if element.get(XSI_TYPE) else {}
    for c in element:
        name, item = tag(c), as_json(c, limit)
        if name not in result:
            result[name] = item
        elif isinstance(result[name], list):
            if len(result[name]) < limit:
                result[name].append(item)
            elif name + "@more" not in result:
                result[name + "@more"] = 1
            else:
                result[name + "@more"] += 1
        else:
            result[name] = [result[name], item]
    return result
