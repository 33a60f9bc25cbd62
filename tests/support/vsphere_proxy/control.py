"""The control file: what shall go wrong, and what the real server shall seem to be. Read again whenever it was written.

    METHOD [match=TEXT] [skip=N] [times=N] ACTION...    a call of that method, a glob; README says which actions
    connect [skip=N] [times=N] ACTION                   a connection: reset, hole
    set TYPE NAME PATH VALUE                            a property of objects of that type and name (a glob of either)
    guest NAME ENTRY...      question NAME TEXT [CHOICE...]      portgroup NAME KEY=BOOL...

The first rule that is due counts; one that is only skipped or used up lets the next one try. All counts begin anew when
the file is written. A line that makes no sense fails every call, with its number.
"""
import fnmatch
import os
import shlex
import threading

import overlay
import tasks

# Actions by what they take: nothing, a number (with a default), a text.
PLAIN = ("reset", "cut", "truncate", "short", "malformed", "html", "hole", "expire", "after", "none")
NUMBER = {"http": None, "huge": 200, "delay": None}
TEXT = ("fault",)
# Of a task: how long it waits, how long it works (ms or "forever"), and how it behaves.
TASK_TIMES = ("queued", "running")
TASK_FLAGS = ("early", "uncancelable")


class Nonsense(Exception):
    pass


class Rule:
    def __init__(self, words):
        self.method, self.line = words[0], " ".join(words)
        self.match, self.skip, self.times = None, 0, None
        self.actions = {}
        for word in words[1:]:
            self._word(word)
        if not self.actions:
            raise Nonsense("it says no action")
        if self.task and not fnmatch.fnmatch("X_Task", self.method) and not self.method.endswith("_Task"):
            raise Nonsense("only methods whose name ends with _Task have a task")

    def _word(self, word):
        key, given, text = word.partition("=")
        if key in ("skip", "times"):
            setattr(self, key, number(text))
        elif key == "match" and given:
            self.match = text
        elif key in PLAIN and not given:
            self.actions[key] = True
        elif key in NUMBER and (given or NUMBER[key] is not None):
            self.actions[key] = number(text) if given else NUMBER[key]
        elif key in TEXT and text:
            self.actions[key] = text
        elif key == "task" and not given:
            self.actions["task"] = tasks.Plan()
        elif self.task and key in TASK_TIMES and given:
            setattr(self.task, key, float("inf") if text == "forever" else number(text) / 1000)
        elif self.task and key == "user" and text:
            self.task.user = text
        elif self.task and key in TASK_FLAGS and not given:
            setattr(self.task, key, True)
        else:
            raise Nonsense(f"'{word}' is no word of a rule")

    def is_of(self, method):
        """A connection is no call: a glob does not mean it."""
        return self.method == method or (method != "connect" and fnmatch.fnmatchcase(method, self.method))

    @property
    def task(self):
        return self.actions.get("task")

    def due(self):
        """Counts one matching call. Whether it is this rule's."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


def number(text):
    if not text.isdigit():
        raise Nonsense(f"'{text}' is no number")
    return int(text)


class Control:
    def __init__(self, path, fixed):
        """fixed: lines that hold whatever the file says, as --set gives them."""
        self.path, self.seen, self.error = path, None, None
        self.lock = threading.Lock()
        split = [shlex.split(line) for line in fixed]
        self.fixed = [self._setting(w if w[:1] and w[0] in overlay.SETTINGS else ["set"] + w) for w in split]
        self.rules, self.settings = [], list(self.fixed)

    @staticmethod
    def _setting(words):
        try:
            return overlay.setting(words)
        except (ValueError, IndexError) as error:
            raise Nonsense(str(error)) from error

    def refresh(self):
        """Reads the file if it was written since. The error in it, if there is one."""
        try:
            stat = os.stat(self.path) if self.path else None
        except FileNotFoundError:
            stat = None
        stamp = stat and (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        with self.lock:
            if stamp != self.seen:
                self.seen = stamp
                self._load() if stamp else self._use([], [])
            return self.error

    def _use(self, rules, settings):
        self.rules, self.settings, self.error = rules, self.fixed + settings, None

    def _load(self):
        rules, settings = [], []
        with open(self.path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for at, line in enumerate(lines, 1):
            try:
                words = shlex.split(line, comments=True)
                if words and words[0] in overlay.SETTINGS:
                    settings.append(self._setting(words))
                elif words:
                    rules.append(Rule(words))
            except (Nonsense, ValueError) as error:
                self.error = f"{self.path}:{at}: {error}"
                return
        self._use(rules, settings)

    def take(self, method, matches):
        """The rule this call falls under, or None. matches(text): whether the call is about that."""
        with self.lock:
            candidates = [r for r in self.rules if r.is_of(method)]
        # What a call is about may have to be asked for: not under the lock.
        fitting = [r for r in candidates if r.match is None or matches(r.match)]
        with self.lock:
            return next((r for r in fitting if r.due()), None)
