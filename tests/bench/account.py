"""Runs a command and writes what it used to a file, as JSON: `python -I -S account.py FILE COMMAND...`.

Until a process becomes its program it is a copy of the one that started it, and the kernel counts that as its memory: a
large parent makes /bin/true large. Therefore it is started from here, where next to nothing is imported. Peaks below this
process's own, about 11 MiB, are not seen.
"""

import os
import sys
import time

_, told, *command = sys.argv
start = time.perf_counter()
process = os.posix_spawn(command[0], command, os.environ)
_, status, used = os.wait4(process, 0)
wall = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
with open(told, "w") as file:
    file.write(f'{{"wall_s": {wall}, "cpu_s": {used.ru_utime + used.ru_stime}, "peak_mib": {used.ru_maxrss / 1024}}}')
sys.exit(1 if code else 0)
