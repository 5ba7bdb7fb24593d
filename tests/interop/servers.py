"""Servers on loopback: processes that always end, nginx with its own configuration, and a server that delays it.

None needs privileges, and none writes outside its folder.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

NGINX = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/octet-stream;
    types {{ text/html html; text/css css; text/javascript js; application/wasm wasm; }}
    keepalive_requests 1000000;
    sendfile on;
    tcp_nopush on;
    log_format fields '$server_protocol $request_method $status $body_bytes_sent $sent_http_content_encoding|$http_range|$uri';
{servers}
}}
"""

# `gzip_static always` serves the file NAME.gz as NAME with `Content-Encoding: gzip`, whatever the client accepts: like a bucket.
STATIC = "gzip_static always; location ~ [.]gz$ { return 404; }"


@dataclass
class DataLocation:
    """A tree of objects: the URL or path of its root, the environment to read it, and its server's log."""

    root: str
    env: dict = field(default_factory=dict)
    requests: Callable = list


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server process. It accepts connections on its ports from construction until `stop`."""

    def __init__(self, command, folder, ports):
        self.log = Path(folder, f"{Path(command[0]).name}.out")
        # On Linux, the server ends with these tests even if they are killed.
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            for port in ports:
                self.wait_for(port)
        except BaseException:
            self.stop()
            raise

    def wait_for(self, port, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                output = f"{self.process.args} does not listen on {port}: {self.log.read_text()}"
                assert self.process.poll() is None and time.monotonic() < end, output
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nginx(Process):
    """nginx with the given `server` blocks. Each writes its own access log."""

    def __init__(self, folder, servers):
        self.folder, self.servers = Path(folder), servers
        blocks = [
            f"server {{ listen 127.0.0.1:{s.port} {s.listen}; access_log {name}.log fields; {s.body} }}"
            for name, s in servers.items()
        ]
        before = [s.before for s in servers.values()]
        # As root, nginx workers would run as a user that cannot read the test's folders.
        user = "user root;" if os.geteuid() == 0 else ""
        conf = self.folder / "nginx.conf"
        conf.write_text(NGINX.format(user=user, servers="\n".join(before + blocks)))
        command = [nginx_binary(), "-p", str(self.folder), "-c", str(conf), "-e", str(self.folder / "error.log")]
        super().__init__(command, self.folder, [s.port for s in servers.values()])

    def url(self, name, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.servers[name].port}"

    def requests(self, name):
        """The requests of the server `name` until now."""
        return [Request.parse(line) for line in (self.folder / f"{name}.log").read_text().splitlines()]


def nginx_binary():
    """Path of nginx, also if /usr/sbin is not in PATH; None if it is missing."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Request:
    """A line of nginx's access log."""

    protocol: str
    method: str
    status: int
    body_bytes: int
    encoding: str
    range: str
    path: str

    @staticmethod
    def parse(line):
        fields, range_, path = line.split("|", 2)
        protocol, method, status, size, encoding = fields.split(" ")
        return Request(protocol, method, int(status), int(size), encoding, range_, path)


@dataclass
class Server:
    """A `server` block of nginx: its body, its `listen` options, and directives before it."""

    body: str
    listen: str = ""
    before: str = ""
    port: int = field(default_factory=free_port)


def static(root):
    """Serves the objects below `root`."""
    return Server(f"root {root}; {STATIC}")


def static_over_tls(root, certificate, key):
    """The same with TLS and HTTP/2."""
    body = f"root {root}; {STATIC} ssl_certificate {certificate}; ssl_certificate_key {key};"
    return Server(body, listen="ssl http2")


def delayed(root, delay_server):
    """The same, delayed: nginx sends the bytes after a request to the delay server."""
    body = f"""
        auth_request /.delay; root {root}; {STATIC}
        location = /.delay {{
            internal; proxy_pass http://delay_server; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_pass_request_body off; proxy_set_header Content-Length "";
        }}"""
    return Server(body, before=f"upstream delay_server {{ server 127.0.0.1:{delay_server.port}; keepalive 256; }}")


def cloud_storage(moto_port):
    """Google Cloud Storage's XML API, and the part of its JSON API that reads objects, in front of moto's S3.

    A write on the condition that the object does not exist has another header there.

    Like the real service, it decompresses gzip for clients that do not accept it, and then sends no length.
    """
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    body = f"""
        gunzip on; client_max_body_size 0;
        set $if_none_match ""; if ($http_x_goog_if_generation_match = 0) {{ set $if_none_match "*"; }}
        proxy_http_version 1.1; proxy_set_header Authorization "{signed}"; proxy_set_header If-None-Match $if_none_match;
        proxy_set_header x-amz-copy-source $http_x_goog_copy_source;
        location / {{ proxy_pass http://127.0.0.1:{moto_port}; }}
        location ~ ^/storage/v1/b/([^/]+)/o/(.+)$ {{
            add_header x-goog-generation 1; proxy_pass http://127.0.0.1:{moto_port}/$1/$2;
        }}"""
    return Server(body)


class DelayServer:
    """Answers every request after `delay_s`, also concurrent ones."""

    def __init__(self, delay_s):
        self.delay_s = delay_s
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        # Not in this thread: a browser's tests have a loop there.
        started = asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=512)
        self.server = asyncio.run_coroutine_threadsafe(started, self.loop).result(5)
        self.port = self.server.sockets[0].getsockname()[1]

    async def answer(self, reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.delay_s)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def finish(self):
        """Ends all connections, so that none is left to a loop that is closed."""
        self.server.close()
        open_ones = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    def stop(self):
        asyncio.run_coroutine_threadsafe(self.finish(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


def make_certificates(folder):
    """A test certificate authority and its certificate for 127.0.0.1: the files (authority, certificate, key)."""
    authority, certificate, key = (Path(folder, name) for name in ("ca.pem", "server.pem", "server.key"))
    made_by = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256".split()
    ca_key = Path(folder, "ca.key")
    run = {"check": True, "capture_output": True, "timeout": 60}
    subprocess.run([*made_by, "-keyout", ca_key, "-out", authority, "-subj", "/CN=pointshard test authority"], **run)
    wanted = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE".split()
    signed = ["-CA", authority, "-CAkey", ca_key, "-keyout", key, "-out", certificate]
    subprocess.run([*made_by, *wanted, *signed], **run)
    return authority, certificate, key
