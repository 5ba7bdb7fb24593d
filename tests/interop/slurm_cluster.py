"""A real Slurm on this machine: a controller and two nodes, as root and without systemd."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from program import binary
from servers import free_port

NODES = ("node1", "node2")
# Of a node's processes, those of Slurm have this variable.
NODE_VARIABLE = "POINTSHARD_TEST_NODE"

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
SlurmdTimeout=10
JobRequeue=1
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP
"""


class SlurmCluster:
    """A cluster in `folder`. Its jobs find the program as `pointshard`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=8 RealMemory=64000" for node in NODES
        ]
        config = self.folder / "slurm.conf"
        values = {"host": host, "folder": self.folder, "controller_port": free_port(), "nodes": "\n".join(nodes)}
        config.write_text(CONFIG.format(**values))
        (self.folder / "state").mkdir()
        (self.folder / "bin").mkdir()
        (self.folder / "bin/pointshard").symlink_to(binary())
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.env = {
            **os.environ,
            "SLURM_CONF": str(config),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin",
            "NO_PROXY": "127.0.0.1",
        }
        self.processes = []
        files = [f"--{what}={self.folder}/munge.{what.split('-')[0]}" for what in ("socket", "pid-file", "log-file", "seed-file")]
        self.start("munged", "--foreground", "--force", f"--key-file={key}", *files)
        self.wait_for((self.folder / "munge.socket").exists)
        self.start("slurmctld", "-D")
        for node in NODES:
            self.start("slurmd", "-D", "-N", node, **{NODE_VARIABLE: self.marker(node)})
        self.wait_for(lambda: self.run("sinfo", "-h", "-o", "%T").split() == ["idle"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["scancel", "--user=root"], env=self.env, timeout=30, check=False)
        for node in NODES:
            self.stop_node(node)
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def start(self, *command, **variables):
        env = {**self.env, **variables}
        log = (self.folder / f"{command[0]}.log.out").open("ab")
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)

    def run(self, *command):
        done = subprocess.run([str(c) for c in command], env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    def jobs(self):
        """Tasks of arrays and other jobs: (id, name, state, node)."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i|%j|%T|%N").splitlines()
        return [tuple(line.split("|")) for line in lines]

    def marker(self, node):
        """Other tests run clusters at the same time."""
        return f"{self.folder}/{node}"

    def restarts(self):
        """How often Slurm started jobs again."""
        return sum(int(count) for count in re.findall(r"Restarts=(\d+)", self.run("scontrol", "show", "job")))

    def stop_node(self, node):
        """Kills the daemons of a node. Its jobs live on, as after a lost connection."""
        marker = f"{NODE_VARIABLE}={self.marker(node)}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_daemon = (process / "comm").read_text().startswith("slurm") and marker in (process / "environ").read_bytes()
            except OSError:
                continue
            if is_daemon:
                os.kill(int(process.name), signal.SIGKILL)

    def wait_for(self, is_true, seconds=60):
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, f"{self.jobs()}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self):
        files = sorted(self.folder.glob("*.log*")) + sorted(self.folder.glob("*.out"))
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)
