"""HTTP/1.1 over a socket, for both sides of the proxy: kept-alive connections, bodies by length or in chunks."""
import select
import socket
import ssl
import struct


class Gone(Exception):
    """The other end closed the connection, or it broke."""


class Message:
    """A request or a reply: its start line as three words, its headers in their order, its whole body."""

    def __init__(self, start, headers, body=b""):
        self.start, self.headers, self.body = start, headers, body

    def header(self, name):
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    def without(self, *names):
        return [(key, value) for key, value in self.headers if key.lower() not in names]


HOP_BY_HOP = ("connection", "content-length", "transfer-encoding", "keep-alive", "expect", "accept-encoding", "host")


def head(start, headers):
    lines = [" ".join(start)] + [f"{key}: {value}" for key, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Stream:
    """A socket with a buffer for reading."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, bytearray()

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except (OSError, ValueError) as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("closed")
        self.buffer += data

    def _take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        return self._take(n)

    def line(self):
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > 65536:
                raise Gone("a header line without end")
            self._more()
        return self._take(end + 1).rstrip(b"\r\n").decode("latin-1")

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (OSError, ValueError) as error:
            raise Gone(str(error)) from error

    def gone(self):
        """Whether the other end has closed; looks without waiting."""
        if self.buffer:
            return False
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        if not pending and not select.select([self.sock], [], [], 0)[0]:
            return False
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            data = self.sock.recv(65536)
            self.buffer += data
            return not data
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except (OSError, ValueError):
            return True
        finally:
            self.sock.settimeout(timeout)

    def reset(self):
        """Closes with a TCP reset."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def _headers(self):
        headers = []
        while line := self.line():
            key, _, value = line.partition(":")
            headers.append((key.strip(), value.strip()))
        return headers

    def _body(self, message, until_end):
        if (message.header("transfer-encoding") or "").lower() == "chunked":
            parts = []
            while size := int(self.line().split(";")[0], 16):
                parts.append(self.exactly(size))
                self.line()
            while self.line():
                pass
            return b"".join(parts)
        length = message.header("content-length")
        if length is not None:
            return self.exactly(int(length))
        if not until_end:
            return b""
        try:
            while True:
                self._more()
        except Gone:
            return self._take(len(self.buffer))

    def _message(self, until_end):
        start = tuple((self.line().split(" ", 2) + ["", ""])[:3])
        message = Message(start, self._headers())
        if (message.header("expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        message.body = self._body(message, until_end and start[1] not in ("204", "304"))
        return message

    def request(self):
        """The next request, None when the other end closed between two."""
        try:
            if not self.buffer:
                self._more()
        except Gone:
            return None
        return self._message(False)

    def reply(self):
        message = self._message(True)
        while message.start[1] == "100":
            message = self._message(True)
        return message


class Upstream:
    """A kept-alive connection to the real server, made when it is needed."""

    def __init__(self, host, port, tls):
        self.host, self.port, self.tls, self.stream = host, port, tls, None

    def _connect(self):
        if self.stream and not self.stream.gone():
            return
        self.close()
        try:
            sock = socket.create_connection((self.host, self.port), timeout=600)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.stream = Stream(self.tls.wrap_socket(sock) if self.tls else sock)
        except OSError as error:
            raise Gone(f"no connection to the real server: {error}") from error

    def exchange(self, method, path, headers, body):
        self._connect()
        headers = [("Host", f"{self.host}:{self.port}")] + headers + [("Content-Length", str(len(body)))]
        try:
            self.stream.send(head((method, path, "HTTP/1.1"), headers) + body)
            reply = self.stream.reply()
        except Gone:
            self.close()
            raise
        if (reply.header("connection") or "").lower() == "close":
            self.close()
        return reply

    def close(self):
        if self.stream:
            self.stream.close()
        self.stream = None
