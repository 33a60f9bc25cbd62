"""The proxy: TLS on both sides, a thread per client connection, and what happens to a call on its way."""
import functools
import socket
import sys
import threading
import time
from xml.etree.ElementTree import ParseError

import http1
import record
import soap
from inventory import moref

HTML = b"<!DOCTYPE html>\n<html><head><title>503</title></head><body><h1>Service Unavailable</h1></body></html>\n"
FAULTY_XML = b'<?xml version="1.0"?>\n<soapenv:Envelope><soapenv:Body><returnval type=Task>task-1</wrong>'


class Drop(Exception):
    """The connection ends here: "reset" or "close"."""


class Call:
    """One exchange on its way, and what the record says of it."""

    def __init__(self, number, connection, stream, message):
        self.number, self.connection, self.stream, self.message = number, connection, stream, message
        self.request, self.rule, self.task = None, None, None
        self.cookie = self._cookie(message.header("cookie"))
        self.method = message.start[0]
        if self.method == "POST" and message.body.lstrip()[:1] == b"<":
            try:
                self.request = soap.Request(message.body)
                self.method = self.request.method
            except (ParseError, IndexError, TypeError):
                pass

    @staticmethod
    def _cookie(header):
        for part in (header or "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == "vmware_soap_session":
                return value
        return ""

    def client_gone(self):
        return self.stream.gone()

    def line(self, start, end, status, sent, received):
        line = {
            "n": self.number, "conn": self.connection, "method": self.method, "start": start, "end": end,
            "status": int(status) if status else 0, "sent": sent, "received": received,
        }
        if self.request:
            line["this"] = ":".join(self.request.this)
            line["params"] = record.parameters(self.request)
        else:
            line["path"] = self.message.start[1]
        if self.rule:
            line["rule"] = self.rule.line
        if self.task:
            line["task"] = self.task
        return line


class Server:
    def __init__(self, parts, upstream, client_tls):
        """parts: the namespace of record, control, inventory, overlay, tasks, reader, waiter, strict."""
        self.parts, self.new_upstream, self.tls = parts, upstream, client_tls
        self.sessions, self.lock, self.connections = set(), threading.Lock(), 0

    def serve(self, listener):
        while True:
            sock, _ = listener.accept()
            self.connections += 1
            threading.Thread(target=self._connection, args=(sock, self.connections), daemon=True).start()

    def _connection(self, sock, number):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = http1.Stream(sock)
        upstream = self.new_upstream()
        try:
            self._greet(stream)
            sock.settimeout(30)
            stream.sock = self.tls.wrap_socket(sock, server_side=True)
            stream.sock.settimeout(None)
            while self._exchange(stream, upstream, number):
                pass
        except Drop as drop:
            stream.reset() if str(drop) == "reset" else stream.close()
        except (http1.Gone, OSError, ValueError):
            pass
        finally:
            stream.close()
            upstream.close()

    def _greet(self, stream):
        """Rules about connections, before TLS."""
        self.parts.control.refresh()
        rule = self.parts.control.take("connect", lambda text: False)
        if not rule:
            return
        if "delay" in rule.actions:
            time.sleep(rule.actions["delay"] / 1000)
        if "hole" in rule.actions:
            self._hole(stream)
        if "reset" in rule.actions:
            raise Drop("reset")

    def _hole(self, stream):
        while not stream.gone():
            time.sleep(0.02)
            stream.buffer.clear()
        raise Drop("close")

    # --- one exchange ---

    def _exchange(self, stream, upstream, connection):
        message = stream.request()
        if message is None:
            return False
        parts = self.parts
        call = Call(parts.record.number(), connection, stream, message)
        start, status, body = parts.record.now(), None, b""
        try:
            status, headers, body = self._answer(call, upstream)
        finally:  # before it is sent: who has the answer finds the call recorded
            line = call.line(start, parts.record.now(), status, len(message.body), len(body))
            if status and (fault := soap.fault_of(body)):
                line["fault"] = fault
            parts.record.write(line)
        self._send(call, status, headers, body)
        return (message.header("connection") or "").lower() != "close"

    def _answer(self, call, upstream):
        """(status, headers, body); raises Drop where nothing is answered."""
        parts, message = self.parts, call.message
        parts.record.check(call, [http1.head(message.start, message.headers), message.body])
        error = parts.record.leaked or parts.control.refresh()
        if error:
            return "500", [("Content-Type", "text/plain")], f"vsphere_proxy: {error}\n".encode()
        call.rule = parts.control.take(call.method, lambda text: self._is_about(call, text))
        actions = call.rule.actions if call.rule else {}
        if "delay" in actions:
            self._delay(call, actions["delay"])
        if "expire" in actions:
            self._expire(call, upstream)
        if "after" not in actions:
            self._instead(call, actions)
            garbled = self._garbled(call, actions)
            if garbled:
                return garbled
        answer = self._carried_out(call, upstream, actions)
        if "after" in actions:
            self._instead(call, actions)
            return self._garbled(call, actions) or answer
        return answer

    def _is_about(self, call, text):
        if text.encode() in call.message.body:
            return True
        return bool(call.request) and text in self.parts.inventory.name(call.request.this)

    @staticmethod
    def _delay(call, ms):
        end = time.monotonic() + ms / 1000
        while time.monotonic() < end:
            time.sleep(min(0.05, max(0, end - time.monotonic())))
            if call.client_gone():
                raise Drop("close")

    def _expire(self, call, upstream):
        """The session ends as if it had been idle for too long: nothing it made is there any more."""
        self._over(call.cookie)
        manager = self.parts.inventory.login
        if call.cookie and manager:
            logout = f'<Logout xmlns="urn:vim25">{moref("_this", manager[0])}</Logout>'
            headers = [("Cookie", f"vmware_soap_session={call.cookie}"), ("Content-Type", "text/xml")]
            upstream.exchange("POST", call.message.start[1], headers, (soap.HEAD + logout + soap.TAIL).encode())

    def _instead(self, call, actions):
        if "reset" in actions:
            raise Drop("reset")
        if "hole" in actions:
            self._hole(call.stream)

    @staticmethod
    def _garbled(call, actions):
        """What is answered in place of an answer, or None."""
        xml, html = [("Content-Type", "text/xml; charset=utf-8")], [("Content-Type", "text/html")]
        if "http" in actions:
            return str(actions["http"]), html, HTML.replace(b"503", str(actions["http"]).encode())
        if "html" in actions:
            return "200", html, HTML
        if "malformed" in actions:
            return "200", xml, FAULTY_XML
        if "huge" in actions:
            return "200", xml, b""
        if "fault" in actions and "task" not in actions:
            kind, _, text = actions["fault"].partition(":")
            return "500", xml, soap.fault(kind, text or None)
        return None

    def _carried_out(self, call, upstream, actions):
        """What the real server says, or the proxy in its place."""
        parts, xml = self.parts, [("Content-Type", "text/xml; charset=utf-8")]
        if not call.request:
            return self._forward(call, upstream, call.message.body)
        refused = parts.strict.refusal(call, call.cookie in self.sessions)
        try:
            own = refused or self._own(call, upstream, actions)
            if own:
                if own[0] is None:
                    raise Drop("close")
                return own[0], xml + self._fresh_session(call, own[1]), own[1]
            status, headers, body = self._forward(call, upstream, call.message.body)
        finally:
            if not refused and not call.task:
                parts.strict.answered(call.request)
        if status == "200":
            body = self._understood(call, headers, body)
        return status, headers, body

    @staticmethod
    def _fresh_session(call, body):
        """As a vCenter does, who has no valid session is given one that nobody has logged in to."""
        if soap.fault_of(body) != "NotAuthenticated":
            return []
        return [("Set-Cookie", f'vmware_soap_session="unauthenticated-{call.number}"; Path=/; HttpOnly')]

    def _own(self, call, upstream, actions):
        """(status, body) of calls that the proxy answers itself, else None."""
        parts, request, method = self.parts, call.request, call.method
        if "task" in actions:
            done = functools.partial(parts.strict.answered, request)  # until then its name is taken
            ref, body = parts.tasks.begin(request, call.message.body, actions["task"], actions.get("fault"), done)
            call.task = ref[1]
            return "200", body
        if method in ("WaitForUpdatesEx", "WaitForUpdates"):
            return parts.waiter.wait(call, lambda body: self._forward(call, upstream, body)[::2])
        if method in ("ContinueRetrievePropertiesEx", "CancelRetrievePropertiesEx"):
            return parts.reader.more(request)
        if method == "CancelTask":
            return parts.tasks.cancel(request.this)
        if method == "AnswerVM" and parts.overlay.answer(request.this):
            return "200", soap.reply(method)
        if method == "CancelWaitForUpdates":
            parts.waiter.cancel(call.cookie, request)
            return "200", soap.reply(method)
        return None

    def _forward(self, call, upstream, body):
        method, path, _ = call.message.start
        try:
            reply = upstream.exchange(method, path, call.message.without(*http1.HOP_BY_HOP), body)
        except http1.Gone as error:
            print(f"vsphere_proxy: call {call.number}, {call.method}: {error}", file=sys.stderr, flush=True)
            raise Drop("close") from error
        return reply.start[1], reply.without(*http1.HOP_BY_HOP), reply.body

    def _understood(self, call, headers, body):
        """What an answer means to the proxy; the answer as it is to be shown."""
        parts, request, method = self.parts, call.request, call.method
        if method in ("RetrievePropertiesEx", "RetrieveProperties"):
            return parts.reader.reply(method, request, body)
        if method in ("Login", "LoginByToken", "CloneSession"):
            cookies = [v for k, v in headers if k.lower() == "set-cookie"]
            with self.lock:
                self.sessions.update(Call._cookie(c) for c in cookies)
            if method == "Login":
                parts.inventory.learn(request.this, request.params)
        elif method == "Logout":
            self._over(call.cookie)
        elif method == "CreateFilter":
            parts.waiter.created_filter(call.cookie, request, body)
        elif method == "DestroyPropertyFilter":
            parts.waiter.destroyed_filter(request)
        elif method in ("Rename_Task", "ReconfigVM_Task", "Destroy_Task"):
            parts.inventory.forget(request.this)
        return body

    def _over(self, cookie):
        with self.lock:
            self.sessions.discard(cookie)
        self.parts.waiter.forget(cookie)

    # --- the answer on the wire ---

    def _send(self, call, status, headers, body):
        actions = call.rule.actions if call.rule else {}
        start = ("HTTP/1.1", status, "OK" if status == "200" else "Error")
        if "huge" in actions:
            self._send_huge(call, start, headers, actions["huge"])
            return
        length = len(body)
        if "truncate" in actions:
            body, length = body[: length * 2 // 3], length * 2 // 3
        head = http1.head(start, headers + [("Content-Length", str(length))])
        if "cut" in actions or "short" in actions:
            call.stream.send(head + body[: length // 2])
            raise Drop("reset" if "cut" in actions else "close")
        call.stream.send(head + body)

    @staticmethod
    def _send_huge(call, start, headers, megabytes):
        """In chunks, so that no length tells before. A reply that goes on and on."""
        call.stream.send(http1.head(start, headers + [("Transfer-Encoding", "chunked")]))
        begin = (soap.HEAD + f'<{call.method}Response xmlns="urn:vim25">').encode()
        item = b'<returnval><obj type="VirtualMachine">vm-1</obj></returnval>'
        block = item * (65536 // len(item))
        for part in [begin] + [block] * (megabytes * (1 << 20) // len(block)):
            call.stream.send(b"%x\r\n%s\r\n" % (len(part), part))
        end = f"</{call.method}Response>{soap.TAIL}".encode()
        call.stream.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))
