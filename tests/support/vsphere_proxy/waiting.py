"""Property collectors as a client sees them: reads by pages, and waiting for updates.

vcsim ignores how much a client wants at once, and has one version, "-": an update whose reply was lost is lost. Here
maxObjects and maxObjectUpdates count, a version can be asked for again, and an unknown one is refused, as a real server
does. A wait is a row of short ones of vcsim's (its tick is 250 ms), so that what only the proxy knows comes in between.
"""
import threading
import time
import uuid

import soap
from inventory import moref

NEVER = object()


def object_xml(ref, properties, name):
    """An ObjectContent."""
    sets = "".join(f"<propSet><name>{path}</name>{soap.write(val)}</propSet>" for path, val in properties.items())
    return f"<{name}>{moref('obj', ref)}{sets}</{name}>"


def shown_objects(overlay, elements, asked):
    """ObjectContents as they are to be shown, as XML; what is missing of a property that is shown is not missing."""
    result = []
    for element in elements:
        ref = soap.ref(soap.child(element, "obj"))
        if not overlay.values(ref) and not overlay.control.settings:
            result.append(soap.write(soap.renamed(element, "objects")))
            continue
        real = {soap.text(p, "name"): soap.child(p, "val") for p in soap.children(element, "propSet")}
        result.append(object_xml(ref, overlay.rewrite(ref, real, paths_of(asked, ref[0])), "objects"))
    return result


def paths_of(asked, kind):
    """What is asked for of objects of a kind; base types are asked for as ManagedEntity and the like."""
    if kind in asked:
        return asked[kind]
    sets = [paths for name, paths in asked.items() if name not in ("Task", "VirtualMachine", "HostSystem")]
    return set() if not sets else None if None in sets else set().union(*sets)


class Reader:
    """RetrievePropertiesEx and ContinueRetrievePropertiesEx."""

    def __init__(self, overlay, page):
        self.overlay, self.page = overlay, page
        self.lock = threading.Lock()
        self.rest = {}  # token -> objects that are still to come, and how many at once

    def reply(self, method, request, body):
        """The real server's reply as it is to be sent."""
        limit = min((int(n) for n in (self.page, soap.text(request.params, "options", "maxObjects")) if n), default=0)
        if self.overlay.idle() and not limit:
            return body
        response = soap.parse(body)
        returned = soap.children(response, "returnval")
        elements = soap.children(returned[0], "objects") if method.endswith("Ex") and returned else returned
        objects = shown_objects(self.overlay, elements, request.property_sets("specSet"))
        if not method.endswith("Ex"):
            return soap.reply(method, "".join(o.replace("objects>", "returnval>") for o in objects))
        return self._page(method, objects, limit)

    def _page(self, method, objects, limit):
        if not objects:
            return soap.reply(method)
        token = ""
        if limit and len(objects) > limit:
            objects, rest = objects[:limit], objects[limit:]
            with self.lock:
                key = uuid.uuid4().hex
                self.rest[key] = rest, limit
            token = f"<token>{key}</token>"
        return soap.reply(method, f"<returnval>{token}{''.join(objects)}</returnval>")

    def more(self, request):
        """(status, body) of ContinueRetrievePropertiesEx and CancelRetrievePropertiesEx."""
        with self.lock:
            found = self.rest.pop(soap.text(request.params, "token"), None)
        if not found:
            return "500", soap.fault("InvalidProperty", "Invalid token", "<name>token</name>")
        if request.method.startswith("Cancel"):
            return "200", soap.reply(request.method)
        return "200", self._page(request.method, *found)


class Filter:
    def __init__(self, ref, asked):
        self.ref, self.asked = ref, asked
        self.objects = {}  # ref -> what was last shown of it that is not real: path -> text

    def seal(self, ref, shown):
        """Remembers that; the paths asked for through which something looks different than when it was last."""
        paths = paths_of(self.asked, ref[0])
        text = {path: "" if val is None else soap.write(val) for path, val in shown.items()}
        before = self.objects.get(ref)
        self.objects[ref] = text
        if before is None or before == text:
            return []
        changed = [p for p in before.keys() | text.keys() if before.get(p, NEVER) != text.get(p, NEVER)]
        return [a for a in paths or () if any(c == a or c.startswith(a + ".") for c in changed)]


class Collector:
    def __init__(self):
        self.filters = {}
        self.version = 0
        self.unread = []  # (version, its filterSets as XML): sent, but not known to have arrived; or still to be sent
        self.cancelled = threading.Event()
        self.over = False  # with its session


class Waiter:
    def __init__(self, overlay, inventory):
        self.overlay, self.inventory = overlay, inventory
        self.lock = threading.RLock()
        self.collectors = {}  # (cookie, id) -> Collector

    def collector(self, cookie, this):
        with self.lock:
            return self.collectors.setdefault((cookie, this[1]), Collector())

    def forget(self, cookie):
        """The session is over, and what belongs to it."""
        with self.lock:
            for key in [k for k in self.collectors if k[0] == cookie]:
                self.collectors.pop(key).over = True

    def created_filter(self, cookie, request, reply):
        ref = soap.ref(soap.child(soap.parse(reply), "returnval"))
        self.collector(cookie, request.this).filters[ref] = Filter(ref, request.property_sets("spec"))

    def destroyed_filter(self, request):
        with self.lock:
            for collector in self.collectors.values():
                collector.filters.pop(request.this, None)

    def cancel(self, cookie, request):
        self.collector(cookie, request.this).cancelled.set()

    # --- updates ---

    def _update_xml(self, kind, ref, properties):
        changes = "".join(
            f"<changeSet><name>{path}</name><op>assign</op>{soap.write(val) if val is not None else ''}</changeSet>"
            for path, val in properties.items()
        )
        return f"<objectSet><kind>{kind}</kind>{moref('obj', ref)}{changes}</objectSet>"

    def _entered(self, each, ref, changes, paths):
        """Also what the real server has not, but what is shown."""
        each.seal(ref, self.overlay.values(ref))
        return self._update_xml("enter", ref, self.overlay.rewrite(ref, changes, paths))

    def _real_update(self, each, update):
        ref, kind = soap.ref(soap.child(update, "obj")), soap.text(update, "kind")
        if kind == "leave":
            each.objects.pop(ref, None)
            return soap.write(update)
        changes = {soap.text(c, "name"): soap.child(c, "val") for c in soap.children(update, "changeSet")}
        if kind == "enter":
            return self._entered(each, ref, changes, paths_of(each.asked, ref[0]))
        each.objects.setdefault(ref, {})
        return self._update_xml("modify", ref, self.overlay.rewrite(ref, changes, set(changes)))

    def _own_updates(self, each):
        """What looks different now although nothing happened on the real server."""
        found = []
        for ref in list(each.objects):
            paths = each.seal(ref, self.overlay.values(ref))
            if paths:
                real = self.inventory.read([ref], paths).get(ref, {})
                shown = self.overlay.rewrite(ref, real, set(paths))
                found.append(self._update_xml("modify", ref, {path: shown.get(path) for path in paths}))
        return found

    def _again(self, each):
        """A wait that begins anew is told all there is; vcsim tells only what it has not told yet."""
        found, by_kind = [], {}
        for ref in each.objects:
            by_kind.setdefault(ref[0], []).append(ref)
        for kind, refs in by_kind.items():
            paths = paths_of(each.asked, kind)
            real = self.inventory.read(refs, sorted(paths or ()))
            found += [self._entered(each, ref, values, paths) for ref, values in real.items()]
        return found

    def _collect(self, collector, returned, limit, anew):
        """Puts what is new behind what is unread, in pieces of at most so many objects."""
        sets = {ref: self._again(each) if anew else [] for ref, each in list(collector.filters.items())}
        for filter_set in soap.children(returned, "filterSet"):
            ref = soap.ref(soap.child(filter_set, "filter"))
            each = collector.filters.setdefault(ref, Filter(ref, {}))
            updates = [self._real_update(each, u) for u in soap.children(filter_set, "objectSet")]
            sets.setdefault(ref, []).extend(updates)
        for ref, each in list(collector.filters.items()):
            sets[ref].extend(self._own_updates(each))
        for ref, updates in sets.items():
            for at in range(0, len(updates), limit or len(updates) or 1):
                piece = "".join(updates[at:at + limit] if limit else updates)
                collector.version += 1
                collector.unread.append((collector.version, f"<filterSet>{moref('filter', ref)}{piece}</filterSet>"))

    def _take(self, collector, limit):
        """The next update set, None when there is none. Without a limit all that is unread is one."""
        if not collector.unread:
            return None
        pieces = collector.unread[:1] if limit else collector.unread
        more = "<truncated>true</truncated>" if len(pieces) < len(collector.unread) else ""
        return f"<returnval><version>{pieces[-1][0]}</version>{''.join(p[1] for p in pieces)}{more}</returnval>"

    # --- the wait ---

    def wait(self, call, forward):
        """(status, body) of WaitForUpdatesEx or WaitForUpdates. forward(body): a call to the real server."""
        request = call.request
        collector = self.collector(call.cookie, request.this)
        version = soap.text(request.params, "version") or ""
        limit = int(soap.text(request.params, "options", "maxObjectUpdates") or 0)
        seconds = soap.text(request.params, "options", "maxWaitSeconds")
        deadline = time.monotonic() + float(seconds) if seconds else float("inf")
        with self.lock:
            collector.cancelled.clear()
            if version and (not version.isdigit() or int(version) > collector.version):
                return "500", soap.fault("InvalidCollectorVersion", "")
            collector.unread = [u for u in collector.unread if version and u[0] > int(version)]
        while not (found := self._take(collector, limit)):
            status, body = forward(self._short(request, version))
            if status != "200":
                return status, body
            with self.lock:
                self._collect(collector, soap.child(soap.parse(body), "returnval"), limit, not version)
                if not version and not collector.unread:
                    collector.version += 1
                    collector.unread.append((collector.version, ""))
            if collector.unread:
                continue
            if collector.over:
                return "500", soap.fault("NotAuthenticated")
            if collector.cancelled.is_set():
                return "500", soap.fault("RequestCanceled", "")
            if time.monotonic() >= deadline:
                return "200", soap.reply(request.method)
            if call.client_gone():
                return None, b""
        return "200", soap.reply(request.method, found)

    @staticmethod
    def _short(request, version):
        """The client's wait, but no longer than a tick."""
        return (
            soap.HEAD
            + f'<WaitForUpdatesEx xmlns="urn:vim25">{moref("_this", request.this)}'
            + f"<version>{'-' if version else ''}</version>"
            + "<options><maxWaitSeconds>0</maxWaitSeconds></options></WaitForUpdatesEx>"
            + soap.TAIL
        ).encode()
