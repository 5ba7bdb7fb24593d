"""A server whose objects need a signature in the URL. Faults may echo the request."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from object_tree import find_object

# Signatures with and without percent encoding.
SIGNATURES = ["aBcSECRETone%2Fwith%2Bsigns%3D", "SECRETtwo-renewed"]
SECRETS = ["SECRETone", "SECRETtwo", "SECRETtoken", "SECRETpassword"]


class SignedServer:
    """Serves the objects below `root` for URLs with a signature of SIGNATURES. `fault(path)` may answer instead."""

    def __init__(self, root):
        self.root, self.fault, self.paths = root, lambda path: None, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.signed = self
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        key = unquote(url.path).lstrip("/")
        self.server.signed.paths.append(key)
        fault = self.server.signed.fault(key)
        if fault is not None:
            status, headers, body = fault(self.path)
            return self.answer(status, headers, body)
        signature = parse_qs(url.query).get("X-Amz-Signature", [""])[0]
        if signature not in map(unquote, SIGNATURES):
            return self.answer(403, {}, f"no signature in {self.path}".encode())
        found = find_object(self.server.signed.root, key)
        if found is None:
            return self.answer(404, {}, f"nothing at {self.path}".encode())
        file, encoding = found
        self.answer(200, {"Content-Encoding": encoding} if encoding else {}, file.read_bytes())

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def echo(status):
    """Sends `status` with the request's URL, encoded and decoded."""

    def answer(path):
        host = f"http://user:SECRETpassword@host{path}"
        return status, {}, f"\x1b[31mno: {path} {unquote(path)} {host} {path.split('?')[-1]}".encode()

    return answer


def redirect(to):
    """Redirects to `to` with the same query."""
    return lambda path: (302, {"Location": f"{to}{path}"}, b"")


def page(path):
    return 200, {"Content-Type": "text/html"}, f"<!doctype html><title>Log in to {path}</title>".encode()


def damaged(path):
    return 200, {}, f'{{"data_type": "http://h/x?{path}", "layers": "http://h/x?{path}", "@type": '.encode()


def wrong_types(path):
    """JSON with values of wrong types, which parsers quote in errors."""
    url = f"http://h{path}"
    return 200, {}, f'{{"layer_groups": [], "layers": ["{url}"], "annotations": "{url}", "scales": "{url}"}}'.encode()
