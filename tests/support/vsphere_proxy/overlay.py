"""What objects seem to be: properties that are shown in place of the real ones, in reads and in updates.

    set TYPE NAME PATH VALUE [from=MS] [until=MS]
        VALUE: true, false, a number, absent, a text, or <val xsi:type="...">...</val>. TYPE and NAME are globs; NAME is
        compared with the object's name and with its id.
    guest NAME ENTRY... [from=MS] [until=MS]
        none: Tools run and show no address; no-tools: they do not run; nic=ADDRESS[,ADDRESS]: of the machine's next
        network card; other=ADDRESS[,ADDRESS]: of an interface that is none of its cards, as docker0
    question NAME TEXT [CHOICE...]
        the machine waits for an answer, until AnswerVM gives one
    portgroup NAME [promiscuous=BOOL] [forged=BOOL] [mac=BOOL]
        the security policy of a standard port group

from and until are counted from when the line was read.
"""
import copy
import fnmatch
import time
from xml.sax.saxutils import escape

import soap

SETTINGS = ("set", "guest", "question", "portgroup")
ABSENT = None

# The type of a property of which only a part is shown and the real server has nothing.
PARENTS = {
    ("HostSystem", "capability"): "HostCapability",
    ("VirtualMachine", "capability"): "VirtualMachineCapability",
    ("VirtualMachine", "config"): "VirtualMachineConfigInfo",
    ("VirtualMachine", "guest"): "GuestInfo",
    ("VirtualMachine", "runtime"): "VirtualMachineRuntimeInfo",
}


# Fields whose type only the value itself tells; all others have one, and say nothing of it.
ANY_TYPE = ("result", "value", "fault")


class Setting:
    kind = "*"

    def __init__(self, kind, name, words):
        self.kind, self.name = kind, name
        self.begun, self.start, self.end = time.monotonic(), 0, float("inf")
        self.words = []
        for word in words:
            key, given, number = word.partition("=")
            if given and key in ("from", "until") and number.isdigit():
                setattr(self, "start" if key == "from" else "end", int(number) / 1000)
            else:
                self.words.append(word)

    def holds(self):
        return self.start <= time.monotonic() - self.begun < self.end

    def about(self, ref, inventory):
        if not fnmatch.fnmatchcase(ref[0], self.kind):
            return False
        return (
            self.name == "*"
            or fnmatch.fnmatchcase(ref[1], self.name)
            or fnmatch.fnmatchcase(inventory.name(ref), self.name)
        )

    def values(self, ref, inventory):
        """path -> <val> or ABSENT."""
        return {}

    def change(self, element):
        """Changes a value of an object of that kind in place."""


def parsed(text):
    if text == "absent":
        return ABSENT
    if text.startswith("<"):
        return soap.fragment(text)[0]
    if text in ("true", "false"):
        return soap.value("xsd:boolean", text)
    return soap.value("xsd:int" if text.lstrip("-").isdigit() else "xsd:string", escape(text))


class Property(Setting):
    def __init__(self, words):
        super().__init__(words[0], words[1], words[2:])
        self.path, shown = self.words
        self.shown = parsed(shown)

    def values(self, ref, inventory):
        return {self.path: self.shown}


class Guest(Setting):
    def __init__(self, words):
        super().__init__("VirtualMachine", words[0], words[1:])
        for word in self.words:
            if word not in ("none", "no-tools") and word.partition("=")[0] not in ("nic", "other"):
                raise ValueError(f"'{word}' is no entry of a guest")

    @staticmethod
    def _nic(key, mac, network, addresses):
        configured = "".join(
            f"<ipAddress><ipAddress>{a}</ipAddress><prefixLength>{64 if ':' in a else 24}</prefixLength>"
            "<state>preferred</state></ipAddress>"
            for a in addresses
        )
        return (
            (f"<network>{escape(network)}</network>" if network else "")
            + "".join(f"<ipAddress>{a}</ipAddress>" for a in addresses)
            + f"<macAddress>{mac}</macAddress><connected>true</connected><deviceConfigId>{key}</deviceConfigId>"
            + f"<ipConfig>{configured}</ipConfig>"
        )

    def values(self, ref, inventory):
        tools = "guestToolsNotRunning" if "no-tools" in self.words else "guestToolsRunning"
        shown = {
            "guest.toolsRunningStatus": soap.value("xsd:string", tools),
            "guest.net": ABSENT,
            "guest.ipAddress": ABSENT,
            "summary.guest.ipAddress": ABSENT,
        }
        nics, first, cards = [], None, iter(inventory.cards(ref))
        for word in self.words:
            where, given, listed = word.partition("=")
            if not given:
                continue
            addresses = listed.split(",") if listed else []
            key, mac, network = next(cards, ("-1", "00:50:56:00:00:00", "")) if where == "nic" else (
                "-1", "02:42:ac:11:00:01", "")
            nics.append(f"<GuestNicInfo>{self._nic(key, mac, network, addresses)}</GuestNicInfo>")
            first = first or next((a for a in addresses if ":" not in a), None)
        if nics:
            shown["guest.net"] = soap.value("ArrayOfGuestNicInfo", "".join(nics))
        if first:
            shown["guest.ipAddress"] = shown["summary.guest.ipAddress"] = soap.value("xsd:string", first)
        return shown


class Question(Setting):
    def __init__(self, words):
        super().__init__("VirtualMachine", words[0], words[1:])
        text, *choices = self.words
        self.answered = set()
        listed = "".join(
            f'<choiceInfo xsi:type="ElementDescription"><label>{escape(c)}</label><summary>{escape(c)}</summary>'
            f"<key>{i}</key></choiceInfo>"
            for i, c in enumerate(choices or ["Cancel", "OK"])
        )
        self.shown = soap.value(
            "VirtualMachineQuestionInfo",
            f"<id>question-{abs(hash(text)) % 10000}</id><text>{escape(text)}</text>"
            f"<choice>{listed}<defaultIndex>0</defaultIndex></choice>",
        )

    def values(self, ref, inventory):
        return {} if ref in self.answered else {"runtime.question": self.shown}


class PortGroup(Setting):
    KEYS = {"promiscuous": "allowPromiscuous", "forged": "forgedTransmits", "mac": "macChanges"}

    def __init__(self, words):
        super().__init__("Host*", "*", words[1:])
        self.group, self.policy = words[0], {}
        for word in self.words:
            key, _, text = word.partition("=")
            if key not in self.KEYS or text not in ("true", "false"):
                raise ValueError(f"'{word}' is no policy of a port group")
            self.policy[self.KEYS[key]] = text

    def change(self, element):
        for group in element.iter():
            if soap.text(group, "spec", "name") != self.group:
                continue
            for policy in (soap.child(group, "spec", "policy"), soap.child(group, "computedPolicy")):
                if policy is not None:
                    for key, text in self.policy.items():
                        place(policy, ["security", key], soap.fragment(f"<{key}>{text}</{key}>")[0])


CLASSES = {"set": Property, "guest": Guest, "question": Question, "portgroup": PortGroup}


def setting(words):
    return CLASSES[words[0]](words[1:])


def place(parent, path, shown):
    """Puts a value (or its absence) at a path below an element; makes what is missing on the way."""
    for name in path[:-1]:
        step = soap.child(parent, name)
        if step is None:
            if shown is ABSENT:
                return
            step = soap.fragment(f"<{name}/>")[0]
            parent.append(step)
        parent = step
    old = soap.child(parent, path[-1])
    at = len(parent) if old is None else list(parent).index(old)
    if old is not None:
        parent.remove(old)
    if shown is not ABSENT:
        new = soap.renamed(copy.deepcopy(shown), path[-1])
        xsi_type = new.get(soap.XSI_TYPE, "")
        if path[-1] not in ANY_TYPE:
            new.attrib.pop(soap.XSI_TYPE, None)
        if xsi_type.startswith("ArrayOf"):  # inside a value, arrays are elements that repeat
            for i, item in enumerate(list(new)):
                parent.insert(at + i, soap.renamed(item, path[-1]))
            return
        parent.insert(at, new)


class Overlay:
    def __init__(self, control, inventory, tasks):
        self.control, self.inventory, self.tasks = control, inventory, tasks

    def _about(self, ref):
        return [s for s in self.control.settings if s.holds() and s.about(ref, self.inventory)]

    def values(self, ref):
        """path -> <val> or ABSENT, of all that is shown differently of an object now."""
        if ref[0] == "Task":
            return self.tasks.values(ref)
        shown = {}
        for each in self._about(ref):
            shown.update(each.values(ref, self.inventory))
        return shown

    def answer(self, ref):
        """AnswerVM: whether a question of ours was answered."""
        found = [s for s in self._about(ref) if isinstance(s, Question) and ref not in s.answered]
        for question in found:
            question.answered.add(ref)
        return bool(found)

    def idle(self):
        return not self.control.settings and not self.tasks.known

    def rewrite(self, ref, properties, asked):
        """What is to be shown. properties: path -> <val> of the real server; asked: set of paths, None for all."""
        shown = self.values(ref)
        properties = dict(properties)
        for path, value in shown.items():
            self._show(ref, properties, asked, path, value)
        for each in self._about(ref) if ref[0] != "Task" else ():
            for value in properties.values():
                if value is not None:
                    each.change(value)
        return properties

    @staticmethod
    def _show(ref, properties, asked, path, value):
        if (path in asked) if asked is not None else ("." not in path):
            properties.pop(path, None)
            if value is not ABSENT:
                properties[path] = soap.renamed(copy.deepcopy(value), "val")
        for parent in {path[:i] for i, c in enumerate(path) if c == "."}:
            if properties.get(parent) is None and (asked is None or parent in asked) and value is not ABSENT:
                kind = PARENTS.get((ref[0], parent))
                if kind:
                    properties[parent] = soap.value(kind, "")
            if properties.get(parent) is not None:
                properties[parent] = copy.deepcopy(properties[parent])
                place(properties[parent], path[len(parent) + 1:].split("."), value)
