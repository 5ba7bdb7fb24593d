"""Servers that are away for a while: the job waits, says so, and goes on."""

import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest
from faults import FaultyServer, status
from program import VNC, binary, manifest, pointshard, refused, tree, vnc_config
from servers import free_port
from test_faults import CHUNK, PLAIN, job

OUTAGE_S = 4


@pytest.fixture(scope="module")
def local(tree_of_objects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    pointshard("preprocess", job(folder, tree_of_objects, PLAIN), "--out", folder / "out")
    return tree(folder / "out")


def columns(files):
    """Of the files of a dataset those that do not say where it comes from."""
    return {name: digest for name, digest in files.items() if ".zarr/" in name and "/c/" in name}


class Relay:
    """Hands connections on to a server; while it is `down`, nothing listens, and open connections are closed."""

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
            # Only this ends an `accept` or `recv` that another thread waits in.
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
            connection.close()
        self.open = []


def outlasted(folder, config, go_down, come_up, outage_s):
    """Runs the job; when `go_down` says that it is in the middle, the server is away for so long: what was printed."""
    command = [str(a) for a in (binary(), "preprocess", config, "--out", folder / "out", "--requests", 2)]
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    go_down()
    time.sleep(outage_s)
    assert run.poll() is None, "the job is in the middle"
    come_up()
    stdout, stderr = run.communicate(timeout=100)
    assert run.returncode == 0, stdout + stderr
    return stderr


def waits(stderr):
    return re.findall(r"server (\S+) (.*); retrying for up to (\d+) s", stderr)


def test_a_server_that_is_away_for_a_while_is_waited_for(tree_of_objects, local, tmp_path, outage_s=OUTAGE_S):
    with FaultyServer(tree_of_objects) as server:
        relay = Relay(server.server.server_address[1])
        in_the_middle = threading.Event()
        go_on = threading.Event()

        def fault(asked):
            if re.search(CHUNK, asked.key):
                in_the_middle.set()
                go_on.wait(60)

        server.fault = fault

        def go_down():
            assert in_the_middle.wait(60)
            relay.down()
            go_on.set()

        config = job(tmp_path, f"http://127.0.0.1:{relay.port}", PLAIN)
        stderr = outlasted(tmp_path, config, go_down, relay.up, outage_s)
        relay.down()
    told = waits(stderr)
    assert told and told[0][0] == f"127.0.0.1:{relay.port}", stderr
    assert len(told) <= 1 + outage_s / 10 + 1, stderr
    assert columns(tree(tmp_path / "out")) == columns(local)


def test_a_server_that_answers_503_for_a_while_is_waited_for(tree_of_objects, local, tmp_path, outage_s=OUTAGE_S):
    in_the_middle, away = threading.Event(), threading.Event()
    away.set()

    def fault(asked):
        if re.search(CHUNK, asked.key) and away.is_set():
            in_the_middle.set()
            return status(503)

    with FaultyServer(tree_of_objects, fault) as server:
        config = job(tmp_path, server.url, PLAIN)
        stderr = outlasted(tmp_path, config, lambda: in_the_middle.wait(60), away.clear, outage_s)
    told = waits(stderr)
    assert told and told[0][1] == "answers 503" and int(told[0][2]) <= 60, stderr
    assert columns(tree(tmp_path / "out")) == columns(local)


def test_a_failure_elsewhere_ends_what_waits(tree_of_objects, tmp_path):
    """One chunk is forbidden, all others answer 503: the job does not wait for these."""
    chunks = []

    def fault(asked):
        if re.search(CHUNK, asked.key):
            chunks.append(asked.key)
            return status(403) if asked.key == chunks[0] and len(set(chunks)) > 2 else status(503)

    with FaultyServer(tree_of_objects, fault) as server:
        config = job(tmp_path, server.url, PLAIN)
        message = refused("preprocess", config, "--out", tmp_path / "out", "--retry-for", 86400, code=1)
    assert "403" in message


def test_a_layer_whose_files_are_named_gz_is_read_from_a_plain_server(tmp_path, local):
    """`python -m http.server` on the folder that cloud-volume wrote, as it lies."""
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
    assert columns(tree(tmp_path / "out")) == columns(local)
    assert sum(s["chunks_missing"] for s in manifest(tmp_path / "out")["sources"]) == 0
