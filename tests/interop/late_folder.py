"""A folder mounted by FUSE, read-only, whose operations wait like those of a network file system.

Each lookup of a name, each opening, each read and each listing waits for the delay; any number of them wait at the same time. The kernel
remembers names for a minute, as it does for NFS. The protocol is that of the kernel (linux/fuse.h), without a library.

As a program: `late_folder.py FOLDER MOUNT DELAY_MS LOG` mounts until it is killed, and writes a line to LOG at the beginning and
at the end of each operation.
"""

import ctypes
import errno
import heapq
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 15, 17, 18, 25, 26
OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 27, 28, 29, 36, 38, 42
WITHOUT_REPLY = {FORGET, INTERRUPT, DESTROY, BATCH_FORGET}
# Names of operations that wait for the server.
DELAYED = {LOOKUP: "lookup", OPEN: "open", READ: "read", READDIR: "list"}
REMEMBERED_S = 60


def is_available():
    """Whether this process can mount: FUSE is in the kernel, and the process is root."""
    return os.path.exists("/dev/fuse") and os.geteuid() == 0


class LateFolder:
    """Mounts `folder` at `mount` until [`LateFolder.stop`]."""

    def __init__(self, folder, mount, delay_s):
        self.mount, self.log = Path(mount), Path(f"{mount}.log")
        self.mount.mkdir()
        self.log.write_text("")
        command = [sys.executable, __file__, folder, mount, delay_s * 1000, self.log]
        self.process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
        while not os.path.ismount(self.mount):
            if self.process.poll() is not None:
                raise RuntimeError(f"cannot mount: {self.process.stderr.read()}")
            time.sleep(0.02)

    def operations(self):
        """(name, path) of each operation, in the order in which they began."""
        return [tuple(line.split(" ", 2)[1:]) for line in self.log.read_text().splitlines() if line.startswith("begin ")]

    def most_at_once(self, name, part=""):
        """Most operations of this name, on paths with this part, that were in progress at the same time."""
        now = most = 0
        for line in self.log.read_text().splitlines():
            step, found, path = line.split(" ", 2)
            if found == name and part in path:
                now += 1 if step == "begin" else -1
                most = max(most, now)
        return most

    def stop(self):
        subprocess.run(["umount", "--lazy", self.mount], check=True)
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


class Server:
    """Answers the requests of the kernel: one thread reads them, another one answers each when its delay is over."""

    def __init__(self, folder, mount, delay_s, log):
        self.delay_s, self.log = delay_s, log
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        # Paths by node, and nodes by path. Nodes are never forgotten.
        self.paths, self.nodes = {1: os.path.abspath(folder)}, {}
        self.waiting, self.changed = [], threading.Condition()
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        read_only, no_suid, no_dev = 1, 2, 4
        if libc.mount(b"late", os.fsencode(mount), b"fuse", read_only | no_suid | no_dev, options):
            raise OSError(ctypes.get_errno(), "mount failed")

    def run(self):
        threading.Thread(target=self.answer_all, daemon=True).start()
        while True:
            try:
                request = os.read(self.fuse, 1 << 20)
            except OSError as e:
                # ENODEV: it was unmounted. ENOENT: the request was interrupted.
                if e.errno == errno.ENODEV:
                    return
                continue
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in WITHOUT_REPLY:
                continue
            if opcode not in DELAYED:
                self.answer(opcode, unique, node, request[40:])
                continue
            self.note("begin", opcode, node, request[40:])
            with self.changed:
                due = time.monotonic() + self.delay_s
                heapq.heappush(self.waiting, (due, unique, opcode, node, request[40:]))
                self.changed.notify()

    def answer_all(self):
        while True:
            with self.changed:
                while not self.waiting or self.waiting[0][0] > time.monotonic():
                    self.changed.wait(self.waiting[0][0] - time.monotonic() if self.waiting else None)
                _, unique, opcode, node, body = heapq.heappop(self.waiting)
            self.note("end", opcode, node, body)
            self.answer(opcode, unique, node, body)

    def note(self, step, opcode, node, body):
        path = self.paths[node]
        if opcode == LOOKUP:
            path = f"{path}/{os.fsdecode(body.rstrip(bytes(1)))}"
        os.write(self.log, f"{step} {DELAYED[opcode]} {path}\n".encode())

    def answer(self, opcode, unique, node, body):
        try:
            error, reply = 0, self.reply(opcode, node, body)
        except OSError as e:
            error, reply = -(e.errno or errno.EIO), b""
        try:
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(reply), error, unique) + reply)
        except OSError:
            # The request was interrupted, or the folder unmounted.
            pass

    def reply(self, opcode, node, body):
        # INIT has no node.
        path = self.paths.get(node)
        if opcode == INIT:
            major, _, readahead, offered = struct.unpack_from("<IIII", body)
            async_read, parallel_dirops = 1 << 0, 1 << 18
            flags = offered & (async_read | parallel_dirops)
            return struct.pack("<IIIIHHII36x", major, 31, readahead, flags, 1024, 1024, 1 << 17, 1)
        if opcode == LOOKUP:
            name = os.path.join(path, os.fsdecode(body.rstrip(bytes(1))))
            attributes = self.attributes(name)
            return struct.pack("<QQQQII", self.node(name), 0, REMEMBERED_S, REMEMBERED_S, 0, 0) + attributes
        if opcode == GETATTR:
            return struct.pack("<QII", REMEMBERED_S, 0, 0) + self.attributes(path)
        if opcode == OPEN:
            return struct.pack("<QII", os.open(path, os.O_RDONLY), 0, 0)
        if opcode == OPENDIR:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            file, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(file, size, offset)
        if opcode == READDIR:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.entries(path, offset, size)
        if opcode == RELEASE:
            os.close(struct.unpack_from("<Q", body)[0])
            return b""
        if opcode in (FLUSH, RELEASEDIR):
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 0, 0, 0, 0, 4096, 255, 4096, 0)
        raise OSError(errno.ENOSYS, "not implemented")

    def node(self, path):
        if path not in self.nodes:
            node = len(self.paths) + 1
            self.nodes[path], self.paths[node] = node, path
        return self.nodes[path]

    def attributes(self, path):
        found = os.lstat(path)
        times = [int(found.st_mtime)] * 3
        whole = (found.st_ino, found.st_size, -(-found.st_size // 512), *times)
        return struct.pack("<6Q10I", *whole, 0, 0, 0, found.st_mode, found.st_nlink, 0, 0, 0, 4096, 0)

    def entries(self, path, offset, size):
        entries = b""
        for position, name in enumerate(sorted(os.listdir(path))):
            if position < offset:
                continue
            encoded = os.fsencode(name)
            kind = stat.S_IFMT(os.lstat(os.path.join(path, name)).st_mode) >> 12
            entry = struct.pack("<QQII", position + 2, position + 1, len(encoded), kind) + encoded
            entry += bytes(-len(entry) % 8)
            if len(entries) + len(entry) > size:
                break
            entries += entry
        return entries


if __name__ == "__main__":
    source, target, delay_ms, log_path = sys.argv[1:]
    Server(source, target, float(delay_ms) / 1000, os.open(log_path, os.O_WRONLY | os.O_APPEND)).run()
