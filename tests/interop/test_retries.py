"""Temporary server outages: the job waits, prints so, and continues."""

import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest
from faulty_server import FaultyServer, status
from program import VNC, binary, error_message, file_digests, manifest, pointshard, vnc_config
from servers import free_port
from test_server_faults import CHUNK, PLAIN, job

OUTAGE_S = 4


@pytest.fixture(scope="module")
def local(object_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    pointshard("preprocess", job(folder, object_root, PLAIN), "--out", folder / "out")
    return file_digests(folder / "out")


def columns(files):
    """The files of a dataset that do not depend on the location of the source."""
    return {name: digest for name, digest in files.items() if ".zarr/" in name and "/c." in name}


class Relay:
    """Forwards connections to a server. While it is `down`, nothing listens and open connections are closed."""

    def __init__(self, port):
        self.target, self.port = port, free_port()
        self.open, self.lock, self.listener = [], threading.Lock(), None
        self.up()

    def up(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self.lock:
                self.open += [client, server]
                if listener is not self.listener:
                    return self.close_all()
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, source, to):
        try:
            while data := source.recv(1 << 14):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def down(self):
        with self.lock:
            listener, self.listener = self.listener, None
            self.open.append(listener)
            self.close_all()

    def close_all(self):
        for connection in self.open:
            # This ends an `accept` or `recv` in another thread.
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side has closed it already
            connection.close()
        self.open = []


def run_through_outage(folder, config, take_down, bring_up, outage_s):
    """Runs the job with an outage of `outage_s` after `take_down` returns; returns stderr."""
    command = [str(a) for a in (binary(), "preprocess", config, "--out", folder / "out", "--requests", 2)]
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    take_down()
    time.sleep(outage_s)
    assert run.poll() is None, "the job is in the middle"
    bring_up()
    stdout, stderr = run.communicate(timeout=100)
    assert run.returncode == 0, stdout + stderr
    return stderr


def retry_lines(stderr):
    return re.findall(r"server (\S+) (.*); retrying for up to (\d+) s", stderr)


def test_a_temporarily_unreachable_server_is_retried(object_root, local, tmp_path, outage_s=OUTAGE_S):
    with FaultyServer(object_root) as server:
        relay = Relay(server.server.server_address[1])
        in_the_middle = threading.Event()
        proceed = threading.Event()

        def fault(request):
            if re.search(CHUNK, request.key):
                in_the_middle.set()
                proceed.wait(60)

        server.fault = fault

        def take_down():
            assert in_the_middle.wait(60)
            relay.down()
            proceed.set()

        config = job(tmp_path, f"http://127.0.0.1:{relay.port}", PLAIN)
        stderr = run_through_outage(tmp_path, config, take_down, relay.up, outage_s)
        relay.down()
    output = retry_lines(stderr)
    assert output and output[0][0] == f"127.0.0.1:{relay.port}", stderr
    assert len(output) <= 1 + outage_s / 10 + 1, stderr
    assert columns(file_digests(tmp_path / "out")) == columns(local)


def test_temporary_503_responses_are_retried(object_root, local, tmp_path, outage_s=OUTAGE_S):
    in_the_middle, away = threading.Event(), threading.Event()
    away.set()

    def fault(request):
        if re.search(CHUNK, request.key) and away.is_set():
            in_the_middle.set()
            return status(503)

    with FaultyServer(object_root, fault) as server:
        config = job(tmp_path, server.url, PLAIN)
        stderr = run_through_outage(tmp_path, config, lambda: in_the_middle.wait(60), away.clear, outage_s)
    output = retry_lines(stderr)
    assert output and output[0][1] == "answers 503" and int(output[0][2]) <= 60, stderr
    assert columns(file_digests(tmp_path / "out")) == columns(local)


def test_another_error_ends_waiting_retries(object_root, tmp_path):
    """One chunk is forbidden and all others get 503: the job does not wait for them."""
    chunks = []

    def fault(request):
        if re.search(CHUNK, request.key):
            chunks.append(request.key)
            return status(403) if request.key == chunks[0] and len(set(chunks)) > 2 else status(503)

    with FaultyServer(object_root, fault) as server:
        config = job(tmp_path, server.url, PLAIN)
        message = error_message("preprocess", config, "--out", tmp_path / "out", "--retry-for", 86400, code=1)
    assert "403" in message


def test_a_layer_with_gz_file_names_is_read_from_a_plain_server(tmp_path, local):
    """`python -m http.server` on the folder that cloud-volume wrote."""
    port = free_port()
    command = ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(VNC)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            rows = json.loads((VNC / "collection.json").read_text())
            for layer in rows["layers"]:
                layer["source"] = f"precomputed://http://127.0.0.1:{port}/{layer['name']}"
            (tmp_path / "collection.json").write_text(json.dumps(rows))
            config = vnc_config(tmp_path, collection="collection.json", arrays={"img": {"layer": "img"}})
            pointshard("preprocess", config, "--out", tmp_path / "out")
        finally:
            server.terminate()
    assert columns(file_digests(tmp_path / "out")) == columns(local)
    assert sum(s["chunks_missing"] for s in manifest(tmp_path / "out")["sources"]) == 0
