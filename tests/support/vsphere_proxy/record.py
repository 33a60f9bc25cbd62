"""The record: one JSON line per call; and the watch over secrets, which belong into a Login and nowhere else."""
import base64
import json
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

import soap


def spellings(secret):
    """How a secret may look where it should not be."""
    data = secret.encode()
    found = {data, urllib.parse.quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for quotes in ({}, {'"': "&quot;"}, {'"': "&quot;", "'": "&apos;"}, {'"': "&#34;", "'": "&#39;"}):
        found.add(escape(secret, quotes).encode())  # as libxml2, Python and Go do
    for shift in range(3):  # base64 of it at any place in a longer text: without what depends on its neighbours
        encoded = base64.b64encode(b"\0" * shift + data)
        found.add(encoded[-(-shift * 8 // 6):len(encoded) - 4])
    return {needle for needle in found if len(needle) >= min(8, len(data))}


class Record:
    def __init__(self, path, secrets):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()
        self.needles = {needle for secret in secrets for needle in spellings(secret)}
        self.leaked = None
        self.count = 0
        self.begun = time.time()

    def number(self):
        with self.lock:
            self.count += 1
            return self.count

    def now(self):
        return round(time.time() - self.begun, 6)

    def write(self, line):
        if self.file:
            with self.lock:
                self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self.file.flush()

    def check(self, call, parts):
        """Looks for secrets in what is no Login. Once it found one, the proxy serves nobody."""
        if self.leaked or call.method == "Login":
            return
        if any(needle in part for needle in self.needles for part in parts):
            self.leaked = f"a secret is in call {call.number}, {call.method}"
            self.write({"n": call.number, "method": call.method, "leak": self.leaked})
            print(f"vsphere_proxy: {self.leaked}", file=sys.stderr, flush=True)


def parameters(request):
    """What a call was given, without the password."""
    params = soap.as_json(request.params)
    if not isinstance(params, dict):
        return {}
    params.pop("_this", None)
    if "password" in params:
        params["password"] = "(not recorded)"
    return params
