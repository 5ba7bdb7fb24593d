"""An HTTP/1.1 object server with injected faults."""

import re
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from object_tree import find_object


@dataclass(frozen=True)
class Request:
    """A request: the object, its byte range or None, and the number of earlier requests for the object."""

    key: str
    range: tuple | None
    before: int


class FaultyServer:
    """Serves the objects below `root`. `fault(request)` returns the fault of a request, or None."""

    def __init__(self, root, fault=lambda request: None):
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

    def request(self, key, range_):
        with self.lock:
            request = Request(key, range_, sum(a.key == key for a in self.requests))
            self.requests.append(request)
        return request


class Listener(ThreadingHTTPServer):
    request_queue_size = 128  # the program opens many connections at once
    block_on_close = False  # do not wait for threads that never answer


class Handler(BaseHTTPRequestHandler):
    """One connection. `do_GET` sends the object or lets a fault answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # write all headers at once

    def do_GET(self):
        faulty = self.server.faulty
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        request = faulty.request(self.path.lstrip("/"), wanted and (int(wanted[1]), int(wanted[2]) + 1))
        found = find_object(faulty.root, request.key)
        if found is None:
            return self.answer(404, b"no such object")
        file, encoding = found
        self.object, self.encoding = file.read_bytes(), encoding
        self.range = request.range
        fault = faulty.fault(request)
        try:
            self.send_object() if fault is None else fault(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def send_object(self):
        """The response without a fault."""
        if self.range is None:
            return self.answer(200, self.object)
        start, end = self.range[0], min(self.range[1], len(self.object))
        self.answer(206, self.object[start:end], start)

    def send_head(self, status, length, start=None):
        """Status line and headers. `start` is the first byte in the Content-Range header."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{len(self.object)}")
        if status < 300 and self.encoding:
            self.send_header("Content-Encoding", self.encoding)
        self.end_headers()
        self.wfile.flush()

    def answer(self, status, body, start=None):
        self.send_head(status, len(body), start)
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_half(self):
        """The headers of the right response and half of its body."""
        start, end = self.range or (0, len(self.object))
        self.send_head(206 if self.range else 200, end - start, start if self.range else None)
        self.wfile.write(self.object[start : (start + end) // 2])
        self.wfile.flush()
        self.close_connection = True

    def wait_until_stopped(self):
        self.server.faulty.stopping.wait(60)
        self.close_connection = True

    def log_message(self, *_):
        pass


def status(code):
    """Sends `code` with a page of text, as a proxy does."""
    return lambda h: h.answer(code, b"<html>not today</html>")


def truncate_body(h):
    """Announces the whole body, sends half of it, and closes the connection normally."""
    h.send_half()


def reset_connection(h):
    """Sends half of the body, then resets the connection."""
    h.send_half()
    h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The handler's own streams keep the socket open after `close`: without this the reset is sent later.
    h.rfile.close(), h.wfile.close()
    h.connection.close()


def wrong_range(h):
    """Sends another range of the same length, with the right Content-Range."""
    start, end = h.range
    shifted = start - 1 if start else 1
    h.answer(206, h.object[shifted : shifted + end - start], shifted)


def ignore_range(h):
    """Sends the whole object, as servers without range support do."""
    h.answer(200, h.object)


def never_answer(h):
    """Accepts the request and never sends anything."""
    h.wait_until_stopped()


def stop_in_headers(h):
    h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    h.wfile.flush()
    h.wait_until_stopped()


def stop_in_body(h):
    h.send_half()
    h.wait_until_stopped()
