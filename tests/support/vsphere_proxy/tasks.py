"""Tasks that do not end at once, as vcsim's do: they wait, work, report progress, fail late, or go on until they are
cancelled.

A task of ours stands in for a real one of vcsim's that has ended and changed nothing (Inventory.new_task), so that
reads, views and filters know it; what is shown of it comes from here. The deed itself, the client's own request, is
sent when the task ends well; with `early`, when it begins.
"""
import threading
import time
from datetime import datetime, timezone
from xml.sax.saxutils import escape

import soap

FOREVER = float("inf")


class Plan:
    """How a task goes: seconds, and how it ends."""

    def __init__(self):
        self.queued, self.running, self.early, self.uncancelable, self.user = 0, 0, False, False, None


def _stamp(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Task:
    def __init__(self, ref, request, plan, fault, done):
        """fault: "TYPE" or "TYPE:message" it fails with, or (type, message, detail), or None."""
        self.ref, self.plan, self.fault, self.done = ref, plan, fault, done
        self.method, self.entity = request.method, request.this
        self.begun = time.time()
        self.ends = self.begun + plan.queued + plan.running
        self.ended = None  # (state, result <val>, error <val>, cancelled), with the time

    def end(self, state, result=None, error=None, cancelled=False):
        if not self.ended:
            self.ended = state, result, error, cancelled, time.time()
            if self.done:
                self.done()

    def state(self):
        if self.ended:
            return self.ended[0]
        return "queued" if time.time() < self.begun + self.plan.queued else "running"

    def progress(self):
        """Percent, in steps a tenth of the time long; a task that never ends stands at 40."""
        if self.state() != "running":
            return None
        if self.plan.running == FOREVER:
            return 40
        gone = (time.time() - self.begun - self.plan.queued) / (self.plan.running or 1)
        return min(int(gone * 10) * 10, 99)

    def values(self):
        """What is shown of it: path -> <val> or None."""
        state, _, result, error, cancelled, at = (None, *self.ended) if self.ended else (None,) * 6
        state = self.state()
        progress = self.progress()
        started = None if state == "queued" else self.begun + min(self.plan.queued, 1e6)
        return {
            "info.name": soap.value("xsd:string", self.method),
            "info.descriptionId": soap.value("xsd:string", f"{self.entity[0]}.{self.method[:-5]}"),
            "info.entity": soap.fragment(
                f'<val type="{self.entity[0]}" xsi:type="ManagedObjectReference">{escape(self.entity[1])}</val>')[0],
            "info.state": soap.value("TaskInfoState", state),
            "info.cancelled": soap.value("xsd:boolean", str(bool(cancelled)).lower()),
            "info.cancelable": soap.value("xsd:boolean", str(not self.ended and not self.plan.uncancelable).lower()),
            "info.progress": None if progress is None else soap.value("xsd:int", str(progress)),
            "info.startTime": None if started is None else soap.value("xsd:dateTime", _stamp(started)),
            "info.completeTime": None if at is None else soap.value("xsd:dateTime", _stamp(at)),
            "info.reason": self.plan.user and soap.value(
                "TaskReasonUser", f"<userName>{escape(self.plan.user)}</userName>"),
            "info.result": result,
            "info.error": error,
        }


def error_value(fault):
    """The <val> of a task's info.error."""
    kind, message, detail = fault if isinstance(fault, tuple) else (*fault.partition(":")[::2], None)
    content, message = soap.fault_xml(kind, "fault", message or None, detail)
    return soap.value("LocalizedMethodFault", f"{content}<localizedMessage>{escape(message)}</localizedMessage>")


class Tasks:
    def __init__(self, inventory):
        self.inventory = inventory
        self.lock = threading.Lock()
        self.known = {}  # ref -> Task

    def begin(self, request, body, plan, fault, done=None):
        """Answers an X_Task call with a task that goes as planned: (reference, the reply's body). done(): at its end."""
        task = Task(self.inventory.new_task(), request, plan, fault, done)
        with self.lock:
            self.known[task.ref] = task
        if plan.early:
            self._deed(task, body, keep=True)
        if task.ends - task.begun <= 0:
            self._finish(task, body)
        elif task.ends != FOREVER:
            timer = threading.Timer(task.ends - task.begun, self._finish, (task, body))
            timer.daemon = True
            timer.start()
        reference = f'<returnval type="Task">{escape(task.ref[1])}</returnval>'
        return task.ref, soap.reply(request.method, reference)

    def _finish(self, task, body):
        if task.ended:
            return
        if task.fault:
            task.end("error", error=error_value(task.fault))
        elif task.plan.early:
            task.end(*task.outcome)
        else:
            self._deed(task, body)

    def _deed(self, task, body, keep=False):
        """Sends the request; the task ends as the real one did. keep: later."""
        status, reply = self.inventory.raw(body)
        if status != "200":
            outcome = "error", None, error_value(soap.fault_of(reply) or "SystemError")
        else:
            real = soap.ref(soap.child(soap.parse(reply), "returnval"))
            info = self.inventory.read([real], ["info.state", "info.result", "info.error"]).get(real, {})
            outcome = soap.text(info.get("info.state")) or "error", info.get("info.result"), info.get("info.error")
        task.outcome = outcome
        if not keep:
            task.end(*outcome)

    def cancel(self, ref):
        """CancelTask of a task of ours: the reply's (status, body), None for others."""
        with self.lock:
            task = self.known.get(ref)
        if not task:
            return None
        if task.ended:
            return "500", soap.fault("InvalidState", "The operation is not allowed in the current state.")
        if task.plan.uncancelable:
            return "500", soap.fault("NotSupported")
        task.end("error", error=error_value("RequestCanceled"), cancelled=True)
        return "200", soap.reply("CancelTask")

    def values(self, ref):
        with self.lock:
            task = self.known.get(ref)
        return task.values() if task else {}
