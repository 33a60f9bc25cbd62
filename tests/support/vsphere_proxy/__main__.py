"""Between a client and vcsim: records, refuses what a real server refuses, and lets things go wrong (README.md).

    python3 tests/support/vsphere_proxy --to https://127.0.0.1:PORT/sdk [OPTION...]

Prints "URL SHA-256-THUMBPRINT CERTIFICATE-FILE" once it can be called. Ends with SIGTERM: status 0, or 70 if a secret
was seen outside of a Login.
"""
import argparse
import atexit
import ctypes
import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import types
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

import control
import http1
import inventory
import overlay
import record
import server
import strict
import tasks
import waiting

PR_SET_PDEATHSIG = 1


def options():
    parser = argparse.ArgumentParser(prog="vsphere_proxy", description="A recording and injecting proxy before vcsim.")
    parser.add_argument("--to", required=True, metavar="URL", help="the real server")
    parser.add_argument("--record", metavar="FILE", help="one JSON line per call goes there")
    parser.add_argument("--control", metavar="FILE", help="rules and settings (control.py); need not exist yet")
    parser.add_argument("--set", action="append", default=[], metavar="LINE", help="a setting that always holds")
    parser.add_argument("--secret", action="append", default=[], metavar="TEXT", help="may be in a Login only")
    parser.add_argument("--esx", "--esx-strict", action="store_true", help="the real server plays a bare ESXi")
    parser.add_argument("--accept", action="append", default=[], choices=(*strict.ITEMS, "all"), metavar="ITEM",
                        help="do not refuse that: " + ", ".join(strict.ITEMS) + ", all")
    parser.add_argument("--page", type=int, metavar="N", help="the most objects a read gives at once")
    parser.add_argument("--cert", metavar="FILE", help="certificate, in PEM")
    parser.add_argument("--key", metavar="FILE", help="its key")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    return parser.parse_args()


def die_with_parent():
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def new_certificate():
    folder = tempfile.mkdtemp(prefix="vsphere-proxy-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=vsphere-proxy", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


def thumbprint(cert):
    with open(cert, encoding="ascii") as file:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


def connector(url):
    """Makes connections to the real server. It is a test's own, on this machine: who it is is not proved."""
    where = urlsplit(url)
    tls = None
    if where.scheme == "https":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.set_ciphers("DEFAULT:@SECLEVEL=1")  # vcsim's built-in certificate has 1024 bits
    return lambda: http1.Upstream(where.hostname, where.port or 443, tls)


def assemble(given):
    connect = connector(given.to)
    parts = types.SimpleNamespace()
    parts.record = record.Record(given.record, given.secret)
    parts.control = control.Control(given.control, given.set)
    parts.inventory = inventory.Inventory(connect, urlsplit(given.to).path or "/sdk")
    parts.tasks = tasks.Tasks(parts.inventory)
    parts.overlay = overlay.Overlay(parts.control, parts.inventory, parts.tasks)
    parts.reader = waiting.Reader(parts.overlay, given.page)
    parts.waiter = waiting.Waiter(parts.overlay, parts.inventory)
    accepted = strict.ITEMS if "all" in given.accept else given.accept
    parts.strict = strict.Strict(parts.inventory, parts.tasks, given.esx, accepted)
    return parts, connect


def main():
    given = options()
    die_with_parent()
    cert, key = (given.cert, given.key) if given.cert else new_certificate()
    try:
        parts, connect = assemble(given)
    except control.Nonsense as error:
        sys.exit(f"vsphere_proxy: --set: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(70 if parts.record.leaked else 0))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    host, _, port = given.listen.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=256)
    path = urlsplit(given.to).path or "/sdk"
    print(f"https://{host}:{listener.getsockname()[1]}{path}", thumbprint(cert), cert, flush=True)
    server.Server(parts, connect, tls).serve(listener)


if __name__ == "__main__":
    main()
