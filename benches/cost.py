"""What a program and everything it leaves running costs: CPU seconds, largest resident memory in MiB, wall seconds.

Memory is read from the kernel's own mark of each process (VmHWM), which begins anew with the program. The largest resident
set of wait4(2) does not: it also holds what the process was before exec, which here is a Python of 14 MiB.
"""

import ctypes
import os
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36


def cost(command):
    """Runs it in a process of its own, so that what others cost is not counted."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(_cost(command)).encode())
            os._exit(0)
        except BaseException as error:  # told, and the end is a failure
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise SystemExit(f"{command[0]} failed")
    return tuple(float(part) for part in text.strip("()").split(","))


def _cost(command):
    # What daemonises comes back to us, and is waited for.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    began = time.monotonic()
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks = {}
    while True:
        for child in _children():
            if (peak := _peak(child)) is not None:
                peaks[child] = peak
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == first.pid and status != 0:
            raise RuntimeError(f"{command[0]} ended with {status}")
        if pid == 0:
            time.sleep(0.001)
    wall = time.monotonic() - began
    usage = os.times()
    return usage.children_user + usage.children_system, max(peaks.values()) / 1024, wall


def _children():
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return [int(child) for child in children.read().split()]


def _peak(pid):
    """In KiB; none before exec, when it is still a copy of this program."""
    try:
        if os.readlink(f"/proc/{pid}/exe") == os.readlink("/proc/self/exe"):
            return None
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), None)
    except OSError:
        return None
