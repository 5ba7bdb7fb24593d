"""An HTTP/1.1 server of objects that goes wrong on purpose, one named way at a time."""

import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from objects import find_object


@dataclass(frozen=True)
class Asked:
    """A request: the object, the range of its bytes or None, and how often the object was asked for before."""

    key: str
    range: tuple | None
    before: int


class FaultyServer:
    """Answers with the objects below `root`; `fault(asked)` is how a request goes wrong, or None where it does not."""

    def __init__(self, root, fault=lambda asked: None):
        self.root, self.fault = root, fault
        self.requests, self.lock = [], threading.Lock()
        self.stopping = threading.Event()
        self.server = Listener(("127.0.0.1", 0), Handler)
        self.server.faulty = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def asked(self, key, range_):
        with self.lock:
            asked = Asked(key, range_, sum(a.key == key for a in self.requests))
            self.requests.append(asked)
        return asked


class Listener(ThreadingHTTPServer):
    request_queue_size = 128  # the program connects many times at once
    block_on_close = False  # threads that are silent on purpose are not waited for


class Handler(BaseHTTPRequestHandler):
    """One connection; `do_GET` finds the right answer, and a fault may give another in its place."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for all headers

    def do_GET(self):
        faulty = self.server.faulty
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        asked = faulty.asked(self.path.lstrip("/"), wanted and (int(wanted[1]), int(wanted[2]) + 1))
        found = find_object(faulty.root, asked.key)
        if found is None:
            return self.answer(404, b"no such object")
        file, encoding = found
        self.object, self.encoding = file.read_bytes(), encoding
        self.range = asked.range
        fault = faulty.fault(asked)
        try:
            self.right() if fault is None else fault(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def right(self):
        """The answer of a server that works."""
        if self.range is None:
            return self.answer(200, self.object)
        start, end = self.range[0], min(self.range[1], len(self.object))
        self.answer(206, self.object[start:end], start)

    def head(self, status, length, start=None):
        """Status line and headers; `start` is what the answer claims as the first byte of its range."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{len(self.object)}")
        if status < 300 and self.encoding:
            self.send_header("Content-Encoding", self.encoding)
        self.end_headers()
        self.wfile.flush()

    def answer(self, status, body, start=None):
        self.head(status, len(body), start)
        self.wfile.write(body)
        self.wfile.flush()

    def half(self):
        """The headers of the right answer and half of its body."""
        start, end = self.range or (0, len(self.object))
        self.head(206 if self.range else 200, end - start, start if self.range else None)
        self.wfile.write(self.object[start : (start + end) // 2])
        self.wfile.flush()
        self.close_connection = True

    def wait_for_the_end(self):
        self.server.faulty.stopping.wait(60)
        self.close_connection = True

    def log_message(self, *_):
        pass


def status(code):
    """Answers `code` with a page of text, as a proxy does."""
    return lambda h: h.answer(code, b"<html>not today</html>")


def cut(h):
    """Announces the whole body, sends half, and closes in good order."""
    h.half()


def reset(h):
    """Sends half of the body, then resets the connection."""
    h.half()
    h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The handler's own streams keep the socket open past `close`: only this sends the reset now.
    h.rfile.close(), h.wfile.close()
    h.connection.close()


def other_range(h):
    """Answers a range with as many bytes from elsewhere, and says so."""
    start, end = h.range
    shifted = start - 1 if start else 1
    h.answer(206, h.object[shifted : shifted + end - start], shifted)


def no_ranges(h):
    """Answers a range with the whole object, as servers that know no ranges do."""
    h.answer(200, h.object)


def silent(h):
    """Takes the request and says nothing."""
    h.wait_for_the_end()


def silent_in_headers(h):
    h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    h.wfile.flush()
    h.wait_for_the_end()


def silent_in_body(h):
    h.half()
    h.wait_for_the_end()
