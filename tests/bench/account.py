"""Runs a command and writes its resource usage to a file as JSON: `python -I -S account.py FILE COMMAND...`.

Before a process executes its program, it is a copy of its parent, and the kernel counts that memory, too: with a large
parent, even /bin/true is large. This script imports almost nothing, so that it is a small parent. It cannot measure peaks
below its own, about 11 MiB.
"""

import os
import sys
import time

_, report, *command = sys.argv
start = time.perf_counter()
process = os.posix_spawn(command[0], command, os.environ)
_, status, used = os.wait4(process, 0)
wall = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
with open(report, "w") as file:
    file.write(f'{{"wall_s": {wall}, "cpu_s": {used.ru_utime + used.ru_stime}, "peak_mib": {used.ru_maxrss / 1024}}}')
sys.exit(1 if code else 0)
